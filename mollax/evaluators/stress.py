"""Test images made harder: the two training stresses at fixed temperatures, and three the training never saw.

A stress is written "kind:level". "noise:t" and "blur:t" are the mollifier itself at temperature t, on standardized
images; "gaussian_noise:sd" (clipped, on the 8-bit grid), "gaussian_blur:pixels" and "contrast:factor" act on images in
[0, 1] and do not occur in training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from mollax import checks, mollify
from mollax.image import adjust_contrast, gaussian_blur, quantize, random, standardize

# (key, image in [0, 1]) -> standardized image
Stress = Callable[[PRNGKeyArray, Float[Array, "h w c"]], Float[Array, "h w c"]]
KINDS = ("noise", "blur", "gaussian_noise", "gaussian_blur", "contrast")
_HIGHEST = {"noise": 1.0, "blur": 1.0}


def parse(stress: str) -> tuple[str, float]:
    """("noise", 0.3) for "noise:0.3".

    Raises:
      ValueError: for an unknown kind, a missing or unreadable level, or a temperature above 1.
    """
    kind, _, level = stress.partition(":")
    checks.one_of("stress kind", kind, KINDS)
    try:
        value = float(level)
    except ValueError:
        raise ValueError(f'A stress is written "kind:level", such as "noise:0.3"; got {stress!r}.') from None
    return kind, checks.in_range(f"level of {stress!r}", value, 0.0, _HIGHEST.get(kind))


def describe(stress: str) -> str:
    """One line on what a stress (or "clean") does to the test images."""
    if stress == "clean":
        return "test images as they are"
    kind, level = parse(stress)
    return {
        "noise": f"training noise at temperature t = {level:g} (eq 4)",
        "blur": f"training blur at temperature t = {level:g} (eq 5, 6)",
        "gaussian_noise": f"Gaussian noise of sd {level:g} on [0, 1], clipped, 8 bit; not a training corruption",
        "gaussian_blur": f"Gaussian blur of {level:g} pixels, edge pixels repeated, 8 bit; not a training corruption",
        "contrast": f"contrast x {level:g} around each channel's mean, 8 bit; not a training corruption",
    }[kind]


def create_stress(stress: str, *, mean: Float[Array, " c"], std: Float[Array, " c"]) -> Stress:
    """The function of (key, image in [0, 1]) that a stress names; its result is standardized.

    Args:
      stress: "clean" or "kind:level".
      mean, std: per channel, of the training split in [0, 1].

    Raises:
      ValueError: as `parse`.
    """

    def clean(key: PRNGKeyArray, image: jax.Array) -> jax.Array:
        return standardize(image, mean, std)

    if stress == "clean":
        return clean
    kind, level = parse(stress)

    def apply(key: PRNGKeyArray, image: jax.Array) -> jax.Array:
        match kind:
            case "noise":
                return mollify.noise(key, clean(key, image), jnp.float32(level))
            case "blur":
                scale = mollify.blur_scale(jnp.float32(level), image.shape[1])
                return mollify.blur(clean(key, image), scale)
            case "gaussian_noise":
                changed = image + level * random.normal(key, image.shape)
            case "gaussian_blur":
                changed = gaussian_blur(image, level)
            case _:
                changed = adjust_contrast(image, level)
        return clean(key, quantize(jnp.clip(changed, 0.0, 1.0), rounding="round"))

    return apply


def create_stresses(names: Sequence[str], *, mean: Float[Array, " c"], std: Float[Array, " c"]) -> dict[str, Stress]:
    """`create_stress` for "clean" and every name, in order."""
    return {name: create_stress(name, mean=mean, std=std) for name in ("clean", *names)}
