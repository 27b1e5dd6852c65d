"""Checks that the tests of several networks share."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from model_variables import drawn, shapes


def agrees_with_torch(model: nn.Module, reference: Callable, rng: np.random.Generator, shape: tuple) -> None:
    """Compares logits with `reference(images, params, stats, train)`, torch functions over the trunk's variables.

    In evaluation and in training; shape is that of the images. The running statistics must move in training and
    stay in evaluation.
    """
    torch = pytest.importorskip("torch")
    from torch_apply import head
    from torch_copy import nchw

    images = rng.normal(size=shape).astype(np.float32)
    variables = drawn(model, rng, *shape[1:])
    params, stats = variables["params"], variables["batch_stats"]["trunk"]
    for train in (False, True):
        call = jax.jit(lambda x, train=train: model.apply(variables, x, train=train, mutable=["batch_stats"]))
        logits, updates = call(images)
        with torch.no_grad():
            expected = head(reference(nchw(images), params["trunk"], stats, train), params["linear"])
        assert np.abs(expected.numpy()).max() > 0.1
        np.testing.assert_allclose(logits, expected, atol=1e-4, rtol=1e-4)
        for before, after in zip(jax.tree.leaves(stats), jax.tree.leaves(updates), strict=True):
            assert np.array_equal(before, after) != train


def output_shapes(model: nn.Module, side: int) -> tuple[tuple[int, ...], ...]:
    """Shapes of maps, features and logits of two color images; nothing is computed."""
    variables: Mapping = shapes(model, 32, 32, 3)
    images = jax.ShapeDtypeStruct((2, side, side, 3), jnp.float32)

    def call(variables: Mapping, x: jax.Array) -> tuple[jax.Array, ...]:
        maps = model.apply(variables, x, train=False, method="feature_maps")
        features = model.apply(variables, maps, method="pool")
        return maps, features, model.apply(variables, features, method="head")

    return tuple(x.shape for x in jax.eval_shape(call, variables, images))
