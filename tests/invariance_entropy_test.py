"""Controllers: PI(D) against SciPy-free recurrences and a simulated plant, limits, InstaAug's rule step by step."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mollax import invariance
from mollax.invariance import PID, Annealed, EntropyRange, Fixed


def run(controller, entropies):
    """Weights after each entropy, by one compiled scan, and the last state."""

    def body(state, entropy):
        state = controller.update(state, entropy)
        return state, state

    last, states = jax.jit(lambda values: jax.lax.scan(body, controller.initial(), values))(jnp.float32(entropies))
    return {name: np.asarray(values) for name, values in states.items()}, last


def test_fixed_never_changes():
    states, _ = run(Fixed(weight=0.3), [1.0, -5.0, math.nan])
    np.testing.assert_array_equal(states["weight"], np.float32(0.3))


def test_annealing_follows_its_equation_and_ends_at_the_weight():
    controller = Annealed(weight=0.002, start=2.0, period=50)
    states, last = run(controller, [math.nan] * 60)  # whatever the entropy
    steps = np.arange(1, 61)
    np.testing.assert_allclose(states["weight"], 0.002 * 1000 ** np.maximum(0, 1 - steps / 50), rtol=1e-5)
    assert controller.initial()["weight"] == 2.0
    assert last["weight"] == np.float32(0.002)
    constant, _ = run(Annealed(weight=0.1, start=0.1, period=3), [0.0] * 5)
    np.testing.assert_array_equal(constant["weight"], np.float32(0.1))


def test_pid_follows_its_equation(rng):
    entropies = rng.normal(size=30).astype(np.float32)
    controller = PID(target=0.5, kp=0.2, ki=0.05, kd=0.3, weight=0.4, low=-9.0, high=9.0, smoothing=0.0)
    total, before, expected = 0.4 / 0.05, None, []
    for entropy in entropies:
        error = 0.5 - float(entropy)
        total += error
        change = 0.0 if before is None else error - before
        expected.append(0.2 * error + 0.05 * total + 0.3 * change)
        before = error
    np.testing.assert_allclose(run(controller, entropies)[0]["weight"], expected, rtol=2e-5, atol=1e-6)


def test_both_ends_are_smoothed():
    controller = PID(target=1.0, kp=1.0, ki=0.0, weight=0.0, smoothing=0.9)
    states, _ = run(controller, [0.0, 1.0, 1.0])
    averages = [0.0, 0.1, 0.19]
    np.testing.assert_allclose(states["entropy"], averages, rtol=1e-5)
    weight, expected = 0.0, []
    for average in averages:
        weight = 0.9 * weight + 0.1 * (1 - average)
        expected.append(weight)
    np.testing.assert_allclose(states["weight"], expected, rtol=1e-5)


def test_without_error_the_weight_stays_where_it_starts():
    states, _ = run(PID(target=0.7, weight=0.25), [0.7] * 50)
    np.testing.assert_allclose(states["weight"], 0.25, rtol=1e-5)


@pytest.mark.parametrize("target", [-0.5, 0.0, 0.6])
def test_pid_brings_a_sluggish_plant_to_its_target(target):
    """A distribution whose entropy moves towards log(2 w): larger weights widen it, with a delay."""
    controller = PID(target=target, kp=0.05, ki=0.01, weight=0.1)

    def body(carry, _):
        state, entropy = carry
        entropy += 0.05 * (jnp.log(2 * state["weight"] + 1e-3) - entropy)
        return (controller.update(state, entropy), entropy), entropy

    _, entropies = jax.lax.scan(body, (controller.initial(), jnp.float32(-2.0)), None, length=2000)
    np.testing.assert_allclose(np.asarray(entropies)[-200:], target, atol=0.02)


def test_the_sum_does_not_wind_up_while_clipped():
    controller = PID(target=1.0, kp=0.1, ki=0.1, weight=0.1, high=2.0, smoothing=0.0)
    states, last = run(controller, [-5.0] * 500)
    np.testing.assert_allclose(states["weight"][20:], 2.0)
    assert float(last["sum"]) <= 2.0 / 0.1 + 6.0
    # So it comes down as soon as the entropy is too large; a sum of 500 x 6 would take thousands of steps.
    after = controller.update(last, jnp.float32(3.0))
    assert float(after["weight"]) < 2.0


def test_the_output_stays_in_its_limits(rng):
    controller = PID(target=0.0, kp=3.0, ki=1.0, kd=2.0, weight=0.5, low=0.2, high=0.9)
    weights = run(controller, rng.normal(scale=5, size=300))[0]["weight"]
    assert weights.min() >= 0.2 - 1e-6
    assert weights.max() <= 0.9 + 1e-6
    assert weights.min() < 0.5 < weights.max()


@pytest.mark.parametrize("controller", [PID(target=0.0), EntropyRange(0.0, 1.0)])
@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_a_broken_entropy_changes_nothing(controller, broken):
    state = controller.update(controller.initial(), jnp.float32(-0.4))
    after = controller.update(state, jnp.float32(broken))
    jax.tree.map(np.testing.assert_array_equal, after, state)


def test_range_multiplies_step_by_step():
    controller = EntropyRange(3.0, 3.5, weight=1.0, factor=1.2, progress=0.005)
    # below twice and stuck: up; then rising by more than .005: wait; inside: forget; above twice: down.
    entropies = [2.0, 2.0, 2.1, 2.101, 3.2, 4.0, 4.0, 3.9, 3.899, 3.0]
    pushes = [0, 1, 0, 1, 0, 0, -1, 0, -1, 0]
    np.testing.assert_allclose(run(controller, entropies)[0]["weight"], 1.2 ** np.cumsum(pushes), rtol=1e-5)


def test_range_looks_once_a_period_at_the_mean():
    """As the authors' code, once an epoch: each of the entropies above three times, in parts that average to it."""
    controller = EntropyRange(3.0, 3.5, weight=1.0, factor=1.2, progress=0.005, period=3)
    means = [2.0, 2.0, 2.1, 2.101, 3.2, 4.0, 4.0, 3.9, 3.899, 3.0]
    parts = [mean + part for mean in means for part in (-0.5, 0.0, 0.5)]
    weights = run(controller, parts)[0]["weight"]
    pushes = np.cumsum([0, 1, 0, 1, 0, 0, -1, 0, -1, 0])
    np.testing.assert_allclose(weights[2::3], 1.2**pushes, rtol=1e-4)
    np.testing.assert_allclose(weights[0::3], 1.2 ** np.append(0, pushes[:-1]), rtol=1e-4)


def test_range_multiplies_a_limited_number_of_times():
    states, last = run(EntropyRange(3.0, 3.5, weight=1.0, factor=2.0, most=4), [0.0] * 20)
    assert states["weight"].max() == 16.0
    assert float(last["count"]) == 4


def test_states_are_float32_scalars_that_keep_their_form():
    for controller in (Fixed(0.1), Annealed(period=3), PID(target=0.1), EntropyRange(0.0, 1.0)):
        before = controller.initial()
        after = jax.jit(controller.update)(before, jnp.float32(0.3))
        assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), before) == jax.tree.map(
            lambda leaf: (leaf.shape, leaf.dtype), after
        )
        assert all(leaf.shape == () and leaf.dtype == jnp.float32 for leaf in before.values())


@pytest.mark.parametrize("dimension, bound, target", [(2, 1.0, 2.0), (3, 1.0, 2.1), (4, 1.0, 2.78), (1, 1.5, 1.1)])
def test_an_unreachable_target_states_the_largest(dimension, bound, target):
    maximum = dimension * math.log(2 * bound)
    with pytest.raises(ValueError, match=f"{target:g} nats cannot be reached: the largest is {maximum:.4g}"):
        invariance.require_reachable(target, maximum)
    invariance.require_reachable(maximum - 1e-3, maximum)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Fixed(-1.0), "weight must be in"),
        (lambda: PID(target=0.0, kp=-1.0), "kp must be in"),
        (lambda: PID(target=0.0, kp=0.0, ki=0.0), "needs a gain above 0"),
        (lambda: PID(target=0.0, low=2.0, high=1.0), "high must be in"),
        (lambda: PID(target=0.0, weight=20.0), "weight must be in"),
        (lambda: PID(target=0.0, smoothing=1.0), "smoothing must be in"),
        (lambda: PID(target=math.nan), "target must be in"),
        (lambda: Annealed(weight=0.0), "weight must be in"),
        (lambda: Annealed(weight=0.5, start=0.1), "start must be in"),
        (lambda: Annealed(period=0), "period must be at least 1"),
        (lambda: EntropyRange(2.0, 1.0), "maximum must be in"),
        (lambda: EntropyRange(0.0, 1.0, weight=0.0), "weight must be in"),
        (lambda: EntropyRange(0.0, 1.0, factor=1.0), "factor must be in"),
        (lambda: EntropyRange(0.0, 1.0, most=0), "most must be at least 1"),
        (lambda: EntropyRange(0.0, 1.0, period=0), "period must be at least 1"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_descriptions_are_immutable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        PID(target=0.0).kp = 2.0
