"""Mean shift with an oracle for the pose: sprites come out upright, along a path known in closed form."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from mollax import image
from mollax.data.sprites import draw_sprite
from mollax.invariance import GENERATORS
from mollax.invariance.align import align, require_finite
from mollax.invariance.prototypes import turn_angle

SIZE, NOISE = 32, 0.1
WARP = jax.jit(image.affine_warp, static_argnames="padding")


def sprite(angle: float) -> jax.Array:
    """The kettle turned counter-clockwise, in [0, 1]."""
    return jnp.asarray(draw_sprite("kettle", angle, SIZE), jnp.float32) / 255


@functools.cache
def oracle():
    """Transforms around the one that brings a sprite upright, as a perfect augmenter would draw them.

    The pose is read off the image, the nearest of 240 drawings; the parameter of a rotation is in half turns.
    """
    angles = np.linspace(-np.pi, np.pi, 240, endpoint=False)
    # NumPy's, as the first call may be inside of jit.
    bank = np.stack([draw_sprite("kettle", float(angle), SIZE) for angle in angles]).astype(np.float32) / 255
    poses = (angles / np.pi).astype(np.float32)

    def draw(key: jax.Array, seen: jax.Array) -> jax.Array:
        nearest = jnp.argmin(jnp.sum((bank - seen[None]) ** 2, axis=(1, 2, 3)))
        noise = NOISE * jax.random.uniform(key, (40,), minval=-1.0, maxval=1.0)
        return (noise - jnp.asarray(poses)[nearest] - noise.mean())[:, None]

    return draw


def blob(size: int = 33, x: float = 0.3, y: float = -0.2) -> jax.Array:
    """A smooth, lopsided spot, which interpolation hardly changes."""
    ticks = np.linspace(-1, 1, size)
    u, v = ticks[None, :] - x, ticks[:, None] - y
    return jnp.asarray(np.exp(-(u**2 / 0.08 + v**2 / 0.03 + 0.4 * u * v / 0.05)), jnp.float32)[..., None]


@jax.jit
def mass_center(seen: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Centroid in coordinates of [-1, 1]."""
    ticks, total = jnp.linspace(-1, 1, seen.shape[0]), seen.sum()
    return (seen * ticks[None, :, None]).sum() / total, (seen * ticks[:, None, None]).sum() / total


@pytest.mark.parametrize("compose", ["add", "matrices"])
def test_turned_sprites_come_out_upright(compose, key):
    angles = np.array([-1.4, -0.3, 0.7, 1.5])
    turned, upright = jnp.stack([sprite(float(a)) for a in angles]), sprite(0.0)
    keys = jax.random.split(key, 4)
    run = functools.partial(align, draw=oracle(), kind="rotation", steps=40, compose=compose)
    found = jax.jit(jax.vmap(lambda k, x: run(k, x)))(keys, turned)
    require_finite(found.trace)
    # Each step takes a tenth of the angle: a * 0.9^k is left, but for the degree or so of the oracle.
    left = angles[:, None] + turn_angle(found.trace)
    np.testing.assert_allclose(left, angles[:, None] * 0.9 ** np.arange(1, 41), atol=0.03)
    before, after = (jnp.abs(x - upright[None]).mean(axis=(1, 2, 3)) for x in (turned, found.image))
    assert (after < 0.25 * before).all()
    assert (jnp.abs(found.means[:, -1]) < 0.1 * jnp.abs(found.means[:, 0])).all(), "the mean goes to zero"
    np.testing.assert_array_equal(found.matrix, found.trace[:, -1])
    # Warped from the observed image: one interpolation, however many steps.
    np.testing.assert_allclose(found.image, jax.vmap(WARP)(turned, found.matrix), atol=1e-4)
    if compose == "add":
        np.testing.assert_allclose(np.pi * 0.1 * found.means.sum(axis=(1, 2)), turn_angle(found.matrix), atol=1e-5)
        alone = run(keys[2], turned[2])
        for of_batch, of_one in zip(found, alone, strict=True):
            np.testing.assert_allclose(of_batch[2], of_one, atol=1e-4)


@pytest.mark.parametrize("compose", ["add", "matrices"])
def test_steps_are_the_written_out_equation(compose, key):
    kind, names = "affine", list(GENERATORS)

    def draw(step_key: jax.Array, seen: jax.Array) -> jax.Array:
        x, y = mass_center(seen)
        pose = jnp.stack([3 * x, 3 * y, 0.3 - x, y, 0.5 * x * y, 0.4 * y])
        return pose[None] + 0.3 * jax.random.normal(step_key, (6, 6))

    found = align(key, blob(), draw, kind=kind, steps=4, step_size=0.4, compose=compose, padding="border")

    def exponential(weights: np.ndarray) -> np.ndarray:
        pairs = zip(weights, names, strict=True)
        return scipy.linalg.expm(sum(w * np.vstack([GENERATORS[name], np.zeros(3)]) for w, name in pairs))

    params, product, matrix = np.zeros(6), np.eye(3), np.eye(3)
    for k, step_key in enumerate(jax.random.split(key, 4)):
        seen = WARP(blob(), jnp.asarray(matrix[:2], jnp.float32), padding="border")
        mean = np.asarray(draw(step_key, seen), np.float64).mean(axis=0)
        params = params + 0.4 * mean
        product = product @ exponential(0.4 * mean)
        added = exponential(params)
        matrix = added if compose == "add" else product
        np.testing.assert_allclose(found.means[k], mean, atol=1e-4)
        np.testing.assert_allclose(found.trace[k], matrix[:2], atol=1e-4)
    assert np.abs(added - product).max() > 0.01, "the two compositions must differ for the test to tell"


def test_matrices_compose_what_the_steps_did_in_order(key):
    def draw(step_key: jax.Array, seen: jax.Array) -> jax.Array:
        # First to the center, then a quarter turn.
        x, y = mass_center(seen)
        off = jnp.hypot(x, y) > 0.02
        return jnp.where(off, jnp.stack([10 * x, 10 * y, 0 * x]), jnp.array([0.0, 0, 0.5]))[None]

    observed = blob(65)
    found = align(
        key, observed, draw, kind="rotation_translation", steps=2, step_size=1.0, compose="matrices", padding="border"
    )
    centered = WARP(observed, image.affine.translation(*mass_center(observed)), padding="border")
    turned = WARP(centered, image.affine.rotation(np.pi / 2), padding="border")
    np.testing.assert_allclose(found.image, turned, atol=0.02)
    # In the other order it would be another image.
    swapped = image.affine.compose(image.affine.rotation(np.pi / 2), image.affine.translation(*mass_center(observed)))
    assert jnp.abs(WARP(observed, swapped, padding="border") - turned).max() > 0.1


def test_decoupled_entries_and_padding(key):
    def draw(step_key: jax.Array, seen: jax.Array) -> jax.Array:
        return jnp.array([[-0.3, 0.3], [-0.1, 0.1]])

    found = align(key, blob(), draw, kind="decoupled_rotation", steps=1, step_size=1.0, entry_range=2.0, padding="mean")
    np.testing.assert_allclose(found.matrix, image.affine.rotation(0.4), atol=1e-6)
    expected = WARP(blob(), image.affine.rotation(0.4), padding="mean")
    np.testing.assert_allclose(found.image, expected, atol=1e-5)


def test_broken_and_diverging_augmenters_show(key):
    def draw(step_key: jax.Array, seen: jax.Array) -> jax.Array:
        level = seen.mean()
        return jnp.where(level > 0.8, jnp.nan, jnp.where(level > 0.4, 60.0, 0.0)) * jnp.ones((2, 6))

    images = jnp.full((3, 5, 5, 1), 1.0) * jnp.array([0.0, 0.5, 1.0])[:, None, None, None]
    run = jax.jit(jax.vmap(lambda k, x: align(k, x, draw, kind="affine", steps=3, step_size=5.0)))
    found = run(jax.random.split(key, 3), images)
    np.testing.assert_array_equal(found.image[0], images[0])
    assert jnp.isnan(found.image[1:]).all()
    with pytest.raises(ValueError, match=r"NaN or infinity: 2 of 3, the first at index 1. .* smaller step"):
        require_finite(found.matrix)
    with pytest.raises(ValueError, match=r"NaN or infinity: 3 of 6, the first at index \(1, 0\)"):
        require_finite(found.trace[::2])


def test_bad_arguments_are_named(unhooked, key):
    def run(draw=lambda k, x: jnp.zeros((2, 1)), *, kind="rotation", **options):
        return align(key, blob(), draw, kind=kind, **options)

    with pytest.raises(ValueError, match=r"compose must be one of 'add', 'matrices'; got 'matrix'. Did you mean"):
        run(compose="matrix")
    with pytest.raises(ValueError, match='zeros of kind "crop" are a crop, not the identity'):
        run(kind="crop")
    with pytest.raises(ValueError, match=r"kind must be one of .*got 'turn'"):
        run(kind="turn")
    with pytest.raises(ValueError, match="steps must be at least 1; got 0"):
        run(steps=0)
    with pytest.raises(ValueError, match="step_size must be in"):
        run(step_size=0.0)
    with pytest.raises(ValueError, match="padding must be one of"):
        run(padding="black")
    for shape in ((0, 1), (2, 3), (2,)):
        with pytest.raises(ValueError, match=r"draw must return \(n, 1\) parameters with n >= 1"):
            run(lambda k, x, shape=shape: jnp.zeros(shape))
    with pytest.raises(ValueError, match="nothing to align: the set of images is empty"):
        require_finite(jnp.zeros((0, 2, 3)))
    with pytest.raises(ValueError, match=r"matrices must be \(..., 2, 3\); got shape \(3, 3\)"):
        require_finite(jnp.zeros((3, 3)))
