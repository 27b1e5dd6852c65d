"""Times contenders in interleaved rounds of one process and records where that happened.

Import this before torch: it sets how long OpenMP's workers spin. Spinning workers stall whatever another library's
threads compute next in the same process, and that would be booked on the wrong contender.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

if "torch" in sys.modules:
    raise ImportError("Import `common` before torch: GOMP_SPINCOUNT has no effect after it.")
os.environ["GOMP_SPINCOUNT"] = "20000"

BATCH = 128
BUSY = 0.5  # load average above which the machine is not ours
Seconds = dict[str, list[float]]


def arguments(
    description: str, *, gpu: bool = False, more: Callable[[argparse.ArgumentParser], object] | None = None
) -> argparse.Namespace:
    """The command line that all benchmarks share, and what `more` adds to it."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file to write, such as docs/results/NAME.json")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds; the best one counts")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of a contender's turn in a round")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes: checks that it runs, measures nothing")
    parser.add_argument("--wait", type=float, default=180, help="seconds to wait for a busy machine to become idle")
    parser.add_argument("--force", action="store_true", help="measure on a busy machine; the record says so")
    if gpu:
        parser.add_argument("--gpu", action="store_true", help="PreActResNet-50 in bfloat16 on the accelerator")
    if more is not None:
        more(parser)
    return parser.parse_args()


def processor() -> str:
    """The model name of the CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    model = named.get("model name") or platform.processor() or platform.machine()
    extra = [f"family {named['cpu family']}", f"model {named['model']}"] if "cpu family" in named else []
    vectors = [name for name in ("avx2", "avx512f", "amx_tile") if name in named.get("flags", "").split()]
    return ", ".join([model, *extra, *vectors])


def _await_idle(options: argparse.Namespace) -> float:
    """The load average once it is low; refuses (SystemExit) on a machine that stays busy, unless forced."""
    until = time.monotonic() + (0 if options.force or options.tiny else options.wait)
    while (load := os.getloadavg()[0]) > BUSY and time.monotonic() < until:
        time.sleep(2)
    if load > BUSY:
        message = f"THE MACHINE IS BUSY: load average {load:.2f}, above {BUSY}. Timings would mean nothing."
        if not (options.force or options.tiny):
            raise SystemExit(f"{message} Stop what else runs, or measure anyway with --force.")
        print(f"\n*** {message} ***\n", file=sys.stderr)
    return load


def start(options: argparse.Namespace, *, peer: bool = True, packages: Sequence[str] = ()) -> dict[str, Any]:
    """Waits for an idle machine, gives torch and JAX every core as the program does, and begins the record.

    Without `peer`, torch is neither imported nor recorded. The versions of further `packages` are.
    """
    load = _await_idle(options)
    import jax

    from mollax import host

    host.spread_over_cores(batch_size=BATCH)

    packages = ["jax", "jaxlib", "flax", "numpy", "scipy", *packages]
    if peer:
        import torch

        torch.set_num_threads(host.available_cores())
        packages.append("torch")
    device = jax.devices()[0]
    record = {
        "command": " ".join(["python", *sys.argv]),
        "device": f"{jax.device_count()} x {device.platform} ({device.device_kind})",
        "processor": processor(),
        "cores": host.available_cores(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "load_before": round(load, 2),
        "rounds": options.rounds,
        "results": [],
    }
    for key, value in record.items():
        if key != "results":
            print(f"{key}: {value}")
    return record


def finish(record: dict[str, Any], options: argparse.Namespace) -> None:
    """Completes the record and writes it."""
    record["load_after"] = round(os.getloadavg()[0], 2)  # our own work is part of it
    print(f"load_after: {record['load_after']}")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        print(f"wrote {options.out}")


def split_over_devices(function: Callable[..., Any], *arrays: Any) -> Callable[[], Any]:
    """Compiles function(seed, number of the device, *slices) for the devices that share a batch, as those of a run do.

    Every array is cut along its leading axis. Returns a function without arguments: the next result, of seed 0, 1, ...
    """
    import jax
    import jax.numpy as jnp
    from jax.sharding import NamedSharding, PartitionSpec

    mesh = jax.make_mesh((jax.device_count(),), ("batch",))
    whole, cut = PartitionSpec(), PartitionSpec("batch")

    def on_one_device(seed: Any, *slices: Any) -> Any:
        return seed + 1, function(seed, jax.lax.axis_index("batch"), *slices)

    specs = (whole, *(cut for _ in arrays))
    compiled = jax.jit(jax.shard_map(on_one_device, mesh=mesh, in_specs=specs, out_specs=(whole, cut), check_vma=False))
    state = [jax.device_put(jnp.int32(0), NamedSharding(mesh, whole))]  # on the devices, as a run's step number is
    on_devices = jax.device_put(arrays, NamedSharding(mesh, cut))

    def call() -> Any:
        state[0], result = compiled(state[0], *on_devices)
        return jax.block_until_ready(result)

    return call


def measure(contenders: Mapping[str, Callable[[], object]], options: argparse.Namespace) -> Seconds:
    """Seconds a call of every contender in every round, contenders taking turns: A B A B ...

    A contender is a function that returns once its result is there. The first call of all (compilation) and the first
    of each turn (caches, thread pools) are not timed; the others of a turn are averaged.
    """
    calls = {}
    for name, contender in contenders.items():
        contender()
        began = time.perf_counter()
        contender()
        calls[name] = max(1, math.ceil(options.seconds / (time.perf_counter() - began)))
    seconds: Seconds = {name: [] for name in contenders}
    for _ in range(options.rounds):
        for name, contender in contenders.items():
            contender()
            began = time.perf_counter()
            for _ in range(calls[name]):
                contender()
            seconds[name].append((time.perf_counter() - began) / calls[name])
    return seconds


def compare(
    what: str, seconds: Seconds, *, ours: str, peer: str, floor: float | None = None, **facts: Any
) -> dict[str, Any]:
    """One line of the table and of the record: the peer's best round over our best round, and what is asked for."""
    best = {name: min(rounds) for name, rounds in seconds.items()}
    ratio = best[peer] / best[ours]
    by_round = [theirs / mine for theirs, mine in zip(seconds[peer], seconds[ours], strict=True)]
    goal = "" if floor is None else f"  floor {floor:.2f} {'reached' if ratio >= floor else 'MISSED'}"
    times = "  ".join(f"{name} {1e3 * value:.3f} ms" for name, value in best.items())
    print(f"{what}: {ratio:.2f}x {peer} (rounds {min(by_round):.2f}..{max(by_round):.2f}){goal}  [{times}]", flush=True)
    return {
        "what": what,
        "ratio": round(ratio, 3),
        "floor": floor,
        "peer": peer,
        "ratio_of_median_round": round(statistics.median(by_round), 3),
        "best_ms": {name: round(1e3 * value, 4) for name, value in best.items()},
        "rounds_ms": {name: [round(1e3 * value, 4) for value in rounds] for name, rounds in seconds.items()},
        **facts,
    }


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def agree(what: str, ours: Any, theirs: Any, tolerance: float = 1e-4) -> float:
    """The largest difference of two arrays; SystemExit if it is above the tolerance (or not a number)."""
    import numpy as np

    difference = float(np.abs(np.asarray(ours) - np.asarray(theirs)).max())
    if not difference <= tolerance:
        raise SystemExit(f"{what}: results differ by {difference:.2e}, more than {tolerance:.0e}; not timed.")
    return difference
