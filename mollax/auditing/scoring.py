"""Log-densities of both sides of an audit: the kernel, its strength, and what each image's points are worth."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

from mollax.auditing import kernels, measure
from mollax.auditing.kernels import Family
from mollax.auditing.material import Show
from mollax.auditing.prepare import Prepared
from mollax.auditing.settings import Settings
from mollax.data.dataset import Split
from mollax.drift.kernels import Kernel
from mollax.experiment import channel_statistics

NODE_POINTS = 64  # of each side, by which the nodes of an averaged kernel are counted
# Whose held-out log-densities depend on bank and strength alone: "run" also depends on a run and a seed, "averaged" on
# how many nodes the new images need.
LASTING = ("gaussian", "mollifier", "blur_noise")


class Scored(NamedTuple):
    """Points as the kernel takes them, and their log-densities in nats of the space they are from.

    Attributes:
      bank, held, new: points.
      family: the kernels, as fine as these points need.
      kernel, strength: that of the audit; `how` says how it was found.
      offset: what log-densities of scaled points gain to be those of pixels.
      held_log, new_log: log-densities.
    """

    bank: Float32[np.ndarray, "n d"]
    held: Float32[np.ndarray, "h d"]
    new: Float32[np.ndarray, "m d"]
    family: Family
    kernel: Kernel
    strength: float
    how: str
    offset: float
    held_log: Float64[np.ndarray, " h"]
    new_log: Float64[np.ndarray, " m"]


def score(settings: Settings, prepared: Prepared, show: Show) -> Scored:
    """The kernel, its strength, and log-densities of held-out and new images.

    Raises:
      ValueError: for a bank of identical images, or points that are not finite.
    """
    reference, family = prepared.reference, prepared.family
    parts, offset = [reference.bank.points, reference.held.points, prepared.new_part.points], 0.0
    parts += [] if prepared.deployment is None else [prepared.deployment.points]
    if family.standardized:
        assert reference.bank.images is not None  # such kernels are for pixels
        mean, std = channel_statistics(Split(reference.bank.images, np.zeros(len(parts[0]), np.int32)))
        parts, offset = measure.standardized(parts, reference.form.shape, mean, std)
    bank, held, new = parts[:3]
    family, strength, how = kernels.choose_finely(
        family,
        bank,
        np.concatenate([held[:NODE_POINTS], new[:NODE_POINTS]]),
        hashes=reference.hashes,
        groups=reference.bank.groups,
        points=parts[3] if len(parts) > 3 else None,
        seed=settings.seed,
        show=show,
    )
    kernel = family.make(strength)
    saved = family.given is not None and reference.kernel == family.text and reference.strength == strength
    if saved:
        how = "as saved with the reference"
        if family.name == "run" and reference.seed not in (None, settings.seed):
            how += f", where it was chosen with the draws of seed {reference.seed}"
    if saved and family.name in LASTING and reference.held_log is not None:
        held_log = reference.held_log
    else:
        held_log = offset + measure.densities(held, bank, kernel, show=show, what="held-out images")
    new_log = offset + measure.densities(new, bank, kernel, show=show, what="new images")
    return Scored(bank, held, new, family, kernel, strength, how, offset, held_log, new_log)
