"""Energy fine-tuning against PyTorch and by hand, margins from data, and what is refused."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import fast

from mollax.ood.energy_margin import AUTHORS_MARGINS, choose_margins, energy_margin, free_energy


def torch_loss(torch, inside, outside, m_in, m_out):
    """The published formula, in float64."""
    energy_in, energy_out = -torch.logsumexp(inside, 1), -torch.logsumexp(outside, 1)
    return (torch.relu(energy_in - m_in) ** 2).mean() + (torch.relu(m_out - energy_out) ** 2).mean()


def test_it_is_pytorchs(rng):
    torch = pytest.importorskip("torch")
    inside, outside = rng.normal(2, 3, (9, 5)), rng.normal(0, 3, (14, 5))
    given = [torch.tensor(array, requires_grad=True) for array in (inside, outside)]
    loss = torch_loss(torch, *given, -6.0, -4.0)
    loss.backward()

    def ours(inside, outside):
        return energy_margin(inside, outside, m_in=-6.0, m_out=-4.0)

    with jax.enable_x64(True):
        value, gradients = fast(jax.value_and_grad(ours, (0, 1)))(jnp.asarray(inside), jnp.asarray(outside))
    np.testing.assert_allclose(value, loss.item(), rtol=1e-12)
    for gradient, reference in zip(gradients, given, strict=True):
        np.testing.assert_allclose(gradient, reference.grad.numpy(), rtol=1e-10, atol=1e-14)
        # Both sides of both margins are met.
        assert (np.abs(gradient).sum(1) > 0).any()
        assert (np.abs(gradient).sum(1) == 0).any()
    # A flipped sign of the energy is another loss.
    assert abs(torch_loss(torch, *given, 6.0, 4.0).item() - loss.item()) > 0.1


def test_by_hand():
    # Energies -log 2 - x of a row (x, x): -3 and -1 of ID, -2 and 1 of outliers.
    def rows(*energies):
        return jnp.float32([[-energy - math.log(2)] * 2 for energy in energies])

    np.testing.assert_allclose(free_energy(rows(-3.0, -1.0)), [-3, -1], rtol=1e-6)
    value = energy_margin(rows(-3.0, -1.0), rows(-2.0, 1.0), m_in=-2.5, m_out=0.5)
    np.testing.assert_allclose(value, 1.5**2 / 2 + 2.5**2 / 2, rtol=1e-5)
    # Margins may be traced.
    traced = jax.jit(energy_margin)(rows(-3.0, -1.0), rows(-2.0, 1.0), m_in=jnp.float32(-2.5), m_out=jnp.float32(0.5))
    np.testing.assert_allclose(traced, value, rtol=1e-6)


def test_margins_from_data():
    margins = choose_margins(np.float32([-10, -8]), jnp.float32([-3, -1, -2]))
    assert margins == (-9.0, -2.0)
    assert isinstance(margins.m_in, float)
    assert AUTHORS_MARGINS["cifar100"] == (-27.0, -5.0)
    assert all(m_in < m_out for m_in, m_out in AUTHORS_MARGINS.values())


def test_margins_that_cannot_be_chosen(unhooked):
    with pytest.raises(ValueError, match=r"-2.* is not above the mean ID energy -1.*sign.*AUTHORS_MARGINS"):
        choose_margins(np.array([-1.0]), np.array([-2.0]))
    for bad in (np.array([]), np.array([np.nan])):
        with pytest.raises(ValueError, match="energy_ood must hold finite energies"):
            choose_margins(np.array([-1.0]), bad)
    with pytest.raises(ValueError, match="energy_id must have 1 axes"):
        choose_margins(np.zeros((2, 2)), np.zeros(2))


def test_bad_input(unhooked):
    logits = jnp.zeros((2, 3))
    with pytest.raises(ValueError, match="m_in must not be above m_out; got -1 and -2"):
        energy_margin(logits, logits, m_in=-1.0, m_out=-2.0)
    with pytest.raises(ValueError, match="m_out must be in"):
        energy_margin(logits, logits, m_in=-1.0, m_out=math.nan)
    with pytest.raises(ValueError, match="come from one network; got 3 and 4 classes"):
        energy_margin(logits, jnp.zeros((2, 4)), m_in=-2.0, m_out=-1.0)
    with pytest.raises(ValueError, match="logits_ood must hold at least one example"):
        energy_margin(logits, jnp.zeros((0, 3)), m_in=-2.0, m_out=-1.0)
