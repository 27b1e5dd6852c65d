"""Training steps (forward, backward, SGD with momentum and weight decay) against PyTorch on CPU with the same networks,
and what mollification adds to them.

    python benchmarks/train_step.py --out docs/results/benchmark_train_step.json
    python benchmarks/train_step.py --gpu --out docs/results/benchmark_gpu.json

Batches of 128 images of 32x32. Our step is the program's own, `mollax.step` under `mollax.parallel`, from 8-bit images,
without augmentation and mollification; the peer starts from standardized float images. Both start at the same
parameters, and their first losses must agree. The share of mollification is time(mollify_batch) / time(step), each
measured alone. With --gpu: images per second of PreActResNet-50 in bfloat16 on the accelerator, mollified and not.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from typing import Any

import common
import jax
import jax.numpy as jnp
import numpy as np
import optax

from mollax import keys, models, objectives, optim, parallel, step
from mollax.mollify import mollify_batch
from mollax.state import create_state

FLOORS = {"preact_resnet18": 0.95, "resnet8": 0.55}
LARGEST_SHARE = {"cpu": 0.02, "gpu": 0.01}
CLASSES, SIDE, LR, MOMENTUM, DECAY = 10, 32, 0.01, 0.9, 5e-4
MEAN, STD = np.array([0.49, 0.48, 0.45], np.float32), np.array([0.25, 0.24, 0.26], np.float32)


def random_batch(size: int) -> dict[str, np.ndarray]:
    """8-bit images and labels; speed does not depend on what they show."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (size, SIDE, SIDE, 3), np.uint8)
    return {"image": images, "label": rng.integers(0, CLASSES, size).astype(np.int32)}


class OurStep:
    """The program's training step on one resident batch; a call returns the losses of its steps.

    `preparation` goes to `objectives.classification_objective`: augment, mix, mollifier.
    """

    def __init__(
        self,
        name: str,
        batch: dict[str, np.ndarray],
        *,
        dtype: str = "float32",
        steps: int = 1,
        **preparation: Any,
    ) -> None:
        model = models.create_model(name, classes=CLASSES, dtype=dtype, axis_name=parallel.AXIS)
        objective = objectives.classification_objective(
            model,
            classes=CLASSES,
            mean=jnp.asarray(MEAN),
            std=jnp.asarray(STD),
            **preparation,
        )
        optimizer = optim.create_optimizer("sgd", optax.constant_schedule(LR), weight_decay=DECAY, momentum=MOMENTUM)
        initialize = jax.jit(functools.partial(model.init, train=False))
        variables = initialize(keys.stream_key(0, "init"), jnp.zeros((1, SIDE, SIDE, 3)))
        self.params = jax.device_get(variables["params"])
        self._state = parallel.replicate(create_state(variables, optimizer))
        self._data = parallel.replicate(batch)
        devices, size = jax.local_device_count(), len(batch["label"])
        index = np.arange(size, dtype=np.int32).reshape(devices, 1, size // devices)
        self._batches = {"index": np.repeat(index, steps, axis=1)}
        one = functools.partial(step.train_step, objective=objective, optimizer=optimizer, seed=0)
        self._run = parallel.parallelize(step.many_steps(one), donate=True)

    def __call__(self) -> np.ndarray:
        self._state, metrics = self._run(self._state, self._batches, self._data)
        return np.asarray(metrics["loss"])


def torch_step(name: str, batch: dict[str, np.ndarray], params: Any) -> Callable[[], float]:
    """The same step in torch from the same parameters; a call returns its loss."""
    import torch
    from torch_nets import TorchNet

    net = TorchNet(name, CLASSES)
    net.copy(params)
    standardized = ((batch["image"] / np.float32(255) - MEAN) / STD).transpose(0, 3, 1, 2)
    images = torch.from_numpy(np.ascontiguousarray(standardized, np.float32))
    labels = torch.from_numpy(batch["label"].astype(np.int64))
    optimizer = torch.optim.SGD(net.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=DECAY)

    def run() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return run


def mollification(size: int, steps: int = 1) -> Callable[[], object]:
    """`mollify_batch` alone, `steps` times in one dispatch (of its own result), with new draws each time."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(size, SIDE, SIDE, 3)).astype(np.float32)
    labels = np.eye(CLASSES, dtype=np.float32)[rng.integers(0, CLASSES, size)]

    def again(seed: jax.Array, device: jax.Array, images: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
        key, first = jax.random.key(seed), device * len(images)

        def once(number: int | jax.Array, batch: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            mollified = mollify_batch(jax.random.fold_in(key, number), *batch, first_index=first)
            return mollified.images, mollified.labels

        batch = images, labels
        return once(0, batch) if steps == 1 else jax.lax.fori_loop(0, steps, once, batch)

    return common.split_over_devices(again, images, labels)


def share(name: str, mollify_seconds: float, step_seconds: float, largest: float) -> dict[str, Any]:
    """time(mollify_batch) / time(step)."""
    found = mollify_seconds / step_seconds
    outcome = "reached" if found <= largest else "MISSED"
    print(f"mollify_batch / {name} step: {100 * found:.2f} %  goal {100 * largest:.0f} % {outcome}", flush=True)
    milliseconds = {"mollify_batch": 1e3 * mollify_seconds, "step": 1e3 * step_seconds}
    return {"what": f"mollify_batch / {name} step", "share": found, "goal": largest, "best_ms": milliseconds}


def on_cpu(record: dict[str, Any], options: argparse.Namespace) -> None:
    """Both networks against torch, and mollification's share of the small one's step."""
    batch = random_batch(8 if options.tiny else common.BATCH)
    for name, floor in FLOORS.items():
        ours = OurStep(name, batch)
        peer = torch_step(name, batch, ours.params)
        # Later losses compare gradients and updates; float32 sums in another order drift apart slowly.
        differences = [common.agree(f"loss {i} of {name}", ours(), peer(), 5e-3) for i in range(3)]
        contenders: dict[str, Callable[[], object]] = {"mollax": ours, "torch": peer}
        if name == "resnet8":
            contenders["mollify_batch"] = mollification(len(batch["label"]))
        seconds = common.measure(contenders, options)
        what = f"{name} step, batch {len(batch['label'])}"
        facts = {"loss_differences": differences}
        record["results"].append(common.compare(what, seconds, ours="mollax", peer="torch", floor=floor, **facts))
        if name == "resnet8":
            best = min(seconds["mollify_batch"]), min(seconds["mollax"])
            record["results"].append(share(name, *best, LARGEST_SHARE["cpu"]))


def on_accelerator(record: dict[str, Any], options: argparse.Namespace) -> None:
    """Images per second of PreActResNet-50 in bfloat16, and mollification's share of its step."""
    size, steps = (8, 1) if options.tiny else (common.BATCH, 20)
    batch = random_batch(size)
    contenders: dict[str, Callable[[], object]] = {
        "plain": OurStep("preact_resnet50", batch, dtype="bfloat16", steps=steps),
        "mollified": OurStep("preact_resnet50", batch, dtype="bfloat16", mollifier={}, steps=steps),
        "mollify_batch": mollification(size, steps),
    }
    seconds = common.measure(contenders, options)
    for name in ("plain", "mollified"):
        speed = size * steps / min(seconds[name])
        what = f"preact_resnet50 {name}, bfloat16, batch {size}"
        print(f"{what}: {speed:,.0f} images/s")
        record["results"].append({"what": what, "images_per_second": speed, "rounds_s": seconds[name]})
    best = min(seconds["mollify_batch"]), min(seconds["plain"])
    record["results"].append(share("preact_resnet50", *best, LARGEST_SHARE["gpu"]))


def main() -> None:
    """CPU against torch, or the accelerator alone."""
    options = common.arguments(__doc__, gpu=True)
    if options.gpu and jax.default_backend() == "cpu" and not options.tiny:
        raise SystemExit("--gpu needs an accelerator, and JAX finds none here; install mollax[cuda] or mollax[tpu].")
    record = common.start(options, peer=not options.gpu)
    (on_accelerator if options.gpu else on_cpu)(record, options)
    common.finish(record, options)


if __name__ == "__main__":
    main()
