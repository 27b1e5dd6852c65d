"""All pooled-feature scores from one pass over the images, against a pass for each score.

    python benchmarks/ood_pass.py --out docs/results/bench_ood_pass.json

ResNet-18 for small images (32x32), 200 images; scores are fitted beforehand on 5,000 random features. Timed is
what an evaluation does: images to features and logits on all cores, then every score, compiled, on one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import common
import jax
import jax.numpy as jnp
import numpy as np

from mollax import evaluators, models
from mollax.data import Split
from mollax.ood.head import Head
from mollax.ood.scores import SCORES

IMAGES, BANK, CLASSES = 200, 5000, 10
OPTIONS: dict[str, dict[str, Any]] = {"ash": {"negative": "clip"}}


def scorers(width: int, bank: int) -> dict[str, Callable[..., Any]]:
    """Every pooled-feature score, fitted on random features."""
    rng = np.random.default_rng(0)
    features = rng.exponential(size=(bank, width)).astype(np.float32)
    head = Head(*(jnp.asarray(rng.normal(size=size), jnp.float32) for size in ((width, CLASSES), (CLASSES,))))
    logits = np.asarray(features @ np.asarray(head.kernel) + np.asarray(head.bias))
    labels = (np.arange(bank) % CLASSES).astype(np.int32)
    made = {}
    for name, module in SCORES.items():
        if module.NEEDS == "features":
            state = module.fit(features, logits, labels, head, **OPTIONS.get(name, {}))
            compiled = jax.jit(module.score)
            made[name] = lambda part, state=state, compiled=compiled: np.asarray(
                compiled(state, part.features, part.logits)
            )
    return made


def main() -> None:
    """One line: the ratio."""
    options = common.arguments(__doc__)
    record = common.start(options, peer=False)
    count, bank = (100, 200) if options.tiny else (IMAGES, BANK)
    images = np.random.default_rng(1).integers(0, 256, (count, 32, 32, 3), np.uint8)
    split = Split(images, np.zeros(count, np.int32))
    model = models.create_model("resnet8" if options.tiny else "preact_resnet18", classes=CLASSES)
    variables = model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3), jnp.float32), train=False)
    half = jnp.full(3, 0.5)
    passes = evaluators.FeaturePass(model, image_shape=(32, 32, 3), mean=half, std=half, batch_size=100)
    every = scorers(passes.run(variables, split).features.shape[1], bank)
    record["scores"] = list(every)

    def together() -> list[np.ndarray]:
        part = passes.run(variables, split)
        return [score(part) for score in every.values()]

    def apart() -> list[np.ndarray]:
        return [score(passes.run(variables, split)) for score in every.values()]

    for mine, theirs in zip(together(), apart(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    seconds = common.measure({"one pass": together, "a pass each": apart}, options)
    name = f"{len(every)} scores of {count} images"
    record["results"].append(common.compare(name, seconds, ours="one pass", peer="a pass each"))
    common.finish(record, options)


if __name__ == "__main__":
    main()
