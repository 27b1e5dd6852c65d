"""The drift audit of image collections: from two paths to numbers, sentences and pictures.

Images are uint8 NHWC until they are points, float32 rows (n, d): pixels in [0, 1], or features. Densities are those of
`mollax.drift`, in nats, of pixels in [0, 1]; a contribution is -log p of an image.
"""

from mollax.auditing.assemble import Found, about_storage, measure_all
from mollax.auditing.limits import Limits, broken
from mollax.auditing.prepare import Prepared, prepare
from mollax.auditing.saved import check_place, save
from mollax.auditing.settings import Settings

__all__ = [
    "Found",
    "Limits",
    "Prepared",
    "Settings",
    "about_storage",
    "broken",
    "check_place",
    "measure_all",
    "prepare",
    "save",
]
