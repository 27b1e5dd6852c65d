"""Data mollification coupled with label smoothing (Heinonen et al., AISTATS 2025).

Images are single (height, width, channels) arrays in standardized units unless a name says `batch`;
temperatures t lie in [0, 1]; blur scales are in pixels; labels are weights over classes along the last axis.
"""

from mollax.mollify.blur import blur, blur_batch
from mollax.mollify.compression import png_bytes, png_loss_curve
from mollax.mollify.couple import (
    DEFAULT_ROLES,
    ROLES,
    Mollified,
    degrade_image,
    label_decay,
    mollify_batch,
    repeat_examples,
    sample_temperature,
)
from mollax.mollify.labels import (
    FORMS,
    blur_label_decay,
    degrade_labels,
    dirichlet_log_density,
    dirichlet_mode,
    extra_class_labels,
    noise_label_decay,
    smooth_labels,
    temper_labels,
)
from mollax.mollify.likelihood import (
    MARGINALS,
    log_marginal,
    log_normalizer,
    normalized_cross_entropy,
    soft_cross_entropy,
)
from mollax.mollify.noise import noise
from mollax.mollify.schedule import blur_scale, noise_amplitudes, snr

__all__ = [
    "DEFAULT_ROLES",
    "FORMS",
    "MARGINALS",
    "ROLES",
    "Mollified",
    "blur",
    "blur_batch",
    "blur_label_decay",
    "blur_scale",
    "degrade_image",
    "degrade_labels",
    "dirichlet_log_density",
    "dirichlet_mode",
    "extra_class_labels",
    "label_decay",
    "log_marginal",
    "log_normalizer",
    "mollify_batch",
    "noise",
    "noise_amplitudes",
    "noise_label_decay",
    "normalized_cross_entropy",
    "png_bytes",
    "png_loss_curve",
    "repeat_examples",
    "sample_temperature",
    "smooth_labels",
    "snr",
    "soft_cross_entropy",
    "temper_labels",
]
