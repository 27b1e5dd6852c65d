"""The digital corruptions against PIL, colorsys, NumPy and SciPy."""

import colorsys
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from mollax.corrupt import digital, severity

DETERMINISTIC: dict[str, Callable[..., jax.Array]] = {
    "brightness": digital.brightness,
    "contrast": digital.contrast,
    "jpeg_compression": digital.jpeg_compression,
    "pixelate": digital.pixelate,
    "saturate": digital.saturate,
}
FACTORS = sorted({factor for table in severity.TABLES.values() for factor in table["pixelate"]})


@pytest.fixture(scope="module")
def tiny_images(real_data: Path) -> np.ndarray:
    """Eight 64x64 RGB images of TinyImageNet."""
    with zipfile.ZipFile(real_data / "tiny-imagenet-200.zip") as folder:
        names = [name for name in folder.namelist() if "val" in name and name.endswith(".JPEG")][::1000][:8]
        return np.stack([np.asarray(Image.open(io.BytesIO(folder.read(name))).convert("RGB")) for name in names])


def levels(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(0, 256, shape) / 255


def run(function: Callable[..., jax.Array], image: np.ndarray, *constants: float) -> np.ndarray:
    return np.asarray(jax.jit(lambda x: function(x, *constants))(jnp.asarray(image, jnp.float32)))


def pil_pixelate(image: np.ndarray, factor: float) -> np.ndarray:
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    small = picture.resize((int(picture.width * factor), int(picture.height * factor)), Image.BOX)
    return np.asarray(small.resize(picture.size, Image.BOX)).reshape(image.shape)


@pytest.mark.parametrize("factor", [*FACTORS, 1.0, 1 / 11])
def test_pixelate_is_pils_box_resize_to_the_bit(factor: float, tiny_images: np.ndarray) -> None:
    # At 33x47 some boxes end in the middle of a pixel, where rounding decides.
    for images in (tiny_images, tiny_images[:3, :33, :47]):
        ours = jax.jit(jax.vmap(lambda x: digital.pixelate(x, factor)))(jnp.asarray(images / 255, jnp.float32))
        expected = np.stack([pil_pixelate(image, factor) for image in images])
        np.testing.assert_allclose(np.asarray(ours) * 255, expected, atol=1e-3)


@pytest.mark.parametrize("size", [(224, 224), (100, 61)])
def test_pixelate_rounds_halves_as_pil(size: tuple[int, int], rng: np.random.Generator) -> None:
    # Levels of 0 and 1 give averages at every multiple of 1 / count, exact halves included.
    image = rng.integers(0, 2, (*size, 1)).astype(np.uint8)
    for count in (2, 4, 6, 10):
        ours = run(digital.pixelate, image / 255, 1 / count)
        np.testing.assert_allclose(ours * 255, pil_pixelate(image, 1 / count), atol=1e-3)


def test_pixelate_averages_rows_first(rng: np.random.Generator) -> None:
    # PIL 13 averages columns first in tall images; earlier ones, those of the published sets, never do.
    image = rng.integers(0, 2, (40, 12)).astype(np.uint8)
    rows = Image.fromarray(image).resize((3, 40), Image.BOX)
    expected = np.asarray(rows.resize((3, 10), Image.BOX)).repeat(4, axis=0).repeat(4, axis=1)
    np.testing.assert_allclose(run(digital.pixelate, image[..., None] / 255, 1 / 4)[..., 0] * 255, expected, atol=1e-3)


@pytest.mark.parametrize("shape", [(12, 9, 3), (9, 12, 1)])
def test_contrast_is_around_each_channels_mean(shape: tuple[int, int, int], rng: np.random.Generator) -> None:
    image = levels(rng, shape)
    mean = image.mean(axis=(0, 1), keepdims=True)
    for factor in (0.75, 0.05):
        ours = run(digital.contrast, image, factor)
        np.testing.assert_allclose(ours, (image - np.broadcast_to(mean, shape)) * factor + mean, atol=1e-6)


def by_hsv(image: np.ndarray, change: Callable[[float, float, float], tuple[float, float, float]]) -> np.ndarray:
    """Applies `change` to hue, saturation and value of every pixel, by colorsys."""
    colors = [colorsys.hsv_to_rgb(*change(*colorsys.rgb_to_hsv(*color))) for color in image.reshape(-1, 3)]
    return np.array(colors).reshape(image.shape)


@pytest.mark.parametrize("added", [0.05, 0.3, -0.2])
def test_brightness_adds_to_the_value(added: float, rng: np.random.Generator) -> None:
    image = levels(rng, (9, 14, 3))
    image[0, :3] = [[0, 0, 0], [1, 1, 1], [0.2, 0.2, 0.2]]
    expected = by_hsv(image, lambda h, s, v: (h, s, min(max(v + added, 0), 1)))
    np.testing.assert_allclose(run(digital.brightness, image, added), expected, atol=2e-6)
    gray = image[..., :1]
    np.testing.assert_allclose(run(digital.brightness, gray, added), np.clip(gray + added, 0, 1), atol=1e-6)


@pytest.mark.parametrize("constants", [(0.3, 0.0), (0.1, 0.0), (2.5, 0.2), (30.0, 0.2), (1.0, -0.5)])
def test_saturate_changes_the_saturation(constants: tuple[float, float], rng: np.random.Generator) -> None:
    factor, added = constants
    image = levels(rng, (9, 14, 3))
    image[0, :3] = [[0, 0, 0], [1, 1, 1], [0.2, 0.2, 0.2]]

    def change(h: float, s: float, v: float) -> tuple[float, float, float]:
        return h, min(max(s * factor + added, 0), 1), v

    np.testing.assert_allclose(run(digital.saturate, image, *constants), by_hsv(image, change), atol=4e-6)
    gray = np.repeat(image[..., :1], 3, axis=-1)
    luminance = by_hsv(gray, change) @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(run(digital.saturate, image[..., :1], *constants)[..., 0], luminance, atol=1e-6)


def test_grays_keep_their_level_where_nothing_is_added(rng: np.random.Generator) -> None:
    gray = levels(rng, (8, 8, 1)).astype(np.float32)
    np.testing.assert_array_equal(run(digital.saturate, gray, 2.0, 0.0), gray)
    color = np.repeat(gray, 3, axis=-1)
    np.testing.assert_array_equal(run(digital.saturate, color, 2.0, 0.0), color)


def test_jpeg_is_the_codec(tiny_images: np.ndarray) -> None:
    file = io.BytesIO()
    Image.fromarray(tiny_images[0]).save(file, "JPEG", quality=40)
    off = np.abs(255 * run(digital.jpeg_compression, tiny_images[0] / 255, 40) - np.asarray(Image.open(file)))
    assert (off < 0.5).mean() > 0.999


def elastic_by_definition(
    image: np.ndarray, moves: np.ndarray, noise: np.ndarray, amplitude: float, sigma: float
) -> np.ndarray:
    """The transform in float64, by a solved linear system and SciPy; pixels in, (x, y) order."""
    height, width, channels = image.shape
    reach = min(height, width) // 3
    centre = np.array([width // 2, height // 2])
    old = centre + reach * np.array([[1, 1], [1, -1], [-1, -1]])
    # As cv2.getAffineTransform: M [x, y, 1] takes the old corners to the moved ones; the warp reads through M^-1.
    forward = np.linalg.solve(np.c_[old, np.ones(3)], old + moves).T
    back = np.linalg.inv(np.r_[forward, [[0, 0, 1]]])
    y, x = np.mgrid[:height, :width]
    source_x, source_y, _ = np.tensordot(back, np.stack([x, y, np.ones_like(x)]), axes=1)

    def read(pixels: np.ndarray, rows: np.ndarray, columns: np.ndarray, mode: str) -> np.ndarray:
        planes = [ndimage.map_coordinates(pixels[..., i], [rows, columns], order=1, mode=mode) for i in range(channels)]
        return np.stack(planes, axis=-1)

    image = read(image, source_y, source_x, "mirror")
    if sigma > 0:
        noise = np.stack(
            [ndimage.gaussian_filter(noise[..., i], sigma, truncate=3, mode="reflect") for i in (0, 1)], -1
        )
    return read(image, y + amplitude * noise[..., 1], x + amplitude * noise[..., 0], "reflect")


@pytest.mark.parametrize(
    "shape, pixels",
    [
        ((32, 32, 3), (0.0, 0.0, 2.6)),
        ((32, 32, 3), (1.6, 6.4, 2.2)),
        ((20, 33, 1), (12.0, 1.0, 1.5)),
        ((41, 18, 3), (5.0, 0.0, 0.0)),
    ],
)
def test_elastic_is_affine_then_displaced(
    shape: tuple[int, int, int], pixels: tuple[float, float, float], rng: np.random.Generator
) -> None:
    amplitude, sigma, jitter = pixels
    image = levels(rng, shape)
    # Smooth, so that positions a rounding apart read values a rounding apart.
    image = ndimage.gaussian_filter(image, (1, 1, 0))
    moves, noise = rng.uniform(-jitter, jitter, (3, 2)), rng.uniform(-1, 1, (*shape[:2], 2))
    ours = jax.jit(lambda *a: digital._elastic(*a, amplitude, sigma))(
        *(jnp.asarray(array, jnp.float32) for array in (image, moves, noise))
    )
    np.testing.assert_allclose(ours, elastic_by_definition(image, moves, noise, amplitude, sigma), atol=1e-5)


@pytest.mark.parametrize("size, scale", [((32, 32), 32), ((64, 64), 64), ((64, 40), 40), ((224, 224), 244)])
def test_elastic_constants_are_relative_to_the_side(
    size: tuple[int, int], scale: int, key: jax.Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}

    def record(image: jax.Array, moves: jax.Array, noise: jax.Array, amplitude: float, sigma: float) -> jax.Array:
        seen.update(moves=np.asarray(moves), noise=np.asarray(noise), amplitude=amplitude, sigma=sigma)
        return image

    monkeypatch.setattr(digital, "_elastic", record)
    digital.elastic_transform(key, jnp.zeros((*size, 3)), 0.1, 0.04, 0.05)
    assert seen["amplitude"] == pytest.approx(0.1 * scale)
    assert seen["sigma"] == pytest.approx(0.04 * scale)
    jitter = 0.05 * scale
    assert np.abs(seen["moves"]).max() < jitter
    assert np.abs(seen["moves"]).max() > 0.4 * jitter
    # Uniform in [-1, 1], the two components unrelated.
    assert np.abs(seen["noise"]).max() <= 1
    assert seen["noise"].std() == pytest.approx(3**-0.5, rel=0.05)
    assert abs(seen["noise"].mean()) < 0.05
    assert abs(np.corrcoef(seen["noise"].reshape(-1, 2).T)[0, 1]) < 0.08


def test_elastic_draws_differ_and_keep_the_range(key: jax.Array, rng: np.random.Generator) -> None:
    image = jnp.asarray(levels(rng, (24, 30, 3)), jnp.float32)
    draw = jax.jit(jax.vmap(lambda k: digital.elastic_transform(k, image, 0.1, 0.04, 0.05)))
    first, second = draw(jax.random.split(key))
    assert np.abs(first - second).max() > 0.1
    assert min(first.min(), second.min()) >= 0
    assert max(first.max(), second.max()) <= 1
    still = jax.jit(lambda: digital.elastic_transform(key, image, 0.0, 0.0, 0.0))()
    np.testing.assert_allclose(still, image, atol=1e-5)


def test_a_triangle_without_area_gives_no_nan() -> None:
    image = jnp.asarray(np.random.default_rng(0).random((12, 12, 3), np.float32))
    moves = jnp.asarray([[0.0, 0.0], [0.0, 8.0], [8.0, 8.0]])
    out = jax.jit(lambda m: digital._elastic(image, m, jnp.zeros((12, 12, 2)), 0.0, 0.0))(moves)
    assert np.isfinite(out).all()


@pytest.mark.parametrize("size", [(9, 13), (224, 224)])
def test_every_row_of_the_tables_is_accepted(size: tuple[int, int], key: jax.Array) -> None:
    image = jnp.zeros((*size, 3))
    for table in severity.TABLES.values():
        for name, function in DETERMINISTIC.items():
            for row in table[name]:
                constants = row if isinstance(row, tuple) else (row,)
                out = jax.eval_shape(lambda x, f=function, c=constants: f(x, *c), image)
                assert (out.shape, out.dtype) == (image.shape, jnp.float32)
        for row in table["elastic_transform"]:
            out = jax.eval_shape(lambda x, c=row: digital.elastic_transform(key, x, *c), image)
            assert (out.shape, out.dtype) == (image.shape, jnp.float32)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_gives_what_its_images_give(channels: int, key: jax.Array, rng: np.random.Generator) -> None:
    images = jnp.asarray(levels(rng, (2, 9, 13, channels)), jnp.float32)
    constants = {name: severity.constants(name, 4, 9, 13) for name in (*DETERMINISTIC, "elastic_transform")}
    for name, function in DETERMINISTIC.items():
        one = jax.jit(lambda x, f=function, c=constants[name]: f(x, *c))
        each = jnp.stack([one(image) for image in images])
        np.testing.assert_allclose(jax.jit(jax.vmap(one))(images), each, atol=1e-5)
    elastic = jax.jit(lambda k, x: digital.elastic_transform(k, x, *constants["elastic_transform"]))
    keys = jax.random.split(key)
    each = jnp.stack([elastic(k, x) for k, x in zip(keys, images, strict=True)])
    np.testing.assert_allclose(jax.jit(jax.vmap(elastic))(keys, images), each, atol=1e-4)


def test_bad_arguments_are_named(key: jax.Array, unhooked: None) -> None:
    image = jnp.zeros((16, 16, 3))
    for function, constants in ((digital.contrast, (0.5,)), (digital.pixelate, (0.5,)), (digital.saturate, (2.0, 0.1))):
        with pytest.raises(ValueError, match=r"image must have 1 or 3 channels, gray or RGB; got shape \(16, 16, 4\)"):
            function(jnp.zeros((16, 16, 4)), *constants)
        with pytest.raises(ValueError, match="at least 8 rows and columns"):
            function(image[:7], *constants)
        with pytest.raises(TypeError, match="image must be floats, not uint8"):
            function(image.astype(jnp.uint8), *constants)
    with pytest.raises(ValueError, match=r"factor must be in \[0, 1\]; got 1.5"):
        digital.contrast(image, 1.5)
    with pytest.raises(ValueError, match=r"factor must be in \(0, 1\]; got 0"):
        digital.pixelate(image, 0)
    with pytest.raises(ValueError, match=r"factor 0\.01 leaves nothing of 16x16 pixels"):
        digital.pixelate(image, 0.01)
    with pytest.raises(ValueError, match=r"added must be in \[-1, 1\]; got 2"):
        digital.brightness(image, 2)
    with pytest.raises(ValueError, match=r"factor must be in \[0, inf\); got -1"):
        digital.saturate(image, -1, 0)
    with pytest.raises(ValueError, match=r"smoothing must be in \[0, inf\); got -0.1"):
        digital.elastic_transform(key, image, 0.1, -0.1, 0.1)
    with pytest.raises(ValueError, match="image must have 3 axes"):
        digital.elastic_transform(key, jnp.zeros((2, 16, 16, 3)), 0.1, 0.1, 0.1)
