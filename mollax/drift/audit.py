"""The audit of arrays: how far are new points from what an augmented training set explains, and could one tell?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Float64

from mollax.drift.classifier import ClassifierTest, classifier_test
from mollax.drift.copies import copies
from mollax.drift.density import log_density
from mollax.drift.detectable import detectable
from mollax.drift.entropy_aware import EntropyAware, entropy_aware
from mollax.drift.excess import Excess, Groups, excess
from mollax.drift.kernels import Kernel
from mollax.drift.kolmogorov_smirnov import KolmogorovSmirnov, kolmogorov_smirnov
from mollax.drift.mmd import MMD, mmd
from mollax.drift.points import Host, check_points
from mollax.drift.samples import is_constant


class Audit(NamedTuple):
    """All numbers of an audit. Log-densities and what follows from them in nats.

    Attributes:
      excess: cross-entropy of new over held-out points, signed.
      companion: the same question with the new points' own entropy taken into account.
      detectable: the smallest |excess| that these numbers of points show with the power asked for.
      dimensions: of a point; cross-entropies divided by it are nats per dimension.
      held_contributions, new_contributions: -log p of each point. The largest name the points that drive the
        divergence.
      copied: which new points are also in the bank.
      mmd, kolmogorov_smirnov, classifier: two-sample tests of the same points; None if not asked for.
    """

    excess: Excess
    companion: EntropyAware
    detectable: float
    dimensions: int
    held_contributions: Float64[np.ndarray, " h"]
    new_contributions: Float64[np.ndarray, " m"]
    copied: Bool[np.ndarray, " m"]
    mmd: MMD | None
    kolmogorov_smirnov: KolmogorovSmirnov | None
    classifier: ClassifierTest | None


def audit(
    bank: Float[Host, "n d"],
    held: Float[Host, "h d"],
    new: Float[Host, "m d"],
    kernel: Kernel,
    *,
    seed: int = 0,
    resamples: int = 1000,
    permutations: int = 1000,
    confidence: float = 0.95,
    groups_held: Groups = None,
    groups_new: Groups = None,
    level: float = 0.05,
    power: float = 0.8,
    limit: int = 2000,
    baselines: bool = True,
    devices: Sequence[jax.Device] | None = None,
) -> Audit:
    """Audits new points against the bank, with held-out points of the bank's own distribution as the yardstick.

    Valid only if the held-out points are in neither the bank, the network's training, the kernel nor the choice of
    theta, and were split off by group (writer, video, patient) where groups are known.

    Args:
      bank: training points as rows; a NumPy memmap is read block by block.
      held, new: points to compare.
      kernel: one for all, such as `Gaussian(0.1)`.
      seed: of resampling, relabelling and choice of points.
      resamples, permutations: how many.
      confidence: of the intervals, in (0, 1).
      groups_held, groups_new: the group of each point; both or neither. The two-sample tests know nothing of them.
      level: at which tests will be read, in (0, 1).
      power: of `detectable`, in [.5, 1).
      limit: points of each side in the tests that compare all pairs (companion, MMD), at most.
      baselines: whether the two-sample tests are wanted too.
      devices: over which the bank is split, see `log_density`.

    Raises:
      TypeError: for points that are not floats.
      ValueError: for points of different widths, none at all, or not finite; held-out points that are in the bank; a
        bank or held-out points that are all equal; fewer points or groups than the level needs; options out of range.
    """
    _check(bank, held, new)
    held_log = np.asarray(log_density(held, bank, kernel, devices=devices)).astype(np.float64)
    new_log = np.asarray(log_density(new, bank, kernel, devices=devices)).astype(np.float64)
    shared: dict[str, Any] = {"seed": seed, "permutations": permutations, "level": level}
    grouped: dict[str, Any] = {"groups_held": groups_held, "groups_new": groups_new}
    intervals: dict[str, Any] = {"resamples": resamples, "confidence": confidence}
    return Audit(
        excess=excess(held_log, new_log, **shared, **intervals, **grouped),
        companion=entropy_aware(held, new, kernel, limit=limit, **shared, **intervals, **grouped),
        detectable=detectable(held_log, len(new), power=power, level=level, groups=groups_held),
        dimensions=int(bank.shape[1]),
        held_contributions=-held_log,
        new_contributions=-new_log,
        copied=copies(new, bank),
        mmd=mmd(held, new, limit=limit, **shared) if baselines else None,
        kolmogorov_smirnov=kolmogorov_smirnov(held, new, level=level) if baselines else None,
        classifier=classifier_test(held, new, confidence=confidence, seed=seed) if baselines else None,
    )


def _check(bank: Float[Host, "n d"], held: Float[Host, "h d"], new: Float[Host, "m d"]) -> None:
    """Raises ValueError or TypeError for points that cannot be compared."""
    check_points("bank", bank)
    for name, array in (("held", held), ("new", new)):
        check_points(name, array, width=bank.shape[1])
    for name, array in (("bank", bank), ("held", held)):
        if len(array) > 1 and is_constant(array):
            raise ValueError(f"All {len(array)} points of {name} are equal: they say nothing of a distribution.")
    inside = copies(held, bank)
    if inside.any():
        raise ValueError(
            f"{int(inside.sum())} of {len(held)} held-out points are also in the bank, the first is row "
            f"{int(inside.argmax())}: the bank knows them better than new ones. Leave out copies(held, bank)."
        )
