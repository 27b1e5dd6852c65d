"""What the drift audit says of known changes of MNIST, beside the two-sample tests that people know.

    python benchmarks/drift_table.py --path=FOLDER --cifar=cifar10.zip --out=docs/results/mnist_drift.json \
        --figure=docs/figures/mnist_drift.png

Pixel space: a bank of training images, 2,000 others as held-out, 2,000 more, changed in a known way, as new ones, and a
Gaussian kernel whose scale leave-one-out chooses on the bank alone. Beside the changes: images of the test set (other
writers), and random re-splits of training images, whose p-values must be uniform. Then how stronger augmentation of
the bank (random rotations) widens what counts as in distribution, and which augmentation of the bank explains held-out
and new images how well. With `--features RUN...`, whose features `benchmarks/ood_features.py` keeps, the contribution
as an OOD score on CIFAR-10's features, beside KNN.

    python benchmarks/drift_table.py --only=transforms --path=FOLDER --out=docs/results/mnist_drift.json

measures the table of augmentations alone and leaves everything else in the file as it is.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import common
import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from drift_transforms import DRAWS, Images, flat, transforms, turns
from jaxtyping import Array
from matplotlib.figure import Figure

from mollax import corrupt, data, drift, evaluators, metrics
from mollax.evaluators import drift_score
from mollax.image import affine_warp, rotation
from mollax.mollify import blur
from mollax.ood.scores import knn

ANGLES = (10, 20, 30, 45, 60, 90)
STRENGTHS = (0, 15, 30, 60, 90, 180)
TRANSFORMS_BANK, TRANSFORMS_SIDE = 10_000, 1000


def changed(images: Images, function: Callable[[Array, Array], Array], *, seed: int = 1) -> Images:
    """The function of (key, image) on every image, on the 8-bit grid."""
    keys = jax.random.split(jax.random.key(seed), len(images))
    found = jax.jit(jax.vmap(function))(keys, jnp.asarray(images))
    return np.asarray(jnp.rint(found.clip(0, 1) * 255) / 255, np.float32)


def turned(degrees: float) -> Callable[[Array, Array], Array]:
    """A turn by a fixed angle."""
    matrix = jnp.asarray(rotation(math.radians(degrees)), jnp.float32)
    return lambda key, image: affine_warp(image, matrix)


def new_sets(fresh: Images, labels: np.ndarray, train: Images, test: Images, gray: Images) -> dict[str, Images]:
    """Sets by name; "none" has not changed."""
    sets = {"none (other training images)": fresh, "MNIST test": test}
    sets |= {f"rotated {angle} degrees": changed(fresh, turned(angle)) for angle in ANGLES}
    for sigma in (0.05, 0.2):
        noisy = changed(fresh, lambda key, image, s=sigma: image + s * jax.random.normal(key, image.shape))
        sets[f"noise {sigma}"] = noisy
    sets |= {f"blur {scale} px": changed(fresh, lambda key, image, s=scale: blur(image, s)) for scale in (0.5, 1.0)}
    sets |= {f"contrast x {share}": np.float32(share) * fresh for share in (0.9, 0.5)}
    sets["fog of severity 3"] = changed(fresh, lambda key, image: corrupt.corrupt(key, image, "fog", 3))
    sets["blank"] = np.zeros_like(fresh)
    sets |= {f"only {digit}s": fresh[labels == digit] for digit in (1, 8)}
    sets["40 images, again and again"] = np.repeat(fresh[:40], len(fresh) // 40, axis=0)
    sets["copies of bank images"] = train[: len(fresh)]
    sets["CIFAR-10 in gray"] = gray
    return sets


def row(bank: np.ndarray, held: np.ndarray, new: np.ndarray, kernel: drift.Gaussian) -> dict[str, Any]:
    """All numbers of one set."""
    found = drift.audit(bank, held, new, kernel)
    assert found.mmd is not None  # baselines are asked for
    assert found.kolmogorov_smirnov is not None
    assert found.classifier is not None
    limit = np.quantile(found.held_contributions, 0.95)
    parts = {"excess": found.excess, "companion": found.companion}
    numbers = {
        name: {key: getattr(part, key) for key in ("value", "low", "high", "p_value")} for name, part in parts.items()
    }
    return {
        "images": len(new),
        **numbers,
        "flagged": float((found.new_contributions > limit).mean()),
        "copies": int(found.copied.sum()),
        "detectable": found.detectable,
        "mmd_p": found.mmd.p_value,
        "ks_p": found.kolmogorov_smirnov.p_value,
        "classifier_accuracy": found.classifier.accuracy,
        "classifier_p": found.classifier.p_value,
    }


def resplits(
    contributions: np.ndarray, points: np.ndarray, kernel: drift.Gaussian, *, excesses: int, companions: int
) -> dict[str, Any]:
    """p-values of random halves of unchanged images against the uniform distribution."""
    rng = np.random.default_rng(0)
    half = len(points) // 2
    p: dict[str, list[float]] = {"excess": [], "companion": []}
    for number in range(excesses):
        order = rng.permutation(len(points))
        a, b = order[:half], order[half:]
        p["excess"].append(
            drift.excess(-contributions[a], -contributions[b], seed=number, resamples=1, permutations=499).p_value
        )
        if number < companions:
            a, b = order[:400], order[400:800]
            found = drift.entropy_aware(points[a], points[b], kernel, seed=number, resamples=1, permutations=199)
            p["companion"].append(found.p_value)
    return {
        name: {
            "splits": len(values),
            "below_5_percent": float(np.mean(np.array(values) <= 0.05)),
            "uniform_p": float(scipy.stats.kstest(values, "uniform").pvalue),
        }
        for name, values in p.items()
        if values
    }


def widening(bank: Images, held: Images, fresh: Images, sigma: float) -> dict[str, Any]:
    """Share of turned images beyond 95 % of held-out ones, by the largest turn that augments the bank."""
    shape = bank.shape[1:]
    rows = {}
    for strength in STRENGTHS:
        kernel = drift.Augmented(turns(strength, shape), jax.random.key(0), sigma, draws=DRAWS if strength else 1)
        known = np.asarray(drift.log_density(flat(held), flat(bank), kernel))
        limit = np.quantile(known, 0.05)
        shares = {"held_out": 0.05, "held_cross_entropy": -float(known.mean())}
        for angle in (0, *ANGLES):
            logs = np.asarray(drift.log_density(flat(changed(fresh, turned(angle))), flat(bank), kernel))
            shares[str(angle)] = float((logs < limit).mean())
        rows[str(strength)] = shares
    return rows


def as_scores(workdir: Path) -> dict[str, dict[str, float]]:
    """AUROC (%) of the contribution and of KNN on a run's cached features, set by set."""
    with np.load(workdir / "features.npz") as file:
        arrays = {name: file[name] for name in file.files}
    train, labels = arrays["train"], arrays["labels train"]
    nothing = np.zeros((len(train), int(labels.max()) + 1), np.float32)
    states = {
        "drift": (drift_score, drift_score.fit(train, nothing, labels, None)),
        "knn, k = 50, normalized": (knn, knn.fit(train, nothing, labels, None)),
        "knn, k = 1, as they are": (knn, knn.fit(train, nothing, labels, None, k=1, normalize=False)),
    }
    found: dict[str, dict[str, float]] = {}
    for name, (module, state) in states.items():
        scored = {
            key: np.asarray(module.score(state, rows, np.zeros((len(rows), 2), np.float32)))
            for key, rows in arrays.items()
            if key == "test" or key.startswith("set ")
        }
        found[name] = {
            key[4:]: 100 * metrics.auroc(scored["test"], values) for key, values in scored.items() if key != "test"
        }
    return found


def figure(curve: dict[str, Any], wide: dict[str, Any]) -> Figure:
    """Cross-entropies against sigma, and flagged shares against the turn for every strength."""
    drawn = Figure(figsize=(10, 4), layout="constrained")
    left, right = drawn.subplots(1, 2)
    for name, values in curve["sets"].items():
        left.plot(curve["sigmas"], values, marker=".", label=name)
    left.axvline(curve["chosen"], color="0.6", linestyle=":")
    left.set(
        xscale="log",
        xlabel="sigma of the kernel",
        ylabel="cross-entropy, nats a pixel",
        title="Strength of the augmentation",
    )
    left.legend(fontsize=8)
    for strength, shares in wide.items():
        right.plot(
            (0, *ANGLES), [100 * shares[str(angle)] for angle in (0, *ANGLES)], marker=".", label=f"±{strength}°"
        )
    right.axhline(5, color="0.6", linestyle=":")
    right.set(xlabel="turn of the new images, degrees", ylabel="flagged, %", title="Rotations that augment the bank")
    right.legend(fontsize=8)
    return drawn


class Material(NamedTuple):
    """MNIST in [0, 1]: training images as bank, held-out and fresh ones with their labels, and all test images."""

    train: Images
    held: Images
    fresh: Images
    labels: np.ndarray
    test: Images


def load(path: Path, *, side: int, bank: int) -> Material:
    """All training images in random order: held-out, fresh and bank ones; held-out ones without copies of the bank."""
    dataset = data.load("idx", path=path, validation=0.1)
    pixels = np.concatenate(
        [evaluators.stack(split, range(len(split))) for split in (dataset.train, dataset.validation)]
    )
    digits = np.concatenate([dataset.train.labels, dataset.validation.labels])
    order = np.random.default_rng(0).permutation(len(pixels))
    images, digits = pixels[order].astype(np.float32) / 255, digits[order]
    held, train = images[:side], images[2 * side :][:bank]
    held = held[~drift.copies(flat(held), flat(train))]  # MNIST has a few pairs
    test = evaluators.stack(dataset.test, range(len(dataset.test))).astype(np.float32) / 255
    return Material(train, held, images[side : 2 * side], digits[side : 2 * side], test)


def evenly(images: Images, count: int) -> Images:
    """`count` images of a set whose order means something, or all."""
    return images[np.linspace(0, len(images) - 1, min(count, len(images))).astype(int)]


def of_transforms(material: Material, began: float) -> dict[str, Any]:
    """The block "transforms", on a part of the images, with what it was measured by."""
    bank, side = material.train[:TRANSFORMS_BANK], TRANSFORMS_SIDE
    found = transforms(bank, material.held[:side], evenly(material.test, side))
    return {"command": command(), "processor": common.processor(), **found, "minutes": minutes(began)}


def command() -> str:
    """What was called."""
    return " ".join(["python", *sys.argv])


def minutes(began: float) -> float:
    """Since a value of `time.perf_counter`."""
    return (time.perf_counter() - began) / 60


def write(path: Path, block: dict[str, Any]) -> None:
    """The record as JSON."""
    path.write_text(json.dumps(block, indent=1) + "\n", encoding="utf-8")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", type=Path, required=True, help="MNIST's folder")
    parser.add_argument("--cifar", type=Path, help="folder or zip of CIFAR-10's images")
    parser.add_argument("--features", type=Path, nargs="*", default=(), help="runs with features.npz")
    parser.add_argument("--side", type=int, default=2000, help="images of held-out and of new")
    parser.add_argument("--bank", type=int, default=50_000)
    parser.add_argument("--only", choices=("transforms",), help="measure this alone, into the file that is there")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    if not options.only and not options.cifar:
        parser.error("give --cifar; only --only=transforms does without")
    return options


def main() -> None:
    options = parse()
    began = time.perf_counter()
    material = load(options.path, side=options.side, bank=options.bank)
    if options.only:
        known = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {}
        write(options.out, known | {"transforms": of_transforms(material, began)})
        return
    write(options.out, everything(material, options, began))


def everything(material: Material, options: argparse.Namespace, began: float) -> dict[str, Any]:
    """All tables; draws the figure where it is asked for."""
    train, held, fresh, labels, _ = material
    side, test = options.side, evenly(material.test, options.side)
    foreign = data.load_foreign("folder", path=options.cifar, shape=(28, 28, 1), split="test", limit=side)
    gray = evaluators.stack(foreign.split, range(side)).astype(np.float32) / 255
    bank = flat(train)
    kernel = drift.Gaussian(drift.choose_theta(drift.Gaussian, bank).theta)
    sets = new_sets(fresh, labels, train, test, gray)
    rows = {}
    for name, new in sets.items():
        rows[name] = row(bank, flat(held), flat(new), kernel)
        excess, companion = rows[name]["excess"], rows[name]["companion"]
        parts = ", ".join(f"{part['value']:+.1f} (p {part['p_value']:.3f})" for part in (excess, companion))
        print(f"{name}: {parts}", flush=True)
    both = np.concatenate([flat(held), flat(fresh)])
    contributions = -np.asarray(drift.log_density(both, bank, kernel), np.float64)
    sigmas = np.geomspace(kernel.sigma / 4, kernel.sigma * 8, 11)
    shown = ("MNIST test", "rotated 30 degrees", "noise 0.2", "blur 1.0 px", "CIFAR-10 in gray")
    curves = {"held out": flat(held), **{name: flat(sets[name]) for name in shown}}

    def curve_of(points: np.ndarray) -> np.ndarray:
        return drift.theta_curve(drift.Gaussian, sigmas, bank, points=points, sample=1000)

    curve = {
        "sigmas": sigmas.tolist(),
        "chosen": kernel.sigma,
        "sets": {name: (-curve_of(points) / bank.shape[1]).tolist() for name, points in curves.items()},
    }
    wide = widening(train[:10_000], held, fresh[:1000], kernel.sigma)
    block = {
        "command": command(),
        "processor": common.processor(),
        "bank": len(bank),
        "sigma": kernel.sigma,
        "rows": rows,
        "resplits": resplits(contributions, both, kernel, excesses=1000, companions=200 if side >= 400 else 0),
        "curve": curve,
        "widening": wide,
        "scores": {str(number): as_scores(workdir) for number, workdir in enumerate(options.features)},
        "minutes": minutes(began),
    }
    if options.figure:
        figure(curve, wide).savefig(options.figure, dpi=110)
    return block | {"transforms": of_transforms(material, time.perf_counter())}


if __name__ == "__main__":
    main()
