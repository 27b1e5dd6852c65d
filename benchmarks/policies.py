"""Classic augmentation against torchvision, kornia and dm_pix on CPU, and what it adds to a training step.

    python benchmarks/policies.py --cifar cifar10_jpeg.zip --tiny-imagenet tiny-imagenet-200.zip \\
        --out docs/results/benchmark_policies.json

Batches of 128 real images, new draws for every image and call. Ours is compiled and shared by one device a core, from
8-bit images to floats. Each peer works as its users run it, in this process: torchvision's transforms take image by
image, as 8-bit tensors or as PIL images (8-bit results); MixUp and CutMix of torchvision, and kornia, take a batch of
float tensors; dm_pix, mapped and compiled, is shared by the devices like ours. kornia's AutoAugment, RandAugment and
TrivialAugment draw one choice for the whole batch (magnitudes for each image), where all others draw for each image:
they are shown, but the ratio is to the fastest of the others.

The cost in a step is that of ResNet-8's at 32 pixels, program and batch as in train_step.py: time of a step with the
policy over one without, in turns, and time of the policy alone over that of a step.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from typing import Any

import common
import dm_pix
import jax
import jax.numpy as jnp
import kornia.augmentation as kornia
import numpy as np
import peers
import samples
import torch
from kornia.augmentation import auto as kornia_auto
from PIL import Image
from torch import nn
from train_step import CLASSES, OurStep, random_batch

from mollax import augment, keys

Call = Callable[[], object]
DEGREES = 15
POLICIES: dict[str, Callable[..., jax.Array]] = {
    "flip, crop": functools.partial(augment.flip_crop_rotate, degrees=0),
    "flip, crop, rotate": augment.flip_crop_rotate,
    "RandAugment": augment.rand_augment,
    "AutoAugment CIFAR-10": functools.partial(augment.auto_augment, policy="cifar10"),
    "AutoAugment ImageNet": augment.auto_augment,
    "TrivialAugmentWide": augment.trivial_augment,
    "AugMix": augment.augmix,
}
MIXES: dict[str, Callable[..., tuple[jax.Array, jax.Array]]] = {"MixUp": augment.mixup, "CutMix": augment.cutmix}
ONE_CHOICE = "kornia, one choice a batch"


def by_image(function: Callable[..., jax.Array], images: np.ndarray) -> Call:
    """A function of (key, image) over a batch, as `objectives.prepare` applies it."""

    def run(seed: jax.Array, device: jax.Array, images: jax.Array) -> jax.Array:
        example_keys = keys.example_keys(jax.random.key(seed), device * len(images), len(images))
        return jax.vmap(function)(example_keys, images.astype(jnp.float32) / 255)

    return common.split_over_devices(run, images)


def by_batch(function: Callable[..., tuple[jax.Array, jax.Array]], images: np.ndarray, labels: np.ndarray) -> Call:
    """MixUp or CutMix of a batch, as `objectives.prepare` applies it: partners are neighbours on the same device."""

    def run(seed: jax.Array, device: jax.Array, images: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
        key, first = jax.random.key(seed), device * len(images)
        partners = augment.neighbors(key, len(images), first_index=first)
        inputs, targets = images.astype(jnp.float32) / 255, jax.nn.one_hot(labels, CLASSES)
        return function(key, inputs, targets, partners=partners, first_index=first)

    return common.split_over_devices(run, images, labels)


def torchvision_of(name: str, side: int) -> Callable[[Any], Any]:
    """The transform of one image, with our settings."""
    v2 = peers.torchvision_transforms()
    flip_crop = [v2.RandomCrop(side, padding=side // 8), v2.RandomHorizontalFlip()]
    bilinear = v2.InterpolationMode.BILINEAR
    made: dict[str, Callable[[], Any]] = {
        "flip, crop": lambda: v2.Compose(flip_crop),
        "flip, crop, rotate": lambda: v2.Compose([*flip_crop, v2.RandomRotation(DEGREES, interpolation=bilinear)]),
        "RandAugment": v2.RandAugment,
        "AutoAugment CIFAR-10": lambda: v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10),
        "AutoAugment ImageNet": v2.AutoAugment,
        "TrivialAugmentWide": v2.TrivialAugmentWide,
        "AugMix": v2.AugMix,
    }
    return made[name]()


def one_thread(call: Call) -> Call:
    """A contender that torch gives one thread, as in a worker of a DataLoader: two only wait for each other."""

    def run() -> object:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return call()
        finally:
            torch.set_num_threads(threads)

    return run


def kornia_of(name: str, side: int) -> tuple[str, nn.Module] | None:
    """The module for a batch of float tensors, under the name of what it draws, if there is one."""
    flip_crop = [kornia.RandomCrop((side, side), padding=side // 8), kornia.RandomHorizontalFlip()]
    made: dict[str, tuple[str, Callable[[], nn.Module]]] = {
        "flip, crop": ("kornia", lambda: nn.Sequential(*flip_crop)),
        "flip, crop, rotate": ("kornia", lambda: nn.Sequential(*flip_crop, kornia.RandomRotation(float(DEGREES), p=1))),
        "RandAugment": (ONE_CHOICE, lambda: kornia_auto.RandAugment(n=2, m=9)),
        "AutoAugment CIFAR-10": (ONE_CHOICE, lambda: kornia_auto.AutoAugment("cifar10")),
        "AutoAugment ImageNet": (ONE_CHOICE, lambda: kornia_auto.AutoAugment("imagenet")),
        "TrivialAugmentWide": (ONE_CHOICE, kornia_auto.TrivialAugment),
    }
    if name not in made:
        return None
    column, module = made[name]
    return column, module()


def dm_pix_of(name: str, side: int) -> Callable[[jax.Array, jax.Array], jax.Array] | None:
    """What dm_pix's random functions give of a policy: they have flips and crops, and rotations by a given angle."""
    if not name.startswith("flip"):
        return None

    def flip_crop(key: jax.Array, image: jax.Array) -> jax.Array:
        of_flip, of_crop = jax.random.split(key)
        padded = jnp.pad(image, ((side // 8, side // 8), (side // 8, side // 8), (0, 0)))
        return dm_pix.random_crop(of_crop, dm_pix.random_flip_left_right(of_flip, padded), image.shape)

    def flip_crop_rotate(key: jax.Array, image: jax.Array) -> jax.Array:
        of_rest, of_angle = jax.random.split(key)
        angle: Any = jnp.deg2rad(jax.random.uniform(of_angle, minval=-DEGREES, maxval=DEGREES))
        return dm_pix.rotate(flip_crop(of_rest, image), angle, order=1, mode="constant")

    return flip_crop_rotate if name.endswith("rotate") else flip_crop


def contenders(name: str, images: np.ndarray) -> dict[str, Call]:
    """Ours and all peers of a policy for single images; a call does the batch once."""
    side = images.shape[1]
    tensors = [torch.from_numpy(image.transpose(2, 0, 1).copy()) for image in images]
    pictures = [Image.fromarray(image) for image in images]
    floats = torch.stack(tensors) / 255
    transform = torchvision_of(name, side)
    calls: dict[str, Call] = {
        "mollax": by_image(POLICIES[name], images),
        "torchvision, tensors": one_thread(lambda: [transform(tensor) for tensor in tensors]),
        "torchvision, PIL": one_thread(lambda: [transform(picture) for picture in pictures]),
    }
    if (batched := kornia_of(name, side)) is not None:
        column, module = batched
        calls[column] = lambda: module(floats)
    if (function := dm_pix_of(name, side)) is not None:
        calls["dm_pix"] = by_image(function, images)
    return calls


def mix_contenders(name: str, images: np.ndarray) -> dict[str, Call]:
    """The same of MixUp and CutMix."""
    labels = (np.arange(len(images)) % CLASSES).astype(np.int32)
    floats = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()) / 255
    targets = torch.from_numpy(labels.astype(np.int64))
    v2 = peers.torchvision_transforms()
    theirs = (v2.MixUp if name == "MixUp" else v2.CutMix)(num_classes=CLASSES)
    kinds: list[Any] = ["input", "class"]
    mix: nn.Module = kornia.RandomMixUpV2(data_keys=kinds)
    if name == "CutMix":
        mix = kornia.RandomCutMixV2(data_keys=kinds, use_correct_lambda=True)
    return {
        "mollax": by_batch(MIXES[name], images, labels),
        "torchvision, tensors": lambda: theirs(floats, targets),
        "kornia": lambda: mix(floats, targets),
    }


def throughput(name: str, images: np.ndarray, options: argparse.Namespace) -> dict[str, Any]:
    """Images a second of everybody; the ratio is to the fastest peer that draws as we do."""
    calls = mix_contenders(name, images) if name in MIXES else contenders(name, images)
    with torch.inference_mode():
        seconds = common.measure(calls, options)
    alike = [column for column in calls if column not in ("mollax", ONE_CHOICE)]
    peer = min(alike, key=lambda column: min(seconds[column]))
    what = f"{name} {len(images)}x{images.shape[1]}x{images.shape[2]}x3"
    speed = {column: round(len(images) / min(rounds)) for column, rounds in seconds.items()}
    result = common.compare(what, seconds, ours="mollax", peer=peer)
    return result | {"policy": name, "side": images.shape[1], "images_per_second": speed}


def in_a_step(options: argparse.Namespace) -> list[dict[str, Any]]:
    """What each policy adds to a step of ResNet-8, which has none of them by itself."""
    batch = random_batch(16 if options.tiny else common.BATCH)
    steps: dict[str, Call] = {"none": OurStep("resnet8", batch)}
    steps |= {name: OurStep("resnet8", batch, augment=policy) for name, policy in POLICIES.items()}
    steps |= {name: OurStep("resnet8", batch, mix=mix) for name, mix in MIXES.items()}
    alone = {name: by_image(policy, batch["image"]) for name, policy in POLICIES.items()}
    alone |= {name: by_batch(mix, batch["image"], batch["label"]) for name, mix in MIXES.items()}
    step_best = {name: min(rounds) for name, rounds in common.measure(steps, options).items()}
    results = []
    for name, rounds in common.measure(alone, options).items():
        own, step, plain = min(rounds), step_best[name], step_best["none"]
        results.append(
            {
                "what": f"{name} in a resnet8 step, batch {len(batch['label'])}",
                "policy": name,
                "best_ms": {"policy": round(1e3 * own, 4), "step": 1e3 * step, "step without": 1e3 * plain},
                "share": round(own / plain, 4),
                "added": round(step / plain - 1, 4),
            }
        )
        print(
            f"{results[-1]['what']}: alone {100 * own / plain:.2f} %, added {100 * (step / plain - 1):+.2f} %",
            flush=True,
        )
    return results


def throughput_table(results: list[dict[str, Any]]) -> str:
    """Images a second as a table."""
    columns = list(dict.fromkeys(column for result in results for column in result["images_per_second"]))
    rows = []
    for result in results:
        speed = result["images_per_second"]
        cells = [f"{speed[column]:,}" if column in speed else "-" for column in columns]
        rows.append([result["policy"], str(result["side"]), *cells, f"{result['ratio']:.1f}"])
    return common.table(["images/s", "side", *columns, "ratio"], rows)


def step_table(results: list[dict[str, Any]]) -> str:
    """Costs in a step as a table."""
    rows = []
    for result in results:
        best = result["best_ms"]
        times = f"{best['policy']:.2f}", f"{best['step without']:.1f}", f"{best['step']:.1f}"
        shares = f"{100 * result['share']:.1f} %", f"{100 * result['added']:+.1f} %"
        rows.append([result["policy"], *times, *shares])
    heads = ["policy", "alone, ms", "step without it, ms", "with it, ms", "alone / step", "added to the step"]
    return common.table(heads, rows)


def main() -> None:
    """Throughput for every side that there are images of, then the cost in a step."""
    options = common.arguments(__doc__, more=samples.add_arguments)
    zips = samples.paths(options)
    record = common.start(options, packages=("torchvision", "kornia", "dm_pix", "pillow"))
    measured = []
    for side, path in zips.items():
        images = samples.read(path, side, 16 if options.tiny else common.BATCH)
        measured += [throughput(name, images, options) for name in (*POLICIES, *MIXES)]
    costs = in_a_step(options)
    record["results"] = measured + costs
    record["tables"] = [throughput_table(measured), step_table(costs)]
    print("", *record["tables"], sep="\n\n")
    common.finish(record, options)


if __name__ == "__main__":
    main()
