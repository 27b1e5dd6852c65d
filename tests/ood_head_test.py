"""The last layer as arrays."""

import jax
import jax.numpy as jnp
import numpy as np

from mollax.ood.head import Head, apply_head


def test_logits(rng):
    kernel, bias, features = rng.normal(size=(5, 3)), rng.normal(size=3), rng.normal(size=(4, 5))
    head = Head(jnp.asarray(kernel, jnp.float32), jnp.asarray(bias, jnp.float32))
    made = apply_head(head, jnp.asarray(features, jnp.float32))
    np.testing.assert_allclose(made, features @ kernel + bias, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        jax.vmap(lambda row: apply_head(head, row))(jnp.asarray(features, jnp.float32)), made, rtol=1e-6
    )
