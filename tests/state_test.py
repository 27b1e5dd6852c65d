"""The train state and which variables it offers for evaluation."""

import jax.numpy as jnp
import optax

from mollax.state import create_state

VARIABLES = {"params": {"w": jnp.ones(3)}, "batch_stats": {"mean": jnp.zeros(3)}}


def test_without_average_the_current_variables_are_evaluated():
    state = create_state(VARIABLES, optax.sgd(0.1))
    assert int(state.step) == 0
    assert state.extra == {}
    assert (state.evaluated()["params"]["w"] == 1).all()
    assert set(state.evaluated()) == {"params", "batch_stats"}


def test_the_average_is_evaluated_where_one_is_kept():
    state = create_state(VARIABLES, optax.sgd(0.1), ema=True)
    average = {"params": {"w": jnp.full(3, 5.0)}, "model_state": {"batch_stats": {"mean": jnp.full(3, 7.0)}}}
    evaluated = state.replace(extra={"ema": average}).evaluated()
    assert (evaluated["params"]["w"] == 5).all()
    assert (evaluated["batch_stats"]["mean"] == 7).all()


def test_average_does_not_share_buffers_with_parameters():
    state = create_state(VARIABLES, optax.sgd(0.1), ema=True)
    pointers = [leaf.unsafe_buffer_pointer() for leaf in (state.params["w"], state.extra["ema"]["params"]["w"])]
    assert pointers[0] != pointers[1]


def test_what_methods_carry_along_shares_no_buffer():
    """Buffers are donated: one that two leaves share would be freed twice."""
    zero = jnp.float32(0)
    variables = {"params": {"w": jnp.ones(3)}}
    state = create_state(variables, optax.sgd(0.1), extra={"ood": {"a": zero, "b": zero}})
    places = {leaf.unsafe_buffer_pointer() for leaf in (*state.extra["ood"].values(), zero)}
    assert len(places) == 3
