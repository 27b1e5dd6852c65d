"""Total variation between an input and its label as an objective (TV-OOD, arXiv 2601.15867; METHODS section 3).

Y is the class of an ID image, one of K, or the extra label K + 1 of an OOD image. m is the share of ID data and beta_k
the share of class k among the ID *training set*. P is the joint distribution of (X, Y) and Q the product of its
marginals,

    P = m P_id(x, y) + (1 - m) P_ood(x) [y = K + 1],    Q = (m P_id(x) + (1 - m) P_ood(x)) P(y),
    P(y) = m beta_y for the classes and 1 - m for the extra label,

so m enters the product twice: once as how often x is an ID image, once in P(y). Both m and beta are constants of the
method, not of a batch: the ID and OOD means are taken apart and weighted by m and 1 - m however large the two batches
are. That makes every sum below linear in the data, so its minibatch gradients are unbiased; frequencies counted in the
batch would bias the product.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from jaxtyping import Array, Float, Integer

from mollax import checks

Host = np.ndarray | jax.Array


class Samples(NamedTuple):
    """Values with weights that sum to 1, for means under the joint distribution and under the product.

    Attributes:
      on_joint: the critic at (x, y) and (x, K + 1) as they come.
      joint_weights: m / n for ID, (1 - m) / m' for OOD.
      on_product: the critic at every x with every label.
      product_weights: the same times P(y).
    """

    on_joint: Float[Array, " p"]
    joint_weights: Float[Array, " p"]
    on_product: Float[Array, " q"]
    product_weights: Float[Array, " q"]


def bounded_critic(free: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """T = tanh(v) / 2 of free outputs v, in [-1/2, 1/2]. From |v| about 10 it is +-1/2 in float32: rank by v."""
    return jnp.tanh(free) / 2


def label_probabilities(class_freq: Float[Host, " k"], id_share: float) -> Float[Array, " k+1"]:
    """P(Y): m beta_k for the K classes, 1 - m for the extra label, the last.

    Args:
      class_freq: beta, shares of the classes in the ID training set. They sum to 1.
      id_share: m, the share of ID data, between 0 and 1; the paper's is 0.5 in all experiments.

    Raises:
      TypeError: for an `id_share` that is not a number.
      ValueError: for an `id_share` outside of (0, 1), or shares that are negative or do not sum to 1.
    """
    checks.in_range("id_share", id_share, 0.0, 1.0, open_low=True, open_high=True)
    checks.rank("class_freq", class_freq, 1, "(classes,)")
    if not isinstance(class_freq, jax.core.Tracer):
        given = np.asarray(class_freq).astype(np.float64)
        if not ((given >= 0).all() and abs(given.sum() - 1) < 1e-3):  # NaN fails too
            raise ValueError(
                f"class_freq must hold shares of 0 or more that sum to 1; got a sum of {given.sum():g} and a smallest "
                f"of {min(given, default=0.0):g}. Divide the counts of the training set by their sum."
            )
    shares = jnp.asarray(class_freq)
    return jnp.append(id_share * shares, jnp.asarray(1 - id_share, shares.dtype))


def product_samples(
    critic_id: Float[Array, "n c"], critic_ood: Float[Array, "l c"], class_freq: Float[Host, " k"], id_share: float
) -> tuple[Float[Array, " q"], Float[Array, " q"]]:
    """Values and weights for means under the product: every image with every label, weighted by P(y).

    Raises:
      ValueError: for critics without a column for each class and one for the extra label, a batch without examples, or
        shares out of range; see `label_probabilities`.
    """
    probabilities = label_probabilities(class_freq, id_share).astype(critic_id.dtype)
    for name, critic in (("critic_id", critic_id), ("critic_ood", critic_ood)):
        checks.rank(name, critic, 2, "(examples, classes + 1)")
        if critic.shape[1] != len(probabilities):
            raise ValueError(
                f"{name} must have {len(probabilities)} columns, one for each of the {len(class_freq)} classes of "
                f"class_freq and the last for the extra label; got {critic.shape[1]}."
            )
        if len(critic) == 0:
            raise ValueError(f"{name} has no examples. Both ID and OOD images are needed in every batch.")
    weights = [
        jnp.tile(share / len(critic) * probabilities, len(critic))
        for share, critic in ((id_share, critic_id), (1 - id_share, critic_ood))
    ]
    return jnp.concatenate([critic_id.ravel(), critic_ood.ravel()]), jnp.concatenate(weights)


def joint_and_product(
    critic_id: Float[Array, "n c"],
    labels: Integer[Array, " n"] | Float[Array, "n k"],
    critic_ood: Float[Array, "l c"],
    class_freq: Float[Host, " k"],
    id_share: float,
) -> Samples:
    """What means under P and under Q are taken over; see `tv_objective` for the arguments.

    Raises:
      ValueError: as `tv_objective`.
    """
    on_product, product_weights = product_samples(critic_id, critic_ood, class_freq, id_share)
    checks.same_length(("critic_id", "labels"), (critic_id, labels))
    classes, dtype = critic_id.shape[1] - 1, critic_id.dtype
    id_weights = jnp.full(len(critic_id), id_share / len(critic_id), dtype)
    if jnp.issubdtype(labels.dtype, jnp.integer):
        checks.rank("labels", labels, 1, "(examples,), or (examples, classes) for soft labels")
        if not isinstance(labels, jax.core.Tracer):
            given = np.asarray(labels)  # jax's own min would be traced inside jit
            low, high = int(given.min()), int(given.max())
            if low < 0 or high >= classes:
                raise ValueError(
                    f"labels must be in 0 .. {classes - 1}; got {low} .. {high}. "
                    "OOD images have no label: they go into the OOD batch."
                )
        # Of the classes' columns only: a label of K must not read that of the extra label.
        on_id = jnp.take_along_axis(critic_id[:, :-1], labels[:, None], axis=1, mode="fill")[:, 0]
    else:
        if labels.shape != (len(critic_id), classes):
            raise ValueError(f"Soft labels must have shape {(len(critic_id), classes)}; got {labels.shape}.")
        on_id = critic_id[:, :-1].ravel()
        id_weights = (id_weights[:, None] * labels.astype(dtype)).ravel()
    ood_weights = jnp.full(len(critic_ood), (1 - id_share) / len(critic_ood), dtype)
    return Samples(
        on_joint=jnp.concatenate([on_id, critic_ood[:, -1]]),
        joint_weights=jnp.concatenate([id_weights, ood_weights]),
        on_product=on_product,
        product_weights=product_weights,
    )


def tv_objective(
    critic_id: Float[Array, "n c"],
    labels: Integer[Array, " n"] | Float[Array, "n k"],
    critic_ood: Float[Array, "l c"],
    class_freq: Float[Host, " k"],
    id_share: float,
) -> Float[Array, ""]:
    """J = E_P[T] - E_Q[T], to be maximised: a lower bound of TV(P, Q) where |T| <= 1/2 (TV-OOD eq 6 to 9).

        J = m E_id[T(x, y)] + (1-m) E_ood[T(x, K+1)]
            - m E_id[m sum_k beta_k T(x, k) + (1-m) T(x, K+1)] - (1-m) E_ood[m sum_k beta_k T(x, k) + (1-m) T(x, K+1)].

    TV is half the L1 distance, in [0, 1]; it is attained by T(x, k) = sign(P(k|x) - P(k)) / 2 and is `tv_maximum` for
    labels that x determines. The mean of J over equal minibatches is J of all of them.

    Args:
      critic_id: T of ID images, already bounded, as from `bounded_critic`; the last column is the extra label's.
      labels: classes 0 .. K-1, or soft labels whose rows sum to 1: those average T(x, .).
      critic_ood: T of OOD images. The two batches may differ in size.
      class_freq: beta, shares of the classes in the training set (not in the batch).
      id_share: m, the weight of ID data (not the share of ID images in the batch).

    Raises:
      TypeError: for an `id_share` that is not a number.
      ValueError: for shapes that do not belong together, a batch without examples, shares that are negative or do not
        sum to 1, an `id_share` outside of (0, 1), or labels that are not classes. Labels and shares that are being
        traced cannot be looked at: there, a label of K or more gives NaN.
    """
    samples = joint_and_product(critic_id, labels, critic_ood, class_freq, id_share)
    return jnp.sum(samples.joint_weights * samples.on_joint) - jnp.sum(samples.product_weights * samples.on_product)


def tv_maximum(class_freq: Float[Host, " k"], id_share: float) -> float:
    """TV(P, Q) = 1 - sum_y P(Y=y)^2 for labels that are a function of x, on the host in float64.

    m = 1/2 and K classes as frequent as each other: 3/4 - 1 / (4 K).

    Raises:
      TypeError: for an `id_share` that is not a number.
      ValueError: for shares out of range; see `label_probabilities`.
    """
    label_probabilities(class_freq, id_share)  # for its checks
    shares = np.asarray(class_freq).astype(np.float64)
    return float(1 - np.sum((id_share * shares) ** 2) - (1 - id_share) ** 2)


def gaussian_tv(distance: float, id_share: float) -> float:
    """TV(P, Q) = 2 m (1-m) (2 Phi(D/2) - 1) for one class, where ID is N(0, 1) and OOD is N(D, 1).

    P and Q differ by m (1-m) (p_id - p_ood) on either label, hence 2 m (1-m) TV(p_id, p_ood).

    Raises:
      TypeError: for what is not a number.
      ValueError: for a negative distance, or an `id_share` outside of (0, 1).
    """
    checks.in_range("distance", distance, 0.0)
    checks.in_range("id_share", id_share, 0.0, 1.0, open_low=True, open_high=True)
    return float(2 * id_share * (1 - id_share) * (2 * scipy.special.ndtr(distance / 2) - 1))
