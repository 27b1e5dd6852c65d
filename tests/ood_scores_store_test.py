"""Fitted states survive a file: the same scores, bit for bit."""

import jax.numpy as jnp
import numpy as np
import pytest

from mollax.ood.head import Head
from mollax.ood.scores import SCORES, load_states, save_states


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(0)
    features = np.abs(rng.normal(size=(60, 6))).astype(np.float32)
    kernel = rng.normal(size=(6, 3)).astype(np.float32)
    head = Head(kernel, rng.normal(size=3).astype(np.float32))
    logits = features @ kernel + head.bias
    labels = np.arange(60, dtype=np.int32) % 3
    options = {"knn": {"k": 5}}
    names = [name for name, module in SCORES.items() if module.NEEDS == "features"]
    states = {name: SCORES[name].fit(features, logits, labels, head, **options.get(name, {})) for name in names}
    return states, features, logits


def test_the_same_scores_again(fitted, tmp_path):
    states, features, logits = fitted
    path = tmp_path / "detectors.npz"
    save_states(path, {f"{name}:x=1": state for name, state in states.items()})
    assert list(tmp_path.iterdir()) == [path]
    kinds = {f"{name}:x=1": SCORES[name].State for name in states}
    found = load_states(path, kinds)
    for name, state in states.items():
        again = found[f"{name}:x=1"]
        assert type(again) is type(state)
        score = SCORES[name].score
        arrays = jnp.asarray(features), jnp.asarray(logits)
        np.testing.assert_array_equal(score(again, *arrays), score(state, *arrays), err_msg=name)


def test_a_missing_state_says_so(fitted, tmp_path):
    save_states(tmp_path / "some.npz", {"knn": fitted[0]["knn"]})
    with pytest.raises(ValueError, match="The file has no variant of the score 'ash'; fit the score again"):
        load_states(tmp_path / "some.npz", {"ash": SCORES["ash"].State})
    with pytest.raises(ValueError, match="must not hold"):
        save_states(tmp_path / "bad.npz", {"knn|1": fitted[0]["knn"]})
    with pytest.raises(FileNotFoundError):
        load_states(tmp_path / "none.npz", {})
