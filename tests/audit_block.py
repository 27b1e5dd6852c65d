"""A made block of audit.json, for tests of its page."""

import numpy as np


def made(**changes):
    """The block of an audit that finds a positive drift; `changes` replace its parts."""
    edges = np.linspace(-500, 500, 21)
    held = np.exp(-(((edges[:-1] + 50) / 120) ** 2))
    new = np.exp(-(((edges[:-1] - 30) / 150) ** 2))
    theta = np.geomspace(0.05, 0.8, 9)
    block = {
        "mollax": "0.0.0",
        "space": {"kind": "pixels", "run": None, "dimensions": 784, "image_shape": [28, 28, 1], "jpeg_quality": 75},
        "kernel": {"text": "Gaussian noise of scale 0.2", "name": "gaussian", "value": 0.2, "how": "chosen <here>"},
        "reference": {
            "name": "digits",
            "path": "data/digits",
            "reader": "folder",
            "split": "train",
            "images": 1000,
            "bank": 800,
            "held_out": 200,
            "held_from": "20 % of the reference, drawn",
        },
        "new": {"name": "scans <b>", "path": "data/scans", "reader": "folder", "split": "all", "images": 300},
        "storage": [
            {"what": "size", "reference": "28 x 28", "new": "40 x 40", "differs": True},
            {"what": "format", "reference": "PNG", "new": "PNG", "differs": False},
        ],
        "excess": {
            "value": 12.3,
            "low": 10.1,
            "high": 14.4,
            "p_value": 0.001,
            "held": -230.0,
            "new": -217.7,
            "per_dimension": 12.3 / 784,
        },
        "effect": 0.4,
        "entropy_aware": {"value": 3.2, "low": 1.0, "high": 5.5, "p_value": 0.002, "points": 200},
        "detectable": {"nats": 4.2, "power": 0.8, "level": 0.025},
        "threshold": 120.0,
        "flagged": 0.113,
        "histogram": {"edges": edges.tolist(), "held": (held / held.sum()).tolist(), "new": (new / new.sum()).tolist()},
        "curve": {
            "name": "sigma",
            "theta": theta.tolist(),
            "held": (800 * np.log(theta) + 900).tolist(),
            "new": (790 * np.log(theta) + 920).tolist(),
            "confused": (theta / 4).tolist(),
            "points": "200 images of each kind",
        },
        "folders": [
            {"name": f"day{i}", "images": 50, "value": v, "low": v - 3, "high": v + 3, "p_value": 0.02, "flagged": 0.1}
            for i, v in enumerate((30.0, 5.0, -8.0))
        ],
        "classes": {
            "total": 12.3,
            "label_shift": {"value": 2.3, "low": 1.0, "high": 3.5},
            "within": {"value": 10.0, "low": 8.0, "high": 12.0},
            "missing": [],
            "shares_p_value": 0.3,
            "rows": [
                {"name": "three", "images": 30, "value": 9.0, "low": 2.0, "high": 16.0, "p_value": 0.02,
                 "held_share": 0.5, "new_share": 0.7},
                {"name": "four", "images": 2, "value": -1.0, "low": None, "high": None, "p_value": None,
                 "held_share": 0.5, "new_share": 0.3},
            ],
        },
        "leakage": {"count": 1, "pairs": [{"new": "a/1.png", "reference": "b/2.png"}]},
        "baselines": {"MMD": {"value": 0.0123, "p_value": 0.004, "note": "means of a kernel"}},
        "skipped": [{"where": "scans/bad.png", "reason": "the file is empty"}],
        "notes": ["3 gray images repeated to RGB"],
        "command": "python -m mollax.audit --new=x",
    }  # fmt: skip
    return {**block, **changes}


def excess(value, p, **changes):
    """The block's excess with another value and p-value."""
    low, high = value - 2, value + 2
    return {**made()["excess"], "value": value, "low": low, "high": high, "p_value": p, **changes}


def pictures(count=8, *, nearest=True):
    """Images with a name and a contribution each."""
    rng = np.random.default_rng(0)
    images = rng.random((count, 6, 6, 1))
    return {
        "images": images,
        "nearest": images**2 if nearest else None,
        "names": [f"folder/with/a/rather/long/name/{i:03}.png" for i in range(count)],
        "contributions": np.linspace(900, 100, count),
    }
