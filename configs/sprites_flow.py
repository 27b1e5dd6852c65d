"""Two drawn figures: the flow learns which rotations keep a figure's class (fig 4; A.3.5, A.3.7 of Singhal et al.).

    python -m mollax.main --config=configs/sprites_flow.py:90 --workdir=runs/sprites_flow

Words after a colon, joined by commas: `45`, `90` or `three_modes` (angles of the copies),
`paper` (its controller: rotation and translation, target 2 nats, which one parameter in (-1, 1) cannot reach), `small`
(narrower networks: three minutes on two cores), `score` (our gradient of the modes' weights), `frozen` (keeps a
classifier trained before: `--config.init_from` names its run), `none`, `uniform`, `augerino`,
`instaaug` or `gaussian` (instead of the flow), `mollified`, `smoke`.
"""

import functools

from ml_collections import ConfigDict

from mollax import flow_recipes, recipes


def three_modes(config: ConfigDict) -> None:
    """A.3.7: 12 layers, 120 Gaussian modes, temperature .05, weight .5, batch 256, 150 epochs, 3 as they are."""
    config.data.angles = "three_modes"
    config.train.duration = "150 epochs"
    config.train.batch_size = 256
    config.invariance.warmup = "3 epochs"
    config.invariance.weight = 0.5
    # Narrow modes all around: wide ones are alike, and which of them a pose needs is learned late.
    config.invariance.options = {"layers": 12, "modes": 120, "spread": 0.98, "temperature": 0.05}


def paper(config: ConfigDict) -> None:
    """A.3.5: PI control (.01, .01), both ends smoothed by .9. The bound 1.5 is that of the authors' code."""
    config.invariance.kind = "rotation_translation"
    config.invariance.options.bound = 1.5
    config.invariance.controller = "pid"
    config.invariance.controller_options = {"target": 2.0, "kp": 0.01, "ki": 0.01}


def small(config: ConfigDict) -> None:
    """Enough for these figures. Ours, as is what follows.

    Four layers: more of them shrink all modes faster than these learn which to keep. A third of the run and weight .1:
    transforms of all angles, which the flow starts with, make a young classifier unlearn, at .5 for good.
    """
    config.model.options.hidden = (128, 128)
    config.invariance.pose_options.widths = (8, 16, 32, 64)
    config.invariance.options.layers = 4
    config.invariance.copies = 4
    config.train.batch_size = 128
    config.train.duration = "30 epochs"
    config.invariance.warmup = "10 epochs"
    config.invariance.weight = 0.1
    config.invariance.optim.schedule = "cosine"


def get_config(argument: str = "") -> ConfigDict:
    """A.3.5: 4 layers, one conditional uniform, batch 1024, AdamW 1e-3, 100 epochs, 5 of them as they are."""
    config = recipes.base()
    config.name = "sprites-flow"
    config.data.reader = "sprites"
    config.model.name = "mlp"
    config.optim.update({"name": "adamw", "lr": 1e-3, "weight_decay": 0.01, "schedule": "constant"})
    config.train.duration = "100 epochs"
    config.train.batch_size = 1024
    flow_recipes.learn_transforms(config, "flow", kind="rotation", layers=4, base="uniform")
    config.invariance.warmup = "5 epochs"
    config.eval.transforms.aligned = 200
    angles = {word: functools.partial(recipes.assign, name="data.angles", value=word) for word in ("45", "90")}
    words = {"three_modes": three_modes, "paper": paper, "small": small, **flow_recipes.WORDS}
    return recipes.variant(config, argument, **angles, **words, **flow_recipes.RIVALS)
