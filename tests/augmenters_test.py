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
        ("flow", "affine", {"bound": 1.5}, invariance.FlowAugmenter, 6 * math.log(3)),
        ("instaaug", "rotation", {}, invariance.InstaAug, math.log(2)),
        ("crop_grid", "crop", {}, invariance.CropGrid, math.log(321)),
        ("flow_and_grid", "crop", {"layers": 2}, invariance.FlowAndGrid, math.log(321)),
        ("flow_and_grid", "crop", {"entropy_of": "flow"}, invariance.FlowAndGrid, 4 * math.log(2)),
        ("augerino", "rotation", {}, invariance.Augerino, math.inf),
        ("gaussian", "affine", {}, invariance.Gaussian, math.inf),
        ("uniform", "rotation", {"width": 0.25}, invariance.Uniform, math.inf),
    ],
)
def test_augmenters_and_their_largest_entropy(name, kind, options, made, largest):
    config = tiny.flow_config(invariance__augmenter=name, invariance__kind=kind, invariance__options=options)
    augmenter = augmenters.create_augmenter(config)
    assert isinstance(augmenter, made)
    assert augmenter.kind == kind
    np.testing.assert_allclose(augmenters.max_entropy(augmenter), largest)


def test_controllers():
    for name, options, made in (
        ("fixed", {}, invariance.Fixed(0.3)),
        ("pid", {"target": 0.2, "kp": 0.5}, invariance.PID(0.2, kp=0.5, weight=0.3)),
        ("range", {"minimum": -1.0, "maximum": 0.0}, invariance.EntropyRange(-1.0, 0.0, weight=0.3)),
    ):
        config = tiny.flow_config(
            invariance__controller=name, invariance__controller_options=options, invariance__weight=0.3
        )
        assert augmenters.create_controller(config, augmenters.create_augmenter(config)) == made


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
        ({"controller": "range", "controller_options": {"minimum": 0.1}}, 'needs .*"maximum"'),
        ({"controller_options": {"target": 0.1}}, "option of controller fixed must be one of"),
        (
            {"controller": "pid", "controller_options": {"target": 2.0}},
            r"target entropy of 2 nats cannot be reached: the largest is 0\.6931",
        ),
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


def test_an_augmenter_without_parameters_needs_no_second_part():
    config = tiny.flow_config(invariance__optim__name="sgd")
    made = augmenters.create_optimizer(config, optax.sgd(0.5), lambda name, *, lr: optax.constant_schedule(lr))
    params = {"classifier": {"w": jnp.ones(2)}}
    updates, _ = made.update(params, made.init(params), params)
    assert float(updates["classifier"]["w"][0]) == -0.5


@pytest.mark.parametrize("name", ["uniform", "augerino", "instaaug", "gaussian", "flow", "crop_grid", "flow_and_grid"])
def test_predictions_of_any_number_of_images(name):
    """No shape depends on how many there are, so that `jax.export` can leave the number open."""
    crops = {"invariance__kind": "crop", "invariance__pose": "crop_network"} if "grid" in name else {}
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
