"""The kernel that --kernel names: what it is of its strength, and the strength that explains the bank best."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from mollax import checks
from mollax.auditing.material import Show
from mollax.auditing.pipeline import training_draw
from mollax.data.options import evenly_spaced
from mollax.drift.augmented import Augmented
from mollax.drift.averaged_mollifier import AveragedMollifier
from mollax.drift.kernels import BlurNoise, Gaussian, Kernel, Mollifier
from mollax.drift.theta import choose_theta
from mollax.finished_run import FinishedRun

# Options of each kernel, its strength first: that is chosen unless it is given.
OPTIONS: dict[str, dict[str, float | None]] = {
    "gaussian": {"sigma": None},
    "mollifier": {"t": None},
    "averaged": {"floor": None, "alpha": 1.0, "beta": 2.0},
    "blur_noise": {"sigma": None, "scale": 1.0},
    "run": {"sigma": None, "draws": 8},
}
LARGEST_BANK = 20_000  # images of the bank that take part in the choice of the strength
SAMPLE = 500  # of them, whose likelihood is averaged
EVALUATIONS = 27  # of a search, about


@dataclass(frozen=True)
class Family:
    """Kernels of one kind by their strength.

    Attributes:
      name: a key of `OPTIONS`.
      text: what named them, without the strength.
      strength: what the strength is called: "sigma", "t" or "floor".
      given: the strength asked for; None to choose.
      make: strength -> kernel.
      words: strength -> the augmentation in words.
      low, high: limits of the strength; high is infinite where it is in the units of the points.
      standardized: whether points are standardized by channel, as the mollifier's images are.
    """

    name: str
    text: str
    strength: str
    given: float | None
    make: Callable[[Any], Kernel]
    words: Callable[[float], str]
    low: float
    high: float
    standardized: bool


def parse(text: str) -> tuple[str, dict[str, float | None]]:
    """("gaussian", {"sigma": 0.1}) of "gaussian:sigma=.1"; options of several are separated by commas.

    Raises:
      ValueError: for an unknown kernel or option, or a value that is no number; "auto" leaves the strength to choose.
    """
    name, _, rest = text.partition(":")
    checks.one_of("--kernel", name, OPTIONS)
    options = dict(OPTIONS[name])
    strength = next(iter(options))
    for word in filter(None, rest.split(",")):
        key, _, value = word.partition("=")
        checks.one_of(f"option of {name}", key.strip(), options)
        if value.strip() == "auto" and key.strip() == strength:
            continue
        try:
            options[key.strip()] = float(value)
        except ValueError:
            raise ValueError(f"--kernel={text}: {word!r} must be NAME=NUMBER, such as {strength}=0.1.") from None
    return name, options


def family(text: str, *, shape: tuple[int, int, int] | None, run: FinishedRun | None, seed: int = 0) -> Family:
    """The kernels that --kernel names.

    Args:
      text: see `parse`.
      shape: of the images that the points are; None for features, for which only "gaussian" is meant.
      run: for the kernel "run".
      seed: of its draws.

    Raises:
      ValueError: as `parse`; for a strength or option out of range; for a kernel of images in features, or "run"
        without a run.
    """
    name, options = parse(text)
    if shape is None and name != "gaussian":
        raise ValueError(f"--kernel={name} is for pixels; in features use --kernel=gaussian.")
    strength, given = next(iter(options.items()))
    make, words = _maker(name, options, shape or (1, 1, 1), run, seed)
    high = 1.0 if name in ("mollifier", "averaged") else math.inf
    if given is not None:
        make(given)  # the kernel's own checks
    rest = ",".join(f"{key}={value:g}" for key, value in options.items() if key != strength)
    return Family(
        name, f"{name}:{rest}".rstrip(":"), strength, given, make, words, 1e-6, high, name in ("mollifier", "averaged")
    )


def _maker(
    name: str, options: Mapping[str, Any], shape: tuple[int, int, int], run: FinishedRun | None, seed: int
) -> tuple[Callable[[Any], Kernel], Callable[[float], str]]:
    match name:
        case "gaussian":
            return Gaussian, lambda s: f"Gaussian noise of scale {s:.3g}"
        case "mollifier":
            return Mollifier, lambda t: f"the mollifier's noise at temperature {t:.3g}"
        case "blur_noise":
            scale = options["scale"]
            words = f"a blur of {scale:g} pixels and Gaussian noise of scale "
            return lambda s: BlurNoise(scale, s, shape), lambda s: f"{words}{s:.3g}"
        case "averaged":
            alpha, beta = options["alpha"], options["beta"]
            return (
                lambda s: AveragedMollifier(shape, float(s), alpha=alpha, beta=beta),
                lambda s: f"the mollifier at all its temperatures, noise and blur, with a floor of {s:.3g}",
            )
    if run is None:
        raise ValueError("--kernel=run is the augmentation that trained a run; name it with --workdir.")
    draw, parts = training_draw(run)
    draws, key = int(options["draws"]), jax.random.key(seed)
    return (
        lambda s: Augmented(draw, key, s, draws),
        lambda s: f"what trained the run ({parts}), {draws} draws an image, and Gaussian noise of scale {s:.3g}",
    )


def choose(
    found: Family,
    bank: Float[np.ndarray, "n d"],
    *,
    hashes: Sequence[bytes],
    groups: Sequence[str] | None = None,
    seed: int = 0,
    show: Show | None = None,
) -> tuple[float, str]:
    """The strength and how it was found: as asked for, or by the leave-one-out likelihood of points of the bank.

    Copies are left out of the choice, since they make ever narrower kernels better.

    Raises:
      ValueError: if all images of the bank are identical, or the likelihood is largest at an end of its range.
    """
    if found.given is not None:
        return found.given, "as asked for"
    first = np.sort(np.unique(np.asarray(hashes), return_index=True)[1])
    if len(first) < 2:
        raise ValueError(
            f"All {len(hashes):,} images of the bank are identical: they say nothing of a distribution. Give other "
            "reference images."
        )
    rows = first[evenly_spaced(len(first), LARGEST_BANK)]
    numbers = None if groups is None else np.unique(np.asarray(groups)[rows], return_inverse=True)[1]
    slow = found.name in ("averaged", "run")
    sample = min(len(rows), SAMPLE // (4 if slow else 1))
    tried = 0

    def counted(strength: Any) -> Kernel:
        nonlocal tried
        tried += 1
        if show:
            show("choosing " + found.strength, tried, max(tried, EVALUATIONS))
        return found.make(strength)

    low, high = (0.005, 0.999) if math.isfinite(found.high) else (None, None)
    part = bank if len(rows) == len(bank) else bank[rows]
    tolerance = 0.1 if slow else 0.02
    chosen = choose_theta(
        counted, part, groups=numbers, sample=sample, tolerance=tolerance, seed=seed, low=low, high=high
    )
    if show:
        show("choosing " + found.strength, EVALUATIONS, EVALUATIONS)
    how = f"by the leave-one-out likelihood of {sample:,} images of {len(rows):,} in the bank"
    return float(chosen.theta), f"{found.strength} = {chosen.theta:.4g}, chosen {how}"
