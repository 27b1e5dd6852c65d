"""The kernel that --kernel names: what it is of its strength, and the strength that explains the bank best."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from mollax import checks
from mollax.auditing.material import Show
from mollax.auditing.pipeline import training_draw
from mollax.data.options import evenly_spaced
from mollax.drift.augmented import Augmented
from mollax.drift.averaged_mollifier import AveragedMollifier, fit_nodes
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

Rows = Float[np.ndarray, "_ d"]


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
    text = without_strength(name, options)
    return Family(name, text, strength, given, make, words, 1e-6, high, name in ("mollifier", "averaged"))


def without_strength(name: str, options: Mapping[str, float | None]) -> str:
    """--kernel without its strength, by which kernels of one family are known: "blur_noise:scale=1"."""
    rest = ",".join(f"{key}={value:g}" for key, value in list(options.items())[1:])
    return f"{name}:{rest}".rstrip(":")


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
    bank: Rows,
    *,
    hashes: Sequence[bytes],
    groups: Sequence[str] | None = None,
    points: Rows | None = None,
    seed: int = 0,
    show: Show | None = None,
) -> tuple[float, str]:
    """The strength and how it was found: as asked for, or the one that explains points best.

    These are points of the bank, by leave-one-out, or others (`points`) that are in neither bank nor held-out part.
    Copies in the bank are left out of the choice, since they make ever narrower kernels better.

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
    slow = found.name in ("averaged", "run")
    sample = min(len(rows if points is None else points), SAMPLE // (4 if slow else 1))
    scored: dict[str, Any] = {"points": points}
    if points is None and groups is not None:
        scored = {"groups": np.unique(np.asarray(groups)[rows], return_inverse=True)[1]}
    low, high = (0.005, 0.999) if math.isfinite(found.high) else (None, None)
    part = bank if len(rows) == len(bank) else bank[rows]
    options = scored | {"sample": sample, "tolerance": 0.1 if slow else 0.02, "seed": seed, "devices": all_devices()}
    try:
        chosen = choose_theta(_counted(found, show), part, low=low, high=high, **options)
    except ValueError as error:
        if "at the end" not in str(error):
            raise
        example = {"sigma": 0.1, "t": 0.2, "floor": 0.1}[found.strength]
        named = f"{found.text}{',' if ':' in found.text else ':'}{found.strength}={example:g}"
        raise ValueError(
            f"No {found.strength} for --kernel={found.text} can be chosen: the likelihood of images is largest at an "
            "end of the strengths that were tried. At the low end near-copies among the images are the usual cause. "
            f"Give it yourself, such as --kernel={named}."
        ) from error
    if show:
        show("choosing " + found.strength, EVALUATIONS, EVALUATIONS)
    of = f"{sample:,} images of {len(rows):,} in the bank" if points is None else f"{sample:,} images of --theta-from"
    how = f"by the {'leave-one-out ' * (points is None)}likelihood of {of}"
    return float(chosen.theta), f"{found.strength} = {chosen.theta:.4g}, chosen {how}"


def all_devices() -> Sequence[jax.Device] | None:
    """The devices of this host, over which a bank is split. None for one, which then reads the bank block by block, so
    that it need not fit into its memory."""
    devices = jax.local_devices()
    return devices if len(devices) > 1 else None


def _counted(found: Family, show: Show | None) -> Callable[[Any], Kernel]:
    """The family's kernels, the number of which is shown as they are made."""
    tried = 0

    def make(strength: Any) -> Kernel:
        nonlocal tried
        tried += 1
        if show:
            show("choosing " + found.strength, tried, max(tried, EVALUATIONS))
        return found.make(strength)

    return make


def choose_finely(found: Family, bank: Rows, some: Rows, **options: Any) -> tuple[Family, float, str]:
    """The kernels with as many nodes as `some` points of both sides need, their strength, and how it was found.

    Only an averaged kernel has nodes. They are counted at the chosen strength; if they were too few, the strength is
    chosen once more with what was found, so that choice, audit and curve are of one kernel.

    Args:
      found, bank: as for `choose`.
      some: held-out and new points.
      options: of `choose`.

    Raises:
      ValueError: as `choose`; for a floor so low that no number of nodes is enough.
    """
    strength, how = choose(found, bank, **options)
    finer = _with_nodes(found, strength, bank, some)
    if finer is found or found.given is not None:
        return finer, strength, how
    strength, how = choose(finer, bank, **options)
    return _with_nodes(finer, strength, bank, some), strength, how


def _with_nodes(found: Family, strength: float, bank: Rows, some: Rows) -> Family:
    """The kernels with as many nodes as log-densities of `some` points need; `found` itself if it has them."""
    kernel = found.make(strength)
    if not isinstance(kernel, AveragedMollifier):
        return found
    try:
        fitted = fit_nodes(some, bank, kernel)
    except RuntimeError as error:
        raise ValueError(
            f"A floor of {strength:.3g} is too low for these images: the kernel's integrals over temperatures do not "
            f"settle. Give a higher one, such as --kernel=averaged:floor={min(2 * strength, 0.5):.2g}."
        ) from error
    if fitted == kernel:
        return found
    return replace(found, make=lambda s: replace(fitted, floor=float(s)))
