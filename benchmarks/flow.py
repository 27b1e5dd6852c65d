"""The flow over transforms, 12 layers in 6 dimensions, against PyTorch on CPU; and how long it compiles.

    python benchmarks/flow.py --out docs/results/bench_flow.json

A batch of 1024 embeddings of length 32, one transform each; conditioners of widths (32, 32), a Gaussian base. The peer
is the eager list of steps that a user of normflows writes (`torch_flow.BlockFlow`); a lean form of it is informative.
All have the same weights and give the same densities, which is checked first. Both sides draw their noise; ours makes
a key for each image as well, as in training. Gradients are those of the mean log-density, of samples plus the mean
parameter, in all weights and in the embeddings. The batch is shared by the devices, on CPU one a core, as in training.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import common
import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax.sharding import NamedSharding, PartitionSpec
from torch_flow import BlockFlow, LeanFlow

from mollax.invariance.flow import TransformFlow, kept_coordinates
from mollax.keys import example_keys
from mollax.parallel import mean_over_devices

FLOORS = {"sample": 4.0, "log_prob": 3.0, "sample_gradient": 3.0, "log_prob_gradient": 3.0}
LIMIT = 1.2  # seconds that the scanned form may take to compile
LAYERS, DIMENSION, INIT_SCALE = 12, 6, 0.1


def workloads(flow: TransformFlow) -> dict[str, Callable[..., Any]]:
    """Functions of (seed, parameters, embeddings, transforms)."""

    def sample(seed: Any, variables: Any, embeddings: Any, params: Any) -> Any:
        keys = example_keys(jax.random.key(seed), 0, len(embeddings))
        return flow.apply(variables, keys, embeddings, n=1, method="sample")

    def log_prob(seed: Any, variables: Any, embeddings: Any, params: Any) -> Any:
        return flow.apply(variables, params, embeddings, method="log_prob")

    def sample_loss(variables: Any, embeddings: Any, seed: Any, params: Any) -> Any:
        drawn, density = sample(seed, variables, embeddings, params)
        return jnp.mean(density) + jnp.mean(drawn)

    def log_prob_loss(variables: Any, embeddings: Any, seed: Any, params: Any) -> Any:
        return jnp.mean(log_prob(seed, variables, embeddings, params))

    def gradient(loss: Callable[..., Any]) -> Callable[..., Any]:
        return lambda seed, variables, embeddings, params: jax.grad(loss, (0, 1))(variables, embeddings, seed, params)

    return {
        "sample": sample,
        "log_prob": log_prob,
        "sample_gradient": gradient(sample_loss),
        "log_prob_gradient": gradient(log_prob_loss),
    }


def shared(name: str, flow: TransformFlow) -> Callable[..., Any]:
    """A workload that the devices share, as in a run; gradients are of the whole batch's mean."""
    function, number = workloads(flow)[name], jax.device_count()

    def on_one_device(seed: Any, variables: Any, embeddings: Any, params: Any) -> Any:
        result = function(seed * number + jax.lax.axis_index("batch"), variables, embeddings, params)
        if name.endswith("gradient"):
            weights, embedded = result
            result = mean_over_devices(weights), embedded / number
        return seed + 1, result

    whole, cut = PartitionSpec(), PartitionSpec("batch")
    return jax.shard_map(
        on_one_device,
        mesh=jax.make_mesh((number,), ("batch",)),
        in_specs=(whole, whole, cut, cut),
        out_specs=(whole, (whole, cut) if name.endswith("gradient") else cut),
        check_vma=False,
    )


def placed(*arguments: Any) -> tuple[Any, ...]:
    """Seed, parameters, embeddings and transforms on the devices where `shared` wants them."""
    mesh = jax.make_mesh((jax.device_count(),), ("batch",))
    specs = [PartitionSpec(), PartitionSpec(), PartitionSpec("batch"), PartitionSpec("batch")]
    return tuple(
        jax.device_put(argument, NamedSharding(mesh, spec)) for argument, spec in zip(arguments, specs, strict=True)
    )


def caller(name: str, flow: TransformFlow, *arguments: Any) -> Callable[[], Any]:
    """Calls the compiled workload with seeds 0, 1, ..."""
    compiled = jax.jit(shared(name, flow))
    state = list(arguments)

    def call() -> Any:
        state[0], result = compiled(*state)
        return jax.block_until_ready(result)

    return call


def torch_callers(flow: Any, embeddings: torch.Tensor, params: torch.Tensor) -> dict[str, Callable[[], Any]]:
    """The same workloads of one of the peers."""
    leaf = embeddings.clone().requires_grad_()

    def backward(loss: torch.Tensor) -> Any:
        flow.zero_grad(set_to_none=True)
        leaf.grad = None
        loss.backward()
        return leaf.grad

    def sample_gradient() -> Any:
        drawn, density = flow.sample(leaf)
        return backward(density.mean() + drawn.mean())

    no_graph = torch.no_grad()
    return {
        "sample": no_graph(lambda: flow.sample(embeddings)),
        "log_prob": no_graph(lambda: flow.log_prob(params, embeddings)),
        "sample_gradient": sample_gradient,
        "log_prob_gradient": lambda: backward(flow.log_prob(params, leaf).mean()),
    }


def compile_seconds(flow: TransformFlow, *arguments: Any, repeats: int) -> dict[str, dict[str, float]]:
    """Seconds to trace and compile each workload for one device, nothing of it cached: the best of a few times."""
    best: dict[str, dict[str, float]] = {}
    for name in FLOORS:
        runs = []
        for _ in range(repeats):
            jax.clear_caches()
            began = time.perf_counter()
            lowered = jax.jit(workloads(flow)[name]).lower(*arguments)
            traced = time.perf_counter()
            lowered.compile()
            runs.append((time.perf_counter() - began, traced - began))
        total, tracing = min(runs)
        best[name] = {"compile_s": round(total, 3), "of_it_tracing_s": round(tracing, 3)}
    return best


def check(ours: dict[str, Any], peers: dict[str, Any], peer_flows: dict[str, Any], embeddings: torch.Tensor) -> dict:
    """Densities and gradients of given transforms, and densities that the samples of each side have by the other's."""
    density, (_, gradient) = ours["log_prob"]()[:, 0], ours["log_prob_gradient"]()
    drawn, log_density = ours["sample"]()
    drawn = torch.tensor(np.asarray(drawn[:, 0]))
    found = {}
    for name, flow in peer_flows.items():
        theirs = peers[name]["log_prob_gradient"]().numpy()
        with torch.no_grad():
            again = flow.log_prob(drawn, embeddings)
        found[name] = {
            "log_prob": common.agree(f"{name} log_prob", density, peers[name]["log_prob"](), 1e-3),
            "density_of_samples": common.agree(f"{name} samples", log_density[:, 0], again, 1e-2),
            # Of all together: where a ReLU's argument rounds to either side of 0, a row's gradient differs.
            "gradient": common.agree(
                f"{name} gradient", 0, np.linalg.norm(gradient - theirs) / np.linalg.norm(gradient), 2e-3
            ),
        }
    return found


def main() -> None:
    """Agreement, times, compile times."""
    options = common.arguments(__doc__)
    record = common.start(options)
    batch = 16 if options.tiny else 1024
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(batch, 32)).astype(np.float32)
    embedding_array = jnp.asarray(embeddings)
    loop = TransformFlow(DIMENSION, layers=LAYERS, widths=(32, 32), init_scale=INIT_SCALE, scan=False)
    keys = jax.random.split(jax.random.key(1), batch)
    variables = jax.jit(lambda: loop.init(jax.random.key(0), keys, embedding_array, n=1, method="sample"))()
    params = loop.apply(variables, keys, embedding_array, n=1, method="sample")[0]
    arguments = jnp.int32(0), variables, embedding_array, params
    forms = {"loop": loop, "scan": loop.clone(scan=True)}
    ours = {form: {name: caller(name, flow, *placed(*arguments)) for name in FLOORS} for form, flow in forms.items()}
    sizes = {"inner": loop.inner_bound, "bound": loop.bound}
    kept = kept_coordinates(LAYERS, DIMENSION)
    flows = {
        "torch": BlockFlow(variables["params"], kept, **sizes),
        "torch_lean": LeanFlow(variables["params"], kept, **sizes),
    }
    tensors = torch.tensor(embeddings), torch.tensor(np.asarray(params[:, 0]))
    peers = {name: torch_callers(flow, *tensors) for name, flow in flows.items()}
    record["largest_differences"] = {form: check(calls, peers, flows, tensors[0]) for form, calls in ours.items()}
    print(f"largest differences: {record['largest_differences']}")
    for name, floor in FLOORS.items():
        contenders = {who: calls[name] for who, calls in {**ours, **peers}.items()}
        seconds = common.measure(contenders, options)
        for form in forms:
            what = f"flow {name} {form} {batch}"
            goal = floor if form == "loop" else None
            record["results"].append(common.compare(what, seconds, ours=form, peer="torch", floor=goal))
    for form, flow in forms.items():
        for name, facts in compile_seconds(flow, *arguments, repeats=1 if options.tiny else 3).items():
            limit = LIMIT if form == "scan" else None
            verdict = "" if limit is None else f"  limit {limit} {'kept' if facts['compile_s'] <= limit else 'MISSED'}"
            print(f"compile {name} {form}: {facts}{verdict}", flush=True)
            record["results"].append({"what": f"compile {name} {form}", "limit_s": limit, **facts})
    common.finish(record, options)


if __name__ == "__main__":
    main()
