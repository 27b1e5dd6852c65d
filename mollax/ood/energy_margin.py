"""Energy fine-tuning (Liu et al. 2020): a margin below which ID energies are pushed, one above which outliers' are.

E(x) = -LSE(f(x)), in nats: very negative where a network has a large logit, so high for outliers.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mollax import checks
from mollax.ood.exposure import require_logits

Host = np.ndarray | jax.Array
Scalar = float | int | Float[Array, ""]


class Margins(NamedTuple):
    """Energies between which nothing is pushed.

    Attributes:
      m_in: ID energies above it are penalised.
      m_out: outliers' energies below it are penalised; not below m_in.
    """

    m_in: float
    m_out: float


# For networks trained as the authors' were; an energy depends on the number of classes, the network and its training.
AUTHORS_MARGINS = {
    "cifar10": Margins(-23.0, -5.0),
    "cifar100": Margins(-27.0, -5.0),
    "script": Margins(-25.0, -7.0),  # defaults of their program
}


def free_energy(logits: Float[Array, "*n k"]) -> Float[Array, "*n"]:
    """E = -log sum_c exp f_c, at temperature 1; high for OOD."""
    return -jax.nn.logsumexp(logits, axis=-1)


def energy_margin(
    logits_id: Float[Array, "n k"], logits_ood: Float[Array, "m k"], *, m_in: Scalar, m_out: Scalar
) -> Float[Array, ""]:
    """E_in[relu(E - m_in)^2] + E_out[relu(m_out - E)^2], added to the cross-entropy with weight 0.1.

    Fine-tuning as for `outlier_exposure`. Margins: from `choose_margins`, or one of `AUTHORS_MARGINS`.

    Raises:
      ValueError: for logits without an example or of different classes, or m_in above m_out, where an image could not
        be on the right side of both.
    """
    require_pair(logits_id, logits_ood)
    require_margins(m_in, m_out)
    return inside_margin(logits_id, m_in) + jnp.mean(jnp.square(jax.nn.relu(m_out - free_energy(logits_ood))))


def inside_margin(logits_id: Float[Array, "n k"], m_in: Scalar) -> Float[Array, ""]:
    """E_in[relu(E - m_in)^2]."""
    return jnp.mean(jnp.square(jax.nn.relu(free_energy(logits_id) - m_in)))


def choose_margins(energy_id: Float[Host, " n"], energy_ood: Float[Host, " m"]) -> Margins:
    """Mean ID energy and mean outliers' energy of the network before fine-tuning: the authors' advice, in their issues.

    Take both on validation images: held-out ID, and auxiliary outliers (never a test family).

    Raises:
      ValueError: for empty arrays, energies that are not finite, or outliers whose mean energy is not above that of ID.
    """
    means = []
    for name, energies in (("energy_id", energy_id), ("energy_ood", energy_ood)):
        checks.rank(name, energies, 1, "(examples,)")
        values = np.asarray(energies).astype(np.float64)
        if values.size == 0 or not np.isfinite(values).all():
            raise ValueError(f"{name} must hold finite energies, at least one; look for a diverged network.")
        means.append(float(values.mean()))
    m_in, m_out = means
    if not m_in < m_out:
        raise ValueError(
            f"The outliers' mean energy {m_out:.4g} is not above the mean ID energy {m_in:.4g}, so margins cannot be "
            "chosen from them. Is the sign right (E = -LSE, not LSE)? If so, this network is more certain of the "
            "outliers than of its own images: train it first, or set margins by hand from AUTHORS_MARGINS."
        )
    return Margins(m_in, m_out)


def require_pair(logits_id: Float[Array, "n k"], logits_ood: Float[Array, "m j"]) -> None:
    """Raises ValueError unless both hold examples of the same classes."""
    require_logits("logits_id", logits_id)
    require_logits("logits_ood", logits_ood)
    if logits_id.shape[1] != logits_ood.shape[1]:
        raise ValueError(
            f"logits_id and logits_ood must come from one network; got {logits_id.shape[1]} and "
            f"{logits_ood.shape[1]} classes."
        )


def require_margins(m_in: Scalar, m_out: Scalar) -> None:
    """Raises ValueError if margins known before tracing are not finite or in the wrong order."""
    known = {name: m for name, m in (("m_in", m_in), ("m_out", m_out)) if isinstance(m, (int, float))}
    for name, value in known.items():
        checks.in_range(name, value)
    if len(known) == 2 and m_in > m_out:
        raise ValueError(f"m_in must not be above m_out; got {m_in:g} and {m_out:g}. Energies are -LSE: ID is lower.")
