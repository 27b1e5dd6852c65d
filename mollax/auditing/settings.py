"""What an audit is asked to do, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

HELD_SHARE = 0.2


@dataclass(frozen=True)
class Settings:
    """The command's options, under its names with "_" for "-".

    Attributes:
      reference: a path, "digits", a file of --save-reference, or empty for the data of the run.
      new: a path, or "digits".
      workdir: of a run, for its features; None audits pixels.
      kernel: see `mollax.auditing.kernels.parse`; empty for the saved reference's, or else "gaussian".
      theta_from: a path of images on which the kernel's strength is chosen, such as some from where the model is
        deployed; empty chooses it on the bank.
      size: side in pixels; 0 chooses.
      jpeg_quality: that all images go through; 0 for none, -1 chooses.
      reader, split, name: of the reference; empty guesses.
      new_reader, new_split, new_name: of the new images.
      held_out: a path, or a split of the reference; empty cuts a part.
      held_out_share: of the reference, that is cut; None is `HELD_SHARE`.
      groups: depth below the class folder of the folder that names an image's group; 0 for none.
      limit, new_limit: images at most, evenly spaced; 0 takes all. The held-out part is among the first.
      baselines: whether MMD, KS and a classifier test are done; None does for at most `BASELINE_POINTS` points a side.
      top: how many of the most and the least surprising images are shown.
      resamples, permutations, confidence, seed: of intervals and tests.
    """

    reference: str
    new: str
    workdir: Path | None = None
    kernel: str = ""
    theta_from: str = ""
    size: int = 0
    jpeg_quality: int = -1
    reader: str = ""
    split: str = ""
    name: str = ""
    new_reader: str = ""
    new_split: str = ""
    new_name: str = ""
    held_out: str = ""
    held_out_share: float | None = None
    groups: int = 0
    limit: int = 50_000
    new_limit: int = 10_000
    baselines: bool | None = None
    top: int = 12
    resamples: int = 1000
    permutations: int = 1000
    confidence: float = 0.95
    seed: int = 0
