"""WOODS: terms against PyTorch, psi and its slope, multipliers that solve problems of known solution, the mixture."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import fast
from scipy import stats

from mollax.ood.woods import (
    LogisticUnit,
    WoodsState,
    WoodsTerms,
    initial_woods,
    psi,
    update_multipliers,
    wild_mixture,
    woods_loss,
    woods_terms,
)


def state(lam_id=0.0, lam_ce=0.0, beta_id=1.0, beta_ce=1.0):
    return WoodsState(*(jnp.float32(value) for value in (lam_id, lam_ce, beta_id, beta_ce)))


def constrained(constraint, lam, beta):
    """One term of the augmented Lagrangian in PyTorch, branch by branch."""
    if lam + beta * constraint >= 0:
        return lam * constraint + beta / 2 * constraint**2
    return -(lam**2) / (2 * beta)


@pytest.mark.parametrize("pretrained_ce, branch", [(0.2, True), (9.0, False)])
def test_loss_is_pytorchs(rng, pretrained_ce, branch):
    torch = pytest.importorskip("torch")
    inside, wild, labels = rng.normal(0, 2, (6, 3)), rng.normal(0, 2, (8, 3)), rng.integers(3, size=6)
    given = [torch.tensor(array, requires_grad=True) for array in (inside, wild)]
    unit_in, unit_wild = (-0.7 * torch.logsumexp(logits, 1) + 0.4 for logits in given)
    u_id = torch.sigmoid(unit_in).mean() - 0.05
    u_ce = torch.nn.functional.cross_entropy(given[0], torch.tensor(labels)) - 2 * pretrained_ce
    assert (2.0 + 3.0 * u_ce.item() >= 0) == branch, "both branches are met"
    loss = torch.sigmoid(-unit_wild).mean() + constrained(u_id, 0.5, 1.5) + constrained(u_ce, 2.0, 3.0)
    loss.backward()

    def ours(inside, wild):
        variables = {"params": {"scale": jnp.asarray(-0.7), "offset": jnp.asarray(0.4)}}
        units = (LogisticUnit().apply(variables, logits) for logits in (inside, wild))
        entropy = -jnp.mean(jax.nn.log_softmax(inside)[jnp.arange(6), jnp.asarray(labels)])
        terms = woods_terms(*units, entropy, pretrained_ce=pretrained_ce)
        return woods_loss(terms, state(0.5, 2.0, 1.5, 3.0))

    with jax.enable_x64(True):
        value, gradients = fast(jax.value_and_grad(ours, (0, 1)))(jnp.asarray(inside), jnp.asarray(wild))
    np.testing.assert_allclose(value, loss.item(), rtol=1e-12)
    for gradient, tensor in zip(gradients, given, strict=True):
        np.testing.assert_allclose(gradient, tensor.grad.numpy(), rtol=1e-10, atol=1e-14)


def test_the_unit_starts_as_the_energy():
    logits = jnp.float32([[1.0, 2.0], [5.0, 0.0]])
    found, variables = fast(LogisticUnit(offset=3.0).init_with_output)(jax.random.key(0), logits)
    assert jax.tree.map(float, variables) == {"params": {"scale": -1.0, "offset": 3.0}}
    expected = 3 - np.log(np.exp(np.asarray(logits, np.float64)).sum(1))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert LogisticUnit().offset == 0.0


def test_psi_by_hand_and_its_slope():
    u = np.float32([0.5, -0.25, -1, -0.5, 3, -3])
    values, slopes = fast(jax.vmap(jax.value_and_grad(lambda u: psi(u, 2, 4.0))))(u)
    np.testing.assert_allclose(values, [1.5, -0.375, -0.5, -0.5, 24, -0.5], rtol=1e-6)
    np.testing.assert_allclose(slopes, np.maximum(2 + 4 * u, 0), rtol=1e-6)


# With a tolerance the penalty stops growing, and the multiplier has the time to converge.
@pytest.mark.parametrize("tolerance, epochs", [(0.0, 20), (0.01, 400)])
def test_multipliers_solve_a_constrained_problem(tolerance, epochs):
    """Minimise x^2 + y^2 with x >= 1 and y >= -1: (1, 0), where the multipliers are 2 and 0."""

    def epoch(state, _):
        def inner(_, point):
            def loss(point):
                terms = WoodsTerms(jnp.sum(jnp.square(point)), 1.0 - point[0], -1.0 - point[1])
                return woods_loss(terms, state)

            return point - jax.grad(loss)(point) / (2 + jnp.stack([state.beta_id, state.beta_ce]))

        point = jax.lax.fori_loop(0, 100, inner, jnp.float32([-2.0, -3.0]))
        state = update_multipliers(state, 1 - point[0], -1 - point[1], tolerance=tolerance)
        return state, point

    last, points = fast(lambda: jax.lax.scan(epoch, initial_woods(), None, length=epochs))()
    np.testing.assert_allclose(points[-1], [1, 0], atol=2e-3)
    assert float(last.lam_ce) == 0.0
    assert float(last.beta_ce) == 1.0
    if tolerance:
        np.testing.assert_allclose(last.lam_id, 2, atol=2e-3)
    assert float(last.beta_id) > 1.0


def test_updates_by_hand():
    before = state(lam_id=0.5, lam_ce=3.0, beta_id=2.0, beta_ce=4.0)
    after = update_multipliers(before, 0.2, -1.0)
    # u_ce: 3 + 4 (-1) < 0, so lambda - lambda / beta.
    np.testing.assert_allclose(after, [0.7, 2.25, 3.0, 4.0], rtol=1e-6)
    after = update_multipliers(before, -0.1, 0.3, rate=0.5, tolerance=0.3, growth=10.0)
    np.testing.assert_allclose(after, [0.45, 3.15, 2.0, 4.0], rtol=1e-6)
    after = update_multipliers(before, math.nan, math.inf)
    np.testing.assert_array_equal(np.array(after), np.array(before))


def test_each_constraint_moves_its_own_multiplier_only():
    start = state(0.3, 0.6, 1.0, 2.0)
    first, second = update_multipliers(start, 0.4, 0.1), update_multipliers(start, 0.4, -5.0)
    assert (first.lam_id, first.beta_id) == (second.lam_id, second.beta_id)
    assert first.lam_ce != second.lam_ce
    third = update_multipliers(start, -0.2, 0.1)
    assert (first.lam_ce, first.beta_ce) == (third.lam_ce, third.beta_ce)
    assert first.lam_id != third.lam_id
    pointers = {leaf.unsafe_buffer_pointer() for leaf in initial_woods()}
    assert len(pointers) == 4, "one buffer for two leaves cannot be donated"


def test_psi_of_slices_on_devices_is_that_of_the_batch(rng):
    inside, wild = (jnp.asarray(rng.normal(0, 2, (4, 3)), jnp.float32) for _ in range(2))
    current = state(0.1, 0.2, 3.0, 3.0)

    def loss(inside, axis_name=None):
        terms = woods_terms(inside, wild[0], jnp.mean(jnp.square(inside)), pretrained_ce=1.0, axis_name=axis_name)
        return woods_loss(terms, current)

    value, gradient = fast(jax.value_and_grad(loss))(inside.reshape(-1))
    parts, gradients = jax.pmap(jax.value_and_grad(lambda part: loss(part, "batch")), axis_name="batch")(inside)
    np.testing.assert_allclose(parts, value, rtol=1e-5)
    np.testing.assert_allclose(gradients.reshape(-1) / 4, gradient, rtol=1e-4, atol=1e-6)


def test_mixture_has_its_share_and_its_rows(key):
    inside, outside = np.arange(4000, dtype=np.uint16).reshape(4000, 1, 1), np.full((4000, 1, 1), 9999, np.uint16)
    images, outlier = fast(partial(wild_mixture, share=0.1))(key, inside, outside)
    np.testing.assert_array_equal(images, np.where(np.asarray(outlier)[:, None, None], 9999, inside))
    assert stats.binomtest(int(outlier.sum()), 4000, 0.1).pvalue > 1e-3
    _, tail = fast(partial(wild_mixture, share=0.1, first_index=3000))(key, inside[3000:], outside[3000:])
    np.testing.assert_array_equal(tail, outlier[3000:])
    for share in (0.0, 1.0):
        assert (fast(partial(wild_mixture, share=share))(key, inside[:9], outside[:9])[1] == bool(share)).all()


def test_bad_input(unhooked, key):
    images = jnp.zeros((2, 3, 3, 1))
    with pytest.raises(ValueError, match=r"share must be in \[0, 1\]"):
        wild_mixture(key, images, images, share=1.5)
    with pytest.raises(ValueError, match="one shape and type"):
        wild_mixture(key, images, images[:1])
    unit, entropy = jnp.zeros(3), jnp.float32(1)
    with pytest.raises(ValueError, match=r"pretrained_ce must be in \(0"):
        woods_terms(unit, unit, entropy, pretrained_ce=0.0)
    with pytest.raises(ValueError, match="false_alarms must be in"):
        woods_terms(unit, unit, entropy, pretrained_ce=1.0, false_alarms=1.0)
    with pytest.raises(ValueError, match="unit_wild must hold at least one"):
        woods_terms(unit, unit[:0], entropy, pretrained_ce=1.0)
    with pytest.raises(ValueError, match="weight must be in"):
        woods_loss(WoodsTerms(entropy, entropy, entropy), initial_woods(), weight=-1.0)
    with pytest.raises(ValueError, match="beta must be in"):
        initial_woods(beta=0.0)
    for option in ({"rate": 0.0}, {"tolerance": -1.0}, {"growth": 0.9}):
        with pytest.raises(ValueError, match=f"{next(iter(option))} must be in"):
            update_multipliers(initial_woods(), 0.0, 0.0, **option)
