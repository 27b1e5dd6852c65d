"""Many ways to learn from outliers on the frozen features of a few networks, in the form of tables 1 to 3 of TV-OOD.

    python benchmarks/ood_heads.py --out=docs/results/cifar10_ood_heads.json runs/c0 runs/c1 runs/c2

Each run's folder has `features.npz` (`benchmarks/ood_features.py`). On these features heads are trained, all by the
training program's own penalties: critics of every divergence and source (an MLP of 256 units beside the classifier,
which stays as it is), and linear classifiers that go on from the run's own with a loss that outliers take part in.
Adam with cosine decay from 1e-3, 20 epochs of 256 known images and 256 outliers. Rows "NAME, tuned" take the option of
`GRIDS` that tells validation images from their shuffled blocks best (AUROC); everything else has its defaults, and no
test set is seen in training or tuning. Means and deviations are over runs. Rows that --out has already are kept.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import common
import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from mollax import detectors, metrics, ood, recipes
from mollax.data import Dataset, Split, halve
from mollax.data.options import evenly_spaced
from mollax.objectives.classification import negative_log_likelihood
from mollax.objectives.outliers import Seen
from mollax.ood import scores
from mollax.parallel import AXIS

Arrays = Mapping[str, np.ndarray]
PyTree = Any
BATCH, EPOCHS, RATE, HIDDEN = 256, 20, 1e-3, (256,)
PLAIN = (
    "msp",
    "max_logit",
    "energy",
    "mahalanobis",
    "relative_mahalanobis",
    "knn",
    "ash",
    "vim",
    "react",
    "bfact",
    "gradnorm",
)
FIT: dict[str, dict[str, Any]] = {
    "mahalanobis": {"shrinkage": 0.01},
    "relative_mahalanobis": {"shrinkage": 0.01},
    "ash": {"negative": "clip"},
}
GRIDS: dict[str, list[dict[str, Any]]] = {
    "mahalanobis": [{"shrinkage": share} for share in (0.001, 0.01, 0.1)],
    "relative_mahalanobis": [{"shrinkage": share} for share in (0.001, 0.01, 0.1)],
    "knn": [{"k": k} for k in (1, 5, 10, 50, 100, 200)],
    "ash": [{"negative": "clip", "percentile": p} for p in (65.0, 80.0, 90.0, 95.0)],
    "vim": [{"dimension": d} for d in (8, 16, 32, 48)],
    "react": [{"percentile": p} for p in (85.0, 90.0, 95.0, 99.0)],
    "bfact": [{"percentile": p} for p in (85.0, 90.0, 95.0, 99.0)],
    "gradnorm": [{"temperature": t} for t in (0.5, 1.0, 2.0)],
}


@dataclass(frozen=True)
class Variant:
    """One row: a method, the shares of its sources, its critic's hidden layers, and the score that ranks by it."""

    method: str
    sources: tuple[str, ...] = ("block_shuffle",)
    hidden: tuple[int, ...] = HIDDEN
    score: str = "tv"


def variants() -> dict[str, Variant]:
    """Rows by name: table 1's training methods, table 2's sources, table 3's divergences."""
    both = ("auxiliary", "block_shuffle")
    rows = {f"{method}, generated": Variant(method) for method in ood.DIVERGENCES}
    rows["bc_id_ood, generated"] = Variant("bc_id_ood", score="tv:extra")  # nothing else of that critic learns
    rows["tv, generated, linear critic"] = Variant("tv", hidden=())
    rows["tv, generated, extra label"] = Variant("tv", score="tv:extra")
    rows |= {f"tv, {source}": Variant("tv", (source,)) for source in ("augmix", "cutmix", "gan", "auxiliary")}
    rows["tv, auxiliary + generated"] = Variant("tv", both)
    rows["tv, auxiliary + generated, extra label"] = Variant("tv", both, score="tv:extra")
    for method, score in (("exposure", "msp"), ("energy", "energy"), ("balanced_energy", "energy")):
        rows |= {
            f"{method}, {source}": Variant(method, (source,), score=score) for source in ("auxiliary", "block_shuffle")
        }
    balanced = {source: Variant("balanced_energy", (source,), score="energy") for source in ("augmix", "cutmix", "gan")}
    rows |= {f"balanced_energy, {source}": variant for source, variant in balanced.items()}
    rows["balanced_energy, auxiliary + generated"] = Variant("balanced_energy", both, score="energy")
    rows["woods, auxiliary"] = Variant("woods", ("auxiliary",), score="energy")
    rows["logit_norm"] = Variant("logit_norm", (), score="msp")
    return rows


@dataclass(frozen=True)
class Bench:
    """Features of one run, its classifier's last layer, and what the program's penalties need to know of the data."""

    features: Arrays
    head: ood.Head
    dataset: Dataset
    seed: int

    def outliers(self, names: tuple[str, ...]) -> np.ndarray:
        """Features of sources, equal shares: the shortest sets the count."""
        parts = [self.features[f"source {name}"] for name in names]
        count = min(map(len, parts))
        return np.concatenate([part[:: len(part) // count][:count] for part in parts])


def load(workdir: Path, seed: int) -> Bench:
    """A run's features, with the negatives of a GAN on them as one more source."""
    with np.load(workdir / "features.npz", allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    about = json.loads((workdir / "results.json").read_text(encoding="utf-8"))["data"]
    splits = {
        name: Split(np.zeros((len(arrays[name]), 1, 1, 1), np.uint8), arrays[f"labels {name}"])
        for name in ("train", "validation", "test")
    }
    dataset = Dataset(name=about["name"], **splits, class_names=tuple(about["class_names"]))
    gan = ood.feature_gan(arrays["train"].shape[1], nonnegative=True)
    key, sampling = jax.random.split(jax.random.key(seed))
    params = ood.fit_gan(key, gan, jnp.asarray(arrays["train"]), steps=2000, checkpoints=1)[-1]
    arrays["source gan"] = np.asarray(gan.sample(sampling, params, len(arrays["train"])))
    return Bench(arrays, ood.Head(arrays["head kernel"], arrays["head bias"]), dataset, seed)


def settings(variant: Variant) -> ConfigDict:
    """The part of a config that penalties are made of."""
    config = recipes.base()
    config.ood.method = variant.method
    config.train.batch_size = BATCH
    return config


def start(bench: Bench, variant: Variant, outliers: np.ndarray) -> tuple[PyTree, PyTree]:
    """(parameters, what the penalty carries) at the first step."""
    classifier = jax.tree.map(jnp.asarray, bench.head)
    classes = bench.head.bias.shape[0]
    if variant.method in ood.DIVERGENCES:
        critic = ood.Critic(classes, hidden=variant.hidden)
        params = critic.init(jax.random.key(bench.seed), jnp.asarray(outliers[:1]))["params"]
        return {"critic": params}, {"average": jnp.float32(0)} if variant.method == "dv" else {}
    logits = {
        name: np.asarray(ood.apply_head(classifier, jnp.asarray(rows)))
        for name, rows in (("id", bench.features["validation"]), ("ood", outliers[evenly_spaced(len(outliers), 5000)]))
    }
    energies = {name: np.asarray(ood.free_energy(jnp.asarray(rows))) for name, rows in logits.items()}
    params: dict[str, PyTree] = {"head": classifier}
    carried: dict[str, PyTree] = {}
    if "energy" in variant.method:
        carried = {
            name: jnp.float32(v) for name, v in ood.choose_margins(energies["id"], energies["ood"])._asdict().items()
        }
    if variant.method == "balanced_energy":
        carried["prior"] = jnp.asarray(ood.class_prior(logits["ood"].argmax(1), classes=classes), jnp.float32)
    if variant.method == "woods":
        labels = jnp.asarray(bench.features["labels validation"])
        entropy = optax.softmax_cross_entropy_with_integer_labels(jnp.asarray(logits["id"]), labels).mean()
        params["unit"] = {
            "scale": jnp.float32(-1),
            "offset": jnp.float32(-(energies["id"].mean() + energies["ood"].mean()) / 2),
        }
        zero = jnp.float32(0)
        carried = {"woods": ood.initial_woods(), "pretrained_ce": entropy, "u_id": zero, "u_ce": zero, "parts": zero}
    return params, carried


def train(bench: Bench, variant: Variant) -> PyTree:
    """The parameters of a head after its epochs; random by the bench's seed."""
    known, labels = bench.features["train"], bench.features["labels train"]
    outliers = bench.outliers(variant.sources) if variant.sources else known[:1]
    dataset, config = bench.dataset, settings(variant)
    if variant.method == "woods":
        chosen = halve(
            Split(np.arange(len(known)).reshape(-1, 1, 1, 1), labels), classes=len(dataset.class_names), seed=0
        )
        kept, rest = (np.asarray(part.images).ravel() for part in chosen)
        count = round(len(rest) * detectors.WILD_SHARE / (1 - detectors.WILD_SHARE))
        outliers = np.concatenate([known[rest], outliers[evenly_spaced(len(outliers), count)]])
        known, labels = known[kept], labels[kept]
        dataset = replace(dataset, train=chosen[0])
    params, carried = start(bench, variant, outliers)
    penalty = (
        (lambda seen, carried: (jnp.float32(0), {}, carried))
        if variant.method == "logit_norm"
        else detectors.create_penalty(config, dataset)
    )
    weight = {"exposure": 0.5, "energy": 0.1, "balanced_energy": 0.1}.get(variant.method, 1.0)
    negative_log = negative_log_likelihood("logit_norm" if variant.method == "logit_norm" else "cross_entropy")
    critic = ood.Critic(len(dataset.class_names), hidden=variant.hidden) if "critic" in params else None
    steps = EPOCHS * (len(bench.features["train"]) // BATCH)  # as many for WOODS, which knows labels of half of them
    optimizer = optax.adam(optax.cosine_decay_schedule(RATE, steps))
    banks = jax.tree.map(jnp.asarray, (known, jax.nn.one_hot(labels, len(dataset.class_names)), outliers))

    def loss(params: PyTree, carried: PyTree, batch: PyTree) -> tuple[jax.Array, PyTree]:
        features, targets, strange = batch
        head = params.get("head", jax.tree.map(jnp.asarray, bench.head))
        logits = ood.apply_head(head, features), ood.apply_head(head, strange)
        judged: tuple[Any, Any] = (None, None)
        if critic is not None:
            judged = (
                critic.apply({"params": params["critic"]}, features),
                critic.apply({"params": params["critic"]}, strange),
            )
        elif "unit" in params:
            unit = ood.LogisticUnit()
            judged = tuple(unit.apply({"params": params["unit"]}, rows)[:, None] for rows in logits)
        entropy = jnp.mean(negative_log(logits[0], targets))
        value, _, carried = penalty(Seen(*logits, *judged, targets, entropy), carried)
        return weight * value + (0.0 if variant.method == "woods" else entropy), carried

    def step(state: PyTree, key: jax.Array) -> tuple[PyTree, None]:
        params, carried, opt_state = state
        places = [
            jax.random.randint(k, (BATCH,), 0, len(bank))
            for k, bank in zip(jax.random.split(key), (banks[0], banks[2]), strict=True)
        ]
        batch = banks[0][places[0]], banks[1][places[0]], banks[2][places[1]]

        def one_device(params: PyTree) -> tuple[jax.Array, PyTree]:
            value, kept = jax.vmap(lambda batch: loss(params, carried, batch), axis_name=AXIS)(
                jax.tree.map(lambda x: x[None], batch)
            )
            return value[0], jax.tree.map(lambda x: x[0], kept)

        gradient, carried = jax.grad(one_device, has_aux=True)(params)
        update, opt_state = optimizer.update(gradient, opt_state)
        return (optax.apply_updates(params, update), carried, opt_state), None

    run = jax.jit(lambda state, rng: jax.lax.scan(step, state, rng)[0])
    return run((params, carried, optimizer.init(params)), jax.random.split(jax.random.key(bench.seed), steps))[0]


def outputs(bench: Bench, variant: Variant | None, params: PyTree) -> Callable[[np.ndarray], np.ndarray]:
    """Features to (critic's outputs or the features themselves, logits)."""
    head = jax.tree.map(jnp.asarray, params.get("head", bench.head))
    critic = (
        ood.Critic(len(bench.dataset.class_names), hidden=variant.hidden) if variant and "critic" in params else None
    )

    def compute(features: np.ndarray) -> Any:
        rows = jnp.asarray(features)
        return (rows if critic is None else critic.apply({"params": params["critic"]}, rows)), ood.apply_head(
            head, rows
        )

    return compute


def measure(
    bench: Bench, name: str, compute: Callable[..., Any], options: Mapping[str, Any], head: ood.Head
) -> dict[str, Any]:
    """FPR95 and AUROC of a score on every set (known images positive), and what the classifier says of test images."""
    module = scores.SCORES[name]
    first, logits = compute(bench.features["train"])
    state = module.fit(np.asarray(first), np.asarray(logits), bench.features["labels train"], head, **options)
    known = np.asarray(module.score(state, *compute(bench.features["test"])))
    sets = {}
    for place, rows in bench.features.items():
        if place.startswith("set "):
            found = metrics.detection_summary(known, np.asarray(module.score(state, *compute(rows))))
            sets[place[4:]] = {
                "fpr95": 100 * found["fpr_at_tpr_id"],
                "auroc": 100 * found["auroc"],
                "images": len(rows),
            }
    test = metrics.summarize(np.asarray(compute(bench.features["test"])[1]), bench.features["labels test"], resamples=0)
    return {"sets": sets, "classifier": {key: test[key] for key in ("error", "nll", "ece")}}


def tuned(bench: Bench, name: str) -> dict[str, Any]:
    """A score with the option that tells validation images from their shuffled blocks best."""
    module, compute = scores.SCORES[name], outputs(bench, None, {})
    first, logits = compute(bench.features["train"])

    def auroc(options: Mapping[str, Any]) -> float:
        state = module.fit(np.asarray(first), np.asarray(logits), bench.features["labels train"], bench.head, **options)
        pair = [
            np.asarray(module.score(state, *compute(bench.features[f"{part}validation"]))) for part in ("", "shuffled ")
        ]
        return metrics.auroc(*pair)

    chosen = max(GRIDS[name], key=auroc)
    logging.info("%s: %s", name, chosen)
    row = measure(bench, name, compute, chosen, bench.head)
    return {**row, "chosen": {option: value for option, value in chosen.items() if not isinstance(value, str)}}


def study(bench: Bench, known: Mapping[str, Any]) -> dict[str, Any]:
    """All rows of one run; those that are known are kept."""
    rows = dict(known)
    for name in PLAIN:
        if name in rows:
            continue
        rows[name] = measure(bench, name, outputs(bench, None, {}), FIT.get(name, {}), bench.head)
    for name in GRIDS:
        if f"{name}, tuned" not in rows:
            rows[f"{name}, tuned"] = tuned(bench, name)
    for name, variant in variants().items():
        if name in rows:
            continue
        began = time.perf_counter()
        params = train(bench, variant)
        seconds = time.perf_counter() - began
        score, _, option = variant.score.partition(":")
        head = jax.device_get(params.get("head", bench.head))
        rows[name] = measure(bench, score, outputs(bench, variant, params), {"variant": option} if option else {}, head)
        rows[name]["seconds"] = seconds
        means = {place: round(cell["fpr95"], 1) for place, cell in rows[name]["sets"].items()}
        logging.info("%s: %s, %.0f s", name, means, seconds)
    return {name: rows[name] for name in (*PLAIN, *(f"{name}, tuned" for name in GRIDS), *variants())}


def summarized(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and deviation over runs of every number of a row."""

    def both(*values: float) -> dict[str, float]:
        return {"mean": float(np.mean(values)), "sd": float(np.std(values, ddof=1)) if len(values) > 1 else 0.0}

    return {name: jax.tree.map(both, *[run[name] for run in rows]) for name in rows[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    began = time.perf_counter()
    known: list[Any] = [{} for _ in options.runs]
    spent = 0.0
    if options.out.exists():
        before = json.loads(options.out.read_text(encoding="utf-8"))
        known, spent = before["each"], before["about"]["minutes"]
    found = [study(load(workdir, seed), known[seed]) for seed, workdir in enumerate(options.runs)]
    about = {
        "command": " ".join(["python", *sys.argv]),
        "processor": common.processor(),
        "runs": len(found),
        "minutes": spent + (time.perf_counter() - began) / 60,
    }
    block = {"about": about, "rows": summarized(found), "each": found}
    options.out.write_text(json.dumps(block, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
