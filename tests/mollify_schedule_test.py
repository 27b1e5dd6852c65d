"""Noise amplitudes, SNR and blur scale against their closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mollax.mollify import blur_scale, noise_amplitudes, snr

TIMES = np.linspace(0.0, 1.0, 41)


def test_amplitudes_are_cosine_and_sine() -> None:
    signal, sigma = noise_amplitudes(jnp.asarray(TIMES, jnp.float32))
    np.testing.assert_allclose(signal, np.cos(np.pi * TIMES / 2), atol=2e-7)
    np.testing.assert_allclose(sigma, np.sin(np.pi * TIMES / 2), atol=2e-7)
    np.testing.assert_allclose(signal**2 + sigma**2, np.ones(41), atol=5e-7)


def test_snr_is_the_ratio_of_powers() -> None:
    inner = TIMES[1:-1]
    expected = (np.cos(np.pi * inner / 2) / np.sin(np.pi * inner / 2)) ** 2
    np.testing.assert_allclose(snr(jnp.asarray(inner, jnp.float32)), expected, rtol=2e-5)
    with jax.enable_x64(True):
        np.testing.assert_allclose(snr(jnp.asarray(inner)), expected, rtol=1e-12)


def test_snr_at_the_ends_and_the_middle() -> None:
    values = snr(jnp.array([0.0, 0.5, 1.0]))
    assert values[0] == np.inf
    np.testing.assert_allclose(values[1], 1.0, rtol=1e-6)
    assert values[2] == 0.0


@pytest.mark.parametrize("t", [1e-12, 1e-6, 1e-3])
def test_snr_keeps_its_digits_at_both_ends(t: float) -> None:
    expected = 1 / np.tan(np.pi / 2 * t) ** 2
    np.testing.assert_allclose(snr(jnp.float32(t)), expected, rtol=1e-5)
    if t > 1e-7:
        late = np.float32(1.0) - np.float32(t)
        expected = np.tan(np.pi / 2 * (1 - np.float64(late))) ** 2
        np.testing.assert_allclose(snr(jnp.float32(late)), expected, rtol=1e-5)


@settings(max_examples=30, deadline=None)
@given(first=st.floats(0.01, 0.98), gap=st.floats(0.01, 0.5))
def test_snr_falls(first: float, gap: float) -> None:
    later = min(first + gap, 1.0)
    assert snr(jnp.float32(later)) < snr(jnp.float32(first))


@pytest.mark.parametrize("width", [1, 28, 32, 224])
def test_blur_scale_is_geometric_from_min_scale_to_width(width: int) -> None:
    scales = blur_scale(jnp.asarray(TIMES, jnp.float32), width)
    np.testing.assert_allclose(scales, 0.3 ** (1 - TIMES) * width**TIMES, rtol=2e-6)
    np.testing.assert_allclose([scales[0], scales[-1]], [0.3, width], rtol=1e-6)
    other = blur_scale(jnp.float32(0.0), width, min_scale=0.5)
    np.testing.assert_allclose(other, 0.5, rtol=1e-6)


def test_any_shape_jit_and_vmap() -> None:
    t = jnp.asarray(TIMES[:40].reshape(5, 8), jnp.float32)
    for function in (snr, lambda t: blur_scale(t, 32), lambda t: noise_amplitudes(t)[1]):
        expected = function(t)
        assert expected.shape == (5, 8)
        np.testing.assert_allclose(jax.jit(jax.vmap(function))(t), expected, rtol=1e-5)


def test_gradients_are_finite_inside_and_at_one() -> None:
    for t in (1e-3, 0.49, 0.5, 0.9, 1.0):
        assert np.isfinite(jax.grad(snr)(jnp.float32(t)))
        assert np.isfinite(jax.grad(lambda t: blur_scale(t, 32))(jnp.float32(t)))


def test_bad_input_is_refused() -> None:
    t = jnp.float32(0.5)
    with pytest.raises(ValueError, match="width must be at least 1; got 0"):
        blur_scale(t, 0)
    with pytest.raises(ValueError, match=r"min_scale must be in \(0, inf\); got 0.0"):
        blur_scale(t, 32, min_scale=0.0)
    with pytest.raises(ValueError, match=r"min_scale must be in \(0, inf\); got -1.0"):
        blur_scale(t, 32, min_scale=-1.0)
