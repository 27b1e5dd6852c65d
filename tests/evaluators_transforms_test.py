"""What the evaluator says of an augmenter whose transforms are known."""

import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from mollax import data, invariance, models
from mollax.evaluators import TransformEvaluator, alignment_block
from mollax.evaluators.transforms import INPUT_ANGLES
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
    np.testing.assert_allclose(block["examples"][0]["angle_range"], [30 - 8.8, 30 + 8.8], atol=0.7)
    # Level, as it ignores its input.
    np.testing.assert_allclose(block["input_rotation"]["median"], 30, atol=1)
    assert block["input_rotation"]["directed"] == [20] * len(INPUT_ANGLES)
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


class Told(nn.Module):
    """Draws the angles that `angles` gives for a standard normal and a uniform number of each draw and the image."""

    angles: Callable[..., jax.Array]
    kind: str = "rotation"

    def __call__(self, keys, images, *, n, limits=None):
        even = jax.vmap(lambda key: jax.random.uniform(key, (n,)))(keys)
        degrees = self.angles(even, images)
        params = ((degrees + 180) % 360 / 180 - 1)[..., None]
        matrices = matrices_of(params, kind=self.kind, entry_range=math.pi, limits=(0.5, 1.0))
        zeros = jnp.zeros(len(images))
        return Draws(params, matrices, jnp.zeros(params.shape[:2]), zeros, zeros)


def pose(images):
    """Direction of the brightest pixels from the centre, degrees counter-clockwise from upwards, of 9x9 images."""
    y, x = jnp.meshgrid(jnp.arange(4.0, -5.0, -1.0), jnp.arange(-4.0, 5.0), indexing="ij")
    y, x = y[None], x[None]
    weight = images[..., 0] - images.min()
    return jnp.rad2deg(jnp.arctan2(-(weight * x).sum((1, 2)), (weight * y).sum((1, 2))))[:, None]


def followed(angles, *, shape=(9, 9), draws=200, images=12):
    """The block "input_rotation" of images with a bar upwards, for draws as `Told` makes them."""
    pixels = np.zeros((images, *shape, 1), np.uint8)
    pixels[:, : shape[0] // 2, shape[1] // 2] = 255
    split = data.Split(pixels, np.zeros(images, np.int32))
    bars = data.Dataset("bars", split, split, split, ("bar",))
    model = invariance.TransformedClassifier(models.create_model("mlp", classes=1, hidden=()), Told(angles))
    key, start = jax.random.split(jax.random.key(0), 1), jnp.zeros((1, *shape, 1))
    variables = model.init(jax.random.key(0), key, start, method="start")
    made = TransformEvaluator(model, bars, mean=tiny.MEAN, std=tiny.STD, name="told", images=images, draws=draws)
    return made, variables


def band(angles, **options):
    made, variables = followed(angles, **options)
    return made._input_rotation(variables, None)


@pytest.mark.parametrize("draws", [20, 200])
def test_draws_from_all_sides_have_no_median(draws):
    found = band(lambda even, images: 360 * even, draws=draws)
    assert found["low"] == found["median"] == found["high"] == [None] * len(INPUT_ANGLES)
    assert max(found["directed"]) <= 1
    modes = band(lambda even, images: 120 * jnp.floor(3 * even) + 20 * even, draws=draws)
    assert modes["median"] == [None] * len(INPUT_ANGLES)


def test_modes_that_ignore_the_input_are_level():
    """Three modes of unequal masses have a direction: their median is that of the largest, whatever the input."""
    found = band(lambda even, images: 100 + 120 * jnp.floor(jnp.maximum(5 * even, 3) - 3) + 10 * even)
    np.testing.assert_allclose(found["median"], found["median"][6], atol=1e-3)
    np.testing.assert_allclose(found["median"][6], 105, atol=6)
    # On the far side of the circle as well, where draws around the input's opposite would be taken for undoing it.
    found = band(lambda even, images: 180 + 40 * (even - 0.5))
    assert np.ptp(found["median"]) < 1


def test_a_median_that_undoes_the_input_follows_it_all_around():
    found = band(lambda even, images: 150 * (even - 0.5) - pose(images))
    np.testing.assert_allclose(found["median"], np.negative(INPUT_ANGLES), atol=6)
    np.testing.assert_allclose(np.subtract(found["high"], found["low"]), 0.98 * 150, atol=8)
    ahead = band(lambda even, images: 10 * even - 2 * pose(images))
    np.testing.assert_allclose(ahead["median"], -2 * np.array(INPUT_ANGLES) + 5, atol=12)


def test_images_without_a_direction_are_left_out():
    """Half of the images see their pose, by their place in the batch; of fewer than a quarter nothing is drawn."""

    def some(count):
        def angles(even, images):
            sees = (jnp.arange(len(images)) < count)[:, None]
            return jnp.where(sees, 20 * (even - 0.5) - pose(images), 360 * even)

        return band(angles)

    half = some(6)
    np.testing.assert_allclose(half["median"], np.negative(INPUT_ANGLES), atol=6)
    assert set(half["directed"]) <= {6, 7}
    assert some(1)["median"] == [None] * len(INPUT_ANGLES)


def test_inputs_are_turned_rigidly_on_images_that_are_not_square():
    made, variables = followed(lambda even, images: 10 * even, shape=(21, 41))
    shown = {}
    drawn = made._drawn

    def spy(variables, images, index, progress):
        shown[len(shown)] = images
        return drawn(variables, images, index, progress)

    made._drawn = spy
    made._input_rotation(variables, None)
    upright = shown[0][0, ..., 0]
    quarter = [image[0, ..., 0] for image in shown.values() if image[0, 10, :20].min(axis=-1)[10:].all()]
    assert len(quarter) == 1
    np.testing.assert_allclose(quarter[0][:, 10:31], np.rot90(upright[:, 10:31]), atol=1)


def test_single_images_and_black_ones_have_no_spread(rng):
    images = rng.uniform(size=(5, 4, 4, 1)).astype(np.float32)
    images[3:] = 0
    block = alignment_block(images, images, np.array([0, 0, 1, 2, 2]), list("abc"))
    assert block["before"][1:] == block["after"][1:] == [None, None]
    assert block["before"][0] > 0
    assert block["mean_before"].shape == (3, 4, 4, 1)


def test_bad_counts(dataset):
    for name in ("images", "draws", "steps", "align_draws"):
        with pytest.raises(ValueError, match=f"eval.transforms.{name} must be at least 1"):
            evaluator(dataset, Oracle(), **{name: 0})
    with pytest.raises(ValueError, match=r"eval.transforms.step_size must be in \(0, 2\)"):
        evaluator(dataset, Oracle(), step_size=2.0)
