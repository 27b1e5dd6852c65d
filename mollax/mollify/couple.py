"""Data mollification of a batch: each image is degraded and its label with it (METHODS section 1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Integer, PRNGKeyArray

from mollax import checks
from mollax.image.random import GENERATORS
from mollax.mollify import inputs
from mollax.mollify.blur import blur
from mollax.mollify.labels import BLUR_DECAYS, FORMS, blur_label_decay, degrade_labels, noise_label_decay
from mollax.mollify.noise import noise
from mollax.mollify.schedule import MIN_BLUR_SCALE, blur_scale

ROLES = ("none", "noise", "blur", "pure_noise")
DEFAULT_ROLES = ("none", "noise", "blur")


class Mollified(NamedTuple):
    """A mollified batch.

    Attributes:
      images: (n, h, w, c), standardized as they came in.
      labels: (n, k), or (n, k + 1) with an extra class.
      t: temperature of each image, 0 for role "none".
      role: index into `ROLES` of what was done to each image.
      gamma: share of each label that was lost.
    """

    images: Float[Array, "n h w c"]
    labels: Float[Array, "n m"]
    t: Float[Array, " n"]
    role: Int[Array, " n"]
    gamma: Float[Array, " n"]


def sample_temperature(key: PRNGKeyArray, *, alpha: float = 1.0, beta: float = 2.0) -> Float[Array, ""]:
    """One temperature t ~ Beta(alpha, beta) in [0, 1]; the mean is alpha / (alpha + beta), 1/3 by default.

    With alpha or beta 1 the distribution function has a closed inverse; otherwise two gammas are drawn.

    Raises:
      ValueError: if alpha or beta is not positive.
    """
    checks.in_range("alpha", alpha, 0.0, open_low=True)
    checks.in_range("beta", beta, 0.0, open_low=True)
    if alpha == 1.0:
        return 1.0 - (1.0 - jax.random.uniform(key, dtype=jnp.float32)) ** (1.0 / beta)
    if beta == 1.0:
        return jax.random.uniform(key, dtype=jnp.float32) ** (1.0 / alpha)
    return jax.random.beta(key, jnp.float32(alpha), jnp.float32(beta))


def label_decay(
    t: Float[Array, " n"],
    role: Int[Array, " n"],
    *,
    noise_power: float = 1.0,
    blur_power: float = 1.0,
    blur_decay: str = "power",
) -> Float[Array, " n"]:
    """gamma of each image: eq 12 for noise, eq 13 for blur, 0 for role "none", 1 for pure noise."""
    by_noise = noise_label_decay(t, noise_power)
    by_blur = blur_label_decay(t, blur_power, form=blur_decay)
    none, blurred = ROLES.index("none"), ROLES.index("blur")
    return jnp.where(role == none, 0.0, jnp.where(role == blurred, by_blur, by_noise))


def degrade_image(
    key: PRNGKeyArray,
    image: Float[Array, "h w c"],
    t: Float[Array, ""],
    role: Int[Array, ""],
    *,
    roles: Sequence[str] = DEFAULT_ROLES,
    min_scale: float = MIN_BLUR_SCALE,
    generator: str = "hash",
) -> Float[Array, "h w c"]:
    """One image under its role; of the branches that `roles` allows only the chosen one is computed.

    `role` must be one of `roles`: a branch that is switched off leaves the image as it is.
    """

    def keep() -> jax.Array:
        return image

    def noisy() -> jax.Array:
        return noise(key, image, t, generator=generator)

    def blurred() -> jax.Array:
        return blur(image, blur_scale(t, image.shape[1], min_scale=min_scale))

    # "pure_noise" is noise at t = 1; roles that are switched off cost neither compilation nor time.
    does_noise = "noise" in roles or "pure_noise" in roles
    branches = [keep, noisy if does_noise else keep, blurred if "blur" in roles else keep]
    return jax.lax.switch(jnp.where(role == ROLES.index("pure_noise"), 1, role), branches)


def repeat_examples(
    images: Float[Array, "n h w c"], labels: Float[Array, "n k"], repeats: int
) -> tuple[Float[Array, "m h w c"], Float[Array, "m k"]]:
    """Each example `repeats` times in a row: batch repetition (appendix D; Hoffer et al. 2020).

    Raises:
      ValueError: if `repeats` is below 1 (TypeError if it is not an integer).
    """
    checks.positive_int("repeats", repeats)
    return jnp.repeat(images, repeats, axis=0), jnp.repeat(labels, repeats, axis=0)


def mollify_batch(
    key: PRNGKeyArray,
    images: Float[Array, "n h w c"],
    labels: Float[Array, "n k"],
    *,
    roles: Sequence[str] = DEFAULT_ROLES,
    alpha: float = 1.0,
    beta: float = 2.0,
    noise_power: float = 1.0,
    blur_power: float = 1.0,
    blur_decay: str = "power",
    label_form: str = "smooth",
    min_scale: float = MIN_BLUR_SCALE,
    repeats: int = 1,
    generator: str = "hash",
    first_index: int | Integer[Array, ""] = 0,
) -> Mollified:
    """Gives every image a role and a temperature, degrades it, and degrades its label to match.

    Random, per image, from (key, first_index + position): the role, uniform over `roles`; t ~ Beta(alpha,
    beta); the noise. An image's draws do not depend on the rest of the batch, so devices that each hold a
    slice and pass their `first_index` draw what one device would.

    Args:
      key: what makes the draws random.
      images: standardized (n, h, w, c).
      labels: (n, k), one-hot or already soft (MixUp, CutMix).
      roles: the enabled ones of "none", "noise", "blur", "pure_noise" (noise at t = 1, label at its limit); a
        role named twice is drawn twice as often.
      alpha, beta: of the temperature's distribution.
      noise_power, blur_power: slopes k of eq 12 and 13; 0.5, 1 and 2 in the paper.
      blur_decay: "power" (t^k) or "measured" (PNG curve).
      label_form: "smooth" (eq 8), "temper" (eq 7), "extra", "extra_keep" or "none"; see
        `mollify.degrade_labels`.
      min_scale: blur at t = 0 in pixels.
      repeats: copies of each image, each with its own draws; the result has n * repeats rows.
      generator: of the noise, "hash" (fast) or "threefry".
      first_index: global index of the first image.

    Returns:
      A `Mollified` batch.

    Raises:
      ValueError: for an empty or unknown role list, mismatched lengths, a wrong rank, a parameter out of
        range.
      TypeError: for images or labels of integers, such as 8-bit pixels or class indices.
    """
    checks.rank("images", images, 4, "(n, height, width, channels)")
    checks.rank("labels", labels, 2, "(n, classes)")
    inputs.floating("images", images, inputs.IMAGE_ADVICE)
    inputs.floating("labels", labels, inputs.LABEL_ADVICE)
    checks.same_length(("images", "labels"), (images, labels))
    checks.one_of("label_form", label_form, FORMS)
    checks.one_of("blur_decay", blur_decay, BLUR_DECAYS)
    checks.one_of("generator", generator, GENERATORS)
    for name, value in (("noise_power", noise_power), ("blur_power", blur_power), ("min_scale", min_scale)):
        checks.in_range(name, value, 0.0, open_low=True)
    checks.positive_int("repeats", repeats)
    if not roles:
        raise ValueError(f"roles must name at least one of {', '.join(ROLES)}; got none.")
    enabled = jnp.array([ROLES.index(checks.one_of("role", role, ROLES)) for role in roles])

    images, labels = repeat_examples(images, labels, repeats)
    first = jnp.asarray(first_index, jnp.uint32) * jnp.uint32(repeats)
    index = first + jnp.arange(len(images), dtype=jnp.uint32)
    role_keys, t_keys, noise_keys = jnp.moveaxis(
        jax.vmap(lambda i: jax.random.split(jax.random.fold_in(key, i), 3))(index), 0, 1
    )
    role = enabled[jax.vmap(lambda k: jax.random.randint(k, (), 0, len(roles)))(role_keys)]
    drawn = jax.vmap(lambda k: sample_temperature(k, alpha=alpha, beta=beta))(t_keys)
    t = jnp.where(role == ROLES.index("none"), 0.0, jnp.where(role == ROLES.index("pure_noise"), 1.0, drawn))

    def degrade(example: tuple[jax.Array, ...]) -> jax.Array:
        return degrade_image(*example, roles=roles, min_scale=min_scale, generator=generator)

    # On CPU one image at a time takes only its own branch and stays in cache; an accelerator would rather
    # compute both branches for all of them at once.
    degraded = jax.lax.platform_dependent(
        noise_keys,
        images,
        t,
        role,
        cpu=lambda *batch: jax.lax.map(degrade, batch),
        default=lambda *batch: jax.vmap(lambda *example: degrade(example))(*batch),
    )
    gamma = label_decay(t, role, noise_power=noise_power, blur_power=blur_power, blur_decay=blur_decay)
    return Mollified(degraded, degrade_labels(labels, gamma, form=label_form), t, role, gamma)
