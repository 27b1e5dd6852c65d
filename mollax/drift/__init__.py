"""Drift as KL to the augmented training distribution: densities, excess, tests and audit (METHODS section 4).

Conventions: points are rows of a (points, values) array: flattened images in [0, 1], or features. Log-densities are in
nats, per value in the units of the points; cross-entropies are means of -log p. A contribution -log p(x) is high for
what the bank does not explain. The bank, held-out points and new points are of one kind and share no point.
"""

from mollax.drift.audit import Audit, audit
from mollax.drift.augmented import Augmented, Flow, OwnKeys
from mollax.drift.averaged_mollifier import AveragedMollifier, fit_nodes
from mollax.drift.classifier import ClassifierTest, classifier_test
from mollax.drift.copies import copies
from mollax.drift.density import log_density
from mollax.drift.detectable import detectable
from mollax.drift.entropy_aware import EntropyAware, entropy_aware
from mollax.drift.excess import Excess, excess
from mollax.drift.kernels import BlurNoise, Gaussian, Kernel, Mollifier
from mollax.drift.kolmogorov_smirnov import KolmogorovSmirnov, kolmogorov_smirnov
from mollax.drift.leave_one_out import leave_one_out
from mollax.drift.limits import narrow_limit, wide_limit
from mollax.drift.mmd import MMD, mmd
from mollax.drift.pairwise import log_kernel
from mollax.drift.theta import Choice, choose_theta, class_log_densities, crossed_share, theta_curve

__all__ = [
    "MMD",
    "Audit",
    "Augmented",
    "AveragedMollifier",
    "BlurNoise",
    "Choice",
    "ClassifierTest",
    "EntropyAware",
    "Excess",
    "Flow",
    "Gaussian",
    "Kernel",
    "KolmogorovSmirnov",
    "Mollifier",
    "OwnKeys",
    "audit",
    "choose_theta",
    "class_log_densities",
    "classifier_test",
    "copies",
    "crossed_share",
    "detectable",
    "entropy_aware",
    "excess",
    "fit_nodes",
    "kolmogorov_smirnov",
    "leave_one_out",
    "log_density",
    "log_kernel",
    "mmd",
    "narrow_limit",
    "theta_curve",
    "wide_limit",
]
