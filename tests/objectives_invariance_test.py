"""The objective of classifier and augmenter: eq 9 and 10 by hand, warm-up, copies, freezing, devices, controllers."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny
from compiling import fast

from mollax import invariance, keys, models, objectives, optim, parallel, step
from mollax.image import affine_warp, standardize
from mollax.objectives import Warmup
from mollax.state import create_state


def batch_of(count):
    images, labels = tiny.digits(count)
    return {"image": jnp.asarray(images), "label": jnp.asarray(labels)}


EXTRA = {"invariance": {"step": jnp.int32(5), "weight": jnp.float32(0.2)}}


def network(augmenter=None):
    """A small classifier on digits with a flow over rotations."""
    net = models.create_model("mlp", classes=10, axis_name=parallel.AXIS, hidden=(16,))
    if augmenter is None:
        flow = invariance.TransformFlow(dimension=1, layers=1, widths=(8,), init_scale=0.3)
        pose = models.create_model("mlp", classes=6, hidden=())
        augmenter = invariance.FlowAugmenter("rotation", pose, flow)
    return invariance.TransformedClassifier(net, augmenter)


def variables_of(model, images):
    start = fast(lambda key, k, x: model.init(key, k, x, method="start"))
    return start(jax.random.key(0), keys.example_keys(jax.random.key(1), 0, 1), images[:1])


@pytest.fixture(scope="module")
def problem():
    model = network()
    return model, variables_of(model, jnp.zeros((1, 8, 8, 1))), batch_of(8)


def make(model, **options):
    return objectives.invariance_objective(model, classes=10, mean=tiny.MEAN, std=tiny.STD, **options)


def outcome(problem, key, extra=EXTRA, params=None, **options):
    model, variables, batch = problem
    value, (metrics, state, _) = make(model, **options)(params or variables["params"], {}, extra, batch, key, 0)
    return value, (metrics, state)


def run(problem, key, extra=EXTRA, **options):
    return fast(lambda extra, key: outcome(problem, key, extra, **options))(extra, key)


def draws_of(problem, key, n):
    model, variables, batch = problem
    draw_key = jax.random.split(key, 3)[2]
    plain = standardize(batch["image"].astype(jnp.float32) / 255, tiny.MEAN, tiny.STD)
    draw = fast(lambda v, k, x: model.apply(v, k, x, n=n, method="draw"))
    return draw(variables, keys.example_keys(draw_key, 0, 8), plain)


@pytest.mark.parametrize("average", ["loss", "logits"])
def test_the_loss_is_cross_entropy_plus_weighted_penalty(problem, key, average):
    model, variables, batch = problem
    value, (metrics, _) = run(problem, key, copies=3, average=average)
    draws = draws_of(problem, key, 3)
    losses = []
    for i in range(8):
        image = jnp.asarray(batch["image"][i].astype(jnp.float32) / 255)
        warped = jnp.stack([affine_warp(image, m) for m in draws.matrices[i]])
        logits = model.apply(variables, standardize(warped, tiny.MEAN, tiny.STD), train=False)
        if average == "logits":
            logits = logits.mean(0, keepdims=True)
        losses.append(-jax.nn.log_softmax(logits)[:, batch["label"][i]].mean())
    expected = jnp.mean(jnp.array(losses))
    np.testing.assert_allclose(metrics["cross_entropy"], expected, rtol=1e-5)
    np.testing.assert_allclose(value, expected + 0.2 * draws.log_density.mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["entropy"], -draws.log_density.mean(), rtol=1e-5)


def test_the_original_is_added(problem, key):
    model, variables, batch = problem
    without, _ = run(problem, key)
    with_it, _ = run(problem, key, include_original=True)
    plain = standardize(batch["image"].astype(jnp.float32) / 255, tiny.MEAN, tiny.STD)
    logits = model.apply(variables, plain, train=False)
    original = -jax.nn.log_softmax(logits)[np.arange(8), batch["label"]].mean()
    np.testing.assert_allclose(with_it - without, original, rtol=1e-4)


def test_the_augmenters_gradient_comes_through_the_warp_and_the_density(problem, key):
    params = problem[1]["params"]

    def gradient(weight):
        extra = {"invariance": {**EXTRA["invariance"], "weight": jnp.float32(weight)}}
        found = fast(jax.grad(lambda p: outcome(problem, key, params=p, extra=extra)[0]))(params)
        return found["classifier"], optax.tree.norm(found["augmenter"])

    (first, through_warp), (second, both) = gradient(0.0), gradient(0.2)
    assert float(through_warp) > 0
    assert abs(float(both) - float(through_warp)) > 1e-3 * float(both)
    jax.tree.map(np.testing.assert_array_equal, first, second)


def test_warm_up_shows_images_as_they_are_and_teaches_the_augmenter_nothing(problem, key):
    model, variables, batch = problem
    plan = Warmup(steps=6)
    value, (metrics, *_) = run(problem, key, warmup=plan)
    plain = standardize(batch["image"].astype(jnp.float32) / 255, tiny.MEAN, tiny.STD)
    logits = model.apply(variables, plain, train=False)
    np.testing.assert_allclose(value, -jax.nn.log_softmax(logits)[np.arange(8), batch["label"]].mean(), rtol=1e-5)
    assert float(metrics["augmenting"]) == 0
    gradient = fast(jax.grad(lambda p: outcome(problem, key, params=p, warmup=plan)[0]))(variables["params"])
    assert float(optax.tree.norm(gradient["augmenter"])) == 0
    assert float(optax.tree.norm(gradient["classifier"])) > 0
    later = {"invariance": {**EXTRA["invariance"], "step": jnp.int32(6)}}
    assert float(run(problem, key, warmup=plan, extra=later)[1][0]["augmenting"]) == 1


def test_limits_of_crops_change_when_it_is_late():
    plan = Warmup(limits=(0.7, 1.0), late_limits=(0.35, 0.9), late_from=20)
    for at, expected in ((19, (0.7, 1.0)), (20, (0.35, 0.9))):
        np.testing.assert_allclose(plan.limits_at(jnp.int32(at)), expected)


def test_mollification_comes_after_the_transform(problem, key):
    def cross_entropy(params):
        return outcome(problem, key, params=params, copies=2, mollifier={"roles": ("pure_noise",)})[1][0][
            "cross_entropy"
        ]

    value, gradient = fast(jax.value_and_grad(cross_entropy))(problem[1]["params"])
    # Nothing of image or label is left, whatever the transform.
    np.testing.assert_allclose(value, math.log(10), atol=0.5)
    assert float(optax.tree.norm(gradient["augmenter"])) < 1e-6


@pytest.mark.parametrize("average", ["loss", "logits"])
def test_crops_are_learned_by_their_score(key, average):
    """The objective takes surrogate losses: without them a grid's logits would have no gradient but the penalty's."""
    pose = models.create_model("mlp", classes=4, hidden=())
    grid = invariance.CropGrid(pose, sides=(2,), sizes=(0.75,), offsets=(0.0,))
    model = network(grid)
    variables = variables_of(model, jnp.zeros((1, 8, 8, 1)))
    extra = {"invariance": {**EXTRA["invariance"], "weight": jnp.float32(0.0)}}

    def loss(params, warmup):
        plan = Warmup(steps=warmup)
        return make(model, copies=2, average=average, warmup=plan)(params, {}, extra, batch_of(8), key, 0)[0]

    slopes = fast(jax.grad(loss), static_argnums=1)
    assert float(optax.tree.norm(slopes(variables["params"], 0)["augmenter"])) > 1e-3
    # In the warm-up nothing is chosen.
    assert float(optax.tree.norm(slopes(variables["params"], 6)["augmenter"])) == 0


def test_the_score_of_averaged_logits_is_that_of_all_copies(key):
    pose = models.create_model("mlp", classes=2, hidden=())
    model = network(invariance.CropGrid(pose, sides=(1, 1), sizes=(0.5, 1.0), offsets=(0.0, 0.0)))
    params = variables_of(model, jnp.zeros((1, 8, 8, 1)))["params"]
    params = jax.tree.map(lambda leaf: 3 * leaf, params)
    extra, batch = {"invariance": {**EXTRA["invariance"], "weight": jnp.float32(0.0)}}, batch_of(2)
    objective = make(model, copies=2, average="logits")
    plain = batch["image"].astype(jnp.float32) / 255

    def exact(weights):
        """The expected loss over the four pairs of two crops."""
        p = jax.nn.softmax(pose.apply({"params": weights}, standardize(plain, tiny.MEAN, tiny.STD), train=False))
        matrices = jnp.array([[[size, 0.0, 0.0], [0.0, size, 0.0]] for size in (0.5, 1.0)])
        crops = jnp.stack([jnp.stack([affine_warp(image, m) for image in plain]) for m in matrices])
        logits = [
            model.apply({"params": params}, standardize(crop, tiny.MEAN, tiny.STD), train=False) for crop in crops
        ]
        total = 0.0
        for i, j in np.ndindex(2, 2):
            losses = -jnp.take_along_axis(jax.nn.log_softmax((logits[i] + logits[j]) / 2), batch["label"][:, None], 1)
            total += jnp.mean(p[:, i] * p[:, j] * losses[:, 0])
        return total

    expected = jax.grad(exact)(params["augmenter"]["pose"])["linear"]["bias"]
    sampled = jax.vmap(jax.grad(lambda p, k: objective(p, {}, extra, batch, k, 0)[0]), (None, 0))
    found = fast(sampled)(params, jax.random.split(key, 30_000))["augmenter"]["pose"]["linear"]["bias"]
    error = 4 * found.std(0).max() / math.sqrt(30_000)
    assert error < 0.5 * jnp.abs(expected).max()
    np.testing.assert_allclose(found.mean(0), expected, atol=error)


def controlled_step(model, controller, optimizer=None):
    extra, adapt = objectives.create_controlled(controller)
    made = make(model, warmup=Warmup(steps=1))
    optimizer = optimizer or optim.create_optimizer("sgd", optax.constant_schedule(0.05))
    state = create_state(variables_of(model, jnp.zeros((1, 8, 8, 1))), optimizer, extra={"invariance": extra}, ema=True)
    function = functools.partial(
        step.train_step, objective=made, optimizer=optimizer, seed=1, adapt=adapt, ema_decay=0.9
    )
    return function, state


def test_devices_and_parts_agree_on_the_controller():
    """One step of the controller an update, from the mean entropy of the whole batch."""
    images, labels = tiny.digits(48)
    controller = invariance.PID(target=0.5, kp=0.1, ki=0.1, weight=0.2, smoothing=0.0)
    function, start = controlled_step(network(), controller)
    ends = []
    for devices, accumulate in ((1, 1), (2, 2)):
        state = start
        on_devices = jax.pmap(
            functools.partial(function, accumulate=accumulate),
            axis_name=parallel.AXIS,
            in_axes=(None, 0),
            out_axes=None,
            devices=jax.devices()[:devices],
        )
        for number in range(3):
            part = slice(16 * number, 16 * number + 16)
            batch = {"image": images[part], "label": labels[part]}
            batch = jax.tree.map(lambda leaf, n=devices: leaf.reshape(n, -1, *leaf.shape[1:]), batch)
            state, metrics = on_devices(state, batch)
        ends.append((state, float(metrics["weight"])))
    # The first step is warm-up, so the controller has moved twice, and the third loss used its first move.
    assert [int(state.extra["invariance"]["step"]) for state, _ in ends] == [3, 3]
    weights = [float(state.extra["invariance"]["weight"]) for state, _ in ends]
    np.testing.assert_allclose(weights[1], weights[0], rtol=1e-5)
    assert weights[0] != ends[0][1] != 0.2
    assert "ema" in ends[0][0].extra


def test_the_controller_rests_during_the_warm_up():
    extra, adapt = objectives.create_controlled(invariance.PID(target=0.5))
    metrics = {"entropy": jnp.float32(-3.0), "augmenting": jnp.float32(0.0)}
    after = adapt({"invariance": extra, "ema": 1}, metrics)
    assert int(after["invariance"]["step"]) == 1
    assert float(after["invariance"]["weight"]) == float(extra["weight"])
    assert after["ema"] == 1
    moved = adapt(after, {**metrics, "augmenting": jnp.float32(1.0)})
    assert float(moved["invariance"]["weight"]) > float(extra["weight"])


@pytest.mark.slow
def test_together_they_learn(problem):
    """Twenty steps on eight digits: the loss falls and the classifier is right on transformed images."""
    model, _, batch = problem
    function, state = controlled_step(
        model, invariance.Fixed(0.05), optim.create_optimizer("sgd", optax.constant_schedule(0.1), clip_norm=1.0)
    )
    jitted = fast(jax.vmap(function, in_axes=(None, 0), axis_name=parallel.AXIS))
    one = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], batch)
    losses = []
    for _ in range(40):
        state, metrics = jitted(state, one)
        state = jax.tree.map(lambda leaf: leaf[0], state)
        losses.append(float(metrics["cross_entropy"][0]))
    assert np.mean(losses[-5:]) < 0.6 * losses[0]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"copies": 0}, "invariance.copies must be at least 1"),
        ({"average": "mean"}, "invariance.average must be one of"),
        ({"average": "logits", "copies": 2, "mollifier": {}}, "needs one label for all copies"),
        ({"average": "logits"}, "is over copies of an image; set invariance.copies"),
        ({"loss": "hinge"}, "loss.name must be one of"),
    ],
)
def test_bad_settings(problem, options, message):
    with pytest.raises(ValueError, match=message):
        make(problem[0], **options)
