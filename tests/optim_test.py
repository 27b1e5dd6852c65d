"""Schedules against closed forms, optimizers against PyTorch's."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mollax import optim


def test_cosine_with_warmup():
    schedule = optim.create_schedule("cosine", lr=0.2, steps=110, warmup=10)
    assert float(schedule(0)) == 0.0
    assert float(schedule(5)) == pytest.approx(0.1)
    assert float(schedule(10)) == pytest.approx(0.2)
    assert float(schedule(60)) == pytest.approx(0.1)
    assert float(schedule(85)) == pytest.approx(0.2 * (1 + math.cos(0.75 * math.pi)) / 2)
    assert float(schedule(110)) == pytest.approx(0.0, abs=1e-8)


def test_step_schedule_counts_milestones_from_the_start_of_the_run():
    schedule = optim.create_schedule("step", lr=1.0, steps=100, warmup=10, milestones=[50, 75], factor=0.1)
    assert [round(float(schedule(s)), 4) for s in (10, 49, 50, 74, 75)] == [1.0, 1.0, 0.1, 0.1, 0.01]


def test_constant_schedule():
    schedule = optim.create_schedule("constant", lr=0.3, steps=10)
    assert float(schedule(0)) == pytest.approx(0.3)
    assert float(schedule(9)) == pytest.approx(0.3)


@pytest.mark.parametrize(
    "kwargs, message",
    [
        ({"name": "cosin"}, "Did you mean 'cosine'"),
        ({"name": "cosine", "lr": 0.0}, r"optim.lr must be in \(0"),
        ({"name": "cosine", "warmup": 100}, "must be shorter than the run of 100 steps"),
        ({"name": "step"}, 'milestones are for the "step" schedule, which needs them'),
        ({"name": "cosine", "milestones": [5]}, "milestones are for"),
        ({"name": "step", "milestones": [50, 20]}, "must increase and lie after the warm-up"),
    ],
)
def test_bad_schedules(kwargs, message):
    with pytest.raises(ValueError, match=message):
        optim.create_schedule(**{"lr": 0.1, "steps": 100, **kwargs})


def run_ours(optimizer, start, gradients):
    params, state = {"w": jnp.asarray(start)}, optimizer.init({"w": jnp.asarray(start)})
    # optax's AdamW raises a float to an integer power, which strict promotion refuses.
    with jax.numpy_dtype_promotion("standard"):
        for gradient in gradients:
            updates, state = optimizer.update({"w": jnp.asarray(gradient)}, state, params)
            params = optax.apply_updates(params, updates)
    return np.asarray(params["w"])


@pytest.mark.parametrize(
    "ours, theirs",
    [
        ({"name": "sgd", "weight_decay": 5e-2}, ("SGD", {"momentum": 0.9, "weight_decay": 5e-2})),
        ({"name": "sgd", "momentum": 0.0}, ("SGD", {})),
        (
            {"name": "sgd", "nesterov": True, "weight_decay": 1e-2},
            ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 1e-2}),
        ),
        (
            {"name": "adamw", "weight_decay": 0.1, "b2": 0.95},
            ("AdamW", {"weight_decay": 0.1, "betas": (0.9, 0.95)}),
        ),
    ],
)
def test_updates_equal_pytorch(ours, theirs, rng):
    torch = pytest.importorskip("torch")
    start = rng.standard_normal((3, 4)).astype(np.float32)
    gradients = rng.standard_normal((6, 3, 4)).astype(np.float32)
    name, kwargs = theirs
    weight = torch.nn.Parameter(torch.tensor(start.copy()))
    peer = getattr(torch.optim, name)([weight], lr=0.1, **kwargs)
    for gradient in gradients:
        weight.grad = torch.tensor(gradient)
        peer.step()
    optimizer = optim.create_optimizer(schedule=optax.constant_schedule(0.1), **ours)
    np.testing.assert_allclose(run_ours(optimizer, start, gradients), weight.detach().numpy(), rtol=2e-5, atol=2e-6)


def test_kernels_mask_spares_biases():
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    zeros = jax.tree.map(jnp.zeros_like, params)
    for mask, decayed in (("all", True), ("kernels", False)):
        optimizer = optim.create_optimizer("sgd", optax.constant_schedule(1.0), weight_decay=0.1, decay_mask=mask)
        updates, _ = optimizer.update(zeros, optimizer.init(params), params)
        assert (updates["kernel"] != 0).all()
        assert bool((updates["bias"] != 0).all()) == decayed


def test_a_further_mask_spares_what_it_does_not_name():
    params = {"mine": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}, "yours": {"kernel": jnp.ones((2, 2))}}
    zeros = jax.tree.map(jnp.zeros_like, params)

    def decays(params):
        return {name: jax.tree.map(lambda _, name=name: name == "mine", part) for name, part in params.items()}

    for mask, bias in (("all", True), ("kernels", False)):
        optimizer = optim.create_optimizer(
            "sgd", optax.constant_schedule(1.0), weight_decay=0.1, decay_mask=mask, decays=decays
        )
        updates, _ = optimizer.update(zeros, optimizer.init(params), params)
        decayed = jax.tree.map(lambda leaf: bool((leaf != 0).all()), updates)
        assert decayed == {"mine": {"kernel": True, "bias": bias}, "yours": {"kernel": False}}


def test_clipping_bounds_the_global_norm():
    params = {"a": jnp.zeros(3), "b": jnp.zeros(4)}
    gradient = {"a": jnp.full(3, 10.0), "b": jnp.full(4, -10.0)}
    optimizer = optim.create_optimizer("sgd", optax.constant_schedule(1.0), momentum=0.0, clip_norm=2.0)
    updates, _ = optimizer.update(gradient, optimizer.init(params), params)
    assert float(optax.tree.norm(updates)) == pytest.approx(2.0, rel=1e-5)
    assert float(updates["a"][0]) == pytest.approx(-float(updates["b"][0]))


@pytest.mark.parametrize(
    "kwargs, message",
    [
        ({"name": "sdg"}, "Did you mean 'sgd'"),
        ({"weight_decay": -1.0}, "optim.weight_decay must be in"),
        ({"momentum": 1.0}, "optim.momentum must be in"),
        ({"decay_mask": "kernel"}, "Did you mean 'kernels'"),
        ({"clip_norm": -0.5}, "optim.clip_norm must be in"),
    ],
)
def test_bad_optimizers(kwargs, message):
    with pytest.raises(ValueError, match=message):
        optim.create_optimizer(**{"name": "sgd", "schedule": optax.constant_schedule(0.1), **kwargs})
