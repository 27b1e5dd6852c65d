"""Strictness for every test: shapes checked, promotions refused, four virtual CPU devices."""

import os

# Set before JAX starts: collective code is tested on four virtual devices of one machine.
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=4")
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
