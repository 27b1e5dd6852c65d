"""KNN, Mahalanobis and ViM scores on CPU, against faiss, scikit-learn and pytorch-ood.

    python benchmarks/ood_scores.py --out docs/results/bench_ood_scores.json

KNN: a bank of 50,000 x 512, k = 50, exact, normalized features; 2,000 queries of which every contender gives the k-th
neighbor's squared distance. Mahalanobis and ViM: 512 features, 10 classes, 2,000 queries, fitted beforehand; ViM with
the logits, which pytorch-ood computes itself. Peers use every core; ours is one compiled call on one device.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

import common
import faiss
import jax
import jax.numpy as jnp
import numpy as np
import torch
from pytorch_ood.detector import Mahalanobis, ViM
from sklearn.neighbors import NearestNeighbors

from mollax.host import available_cores
from mollax.ood.head import Head, apply_head
from mollax.ood.scores import knn, mahalanobis, vim

BANK, WIDTH, QUERIES, CLASSES, K = 50_000, 512, 2_000, 10, 50
# Times of the peer over ours that are asked for.
FLOORS = {"faiss": 0.65, "scikit-learn": 1.5, "mahalanobis": 8.0, "vim": 1.0}
# Largest difference, over the spread of the peer's scores.
TOLERANCES = {"knn": 1e-4, "mahalanobis": 1e-3, "vim": 1e-3}

Contenders = dict[str, Callable[[], Any]]


class Data(NamedTuple):
    """Features as after a ReLU, about the means of classes, in float32."""

    bank: np.ndarray
    labels: np.ndarray
    head: Head
    queries: np.ndarray
    bank_logits: np.ndarray
    query_logits: np.ndarray


def inputs(bank: int, width: int, queries: int) -> Data:
    """Random features of CLASSES classes, a random head and its logits."""
    rng = np.random.default_rng(0)
    means = rng.normal(size=(CLASSES, width))
    labels = np.arange(bank, dtype=np.int32) % CLASSES

    def draw(labels: np.ndarray) -> np.ndarray:
        return np.maximum(means[labels] + rng.normal(size=(len(labels), width)), 0).astype(np.float32)

    kernel, bias = rng.normal(size=(width, CLASSES)) / np.sqrt(width), rng.normal(size=CLASSES)
    head = Head(jnp.asarray(kernel.astype(np.float32)), jnp.asarray(bias.astype(np.float32)))
    train, tests = draw(labels), draw(rng.integers(0, CLASSES, queries))
    logits = (np.asarray(apply_head(head, jnp.asarray(x))) for x in (train, tests))
    return Data(train, labels, head, tests, *logits)


def ours(module: Any, data: Data, **options: Any) -> Callable[[], np.ndarray]:
    """The compiled score of the queries, fitted and on the device."""
    state = jax.device_put(module.fit(data.bank, data.bank_logits, data.labels, data.head, **options))
    compiled = jax.jit(module.score)
    arrays = jax.device_put((data.queries, data.query_logits))
    return lambda: np.asarray(compiled(state, *arrays))


def unit(features: np.ndarray) -> np.ndarray:
    """Rows of length 1."""
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def knn_contenders(data: Data) -> Contenders:
    """Ours normalizes the queries itself; so do the others, in NumPy."""
    bank = unit(data.bank)
    flat = faiss.IndexFlatL2(bank.shape[1])
    flat.add(bank)
    brute = NearestNeighbors(n_neighbors=K, algorithm="brute").fit(bank)
    return {
        "mollax": ours(knn, data, k=K),
        "faiss": lambda: flat.search(unit(data.queries), K)[0][:, -1],
        "scikit-learn": lambda: brute.kneighbors(unit(data.queries))[0][:, -1] ** 2,
    }


def mahalanobis_contenders(data: Data) -> Contenders:
    """Theirs is half the distance with a covariance that is not divided by n: 2 n of it are ours."""
    queries = torch.from_numpy(data.queries)
    theirs = Mahalanobis(None)
    theirs.fit_features(torch.from_numpy(data.bank), torch.from_numpy(data.labels.astype(np.int64)))
    factor = 2 * len(data.bank)
    return {
        "mollax": ours(mahalanobis, data),
        "pytorch-ood": lambda: factor * theirs.predict_features(queries).numpy(),
    }


def vim_contenders(data: Data) -> Contenders:
    """The same principal dimension for both."""
    queries = torch.from_numpy(data.queries)
    weight, bias = (torch.from_numpy(np.array(leaf)) for leaf in (data.head.kernel.T, data.head.bias))
    theirs = ViM(None, vim.principal_dimension(data.bank.shape[1]), weight, bias)
    theirs.fit_features(torch.from_numpy(data.bank), torch.from_numpy(data.labels.astype(np.int64)))
    return {"mollax": ours(vim, data), "pytorch-ood": lambda: theirs.predict_features(queries).numpy()}


def compare(
    name: str, contenders: Contenders, floors: dict[str, float], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Checks that all agree, times them in turns, and gives a line for each peer."""
    results = {contender: call() for contender, call in contenders.items()}
    mine = results.pop("mollax")
    differences = {}
    for peer, theirs in results.items():
        spread = float(np.ptp(theirs))
        differences[peer] = common.agree(f"{name}, {peer}", mine / spread, theirs / spread, TOLERANCES[name])
    seconds = common.measure(contenders, options)
    return [
        common.compare(
            f"{name} against {peer}",
            seconds,
            ours="mollax",
            peer=peer,
            floor=floor,
            largest_difference_over_spread=differences[peer],
        )
        for peer, floor in floors.items()
    ]


def main() -> None:
    """All three scores."""
    options = common.arguments(__doc__)
    record = common.start(options, packages=("faiss-cpu", "scikit-learn", "pytorch-ood"))
    faiss.omp_set_num_threads(available_cores())
    data = inputs(2_000, 16, 100) if options.tiny else inputs(BANK, WIDTH, QUERIES)
    record["sizes"] = {"bank": data.bank.shape, "queries": data.queries.shape, "classes": CLASSES, "k": K}
    knn_floors = {peer: FLOORS[peer] for peer in ("faiss", "scikit-learn")}
    record["results"] += compare("knn", knn_contenders(data), knn_floors, options)
    record["results"] += compare(
        "mahalanobis", mahalanobis_contenders(data), {"pytorch-ood": FLOORS["mahalanobis"]}, options
    )
    record["results"] += compare("vim", vim_contenders(data), {"pytorch-ood": FLOORS["vim"]}, options)
    common.finish(record, options)


if __name__ == "__main__":
    main()
