"""Image transforms as vectors of parameters: Lie-algebra coefficients, decoupled matrix entries, crops."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mollax import checks
from mollax.invariance.precision import at_least_float32

# Augerino's generators (Benton et al. 2020) in homogeneous coordinates, the bottom row zero; 1 is half a turn, a tenth
# of half the width, a factor e.
GENERATORS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "translate_x": ((0.0, 0.0, 0.1), (0.0, 0.0, 0.0)),
    "translate_y": ((0.0, 0.0, 0.0), (0.0, 0.0, 0.1)),
    "rotate": ((0.0, -math.pi, 0.0), (math.pi, 0.0, 0.0)),
    "scale": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
    "squeeze": ((1.0, 0.0, 0.0), (0.0, -1.0, 0.0)),
    "shear": ((0.0, 1.0, 0.0), (1.0, 0.0, 0.0)),
}

# Generators whose coefficients are the parameters.
_LIE = {
    "rotation": ("rotate",),
    "translation": ("translate_x", "translate_y"),
    "rotation_translation": ("translate_x", "translate_y", "rotate"),
    "affine": tuple(GENERATORS),
}
# Entries (row, column) of the exponent that are the parameters (eq 13).
_ENTRIES = {
    "decoupled_rotation": ((0, 1), (1, 0)),
    "decoupled": ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)),
}
_TERMS, _SQUARINGS = 8, 8  # exact to rounding for exponents of norm 50, eight times what the parameters' box allows
_CROP = 4  # centre x, centre y, width, height
KINDS = (*_LIE, *_ENTRIES, "crop")
DEFAULT_LIMITS = (0.7, 1.0)
Limit = float | Float[Array, ""]


def dimension(kind: str) -> int:
    """How many parameters a kind of transform has, from 1 to 6.

    Raises:
      ValueError: for an unknown kind.
    """
    checks.one_of("kind", kind, KINDS)
    return _CROP if kind == "crop" else len(_LIE.get(kind) or _ENTRIES[kind])


def parameter_names(kind: str) -> tuple[str, ...]:
    """What each parameter of a kind is called: a generator, an entry of the exponent, or a number of the crop.

    Raises:
      ValueError: for an unknown kind.
    """
    checks.one_of("kind", kind, KINDS)
    if kind == "crop":
        return ("centre x", "centre y", "width", "height")
    return _LIE.get(kind) or tuple(f"entry {row + 1},{column + 1}" for row, column in _ENTRIES[kind])


def lie_algebra(params: Float[Array, " d"], *, kind: str, entry_range: float = math.pi) -> Float[Array, "3 3"]:
    """The exponent of `affine_matrix`: sum_i w_i G_i, or the entries of eq 13; its bottom row is zero.

    (The paper prints a 1 in the exponent's corner, which would scale nothing but the homogeneous coordinate.)

    Args:
      params: d = `dimension(kind)` coefficients.
      kind: any of `KINDS` but "crop".
      entry_range: of a "decoupled" kind, what an entry is at a parameter of 1. At pi, the default, rotations of the
        parameters (-1, 1) are half turns, as those of "rotation".

    Raises:
      ValueError: for an unknown kind, "crop", or another number of parameters.
      TypeError: for parameters that are not floats.
    """
    params = _checked(params, kind)
    if kind == "crop":
        raise ValueError(
            'A crop is no exponential of its parameters; use affine_matrix or crop_matrix for kind "crop".'
        )
    if kind in _ENTRIES:
        rows, columns = np.array(_ENTRIES[kind]).T
        return jnp.zeros((3, 3), params.dtype).at[rows, columns].set(entry_range * params)
    basis = np.zeros((len(_LIE[kind]), 3, 3), params.dtype)
    basis[:, :2] = [GENERATORS[name] for name in _LIE[kind]]
    # A sum, not a product of matrices: the reduced precision of a matrix unit would turn by degrees.
    return jnp.sum(params[:, None, None] * basis, axis=0)


def affine_matrix(
    params: Float[Array, " d"],
    *,
    kind: str,
    entry_range: float = math.pi,
    limits: tuple[Limit, Limit] = DEFAULT_LIMITS,
) -> Float[Array, "2 3"]:
    """Parameters to the 2x3 pull matrix of `image.affine_warp`: exp(sum_i w_i G_i) (eq 12, 13), or a crop.

    Coordinates are normalized to [-1, 1] along both sides, so that a rotation turns square images rigidly. Others it
    shears as well: what it turns is the image stretched to a square.

    Args:
      params: d = `dimension(kind)` numbers; zeros are the identity, but for crops.
      kind: "rotation", "translation", "rotation_translation", "affine" (coefficients of `GENERATORS`),
        "decoupled_rotation", "decoupled" (entries of the exponent) or "crop".
      entry_range: see `lie_algebra`; for the decoupled kinds.
      limits: see `crop_matrix`; for crops.

    Returns:
      A matrix that is differentiable in `params`, computed in float32 at least. Batch with `jax.vmap`.

    Raises:
      ValueError: for an unknown kind, another number of parameters, or limits that are not 0 < low <= high <= 1.
      TypeError: for parameters that are not floats.
    """
    if kind == "crop":
        return crop_matrix(params, limits=limits)
    exponent = lie_algebra(params, kind=kind, entry_range=entry_range)
    return _exponential(exponent)


def _exponential(exponent: Float[Array, "3 3"]) -> Float[Array, "2 3"]:
    """The first rows of exp(X) for a bottom row of zeros, by scaling, a Taylor sum and squaring.

    Twenty times as fast as `jax.scipy.linalg.expm` under vmap, which solves a linear system and runs all of its
    branches. What is squared is D = exp - 1, by (1 + D)^2 - 1 = 2 D + D^2: squares of exp would double its rounding.
    """
    scaled = exponent[:2] / 2**_SQUARINGS
    difference = scaled
    for order in range(_TERMS, 1, -1):
        difference = scaled + _product(scaled, difference) / order
    for _ in range(_SQUARINGS):
        difference = 2 * difference + _product(difference, difference)
    return difference + np.eye(2, 3, dtype=difference.dtype)


def _product(a: Float[Array, "2 3"], b: Float[Array, "2 3"]) -> Float[Array, "2 3"]:
    """First rows of the product of two matrices whose bottom rows are zero; as a sum, in full precision everywhere."""
    return a[:, :1] * b[:1] + a[:, 1:2] * b[1:2]


def crop_matrix(params: Float[Array, " d"], *, limits: tuple[Limit, Limit] = DEFAULT_LIMITS) -> Float[Array, "2 3"]:
    """The pull matrix of a crop, enlarged to the whole image; for parameters in [-1, 1] the box is inside the image.

    size = low + (high - low) (s + 1) / 2 for width and height, as a share of the image's, and centre = c (1 - size), so
    that c = -1 and 1 touch the border (METHODS section 2).

    Args:
      params: centre x, centre y, width, height.
      limits: the smallest and largest size; (.7, 1), then (.35, 1) in the paper. Arrays, which may change while a
        compiled program runs, are not checked.

    Raises:
      ValueError: for another number of parameters, or limits (numbers) that are not 0 < low <= high <= 1.
      TypeError: for parameters that are not floats.
    """
    params = _checked(params, "crop")
    low, high = limits
    known = not isinstance(low, jax.Array) and not isinstance(high, jax.Array)
    if known and not 0 < low <= high <= 1:
        raise ValueError(f"limits of a crop must be 0 < low <= high <= 1; got ({low}, {high}).")
    size = low + (high - low) * (params[2:] + 1) / 2
    centre = params[:2] * (1 - size)
    return jnp.concatenate([jnp.diag(size), centre[:, None]], axis=1)


def rotation_error(matrix: Float[Array, "r c"]) -> Float[Array, ""]:
    """Distance to the nearest rotation, ||A - R|| / ||A|| (Frobenius), of the 2x2 part A (METHODS section 2; fig 7).

    R is U V^T of the singular value decomposition, its determinant made +1. For 2x2 matrices it has a closed form: with
    p = (a + d) / 2 and q = (c - b) / 2, R is the rotation by atan2(q, p), and <A, R> = 2 sqrt(p^2 + q^2).

    Raises:
      ValueError: for a matrix smaller than 2x2.
    """
    if min(matrix.shape) < 2:
        raise ValueError(f"rotation_error takes matrices of 2x2 or more; got shape {matrix.shape}.")
    (a, b), (c, d) = matrix[:2, :2]
    norm2 = a**2 + b**2 + c**2 + d**2
    # ||A - R||^2 = ||A||^2 - 2 <A, R> + 2
    distance2 = jnp.maximum(norm2 - 2 * jnp.hypot(a + d, c - b) + 2, 0)
    return jnp.sqrt(distance2 / norm2)


def _checked(params: Array, kind: str) -> Array:
    """As many parameters as the kind has, in float32 at least: half precision would turn by degrees."""
    expected = dimension(kind)
    if params.shape != (expected,):
        raise ValueError(f'kind "{kind}" takes {expected} parameter{"s" * (expected > 1)}; got shape {params.shape}.')
    if not jnp.issubdtype(params.dtype, jnp.floating):
        raise TypeError(
            f'The parameters of kind "{kind}" must be floats, not {params.dtype}; give such as jnp.zeros({expected}).'
        )
    return at_least_float32(params)
