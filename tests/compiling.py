"""jit for tests, whose functions run once: compiling is what they wait for."""

from functools import partial

import jax

fast = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
