"""The mollifier's whole kernel: averaged over its roles and temperatures (METHODS sections 1 and 4)."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from jaxtyping import Float
from scipy.special import betainc

from mollax import checks
from mollax.drift.density import BANK_ROWS, QUERY_ROWS, log_density
from mollax.drift.kernels import Group, HeatBlur, check_shape, image_shape, positive
from mollax.drift.points import Host

ROLES = ("none", "noise", "blur")


@dataclasses.dataclass(frozen=True)
class AveragedMollifier:
    """What a mollified example is drawn from: sum over roles of share x the mean of the role's kernel over t.

    With t ~ Beta(alpha, beta), f the floor and B_t the blur of sigma_B(t) = exp((1-t) log min_scale + t log width):
    none is N(x_i, f^2 I); noise is N(cos(pi t/2) x_i, sin(pi t/2)^2 I), where sigma_t is below the floor that of the t
    at which it is the floor; blur is N(B_t x_i, f^2 I). The integrals over t are sums over cells, each at its middle
    with its exact mass, so the kernel's mass is 1 for any number of nodes: noise cells are uniform in log sigma_t
    between floor and 1, blur cells in log sigma_B. How many are needed depends on the points, see `fit_nodes`: a
    likelihood of d values is a peak of width 1/sqrt(2d) in log sigma_t, which fixed Gauss rules miss. All noise nodes
    share one matrix product, every blur node takes its own.

    Attributes:
      shape: (height, width, channels) of the images that the points are, flattened; standardized as the mollifier's.
      floor: Gaussian floor, in (0, 1).
      alpha, beta: of the temperature's distribution.
      shares: of the roles none, noise and blur; at least 0, and scaled so that they add up to 1.
      min_scale: blur at t = 0 in pixels.
      noise_nodes, blur_nodes: numbers of cells.

    Raises:
      ValueError: for numbers out of range or a shape that is not one of images.
    """

    shape: tuple[int, int, int]
    floor: float
    alpha: float = 1.0
    beta: float = 2.0
    shares: tuple[float, float, float] = (1.0, 1.0, 1.0)
    min_scale: float = 0.3
    noise_nodes: int = 64
    blur_nodes: int = 16

    def __post_init__(self) -> None:
        image_shape(self.shape)
        checks.in_range("floor", self.floor, 0.0, 1.0, open_low=True, open_high=True)
        for name in ("alpha", "beta", "min_scale"):
            positive(name, getattr(self, name))
        checks.positive_int("noise_nodes", self.noise_nodes)
        checks.positive_int("blur_nodes", self.blur_nodes)
        if len(self.shares) != len(ROLES):
            raise ValueError(f"shares must be those of {', '.join(ROLES)}; got {self.shares}.")
        for role, share in zip(ROLES, self.shares, strict=True):
            checks.in_range(f"share of {role}", share, 0.0)
        if not sum(self.shares):
            raise ValueError("shares must not all be 0: some role has to be drawn.")

    def groups(self, width: int) -> tuple[Group, ...]:
        """Floor and noise about the point itself, blur about its blurred versions; without roles that have no share."""
        check_shape(self.shape, width)
        none, noise, blur = (share / sum(self.shares) for share in self.shares)
        scale, sigma, mass = self._noise()
        weights = np.concatenate([[none], noise * mass])
        scales, sigmas = np.concatenate([[1.0], scale]), np.concatenate([[self.floor], sigma])
        keep = weights > 0
        found = []
        if keep.any():
            found.append(Group(scales[None, keep], sigmas[None, keep], np.log(weights[None, keep])))
        if blur:
            edges = np.linspace(0.0, 1.0, self.blur_nodes + 1)
            mass = blur * np.diff(betainc(self.alpha, self.beta, edges))
            t = (edges[1:] + edges[:-1]) / 2
            pixels = np.exp((1 - t) * math.log(self.min_scale) + t * math.log(self.shape[1]))
            ones = np.ones((int((mass > 0).sum()), 1))
            log_mass = np.log(mass[mass > 0])[:, None]
            found.append(Group(ones, self.floor * ones, log_mass, pixels[mass > 0], HeatBlur(self.shape)))
        return tuple(found)

    def _noise(self) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
        """alpha_t, sigma_t and mass of the noise nodes, the mass below the floor first."""
        edges = np.linspace(math.log(self.floor), 0.0, self.noise_nodes + 1)
        t = 2 / math.pi * np.arcsin(np.minimum(np.exp(edges), 1.0))
        below = betainc(self.alpha, self.beta, t)
        sigma = np.concatenate([[self.floor], np.exp((edges[1:] + edges[:-1]) / 2)])
        return np.sqrt(1 - np.square(sigma)), sigma, np.diff(below, prepend=0.0)


def fit_nodes(
    queries: Float[Host, "m d"],
    bank: Float[Host, "n d"],
    kernel: AveragedMollifier,
    *,
    tolerance: float = 0.1,
    most: int = 4096,
    query_rows: int = QUERY_ROWS,
    bank_rows: int = BANK_ROWS,
) -> AveragedMollifier:
    """The kernel with as many nodes as these queries need: doubled until no log-density moves by `tolerance` nats.

    Noise and blur nodes are doubled in turn, from the kernel's own numbers. Returns the smaller of the two numbers that
    agree. A few hundred queries, held-out and new ones, tell as much as all of them.

    Args:
      queries, bank, query_rows, bank_rows: as for `log_density`.
      tolerance: in nats.
      most: nodes of a kind at which to give up.

    Raises:
      RuntimeError: if `most` nodes are not enough; a higher floor needs fewer.
      ValueError: for bad options, or as `log_density` does.
    """
    checks.in_range("tolerance", tolerance, 0.0, open_low=True)
    checks.positive_int("most", most)

    def logs(kernel: AveragedMollifier) -> np.ndarray:
        return np.asarray(log_density(queries, bank, kernel, query_rows=query_rows, bank_rows=bank_rows))

    known = logs(kernel)
    for kind, share in zip(("noise_nodes", "blur_nodes"), kernel.shares[1:], strict=True):
        while share:
            count = 2 * getattr(kernel, kind)
            if count > most:
                raise RuntimeError(
                    f"Log-densities still move by more than {tolerance} nat at {count // 2} {kind.replace('_', ' ')}: "
                    "raise the kernel's floor, the tolerance, or `most`."
                )
            finer = dataclasses.replace(kernel, **{kind: count})
            moved = logs(finer)
            if float(np.abs(moved - known).max()) < tolerance:
                break
            kernel, known = finer, moved
    return kernel
