"""Shapes and cheaply drawn variables of networks, for their tests."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from mollax.models import count_parameters


def shapes(model: nn.Module, *image: int) -> Mapping:
    """Shapes of the variables for images (height, width, channels); nothing is computed."""
    images = jax.ShapeDtypeStruct((1, *image), jnp.float32)
    return jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), images)


def counted(model: nn.Module, channels: int = 3) -> int:
    """Number of parameters for images of `channels`."""
    return count_parameters(shapes(model, 32, 32, channels)["params"])


def drawn(model: nn.Module, rng: np.random.Generator, *image: int) -> dict:
    """Random variables: every scale, bias and statistic differs, so that none can be left out unseen."""

    def draw(path: tuple, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        kind = path[-1].key
        value = rng.normal(size=leaf.shape)
        if kind == "kernel":
            value *= np.sqrt(2 / np.prod(leaf.shape[:-1]))
        else:
            value = np.exp(0.3 * value) if kind in ("scale", "var") else 0.3 * value
        return value.astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, dict(shapes(model, *image)))
