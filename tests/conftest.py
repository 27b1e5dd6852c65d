"""Strictness for every test: shapes checked, promotions refused, four virtual CPU devices."""

import os

# Set before JAX starts, as XLA_FLAGS below.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "Agg")

from pathlib import Path

import jax
import jaxtyping
import numpy as np
import pytest
from jaxtyping import install_import_hook

# Shape annotations of the whole package are checked at run time in tests (and only there).
install_import_hook("mollax", "typecheck.checked")

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
# Several virtual CPU devices share few threads: queued collectives of two dispatches can wait for each other.
jax.config.update("jax_cpu_enable_async_dispatch", False)

# Collective code is tested on four virtual devices of one machine.
FOUR_DEVICES = "--xla_force_host_platform_device_count=4"
# Most tests wait for XLA to compile, not for what it compiled: so it makes slower programs several times sooner.
QUICK_TO_COMPILE = (
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_cpu_parallel_codegen_split_count=1",
    # A flag that a jaxlib does not know ends the process; 0.11 has no other emitters.
    *(("--xla_cpu_use_fusion_emitters=false",) if jax.__version_info__ < (0, 11) else ()),
)


def pytest_configure(config: pytest.Config) -> None:
    """Without the slow tests programs are quick to compile; with them (`-m ''`) they are those that users run."""
    flags = (FOUR_DEVICES, *QUICK_TO_COMPILE) if config.option.markexpr == "not slow" else (FOUR_DEVICES,)
    os.environ.setdefault("XLA_FLAGS", " ".join(flags))


@pytest.fixture
def key() -> jax.Array:
    """A fresh key, the same in every run."""
    return jax.random.key(20)


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded NumPy generator."""
    return np.random.default_rng(20)


@pytest.fixture
def unhooked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns the shape checks of tests off, to meet the messages that users meet."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real images (MNIST, CIFAR-10, TinyImageNet), or a skip that says where to put them."""
    folder = Path(os.environ.get("MOLLAX_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real images at {folder}: set MOLLAX_TEST_DATA to a folder that holds them")
    return folder
