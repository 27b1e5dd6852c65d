"""One training step as a pure function of state and batch, and several of them in one dispatch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mollax import keys
from mollax.parallel import AXIS, mean_over_devices
from mollax.state import TrainState

PyTree = Any
Metrics = dict[str, jax.Array]
# (params, model_state, extra, batch, key, first global index) -> loss, (metrics, new model_state, new extra)
Objective = Callable[..., tuple[jax.Array, tuple[Metrics, PyTree, PyTree]]]


def fetch(batch: PyTree, data: PyTree) -> PyTree:
    """The examples of a batch: streamed ones as they are, indices looked up in the data kept on the device.

    Outliers from another set, a batch of their own under "outlier", are reduced to their images.
    """
    batch, data = dict(batch), dict(data)
    outliers = {}
    if "outlier" in batch:
        outliers = {"outlier": fetch(batch.pop("outlier"), data.pop("outlier"))["image"]}
    if "index" in batch:
        return {name: array[batch["index"]] for name, array in data.items()} | outliers
    return batch | outliers


def train_step(
    state: TrainState,
    batch: PyTree,
    *,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    seed: int,
    ema_decay: float = 0.0,
    accumulate: int = 1,
    adapt: Callable[[PyTree, Metrics], PyTree] | None = None,
    axis_name: str = AXIS,
) -> tuple[TrainState, Metrics]:
    """One update from this device's slice of the batch; runs under pmap, or vmap with the same axis name.

    The slice is cut into `accumulate` parts whose gradients are averaged, then gradients, metrics and model state
    are averaged over devices. An example's random draws come from its index in the whole batch. `adapt(extra, metrics)`
    then changes what methods carry along (controllers, multipliers) by the averaged metrics.

    Returns:
      The new state, equal on all devices, and the metrics of this step.
    """
    examples = batch["label"].shape[0]
    first = jax.lax.axis_index(axis_name) * examples
    size = examples // accumulate
    # Each leaf by its own length: a batch may have more or fewer outliers than labelled images.
    parts = jax.tree.map(lambda leaf: leaf.reshape(accumulate, -1, *leaf.shape[1:]), batch)
    key = keys.stream_key(seed, "train", state.step)
    differentiate = jax.value_and_grad(objective, has_aux=True)

    def accumulated(carry: PyTree, part: PyTree) -> tuple[PyTree, Metrics]:
        gradient, model_state, extra = carry
        number, piece = part
        (_, (metrics, model_state, extra)), new = differentiate(
            state.params, model_state, extra, piece, key, first + number * size
        )
        return (jax.tree.map(jnp.add, gradient, new), model_state, extra), metrics

    zeros = jax.tree.map(jnp.zeros_like, state.params)
    start = (zeros, state.model_state, state.extra)
    if accumulate == 1:
        # No loop around the convolutions: XLA optimizes them better outside of one.
        first_part = jax.tree.map(lambda leaf: leaf[0], parts)
        (gradient, model_state, extra), metrics = accumulated(start, (jnp.int32(0), first_part))
    else:
        numbers = jnp.arange(accumulate, dtype=jnp.int32)
        (gradient, model_state, extra), metrics = jax.lax.scan(accumulated, start, (numbers, parts))
        metrics = jax.tree.map(lambda leaf: jnp.mean(leaf, 0), metrics)
        gradient = jax.tree.map(lambda leaf: leaf / accumulate, gradient)

    gradient, metrics, model_state = mean_over_devices((gradient, metrics, model_state), axis_name)
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    if adapt is not None:
        extra = adapt(extra, metrics)
    if ema_decay:
        current = {"params": params, "model_state": model_state}
        extra = {**extra, "ema": optax.incremental_update(current, extra["ema"], 1.0 - ema_decay)}
    metrics |= {"grad_norm": optax.tree.norm(gradient), "param_norm": optax.tree.norm(params)}
    new = TrainState(state.step + 1, params, model_state, opt_state, extra)
    return new, metrics


def many_steps(step: Callable) -> Callable:
    """Turns step(state, batch) into (state, batches with a leading axis, data) -> (state, stacked metrics)."""

    def run(state: TrainState, batches: PyTree, data: PyTree) -> tuple[TrainState, Metrics]:
        def body(state: TrainState, batch: PyTree) -> tuple[TrainState, Metrics]:
            return step(state, fetch(batch, data))

        if jax.tree.leaves(batches)[0].shape[0] == 1:
            state, metrics = body(state, jax.tree.map(lambda leaf: leaf[0], batches))
            return state, jax.tree.map(lambda leaf: leaf[None], metrics)
        return jax.lax.scan(body, state, batches)

    return run
