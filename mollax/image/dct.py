"""The orthonormal cosine transform, and the heat operator it diagonalizes.

A side of n pixels has frequencies pi m / n, m = 0..n-1 (radians a pixel). Heat flow for a time
tau = scale^2 / 2 multiplies frequency m by exp(-tau (pi m / n)^2) and leaves the mean alone; boundaries are
reflecting. `scale` is in pixels.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mollax import checks


def dct_matrix(side: int) -> Float[np.ndarray, "{side} {side}"]:
    """Orthonormal DCT-II as a matrix: D[m, i] = c_m cos(pi m (2i+1) / 2n), c_0 = sqrt(1/n), else sqrt(2/n).

    Float64, so that the transform is exact to rounding whatever it is cast to; D^T D = I.

    Raises:
      ValueError: for a side below 1.
    """
    checks.positive_int("side", side)
    frequency, position = np.arange(side)[:, None], np.arange(side)[None, :]
    matrix = np.sqrt(2.0 / side) * np.cos(np.pi * frequency * (2 * position + 1) / (2 * side))
    matrix[0] /= np.sqrt(2.0)
    return matrix


def dct2(image: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
    """Two-dimensional orthonormal DCT-II of every channel: D_H x D_W^T."""
    rows, columns = (jnp.asarray(dct_matrix(side), image.dtype) for side in image.shape[:2])
    return jnp.einsum("mh,hwc,nw->mnc", rows, image, columns)


def idct2(coefficients: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
    """Inverse of `dct2`: D_H^T y D_W."""
    rows, columns = (jnp.asarray(dct_matrix(side), coefficients.dtype) for side in coefficients.shape[:2])
    return jnp.einsum("mh,mnc,nw->hwc", rows, coefficients, columns)


def heat_operator(scale: Float[Array, ""], side: int) -> Float[Array, "{side} {side}"]:
    """The matrix A = D^T diag(exp(-scale^2/2 (pi m / n)^2)) D that blurs one axis of `side` pixels.

    See METHODS 1. A product of two cosines is half the cosine of the difference plus half that of the sum,
    so A is a Toeplitz plus a Hankel matrix, A[i, j] = g(i - j) + g(i + j + 1), with one cosine sum
    g(k) = (1/n) [1/2 + sum_{m>0} exp(...) cos(pi m k / n)]. That takes O(n^2) work instead of O(n^3).

    Args:
      scale: standard deviation of the blur in pixels; 0 gives the identity.
      side: length of the axis.

    Raises:
      ValueError: for a side below 1.
    """
    n = checks.positive_int("side", side)
    dtype = scale.dtype
    frequency = np.pi * np.arange(n) / n
    gain = jnp.exp(scale**2 * jnp.asarray(-0.5 * frequency**2, dtype))
    cosines = np.cos(np.outer(np.arange(2 * n), frequency)) / n
    cosines[:, 0] /= 2
    g = jnp.asarray(cosines, dtype) @ gain
    # Reading a repeated row of 2n values with a stride one off its length shifts each row by one: both
    # matrices are views of g, without a gather.
    symmetric = jnp.concatenate([g[n - 1 : 0 : -1], g[:n], g[:1]])
    toeplitz = jnp.tile(symmetric, n)[: n * (2 * n - 1)].reshape(n, 2 * n - 1)[:, n - 1 :]
    hankel = jnp.tile(g, n + 1)[: n * (2 * n + 1)].reshape(n, 2 * n + 1)[:, 1 : n + 1]
    return toeplitz + hankel
