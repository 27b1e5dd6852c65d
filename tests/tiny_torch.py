"""A tiny smooth network twice, in JAX and in torch, for scores that differentiate with respect to images."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

SHAPE = (4, 3, 2)


def weights(rng: np.random.Generator, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Of two layers, without biases."""
    return rng.normal(size=(int(np.prod(SHAPE)), 16)) * 0.5, rng.normal(size=(16, classes))


def jax_network(layers: tuple[np.ndarray, np.ndarray], dtype: Any) -> Any:
    """Images (n, 4, 3, 2) to logits."""
    first, second = (jnp.asarray(layer, dtype) for layer in layers)

    def network(images: jax.Array) -> jax.Array:
        hidden = jnp.tanh(jnp.matmul(images.reshape(images.shape[0], -1), first, precision="highest"))
        return jnp.matmul(hidden, second, precision="highest")

    return network


def torch_network(layers: tuple[np.ndarray, np.ndarray]) -> Any:
    """The same in torch, float64."""
    import torch

    torch.set_num_threads(1)
    first, second = (torch.from_numpy(layer) for layer in layers)
    return lambda images: torch.tanh(images.flatten(1) @ first) @ second


def torch_step(images: np.ndarray, objective: Any) -> np.ndarray:
    """torch's sign of the gradient of an objective, with 1 for 0."""
    import torch

    values = torch.tensor(images, requires_grad=True)
    objective(values).backward()
    return np.where(values.grad.numpy() >= 0, 1.0, -1.0)
