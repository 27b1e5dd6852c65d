"""mollax: robust, calibrated, OOD-aware image classification in JAX and Flax.

Method packages (`mollax.mollify`, `mollax.augment`, `mollax.metrics`, ...) are pure functions of arrays and
keys; `python -m mollax.main --config=configs/NAME.py` is the program that joins them.
"""

__version__ = "0.1.0"
