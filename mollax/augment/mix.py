"""MixUp and CutMix: pairs of images of a batch, mixed together with their labels.

Functions of a whole batch, unlike the rest of the package: (n, h, w, c) images, floats, and (n, k) labels, one-hot or
soft. Each image's partner is its image under a random permutation of the batch, itself included, unless `partners` says
otherwise.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Integer, Key, PRNGKeyArray

from mollax import checks

Images = Float[Array, "n h w c"]
Labels = Float[Array, "n k"]
Index = int | Integer[Array, ""]


def neighbors(key: PRNGKeyArray, count: int, *, group: int = 8, first_index: Index = 0) -> Int[Array, " n"]:
    """A partner for each position: another one of the same `group` positions in a row, cyclically r places on.

    r is drawn from 1 .. group - 1 for each group, from (key, number of the group in the whole batch), so devices that
    hold slices of a batch draw what one device would and exchange no images. In a shuffled batch neighbours are a
    random sample, and no image is its own partner.

    Raises: ValueError for a group below 2, or one that does not divide `count`.
    """
    checks.positive_int("group", group, minimum=2)
    if count % group:
        raise ValueError(f"Images are mixed in groups of {group}, so there must be a multiple of that; got {count}.")
    numbers = jnp.asarray(first_index, jnp.uint32) // jnp.uint32(group) + jnp.arange(count // group, dtype=jnp.uint32)
    shift = jax.vmap(lambda i: jax.random.randint(jax.random.fold_in(key, i), (), 1, group))(numbers)
    place = jnp.arange(count, dtype=jnp.int32)
    return place - place % group + (place + jnp.repeat(shift, group)) % group


def mixup(
    key: PRNGKeyArray,
    images: Images,
    labels: Labels,
    *,
    alpha: float | int = 1.0,
    per_image: bool = False,
    partners: Int[Array, " n"] | None = None,
    first_index: Index = 0,
) -> tuple[Images, Labels]:
    """lambda x + (1 - lambda) x', and labels likewise, lambda ~ Beta(alpha, alpha) (Zhang et al. 2018).

    One lambda a batch, as in the authors' code, or one an image with `per_image`, drawn from (key, first_index +
    position). `partners` are positions in the batch; None permutes it.

    Raises: ValueError for an alpha not above 0, a wrong rank or different lengths; TypeError for integers.
    """
    _check(images, labels, alpha)
    partner_key, share_key = jax.random.split(key)
    partners = jax.random.permutation(partner_key, len(images)) if partners is None else partners
    share = jax.vmap(lambda k: draw_share(k, alpha))(_draw_keys(share_key, len(images), per_image, first_index))
    mixed = _mix(images, images[partners], share.astype(images.dtype)[:, None, None, None])
    return mixed, _mix(labels, labels[partners], share.astype(labels.dtype)[:, None])


def cutmix(
    key: PRNGKeyArray,
    images: Images,
    labels: Labels,
    *,
    alpha: float | int = 1.0,
    per_image: bool = False,
    partners: Int[Array, " n"] | None = None,
    first_index: Index = 0,
) -> tuple[Images, Labels]:
    """Replaces a box by the same box of the partner, and the label in proportion to its area (Yun et al. 2019).

    With lambda ~ Beta(alpha, alpha) the box has sides int(h sqrt(1 - lambda)) and int(w sqrt(1 - lambda)), its centre
    is uniform over the pixels, and the image's border cuts it off: labels are weighted by the area that is left. One
    box a batch, as in the authors' code, or one an image with `per_image`, drawn from (key, first_index + position).
    `partners` are positions in the batch; None permutes it.

    Raises: ValueError for an alpha not above 0, a wrong rank or different lengths; TypeError for integers.
    """
    _check(images, labels, alpha)
    count, height, width, _ = images.shape
    partner_key, box_key = jax.random.split(key)
    partners = jax.random.permutation(partner_key, count) if partners is None else partners

    def draw(key: PRNGKeyArray) -> Bool[Array, "h w"]:
        share_key, place_key = jax.random.split(key)
        return box(draw_share(share_key, alpha), *jax.random.uniform(place_key, (2,)), height=height, width=width)

    inside = jax.vmap(draw)(_draw_keys(box_key, count, per_image, first_index))
    mixed = jnp.where(inside[..., None], images[partners], images)
    kept = 1 - jnp.mean(inside.astype(labels.dtype), axis=(1, 2))
    return mixed, _mix(labels, labels[partners], kept[:, None])


def draw_share(key: PRNGKeyArray, alpha: float | int) -> Float[Array, ""]:
    """lambda ~ Beta(alpha, alpha); uniform for alpha 1."""
    if alpha == 1:
        return jax.random.uniform(key)
    return jax.random.beta(key, jnp.float32(alpha), jnp.float32(alpha))


def _draw_keys(key: PRNGKeyArray, count: int, per_image: bool, first_index: Index) -> Key[Array, " m"]:
    """One key an image, by its index in the whole batch; or one for all."""
    if not per_image:
        return key[None]
    index = jnp.asarray(first_index, jnp.uint32) + jnp.arange(count, dtype=jnp.uint32)
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(index)


def box(
    share: Float[Array, ""], row: Float[Array, ""], column: Float[Array, ""], *, height: int, width: int
) -> Bool[Array, "h w"]:
    """Where the partner shows: the box that leaves `share` of the image, centred by two draws in [0, 1)."""
    sides = [_span(draw, jnp.sqrt(1 - share), size) for draw, size in ((row, height), (column, width))]
    return sides[0][:, None] & sides[1][None, :]


def _span(draw: Float[Array, ""], part: Float[Array, ""], size: int) -> Bool[Array, " size"]:
    """A stretch of int(part size) of `size` pixels about a uniform one; the ends may cut it off."""
    half = jnp.floor(part * size).astype(jnp.int32) // 2
    centre = jnp.floor(draw * size).astype(jnp.int32)
    place = jnp.arange(size, dtype=jnp.int32)
    return (place >= centre - half) & (place < centre + half)


def _mix(first: jax.Array, second: jax.Array, share: jax.Array) -> jax.Array:
    return share * first + (1 - share) * second


def _check(images: jax.Array, labels: jax.Array, alpha: float | int) -> None:
    checks.rank("images", images, 4, "(n, height, width, channels)")
    checks.rank("labels", labels, 2, "(n, classes)")
    for name, array in (("images", images), ("labels", labels)):
        if not jnp.issubdtype(array.dtype, jnp.floating):
            advice = "Divide 8-bit values by 255." if name == "images" else "Use jax.nn.one_hot."
            raise TypeError(f"{name} must be floats, not {array.dtype}. {advice}")
    checks.same_length(("images", "labels"), (images, labels))
    checks.in_range("alpha", alpha, 0.0, open_low=True)
