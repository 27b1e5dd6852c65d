"""Two drawn figures in rotated copies: the toy set on which learned invariance can be seen (METHODS section
2).

After the rotated two-figure set of the papers on learned augmentation, with figures of our own: a sprout and
a kettle, each without any symmetry. A figure and its upside-down form are different classes, so four in all,
and the largest set of rotations that keeps the class is known exactly. Angles are radians, counter-clockwise
as seen, from upright.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int32, UInt8

from mollax.checks import one_of, positive_int
from mollax.data.dataset import RawData, ReadOptions, Split
from mollax.data.options import generator
from mollax.data.pixels import conform

PALETTE = {
    ".": (0, 0, 0),
    "g": (70, 190, 70),
    "d": (30, 120, 50),
    "c": (250, 225, 150),
    "k": (25, 25, 45),
    "r": (225, 60, 60),
    "o": (190, 110, 50),
    "y": (245, 205, 40),
    "b": (70, 130, 235),
    "n": (40, 70, 160),
    "w": (235, 240, 250),
    "p": (200, 90, 210),
}
FIGURES = {
    "sprout": (
        "..........gggg..",
        "........ggdggg..",
        ".......ggdgg....",
        "..gg...dggg.....",
        "..gggg.d........",
        "....ggdd........",
        "...cccccccccc...",
        "..cccccccccccc..",
        "..cckkccckkccc..",
        "..cckkccckkccc..",
        "..cccccccccccc..",
        "...cccrrrrccc...",
        "....oooooooo....",
        "....oyyooooo....",
        ".....ooooooo....",
        ".....yyy..yyy...",
    ),
    "kettle": (
        "......rr........",
        "......rr........",
        ".....nnnn.......",
        "...bbbbbbbb.....",
        "..bbbbbbbbbb.nn.",
        "..bwwwbbwwwbn..n",
        "..bwkwbbwkwb...n",
        "..bwwwbbwwwb...n",
        "..bbbbbbbbbb...n",
        "p.bbbbbbbbbb..n.",
        "ppbbwwwwwwbbnn..",
        ".ppbbwwwwbbb....",
        "..pbbbbbbbbb....",
        "...nnnnnnnn.....",
        "...kk....kk.....",
        "..yyy....yyy....",
    ),
}
# angles -> (name and arc centers in degrees of the two classes of a figure, half width of each arc in
# degrees).
ARCS = {
    "45": ((("upright", (0,)), ("upside down", (180,))), 45.0),
    "90": ((("upright", (0,)), ("upside down", (180,))), 90.0),
    "three_modes": ((("positive", (0, 120, 240)), ("negative", (60, 180, 300))), 30.0),
}
CLASSES = 4
HALF_SIDE = 0.7  # of half the canvas: a square of this size turns inside the canvas without losing a corner
SUBPIXELS = 2


def figure_cells(figure: str) -> UInt8[np.ndarray, "16 16 3"]:
    """The figure as drawn: 16 x 16 colored cells."""
    return np.array([[PALETTE[cell] for cell in row] for row in FIGURES[figure]], np.uint8)


def draw_sprite(figure: str, angle: float, size: int = 32) -> UInt8[np.ndarray, "s s 3"]:
    """The figure turned counter-clockwise by `angle` (radians) on black, size x size pixels.

    Anti-aliased: a pixel is the mean of 2 x 2 samples, and between two cells a sample blends over its own
    width, so that the drawing changes continuously with the angle.
    """
    cells = np.pad(figure_cells(figure), ((1, 1), (1, 1), (0, 0))).astype(np.float32)
    samples = size * SUBPIXELS
    ticks = (np.arange(samples) + 0.5) * (2 / samples) - 1
    x, y = ticks[None, :], ticks[:, None]
    # Pull: where in the upright figure does each sample come from? y points down.
    column = np.cos(angle) * x - np.sin(angle) * y
    row = np.sin(angle) * x + np.cos(angle) * y
    # In cells, centers at whole numbers; 0 and 17 are the black around the figure.
    at = np.clip(np.stack([row, column]) / HALF_SIDE * 8 + 8.5, 0, 17)
    first = np.minimum(at.astype(np.int64), 16)
    width = min(16 / (HALF_SIDE * samples), 1.0)
    blend = np.clip((at - first - 0.5) / width + 0.5, 0, 1).astype(np.float32)[..., None]
    (i, j), (down, right) = first, blend
    top = cells[i, j] * (1 - right) + cells[i, j + 1] * right
    bottom = cells[i + 1, j] * (1 - right) + cells[i + 1, j + 1] * right
    drawn = (top * (1 - down) + bottom * down).reshape(size, SUBPIXELS, size, SUBPIXELS, 3)
    return np.rint(drawn.mean(axis=(1, 3))).astype(np.uint8)


def sprite_class_names(angles: str = "45") -> tuple[str, ...]:
    """The four class names; label = 2 * figure + (0 upright or positive, 1 upside down or negative)."""
    poses, _ = ARCS[one_of("angles", angles, ARCS)]
    return tuple(f"{figure} {pose}" for figure in FIGURES for pose, _ in poses)


def sprite_angles(
    split: str, *, angles: str = "45", per_class: int = 1000, seed: int = 0
) -> tuple[Float[np.ndarray, " n"], Int32[np.ndarray, " n"]]:
    """The true angle from upright (radians, in [0, 2 pi)) and the label of each image of a split, in order.

    The arc is chosen evenly and the angle uniformly in it, by (seed, split) alone. For the upside-down class
    the angle includes the half turn. `load` keeps the order of test; where it cuts train, use `read_sprites`
    itself.
    """
    one_of("split", split, ("train", "test"))
    positive_int("per_class", per_class)
    poses, half_width = ARCS[one_of("angles", angles, ARCS)]
    rng = generator(seed, f"sprites {split}")
    labels = (np.arange(CLASSES * per_class) % CLASSES).astype(np.int32)
    centers = np.array([arcs for _, arcs in poses], np.float64)
    arc = rng.integers(centers.shape[1], size=len(labels))
    degrees = centers[labels % 2, arc] + rng.uniform(-half_width, half_width, size=len(labels))
    return np.deg2rad(degrees) % (2 * np.pi), labels


def read_sprites(
    path: str | Path | None,
    options: ReadOptions,
    *,
    angles: str = "45",
    per_class: int = 1000,
    test_per_class: int = 250,
) -> RawData:
    """Train and test split drawn from `options.seed`, RGB, 32x32 unless `options.image_size` says otherwise.

    Args:
      path: must be empty: nothing is read.
      options: size and channels of the drawing, and its seed.
      angles: "45" or "90": within +-45 or +-90 degrees of the class's pose (the classes touch at 90);
        "three_modes": one class 0, 120, 240 +- 30 degrees, the other 60, 180, 300 +- 30.
      per_class: training images per class.
      test_per_class: test images per class.

    Raises:
      ValueError: if a path is given, for unknown `angles`, or an image size below 16.
    """
    if path:
        raise ValueError(f"The sprites are drawn and read no file; got path={str(path)!r}. Leave path empty.")
    size = positive_int("image_size", options.image_size or 32, minimum=16)
    names = sprite_class_names(angles)
    figures = tuple(FIGURES)
    splits = {}
    for split, number in (("train", per_class), ("test", test_per_class)):
        turned, labels = sprite_angles(split, angles=angles, per_class=number, seed=options.seed)
        images = [draw_sprite(figures[k // 2], float(a), size) for a, k in zip(turned, labels, strict=True)]
        splits[split] = Split(np.stack(images), labels)
    return conform(RawData(splits, names), options)
