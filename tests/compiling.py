"""jit for tests, whose functions run once: compiling is what they wait for."""

from functools import partial

import jax

from mollax.ood import gan, negatives

fast = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
_START = fast(gan._start.__wrapped__, static_argnums=0)
_UPDATE = fast(negatives._update.__wrapped__, static_argnums=(0, 1))


def compile_gans_fast(patch):
    """GANs start and learn by `fast` functions while `patch`, a monkeypatch, lasts."""
    patch.setattr(gan, "_start", _START)
    patch.setattr(negatives, "_update", _UPDATE)
