"""Everything that a checkpoint holds of training."""

from __future__ import annotations

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

PyTree = Any


class TrainState(flax.struct.PyTreeNode):
    """The state of training, the same on every device.

    Attributes:
      step: updates done so far.
      params: the model's parameters, float32.
      model_state: its other variables, such as batch statistics.
      opt_state: the optimizer's.
      extra: what methods carry along by name ("ema", controllers, multipliers).
    """

    step: Any
    params: PyTree
    model_state: PyTree
    opt_state: PyTree
    extra: PyTree

    def evaluated(self) -> dict[str, PyTree]:
        """The variables to evaluate: the moving average where one is kept, else the current ones."""
        average = self.extra.get("ema")
        if average is not None:
            return {"params": average["params"], **average["model_state"]}
        return {"params": self.params, **self.model_state}


def create_state(
    variables: PyTree,
    optimizer: optax.GradientTransformation,
    *,
    ema: bool = False,
    extra: dict[str, PyTree] | None = None,
) -> TrainState:
    """The state before the first update, from a model's freshly initialized variables and what methods carry along."""
    params = variables["params"]
    model_state = {name: value for name, value in variables.items() if name != "params"}
    # Copies, of `extra` below too: donated buffers must not be shared between two leaves of the state.
    average = jax.tree.map(jnp.array, {"params": params, "model_state": model_state})
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        model_state=model_state,
        opt_state=optimizer.init(params),
        extra={**jax.tree.map(jnp.array, extra or {}), **({"ema": average} if ema else {})},
    )
