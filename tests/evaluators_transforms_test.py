"""What the evaluator says of an augmenter whose transforms are known."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from mollax import data, invariance, models
from mollax.evaluators import TransformEvaluator, alignment_block
from mollax.evaluators.transforms import INPUT_ANGLES, angle_percentiles
from mollax.image import affine_warp, rotation
from mollax.invariance.draws import Draws, matrices_of


class Oracle(nn.Module):
    """Turns every image by 30 degrees, give or take 9."""

    kind: str = "rotation"
    entry_range: float = math.pi

    def __call__(self, keys, images, *, n, limits=None):
        noise = jax.vmap(lambda key: jax.random.uniform(key, (n, 1), minval=-1.0, maxval=1.0))(keys)
        params = jnp.tile(1 / 6 + 0.05 * noise, invariance.dimension(self.kind))
        matrices = matrices_of(params, kind=self.kind, entry_range=math.pi, limits=(0.5, 1.0))
        entropy = jnp.full(len(images), math.log(0.1))
        return Draws(params, matrices, jnp.broadcast_to(-entropy[:, None], params.shape[:2]), entropy, -entropy)


@pytest.fixture(scope="module")
def dataset():
    return data.load("digits", test_limit=60)


def evaluator(dataset, augmenter, **options):
    model = invariance.TransformedClassifier(models.create_model("mlp", classes=10, hidden=()), augmenter)
    keys, image = jax.random.split(jax.random.key(0), 1), jnp.zeros((1, 8, 8, 1))
    variables = model.init(jax.random.key(0), keys, image, method="start")
    settings = {"name": "oracle", "images": 20, "draws": 100, **options}
    return TransformEvaluator(model, dataset, mean=tiny.MEAN, std=tiny.STD, **settings), variables


def test_ranges_of_the_validation_split(dataset):
    made, variables = evaluator(dataset, Oracle())
    found = made.validate(variables)
    assert set(found) <= {f"range/{name}" for name in dataset.class_names}
    assert len(found) >= 5
    np.testing.assert_allclose(list(found.values()), 0.98 * 18, atol=1)
    made, variables = evaluator(dataset, Oracle(kind="translation"))
    assert made.validate(variables) == {}


def test_numbers_of_a_known_distribution(dataset):
    made, variables = evaluator(dataset, Oracle(), max_entropy=math.log(2))
    block = made.run(variables)
    pictures = block.pop("pictures")
    assert (block["augmenter"], block["kind"], block["parameters"]) == ("oracle", "rotation", ["rotate"])
    assert (block["images"], block["draws"], block["alignment"], block["rotation_error"]) == (20, 100, None, None)
    np.testing.assert_allclose(block["entropy"], math.log(0.1), rtol=1e-6)
    np.testing.assert_allclose(block["per_class"]["range"], 0.98 * 18, atol=1)
    assert len(block["examples"]) == 8
    np.testing.assert_allclose([np.mean(example["angles"]) for example in block["examples"]], 30, atol=2)
    # Near -input, so that it may be a whole turn away; at input 150 it may be either.
    medians = np.delete(block["input_rotation"]["median"], INPUT_ANGLES.index(150))
    np.testing.assert_allclose(medians % 360, 30, atol=1)
    np.testing.assert_allclose(
        np.subtract(block["input_rotation"]["high"], block["input_rotation"]["low"]), 17.6, atol=0.6
    )
    # A picture is its example, turned by its own first draw.
    angle = math.radians(block["examples"][0]["angles"][0])
    expected = affine_warp(jnp.asarray(pictures["examples"][0]), rotation(angle))
    np.testing.assert_allclose(pictures["drawn"][0, 0], expected, atol=1e-3)


def test_alignment_turns_by_the_sum_of_its_steps(dataset):
    made, variables = evaluator(dataset, Oracle(), aligned=10, steps=3, step_size=0.5, align_draws=200)
    images = np.random.default_rng(0).uniform(size=(4, 8, 8, 1)).astype(np.float32)
    after, matrices = made.align_images(variables, images)
    np.testing.assert_allclose(np.rad2deg(invariance.turn_angle(matrices)), 45, atol=1.5)
    np.testing.assert_allclose(after[0], affine_warp(jnp.asarray(images[0]), jnp.asarray(matrices[0])), atol=1e-5)
    block = made.run(variables)
    assert block["alignment"]["images"] == 10
    assert len(block["alignment"]["names"]) == len(block["pictures"]["before"])
    with pytest.raises(ValueError, match="the set of images is empty"):
        made.align_images(variables, images[:0])


def test_alignment_block_of_images_that_agree_afterwards(rng):
    before = rng.uniform(size=(6, 4, 4, 1))
    labels = np.array([3, 3, 3, 1, 1, 1])
    after = np.repeat(before[[0, 3]], 3, axis=0)
    block = alignment_block(before, after, labels, list("abcd"))
    assert block["names"] == ["b", "d"]
    np.testing.assert_allclose(block["after"], 0, atol=1e-12)
    assert min(block["before"]) > 0.05
    np.testing.assert_allclose(block["mean_after"][1], before[0], rtol=1e-6)


def test_distance_to_rotations_is_measured_where_there_are_others(dataset):
    made, variables = evaluator(dataset, invariance.Uniform("decoupled_rotation", width=0.3), draws=50)
    block = made.run(variables)["rotation_error"]
    assert 0 < block["drawn"] < block["random"] < 1
    assert block["angle_spread"] > 5


def test_crops_have_no_angles(dataset):
    made, variables = evaluator(dataset, invariance.Uniform("crop"), aligned=5, draws=10)
    block = made.run(variables)
    assert block["per_class"]["range"] is None
    assert block["examples"][0]["angles"] is None
    assert block["input_rotation"] is None
    assert block["alignment"] is None


def test_percentiles_go_around_the_circle(rng):
    straight = rng.uniform(-30, 30, (2, 4000))
    turned = (straight + 180 + 180) % 360 - 180
    np.testing.assert_allclose(angle_percentiles(straight)[1], 0, atol=2)
    low, _, high = angle_percentiles(turned)
    np.testing.assert_allclose(high - low, 0.98 * 60, atol=2)
    np.testing.assert_allclose(angle_percentiles(turned, near=-170.0)[1], -180, atol=2)
    np.testing.assert_allclose(angle_percentiles(turned, near=170.0)[1], 180, atol=2)


def test_bad_counts(dataset):
    for name in ("images", "draws", "steps", "align_draws"):
        with pytest.raises(ValueError, match=f"eval.transforms.{name} must be at least 1"):
            evaluator(dataset, Oracle(), **{name: 0})
    with pytest.raises(ValueError, match=r"eval.transforms.step_size must be in \(0, 2\)"):
        evaluator(dataset, Oracle(), step_size=2.0)
