"""The log-density of the drift audit on CPU, against chunked PyTorch and scikit-learn, and what it costs in memory.

    python benchmarks/drift.py --out docs/results/bench_drift.json

Gaussian kernel, 10,000 queries, a bank of 50,000 x 3,072, float32, in memory on the host. Peers are timed on fewer
queries, PyTorch on 1,000 and scikit-learn's KernelDensity on 20, and scaled by their number: both treat queries one
after the other or in chunks. scikit-learn is timed once, not in rounds. "matmul" is one jnp product of 2,000 queries
with the bank, scaled in the same way: what the hardware and XLA make of the products alone. Errors of all three are
those of the same 20 queries against differences in float64. Memory is the peak of a fresh process less what it held
before the call. The bank of 1,000,000 x 512 is a memmap in a temporary file (2 GB).
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import common
import jax
import jax.numpy as jnp
import numpy as np
import torch
from scipy.special import logsumexp
from sklearn.neighbors import KernelDensity

from mollax.drift.density import log_density
from mollax.drift.kernels import Gaussian

SIGMA = 0.25
CHUNK = 256
FLOORS = {"torch": 0.75, "scikit-learn": 100.0, "matmul": 0.5}
MEGABYTES = 512.0
# Nats of thousands that float32 may differ by; torch takes |q|^2 - 2 q b + |b|^2 as it comes.
TOLERANCE = 0.05


class Sizes(NamedTuple):
    """Numbers of points, and of the queries that are timed of each peer."""

    queries: int = 10_000
    bank: int = 50_000
    width: int = 3072
    torch: int = 1000
    sklearn: int = 20
    matmul: int = 2000
    long_bank: int = 1_000_000
    long_width: int = 512
    long_queries: int = 1000


TINY = Sizes(300, 1000, 48, 100, 10, 100, 5000, 16, 50)


def points(count: int, width: int, seed: int) -> np.ndarray:
    """Values in [0, 1], near a few patterns."""
    rng = np.random.default_rng(seed)
    patterns = np.random.default_rng(0).random((100, width), np.float32)
    found = rng.random((count, width), np.float32)
    for low in range(0, count, 1000):
        part = found[low : low + 1000]
        part *= 0.5
        part += 0.5 * patterns[rng.integers(0, 100, len(part))]
    return found


def by_torch(queries: torch.Tensor, bank: torch.Tensor) -> np.ndarray:
    """A chunk of queries at a time against the whole bank."""
    halves = bank.square().sum(dim=1) / 2
    found = []
    for chunk in queries.split(CHUNK):
        logs = chunk @ bank.T
        logs.sub_(halves).sub_(chunk.square().sum(dim=1, keepdim=True) / 2).div_(SIGMA**2)
        found.append(torch.logsumexp(logs, dim=1))
    constant = np.log(len(bank)) + bank.shape[1] / 2 * np.log(2 * np.pi * SIGMA**2)
    return torch.cat(found).numpy() - constant


def by_numpy(queries: np.ndarray, bank: np.ndarray) -> np.ndarray:
    """The reference: differences in float64, one query at a time."""
    wide = bank.astype(np.float64)
    constant = np.log(len(bank)) + bank.shape[1] / 2 * np.log(2 * np.pi * SIGMA**2)
    return np.array([logsumexp(-np.square(wide - q).sum(1) / (2 * SIGMA**2)) for q in queries]) - constant


def scaled(seconds: common.Seconds, name: str, factor: float) -> None:
    """Times of a contender as if it had been given all queries."""
    seconds[name] = [factor * value for value in seconds[name]]


def speed(sizes: Sizes, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Agreement with both peers, then a line for each of them and for the products alone."""
    queries, bank = points(sizes.queries, sizes.width, 1), points(sizes.bank, sizes.width, 2)
    kernel = Gaussian(SIGMA)
    tensors = torch.from_numpy(queries[: sizes.torch]), torch.from_numpy(bank)
    tree = KernelDensity(bandwidth=SIGMA, algorithm="kd_tree").fit(bank)
    device = jax.device_put((queries[: sizes.matmul], bank))
    product = jax.jit(lambda a, b: jnp.matmul(a, b.T, precision=jax.lax.Precision.HIGHEST))
    mine = np.asarray(log_density(queries[: sizes.torch], bank, kernel))
    few = slice(0, sizes.sklearn)
    exact = by_numpy(queries[few], bank)
    theirs = by_torch(*tensors)
    apart = common.agree("torch", mine, theirs, TOLERANCE)
    # A minute for 20 queries: once, for its time and for its error.
    began = time.perf_counter()
    by_tree = tree.score_samples(queries[few])
    once = time.perf_counter() - began
    errors = {
        "mollax": common.agree("float64", mine[few], exact, TOLERANCE),
        "torch": common.agree("torch and float64", theirs[few], exact, TOLERANCE),
        # Bounds in its tree cancel in so many dimensions: it is timed for what it is, not for being right.
        "scikit-learn": float(np.abs(by_tree - exact).max()),
    }
    print(f"largest error of {len(exact)} queries against float64, nats: {errors}")
    print(f"largest difference of mollax and torch over {len(mine)} queries, nats: {apart}")
    seconds = common.measure(
        {
            "mollax": lambda: np.asarray(log_density(queries, bank, kernel)),
            "torch": lambda: by_torch(*tensors),
            "matmul": lambda: jax.block_until_ready(product(*device)),
        },
        options,
    )
    seconds["scikit-learn"] = [once]
    timed = {"torch": sizes.torch, "scikit-learn": sizes.sklearn, "matmul": sizes.matmul}
    for name, count in timed.items():
        scaled(seconds, name, sizes.queries / count)
    work = 2 * sizes.queries * sizes.bank * sizes.width
    fastest = {"mollax": [min(seconds["mollax"])]}
    return [
        common.compare(
            f"log_density against {peer}",
            (fastest if len(seconds[peer]) == 1 else {"mollax": seconds["mollax"]}) | {peer: seconds[peer]},
            ours="mollax",
            peer=peer,
            floor=floor,
            timed_queries_of_peer=timed[peer],
            gigaflops=round(work / min(seconds["mollax"]) / 1e9, 1),
            largest_error_in_nats=errors["mollax"],
            largest_error_of_peer_in_nats=errors.get(peer),
            queries_of_errors=len(exact),
            **({"largest_difference_from_peer_in_nats": apart} if peer == "torch" else {}),
        )
        for peer, floor in FLOORS.items()
    ]


def peak_memory() -> float:
    """The most memory that this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def alone(sizes: Sizes) -> None:
    """In a process of its own: the peak above inputs and libraries, printed as JSON."""
    queries, bank = points(sizes.queries, sizes.width, 1), points(sizes.bank, sizes.width, 2)
    jax.block_until_ready(jnp.zeros(8) + 1)
    before = peak_memory()
    np.asarray(log_density(queries, bank, Gaussian(SIGMA)))
    print(json.dumps({"megabytes": peak_memory() - before}))


def memory(options: argparse.Namespace) -> dict[str, Any]:
    """The peak above inputs, of a fresh process."""
    command = [sys.executable, __file__, "--alone", *(["--tiny"] if options.tiny else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])["megabytes"]
    print(f"memory above inputs: {found:.0f} MB, at most {MEGABYTES:.0f} {'kept' if found <= MEGABYTES else 'MISSED'}")
    return {"what": "peak memory above inputs", "megabytes": round(found, 1), "ceiling": MEGABYTES}


def long_bank(sizes: Sizes) -> dict[str, Any]:
    """A bank that stays in its file: seconds, and the memory that it took beside the file's pages."""
    queries = points(sizes.long_queries, sizes.long_width, 1)
    with tempfile.TemporaryDirectory() as folder:
        shape = (sizes.long_bank, sizes.long_width)
        bank = np.lib.format.open_memmap(Path(folder) / "bank.npy", mode="w+", dtype=np.float32, shape=shape)
        for number, low in enumerate(range(0, len(bank), 50_000)):
            part = bank[low : low + 50_000]
            part[:] = points(len(part), sizes.long_width, number + 2)
        bank.flush()
        began = time.perf_counter()
        logs = np.asarray(log_density(queries, bank, Gaussian(SIGMA)))
        seconds = time.perf_counter() - began
    if not np.isfinite(logs).all():
        raise SystemExit("the long bank gave numbers that are not finite.")
    print(f"{len(queries)} queries, memmap of {shape[0]:,} x {shape[1]}: {seconds:.2f} s")
    return {"what": "memmap", "bank": shape, "queries": len(queries), "seconds": round(seconds, 2)}


def main() -> None:
    """Memory first, as long as the machine's is free; then the long bank and the race."""

    def more(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--alone", action="store_true", help="measure this process's memory; for the benchmark")

    options = common.arguments(__doc__, more=more)
    sizes = TINY if options.tiny else Sizes()
    if options.alone:
        alone(sizes)
        return
    record = common.start(options, packages=("scikit-learn",))
    record["sizes"] = {**sizes._asdict(), "sigma": SIGMA, "torch_chunk": CHUNK}
    record["results"] += [memory(options), long_bank(sizes), *speed(sizes, options)]
    common.finish(record, options)


if __name__ == "__main__":
    main()
