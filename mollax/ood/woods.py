"""WOODS (Katz-Samuels et al. 2022): learning from a wild mixture of ID and OOD images, under two constraints.

    minimise E_wild[sigma(-g)]  subject to  E_in[sigma(g)] <= 0.05  and  CE <= 2 x the pretrained network's training CE,

g = a LSE(f) + c a learnt logistic unit, high for OOD. Each constraint u <= 0 enters as an augmented Lagrangian term psi
with a multiplier lambda and a penalty weight beta of its own: in the authors' code both multipliers are one tensor, so
each constraint moves the other's. `WoodsState` is a pytree for `TrainState.extra`.
"""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer, PRNGKeyArray, Shaped

from mollax import checks
from mollax.ood.exposure import require_logits

Scalar = float | int | Float[Array, ""]


class WoodsState(NamedTuple):
    """Multipliers (from 0) and penalty weights (from 1) of the ID and the cross-entropy constraint, float32."""

    lam_id: Float[Array, ""]
    lam_ce: Float[Array, ""]
    beta_id: Float[Array, ""]
    beta_ce: Float[Array, ""]


class WoodsTerms(NamedTuple):
    """What a batch says.

    Attributes:
      wild: mean sigma(-g) of the wild images, in [0, 1].
      u_id: mean sigma(g) of the ID images minus its limit.
      u_ce: their cross-entropy minus its limit.
    """

    wild: Float[Array, ""]
    u_id: Float[Array, ""]
    u_ce: Float[Array, ""]


class LogisticUnit(nn.Module):
    """g(x) = a LSE(f(x)) + c, two parameters; high for OOD while a is negative.

    At its start, a = -1 and c = 0, g is the energy -LSE(f). Far from 0 the sigmoid has no gradient: start c at minus an
    energy between ID and OOD, such as the middle of `choose_margins`. (The authors' unit starts as a linear
    layer does, with a of either sign.) Scores after training are -LSE(f), as in their code; g ranks alike if a < 0.

    Attributes:
      scale: a at the start.
      offset: c at the start.
    """

    scale: float = -1.0
    offset: float = 0.0

    @nn.compact
    def __call__(self, logits: Float[Array, "n k"]) -> Float[Array, " n"]:
        """g of each row of logits."""
        a = self.param("scale", nn.initializers.constant(self.scale), ())
        c = self.param("offset", nn.initializers.constant(self.offset), ())
        return a.astype(logits.dtype) * jax.nn.logsumexp(logits, axis=-1) + c.astype(logits.dtype)


def initial_woods(*, beta: float = 1.0) -> WoodsState:
    """Multipliers 0 and penalty weights `beta`, before the first epoch.

    Raises:
      ValueError: for a beta not above 0.
    """
    checks.in_range("beta", beta, 0.0, open_low=True)
    return WoodsState(jnp.float32(0), jnp.float32(0), jnp.float32(beta), jnp.float32(beta))


def wild_mixture(
    key: PRNGKeyArray,
    images_id: Shaped[Array, "n ..."],
    images_ood: Shaped[Array, "n ..."],
    *,
    share: float = 0.1,
    first_index: int | Integer[Array, ""] = 0,
) -> tuple[Shaped[Array, "n ..."], Bool[Array, " n"]]:
    """(1 - pi) P_in + pi P_out: each image is the outlier of its row with probability pi, else the ID image.

    The ID images must be others than those of the constraints, as the paper halves its training set. Row i is drawn
    from (key, first_index + i), so devices that hold slices of a batch draw what one device would.

    Args:
      key: what makes the choice random.
      images_id, images_ood: one of each a row.
      share: pi; 0.1 in the paper. The authors' launch script says so too but does not pass it on: there it is 1.
      first_index: the first row's index in the whole batch.

    Returns:
      The images, and which of them are outliers: for reports only, as WOODS does not know.

    Raises:
      ValueError: for a share outside [0, 1], or shapes that differ.
    """
    checks.in_range("share", share, 0.0, 1.0)
    if images_id.shape != images_ood.shape or images_id.dtype != images_ood.dtype:
        raise ValueError(
            "images_id and images_ood must have one shape and type, a row of each is chosen from; got "
            f"{images_id.shape} {images_id.dtype} and {images_ood.shape} {images_ood.dtype}."
        )
    index = jnp.asarray(first_index, jnp.uint32) + jnp.arange(len(images_id), dtype=jnp.uint32)
    draws = jax.vmap(lambda i: jax.random.uniform(jax.random.fold_in(key, i)))(index)
    outlier = draws < share
    return jnp.where(outlier.reshape(-1, *[1] * (images_id.ndim - 1)), images_ood, images_id), outlier


def woods_terms(
    unit_id: Float[Array, " n"],
    unit_wild: Float[Array, " m"],
    cross_entropy: Float[Array, ""],
    *,
    pretrained_ce: Scalar,
    false_alarms: float = 0.05,
    ce_factor: float = 2.0,
    axis_name: str | None = None,
) -> WoodsTerms:
    """E_wild[sigma(-g)], u_id = E_in[sigma(g)] - 0.05 and u_ce = CE - 2 CE_pretrained.

    Args:
      unit_id, unit_wild: g of ID images and of the mixture, from `LogisticUnit`.
      cross_entropy: mean over the ID images, nats.
      pretrained_ce: mean over the training set before fine-tuning, nats.
      false_alarms: limit of the mean sigma(g) of ID images.
      ce_factor: limit of the cross-entropy, in multiples of `pretrained_ce`; the authors' 2 is loose.
      axis_name: the devices' axis where each holds a slice of the batch: psi is not linear, so that it needs the
        batch's means.

    Raises:
      ValueError: for a pretrained cross-entropy or factor not above 0, a limit outside (0, 1), or no examples.
    """
    if isinstance(pretrained_ce, (int, float)):  # a traced one was checked when it was measured
        checks.in_range("pretrained_ce", pretrained_ce, 0.0, open_low=True)
    checks.in_range("false_alarms", false_alarms, 0.0, 1.0, open_low=True, open_high=True)
    checks.in_range("ce_factor", ce_factor, 0.0, open_low=True)
    require_logits("unit_id", unit_id[:, None])
    require_logits("unit_wild", unit_wild[:, None])
    means = (jnp.mean(jax.nn.sigmoid(-unit_wild)), jnp.mean(jax.nn.sigmoid(unit_id)), cross_entropy)
    wild, alarms, cross_entropy = means if axis_name is None else jax.lax.pmean(means, axis_name)
    return WoodsTerms(wild, alarms - false_alarms, cross_entropy - ce_factor * pretrained_ce)


def psi(u: Float[Array, ""], lam: Scalar, beta: Scalar) -> Float[Array, ""]:
    """lambda u + beta u^2 / 2 where lambda + beta u >= 0, else -lambda^2 / (2 beta); smooth, and never falling in u."""
    lam, beta = jnp.asarray(lam).astype(u.dtype), jnp.asarray(beta).astype(u.dtype)
    return jnp.where(lam + beta * u >= 0, lam * u + beta * jnp.square(u) / 2, -jnp.square(lam) / (2 * beta))


def woods_loss(terms: WoodsTerms, state: WoodsState, *, weight: float = 1.0) -> Float[Array, ""]:
    """weight E_wild[sigma(-g)] + psi(u_id) + psi(u_ce): the whole loss, cross-entropy included.

    Raises:
      ValueError: for a negative weight.
    """
    checks.in_range("weight", weight, 0.0)
    constraints = psi(terms.u_id, state.lam_id, state.beta_id) + psi(terms.u_ce, state.lam_ce, state.beta_ce)
    return weight * terms.wild + constraints


def update_multipliers(
    state: WoodsState, u_id: Scalar, u_ce: Scalar, *, rate: float = 1.0, tolerance: float = 0.0, growth: float = 1.5
) -> WoodsState:
    """The state after an epoch, from both constraints over the whole training set; runs inside jit.

    Each on its own: lambda += rate u where lambda + beta u >= 0, else lambda -= rate lambda / beta; then beta is
    multiplied by `growth` if u > tolerance. A constraint that is not finite changes nothing.

    Args:
      state: of the epoch.
      u_id, u_ce: as in `WoodsTerms`, means over the training set with the network in evaluation mode.
      rate: of the multipliers; above beta they could turn negative.
      tolerance: by how much a constraint may be violated before its penalty grows.
      growth: of beta, at least 1.

    Raises:
      ValueError: for a rate not above 0, a negative tolerance or a growth below 1.
    """
    checks.in_range("rate", rate, 0.0, open_low=True)
    checks.in_range("tolerance", tolerance, 0.0)
    checks.in_range("growth", growth, 1.0)
    lam_id, beta_id = _ascend(state.lam_id, state.beta_id, u_id, rate, tolerance, growth)
    lam_ce, beta_ce = _ascend(state.lam_ce, state.beta_ce, u_ce, rate, tolerance, growth)
    return WoodsState(lam_id, lam_ce, beta_id, beta_ce)


def _ascend(
    lam: Array, beta: Array, u: Scalar, rate: float, tolerance: float, growth: float
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """One constraint's multiplier and penalty weight."""
    u = jnp.asarray(u).astype(lam.dtype)
    finite = jnp.isfinite(u)
    moved = lam + rate * jnp.where(lam + beta * u >= 0, u, -lam / beta)
    grown = jnp.where(u > tolerance, growth * beta, beta)
    return jnp.where(finite, moved, lam), jnp.where(finite, grown, beta)
