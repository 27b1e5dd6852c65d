"""Small collections of digits on disk, and a run of them, for tests of the audit."""

import functools

import numpy as np
import served_run
import tiny
from PIL import Image

from mollax.auditing import Settings


def silent(what, done, total):
    """Shows nothing."""


def settings(reference="", new="", **changes):
    """Settings of a short audit."""
    fast = {"permutations": 99, "resamples": 50, "limit": 200, "new_limit": 60, "top": 3}
    return Settings(**{**fast, "reference": str(reference), "new": str(new), **changes})


def write(folder, *, count=40, first=0, classes=3, change=None, below="", suffix="png"):
    """Digits 0 .. classes - 1 as files FOLDER/CLASS/BELOW/INDEX.png, each changed by a function of the pixels."""
    images, labels = tiny.digits(1797)
    chosen = np.flatnonzero(labels < classes)[first : first + count]
    for i in chosen:
        place = folder / str(labels[i]) / below / f"{i:04}.{suffix}"
        place.parent.mkdir(parents=True, exist_ok=True)
        pixels = images[i, :, :, 0]
        Image.fromarray(pixels if change is None else change(pixels)).save(place)
    return folder


def write_run(tmp_path_factory):
    """A run on the embedded digits, written once for all tests of a process."""
    return _write_run(tmp_path_factory.getbasetemp() / "audited_run")


@functools.cache
def _write_run(folder):
    return served_run.write(folder, scores=(), data__limit=150)
