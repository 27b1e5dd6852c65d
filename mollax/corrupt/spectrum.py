"""Which frequencies an image change touches: eq 16 and figure 11 of Heinonen et al., AISTATS 2025.

Images in [0, 1] (or any unit, which the result then has), NHWC. Frequency (m, n) of an h x w image is pi m / h
radians a pixel down and pi n / w across; (0, 0) is the mean of the image.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mollax.image.dct import dct2


def dct_change(original: Float[Array, "n h w c"], changed: Float[Array, "n h w c"]) -> Float[Array, "h w"]:
    """1/N sum_i |DCT[corruption[x_i]] - DCT[x_i]| (eq 16), the orthonormal DCT-II.

    Eq 16 is for one channel; here the mean over channels is taken as well. The DCT is linear, so that the transform of
    the difference is computed, once.

    Args:
      original: x_i.
      changed: corruption[x_i].
    """
    return jnp.abs(jax.vmap(dct2)(changed - original)).mean(axis=(0, 3))


def overlap(first: Float[np.ndarray, "h w"], second: Float[np.ndarray, "h w"]) -> float:
    """How alike two changes are spread over frequencies: sum min(p, q) of the shares p, q, each with sum 1.

    1 means the same spread, however strong; 0 that no frequency is touched by both. It is 1 minus the total variation
    distance of the shares.

    Raises:
      ValueError: if the shapes differ, a value is negative or not finite, or a change is zero everywhere.
    """
    if first.shape != second.shape:
        raise ValueError(f"Two spectra must have one shape; got {first.shape} and {second.shape}.")
    shares = []
    for spectrum in (first, second):
        values = spectrum.astype(np.float64)
        if not np.isfinite(values).all() or values.min() < 0 or values.sum() == 0:
            raise ValueError("A spectrum must hold finite values of at least 0, one of them positive.")
        shares.append(values / values.sum())
    return float(np.minimum(*shares).sum())
