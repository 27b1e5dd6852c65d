"""Balanced Energy (Choi et al. 2023): energy fine-tuning that presses harder on outliers of frequent classes.

Auxiliary sets are not balanced: a network takes most of their images for a few of its classes. Those images get a wider
margin and more weight, by how much an image belongs to such classes,

    Z(x) = sum_i w_i softmax_i(x),  w_i = P_i^gamma / sum_j P_j^gamma,

with P_i the share of the auxiliary set that is predicted as class i. That w sums to 1 is our reading of
"proportional": the authors' published scripts do so too, and it lets their lambda, 10 for 10 classes and 100 for 100,
shift the margin by about 1 in both, as Z is 1/K for equal weights.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from mollax import checks
from mollax.ood.energy_margin import Host, Scalar, free_energy, inside_margin, require_margins, require_pair


class Balance(NamedTuple):
    """Settings of the balanced loss.

    Attributes:
      gamma_margin: of Z1, which shifts the margin.
      gamma_weight: of Z2, which weights the outliers.
      shift: lambda.
    """

    gamma_margin: float
    gamma_weight: float
    shift: float


# ResNet-18, gamma .05 / .005, read as CIFAR-10 / CIFAR-100 like the lambdas beside them, the same for Z1 and Z2; .75
# and .5 belong to long-tailed training, with ResNet and WRN.
AUTHORS_BALANCE = {"cifar10": Balance(0.05, 0.05, 10.0), "cifar100": Balance(0.005, 0.005, 100.0)}


def class_prior(predictions: Integer[Host, " n"], *, classes: int) -> Float[np.ndarray, " k"]:
    """P: the share of auxiliary images that a network predicts as each class, on the host in float64.

    Taken once, with the network before fine-tuning (the authors keep theirs in their scripts). A class that no image is
    taken for has P = 0, so weight 0 for any gamma above 0.

    Raises:
      ValueError: for no predictions, or classes outside 0 .. classes - 1.
      TypeError: for predictions that are no integers.
    """
    checks.positive_int("classes", classes)
    checks.rank("predictions", predictions, 1, "(examples,)")
    given = np.asarray(predictions)
    if not np.issubdtype(given.dtype, np.integer):
        raise TypeError(f"predictions must be class indices; got dtype {given.dtype}. Take argmax of the logits.")
    if given.size == 0:
        raise ValueError("A prior needs predictions of auxiliary images; got none.")
    if given.min() < 0 or given.max() >= classes:
        raise ValueError(f"predictions must be in 0 .. {classes - 1}; got {given.min()} .. {given.max()}.")
    return np.bincount(given, minlength=classes) / given.size


def class_weights(prior: Float[Host, " k"], *, gamma: float) -> Float[Host, " k"]:
    """w_i = P_i^gamma / sum_j P_j^gamma: equal for gamma 0, the prior itself for 1.

    Raises:
      ValueError: for a negative gamma, or a prior that holds negative shares or does not sum to 1.
    """
    checks.in_range("gamma", gamma, 0.0)
    checks.rank("prior", prior, 1, "(classes,)")
    if isinstance(prior, jax.core.Tracer):  # carried in a state; checked when it was made
        powers = prior**gamma
        return powers / jnp.sum(powers)
    shares = np.asarray(prior).astype(np.float64)
    if not ((shares >= 0).all() and abs(shares.sum() - 1) < 1e-4):
        raise ValueError(f"prior must hold shares that sum to 1; got a sum of {shares.sum():g}. Use class_prior.")
    weights = shares**gamma
    return weights / weights.sum()


def class_balance(logits: Float[Array, "n k"], weights: Float[Host, " k"]) -> Float[Array, " n"]:
    """Z(x) = sum_i w_i softmax_i(x), between the smallest and the largest weight."""
    return jnp.sum(jax.nn.softmax(logits, axis=-1) * jnp.asarray(weights, logits.dtype)[None], axis=-1)


def balanced_energy(
    logits_id: Float[Array, "n k"],
    logits_ood: Float[Array, "m k"],
    *,
    prior: Float[Host, " k"],
    m_in: Scalar,
    m_out: Scalar,
    gamma_margin: float = 0.05,
    gamma_weight: float = 0.05,
    shift: float = 10.0,
    axis_name: str | None = None,
) -> Float[Array, ""]:
    """E_in[relu(E - m_in)^2] + sum_out relu(m_out + lambda Z1 - E)^2 Z2 / sum_out Z2, with weight 0.1 outside.

    Z1 and Z2 are Z for the two gammas, and gradients flow through both. For lambda 0 and gammas 0 it is
    `energy_margin`. Defaults are the authors' for CIFAR-10 (`AUTHORS_BALANCE`).

    Args:
      logits_id: of ID images.
      logits_ood: of auxiliary outliers.
      prior: from `class_prior`.
      m_in, m_out: as for `energy_margin`.
      gamma_margin, gamma_weight: exponents of Z1 and Z2.
      shift: lambda, at least 0.
      axis_name: the devices' axis where each holds a slice of the batch: the ratio of sums is then that of the batch.

    Raises:
      ValueError: for logits without an example or of different classes, margins in the wrong order, a prior of another
        length or that does not sum to 1, or negative options.
    """
    require_pair(logits_id, logits_ood)
    require_margins(m_in, m_out)
    checks.in_range("shift", shift, 0.0)
    if len(prior) != logits_ood.shape[1]:
        raise ValueError(f"prior must have a share for each of {logits_ood.shape[1]} classes; got {len(prior)}.")
    margin = m_out + shift * class_balance(logits_ood, class_weights(prior, gamma=gamma_margin))
    weight = class_balance(logits_ood, class_weights(prior, gamma=gamma_weight))
    terms = jnp.sum(jnp.square(jax.nn.relu(margin - free_energy(logits_ood))) * weight)
    total = jnp.sum(weight)
    if axis_name is not None:
        terms, total = jax.lax.psum((terms, total), axis_name)
    return inside_margin(logits_id, m_in) + terms / total
