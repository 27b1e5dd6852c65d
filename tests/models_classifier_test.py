"""What every network promises: consistent methods, dtypes, gradients, synchronised norms, clear errors."""

from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from model_variables import drawn

from mollax.models import (
    CNN,
    MLP,
    MODELS,
    AllConv,
    Classifier,
    Conv13,
    DenseNet,
    GoogLeNet,
    PreActResNet,
    ResNet,
    ResNetCifar,
    ResNeXt,
    ViT,
    WideResNet,
)

SMALL = {
    "preact_basic": partial(PreActResNet, block="basic", stages=(1, 1, 1), planes=4),
    "preact_bottleneck": partial(PreActResNet, block="bottleneck", final_norm=True, stages=(1, 1), planes=4),
    "resnet": partial(ResNetCifar, planes=4),
    "cnn": partial(CNN, widths=(4, 4, 6, 8), batch_norm=True),
    "mlp": partial(MLP, hidden=(16,), dropout=0.2),
    "conv13": partial(Conv13, width=4),
    "resnet_stages": partial(ResNet, stages=(1, 1), planes=4),
    "resnext": partial(ResNeXt, depth=11, cardinality=2, base_width=2, planes=2),
    "wide": partial(WideResNet, depth=10, width=1),
    "densenet": partial(DenseNet, layers=(1, 1), growth=4, bottleneck=True, compression=0.5),
    "googlenet": partial(GoogLeNet, stages=(((2, 3, 4, 1, 2, 3),), ((3, 2, 4, 2, 3, 1),)), stem=4),
    "allconv": partial(AllConv, widths=(4, 6)),
    "vit": partial(ViT, patch=4, width=8, depth=2, heads=2, mlp=12, dropout=0.1),
    "vit_mean": partial(ViT, patch=4, width=8, depth=1, heads=1, mlp=12, pooling="mean"),
}
FEATURES = {"preact_basic": 16, "preact_bottleneck": 32, "resnet": 16, "cnn": 8, "mlp": 16, "conv13": 8}
FEATURES |= {"resnet_stages": 8, "resnext": 32, "wide": 64, "densenet": 10, "googlenet": 11, "allconv": 6}
FEATURES |= {"vit": 8, "vit_mean": 8}
SIDES = {"cnn": 8, "mlp": 1, "allconv": 12} | dict.fromkeys(
    ("preact_bottleneck", "resnet_stages", "densenet", "googlenet"), 2
)
# With dropout a parameter may get no gradient from a small batch, and two ways to the same result differ.
NO_DROPOUT = {name: {"dropout": 0.0} for name in ("conv13", "allconv", "vit")}


def build(name, shape=(4, 16, 16, 3), **options):
    rng = np.random.default_rng(1)
    model = SMALL[name](classes=5, **options)
    return model, drawn(model, rng, *shape[1:]), jnp.asarray(rng.normal(size=shape), jnp.float32)


def test_every_class_of_the_table_is_covered():
    assert {getattr(make, "func", make) for make in MODELS.values()} == {make.func for make in SMALL.values()}


@pytest.mark.parametrize("shape", [(4, 16, 16, 3), (3, 12, 13, 1)])
@pytest.mark.parametrize("name", SMALL)
def test_the_four_methods_agree(name, shape):
    model, variables, images = build(name, shape)

    @jax.jit
    def call(x):
        def apply(x, **options):
            return model.apply(variables, x, **options)

        maps = apply(x, train=False, method="feature_maps")
        features = apply(x, train=False, method="features")
        return (
            maps,
            features,
            apply(x, train=False),
            apply(features, method="head"),
            apply(maps, method="pool"),
        )

    maps, features, logits, head, pooled = call(images)
    assert maps.ndim == 4
    assert maps.shape[0] == shape[0]
    assert maps.shape[3] == FEATURES[name]
    assert features.shape == (shape[0], FEATURES[name])
    assert logits.shape == (shape[0], 5)
    assert {x.dtype for x in (maps, features, logits)} == {jnp.dtype("float32")}
    np.testing.assert_allclose(logits, head, atol=1e-5)
    np.testing.assert_allclose(features, pooled, atol=1e-5)
    linear = variables["params"]["linear"]
    np.testing.assert_allclose(logits, np.asarray(features) @ linear["kernel"] + linear["bias"], atol=1e-5)
    if name == "vit":
        np.testing.assert_array_equal(features, np.asarray(maps)[:, 0, 0])
    elif name != "cnn":
        np.testing.assert_allclose(features, np.asarray(maps).mean((1, 2)), atol=1e-5)
    if name not in ("preact_basic", "allconv", "vit", "vit_mean"):
        assert (np.asarray(features) >= 0).all()


class HalfHead(nn.Module):
    """A head other than the linear one: similarities, and logits of half of them; it counts its training calls."""

    @nn.compact
    def __call__(self, features, *, train):
        calls = self.variable("calls", "count", lambda: jnp.zeros(()))
        if train and not self.is_initializing():
            calls.value += 1
        similarities = nn.Dense(5, name="dense")(features)
        return SimpleNamespace(logits=similarities / 2, similarities=similarities)


def test_another_head_takes_the_place_of_the_linear_one():
    model = SMALL["mlp"](classes=5, confidence=HalfHead())
    images = jnp.asarray(np.random.default_rng(1).normal(size=(4, 6, 6, 1)), jnp.float32)
    variables = model.init(jax.random.key(0), images, train=False)
    assert set(variables["params"]) == {"trunk", "confidence"}
    similarities = model.apply(variables, images, train=False, method="similarities")
    features = model.apply(variables, images, train=False, method="features")
    dense = variables["params"]["confidence"]["dense"]
    np.testing.assert_allclose(similarities, features @ dense["kernel"] + dense["bias"][None], rtol=1e-4, atol=1e-5)
    for logits in (model.apply(variables, images, train=False), model.apply(variables, features, method="head")):
        np.testing.assert_allclose(logits, similarities / 2, rtol=1e-5)
    _, after = model.apply(variables, images, train=True, mutable=["calls"], rngs={"dropout": jax.random.key(0)})
    assert float(after["calls"]["confidence"]["count"]) == 1


@pytest.mark.parametrize("name", SMALL)
def test_gradients_are_finite_and_reach_every_parameter(name):
    model, variables, images = build(name, (8, 16, 16, 3), **NO_DROPOUT.get(name, {}))
    stats = {key: value for key, value in variables.items() if key != "params"}

    def loss(params):
        logits, _ = model.apply(
            {"params": params, **stats},
            images,
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": jax.random.key(3)},
        )
        return -jax.nn.log_softmax(logits)[:, 0].mean()

    for path, leaf in jax.tree_util.tree_leaves_with_path(jax.jit(jax.grad(loss))(variables["params"])):
        assert np.isfinite(leaf).all(), path
        assert (np.asarray(leaf) != 0).any(), path


@pytest.mark.parametrize("name", SMALL)
def test_bfloat16_computes_in_bfloat16_and_keeps_float32_outside(name):
    model, variables, images = build(name, dtype=jnp.bfloat16)
    exact, _, _ = build(name)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    rngs = {"dropout": jax.random.key(3)}

    def run(model):
        call = jax.jit(lambda x: model.apply(variables, x, train=True, mutable=["batch_stats"], rngs=rngs))
        return call(images)

    (logits, updates), (reference, _) = run(model), run(exact)
    assert logits.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(updates)} <= {jnp.dtype("float32")}
    for method in ("features", "feature_maps"):
        call = partial(model.apply, variables, train=False, method=method)
        assert jax.eval_shape(call, images).dtype == jnp.float32
    difference = np.abs(np.asarray(logits - reference))
    assert 1e-5 < difference.max() < 0.1 * (1 + np.abs(reference).max())


@pytest.mark.parametrize("name", [name for name in SMALL if name not in ("preact_basic", "mlp", "vit", "vit_mean")])
def test_batch_norm_over_an_axis_sees_the_whole_batch(name):
    options = NO_DROPOUT.get(name, {})
    whole, variables, images = build(name, (8, 16, 16, 3), **options)
    split, _, _ = build(name, (8, 16, 16, 3), axis_name="batch", **options)

    def run(model, x):
        return model.apply(variables, x, train=True, mutable=["batch_stats"])

    logits, updates = jax.jit(lambda x: run(whole, x))(images)
    parts = images.reshape(2, 4, 16, 16, 3)
    part_logits, part_updates = jax.jit(jax.vmap(lambda x: run(split, x), axis_name="batch"))(parts)
    np.testing.assert_allclose(part_logits.reshape(8, 5), logits, atol=1e-4)
    for one, both in zip(jax.tree.leaves(updates), jax.tree.leaves(part_updates), strict=True):
        np.testing.assert_allclose(both[0], one, atol=1e-5, rtol=1e-4)
        np.testing.assert_allclose(both[1], one, atol=1e-5, rtol=1e-4)
    # Without the axis each part would normalise by itself, and differ.
    alone, _ = jax.jit(lambda x: run(whole, x))(parts[0])
    assert np.abs(np.asarray(alone - logits[:4])).max() > 1e-2


def test_batch_norm_over_an_axis_of_devices():
    whole, variables, images = build("resnet", (8, 16, 16, 3))
    split, _, _ = build("resnet", (8, 16, 16, 3), axis_name="batch")
    devices = min(4, jax.local_device_count())

    def run(model, x):
        return model.apply(variables, x, train=True, mutable=["batch_stats"])[0]

    logits = jax.pmap(lambda x: run(split, x), axis_name="batch", devices=jax.local_devices()[:devices])(
        images.reshape(devices, 8 // devices, 16, 16, 3)
    )
    np.testing.assert_allclose(logits.reshape(8, 5), jax.jit(lambda x: run(whole, x))(images), atol=1e-4)


@pytest.mark.parametrize("name", SMALL)
def test_bad_images_are_refused(name):
    model = SMALL[name](classes=5)

    def start(x):
        return jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), x)

    with pytest.raises(ValueError, match=r"images must have 4 axes \(n, height, width, channels\); got shape \(16,"):
        start(jnp.zeros((16, 16, 3)))
    with pytest.raises(TypeError, match="images must be floating point, got uint8: divide"):
        start(jnp.zeros((2, 16, 16, 3), jnp.uint8))
    side = model.minimum_side()
    assert side == SIDES.get(name, 4)
    start(jnp.zeros((2, side, side, 1)))
    if name != "mlp":
        expected = f"images must be at least {side} x {side}, got 32 x {side - 1}. Resize or pad"
        with pytest.raises(ValueError, match=expected):
            start(jnp.zeros((2, 32, side - 1, 1)))


def test_classes_must_be_positive():
    with pytest.raises(ValueError, match="classes must be at least 1; got 0"):
        MLP(classes=0)
    with pytest.raises(NotImplementedError, match="Classifier must say what its trunk is"):
        Classifier(classes=2).init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)), train=False)
