"""InstaAug's location-related parametrisation (LRP): a categorical distribution over fixed crops, given the image.

Miao et al. (2022, "Learning instance-specific augmentations by capturing local invariances"), and their code for
TinyImageNet (github.com/NingMiao/InstaAug): a small residual network has one output for every position of its 16x16
maps, one for every position of its 8x8 maps and one for the image: 256 + 64 + 1 = 321 logits, each of a crop around its
position, of .375, .75 and all of the image's side. Crops at the border read beyond it.

Where this departs from their code: (1) a crop lies where its feature lies; theirs reads column for row and mirrors the
centre. (2) The draw is exact (Gumbel-max, with replacement); theirs adds exponential noise to log-probabilities, which
is another distribution than the one whose entropy and score it uses. (3) The network normalises groups of one image's
channels, not the batch: a draw depends on its own image only. At test time they take the most probable crops; we draw.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from mollax import checks
from mollax.invariance.draws import Draws
from mollax.invariance.transforms import DEFAULT_LIMITS, Limit
from mollax.invariance.uniform import check_call

GRADIENTS = ("score", "straight_through")
ENTROPIES = ("mean", "flow", "grid")


def crop_boxes(
    *, sides: tuple[int, ...] = (16, 8, 1), sizes: tuple[float, ...] = (0.375, 0.75, 1.0)
) -> Float[np.ndarray, "k 4"]:
    """Centre x, centre y, width, height of the crops in coordinates [-1, 1]; width and height as shares of the image's.

    Level by level, row by row. The centres of a level are those of side x side equal cells, -1 + (2 j + 1) / side.

    Args:
      sides: positions along a side, for each level.
      sizes: of the level's crops, in (0, 1]; below 1 unless the side is 1.

    Raises:
      ValueError: for other sizes, or as many sizes as there are not sides.
    """
    if len(sides) != len(sizes) or not sides:
        raise ValueError(f"crop_boxes takes a size for each side; got {len(sides)} sides and {len(sizes)} sizes.")
    boxes = []
    for side, size in zip(sides, sizes, strict=True):
        checks.positive_int("each of sides", side)
        checks.in_range("each of sizes", size, 0.0, 1.0, open_low=True)
        if size == 1 and side > 1:
            raise ValueError(f"A crop of size 1 is the image: its side must be 1, got {side}.")
        centres = -1 + (2 * np.arange(side) + 1) / side
        y, x = np.meshgrid(centres, centres, indexing="ij")
        boxes.append(np.stack([x.ravel(), y.ravel(), np.full(side**2, size), np.full(side**2, size)], axis=-1))
    return np.concatenate(boxes).astype(np.float32)


def _he(scale: float) -> Callable[..., Array]:
    """He et al.'s normal, cut at two deviations: variance 2 scale^2 / fan_in."""
    draw = nn.initializers.variance_scaling(2 * scale**2, "fan_in", "truncated_normal")

    def init(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        # As a matrix of the same fan: the same numbers, compiled twice as fast on CPU.
        return draw(key, (math.prod(shape[:-1]), shape[-1]), dtype).reshape(shape)

    return init


class _Block(nn.Module):
    """GroupNorm-ReLU-convolution twice, plus the shortcut (1x1, of the activated input, where shapes change)."""

    planes: int
    stride: int
    groups: int

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        y = nn.relu(nn.GroupNorm(self.groups, name="norm1")(x))
        if self.stride > 1 or x.shape[-1] != self.planes:
            x = _conv(self.planes, 1, stride=self.stride, name="shortcut")(y)
        y = _conv(self.planes, 3, stride=self.stride, name="conv1")(y)
        y = nn.relu(nn.GroupNorm(self.groups, name="norm2")(y))
        return x + _conv(self.planes, 3, name="conv2")(y)


class CropNetwork(nn.Module):
    """InstaAug's network: a logit for each crop of `crop_boxes`, (s/4)^2 + (s/8)^2 + 1 of them at side s; 321 at 64.

    A 3x3 convolution at stride 2 and three pre-activation blocks (8, 16, 32 planes at strides 1, 2, 2). A 1x1
    convolution of the second block's maps gives the logits of the small crops, one of the third's those of the middle
    ones, and one as large as the third's maps that of the whole image, each plus a bias of its own position. Heads
    start at a tenth of He's scale. Batch norm is replaced by group norm, see above. It serves `CropGrid`, and the flow
    as its pose embedding (Singhal et al. 2023, A.3.11).

    Attributes:
      planes: of the first block.
      groups: of the group norms; divides the planes.
    """

    planes: int = 8
    groups: int = 4

    def __post_init__(self) -> None:
        checks.positive_int("planes", self.planes)
        checks.positive_int("groups", self.groups)
        if self.planes % self.groups:
            raise ValueError(f"groups must divide planes; got {self.groups} groups of {self.planes} planes.")
        super().__post_init__()

    @nn.compact
    def __call__(self, images: Float[Array, "b h w c"], *, train: bool = False) -> Float[Array, "b k"]:
        """The logits, in the order of `crop_boxes`. `train` changes nothing.

        Raises:
          ValueError: for images that are not square with a side that 8 divides.
        """
        _, height, width, _ = images.shape
        if height != width or height % 8:
            raise ValueError(f"CropNetwork takes square images, their side a multiple of 8; got {height}x{width}.")
        x = _conv(self.planes, 3, stride=2, name="stem")(images)
        x = _Block(self.planes, 1, self.groups, name="block1")(x)
        small = _Block(2 * self.planes, 2, self.groups, name="block2")(x)
        middle = _Block(4 * self.planes, 2, self.groups, name="block3")(small)
        maps = [
            nn.Conv(1, (1, 1), use_bias=False, kernel_init=_he(0.1), name="small")(small),
            nn.Conv(1, (1, 1), use_bias=False, kernel_init=_he(0.1), name="middle")(middle),
            nn.Dense(1, use_bias=False, kernel_init=_he(0.1), name="whole")(_rows(middle)),
        ]
        logits = jnp.concatenate([_rows(level) for level in maps], axis=-1)
        return logits + self.param("bias", nn.initializers.zeros_init(), logits.shape[1:])[None]


class CropGrid(nn.Module):
    """One of k fixed crops: probability softmax(pose(image) + offsets), offsets o_level - log(crops of the level).

    With logits near 0 the levels thus start with odds exp(o): 4, 11 and 84 % by default, the authors' values.

    Entropy -sum p log p, at most log k (5.77 for 321), exact; penalty -entropy. `log_density` is a log-probability.

    A crop is a choice, and no gradient passes through it. Two ways to learn it:

    - "score" (default), the one of the authors' code: E[L grad log p] is added to the loss's gradient, *not* by the
      draws, whose params and matrices have no gradient, but by the losses: take the mean of
      `surrogate_losses(losses, draws.score)` in place of that of `losses`. It has their value, and its gradient is
      unbiased. A mean of the losses themselves would train the logits for entropy only.
    - "straight_through": params and matrices have the gradient of the relaxed choice softmax((log p + Gumbel) /
      temperature), so that any loss can be differentiated as it is; biased, since the loss is not linear between crops.

    Attributes:
      pose: images to k logits, called as `pose(images, train=False)`; `CropNetwork` for 321.
      kind: "crop".
      entry_range: has no effect.
      sides, sizes: as `crop_boxes` takes them.
      offsets: o, for each level.
      gradient: see above.
      temperature: of the relaxed choice.
    """

    pose: nn.Module
    kind: str = "crop"
    entry_range: float = math.pi
    sides: tuple[int, ...] = (16, 8, 1)
    sizes: tuple[float, ...] = (0.375, 0.75, 1.0)
    offsets: tuple[float, ...] = (0.0, 1.0, 3.0)
    gradient: str = "score"
    temperature: float = 1.0

    def __post_init__(self) -> None:
        checks.one_of("kind of a CropGrid", self.kind, ("crop",))
        checks.one_of("gradient", self.gradient, GRADIENTS)
        checks.in_range("temperature", self.temperature, 0.0, open_low=True)
        crop_boxes(sides=self.sides, sizes=self.sizes)
        if len(self.offsets) != len(self.sides):
            raise ValueError(f"CropGrid takes an offset for each of {len(self.sides)} levels; got {self.offsets}.")
        super().__post_init__()

    def __call__(
        self,
        keys: Key[Array, " b"],
        images: Float[Array, "b h w c"],
        *,
        n: int,
        limits: tuple[Limit, Limit] = DEFAULT_LIMITS,
    ) -> Draws:
        """n crops an image; see `Draws`.

        Args:
          keys, images, n: as for every augmenter.
          limits: only the language of `params`, which are such that `crop_matrix(params, limits=limits)` gives the
            matrices; params of boxes smaller than the low limit or across the border lie outside of [-1, 1]. Low must
            be below high.

        Raises:
          ValueError: if the pose gives another number of logits than there are crops, or for equal limits.
        """
        check_call(keys, images, n)
        boxes = crop_boxes(sides=self.sides, sizes=self.sizes)
        k = len(boxes)
        raw = self.pose(images, train=False).astype(jnp.float32)
        if raw.shape != (images.shape[0], k):
            raise ValueError(f"CropGrid has {k} crops; its pose gave {raw.shape} for {images.shape[0]} images.")
        counts = np.array(self.sides) ** 2
        offsets = np.repeat(np.array(self.offsets) - np.log(counts), counts)
        log_p = jax.nn.log_softmax(raw + jnp.asarray(offsets, jnp.float32)[None])
        gumbel = jax.vmap(lambda key: jax.random.gumbel(key, (n * k,), jnp.float32))(keys)
        noisy = log_p[:, None] + gumbel.reshape(-1, n, k)
        chosen = jnp.argmax(noisy, -1)
        params, matrices = _crop_params(boxes, limits)[chosen], jnp.asarray(_box_matrices(boxes))[chosen]
        if self.gradient == "straight_through":
            soft = nn.softmax(noisy / self.temperature)
            # Zero, with the gradient of the relaxed choice.
            nothing = soft - jax.lax.stop_gradient(soft)
            params += jnp.einsum("bnk,kd->bnd", nothing, _crop_params(boxes, limits), precision="highest")
            matrices += jnp.einsum("bnk,kij->bnij", nothing, _box_matrices(boxes), precision="highest")
        entropy = -jnp.sum(jnp.exp(log_p) * log_p, -1)
        log_density = jnp.take_along_axis(log_p, chosen, axis=1)
        score = log_density if self.gradient == "score" else None
        return Draws(params, matrices, log_density, entropy, -entropy, score)


class FlowAndGrid(nn.Module):
    """ "Flow + LRP" (Singhal et al. 2023, A.3.11): the union of flow draws (even places) and LRP crops (odd places).

    The paper adds samples of the flow to InstaAug's "to increase crop diversity"; this is our reading of how many: half
    of each. Every draw has the log-density of the one it comes from (a density and a probability: not comparable).
    Penalty: the mean of both penalties, as each makes half of the draws; entropy: the mean of both entropies, or either
    alone. A controller in the paper's manner (InstaAug's, range 3 to 3.5 nats) steers by that of the grid.

    Attributes:
      flow: any augmenter of kind "crop".
      grid: a `CropGrid`.
      entropy_of: "mean", "flow" or "grid": what `Draws.entropy` is.
      kind: "crop".
      entry_range: has no effect.
    """

    flow: nn.Module
    grid: nn.Module
    entropy_of: str = "mean"
    kind: str = "crop"
    entry_range: float = math.pi

    def __post_init__(self) -> None:
        checks.one_of("entropy_of", self.entropy_of, ENTROPIES)
        for name in ("flow", "grid"):
            checks.one_of(f"kind of {name} in a FlowAndGrid", getattr(getattr(self, name), "kind", None), ("crop",))
        super().__post_init__()

    def __call__(
        self,
        keys: Key[Array, " b"],
        images: Float[Array, "b h w c"],
        *,
        n: int,
        limits: tuple[Limit, Limit] = DEFAULT_LIMITS,
    ) -> Draws:
        """n transforms an image, half of each; see `Draws`.

        Raises:
          ValueError: for an odd n.
        """
        check_call(keys, images, n)
        if n % 2:
            raise ValueError(f"FlowAndGrid draws as many flow samples as crops: n must be even, got {n}.")
        halves = jax.vmap(jax.random.split)(keys)
        flow = self.flow(halves[:, 0], images, n=n // 2, limits=limits)
        grid = self.grid(halves[:, 1], images, n=n // 2, limits=limits)
        entropies = {"mean": (flow.entropy + grid.entropy) / 2, "flow": flow.entropy, "grid": grid.entropy}
        return Draws(
            _alternate(flow.params, grid.params),
            _alternate(flow.matrices, grid.matrices),
            _alternate(flow.log_density, grid.log_density),
            entropies[self.entropy_of],
            (flow.penalty + grid.penalty) / 2,
            None if flow.score is None and grid.score is None else _alternate(_score(flow), _score(grid)),
        )


def _conv(planes: int, size: int, *, name: str, stride: int = 1) -> nn.Conv:
    return nn.Conv(planes, (size, size), stride, padding=size // 2, use_bias=False, kernel_init=_he(1.0), name=name)


def _rows(maps: Float[Array, "b ..."]) -> Float[Array, "b size"]:
    """One row an image; -1 could not tell the size if there are no images."""
    return maps.reshape(maps.shape[0], math.prod(maps.shape[1:]))


def _score(draws: Draws) -> Float[Array, "b n"]:
    """The draws' score, 0 where they need none."""
    return jnp.zeros_like(draws.log_density) if draws.score is None else draws.score


def _alternate(first: Array, second: Array) -> Array:
    """(b, m, ...) twice to (b, 2 m, ...), one of each by turns."""
    b, m, *rest = first.shape
    return jnp.stack([first, second], axis=2).reshape(b, 2 * m, *rest)


def _box_matrices(boxes: Float[np.ndarray, "k 4"]) -> Float[np.ndarray, "k 2 3"]:
    x, y, width, height = boxes.T
    zero = np.zeros_like(x)
    return np.stack([width, zero, x, zero, height, y], axis=-1).reshape(-1, 2, 3)


def _crop_params(boxes: Float[np.ndarray, "k 4"], limits: tuple[Limit, Limit]) -> Float[Array, "k 4"]:
    """Parameters that `crop_matrix` turns into the boxes."""
    low, high = limits
    known = not isinstance(low, jax.Array) and not isinstance(high, jax.Array)
    if known and not 0 < low < high <= 1:
        raise ValueError(f"limits of a CropGrid must be 0 < low < high <= 1; got ({low}, {high}).")
    room = 1 - boxes[:, 2:]
    # The image itself has no room and needs none: its centre is 0.
    centres = np.divide(boxes[:, :2], room, out=np.zeros_like(room), where=room > 0)
    return jnp.concatenate([centres, 2 * (boxes[:, 2:] - low) / (high - low) - 1], axis=-1)
