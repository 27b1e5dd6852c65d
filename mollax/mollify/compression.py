"""How many PNG bytes of an image are lost to blur: the measurement behind gamma_blur (eq 13, fig 3).

The paper writes size(x_t) / size(x_0) with x_t the blurred image, so x_0 is the image at t = 0, blurred by
0.3 pixels, and the curve starts at 0: a label is whole there. It does not reach 1: headers remain at t = 1.
"""

from __future__ import annotations

import io

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from mollax import checks
from mollax.mollify.blur import blur_batch
from mollax.mollify.schedule import blur_scale

# Mean of `png_loss_curve` over 1,000 TinyImageNet validation images at t = 0, 0.05, ..., 1.
# `benchmarks/png_curve.py` measures it; docs/results/png_curve.json has the deviations too.
TINY_IMAGENET_PNG_LOSS: tuple[float, ...] = (
    0.0,
    0.0328,
    0.0839,
    0.1514,
    0.222,
    0.2881,
    0.3492,
    0.4083,
    0.4666,
    0.5229,
    0.5747,
    0.6206,
    0.661,
    0.6976,
    0.7333,
    0.7702,
    0.8087,
    0.8481,
    0.8885,
    0.9339,
    0.9694,
)


def png_bytes(image: UInt8[np.ndarray, "h w c"]) -> int:
    """Size of the image as a PNG file, default compression (zlib level 6).

    Raises:
      ValueError: if `image` does not have three axes.
    """
    checks.rank("image", image, 3, "(height, width, channels)")
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, format="PNG")
    return buffer.tell()


def png_loss_curve(
    images: UInt8[np.ndarray, "n h w c"], temperatures: Float[np.ndarray, " t"]
) -> Float[np.ndarray, "n t"]:
    """1 - size(x_t) / size(x_0) of every image at every temperature (eq 13 with k = 1).

    x_t is blurred as in training and rounded to 8 bit; x_0 is x_t at t = 0, a blur of 0.3 pixels.

    Raises:
      ValueError: for another rank, no image, no temperature, or a temperature outside [0, 1].
    """
    checks.rank("images", images, 4, "(n, height, width, channels)")
    if not len(images) or not len(temperatures):
        raise ValueError(
            f"The PNG curve needs at least one image and one temperature; got {len(images)} images and "
            f"{len(temperatures)} temperatures."
        )
    if temperatures.min() < 0 or temperatures.max() > 1:
        raise ValueError(f"Temperatures must lie in [0, 1]; got {temperatures.min()} to {temperatures.max()}.")
    width = images.shape[2]

    @jax.jit
    def blurred(batch: jax.Array, t: jax.Array) -> jax.Array:
        scales = jnp.full(batch.shape[0], blur_scale(t, width))
        result = blur_batch(batch.astype(jnp.float32), scales)
        return jnp.clip(jnp.round(result), 0, 255).astype(jnp.uint8)

    def sizes(t: float) -> list[int]:
        return [png_bytes(image) for image in np.asarray(blurred(images, jnp.float32(t)))]

    at_zero = np.array(sizes(0.0))
    return np.stack([1.0 - np.array(sizes(t)) / at_zero for t in temperatures], axis=1)
