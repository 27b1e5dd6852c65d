"""ViM: a virtual logit, the size of a feature outside of the principal space, against real ones (Wang et al. 2022)."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Int

from mollax import checks
from mollax.ood.head import Head
from mollax.ood.scores.inputs import Host, check_fit, dtype_of, pieces
from mollax.ood.scores.moments import second_moment

NEEDS = "features"


class State(NamedTuple):
    """What ViM has to know; r = d - dimension.

    Attributes:
      origin: u = -pinv(W) b, where the logits are 0 (or as small as they get).
      complement: orthonormal directions outside of the principal space.
      alpha: the residual's factor that makes it as large as the largest logit is.
    """

    origin: Float[Array, " d"]
    complement: Float[Array, "d r"]
    alpha: Float[Array, ""]


def principal_dimension(width: int) -> int:
    """The authors' rule for features of `width` dimensions: 1000 from 2048 on, 512 from 768 on, else half of them.

    OpenOOD's default is 256 throughout.

    Raises:
      ValueError: for fewer than 2 dimensions, of which none would be left.
    """
    checks.positive_int("width", width, minimum=2)
    if width >= 2048:
        return 1000
    return 512 if width >= 768 else width // 2


def fit(
    features: Float[Host, "n d"],
    logits: Float[Host, "n k"],
    labels: Int[Host, " n"],
    head: Head | None,
    *,
    dimension: int | None = None,
) -> State:
    """Origin, complement of the principal space, and alpha = mean max-logit / mean residual over training data.

    The principal space holds the `dimension` eigenvectors of largest eigenvalue of the uncentred second moment
    (1/n) sum (x - u)(x - u)^T; the residual of x is the norm of x - u in the others. In float64 by `eigh`; features
    are read in pieces and may be a NumPy memmap.

    Args:
      features, logits, labels: of ID training data.
      head: the last layer, whose logits these are; without a bias (zeros) the origin is 0.
      dimension: of the principal space, at least 1 and below d; None for `principal_dimension(d)`.

    Raises:
      ValueError: for no head, a dimension out of range, features without residual, arrays that do not belong together.
    """
    check_fit(features, logits, labels, head)
    dtype = dtype_of(features)
    if head is None:
        raise ValueError("ViM takes its origin from the last layer: give its Head(kernel, bias), not None.")
    width = features.shape[1]
    dimension = principal_dimension(width) if dimension is None else checks.positive_int("dimension", dimension)
    if dimension >= width:
        raise ValueError(
            f"dimension={dimension} of the principal space must be below the {width} dimensions of the features: "
            "no residual is left."
        )
    kernel, bias = (np.asarray(leaf, np.float64) for leaf in head)
    origin = -np.linalg.pinv(kernel.T) @ bias
    moment = second_moment(features, origin)
    values, directions = np.linalg.eigh(moment)  # eigenvalues ascend
    complement = directions[:, : width - dimension]
    if values[width - dimension - 1] <= width * np.finfo(np.float64).eps * values[-1]:
        raise ValueError(
            f"Training features have no residual outside of {dimension} principal dimensions, so alpha has no value. "
            "Give a smaller dimension."
        )
    residual = _mean_residual(features, origin, complement)
    alpha = float(np.asarray(logits, np.float64).max(axis=1).mean()) / residual
    return State(jnp.asarray(origin.astype(dtype)), jnp.asarray(complement.astype(dtype)), jnp.asarray(alpha, dtype))


def _mean_residual(
    features: Float[Host, "n d"], origin: Float64[np.ndarray, " d"], complement: Float64[np.ndarray, "d r"]
) -> float:
    """Mean norm of the features less the origin in the complement."""
    norms = (np.linalg.norm((piece - origin) @ complement, axis=1).sum() for _, piece in pieces(features))
    return float(sum(norms)) / len(features)


def score(state: State, features: Float[Array, "n d"], logits: Float[Array, "n k"]) -> Float[Array, " n"]:
    """alpha |residual of x| - log sum_c exp(f_c), high for OOD: eq 6 of the paper up to an increasing function.

    (The paper's score is the virtual logit's share of the softmax, the authors' code takes minus this one.)

    Raises:
      ValueError: for features and logits of different lengths.
    """
    checks.same_length(("features", "logits"), (features, logits))
    outside = jnp.matmul(features - state.origin[None, :], state.complement, precision=jax.lax.Precision.HIGHEST)
    residual = jnp.sqrt(jnp.square(outside).sum(axis=1))
    return state.alpha.astype(features.dtype) * residual - jax.nn.logsumexp(logits, axis=1)
