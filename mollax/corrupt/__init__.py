"""The corruption benchmark: 15 corruptions, 4 held out for validation, 5 severities each, for images of any size.

Pure functions of one image (height, width, channels), float32 in [0, 1], gray or color; batch with `corrupt_batch` or
`jax.vmap`. Results lie on the 8-bit grid. `NAMES` are the test corruptions and `GROUPS` their groups; averages never
mix them with `EXTRA_NAMES`.
"""

from mollax.corrupt.severity import EXTRA_NAMES, GROUPS, NAMES, SEVERITIES, constants, nearest_table
from mollax.corrupt.spectrum import dct_change, overlap
from mollax.corrupt.suite import RANDOM_NAMES, corrupt, corrupt_batch

__all__ = [
    "EXTRA_NAMES",
    "GROUPS",
    "NAMES",
    "RANDOM_NAMES",
    "SEVERITIES",
    "constants",
    "corrupt",
    "corrupt_batch",
    "dct_change",
    "nearest_table",
    "overlap",
]
