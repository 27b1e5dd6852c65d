"""Detection metrics of a million scores against scikit-learn, and their bootstrap.

    python benchmarks/detection_metrics.py --out docs/results/bench_detection_metrics.json

Ours is `detection_summary`: AUROC, and in both conventions FPR95, AUPR and prevalence-adjusted AUPR. scikit-learn
computes the three that the goal names (roc_auc_score, average_precision_score and roc_curve, in one convention);
another line gives it the second convention too. Both get NumPy arrays in the form they take and return host numbers.
Scores are float32 as a network gives them, float64, or rounded, with ties.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import common
import numpy as np
from jaxtyping import Bool, Real
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from mollax import metrics

FLOOR = 20.0
Scores = tuple[Real[np.ndarray, " n"], Real[np.ndarray, " m"]]


def inputs(n: int) -> dict[str, Scores]:
    """Half ID, half OOD, of AUROC .76, by the type of the scores."""
    rng = np.random.default_rng(0)
    pair = rng.normal(size=n // 2), 1 + rng.normal(size=n // 2)
    single = pair[0].astype(np.float32), pair[1].astype(np.float32)
    return {"float32": single, "float64": pair, "float32, 10,000 values": (single[0].round(3), single[1].round(3))}


def fpr95(labels: Bool[np.ndarray, " n"], scores: Real[np.ndarray, " n"]) -> float:
    """False positive rate at the first threshold with a true positive rate of at least .95."""
    falses, trues, _ = roc_curve(labels, scores)
    return float(falses[(trues >= 0.95).argmax()])


def by_sklearn(labels: Bool[np.ndarray, " n"], scores: Real[np.ndarray, " n"]) -> dict[str, float]:
    """The three numbers of the convention in which OOD is positive."""
    return {
        "auroc": float(roc_auc_score(labels, scores)),
        "aupr_ood": float(average_precision_score(labels, scores)),
        "fpr_at_tpr_ood": fpr95(labels, scores),
    }


def twice_by_sklearn(labels: Bool[np.ndarray, " n"], scores: Real[np.ndarray, " n"]) -> dict[str, float]:
    """The five numbers of both conventions."""
    other = {"aupr_id": float(average_precision_score(~labels, -scores)), "fpr_at_tpr_id": fpr95(~labels, -scores)}
    return by_sklearn(labels, scores) | other


def compare(kind: str, pair: Scores, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Checks that both agree on one kind of scores, then times them."""
    scores = np.concatenate(pair)
    labels = np.repeat([False, True], [len(one) for one in pair])
    contenders: dict[str, Callable[[], dict[str, float]]] = {
        "mollax": lambda: metrics.detection_summary(*pair),
        "scikit-learn": lambda: by_sklearn(labels, scores),
        "scikit-learn, both conventions": lambda: twice_by_sklearn(labels, scores),
    }
    mine, _, theirs = (contender() for contender in contenders.values())
    what = f"{len(scores):,} {kind} scores"
    # roc_curve drops points on straight lines: it may pass the .95 by an example or two, later.
    tolerances = {name: 1e-9 if "fpr" not in name else 1e-4 for name in theirs}
    differences = {name: common.agree(f"{what}, {name}", mine[name], theirs[name], tolerances[name]) for name in theirs}
    seconds = common.measure(contenders, options)
    facts: dict[str, Any] = {"differences": differences, "distinct": len(np.unique(scores))}
    return [
        common.compare(what, seconds, ours="mollax", peer="scikit-learn", floor=FLOOR, **facts),
        common.compare(what, seconds, ours="mollax", peer="scikit-learn, both conventions", **facts),
    ]


def bootstrap(n: int, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of 1000 resamples of n + n scores."""
    pair = tuple(half[:n] for half in inputs(2 * n)["float32"])
    rounds = []
    for _ in range(options.rounds):
        began = time.perf_counter()
        metrics.detection_intervals(*pair)
        rounds.append(round(time.perf_counter() - began, 4))
    print(f"1000 resamples of {n:,} + {n:,} scores: {min(rounds):.3f} s", flush=True)
    return {"what": f"1000 resamples of {n} + {n} scores", "best_s": min(rounds), "rounds_s": rounds}


def main() -> None:
    """All kinds of scores, then the bootstrap."""
    options = common.arguments(__doc__)
    record = common.start(options, peer=False, packages=["scikit-learn"])
    for kind, pair in inputs(2000 if options.tiny else 1_000_000).items():
        record["results"] += compare(kind, pair, options)
    record["bootstrap"] = bootstrap(100 if options.tiny else 10_000, options)
    common.finish(record, options)


if __name__ == "__main__":
    main()
