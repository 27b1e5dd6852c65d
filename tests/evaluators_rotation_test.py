"""Accuracy of turned images and expected KL, for predictions that are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mollax.data import Dataset, Split
from mollax.evaluators import RotationEvaluator
from mollax.invariance.ekld import expected_kl

MEAN, STD = jnp.array([0.5]), jnp.array([0.5])


@pytest.fixture(scope="module")
def dataset():
    """Bright above (class 0) or below (class 1); twice as many of the first in training."""
    images = np.zeros((12, 9, 9, 1), np.uint8)
    labels = np.arange(12, dtype=np.int32) % 2
    for image, label in zip(images, labels, strict=True):
        image[slice(0, 3) if label == 0 else slice(6, 9), 3:6] = 255
    train = Split(images[[0, 2, 1]], labels[[0, 2, 1]])
    test = Split(images, labels)
    return Dataset("bars", train, test, test, ("above", "below"))


def brightness(variables, keys, images):
    """Logits from what is bright."""
    return jnp.stack([images[:, :3].mean((1, 2, 3)), images[:, 6:].mean((1, 2, 3))], 1) * variables


def test_accuracy_follows_the_rotation(dataset):
    made = RotationEvaluator({"as it is": brightness}, dataset, mean=MEAN, std=STD, angles=(-180, 0, 180), batch_size=8)
    block = made.run(jnp.float32(5.0))
    assert block == {
        "images": 12,
        "angles": [-180, 0, 180],
        "accuracy": {"as it is": [0.0, 1.0, 0.0]},
        "expected_kl": None,
    }


def test_ways_to_predict_see_the_same_images(dataset):
    def blind(variables, keys, images):
        return jnp.zeros((len(images), 2)) * variables

    shown = []
    made = RotationEvaluator(
        {"as it is": brightness, "aligned": blind},
        dataset,
        mean=MEAN,
        std=STD,
        angles=(30.0,),
        images=6,
        kl_degrees=20.0,
        kl_draws=3,
    )
    block = made.run(jnp.float32(5.0), progress=lambda what, done, total: shown.append((done, total)))
    assert block["images"] == 6
    images = block["accuracy"]["aligned"][0] * 6
    assert images == round(images)  # always "above": as many as the chosen ones have
    # Of the ways to predict, the last that does not align.
    assert block["expected_kl"]["prediction"] == "as it is"
    assert shown[-1][0] == shown[-1][1]


def test_expected_kl_is_that_of_random_rotations(dataset):
    settings = {"mean": MEAN, "std": STD, "kl_degrees": 60.0, "kl_draws": 4}
    block = RotationEvaluator({"as it is": brightness}, dataset, **settings).run(jnp.float32(5.0))["expected_kl"]
    assert block["names"] == ["above", "below"]
    assert block["class_sizes"] == [2, 1]
    assert block["accuracy"] == [1.0, 1.0]
    assert min(block["ekld"]) > 1e-3
    still = RotationEvaluator({"as it is": brightness}, dataset, **settings | {"kl_degrees": 1e-4})
    np.testing.assert_allclose(still.run(jnp.float32(5.0))["expected_kl"]["ekld"], 0, atol=1e-4)
    assert expected_kl(np.log([[0.5, 0.5]]), np.log([[[0.5, 0.5]]]))[0] == 0


def test_noise_of_a_prediction_is_no_divergence(dataset):
    """Still and turned images draw the same; different images and different rotations do not."""

    def noisy(variables, keys, images):
        return brightness(variables, keys, images) + jax.vmap(lambda key: jax.random.normal(key, (2,)))(keys)

    settings = {"mean": MEAN, "std": STD, "kl_draws": 3}
    made = RotationEvaluator({"averaged": noisy}, dataset, kl_degrees=1e-4, **settings)
    np.testing.assert_allclose(made.run(jnp.float32(5.0))["expected_kl"]["ekld"], 0, atol=1e-4)
    wide = RotationEvaluator({"averaged": noisy}, dataset, kl_degrees=60.0, **settings).run(jnp.float32(5.0))
    assert min(wide["expected_kl"]["ekld"]) > 1e-3


def test_turns_are_rigid_on_images_that_are_not_square(rng):
    images = rng.integers(0, 255, (2, 21, 41, 1), dtype=np.uint8)
    split = Split(images, np.arange(2, dtype=np.int32))
    wide = Dataset("wide", split, split, split, ("a", "b"))
    made = RotationEvaluator(
        {"pixels": lambda variables, keys, images: images.reshape(len(images), -1) + variables},
        wide,
        mean=jnp.array([0.0]),
        std=jnp.array([1.0]),
        angles=(90.0,),
    )
    turned = made._predictors["pixels"].logits(jnp.float32(0.0), split, stress="90 degrees").reshape(2, 21, 41)
    np.testing.assert_allclose(turned[:, :, 10:31], np.rot90(images[:, :, 10:31, 0], axes=(1, 2)) / 255, atol=1e-3)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"angles": (400.0,)}, "an angle of eval.rotations.angles must be in"),
        ({"kl_degrees": 181.0}, "eval.rotations.kl_degrees must be in"),
        ({"kl_draws": 0}, "eval.rotations.kl_draws must be at least 1"),
        ({"images": -1}, "eval.rotations.images must be at least 0"),
    ],
)
def test_bad_settings(dataset, options, message):
    with pytest.raises(ValueError, match=message):
        RotationEvaluator({"as it is": brightness}, dataset, mean=MEAN, std=STD, **options)
