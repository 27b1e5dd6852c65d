"""How the program uses the machine that it runs on: CPU cores as devices, and memory that is kept.

For a program to call once, before anything of JAX runs. Results stay the same but for the order of sums over a batch.
"""

from __future__ import annotations

import ctypes
import os

import jax

# With smaller shares of a batch, cores wait for each other at every batch norm: on 16 cores, steps of 128 images were
# as fast with 4 devices as with 8 (ResNet-8 and PreActResNet-18), and slower with 16.
SMALLEST_SHARE = 32

# Parameters of glibc's mallopt (malloc.h).
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def available_cores() -> int:
    """CPU cores that this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def cpu_devices(cores: int, *, batch_size: int, accumulate: int = 1) -> int:
    """How many CPU devices to make of `cores`: the most that share a batch, and its parts, evenly.

    Each gets `SMALLEST_SHARE` images or more.
    """
    most = min(cores, batch_size // SMALLEST_SHARE)
    return max([n for n in range(1, most + 1) if batch_size % (n * max(1, accumulate)) == 0], default=1)


def spread_over_cores(*, batch_size: int, accumulate: int = 1) -> None:
    """Makes a JAX device of every CPU core that can share a batch (`cpu_devices`); accelerators are not touched.

    XLA runs a loop over images on one core of a device, so that one device a core is faster than one for all. A number
    that the user set stays (JAX_NUM_CPU_DEVICES, or --xla_force_host_platform_device_count in XLA_FLAGS).

    Raises:
      RuntimeError: if JAX has started already.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if jax.config.values["jax_num_cpu_devices"] < 1 and "xla_force_host_platform_device_count" not in flags:
        number = cpu_devices(available_cores(), batch_size=batch_size, accumulate=accumulate)
        jax.config.update("jax_num_cpu_devices", number)
    if jax.default_backend() == "cpu" and jax.device_count() > 1:
        # They share few threads: collectives of two queued programs can wait for each other.
        jax.config.update("jax_cpu_enable_async_dispatch", False)


def keep_freed_memory() -> bool:
    """Tells glibc to reuse freed memory instead of returning it to the system; other C libraries are left alone.

    A training step on CPU allocates its temporaries anew, and the page faults of fresh ones are about a tenth of its
    time. The process keeps its largest size in return. Says whether it was done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is None:
        return False
    # One arena, since only the main one is never unmapped; no mapping of its own for a large block; no trimming.
    return all([mallopt(_ARENA_MAX, 1), mallopt(_MMAP_MAX, 0), mallopt(_TRIM_THRESHOLD, -1)])
