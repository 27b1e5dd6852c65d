"""AugMix (Hendrycks et al. 2020): a mixture of an image and several chains of mild operations on it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mollax import checks
from mollax.augment import chain, operations

_BINS = 10
_DEEPEST = 3


def ranges(height: int, width: int, *, all_ops: bool) -> chain.Ranges:
    """Slopes, pixels, degrees, bits, thresholds and factors less 1; pixels grow with the image."""
    mild: dict[str, tuple[float, float] | None] = {
        "shear_x": (0, 0.3),
        "shear_y": (0, 0.3),
        "translate_x": (0, width / 3),
        "translate_y": (0, height / 3),
        "rotate": (0, 30),
        "posterize": (4, 0),
        "solarize": (1, 0),
        "auto_contrast": None,
        "equalize": None,
    }
    return mild | dict.fromkeys(operations.ENHANCEMENTS, (0.0, 0.9)) if all_ops else mild


def augmix(
    key: PRNGKeyArray,
    image: Float[Array, "h w c"],
    *,
    width: int = 3,
    depth: int = -1,
    severity: int = 3,
    alpha: float | int = 1.0,
    all_ops: bool = False,
    interpolation: str = "bilinear",
) -> Float[Array, "h w c"]:
    """(1 - m) x + m sum_i w_i chain_i(x) with m ~ Beta(alpha, alpha) and w ~ Dirichlet(alpha, ..., alpha).

    Each of `width` chains applies `depth` operations one after the other (-1: 1, 2 or 3, drawn alike), each drawn
    alike from nine, with a magnitude drawn alike from the `severity` weakest of 10 bins and either sign. Brightness,
    color, contrast and sharpness, which overlap with the usual test corruptions, take part with `all_ops`.

    Ranges, bins and mixture are those of torchvision's `AugMix`, bilinear as there. (The authors' own code draws the
    level from [0.1, severity] continuously, which is stronger; torchvision's strongest of three bins is 2/9 of the
    range, theirs reaches 3/10.) The mixture is not rounded.

    Raises: ValueError for a `width` below 1, a `depth` other than -1 or above 0, a `severity` outside [1, 10], an
    `alpha` not above 0, an unknown interpolation or a wrong shape; TypeError for an integer image.
    """
    operations.require_image(image)
    checks.positive_int("width", width)
    checks.positive_int("severity", severity)
    checks.in_range("severity", severity, 1, _BINS)
    checks.in_range("alpha", alpha, 0.0, open_low=True)
    if depth != -1:
        checks.positive_int("depth", depth)
    height, columns, _ = image.shape
    space = chain.create_space({"identity": None, **ranges(height, columns, all_ops=all_ops)}, _BINS)
    chain_key, mix_key = jax.random.split(key)
    indices, magnitudes = draw(chain_key, space, width, depth, severity)
    weights = draw_weights(mix_key, width, float(alpha))

    def add(mixed: jax.Array, drawn: tuple[jax.Array, ...]) -> tuple[jax.Array, None]:
        indices, magnitudes, weight = drawn
        changed = chain.apply(image, indices, magnitudes, names=space.names, interpolation=interpolation)
        return mixed + weight * changed, None

    # Scanned: one chain is compiled, whatever the width.
    mixed, _ = jax.lax.scan(add, weights[0] * image, (indices, magnitudes, weights[1:]))
    # Weights sum to 1 but for rounding.
    return jnp.clip(mixed, 0, 1)


def augmix_pair(
    key: PRNGKeyArray,
    image: Float[Array, "h w c"],
    *,
    width: int = 3,
    depth: int = -1,
    severity: int = 3,
    alpha: float | int = 1.0,
    all_ops: bool = False,
    interpolation: str = "bilinear",
) -> Float[Array, "2 h w c"]:
    """Two independent `augmix` versions of one image, as the Jensen-Shannon consistency loss compares with the image.

    Options and errors are those of `augmix`.
    """
    keys = jax.random.split(key)

    def one(view_key: PRNGKeyArray) -> Float[Array, "h w c"]:
        return augmix(
            view_key,
            image,
            width=width,
            depth=depth,
            severity=severity,
            alpha=alpha,
            all_ops=all_ops,
            interpolation=interpolation,
        )

    # One after the other: a vmap would compile everything twice on CPU.
    return jax.lax.map(one, keys)


def draw(
    key: PRNGKeyArray, space: chain.Space, width: int, depth: int, severity: int
) -> tuple[Int[Array, "width d"], Float[Array, "width d"]]:
    """Indices and signed magnitudes of all chains; shorter ones are filled up with "identity", the first name."""
    longest = _DEEPEST if depth == -1 else depth
    draws = jax.random.uniform(key, (3 * longest + 1, width))
    of_ops, of_levels, of_signs = (draws[i * longest : (i + 1) * longest].T for i in range(3))
    index = 1 + chain.below(len(space.names) - 1, of_ops)
    magnitude = chain.signed_magnitude(space, index, chain.below(severity, of_levels), of_signs)
    if depth != -1:
        return index, magnitude
    lengths = 1 + chain.below(_DEEPEST, draws[-1])
    runs = jnp.arange(longest)[None] < lengths[:, None]
    return jnp.where(runs, index, 0), jnp.where(runs, magnitude, 0)


def draw_weights(key: PRNGKeyArray, width: int, alpha: float) -> Float[Array, " parts"]:
    """Weights of the image and of the chains, (1 - m, m w_1, ..., m w_width)."""
    m_key, w_key = jax.random.split(key)
    if alpha == 1:
        # Closed forms; gammas by rejection would take longer to compile and run than all the rest.
        m = jax.random.uniform(m_key)
        parts = jax.random.exponential(w_key, (width,))
        w = parts / jnp.sum(parts)
    else:
        m = jax.random.beta(m_key, jnp.float32(alpha), jnp.float32(alpha))
        w = jax.random.dirichlet(w_key, jnp.full(width, alpha, jnp.float32))
    return jnp.concatenate([(1 - m)[None], m * w])
