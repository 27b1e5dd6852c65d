"""Label decay and degraded labels against their formulas, SciPy's Dirichlet and a grid search."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mollax import mollify
from mollax.mollify.compression import TINY_IMAGENET_PNG_LOSS

TIMES = np.linspace(0.0, 1.0, 33)


def random_labels(seed: int, classes: int = 4) -> np.ndarray:
    """A one-hot label, or a soft one as MixUp makes it."""
    rng = np.random.default_rng(seed)
    first, second = np.eye(classes)[rng.integers(classes, size=2)]
    share = rng.choice([0.0, rng.random()])
    return (1 - share) * first + share * second


def entropy(p: np.ndarray) -> np.ndarray:
    return -np.sum(np.where(p > 0, p * np.log(np.where(p > 0, p, 1.0)), 0.0), axis=-1)


@pytest.mark.parametrize("k", [0.5, 1.0, 2.0])
def test_noise_decay_is_eq_12(k: float) -> None:
    with jax.enable_x64(True):
        t = jnp.asarray(TIMES)
        expected = (1 / (1 + np.asarray(mollify.snr(t)))) ** k
        np.testing.assert_allclose(mollify.noise_label_decay(t, k), expected, atol=1e-14)
        # The authors' code writes sin(pi t / 2)^(2k).
        np.testing.assert_allclose(expected, np.sin(np.pi * TIMES / 2) ** (2 * k), atol=1e-14)
    single = mollify.noise_label_decay(jnp.asarray(TIMES, jnp.float32), k)
    np.testing.assert_allclose(single, expected, atol=5e-7)


@pytest.mark.parametrize("k", [0.5, 1.0, 2.0])
def test_decays_start_whole_end_lost_and_rise(k: float) -> None:
    t = jnp.asarray(TIMES, jnp.float32)
    for decay in (mollify.noise_label_decay(t, k), mollify.blur_label_decay(t, k)):
        assert decay[0] == 0.0
        np.testing.assert_allclose(decay[-1], 1.0, atol=1e-6)
        assert np.all(np.diff(decay) > 0)


def test_half_the_label_is_left_where_signal_equals_noise() -> None:
    np.testing.assert_allclose(mollify.noise_label_decay(jnp.float32(0.5)), 0.5, atol=1e-6)


@pytest.mark.parametrize("k", [0.5, 1.0, 2.0])
def test_blur_decay_is_eq_13(k: float) -> None:
    t = jnp.asarray(TIMES, jnp.float32)
    np.testing.assert_allclose(mollify.blur_label_decay(t, k), TIMES**k, atol=5e-7)
    table = np.interp(TIMES, np.linspace(0, 1, 21), TINY_IMAGENET_PNG_LOSS) ** k
    np.testing.assert_allclose(mollify.blur_label_decay(t, k, form="measured"), table, atol=5e-7)


def test_the_measured_table_rises_and_stays_near_t() -> None:
    table = np.array(TINY_IMAGENET_PNG_LOSS)
    assert table.shape == (21,)
    assert table[0] == 0.0
    assert np.all(np.diff(table) > 0)
    assert np.abs(table - np.linspace(0, 1, 21)).max() < 0.08


@pytest.mark.parametrize("t", [1e-20, 1e-7, 1e-3, 0.3, 1.0])
@pytest.mark.parametrize("k", [0.5, 1.0, 2.0])
def test_gradients_of_the_decays(k: float, t: float) -> None:
    angle = np.pi * t / 2
    expected = k * np.pi * np.sin(angle) ** (2 * k - 1) * np.cos(angle)
    gradient = jax.grad(mollify.noise_label_decay)(jnp.float32(t), k)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-6)
    gradient = jax.grad(mollify.blur_label_decay)(jnp.float32(t), k)
    np.testing.assert_allclose(gradient, k * t ** (k - 1), rtol=1e-5)


def test_noise_decay_is_flat_at_zero() -> None:
    assert jax.grad(mollify.noise_label_decay)(jnp.float32(0.0)) == 0.0


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), gamma=st.floats(0.0, 1.0))
def test_forms_equal_their_formulas(seed: int, gamma: float) -> None:
    y = random_labels(seed)
    labels, share = jnp.asarray(y, jnp.float32), jnp.float32(gamma)
    forms = {
        "smooth": (1 - gamma) * y + gamma / 4,
        "temper": (1 - gamma) * y,
        "extra": np.append((1 - gamma) * y, gamma),
        "extra_keep": np.append(y, gamma),
        "none": y,
    }
    assert tuple(forms) == mollify.FORMS
    for form, expected in forms.items():
        ours = mollify.degrade_labels(labels, share, form=form)
        np.testing.assert_allclose(ours, expected, atol=2e-7, err_msg=form)
    np.testing.assert_allclose(mollify.smooth_labels(labels, share), forms["smooth"], atol=2e-7)
    np.testing.assert_allclose(mollify.temper_labels(labels, share), forms["temper"], atol=2e-7)
    np.testing.assert_allclose(mollify.extra_class_labels(labels, share), forms["extra"], atol=2e-7)
    kept = mollify.extra_class_labels(labels, share, keep=True)
    np.testing.assert_allclose(kept, forms["extra_keep"], atol=2e-7)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), low=st.floats(0.0, 1.0), high=st.floats(0.0, 1.0))
def test_smoothed_labels_stay_on_the_simplex_and_gain_entropy(seed: int, low: float, high: float) -> None:
    low, high = min(low, high), max(low, high)
    labels = jnp.asarray(random_labels(seed), jnp.float32)
    less, more = (np.asarray(mollify.smooth_labels(labels, jnp.float32(g))) for g in (low, high))
    for smoothed in (less, more):
        assert smoothed.min() >= 0
        np.testing.assert_allclose(smoothed.sum(), 1.0, atol=1e-6)
    assert entropy(more) >= entropy(less) - 1e-6
    extra = np.asarray(mollify.extra_class_labels(labels, jnp.float32(high)))
    np.testing.assert_allclose(extra.sum(), 1.0, atol=1e-6)


def test_a_whole_and_a_lost_label() -> None:
    label = jnp.array([0.0, 1.0, 0.0])
    for form in ("smooth", "temper"):
        np.testing.assert_array_equal(mollify.degrade_labels(label, jnp.float32(0.0), form=form), label)
    np.testing.assert_allclose(mollify.smooth_labels(label, jnp.float32(1.0)), np.full(3, 1 / 3), rtol=1e-6)
    np.testing.assert_array_equal(mollify.temper_labels(label, jnp.float32(1.0)), np.zeros(3))
    np.testing.assert_array_equal(mollify.extra_class_labels(label, jnp.float32(1.0)), [0, 0, 0, 1])


def test_every_form_takes_a_batch_under_jit(rng: np.random.Generator) -> None:
    labels = jnp.asarray(rng.dirichlet(np.ones(3), size=(2, 4)), jnp.float32)
    gamma = jnp.asarray(rng.random((2, 4)), jnp.float32)
    for form in mollify.FORMS:
        batch = jax.jit(lambda y, g, form=form: mollify.degrade_labels(y, g, form=form))(labels, gamma)
        one = mollify.degrade_labels(labels[1, 2], gamma[1, 2], form=form)
        np.testing.assert_allclose(batch[1, 2], one, atol=1e-7)


def test_keeps_the_dtype_of_the_labels() -> None:
    labels = jnp.eye(3, dtype=jnp.bfloat16)
    for form in mollify.FORMS:
        assert mollify.degrade_labels(labels, jnp.zeros(3), form=form).dtype == jnp.bfloat16


def test_dirichlet_density_equals_scipy(rng: np.random.Generator) -> None:
    probs = rng.dirichlet(np.ones(5), size=20)
    labels = np.stack([random_labels(seed, classes=5) for seed in range(20)])
    labels = 0.7 * labels + 0.3 * rng.random((20, 1)) / 5
    expected = [stats.dirichlet.logpdf(p, 1 + y) for p, y in zip(probs, labels, strict=True)]
    with jax.enable_x64(True):
        ours = mollify.dirichlet_log_density(jnp.asarray(probs), jnp.asarray(labels))
    np.testing.assert_allclose(ours, expected, rtol=1e-10)
    single = mollify.dirichlet_log_density(jnp.asarray(probs, jnp.float32), jnp.asarray(labels, jnp.float32))
    np.testing.assert_allclose(single, expected, atol=1e-5)


def test_a_class_without_label_mass_may_have_no_probability() -> None:
    corner = jnp.array([1.0, 0.0, 0.0])
    np.testing.assert_allclose(mollify.dirichlet_log_density(corner, corner), np.log(6), rtol=1e-6)
    gradient = jax.grad(mollify.dirichlet_log_density)(corner, corner)
    np.testing.assert_allclose(gradient, [1.0, 0.0, 0.0])
    assert mollify.dirichlet_log_density(jnp.array([0.0, 1.0, 0.0]), corner) == -np.inf


@pytest.mark.parametrize("form", ["none", "temper", "smooth"])
def test_the_mode_is_the_best_point_of_a_grid(form: str) -> None:
    # Fig 4: one-hot and tempered labels peak at the corner, smoothed ones inside.
    labels = mollify.degrade_labels(jnp.array([1.0, 0.0, 0.0]), jnp.float32(0.6), form=form)
    steps = 60
    a, b = np.meshgrid(np.arange(steps + 1), np.arange(steps + 1), indexing="ij")
    inside = a + b <= steps
    grid = np.stack([a[inside], b[inside], steps - a[inside] - b[inside]], axis=1) / steps
    density = jax.vmap(mollify.dirichlet_log_density, (0, None))(jnp.asarray(grid, jnp.float32), labels)
    best = grid[int(np.argmax(density))]
    np.testing.assert_allclose(mollify.dirichlet_mode(labels), best, atol=1e-6)
    np.testing.assert_allclose(best, [0.6, 0.2, 0.2] if form == "smooth" else [1, 0, 0], atol=1e-12)


def test_bad_input_is_refused() -> None:
    t = jnp.float32(0.5)
    for k in (0.0, -1.0):
        with pytest.raises(ValueError, match=rf"k must be in \(0, inf\); got {k}"):
            mollify.noise_label_decay(t, k)
        with pytest.raises(ValueError, match=rf"k must be in \(0, inf\); got {k}"):
            mollify.blur_label_decay(t, k)
    with pytest.raises(ValueError, match=r"form must be one of 'power', 'measured'; got 'powr'\. Did you mean"):
        mollify.blur_label_decay(t, form="powr")
    with pytest.raises(ValueError, match=r"form must be one of 'smooth', .*got 'smoth'\. Did you mean 'smooth'"):
        mollify.degrade_labels(jnp.ones(3), t, form="smoth")
