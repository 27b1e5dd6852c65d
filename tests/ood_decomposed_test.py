"""The decomposed head against torch, by hand; its gradients, statistics and the mask for weight decay."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compiling import fast

from mollax.ood.decomposed import KINDS, DecomposedConfidence, decay_mask


def made(key, rng, kind, *, classes=4, width=6, count=7):
    """Head, variables with statistics that are not trivial, and features."""
    head = DecomposedConfidence(classes, kind)
    features = jnp.asarray(rng.normal(size=(count, width)), jnp.float32)
    variables = fast(partial(head.init, train=False))(key, features)
    noise = jnp.asarray(rng.uniform(0.5, 1.5), jnp.float32)
    stats = jax.tree.map(lambda leaf: leaf * 0 + noise, variables["batch_stats"])
    params = jax.tree.map(lambda leaf: leaf + 0.1 * noise, variables["params"])
    return head, {"params": params, "batch_stats": stats}, features


def by_torch(variables, features, kind, train):
    """h, g and f of the paper's equations 5 to 8 with torch's functions."""
    torch = pytest.importorskip("torch")
    tensor = lambda leaf: torch.tensor(np.array(leaf, np.float64))  # noqa: E731
    params, stats = jax.tree.map(tensor, (variables["params"], variables["batch_stats"]["domain_norm"]))
    x, w = tensor(features), params["similarity"]["kernel"]
    h = {
        "cosine": lambda: torch.nn.functional.cosine_similarity(x[:, None], w.T[None], dim=2),
        "euclidean": lambda: -(torch.cdist(x, w.T) ** 2),
        "inner": lambda: x @ w + params["similarity"]["bias"],
    }[kind]()
    g = torch.nn.functional.batch_norm(
        x @ params["domain"]["kernel"] + params["domain"]["bias"],
        stats["mean"],
        stats["var"],
        params["domain_norm"]["scale"],
        params["domain_norm"]["bias"],
        training=train,
    ).sigmoid()
    return (h / g).numpy(), h.numpy(), g.numpy()[:, 0]


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_against_torch(kind, train, key, rng):
    head, variables, features = made(key, rng, kind)
    if train:
        got, _ = fast(partial(head.apply, train=True, mutable=["batch_stats"]))(variables, features)
    else:
        got = fast(partial(head.apply, train=False))(variables, features)
    for ours, theirs in zip(got, by_torch(variables, features, kind, train), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6)


def test_double_precision(key, rng):
    head, variables, features = made(key, rng, "euclidean")
    # Flax's batch norm subtracts float32 statistics as they are: promotion is left to JAX.
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        got = fast(partial(head.apply, train=False))(variables, features.astype(jnp.float64))
        assert {leaf.dtype for leaf in got} == {np.dtype(np.float64)}
    np.testing.assert_allclose(got.similarities, by_torch(variables, features, "euclidean", False)[1], rtol=1e-12)


def test_by_hand():
    """Class vectors (1, 0) and (0, 2), features (3, 4), g = sigmoid(0) = 1/2 doubles the logits."""
    kernel = jnp.float32([[1, 0], [0, 2]])
    params = {
        "similarity": {"kernel": kernel, "bias": jnp.float32([1, 0])},
        "domain": {"kernel": jnp.float32([[1], [-0.75]]), "bias": jnp.float32([0])},
        "domain_norm": {"scale": jnp.float32([1]), "bias": jnp.float32([0])},
    }
    stats = {"domain_norm": {"mean": jnp.float32([0]), "var": jnp.float32([1])}}
    for kind, expected in {"cosine": [0.6, 0.8], "euclidean": [-20, -13], "inner": [4, 8]}.items():
        head = DecomposedConfidence(2, kind)
        used = params if kind == "inner" else {**params, "similarity": {"kernel": kernel}}
        got = fast(partial(head.apply, train=False))({"params": used, "batch_stats": stats}, jnp.float32([[3, 4]]))
        np.testing.assert_allclose(got.similarities, [expected], rtol=1e-6)
        np.testing.assert_allclose(got.domain, [0.5])
        np.testing.assert_allclose(got.logits, 2 * got.similarities, rtol=1e-6)


def test_ranges(key, rng):
    for kind, low, high in (("cosine", -1, 1), ("euclidean", -np.inf, 0)):
        head, variables, features = made(key, rng, kind)
        got = fast(partial(head.apply, train=False))(variables, 100 * features)
        assert low - 1e-6 <= got.similarities.min()
        assert got.similarities.max() <= high + 1e-6
        assert 0 <= got.domain.min() <= got.domain.max() <= 1


def test_features_of_zeros_have_gradients(key, rng):
    head, variables, _ = made(key, rng, "cosine")
    total = jax.grad(lambda x: head.apply(variables, x, train=False).similarities.sum())
    gradient = fast(total)(jnp.zeros((1, 6), jnp.float32))
    assert jnp.isfinite(gradient).all()


def test_it_learns(key, rng):
    """Cross-entropy on f falls under a few steps of descent, and batch norm's statistics move."""
    head = DecomposedConfidence(3)
    labels = jnp.asarray(rng.integers(0, 3, 60))
    centers = jnp.asarray(rng.normal(size=(3, 6)), jnp.float32)
    features = centers[labels] + 0.1 * jnp.asarray(rng.normal(size=(60, 6)), jnp.float32)
    variables = fast(partial(head.init, train=False))(key, features)

    def loss(params, stats):
        out, new = head.apply({"params": params, "batch_stats": stats}, features, train=True, mutable=["batch_stats"])
        return optax.losses.softmax_cross_entropy_with_integer_labels(out.logits, labels).mean(), new["batch_stats"]

    def body(_, carry):
        params, stats = carry
        (_, stats), gradient = jax.value_and_grad(loss, has_aux=True)(params, stats)
        return jax.tree.map(lambda p, g: p - 0.05 * g, params, gradient), stats

    start = (variables["params"], variables["batch_stats"])
    before = fast(loss)(*start)[0]
    end = fast(lambda carry: jax.lax.fori_loop(0, 50, body, carry))(start)
    assert fast(loss)(*end)[0] < 0.7 * before
    assert not np.allclose(end[1]["domain_norm"]["mean"], 0)


def test_class_vectors_escape_weight_decay(key, rng):
    _, variables, _ = made(key, rng, "inner")
    params = {"trunk": {"kernel": jnp.ones(2)}, "head": variables["params"]}
    mask = decay_mask(params)
    assert mask["trunk"]["kernel"] is True
    assert mask["head"]["similarity"] == {"kernel": False, "bias": False}
    assert mask["head"]["domain"] == {"kernel": True, "bias": True}
    decay = optax.add_decayed_weights(0.1, mask=decay_mask)
    updates, _ = decay.update(jax.tree.map(jnp.zeros_like, params), decay.init(params), params)
    np.testing.assert_allclose(updates["trunk"]["kernel"], 0.1, rtol=1e-6)
    np.testing.assert_array_equal(updates["head"]["similarity"]["kernel"], 0)


def test_initial_class_vectors(key):
    """N(0, 2/d)."""
    kernel = fast(partial(DecomposedConfidence(400).init, train=False))(key, jnp.ones((1, 50)))["params"]["similarity"][
        "kernel"
    ]
    np.testing.assert_allclose(kernel.std(), np.sqrt(2 / 50), rtol=0.02)
    assert kernel.shape == (50, 400)


def test_bad_settings():
    with pytest.raises(ValueError, match="kind must be one of 'cosine', 'euclidean', 'inner'; got 'cos'"):
        DecomposedConfidence(3, "cos")
    with pytest.raises(ValueError, match="classes must be at least 1"):
        DecomposedConfidence(0)
