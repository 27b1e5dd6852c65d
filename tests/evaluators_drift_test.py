"""The evaluator of drift on features: what it says of the same images, of others and of single classes."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mollax import drift, evaluators
from mollax.data import Dataset, Split


class Plain(nn.Module):
    """Pixels are features."""

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        return self.head(self.features(images, train=train))

    def features(self, images: jax.Array, *, train: bool) -> jax.Array:
        return images.reshape(len(images), -1)

    def head(self, features: jax.Array) -> jax.Array:
        return features[:, :2]


def images(count: int, seed: int, level: float = 128, spread: float = 20) -> Split:
    rng = np.random.default_rng(seed)
    pixels = np.rint(rng.normal(level, spread, (count, 2, 2, 1))).clip(0, 255).astype(np.uint8)
    return Split(pixels, (np.arange(count) % 2).astype(np.int32))


DATASET = Dataset("made", images(300, 0), images(80, 1), images(80, 2), ("a", "b"))
SETS = {"brighter": images(60, 3, level=170), "crowded": images(60, 4, spread=4)}


def evaluator(**options: Any) -> evaluators.DriftEvaluator:
    arguments = {"mean": jnp.full(1, 0.5), "std": jnp.full(1, 0.1), "images": 60, "batch_size": 100} | options
    return evaluators.DriftEvaluator(Plain(), DATASET, SETS, **arguments)


@pytest.fixture(scope="module")
def block() -> dict[str, Any]:
    return evaluator().run({})


def test_same_images_do_not_alarm_and_others_do_with_their_sign(block: dict[str, Any]) -> None:
    rows = {row["name"]: row for row in block["sets"]}
    assert list(rows) == ["test", "brighter", "crowded"]
    assert rows["test"]["excess"]["p_value"] > 0.05
    assert rows["brighter"]["excess"]["p_value"] < 0.01
    assert rows["brighter"]["excess"]["value"] > 0
    assert rows["brighter"]["flagged"] > 0.5
    # In the middle of the training images: more typical, but nearer to each other than to these.
    assert rows["crowded"]["excess"]["value"] < 0
    assert rows["crowded"]["companion"]["value"] > 0
    assert rows["crowded"]["companion"]["p_value"] < 0.01


def test_numbers_are_those_of_the_audit(block: dict[str, Any]) -> None:
    def points(split: Split, count: int) -> np.ndarray:
        chosen = split.images[np.linspace(0, len(split) - 1, min(count, len(split))).astype(int)]
        return ((chosen.reshape(len(chosen), -1) / np.float32(255) - 0.5) / 0.1).astype(np.float32)

    bank = points(DATASET.train, 300)
    held = points(DATASET.validation, 60)
    held = held[~drift.copies(held, bank)]
    assert (block["bank"], block["held"], block["dimensions"]) == (300, len(held), 4)
    assert block["sigma"] == pytest.approx(drift.choose_theta(drift.Gaussian, bank).theta, rel=0.02)
    found = drift.audit(bank, held, points(SETS["brighter"], 60), drift.Gaussian(block["sigma"]), baselines=False)
    assert block["sets"][1]["excess"]["value"] == pytest.approx(found.excess.value, rel=1e-3)
    spread = found.held_contributions.std(ddof=1)  # as the command has it
    assert block["sets"][1]["effect"] == pytest.approx(found.excess.value / spread, rel=1e-3)


def test_features_that_are_all_equal_are_said_and_lose_nothing() -> None:
    class Dead(Plain):
        def features(self, images: jax.Array, *, train: bool) -> jax.Array:
            return jnp.zeros((len(images), 3), jnp.float32)

    made = evaluators.DriftEvaluator(
        Dead(), DATASET, {}, mean=jnp.full(1, 0.5), std=jnp.full(1, 0.1), images=60, batch_size=100
    )
    assert "identical" in made.run({})["failed"]


def test_a_set_of_one_image_is_named_and_costs_no_other_one() -> None:
    sets = {"single": images(1, 3), "brighter": SETS["brighter"]}
    made = evaluators.DriftEvaluator(
        Plain(), DATASET, sets, mean=jnp.full(1, 0.5), std=jnp.full(1, 0.1), images=60, batch_size=100
    )
    block = made.run({})
    assert "failed" not in block
    rows = {row["name"]: row for row in block["sets"]}
    assert rows["single"] == {"name": "single", "images": 1, "failed": rows["single"]["failed"]}
    assert "at least 2 points; got 1" in rows["single"]["failed"]
    assert rows["brighter"]["excess"]["p_value"] < 0.01


def test_too_few_images() -> None:
    with pytest.raises(ValueError, match=r"eval\.drift\.images must be"):
        evaluator(images=5)
