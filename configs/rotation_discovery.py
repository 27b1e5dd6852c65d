"""Rotations found among matrices: a flow over matrix entries, a frozen classifier (fig 7, eq 13; A.3.8).

    python -m mollax.main --config=configs/sprites_flow.py:90,none --config.optim.weight_decay=3.0 \
        --workdir=runs/sprites
    python -m mollax.main --config=configs/rotation_discovery.py --config.init_from=runs/sprites \
        --workdir=runs/discovery

The classifier is trained first, on the sprites alone, and stays as it is; with little weight decay it would not mind
shear. Words after a colon, joined by commas: `6d` (all six entries instead of two; weight decay 30, or the classifier
would not mind other sizes), `small` (for two cores; of both configs), `score` (our gradient of the modes' weights),
`annealed` (a weight that falls), `instaaug` (its box, by the flow's weight), `gaussian`, `augerino` (instead of the
flow), `smoke`.
"""

from ml_collections import ConfigDict

from mollax import flow_recipes, recipes


def six(config: ConfigDict) -> None:
    """All entries of the exponent, from near the identity: in the whole box the flow narrows to no rotation. Ours."""
    config.invariance.kind = "decoupled"
    config.invariance.options.start = 0.1


def small(config: ConfigDict) -> None:
    """Narrower networks, the classifier as of `sprites_flow.py:small`; 4 layers. Ours."""
    config.model.options.hidden = (128, 128)
    config.invariance.pose_options.widths = (8, 16, 32, 64)
    config.invariance.options.layers = 4
    config.invariance.copies = 4
    config.invariance.optim.schedule = "cosine"
    config.train.batch_size = 128
    config.train.duration = "30 epochs"


def instaaug(config: ConfigDict) -> None:
    """InstaAug's box by the flow's objective: a range of entropies, which nobody gives for this task, would decide."""
    weight = config.invariance.weight
    flow_recipes.RIVALS["instaaug"](config)
    config.invariance.controller = "fixed"
    config.invariance.controller_options = {}
    config.invariance.weight = weight


def get_config(argument: str = "") -> ConfigDict:
    """A.3.8: 32 layers, batch 512, learning rate 3e-3, weight .002, otherwise as the multi-modal experiment."""
    config = recipes.base()
    config.name = "rotation-discovery"
    config.data.reader = "sprites"
    config.data.angles = "90"
    config.model.name = "mlp"
    config.optim.update({"name": "adamw", "lr": 1e-3, "weight_decay": 0.01, "schedule": "constant"})
    config.train.duration = "150 epochs"
    config.train.batch_size = 512
    flow_recipes.learn_transforms(
        config, "flow", kind="decoupled_rotation", layers=32, modes=120, spread=0.98, temperature=0.05
    )
    config.invariance.freeze_classifier = True
    config.invariance.weight = 0.002
    config.invariance.optim.lr = 3e-3
    rivals = {word: flow_recipes.RIVALS[word] for word in ("augerino", "gaussian")}
    words = {"6d": six, "small": small, "score": flow_recipes.scored, "instaaug": instaaug, **rivals}
    return recipes.variant(config, argument, **words, annealed=flow_recipes.annealed)
