"""The pure step: the same result on one device and on many, in one part and in several, one by one and scanned."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from mollax import parallel, step


def mapped(function, devices):
    """pmap as `parallel.parallelize` does it, on the first `devices` devices."""
    return jax.pmap(
        function, axis_name=parallel.AXIS, in_axes=(None, 0), out_axes=None, devices=jax.devices()[:devices]
    )


def run(function, state, images, labels, devices, steps):
    losses = []
    on_devices = mapped(function, devices)
    for number in range(steps):
        part = slice(16 * number, 16 * number + 16)
        batch = {"image": images[part], "label": labels[part]}
        state, metrics = on_devices(state, jax.tree.map(lambda leaf: leaf.reshape(devices, -1, *leaf.shape[1:]), batch))
        losses.append(float(metrics["loss"]))
    return state, losses


@pytest.mark.parametrize(
    "options, others, steps",
    [
        ({}, (2, 4), 3),
        # Statistics are those of the whole batch. One step: what rounding changes grows quickly in this network.
        ({"model": "cnn", "widths": (4, 8), "batch_norm": True}, (4,), 1),
    ],
    ids=("every step", "batch norm"),
)
def test_one_two_and_four_devices_draw_the_same_and_learn_the_same(options, others, steps):
    images, labels = tiny.digits()
    _, objective, optimizer, state = tiny.problem(**options)
    function = tiny.train_step(objective, optimizer)
    one, losses = run(function, state, images, labels, 1, steps)
    assert len(set(losses)) == steps
    for devices in others:
        many, other = run(function, state, images, labels, devices, steps)
        np.testing.assert_allclose(other, losses, rtol=2e-5)
        tiny.close(one, many, 2e-5)


def test_step_runs_under_vmap_with_the_same_axis_name():
    images, labels = tiny.digits(16)
    _, objective, optimizer, state = tiny.problem()
    function = tiny.train_step(objective, optimizer)
    batch = {"image": images.reshape(2, 8, 8, 8, 1), "label": labels.reshape(2, 8)}
    by_pmap, metrics = mapped(function, 2)(state, batch)
    under_vmap = jax.vmap(function, in_axes=(None, 0), out_axes=0, axis_name=parallel.AXIS)
    by_vmap, other = jax.jit(under_vmap)(state, jax.tree.map(jnp.asarray, batch))
    np.testing.assert_allclose(np.asarray(other["loss"]), float(metrics["loss"]), rtol=1e-5)
    tiny.close(by_pmap.params, jax.tree.map(lambda leaf: leaf[1], by_vmap.params), 1e-5)


def test_accumulated_gradients_equal_those_of_the_whole_batch():
    # Without batch norm; with it, statistics are those of the parts, as the docstring of train_step says.
    images, labels = tiny.digits(16)
    _, objective, optimizer, state = tiny.problem()
    batch = {"image": images[None], "label": labels[None]}
    whole, metrics = mapped(tiny.train_step(objective, optimizer), 1)(state, batch)
    parts, other = mapped(tiny.train_step(objective, optimizer, accumulate=4), 1)(state, batch)
    np.testing.assert_allclose(float(other["loss"]), float(metrics["loss"]), rtol=1e-5)
    np.testing.assert_allclose(float(other["grad_norm"]), float(metrics["grad_norm"]), rtol=1e-4)
    tiny.close(whole.params, parts.params, 1e-6)


def test_update_is_minus_learning_rate_times_gradient_of_the_objective():
    images, labels = tiny.digits(16)
    _, objective, optimizer, state = tiny.problem()
    batch = {"image": jnp.asarray(images), "label": jnp.asarray(labels)}

    def loss(params):
        from mollax import keys

        return objective(params, state.model_state, state.extra, batch, keys.stream_key(1, "train", 0), 0)[0]

    gradient = jax.grad(loss)(state.params)
    new, _ = mapped(tiny.train_step(objective, optimizer), 1)(state, jax.tree.map(lambda leaf: leaf[None], batch))
    tiny.close(jax.tree.map(lambda p, g: p - 0.05 * g, state.params, gradient), new.params, 1e-6)
    assert int(new.step) == 1


def test_moving_average_follows_the_parameters():
    from mollax.state import create_state

    images, labels = tiny.digits(16)
    network, objective, optimizer, _ = tiny.problem()
    variables = network.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)), train=False)
    state = create_state(variables, optimizer, ema=True)
    batch = {"image": images[None], "label": labels[None]}
    new, _ = mapped(tiny.train_step(objective, optimizer, ema_decay=0.75), 1)(state, batch)
    expected = jax.tree.map(lambda old, now: 0.75 * old + 0.25 * now, state.params, new.params)
    tiny.close(expected, new.extra["ema"]["params"], 1e-6)


def test_scanned_steps_equal_single_ones_and_indices_equal_streamed_images():
    images, labels = tiny.digits()
    _, objective, optimizer, state = tiny.problem()
    run_many = parallel.parallelize(step.many_steps(tiny.train_step(objective, optimizer)))
    devices = jax.device_count()
    index = np.arange(48, dtype=np.int32).reshape(3, devices, -1).swapaxes(0, 1)
    data = parallel.replicate({"image": images, "label": labels})
    start = parallel.replicate(state)
    scanned, metrics = run_many(start, {"index": index}, data)
    single, losses = start, []
    for number in range(3):
        part = index[:, number : number + 1]
        single, one = run_many(single, {"image": images[part], "label": labels[part]}, {})
        losses.append(float(one["loss"][0]))
    np.testing.assert_allclose(np.asarray(metrics["loss"]), losses, rtol=1e-6)
    tiny.close(scanned, single, 1e-6)


def test_donated_state_is_consumed():
    _, objective, optimizer, state = tiny.problem()
    images, labels = tiny.digits(16)
    run_one = parallel.parallelize(step.many_steps(tiny.train_step(objective, optimizer)), donate=True)
    shape = (jax.device_count(), 1, -1)
    start = parallel.replicate(state)
    run_one(start, {"image": images.reshape(*shape, 8, 8, 1), "label": labels.reshape(shape)}, {})
    assert jax.tree.leaves(start.params)[0].is_deleted()
