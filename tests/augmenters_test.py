"""From `config.invariance` to objects: every augmenter, options, controllers, optimizers, and mistakes by message."""

import math

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

from mollax import augmenters, invariance, models

NETWORK = models.create_model("mlp", classes=10)


@pytest.mark.parametrize(
    "name, kind, options, made, largest",
    [
        ("flow", "affine", {"bound": 1.5}, invariance.FlowAugmenter, 6 * math.log(3 * math.tanh(4))),
        ("instaaug", "rotation", {}, invariance.InstaAug, math.log(2)),
        ("crop_grid", "crop", {}, invariance.CropGrid, math.log(321)),
        ("flow_and_grid", "crop", {"layers": 2}, invariance.FlowAndGrid, math.log(321)),
        ("flow_and_grid", "crop", {"entropy_of": "flow"}, invariance.FlowAndGrid, 4 * math.log(2)),
        ("flow", "rotation", {"prior_scale": 0.1}, invariance.FlowAugmenter, math.log(0.1 * 4.1327313541)),
        ("augerino", "rotation", {"max_width": 3.0}, invariance.Augerino, math.log(6)),
        ("augerino", "crop", {}, invariance.Augerino, 4 * math.log(2)),
        ("augerino", "rotation", {"half_width": True}, invariance.Augerino, math.log(10)),
        ("gaussian", "affine", {"prior_scale": 0.2}, invariance.Gaussian, 6 * math.log(0.2 * 4.1327313541)),
        ("uniform", "rotation", {"width": 0.25}, invariance.Uniform, math.log(0.5)),
    ],
)
def test_augmenters_and_their_largest_entropy(name, kind, options, made, largest):
    config = tiny.flow_config(invariance__augmenter=name, invariance__kind=kind, invariance__options=options)
    augmenter = augmenters.create_augmenter(config)
    assert isinstance(augmenter, made)
    assert augmenter.kind == kind
    np.testing.assert_allclose(augmenters.max_entropy(augmenter), largest, rtol=1e-4)  # sqrt(2 pi e) = 4.1327


def test_controllers():
    for name, options, made in (
        ("fixed", {}, invariance.Fixed(0.3)),
        ("annealed", {"start": 2.0, "period": "3 epochs"}, invariance.Annealed(0.3, start=2.0, period=21)),
        ("pid", {"target": 0.2, "kp": 0.5}, invariance.PID(0.2, kp=0.5, weight=0.3)),
        ("range", {"minimum": -1.0, "maximum": 0.0}, invariance.EntropyRange(-1.0, 0.0, weight=0.3)),
        (
            "range",
            {"minimum": -1.0, "maximum": 0.0, "period": "2 epochs"},
            invariance.EntropyRange(-1.0, 0.0, weight=0.3, period=14),
        ),
    ):
        config = tiny.flow_config(
            invariance__controller=name, invariance__controller_options=options, invariance__weight=0.3
        )
        augmenter = augmenters.create_augmenter(config)
        assert augmenters.create_controller(config, augmenter, lambda name, text: 7 * int(text[0])) == made


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"augmenter": "flo"}, "invariance.augmenter must be one of .*Did you mean 'flow'"),
        ({"kind": "rotatio"}, "invariance.kind must be one of .*Did you mean 'rotation"),
        ({"options": {"layer": 2}}, "option of flow must be one of .*Did you mean 'layers'"),
        ({"augmenter": "augerino", "options": {"layers": 2}}, "option of augerino must be one of"),
        ({"augmenter": "gaussian", "kind": "crop", "options": {}}, "crops would leave the image"),
        ({"augmenter": "crop_grid", "options": {}}, "kind of a CropGrid must be one of 'crop'"),
        ({"pose": "resnet"}, "invariance.pose must be one of"),
        ({"controller": "pi"}, "invariance.controller must be one of"),
        ({"controller": "pid"}, 'invariance.controller "pid" needs .*"target"'),
        ({"controller": "annealed"}, 'invariance.controller "annealed" needs .*"period": "50 %"'),
        ({"controller": "range", "controller_options": {"minimum": 0.1}}, 'needs .*"maximum"'),
        ({"controller_options": {"target": 0.1}}, "option of controller fixed must be one of"),
        (
            {"controller": "pid", "controller_options": {"target": 2.0}},
            r"target entropy of 2 nats cannot be reached: the largest is 0\.6931",
        ),
        (
            {"augmenter": "gaussian", "options": {}, "controller": "pid", "controller_options": {"target": 3.0}},
            "target entropy of 3 nats cannot be reached",
        ),
        (
            {"augmenter": "uniform", "options": {}, "controller": "pid", "controller_options": {"target": 0.0}},
            'A "uniform" augmenter learns nothing',
        ),
        ({"controller_options": {"weight": 1.0}}, "option of controller fixed must be one of"),
        ({"limits": (1.0, 0.7)}, r"invariance.limits of crops must be 0 < low <= high <= 1; got \(1, 0.7\)"),
        ({"late_limits": (0.9, 1.6), "late_from": "3 steps"}, "invariance.late_limits of crops must be"),
        ({"late_limits": (0.35, 1.0)}, "give both, or neither"),
        ({"late_from": "3 steps"}, "give both, or neither"),
        ({"pose": "crop_network"}, "the crop_network has none"),
        ({"pose_options": {"batch_norm": True}}, "the pose network keeps no averages"),
        ({"average": "logits"}, 'invariance.average "logits" is over copies of an image'),
        ({"average": "sum"}, "invariance.average must be one of"),
        ({"copies": 0}, "invariance.copies must be at least 1"),
    ],
)
def test_mistakes(changes, message):
    config = tiny.flow_config(**{f"invariance__{name}": value for name, value in changes.items()})

    def make():
        learned = augmenters.create_learned(config, NETWORK, lambda name, text: 3)
        return augmenters.create_objective(config, learned, classes=10, mean=tiny.MEAN, std=tiny.STD)

    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"predict__draws": -1}, "invariance.predict.draws must be at least 0"),
        ({"predict__average": "prob"}, "invariance.predict.average must be one of .*Did you mean 'probs'"),
        ({"predict__radius": -1.0}, "invariance.predict.radius must be in"),
        ({"kind": "crop", "predict__radius": 1.0}, "radius is for transforms around the identity"),
        (
            {"kind": "crop", "augmenter": "flow_and_grid", "predict__draws": 5},
            r"invariance\.predict\.draws must be even; got 5",
        ),
    ],
)
def test_predictions_are_checked_before_training(changes, message):
    config = tiny.flow_config(**{f"invariance__{name}": value for name, value in changes.items()})
    learned = augmenters.create_learned(config, NETWORK, lambda name, text: 3)
    with pytest.raises(ValueError, match=message):
        augmenters.create_predict(config, learned, mean=tiny.MEAN, std=tiny.STD)


def test_copies_of_two_augmenters_are_even():
    config = tiny.flow_config(invariance__kind="crop", invariance__augmenter="flow_and_grid")
    learned = augmenters.create_learned(config, NETWORK, lambda name, text: 3)
    with pytest.raises(ValueError, match=r"invariance\.copies must be even; got 1"):
        augmenters.create_objective(config, learned, classes=10, mean=tiny.MEAN, std=tiny.STD)


def test_repeats_and_consistency_are_for_other_runs():
    for change, message in (
        ({"mollify__enabled": True, "mollify__repeats": 2}, "mollify.repeats does not go with"),
        ({"loss__consistency": 12.0}, "loss.consistency does not go with"),
    ):
        with pytest.raises(ValueError, match=message):
            augmenters.create_learned(tiny.flow_config(**change), NETWORK, lambda name, text: 3)


def test_two_optimizers_each_on_its_part():
    params = {"classifier": {"w": jnp.ones(2)}, "augmenter": {"v": jnp.ones(3)}}
    gradient = jax.tree.map(jnp.ones_like, params)

    def moved(**changes):
        settings = {"invariance__optim__name": "sgd", "invariance__optim__clip_norm": 0.0, **changes}
        config = tiny.flow_config(invariance__optim__lr=0.25, invariance__optim__weight_decay=0.0, **settings)
        made = augmenters.create_optimizer(config, optax.sgd(0.5), lambda name, *, lr: optax.constant_schedule(lr))
        updates, _ = made.update(gradient, made.init(params), params)
        return float(updates["classifier"]["w"][0]), float(updates["augmenter"]["v"][0])

    assert moved() == (-0.5, -0.25)
    assert moved(invariance__freeze_classifier=True) == (0.0, -0.25)
    clipped = moved(invariance__optim__clip_norm=1.0)
    np.testing.assert_allclose(clipped, (-0.5, -0.25 / math.sqrt(3)), rtol=1e-6)


def test_the_augmenter_rests_in_the_warm_up_and_starts_as_adam_does():
    """Adam fed with zeros would start at several times the learning rate, its bias correction being over."""
    config = tiny.flow_config(invariance__optim__lr=0.25, invariance__optim__weight_decay=0.1)
    config.invariance.optim.name = "adamw"
    rates = optax.linear_schedule(1.0, 0.0, 10)
    made = augmenters.create_optimizer(config, optax.sgd(0.5), lambda name, *, lr: rates, warmup=4)
    params = {"classifier": {"w": jnp.ones(2)}, "augmenter": {"v": jnp.ones(3)}}
    with jax.numpy_dtype_promotion("standard"):  # of optax's Adam
        state = made.init(params)
        ones, zeros = jax.tree.map(jnp.ones_like, params), jax.tree.map(jnp.zeros_like, params)
        for _ in range(4):
            updates, after = made.update({**ones, "augmenter": zeros["augmenter"]}, state, params)
            assert float(jnp.abs(updates["augmenter"]["v"]).max()) == 0
            assert float(updates["classifier"]["w"][0]) == -0.5
            rest = [leaf for leaf in jax.tree.leaves(after) if leaf.shape == (3,)]
            assert len(rest) == 2
            assert all(float(jnp.abs(moment).max()) == 0 for moment in rest)
            state = after
        updates, _ = made.update(ones, state, params)
    # One step of Adam is the rate, that of step 4 of the run, and the decay is .1 of it.
    np.testing.assert_allclose(updates["augmenter"]["v"], -0.6 * (1 + 0.1), rtol=1e-4)


def test_an_augmenter_without_parameters_needs_no_second_part():
    config = tiny.flow_config(invariance__optim__name="sgd")
    made = augmenters.create_optimizer(config, optax.sgd(0.5), lambda name, *, lr: optax.constant_schedule(lr))
    params = {"classifier": {"w": jnp.ones(2)}}
    updates, _ = made.update(params, made.init(params), params)
    assert float(updates["classifier"]["w"][0]) == -0.5


@pytest.mark.parametrize("name", ["uniform", "augerino", "instaaug", "gaussian", "flow", "crop_grid", "flow_and_grid"])
def test_predictions_of_any_number_of_images(name):
    """No shape depends on how many there are, so that `jax.export` can leave the number open."""
    crops = {"invariance__kind": "crop", "invariance__pose": "crop_network", "invariance__pose_options": {}}
    crops = crops if "grid" in name else {}
    config = tiny.flow_config(invariance__augmenter=name, invariance__options={}, **crops)
    side, channels = (64, 3) if crops else (8, 1)
    learned = augmenters.create_learned(config, NETWORK, lambda name, duration: 0)
    predict = augmenters.create_predict(config, learned, mean=jnp.zeros(channels), std=jnp.ones(channels))
    (b,) = jax.export.symbolic_shape("b")

    def arrays(count):
        shape = (count, side, side, channels)
        return jax.ShapeDtypeStruct((count, 2), jnp.uint32), jax.ShapeDtypeStruct(shape, jnp.float32)

    def start(raw, images):
        return learned.model.init(jax.random.key(0), jax.random.wrap_key_data(raw), images, method="start")

    variables = jax.eval_shape(start, *arrays(1))
    logits = jax.eval_shape(lambda v, raw, x: predict(v, jax.random.wrap_key_data(raw), x), variables, *arrays(b))
    assert str(logits.shape) == "(b, 10)"
