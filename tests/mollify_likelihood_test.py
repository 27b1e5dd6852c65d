"""Normalized cross-entropy against quadrature of its integral, marginals against eq 19 to 28 in NumPy."""

from decimal import Decimal, localcontext

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from mollax.mollify import (
    MARGINALS,
    log_marginal,
    log_normalizer,
    normalized_cross_entropy,
    soft_cross_entropy,
)

# One compilation a shape instead of one a primitive.
normalizer = jax.jit(log_normalizer)
normalizer_gradient = jax.jit(jax.grad(log_normalizer))
value_and_gradient = jax.jit(jax.value_and_grad(normalized_cross_entropy))
marginal = jax.jit(log_marginal, static_argnames="method")


def exact_log_softmax(logits: np.ndarray) -> list[Decimal]:
    exact = [Decimal(float(z)) for z in logits]
    total = sum(((z - max(exact)).exp() for z in exact), Decimal(0)).ln() + max(exact)
    return [z - total for z in exact]


def integral(logits: np.ndarray) -> float:
    """log of sum_j int_0^1 prod_i f_i^{((1-a) e_j + a/C)_i} da by quadrature, as appendix C defines it."""
    log_f = np.array(exact_log_softmax(logits), np.float64)
    classes = len(log_f)

    def integrand(a: float, j: int) -> float:
        label = (1 - a) * np.eye(classes)[j] + a / classes
        return float(np.exp(label @ log_f))

    tolerance = {"epsabs": 0.0, "epsrel": 1e-13, "limit": 200}
    return float(np.log(sum(integrate.quad(integrand, 0, 1, (j,), **tolerance)[0] for j in range(classes))))


def closed_form(logits: np.ndarray) -> float:
    """log Z = log sum_j (G - f_j) / (log G - log f_j) with 60 digits, for logits no quadrature can follow."""
    with localcontext(prec=60):
        log_f = exact_log_softmax(logits)
        log_g = sum(log_f, Decimal(0)) / len(log_f)

        def logarithmic_mean(x: Decimal) -> Decimal:
            # Differences below the digits that are carried are ties.
            return x.exp() if abs(x - log_g) < Decimal("1e-40") else (log_g.exp() - x.exp()) / (log_g - x)

        return float(sum(map(logarithmic_mean, log_f), Decimal(0)).ln())


def example(seed: int, classes: int, spread: float) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=classes).astype(np.float32) * np.float32(spread)


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("spread", [1e-4, 0.05, 1.0, 12.0])
def test_normalizer_equals_quadrature(spread: float, classes: int) -> None:
    logits = example(classes, classes, spread)
    expected = integral(logits)
    np.testing.assert_allclose(closed_form(logits), expected, atol=1e-13)
    np.testing.assert_allclose(normalizer(jnp.asarray(logits)), expected, atol=2e-6)
    with jax.enable_x64(True):
        ours = normalizer(jnp.asarray(logits, jnp.float64))
    np.testing.assert_allclose(ours, expected, atol=1e-13)


@pytest.mark.parametrize("spread", [1e2, 1e4, 1e10, 1e30, 1e37])
def test_normalizer_equals_the_closed_form_far_out(spread: float) -> None:
    logits = example(5, 10, spread)
    expected = closed_form(logits)
    np.testing.assert_allclose(normalizer(jnp.asarray(logits)), expected, rtol=2e-6)
    with jax.enable_x64(True):
        np.testing.assert_allclose(normalizer(jnp.asarray(logits, jnp.float64)), expected, rtol=1e-12)


@pytest.mark.parametrize("gap", [0.0999, 0.1, 0.1001, 1e-3, 1e-7])
def test_the_two_branches_of_the_logarithmic_mean_meet(gap: float) -> None:
    logits = np.array([2 * gap, 0.0])  # log G - log f_j = +-gap
    with jax.enable_x64(True):
        ours = normalizer(jnp.asarray(logits))
    np.testing.assert_allclose(ours, closed_form(logits), atol=1e-14)


def test_equal_logits_give_one() -> None:
    # f_j = G = 1/K: each integral is 1/K, so Z = 1, and log Z is stationary there by symmetry.
    for classes in (1, 10):
        logits = jnp.full(classes, 3.0)
        np.testing.assert_allclose(normalizer(logits), 0.0, atol=5e-7)
        np.testing.assert_allclose(normalizer_gradient(logits), np.zeros(classes), atol=1e-6)


@pytest.mark.parametrize("logit, expected", [(1e1, -2.3), (1e4, -9.1), (1e30, -69.0)])
def test_unbounded_below_as_documented(logit: float, expected: float) -> None:
    label = jnp.eye(10)[0]
    value = normalized_cross_entropy(logit * label, label)
    np.testing.assert_allclose(value, expected, atol=0.25)
    np.testing.assert_allclose(value, closed_form(np.asarray(logit * label)), atol=1e-3)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    exponent=st.floats(-10.0, 38.0),
    classes=st.sampled_from([2, 10, 200]),
    soft=st.booleans(),
)
def test_finite_with_finite_gradients(seed: int, exponent: float, classes: int, soft: bool) -> None:
    rng = np.random.default_rng(seed)
    logits = (rng.uniform(-1, 1, classes) * 10.0**exponent).astype(np.float32)
    logits[: classes // 3] = logits[0]  # ties
    labels = rng.dirichlet(np.ones(classes)) if soft else np.eye(classes)[rng.integers(classes)]
    value, gradient = value_and_gradient(jnp.asarray(logits), jnp.asarray(labels, jnp.float32))
    assert np.isfinite(value)
    assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize("spread", [1e-6, 0.1, 3.0, 40.0])
def test_gradient_equals_finite_differences(spread: float) -> None:
    logits = example(3, 6, spread).astype(np.float64)
    logits[1] = logits[0]
    labels = 0.7 * np.eye(6)[2] + 0.3 / 6
    step = 1e-5
    with jax.enable_x64(True):
        target = jnp.asarray(labels)
        gradient = jax.jit(jax.grad(normalized_cross_entropy))(jnp.asarray(logits), target)
        moved = jnp.asarray(logits[None] + step * np.concatenate([np.eye(6), -np.eye(6)]))
        values = np.asarray(jax.jit(normalized_cross_entropy)(moved, jnp.broadcast_to(target, (12, 6))))
    np.testing.assert_allclose(gradient, (values[:6] - values[6:]) / (2 * step), atol=1e-8)
    single = value_and_gradient(jnp.asarray(logits, jnp.float32), jnp.asarray(labels, jnp.float32))[1]
    np.testing.assert_allclose(single, gradient, atol=5e-6)


def test_gradient_through_an_exact_tie_with_the_mean() -> None:
    # The middle logit is the mean: log f_1 = log G exactly, where |d| and max have their corner.
    with jax.enable_x64(True):
        logits = jnp.array([-1.0, 0.0, 1.0])
        values = [normalizer(logits + s * jnp.array([0.0, 1.0, 0.0])) for s in (1e-6, -1e-6)]
        gradient = normalizer_gradient(logits)
        np.testing.assert_allclose(gradient[1], (values[0] - values[1]) / 2e-6, atol=1e-9)


def test_soft_cross_entropy_equals_optax_and_numpy(rng: np.random.Generator) -> None:
    logits, labels = rng.normal(size=(7, 5)), rng.random((7, 5))
    log_f = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    ours = soft_cross_entropy(jnp.asarray(logits, jnp.float32), jnp.asarray(labels, jnp.float32))
    np.testing.assert_allclose(ours, -(labels * log_f).sum(1), rtol=1e-5)
    theirs = optax.softmax_cross_entropy(jnp.asarray(logits, jnp.float32), jnp.asarray(labels, jnp.float32))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_normalized_is_the_sum_over_any_leading_axes(rng: np.random.Generator) -> None:
    logits = jnp.asarray(rng.normal(size=(2, 3, 5)), jnp.float32)
    labels = jnp.asarray(rng.dirichlet(np.ones(5), size=(2, 3)), jnp.float32)
    value = jax.jit(normalized_cross_entropy)(logits, labels)
    assert value.shape == (2, 3)
    one = soft_cross_entropy(logits[1, 2], labels[1, 2]) + normalizer(logits[1, 2])
    np.testing.assert_allclose(value[1, 2], one, rtol=1e-5)
    np.testing.assert_allclose(jax.vmap(normalized_cross_entropy)(logits, labels), value, rtol=1e-5)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), draws=st.integers(2, 9))
def test_marginals_equal_their_equations(seed: int, draws: int) -> None:
    p = np.random.default_rng(seed).uniform(0.01, 1.0, draws)
    mean = p.mean()
    variance = ((p - mean) ** 2).sum() / (draws * (draws - 1))  # eq 26
    expected = {
        "jensen": np.log(np.prod(p ** (1 / draws))),  # eq 28, the geometric mean
        "naive": np.log(mean),  # eq 19
        "corrected": np.log(mean) + variance / (2 * mean**2),  # eq 25
    }
    with jax.enable_x64(True):
        for method, value in expected.items():
            ours = marginal(jnp.log(jnp.asarray(p)), method=method)
            np.testing.assert_allclose(ours, value, atol=1e-12, err_msg=method)
    assert expected["jensen"] <= expected["naive"] <= expected["corrected"]


def test_one_draw_is_its_own_estimate() -> None:
    for method in ("jensen", "naive"):
        np.testing.assert_allclose(marginal(jnp.array([[-2.5]]), method=method), [-2.5], rtol=1e-6)


def test_no_underflow() -> None:
    log_probs = jnp.array([-1e4, -1e4 - 1.0, -1e4 + 0.5])
    shifted = log_probs + 1e4
    for method in ("jensen", "naive", "corrected"):
        ours = marginal(log_probs, method=method)
        np.testing.assert_allclose(ours + 1e4, marginal(shifted, method=method), atol=2e-3)
        assert np.all(np.isfinite(jax.grad(lambda x, m=method: marginal(x, method=m))(log_probs)))
    weighted = marginal(log_probs, method="importance", log_weights=-log_probs)
    np.testing.assert_allclose(weighted, 0.0, atol=2e-3)


def test_the_correction_reduces_the_bias_and_leaves_some() -> None:
    # p = exp(s z - s^2 / 2) with z normal: E[p] = 1, the truth is 0.
    z = np.random.default_rng(3).normal(size=(200_000, 4))
    log_probs = jnp.asarray(0.8 * z - 0.32, jnp.float32)
    bias, error = {}, {}
    for method in ("jensen", "naive", "corrected"):
        estimates = np.asarray(marginal(log_probs, method=method), np.float64)
        bias[method], error[method] = estimates.mean(), estimates.std() / np.sqrt(len(estimates))
    np.testing.assert_allclose(bias["jensen"], -0.32, atol=4 * error["jensen"])
    assert bias["jensen"] < bias["naive"] < bias["corrected"] < 0
    assert abs(bias["corrected"]) < 0.5 * abs(bias["naive"])
    assert abs(bias["corrected"]) > 5 * error["corrected"]  # the paper calls it unbiased


def test_importance_weights_recover_the_integral(rng: np.random.Generator) -> None:
    # int N(phi; 0, 1) exp(phi) dphi = exp(1/2), drawn from q = N(1, 1), which is the optimal proposal.
    phi = rng.normal(1.0, 1.0, 50)
    log_weights = 0.5 * (phi - 1.0) ** 2 - 0.5 * phi**2
    ours = marginal(
        jnp.asarray(phi, jnp.float32), method="importance", log_weights=jnp.asarray(log_weights, jnp.float32)
    )
    np.testing.assert_allclose(ours, 0.5, atol=1e-5)
    # A poorer proposal, N(0.5, 1), agrees within its Monte Carlo error.
    phi = rng.normal(0.5, 1.0, 100_000)
    log_weights = 0.5 * (phi - 0.5) ** 2 - 0.5 * phi**2
    p = np.exp(phi + log_weights)
    ours = marginal(
        jnp.asarray(phi, jnp.float32), method="importance", log_weights=jnp.asarray(log_weights, jnp.float32)
    )
    np.testing.assert_allclose(ours, 0.5, atol=4 * p.std() / p.mean() / np.sqrt(len(p)))


def test_last_axis_is_the_draws(rng: np.random.Generator) -> None:
    log_probs = jnp.asarray(rng.normal(size=(2, 3, 4)), jnp.float32)
    for method in ("jensen", "naive", "corrected"):
        batch = jax.jit(lambda x, m=method: log_marginal(x, method=m))(log_probs)
        assert batch.shape == (2, 3)
        np.testing.assert_allclose(batch[1, 2], log_marginal(log_probs[1, 2], method=method), rtol=1e-5)


def test_bad_input_is_refused() -> None:
    log_probs = jnp.zeros((3, 1))
    assert MARGINALS == ("jensen", "naive", "corrected", "importance")
    with pytest.raises(ValueError, match=r"method must be one of 'jensen', .*got 'jenson'\. Did you mean 'jensen'"):
        log_marginal(log_probs, method="jenson")
    with pytest.raises(ValueError, match=r'"corrected" needs at least 2 draws per image .*got 1\. Raise'):
        log_marginal(log_probs, method="corrected")
    with pytest.raises(ValueError, match="method 'importance' needs log_weights"):
        log_marginal(log_probs, method="importance")
    with pytest.raises(ValueError, match="method 'naive' does not take log_weights"):
        log_marginal(log_probs, method="naive", log_weights=log_probs)
