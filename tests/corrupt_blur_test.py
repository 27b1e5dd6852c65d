"""The blurs against SciPy, plain loops over the definitions, and ImageMagick."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage, stats

from mollax.corrupt import blur, severity
from mollax.corrupt.blur import defocus_blur, disc, gaussian_blur, glass_blur, motion_blur, motion_blur_along, zoom_blur
from mollax.image import random

P_LIMIT = 1e-3


def rows(name: str) -> list[tuple]:
    """All constants of a corruption, over sizes and severities, once each."""
    found = [row if isinstance(row, tuple) else (row,) for t in severity.TABLES.values() for row in t[name]]
    return sorted(set(found))


def draw(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Random gray levels in [0, 1]."""
    return rng.integers(0, 256, shape).astype(np.float32) / np.float32(255)


# --- the definitions, plainly, in float64


def plain_gaussian(image: np.ndarray, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter(image.astype(np.float64), (sigma, sigma, 0), mode="nearest", truncate=4.0)


def plain_disc(radius: float, alias_sd: float) -> np.ndarray:
    reach, smooth = (8, 1) if radius <= 8 else (int(radius), 2)
    x, y = np.meshgrid(np.arange(-reach, reach + 1), np.arange(-reach, reach + 1))
    inside = np.asarray(x**2 + y**2 <= radius**2, float)
    weights = np.exp(-(np.arange(-smooth, smooth + 1) ** 2) / (2 * alias_sd**2))
    weights /= weights.sum()
    return ndimage.correlate(inside / inside.sum(), np.outer(weights, weights), mode="mirror")


def plain_defocus(image: np.ndarray, radius: float, alias_sd: float) -> np.ndarray:
    return ndimage.correlate(image.astype(np.float64), plain_disc(radius, alias_sd)[..., None], mode="mirror")


def plain_shuffle(image: np.ndarray, offsets: np.ndarray, reach: int) -> np.ndarray:
    """Pixel after pixel from the bottom right; what looks like a swap of views copies."""
    image = image.copy()
    height, width = image.shape[:2]
    for down, across in offsets:
        for h in range(height - reach, reach, -1):
            for w in range(width - reach, reach, -1):
                image[h, w] = image[h + down[h, w], w + across[h, w]]
    return image


def plain_motion(image: np.ndarray, radius: int, sigma: float, degrees: float) -> np.ndarray:
    height, width, _ = image.shape
    weights = [np.exp(-(i**2) / (2 * sigma**2)) for i in range(2 * radius + 1)]
    total = np.zeros(image.shape)
    for i, weight in enumerate(weights):
        down = int(np.ceil(i * np.sin(np.deg2rad(degrees)) - 0.5))
        right = int(np.ceil(i * np.cos(np.deg2rad(degrees)) - 0.5))
        y, x = np.clip(np.arange(height) + down, 0, height - 1), np.clip(np.arange(width) + right, 0, width - 1)
        total += weight / sum(weights) * image[y[:, None], x]
    return total


def plain_zoom(image: np.ndarray, factor: float) -> np.ndarray:
    height, width, _ = image.shape
    part_h, part_w = int(np.ceil(height / factor)), int(np.ceil(width / factor))
    top, left = (height - part_h) // 2, (width - part_w) // 2
    part = image[top : top + part_h, left : left + part_w].astype(np.float64)
    zoomed = ndimage.zoom(part, (factor, factor, 1), order=1)
    top, left = (zoomed.shape[0] - height) // 2, (zoomed.shape[1] - width) // 2
    return zoomed[top : top + height, left : left + width]


def plain_zoom_blur(image: np.ndarray, step: float, count: int) -> np.ndarray:
    # The published scripts give the end of the range: 1.06, 1.11, ... The count is what NumPy makes of it.
    factors = np.arange(1, 1 + step * (count - 0.5), step)
    assert len(factors) == count
    return (image + sum(plain_zoom(image, factor) for factor in factors)) / (count + 1)


# --- deterministic blurs


@pytest.mark.parametrize("sigma", [0.05, 0.25, 0.4, 1, 6.0, 9.0])
@pytest.mark.parametrize("shape", [(8, 13, 1), (32, 20, 3)])
def test_gaussian_blur_is_scipys(sigma: float, shape: tuple[int, int, int], rng: np.random.Generator) -> None:
    image = draw(rng, *shape)
    np.testing.assert_allclose(gaussian_blur(jnp.asarray(image), sigma), plain_gaussian(image, sigma), atol=2e-6)


@pytest.mark.parametrize("radius, alias_sd", [*rows("defocus_blur"), (8.0, 0.5), (12.0, 0.5)])
def test_the_disc_is_opencvs(radius: float, alias_sd: float) -> None:
    kernel = disc(radius, alias_sd)
    np.testing.assert_allclose(kernel, plain_disc(radius, alias_sd), atol=1e-12)
    assert abs(kernel.sum() - 1) < 1e-12 or radius >= 8  # smoothing loses nothing inside the grid
    if radius < 1:
        assert np.count_nonzero(kernel) == 9


@pytest.mark.parametrize("constants", [(0.3, 0.4), (1.5, 0.1), (3.0, 0.1), (4.0, 0.5), (10.0, 0.5)])
def test_defocus_blur_is_scipys_correlation(constants: tuple[float, float], rng: np.random.Generator) -> None:
    image = draw(rng, 8, 27, 3)
    result = defocus_blur(jnp.asarray(image), *constants)
    np.testing.assert_allclose(result, plain_defocus(image, *constants), atol=2e-6)


@pytest.mark.parametrize(
    "shape, constants",
    [((32, 32, 3), (0.01, n)) for n in (7, 12, 16, 21, 26)]
    + [((8, 33, 1), (0.01, 26)), ((64, 24, 1), (0.01, 26)), ((224, 12, 1), (0.03, 11)), ((96, 9, 3), (0.02, 13))],
)
def test_zoom_blur_is_scipys_zoom(
    shape: tuple[int, int, int], constants: tuple[float, int], rng: np.random.Generator
) -> None:
    image = draw(rng, *shape)
    result = jax.jit(zoom_blur, static_argnums=(1, 2))(jnp.asarray(image), *constants)
    np.testing.assert_allclose(result, plain_zoom_blur(image, *constants), atol=2e-6)


@pytest.mark.parametrize("upper, step, count", [(1.06, 0.01, 7), (1.16, 0.01, 16), (1.26, 0.02, 13), (1.31, 0.03, 11)])
def test_zoom_factors_are_those_of_numpys_arange(upper: float, step: float, count: int) -> None:
    ours = np.asarray([1 + i * ((1 + step) - 1) for i in range(count)])
    np.testing.assert_array_equal(ours, np.arange(1, upper, step))
    for size in (8, 32, 33, 64, 96, 224):
        for factor in ours:
            expected = plain_zoom(np.eye(size)[..., None], factor)[..., 0]
            matrix = blur.zoom_matrix(size, factor)
            np.testing.assert_allclose(matrix @ matrix.T, expected, atol=1e-9)


DETERMINISTIC = pytest.mark.parametrize(
    "name, plain",
    [("gaussian_blur", plain_gaussian), ("defocus_blur", plain_defocus), ("zoom_blur", plain_zoom_blur)],
)


@DETERMINISTIC
def test_real_images_keep_their_gray_levels(name: str, plain: Callable[..., np.ndarray], real_data: Path) -> None:
    with zipfile.ZipFile(real_data / "cifar10_jpeg.zip") as files:
        chosen = [file for file in files.namelist() if file.startswith("cifar10/test/") and file.endswith(".jpg")]
        images = np.stack([np.asarray(Image.open(io.BytesIO(files.read(file)))) for file in chosen[::1250]])
    images = images.astype(np.float32) / np.float32(255)
    constants = severity.constants(name, 5, 32, 32)
    ours = jax.jit(jax.vmap(lambda x: getattr(blur, name)(x, *constants)))(images)
    stored = np.floor(np.clip(ours, 0, 1) * np.float32(255))
    # Where a sum is a gray level, as for one pixel in nine under a box, rounding must not lose it.
    expected = np.floor(np.clip([plain(x, *constants) for x in images], 0, 1) * 255 + 1e-6)
    assert np.abs(stored - expected).max() <= 1
    assert (stored != expected).mean() < 0.001


# --- glass


@pytest.mark.parametrize("shape", [(9, 8), (12, 21)])
@pytest.mark.parametrize("reach, rounds", [(1, 1), (1, 2), (2, 2), (3, 1), (4, 3)])
def test_glass_sources_are_those_of_the_loop(
    shape: tuple[int, int], reach: int, rounds: int, rng: np.random.Generator
) -> None:
    offsets = rng.integers(-reach, reach, (5, rounds, 2, *shape)).astype(np.int32)
    # One image whose offsets all point to the last pixel that was visited: the longest chains there are.
    offsets[0] = (reach > 1) * np.asarray([0, 1])[:, None, None]
    ours = jax.jit(jax.vmap(lambda o: blur.glass_sources(o, reach)))(offsets)
    here = np.arange(shape[0] * shape[1]).reshape(shape)
    for source, offset in zip(np.asarray(ours), offsets, strict=True):
        np.testing.assert_array_equal(source, plain_shuffle(here, offset, reach))


@pytest.mark.parametrize("constants", [(0.05, 1, 1), (0.4, 1, 2), (0.9, 2, 2), (1.1, 3, 2)])
def test_glass_blur_is_the_loop_between_two_blurs(
    constants: tuple[float, int, int], key: jax.Array, rng: np.random.Generator
) -> None:
    sigma, reach, rounds = constants
    image = draw(rng, 24, 31, 3)
    dice = np.asarray(random.uniform(key, (rounds, 2, 24, 31)))
    truncated = np.floor(plain_gaussian(image, sigma) * 255 + 1e-6) / 255
    moved = plain_shuffle(truncated, np.floor(dice * 2 * reach).astype(int) - reach, reach)
    ours = jax.jit(glass_blur, static_argnums=(2, 3, 4))(key, jnp.asarray(image), *constants)
    difference = np.abs(ours - plain_gaussian(moved, sigma))
    # A sum just below a gray level may be truncated to the level itself.
    assert difference.max() < 1.01 / 255
    assert (difference > 2e-6).mean() < 0.02


def test_glass_neighbors_are_uniform_and_never_at_plus_reach(key: jax.Array) -> None:
    # Without a blur, colors that spell positions tell where each pixel came from.
    side = 250
    y, x = np.mgrid[:side, :side]
    image = jnp.asarray(np.stack([y, x, 0 * x], axis=-1), jnp.float32) / 255
    blurred = jax.jit(glass_blur, static_argnums=(2, 3, 4))(key, image, 0.05, 1, 1)
    moved = np.rint(np.asarray(blurred) * 255).astype(int)
    offsets = moved - np.stack([y, x, 0 * x], axis=-1)
    inner = offsets[2:, 2:]
    assert not np.delete(offsets, np.s_[2:], axis=0).any()
    assert not np.delete(offsets, np.s_[2:], axis=1).any()
    assert not inner[..., 2].any()
    assert set(np.unique(inner)) == {-1, 0}
    counts = np.bincount((2 * inner[..., 0] + inner[..., 1] + 3).reshape(-1), minlength=4)
    assert stats.chisquare(counts).pvalue > P_LIMIT


# --- motion

# What ImageMagick 6.9.11 makes of the image of `test_motion_blur_is_imagemagicks` at radius 6, sigma 2.
IMAGEMAGICK = {
    -30.7: """68 107 119 86 124 139 129 186 216 81 123 140 111 154 87 167 228 178 120 183 133 157 111 139 186 104 152
        138 135 113 143 140 120 100 126 195 112 135 185 113 84 97 139 214 229 201 130 124 105 89 195 185 165 219
        157 120 94 121 173 148 168 145 161 42 123 158 154 150 133 68 154 140""",
    -100.2: """0 75 166 45 92 183 62 109 200 12 92 187 71 122 132 101 152 162 35 132 159 144 127 79 139 122 159
        66 113 101 197 140 76 139 82 178 101 130 124 160 111 105 124 102 223 137 108 186 128 104 155 108 96 198
        174 85 159 95 117 180 164 77 140 126 117 155 137 106 140 121 117 151""",
}


@pytest.mark.parametrize("degrees", IMAGEMAGICK)
def test_motion_blur_is_imagemagicks(degrees: float) -> None:
    y, x = np.mgrid[:8, :9]
    image = jnp.asarray((37 * y + 91 * x + 13 * x * y * y) % 256, jnp.float32)[..., None] / 255
    expected = np.asarray(IMAGEMAGICK[degrees].split(), int).reshape(8, 9)
    ours = np.asarray(jax.jit(motion_blur_along, static_argnums=(1, 2))(image, 6, 2.0, degrees))[..., 0] * 255
    np.testing.assert_array_equal(np.rint(ours), expected)


@pytest.mark.parametrize("radius, sigma", [(6, 1.0), (9, 2.5), (20, 15.0)])
def test_motion_blur_along_is_the_definition(radius: int, sigma: float, rng: np.random.Generator) -> None:
    image, degrees = draw(rng, 12, 17, 3), rng.uniform(-180, 180, 6).astype(np.float32)
    ours = jax.jit(jax.vmap(lambda angle: motion_blur_along(jnp.asarray(image), radius, sigma, angle)))(degrees)
    for result, angle in zip(ours, degrees, strict=True):
        np.testing.assert_allclose(result, plain_motion(image, radius, sigma, float(angle)), atol=2e-6)


def test_motion_blur_draws_angles_within_45_degrees_and_rounds(key: jax.Array) -> None:
    # A white pixel leaves its trail against the direction: the trail's centroid gives the angle back.
    side, n = 61, 300
    image = jnp.zeros((side, side, 1)).at[30, 30].set(1.0)
    trails = jax.jit(jax.vmap(lambda k: motion_blur(k, image, 15, 12.0)))(jax.random.split(key, n))
    trails = np.asarray(trails, np.float64)[..., 0]
    levels = trails * 255
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-4)
    place = np.arange(side) - 30
    down = -(trails.sum(axis=2) @ place) / trails.sum(axis=(1, 2))
    right = -(trails.sum(axis=1) @ place) / trails.sum(axis=(1, 2))
    angles = np.rad2deg(np.arctan2(down, right))
    assert 43 < np.abs(angles).max() < 47
    assert stats.kstest(angles, "uniform", args=(-45, 90)).pvalue > P_LIMIT
    # Nearest, not truncated: the first weight is 13.57 levels of 255.
    weights = np.exp(-(np.arange(31) ** 2) / 288)
    assert levels[:, 30, 30].round().astype(int).tolist() == [round(255 / weights.sum())] * n


# --- all of them


@pytest.mark.parametrize("level", [2, 4])
@pytest.mark.parametrize("name", ["gaussian_blur", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur"])
def test_flat_images_are_stored_as_they_are(name: str, level: int, key: jax.Array) -> None:
    function, constants = getattr(blur, name), severity.constants(name, level, 64, 64)
    levels = np.arange(256)
    images = jnp.broadcast_to(jnp.asarray(levels, jnp.float32)[:, None, None, None] / 255, (256, 10, 10, 1))
    if name in ("glass_blur", "motion_blur"):
        result = jax.jit(jax.vmap(lambda x: function(key, x, *constants)))(images)
    else:
        result = jax.jit(jax.vmap(lambda x: function(x, *constants)))(images)
    stored = np.floor(np.clip(result, 0, 1) * np.float32(255))
    np.testing.assert_array_equal(stored, np.broadcast_to(levels[:, None, None, None], stored.shape))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "name, constants",
    [
        ("gaussian_blur", (1.0,)),
        ("defocus_blur", (1.5, 0.1)),
        ("glass_blur", (0.9, 2, 2)),
        ("motion_blur", (6, 2.0)),
        ("zoom_blur", (0.01, 12)),
    ],
)
def test_a_batch_gives_what_single_images_give(
    name: str, constants: tuple, channels: int, key: jax.Array, rng: np.random.Generator
) -> None:
    images, keys = jnp.asarray(draw(rng, 3, 9, 14, channels)), jax.random.split(key, 3)
    function, random_one = getattr(blur, name), name in ("glass_blur", "motion_blur")

    def single(k: jax.Array, x: jax.Array) -> jax.Array:
        return function(k, x, *constants) if random_one else function(x, *constants)

    single_jit, batched = jax.jit(single), jax.jit(jax.vmap(single))
    batch = batched(keys, images)
    assert batch.shape == images.shape
    assert batch.dtype == jnp.float32
    np.testing.assert_allclose(batched(keys[1:2], images[1:2])[0], batch[1], atol=1e-6)
    np.testing.assert_allclose(single_jit(keys[2], images[2]), batch[2], atol=1e-6)
    if random_one:
        assert np.any(single_jit(keys[0], images[2]) != batch[2])


def test_bad_arguments_are_named(unhooked: None, key: jax.Array) -> None:
    image = jnp.zeros((8, 8, 3))
    calls: list[Callable[[jax.Array], jax.Array]] = [
        lambda x: gaussian_blur(x, 1.0),
        lambda x: defocus_blur(x, 1.0, 0.1),
        lambda x: glass_blur(key, x, 0.4, 1, 1),
        lambda x: motion_blur(key, x, 6, 1.0),
        lambda x: motion_blur_along(x, 6, 1.0, 0.0),
        lambda x: zoom_blur(x, 0.01, 7),
    ]
    for call in calls:
        with pytest.raises(TypeError, match="image must be floats, not uint8"):
            call(jnp.zeros((8, 8, 3), jnp.uint8))
        with pytest.raises(ValueError, match=r"image must have 3 axes .*got shape \(8, 8\)"):
            call(image[..., 0])
    with pytest.raises(ValueError, match=r"sigma must be in \(0, inf\); got 0"):
        gaussian_blur(image, 0.0)
    with pytest.raises(ValueError, match=r"radius must be in \[0, inf\); got -1"):
        defocus_blur(image, -1.0, 0.1)
    with pytest.raises(ValueError, match=r"radius must be whole above 8, .*got 8\.5"):
        defocus_blur(image, 8.5, 0.1)
    with pytest.raises(ValueError, match="reach must be at least 1; got 0"):
        glass_blur(key, image, 0.4, 0, 1)
    with pytest.raises(TypeError, match="rounds must be an integer, got '2'"):
        glass_blur(key, image, 0.4, 1, "2")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="radius must be at least 1; got 0"):
        motion_blur(key, image, 0, 1.0)
    with pytest.raises(ValueError, match=r"sigma must be in \(0, inf\); got -1"):
        motion_blur_along(image, 6, -1.0, 0.0)
    with pytest.raises(ValueError, match=r"step must be in \(0, inf\); got 0"):
        zoom_blur(image, 0.0, 7)
    with pytest.raises(ValueError, match="count must be at least 1; got 0"):
        zoom_blur(image, 0.01, 0)
    with pytest.raises(ValueError, match=r"factor must be in \[1, inf\); got 0.5"):
        blur.zoom_matrix(8, 0.5)
