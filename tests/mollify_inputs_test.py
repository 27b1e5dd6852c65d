"""The check that images and labels hold floating-point numbers."""

import jax.numpy as jnp
import numpy as np
import pytest

from mollax.mollify import inputs


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
def test_floats_pass(dtype: str) -> None:
    inputs.floating("images", np.zeros(2, jnp.dtype(dtype)), inputs.IMAGE_ADVICE)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "bool", "complex64"])
def test_others_are_refused_with_advice(dtype: str) -> None:
    with pytest.raises(TypeError, match=rf"images must hold floating-point numbers; got {dtype}\. Divide 8-bit"):
        inputs.floating("images", jnp.zeros(2, dtype), inputs.IMAGE_ADVICE)
    with pytest.raises(TypeError, match=r"labels must hold .*jax\.nn\.one_hot\(labels, classes\)"):
        inputs.floating("labels", jnp.zeros(2, dtype), inputs.LABEL_ADVICE)
