"""Balanced Energy against PyTorch with gradients, its limit, its devices, priors by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import fast

from mollax.ood.balanced_energy import AUTHORS_BALANCE, balanced_energy, class_balance, class_prior, class_weights
from mollax.ood.energy_margin import energy_margin

PRIOR = np.array([0.5, 0.3, 0.15, 0.05])
MARGINS = {"m_in": -5.0, "m_out": -3.0}
BALANCE = {"gamma_margin": 0.75, "gamma_weight": 0.3, "shift": 4.0}


@pytest.fixture
def logits(rng) -> tuple[np.ndarray, np.ndarray]:
    """Float64 ID and outlier logits on both sides of the margins."""
    return rng.normal(2, 3, (8, 4)), rng.normal(0, 2, (12, 4))


def ours(inside, outside, **options):
    """The loss with the settings above."""
    return balanced_energy(inside, outside, prior=PRIOR, **MARGINS, **{**BALANCE, **options})


def test_it_is_pytorchs(logits):
    torch = pytest.importorskip("torch")
    inside, outside = given = [torch.tensor(array, requires_grad=True) for array in logits]

    def z(gamma):
        weights = torch.tensor(PRIOR) ** gamma
        return torch.softmax(outside, 1) @ (weights / weights.sum())

    def reference(z1, z2):
        hinge = torch.relu(-3.0 + 4.0 * z1 + torch.logsumexp(outside, 1)) ** 2
        inner = (torch.relu(-torch.logsumexp(inside, 1) + 5.0) ** 2).mean()
        return inner + (hinge * z2).sum() / z2.sum()

    loss = reference(z(0.75), z(0.3))
    loss.backward()
    with jax.enable_x64(True):
        value, gradients = fast(jax.value_and_grad(ours, (0, 1)))(*map(jnp.asarray, logits))
    np.testing.assert_allclose(value, loss.item(), rtol=1e-12)
    for gradient, tensor in zip(gradients, given, strict=True):
        np.testing.assert_allclose(gradient, tensor.grad.numpy(), rtol=1e-10, atol=1e-13)
    # The gradient does flow through Z, and the two gammas are not interchangeable.
    outside.grad = None
    reference(z(0.75).detach(), z(0.3).detach()).backward()
    assert np.abs(np.asarray(gradients[1]) - outside.grad.numpy()).max() > 1e-3
    assert abs(reference(z(0.3), z(0.75)).item() - loss.item()) > 1e-3


def test_without_balance_it_is_the_energy_loss(logits):
    @fast
    def losses(inside, outside):
        even = {"gamma_margin": 0.0, "gamma_weight": 0.0}
        plain, moved = (energy_margin(inside, outside, m_in=-5.0, m_out=m_out) for m_out in (-3.0, -3.0 + 4.0 / 4))
        return plain, ours(inside, outside, shift=0.0, **even), moved, ours(inside, outside, **even)

    plain, none, moved, equal = losses(*(jnp.asarray(array, jnp.float32) for array in logits))
    np.testing.assert_allclose(none, plain, rtol=1e-6)
    # Equal weights move every margin by lambda / K.
    np.testing.assert_allclose(equal, moved, rtol=1e-6)


def test_by_hand():
    np.testing.assert_array_equal(class_prior(np.array([0, 0, 2, 0]), classes=4), [0.75, 0, 0.25, 0])
    np.testing.assert_allclose(class_weights(np.array([0.64, 0.36]), gamma=0.5), [0.8 / 1.4, 0.6 / 1.4], rtol=1e-12)
    np.testing.assert_allclose(class_weights(PRIOR, gamma=1.0), PRIOR, rtol=1e-12)
    np.testing.assert_allclose(class_weights(np.array([1.0, 0.0]), gamma=0.0), 0.5)
    balance = fast(class_balance)(np.log(np.float32([[1, 3], [1, 1]])), np.array([0.2, 0.8], np.float32))
    np.testing.assert_allclose(balance, [0.65, 0.5], rtol=1e-6)
    assert AUTHORS_BALANCE["cifar100"].shift == 100.0


def test_slices_on_devices_are_one_batch(logits):
    inside, outside = (jnp.asarray(array, jnp.float32) for array in logits)
    whole, gradient = fast(jax.value_and_grad(ours, 1))(inside, outside)

    def slices(axis_name):
        def part(inside, outside):
            return jax.value_and_grad(lambda o: ours(inside, o, axis_name=axis_name))(outside)

        cut = (array.reshape(4, -1, 4) for array in (inside, outside))
        values, gradients = jax.pmap(part, axis_name="batch")(*cut)
        return float(values.mean()), np.asarray(gradients).reshape(12, 4) / 4  # as if averaged over devices

    value, parts = slices("batch")
    np.testing.assert_allclose(value, whole, rtol=1e-5)
    np.testing.assert_allclose(parts, gradient, rtol=1e-4, atol=1e-6)
    assert abs(slices(None)[0] - float(whole)) > 1e-3, "the mean of ratios is another number"


def test_bad_input(unhooked):
    logits = jnp.zeros((2, 4))
    with pytest.raises(ValueError, match="a share for each of 4 classes; got 2"):
        balanced_energy(logits, logits, prior=np.array([0.5, 0.5]), **MARGINS)
    with pytest.raises(ValueError, match=r"shares that sum to 1; got a sum of 2.*class_prior"):
        balanced_energy(logits, logits, prior=np.full(4, 0.5), **MARGINS)
    with pytest.raises(ValueError, match="gamma must be in"):
        ours(logits, logits, gamma_margin=-0.1)
    with pytest.raises(ValueError, match="shift must be in"):
        ours(logits, logits, shift=-1.0)
    with pytest.raises(ValueError, match="m_in must not be above"):
        balanced_energy(logits, logits, prior=PRIOR, m_in=0.0, m_out=-1.0)
    with pytest.raises(ValueError, match=r"predictions must be in 0 \.\. 2; got 0 \.\. 3"):
        class_prior(np.array([0, 3]), classes=3)
    with pytest.raises(ValueError, match="got none"):
        class_prior(np.array([], np.int32), classes=3)
    with pytest.raises(TypeError, match="Take argmax"):
        class_prior(np.array([0.5]), classes=3)
