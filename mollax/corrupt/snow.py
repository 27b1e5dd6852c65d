"""Snow: flakes that fall, thrown over a whitened image."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from mollax import checks
from mollax.corrupt.blur import motion_blur_along, zoom_matrix
from mollax.image import random
from mollax.image.color import quantize, require_float_image, to_gray


def snow(
    key: PRNGKeyArray,
    image: Float[Array, "h w c"],
    mean: float | int,
    deviation: float | int,
    zoom: float | int,
    threshold: float | int,
    radius: int,
    sigma: float | int,
    blend: float | int,
) -> Float[Array, "h w c"]:
    """Returns blend x + (1 - blend) max(x, 1.5 gray(x) + .5) + s + rot180(s) (Hendrycks and Dietterich 2019).

    The layer s, one channel, is normal noise, magnified about its center by `zoom` (`zoom_matrix`), with values
    under `threshold` set to 0, put on the 8-bit grid and blurred by motion along an angle U(-135, -45) degrees.
    The blend whitens: gray is the luminance; one channel is its own. The result is not clipped. Random: noise
    and angle, from `key`.

    Args:
      key: what makes the layer random.
      image: in [0, 1], one or three channels.
      mean, deviation: of the noise, in units of the image's range; static, deviation >= 0.
      zoom: size of the flakes in pixels; static, >= 1.
      threshold: static; the higher, the fewer flakes.
      radius, sigma: length and deviation of the motion blur in pixels, see `motion_blur_along`; static.
      blend: share of the image that is not whitened; static, in [0, 1].

    Raises:
      ValueError: for a wrong rank, other channels or a constant outside its range.
      TypeError: for an integer image or a radius that is not an integer.
    """
    require_float_image("image", image)
    checks.in_range("blend", blend, 0.0, 1.0)
    gray = to_gray(image)
    of_noise, of_angle = jax.random.split(key)
    angle = -90 * random.uniform(of_angle, ()) - 45
    flakes = _flakes(of_noise, image.shape[0], image.shape[1], mean, deviation, zoom, threshold)
    # ImageMagick writes the blurred layer in 8 bits again.
    layer = _stored(quantize(motion_blur_along(flakes, radius, sigma, angle), rounding="round")).astype(image.dtype)
    whitened = blend * image + (1 - blend) * jnp.maximum(image, 1.5 * gray + 0.5)
    return whitened + (layer + layer[::-1, ::-1])


def _flakes(
    key: PRNGKeyArray, height: int, width: int, mean: float, deviation: float, zoom: float, threshold: float
) -> Float[Array, "{height} {width} 1"]:
    """Magnified noise cut at a threshold, in 8 bits."""
    checks.in_range("mean", mean)
    checks.in_range("deviation", deviation, 0.0)
    checks.in_range("zoom", zoom, 1.0)
    checks.in_range("threshold", threshold)
    down, across = (zoom_matrix(size, zoom).astype(np.float32) for size in (height, width))
    # Noise that the zoom would crop away is not drawn.
    down, across = down[:, down.any(0)], across[:, across.any(0)]
    field = mean + deviation * random.normal(key, (down.shape[1], across.shape[1]))
    if zoom > 1:
        field = jnp.einsum("gh,hw,vw->gv", down, field, across, precision="highest")
    return quantize(jnp.where(field < threshold, 0.0, field))[..., None]


def _stored(layer: Float[Array, "h w 1"]) -> Float[Array, "h w 1"]:
    """The layer itself, as a product with the identity.

    XLA:CPU would fuse the sum over a motion into every place that reads the layer, so do it once for each channel
    and for each of the two copies; a product it stores first. Ten times faster at 64 pixels than without (an
    `optimization_barrier` does not help), three times faster than the same product over rows.
    """
    identity = np.eye(layer.shape[1], dtype=np.float32)
    return jnp.dot(layer[..., 0], identity, precision="highest")[..., None]
