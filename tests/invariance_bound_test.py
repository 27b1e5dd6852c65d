"""The bound against closed forms, random densities and predictions, and real rotations of an image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from mollax import image
from mollax.invariance.bound import cell_centers, invariance_bound
from mollax.invariance.transforms import affine_matrix

GRID = cell_centers(-1, 1, cells=400)  # the parameter of a rotation; its period is 2


def arc(low: float, high: float) -> np.ndarray:
    """The uniform density on part of GRID."""
    return np.where(np.abs(GRID - (low + high) / 2) <= (high - low) / 2, 1 / (high - low), 0.0)


def von_mises(mean: float, concentration: float) -> np.ndarray:
    """A smooth density of rotations on GRID, in half turns."""
    return np.pi * scipy.stats.vonmises.pdf(np.pi * (GRID - mean), concentration)


def test_cell_centers():
    np.testing.assert_allclose(cell_centers(-1, 1, cells=4), [-0.75, -0.25, 0.25, 0.75])


def test_normal_densities_in_closed_form():
    # E cos(aT) = cos(a mean) exp(-a^2 s^2 / 2), and TV of normals d apart is 2 Phi(d / 2s) - 1.
    grid, (mean, moved_mean, shift, s) = cell_centers(-4, 4, cells=4000), (0.2, -0.4, 0.75, 0.3)
    density, moved = scipy.stats.norm.pdf(grid, mean, s), scipy.stats.norm.pdf(grid, moved_mean, s)
    rates = np.array([1.0, 3.0])
    found = invariance_bound(grid, density, moved, np.cos(rates * grid[:, None]), shift=shift)
    np.testing.assert_allclose(found.prediction, np.cos(rates * mean) * np.exp(-((rates * s) ** 2) / 2), atol=1e-5)
    np.testing.assert_allclose(
        found.moved_prediction, np.cos(rates * (moved_mean + shift)) * np.exp(-((rates * s) ** 2) / 2), atol=1e-5
    )
    apart = abs(mean - moved_mean - shift)
    assert found.distance == pytest.approx(2 * scipy.stats.norm.cdf(apart / (2 * s)) - 1, abs=1e-5)
    np.testing.assert_allclose(found.variation, 2, atol=1e-4)
    np.testing.assert_allclose(found.sharp, 2 * found.distance, rtol=1e-4)
    np.testing.assert_array_equal(found.loose, 2 * found.sharp)
    assert (found.change <= found.sharp).all()
    np.testing.assert_array_equal(found.change, np.abs(found.prediction - found.moved_prediction))


def test_uniform_densities_in_closed_form():
    # U(-.4, .4) and U(-.2, .2) + .5: TV = 1 - int min = 1 - .1 * 1.25, supports (-.4, .7).
    found = invariance_bound(GRID, arc(-0.4, 0.4), arc(-0.2, 0.2), GRID[:, None] ** 2, shift=0.5, period=2.0)
    assert found.distance == pytest.approx(1 - 0.1 * 1.25, abs=1e-9)
    np.testing.assert_allclose(found.variation, 0.49, atol=0.005)
    np.testing.assert_allclose(found.prediction, 0.16 / 3, atol=1e-4)
    np.testing.assert_allclose(found.moved_prediction, 0.25 + 0.04 / 3, atol=1e-4)


def test_the_sharp_constant_is_attained_and_the_support_is_shifted():
    # f is 1 where the moved density is the larger and 0 elsewhere.
    density, moved = arc(-0.5, 0.0), arc(-0.5, 0.0)
    f = ((GRID > 0.0) & (GRID < 0.3)).astype(float)[:, None]
    found = invariance_bound(GRID, density, moved, f, shift=0.3, period=2.0)
    assert found.distance == pytest.approx(0.6)
    np.testing.assert_allclose(found.change, found.sharp)
    np.testing.assert_allclose(found.change, 0.6)
    # Extremes over the unshifted supports, as the paper prints them, would say that nothing changes.
    assert np.ptp(f[(density > 0) | (moved > 0)]) == 0


def test_no_change_for_equivariant_augmenters_and_invariant_classifiers(rng):
    f = rng.random((400, 3))
    # The distribution of I' is that of I less dT: around the circle, across its seam, and by part of a cell.
    for shift in (0.4, -1.7, 2.0):
        found = invariance_bound(GRID, von_mises(0.6, 5), von_mises(0.6 - shift, 5), f, shift=shift, period=2.0)
        assert found.distance < 1e-9
        np.testing.assert_allclose(found.change, 0, atol=1e-9)
    part = invariance_bound(GRID, von_mises(0.6, 5), von_mises(0.6 - 0.3333, 5), f, shift=0.3333, period=2.0)
    assert 0 <= part.distance < 1e-4
    # The sign matters.
    wrong = invariance_bound(GRID, von_mises(0.6, 5), von_mises(0.2, 5), f, shift=-0.4, period=2.0)
    assert wrong.distance > 0.5
    constant = invariance_bound(GRID, von_mises(0, 2), von_mises(0.9, 9), np.full((400, 1), 0.3), shift=0.1, period=2.0)
    np.testing.assert_allclose([constant.change, constant.sharp], 0, atol=1e-12)


@st.composite
def densities(draw):
    """A random density on GRID: cells of very different weight, many empty."""
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    weights = rng.gamma(0.3, size=400) * (rng.random(400) < draw(st.floats(0.01, 1)))
    weights[rng.integers(400)] += 0.1
    return weights / weights.sum() * 200


@settings(max_examples=60, deadline=None)
@given(densities(), densities(), st.floats(-3, 3), st.integers(0, 2**31), st.booleans())
def test_the_inequality_always_holds(density, moved, shift, seed, around):
    rng = np.random.default_rng(seed)
    f = rng.beta(0.3, 0.3, (800 if not around else 400, 4))
    if around:
        found = invariance_bound(GRID, density, moved, f, shift=shift, period=2.0)
    else:
        shift /= 3
        wide = cell_centers(-2, 2, cells=800)
        found = invariance_bound(wide, np.pad(density, 200), np.pad(moved, 200), f, shift=shift)
    assert (found.change <= found.sharp + 1e-12).all()
    assert 0 <= found.distance <= 1 + 1e-12
    assert (found.variation <= f.max(axis=0) - f.min(axis=0)).all()
    # The worst f there is for these densities attains it.
    here = density / density.sum()
    if around and abs(shift / 0.005 - round(shift / 0.005)) > 1e-3:
        cells = int(np.floor(shift / 0.005))
        part = shift / 0.005 - cells
        there = moved / moved.sum()
        there = (1 - part) * np.roll(there, cells) + part * np.roll(there, cells + 1)
        worst = (there > here).astype(float)[:, None]
        attained = invariance_bound(GRID, density, moved, worst, shift=shift, period=2.0)
        np.testing.assert_allclose(attained.change, attained.sharp, atol=1e-9)
        assert attained.distance == pytest.approx(np.abs(here - there).sum() / 2)


def test_around_the_circle_is_tighter_than_along_the_line():
    # A turn of nearly two half turns is nearly none.
    wide = cell_centers(-3, 3, cells=1200)
    density = np.pad(von_mises(0, 40), 400)
    turn = np.cos(np.pi * wide)[:, None]
    line = invariance_bound(wide, density, density, turn, shift=1.95)
    circle = invariance_bound(GRID, von_mises(0, 40), von_mises(0, 40), turn[400:800], shift=1.95, period=2.0)
    np.testing.assert_allclose(line.change, circle.change, atol=1e-9)
    assert circle.distance < 0.5 < 0.99 < line.distance


def picture(size: int = 65) -> jax.Array:
    """Three smooth spots well inside the frame, so that rotations lose nothing."""
    ticks = np.linspace(-1, 1, size)
    spots = ((0.35, 0.1, 1.0), (-0.2, 0.35, 0.6), (-0.1, -0.4, 0.8))
    total = sum(w * np.exp(-((ticks[None, :] - x) ** 2 + (ticks[:, None] - y) ** 2) / 0.03) for x, y, w in spots)
    return jnp.asarray(total, jnp.float32)[..., None]


@jax.jit
def rotate(pixels: jax.Array, parameter: jax.Array) -> jax.Array:
    """A_T(I) by the real warp, T in half turns."""
    return image.affine_warp(pixels, affine_matrix(parameter[None], kind="rotation"))


def test_rotations_of_images_add_up():
    for t, shift in ((0.3, 0.4), (-0.7, 0.25), (0.9, 0.8)):
        twice = rotate(rotate(picture(), jnp.float32(shift)), jnp.float32(t))
        np.testing.assert_allclose(twice, rotate(picture(), jnp.float32(t + shift)), atol=0.02)
        assert jnp.abs(twice - rotate(picture(), jnp.float32(t - shift))).max() > 0.2


def test_the_moved_prediction_is_that_of_the_moved_image(rng):
    """p(C|I') by warping I' itself against the density moved by dT over predictions for I alone."""
    grid, shift = cell_centers(-1, 1, cells=120), 0.36
    template = jnp.asarray(rng.normal(size=(2, *picture(9).shape)), jnp.float32)
    filters = jnp.stack([jax.image.resize(t, (65, 65, 1), "cubic") for t in template])

    @jax.jit
    def predictions(pixels: jax.Array) -> jax.Array:
        views = jax.vmap(rotate, (None, 0))(pixels, jnp.asarray(grid, jnp.float32))
        scores = jnp.sum(views[:, None] * filters[None], axis=(2, 3, 4)) / 40
        return jax.nn.softmax(scores, axis=-1)

    density = np.pi * scipy.stats.vonmises.pdf(np.pi * (grid - 0.1), 3)
    moved = np.pi * scipy.stats.vonmises.pdf(np.pi * (grid + 0.15), 6)
    found = invariance_bound(grid, density, moved, predictions(picture()), shift=shift, period=2.0)
    other_views = np.asarray(predictions(rotate(picture(), jnp.float32(shift))), np.float64)
    direct = (moved / moved.sum()) @ other_views
    np.testing.assert_allclose(found.moved_prediction, direct, atol=2e-3)
    assert (found.change > 0.02).all()
    assert (found.change <= found.sharp).all()
    backwards = invariance_bound(grid, density, moved, predictions(picture()), shift=-shift, period=2.0)
    assert np.abs(backwards.moved_prediction - direct).max() > 0.02, "the sign of dT matters"


def test_quadrature_converges():
    def f(t: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(5 * np.sin(np.pi * t)))

    def g(t: np.ndarray, mean: float) -> np.ndarray:
        return np.pi * scipy.stats.vonmises.pdf(np.pi * (t - mean), 2)

    exact = scipy.integrate.quad(lambda t: g(t + 0.3 - 0.123, 0.0) * f(t), -1, 1, epsabs=1e-10)[0]
    for cells, error in ((50, 2e-3), (500, 2e-5)):
        grid = cell_centers(-1, 1, cells=cells)
        found = invariance_bound(grid, g(grid, 0.0), g(grid, -0.3), f(grid)[:, None], shift=0.123, period=2.0)
        np.testing.assert_allclose(found.moved_prediction, exact, atol=error)


def test_bad_arguments_are_named(unhooked):
    density, f = arc(-0.5, 0.5), np.zeros((400, 1))

    def run(grid=GRID, density=density, moved=density, f=f, **options):
        return invariance_bound(grid, density, moved, f, **{"shift": 0.1, "period": 2.0, **options})

    with pytest.raises(ValueError, match="grid must increase in equal steps"):
        run(GRID**3)
    with pytest.raises(ValueError, match="grid must increase in equal steps"):
        run(GRID[::-1])
    with pytest.raises(ValueError, match="two points or more; got 1"):
        run(GRID[:1])
    with pytest.raises(ValueError, match=r"one period of 2, without its end twice; its 400 cells cover 2.005"):
        run(np.linspace(-1, 1, 400))
    with pytest.raises(ValueError, match="moved_density must integrate to 1 on the grid; it integrates to 2"):
        run(moved=2 * density)
    with pytest.raises(ValueError, match="density must be finite and not negative"):
        run(density=-density)
    with pytest.raises(ValueError, match="density must be finite and not negative"):
        run(density=density * np.nan)
    with pytest.raises(ValueError, match="grid has 400, density has 399"):
        run(density=density[:-1])
    with pytest.raises(ValueError, match="predictions must be finite"):
        run(f=f + np.inf)
    with pytest.raises(ValueError, match=r"A shift of 0.75 moves 25.00% of moved_density off the grid"):
        run(period=None, shift=0.75)
    with pytest.raises(ValueError, match="shift must be in"):
        run(shift=float("nan"))
    with pytest.raises(ValueError, match="low must be below high; got 1 and -1"):
        cell_centers(1, -1, cells=3)
    with pytest.raises(ValueError, match="cells must be at least 2"):
        cell_centers(-1, 1, cells=1)
