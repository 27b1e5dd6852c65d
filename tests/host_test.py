"""Cores as devices and kept memory; what needs a fresh process runs in one."""

import os
import subprocess
import sys

import jax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mollax import host


def outcome(program: str, **environment: str) -> str:
    """What a program prints in a process of its own, with JAX not started."""
    inherited = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    result = subprocess.run(
        [sys.executable, "-c", program], env={**inherited, **environment}, capture_output=True, text=True, check=False
    )
    return (result.stdout + result.stderr[-500:]).strip()


@pytest.mark.parametrize(
    "cores, batch_size, accumulate, expected",
    [
        (1, 128, 1, 1),
        (2, 128, 1, 2),
        (3, 128, 1, 2),  # three do not share 128 evenly
        (64, 128, 1, 4),  # 32 images each, no fewer
        (4, 96, 1, 3),
        (2, 33, 1, 1),
        (2, 66, 2, 1),  # 33 images on each cannot be cut in two
        (2, 68, 2, 2),
        (2, 16, 1, 1),
        (2, 0, 0, 1),  # such settings are refused elsewhere
    ],
)
def test_devices_share_a_batch(cores, batch_size, accumulate, expected):
    assert host.cpu_devices(cores, batch_size=batch_size, accumulate=accumulate) == expected


@given(st.integers(1, 100), st.integers(1, 1000), st.integers(1, 8))
def test_shares_are_equal_and_not_small(cores, batch_size, accumulate):
    devices = host.cpu_devices(cores, batch_size=batch_size, accumulate=accumulate)
    assert 1 <= devices <= cores
    if devices > 1:
        assert batch_size % (devices * accumulate) == 0
        assert batch_size // devices >= host.SMALLEST_SHARE


def test_available_cores_respect_the_affinity():
    assert 1 <= host.available_cores() <= os.cpu_count()
    if hasattr(os, "sched_setaffinity"):
        one = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        assert outcome(f"{one} from mollax import host; print(host.available_cores())") == "1"


SPREAD = "import jax; from mollax import host; host.spread_over_cores(batch_size=256); print(jax.device_count())"


def test_every_core_becomes_a_device_unless_the_user_said_a_number():
    expected = host.cpu_devices(host.available_cores(), batch_size=256)
    queued = "; print(jax.config.values['jax_cpu_enable_async_dispatch'])"
    assert outcome(SPREAD + queued).split() == [str(expected), str(expected == 1)]
    assert outcome(SPREAD, JAX_NUM_CPU_DEVICES="3") == "3"
    assert outcome(SPREAD, XLA_FLAGS="--xla_force_host_platform_device_count=5") == "5"


def test_it_is_too_late_once_jax_runs():
    assert "RuntimeError" in outcome("import jax; jax.devices(); " + SPREAD)
    # Here the tests' own number is in XLA_FLAGS, so nothing is to be done.
    host.spread_over_cores(batch_size=256)
    assert jax.device_count() == 4


FAULTS = """
import resource
import numpy as np
from mollax import host
kept = host.keep_freed_memory() if KEEP else None
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(2**23)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(kept, faults())
"""


def test_freed_memory_comes_back_without_page_faults():
    kept, faults = outcome(FAULTS.replace("KEEP", "True")).split()
    if kept == "False":
        pytest.skip("this C library is not glibc")
    assert int(faults) < 100
    # Without, every page of the 64 MiB is mapped anew: 16,384 of 4 KiB, or 32 huge ones.
    _, fresh = outcome(FAULTS.replace("KEEP", "False")).split()
    assert int(fresh) > int(faults)
