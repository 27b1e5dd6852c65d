"""A finished run of digits with stored scores, written by hand: serving does not ask how weights came about."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import tiny
from compiling import fast

from mollax import detectors, experiment, ood
from mollax.evaluators import SCORES, parse_score
from mollax.image import standardize
from mollax.ood.scores import save_states

# One of each kind: of logits, of features (drift's density among them), of images, of feature maps, of a critic.
ALL = (
    *("msp", "knn:k=3", "drift", "mahalanobis:shrinkage=0.1", "odin:epsilon=0.01", "rankfeat"),
    *("tv", "tv:variant=extra"),
)
NAMES = ("zero", "one", "two, or so", "three", "four", "five", "six", "seven", "eight", "nine")
TEMPERATURE = 1.7


def write(folder, *, scores=ALL, stored=True, **changes):
    """Writes what `open_run` and `open_service` read; half of the digits are in by each score."""
    method = "tv" if any(name.startswith("tv") for name in scores) else "none"
    config = tiny.config(**{"model__options": {"hidden": (16,)}, "ood__method": method, **changes})
    model = detectors.with_critic(config, experiment.create_network(config, 10), 10)
    images, labels = digits(80)
    init = {"method": "start"} if method == "tv" else {"train": False}
    variables = model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)), **init)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    with ocp.StandardCheckpointer() as writer:
        writer.save(
            (folder / "checkpoints" / "1" / "state").absolute(), {"params": variables["params"], "model_state": {}}
        )
    results = {
        "name": "digits",
        "step": 1,
        "temperature": TEMPERATURE,
        "data": {"name": "digits", "image_shape": [8, 8, 1], "class_names": NAMES, "mean": [0.3], "std": [0.38]},
    }
    if scores:
        states, rows = fit(model, variables, scores, images, labels)
        if stored:
            save_states(folder / "detectors.npz", states)
        sets = [{"name": "noise", "group": "far"}]
        table = {name: {"noise": {"auroc": 0.9 if name == "knn:k=3" else 0.8}} for name in scores}
        results["ood"] = {"tpr": 0.95, "scores": rows, "sets": sets, "table": table}
    (folder / "results.json").write_text(json.dumps(results))
    return folder


def digits(count):
    """uint8 (count, 8, 8, 1) and labels."""
    return tiny.digits(count)


def fit(model, variables, scores, images, labels):
    """States by name, and rows of results.json."""
    values = standardize(jnp.asarray(images, jnp.float32) / 255.0, jnp.full(1, 0.3), jnp.full(1, 0.38))
    features = model.apply(variables, values, train=False, method="features")
    logits = model.apply(variables, features, method="head")
    width = features.shape[1]
    bias = model.apply(variables, jnp.zeros((1, width)), method="head")
    head = ood.Head(model.apply(variables, jnp.eye(width), method="head") - bias, bias[0])
    states = {}
    for name in scores:
        family, options = parse_score(name)
        module = SCORES[family]
        if module.NEEDS == "images":
            options["deviation"] = (0.38,)
        critic = module.NEEDS == "critic"
        first = model.apply(variables, features, method="judge") if critic else features
        states[name] = module.fit(np.asarray(first), np.asarray(logits), labels, head, **options)
    found = score_all(model, variables, states, values)
    return states, [{"name": name, "threshold": float(np.median(found[name]))} for name in scores]


def score_all(model, variables, states, values):
    """Scores of standardised images by name, as their modules say them."""
    both = {name: SCORES[parse_score(name)[0]] for name in states}
    return fast(lambda x: {name: score(model, variables, both[name], states[name], x) for name in states})(values)


def score(model, variables, module, state, values):
    """One score of standardised images."""
    if module.NEEDS == "images":
        return module.score(state, values, lambda moved: model.apply(variables, moved, train=False))
    if module.NEEDS == "feature_maps":
        return module.score(state, model.apply(variables, values, train=False, method="feature_maps"))
    features = model.apply(variables, values, train=False, method="features")
    logits = model.apply(variables, features, method="head")
    first = model.apply(variables, features, method="judge") if module.NEEDS == "critic" else features
    return module.score(state, first, logits)
