"""What the drift audit says of known changes of MNIST, beside the two-sample tests that people know.

    python benchmarks/drift_table.py --path=FOLDER --cifar=cifar10.zip --out=docs/results/mnist_drift.json \
        --figure=docs/figures/mnist_drift.png

Pixel space: a bank of training images, 2,000 others as held-out, 2,000 more, changed in a known way, as new ones, and a
Gaussian kernel whose scale leave-one-out chooses on the bank alone. Beside the changes: images of the test set (other
writers), and random re-splits of training images, whose p-values must be uniform. Then how stronger augmentation of
the bank (random rotations) widens what counts as in distribution. With `--features RUN...`, whose features
`benchmarks/ood_features.py` keeps, the contribution as an OOD score on CIFAR-10's features, beside KNN.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from jaxtyping import Array, Float32
from matplotlib.figure import Figure

from mollax import corrupt, data, drift, evaluators, metrics
from mollax.evaluators import drift_score
from mollax.image import affine_warp, rotation
from mollax.mollify import blur
from mollax.ood.scores import knn

ANGLES = (10, 20, 30, 45, 60, 90)
STRENGTHS = (0, 15, 30, 60, 90, 180)
Images = Float32[np.ndarray, "n h w c"]


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


def flat(images: Images) -> Float32[np.ndarray, "n d"]:
    """Points."""
    return images.reshape(len(images), -1)


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

    def draw(strength: float) -> Callable[[Array, Array], Array]:
        def turn(key: Array, points: Array) -> Array:
            angle = math.radians(strength) * jax.random.uniform(key, (), minval=-1.0, maxval=1.0)
            return affine_warp(points.reshape(shape), rotation(angle)).reshape(points.shape)

        return turn

    rows = {}
    for strength in STRENGTHS:
        kernel = drift.Augmented(draw(strength), jax.random.key(0), sigma, draws=16 if strength else 1)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", type=Path, required=True, help="MNIST's folder")
    parser.add_argument("--cifar", type=Path, required=True, help="folder or zip of CIFAR-10's images")
    parser.add_argument("--features", type=Path, nargs="*", default=(), help="runs with features.npz")
    parser.add_argument("--side", type=int, default=2000, help="images of held-out and of new")
    parser.add_argument("--bank", type=int, default=50_000)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    side = options.side
    began = time.perf_counter()
    dataset = data.load("idx", path=options.path, validation=0.1)
    pixels = np.concatenate(
        [evaluators.stack(split, range(len(split))) for split in (dataset.train, dataset.validation)]
    )
    digits = np.concatenate([dataset.train.labels, dataset.validation.labels])
    order = np.random.default_rng(0).permutation(len(pixels))
    images, digits = pixels[order].astype(np.float32) / 255, digits[order]
    held, fresh, labels = images[:side], images[side : 2 * side], digits[side : 2 * side]
    train = images[2 * side :][: options.bank]
    held = held[~drift.copies(flat(held), flat(train))]  # MNIST has a few pairs
    test = evaluators.stack(data.take_evenly(dataset.test, side), range(side)).astype(np.float32) / 255
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
        "command": " ".join(["python", *sys.argv]),
        "processor": common.processor(),
        "bank": len(bank),
        "sigma": kernel.sigma,
        "rows": rows,
        "resplits": resplits(contributions, both, kernel, excesses=1000, companions=200 if side >= 400 else 0),
        "curve": curve,
        "widening": wide,
        "scores": {str(number): as_scores(workdir) for number, workdir in enumerate(options.features)},
        "minutes": (time.perf_counter() - began) / 60,
    }
    options.out.write_text(json.dumps(block, indent=1) + "\n", encoding="utf-8")
    if options.figure:
        figure(curve, wide).savefig(options.figure, dpi=110)


if __name__ == "__main__":
    main()
