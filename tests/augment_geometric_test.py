"""FCR against NumPy's pad, slice and flip, PIL's rotation, and the distributions it promises."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import stats

from mollax.augment import flip_crop_rotate, random_crop, random_flip, random_rotation

NUMPY_PAD = {"zeros": "constant", "border": "edge", "reflect": "reflect"}


def candidates(image: np.ndarray, pad: int, flips: tuple[bool, ...], padding: str = "zeros") -> np.ndarray:
    """Every possible outcome, by NumPy alone: flips x (2 pad + 1)^2 windows."""
    height, width, _ = image.shape
    if padding == "mean":
        planes = [np.pad(image[..., c], pad, constant_values=image[..., c].mean()) for c in range(image.shape[2])]
        padded = np.stack(planes, axis=-1)
    else:
        padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)), mode=NUMPY_PAD[padding])
    places = range(2 * pad + 1)
    windows = [padded[i : i + height, j : j + width] for i in places for j in places]
    return np.stack([window[:, ::-1] if flip else window for flip in flips for window in windows])


def outcomes(function: Callable, image: np.ndarray, draws: int, seed: int = 20) -> np.ndarray:
    """The results of `draws` keys, in one jitted batch."""
    # Keys as raw data: making them on the device would compile a program for every count.
    data = np.stack([np.full(draws, seed), np.arange(draws)], axis=1).astype(np.uint32)
    keys = jax.random.wrap_key_data(jnp.asarray(data))
    return np.asarray(jax.jit(jax.vmap(lambda key: function(key, jnp.asarray(image))))(keys))


def which(results: np.ndarray, table: np.ndarray, atol: float = 0.0) -> np.ndarray:
    """The index of the one table entry each result equals; fails where there is none."""
    distance = np.abs(results[:, None] - table[None]).max(axis=(2, 3, 4))
    assert (distance <= atol).sum(axis=1).tolist() == [1] * len(results)
    return distance.argmin(axis=1)


def angles_of(function: Callable, draws: int) -> np.ndarray:
    """Draws' angles in degrees, read off a warped map of positions one pixel right of the centre."""
    rows, columns = np.meshgrid(np.arange(7.0) - 3, np.arange(7.0) - 3, indexing="ij")
    results = outcomes(function, np.stack([rows, columns], axis=-1).astype(np.float32), draws)
    return np.rad2deg(np.arctan2(results[:, 3, 4, 0], results[:, 3, 4, 1]))


@pytest.mark.parametrize(
    "shape, padding",
    [
        ((8, 8, 3), "zeros"),
        ((6, 9, 1), "zeros"),
        ((6, 9, 1), "border"),
        ((6, 9, 2), "reflect"),
        ((9, 6, 3), "mean"),
    ],
)
def test_without_rotation_the_result_is_an_exact_crop_and_flip(
    shape: tuple[int, int, int], padding: str, rng: np.random.Generator
) -> None:
    image = rng.random(shape, np.float32)
    function = functools.partial(flip_crop_rotate, pad=2, degrees=0, padding=padding)
    # The mean is a float32 sum, whose order is not NumPy's.
    atol = 1e-6 if padding == "mean" else 0.0
    which(outcomes(function, image, 50), candidates(image, 2, (False, True), padding), atol)


def test_flips_and_places_are_uniform(rng: np.random.Generator) -> None:
    image = rng.random((7, 7, 1), np.float32)
    table = candidates(image, 2, (False, True))
    drawn = which(outcomes(functools.partial(flip_crop_rotate, pad=2, degrees=0), image, 5000), table)
    assert stats.chisquare(np.bincount(drawn, minlength=len(table))).pvalue > 0.01
    crops = which(outcomes(functools.partial(random_crop, pad=2), image, 2500), candidates(image, 2, (False,)))
    assert stats.chisquare(np.bincount(crops, minlength=25)).pvalue > 0.01
    flips = which(outcomes(random_flip, image, 2000), candidates(image, 0, (False, True)))
    assert stats.binomtest(int(flips.sum()), 2000).pvalue > 0.01


def test_angles_are_uniform_and_independent_of_flips() -> None:
    for function in (random_rotation, functools.partial(flip_crop_rotate, flip=False, pad=0)):
        angles = angles_of(function, 2000)
        assert stats.kstest(angles, stats.uniform(-15, 30).cdf).pvalue > 0.01
    flipped = outcomes(functools.partial(flip_crop_rotate, pad=0, degrees=0), np.eye(7, 7)[..., None], 2000)
    with_flip = angles_of(functools.partial(flip_crop_rotate, flip=False, pad=0), 2000)
    assert abs(np.corrcoef(flipped[:, 0, 0, 0], with_flip)[0, 1]) < 0.06


@pytest.mark.parametrize("shape", [(21, 21, 3), (18, 25, 1)])
def test_rotation_is_pils(shape: tuple[int, int, int], rng: np.random.Generator) -> None:
    function = functools.partial(random_rotation, degrees=60)
    image = rng.random(shape, np.float32)
    results, angles = outcomes(function, image, 4), angles_of(function, 4)
    rows, columns = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape[:2]), indexing="ij")
    # Inside this disc every read lies within the image; PIL does not blend with black around it.
    disc = rows**2 + columns**2 < ((min(shape[:2]) - 1) / 2) ** 2
    for result, angle in zip(results, angles, strict=True):
        for channel in range(shape[2]):
            plane = Image.fromarray(image[..., channel])
            pil = np.asarray(plane.rotate(angle, resample=Image.Resampling.BILINEAR))
            np.testing.assert_allclose(result[..., channel][disc], pil[disc], atol=5e-4)
            # Black outside: a corner of the turned frame.
            assert result[0, 0, channel] == 0 or abs(angle) < 5


def test_nearest_interpolation_invents_no_values_and_is_pils(rng: np.random.Generator) -> None:
    function = functools.partial(random_rotation, degrees=40, interpolation="nearest")
    image = rng.random((20, 20, 1), np.float32)
    # Angles come from the same keys, whatever the interpolation.
    results, angles = (
        outcomes(function, image, 4),
        angles_of(functools.partial(random_rotation, degrees=40), 4),
    )
    for result, angle in zip(results, angles, strict=True):
        assert np.isin(result, np.append(image, 0)).all()
        pil = np.asarray(Image.fromarray(image[..., 0]).rotate(angle, resample=Image.Resampling.NEAREST))
        # Reads half way between two pixels may fall to either side.
        assert (result[..., 0] != pil).mean() < 0.02


@pytest.mark.parametrize("shape, padding", [((12, 12, 2), "zeros"), ((10, 15, 1), "reflect")])
def test_a_vanishing_angle_gives_the_exact_path(
    shape: tuple[int, int, int], padding: str, rng: np.random.Generator
) -> None:
    image = rng.random(shape, np.float32)
    exact = outcomes(functools.partial(flip_crop_rotate, pad=3, degrees=0, padding=padding), image, 30)
    warped = outcomes(functools.partial(flip_crop_rotate, pad=3, degrees=1e-7, padding=padding), image, 30)
    np.testing.assert_allclose(warped, exact, atol=5e-6)


def test_one_warp_equals_crop_then_flip_then_rotation(rng: np.random.Generator) -> None:
    image = rng.random((21, 21, 1), np.float32)
    keys = jax.random.split(jax.random.key(3), 12)

    def both(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        staged = flip_crop_rotate(key, jnp.asarray(image), degrees=0)
        staged = flip_crop_rotate(key, staged, flip=False, pad=0, degrees=40)
        return flip_crop_rotate(key, jnp.asarray(image), degrees=40), staged

    once, staged = jax.jit(jax.vmap(both))(keys)
    rows, columns = np.meshgrid(np.arange(21) - 10, np.arange(21) - 10, indexing="ij")
    # Nearer to the corners the staged form has lost what the crop cut off.
    disc = rows**2 + columns**2 < 10**2
    np.testing.assert_allclose(once[:, disc], staged[:, disc], atol=1e-5)
    assert np.abs(np.asarray(once - staged)[:, ~disc]).max() > 0.1


def test_parts_switch_off() -> None:
    image = jnp.asarray(np.random.default_rng(0).random((8, 8, 1), np.float32))
    off = functools.partial(flip_crop_rotate, flip=False, pad=0, degrees=0)
    np.testing.assert_array_equal(outcomes(off, image, 8), np.broadcast_to(image, (8, 8, 8, 1)))
    for function in (functools.partial(random_crop, pad=0), functools.partial(random_rotation, degrees=0)):
        np.testing.assert_array_equal(outcomes(function, image, 3), np.broadcast_to(image, (3, 8, 8, 1)))


def test_the_default_pad_is_an_eighth_of_the_side(rng: np.random.Generator) -> None:
    image = rng.random((17, 32, 1), np.float32)
    drawn = which(
        outcomes(functools.partial(flip_crop_rotate, degrees=0, flip=False), image, 300),
        candidates(image, 2, (False,)),
    )
    assert set(drawn) == set(range(25))


def test_a_key_fixes_the_result_and_its_batch_does_not(key: jax.Array, rng: np.random.Generator) -> None:
    images = jnp.asarray(rng.random((6, 16, 16, 3), np.float32))
    keys = jax.random.split(key, 6)
    in_batch, single = jax.jit(jax.vmap(flip_crop_rotate)), jax.jit(flip_crop_rotate)
    batch = in_batch(keys, images)
    np.testing.assert_array_equal(batch, in_batch(keys, images))
    for i in (0, 5):
        np.testing.assert_allclose(batch[i], single(keys[i], images[i]), atol=1e-5)
    assert batch.dtype == jnp.float32
    assert batch.min() >= 0
    assert batch.max() <= 1
    assert np.abs(np.asarray(batch[0] - single(keys[1], images[0]))).max() > 0.1


def test_padding_at_the_limit_of_the_image(key: jax.Array, rng: np.random.Generator) -> None:
    image = rng.random((5, 5, 1), np.float32)
    for padding in (*NUMPY_PAD, "mean"):
        function = functools.partial(random_crop, pad=5, padding=padding)
        table = candidates(image, 5, (False,), padding)
        results = outcomes(function, image, 10)
        # Windows beyond the image can coincide, so each result need only be among them.
        assert (np.abs(results[:, None] - table[None]).max(axis=(2, 3, 4)).min(axis=1) < 1e-6).all()


def test_gradients_reach_the_image(key: jax.Array) -> None:
    # The result is linear in the image: gradient times image, summed, is the result's sum.
    image = jnp.full((9, 9, 1), 0.5)
    total, gradient = jax.jit(jax.value_and_grad(lambda x: jnp.sum(flip_crop_rotate(key, x))))(image)
    np.testing.assert_allclose(jnp.sum(gradient) * 0.5, total, rtol=1e-5)


def test_bad_arguments_are_named(key: jax.Array, unhooked: None) -> None:
    image = jnp.zeros((8, 8, 3))
    with pytest.raises(ValueError, match="pad must be at least 0; got -1"):
        flip_crop_rotate(key, image, pad=-1)
    with pytest.raises(ValueError, match="pad must be at most the shorter side of the image, 8 pixels; got 9"):
        random_crop(key, image, pad=9)
    with pytest.raises(TypeError, match=r"pad must be an integer, got 1.5"):
        flip_crop_rotate(key, image, pad=1.5)
    with pytest.raises(ValueError, match=r"degrees must be in \[0, 180\]; got -5"):
        flip_crop_rotate(key, image, degrees=-5)
    with pytest.raises(ValueError, match=r"padding must be one of 'zeros', .*; got 'nearest'"):
        flip_crop_rotate(key, image, padding="nearest")
    with pytest.raises(ValueError, match=r"interpolation must be one of 'bilinear', 'nearest'; got 'linear'"):
        random_rotation(key, image, interpolation="linear")
    with pytest.raises(ValueError, match=r"image must have 3 axes .*got shape \(2, 8, 8, 3\).*"):
        flip_crop_rotate(key, jnp.zeros((2, 8, 8, 3)))
    for function in (flip_crop_rotate, random_flip, random_crop, random_rotation):
        with pytest.raises(TypeError, match=r"image must be floats, not uint8. Divide 8-bit values by 255"):
            function(key, jnp.zeros((8, 8, 3), jnp.uint8))
    with pytest.raises(ValueError, match="height must be at least 2; got 1"):
        random_rotation(key, jnp.zeros((1, 8, 3)))
