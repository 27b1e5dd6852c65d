"""RankFeat: the rank-1 part of an example's feature maps is taken out before pooling (Song, Sebe & Wang 2022).

The maps of one example are a matrix with a row per position and a column per channel. X - s u v^T, with the largest
singular value s and its vectors, is averaged over positions and sent through the head; the score is the energy. The
authors average its logits with those of the same operation a stage earlier, which needs the rest of the network: this
is their last stage alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mollax import checks
from mollax.ood.head import Head
from mollax.ood.scores.inputs import Host, check_fit, dtype_of
from mollax.ood.scores.shaping import require_head, shaped_energy

NEEDS = "feature_maps"
METHODS = ("power", "svd")


class State(NamedTuple):
    """What RankFeat has to know.

    Attributes:
      head: the last layer.
    """

    head: Head


def fit(
    features: Float[Host, "n d"],
    logits: Float[Host, "n k"],
    labels: Int[Host, " n"],
    head: Head | None,
) -> State:
    """The head; nothing is learned from training data, of which pooled features are given as to every score.

    Raises:
      ValueError: for no head, or arrays that do not belong together.
    """
    check_fit(features, logits, labels, head)
    return State(require_head(head, "RankFeat", dtype_of(features)))


def top_channels(rows: Float[Array, "n p d"], *, method: str, iterations: int) -> Float[Array, "n d"]:
    """The unit right singular vector of the largest singular value, of any sign."""
    if method == "svd":
        return jnp.linalg.svd(rows, full_matrices=False)[2][:, 0]
    precision = jax.lax.Precision.HIGHEST
    # A positive start is never orthogonal to the top vector of maps that are not negative (Perron), and an irregular
    # one not to that of others. The authors draw it at random.
    start = 1.5 + jnp.cos(jnp.arange(rows.shape[1], dtype=rows.dtype))

    def unit(vector: Float[Array, "n m"]) -> Float[Array, "n m"]:
        # Divided by the largest first, so that squares neither overflow nor vanish; zero maps stay zero.
        tiny = jnp.finfo(vector.dtype).tiny
        vector = vector / jnp.maximum(jnp.abs(vector).max(axis=1, keepdims=True), tiny)
        return vector / jnp.maximum(jnp.linalg.norm(vector, axis=1, keepdims=True), tiny)

    def to_channels(left: Float[Array, "n p"]) -> Float[Array, "n d"]:
        return unit(jnp.einsum("np,npd->nd", left, rows, precision=precision))

    def step(_: Any, left: Float[Array, "n p"]) -> Float[Array, "n p"]:
        return unit(jnp.einsum("npd,nd->np", rows, to_channels(left), precision=precision))

    first = jnp.broadcast_to(start[None], rows.shape[:2])
    return to_channels(jax.lax.fori_loop(0, iterations - 1, step, first))


def pool_without_top(
    feature_maps: Float[Array, "n h w d"], *, method: str = "power", iterations: int = 20
) -> Float[Array, "n d"]:
    """The mean over positions of the maps less their rank-1 part.

    Args:
      feature_maps: what the network pools.
      method: "power", power iteration, whose error falls as (s2 / s1)^(2 iterations); "svd", exact, several times
        slower.
      iterations: of "power"; the authors' 20.

    Raises:
      ValueError: for maps without four axes, an unknown method or fewer than one iteration.
    """
    checks.rank("feature_maps", feature_maps, 4, "(examples, height, width, channels)")
    checks.one_of("method", method, METHODS)
    checks.positive_int("iterations", iterations)
    rows = feature_maps.reshape(feature_maps.shape[0], -1, feature_maps.shape[3])
    direction = top_channels(rows, method=method, iterations=iterations)
    # s u v^T = X v v^T, and the mean over positions may be taken first.
    mean = rows.mean(axis=1)
    return mean - jnp.sum(mean * direction, axis=1, keepdims=True) * direction


def score(
    state: State, feature_maps: Float[Array, "n h w d"], *, method: str = "power", iterations: int = 20
) -> Float[Array, " n"]:
    """Energy of the head on maps pooled without their rank-1 part, high for OOD; `method`: see `pool_without_top`.

    Raises:
      ValueError: for maps without four axes, an unknown method or fewer than one iteration.
    """
    return shaped_energy(state.head, pool_without_top(feature_maps, method=method, iterations=iterations))
