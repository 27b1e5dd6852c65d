"""Tables of magnitudes by hand and by PyTorch; chains against PIL, one image at a time and in batches."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pil_operations import cifar_images, pil_apply

from mollax.augment import chain, operations, rand, trivial

NAMES = operations.OPERATIONS
apply = functools.partial(chain.apply, names=NAMES)
# Fewer to compile.
FEW = ("identity", "rotate", "equalize")
few = functools.partial(chain.apply, names=FEW)


@pytest.fixture
def drawn(real_data: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One photograph an operation (bytes), (n, 2) indices, the second "rotate", and magnitudes."""
    images = cifar_images(real_data, len(NAMES))
    first = {"posterize": 3, "solarize": 0.4, "translate_x": -5, "translate_y": 9, "rotate": 33}
    indices = [[place, NAMES.index("rotate")] for place in range(len(NAMES))]
    magnitudes = [[first.get(name, 0.25), 180] for name in NAMES]
    return images, np.array(indices, np.int32), np.array(magnitudes, np.float32)


def test_a_space_is_its_ranges_in_equal_steps() -> None:
    space = chain.create_space({"equalize": None, "rotate": (0, 30), "posterize": (8, 4), "translate_x": (0, 10)}, 5)
    assert space.names == ("equalize", "rotate", "posterize", "translate_x")
    by_hand = [[0] * 5, [0, 7.5, 15, 22.5, 30], [8, 7, 6, 5, 4], [0, 2, 5, 7, 10]]
    np.testing.assert_array_equal(space.magnitudes, np.array(by_hand, np.float32))
    assert space.signed.tolist() == [False, True, False, True]


def test_whole_numbers_are_cut_as_pytorch_cuts_them() -> None:
    torch = pytest.importorskip("torch")
    for ranges, last in ((trivial.RANGES, 6), (rand.ranges(48, 64), 4)):
        space = chain.create_space(ranges, 31)
        bits = (8 - torch.arange(31) / (30 / last)).round().int().numpy()
        np.testing.assert_array_equal(space.magnitudes[space.names.index("posterize")], bits)
        pixels = torch.linspace(0, ranges["translate_x"][1], 31, dtype=torch.float64).numpy()
        np.testing.assert_array_equal(space.magnitudes[space.names.index("translate_x")], np.floor(pixels + 1e-9))


def test_signs_and_indices_come_from_draws() -> None:
    space = chain.create_space({"rotate": (0, 30), "posterize": (8, 4)}, 3)
    index, low, high = (jnp.asarray(values) for values in ([0, 1], [0.49, 0.49], [0.5, 0.5]))
    np.testing.assert_array_equal(chain.signed_magnitude(space, index, 1, low), [-15, 6])
    np.testing.assert_array_equal(chain.signed_magnitude(space, index, 2, high), [30, 4])
    largest = jnp.float32(1 - 2**-23)
    for count in (1, 2, 3, 14, 25, 31):
        draws = jnp.asarray([0, 0.5, largest])
        assert chain.below(count, draws).tolist() == [0, count // 2, count - 1]


def test_a_batch_takes_each_image_through_its_own_chain(drawn: tuple[np.ndarray, ...]) -> None:
    pixels, indices, magnitudes = drawn
    batch = (jnp.asarray(pixels / 255, jnp.float32), jnp.asarray(indices), jnp.asarray(magnitudes))
    results = np.asarray(jax.jit(jax.vmap(apply))(*batch))
    for image, name, magnitude, result in zip(pixels, NAMES, magnitudes[:, 0], results, strict=True):
        pil = pil_apply(pil_apply(image, name, magnitude), "rotate", 180)
        assert (np.abs(255 * result - pil) <= 1.001).mean() > 0.99, name
    # What an accelerator runs: everything for all, then a selection.
    everything = functools.partial(chain._chain, names=NAMES, interpolation="nearest")
    np.testing.assert_allclose(jax.jit(jax.vmap(everything))(*batch), results, atol=1e-6)
    single = jax.jit(apply)
    for i in (1, 7, 14):
        np.testing.assert_allclose(single(*(values[i] for values in batch)), results[i], atol=1e-6)


def test_maps_nest_and_share_what_is_not_mapped(drawn: tuple[np.ndarray, ...]) -> None:
    image = jnp.asarray(drawn[0][0] / 255, jnp.float32)
    indices, magnitudes = drawn[1][:12] % 3, drawn[2][:12]
    one = functools.partial(few, image)
    flat = jax.jit(jax.vmap(one))(jnp.asarray(indices), jnp.asarray(magnitudes))
    parts = (jnp.asarray(values.reshape(3, -1, 2)) for values in (indices, magnitudes))
    nested = jax.jit(jax.vmap(jax.vmap(one)))(*parts)
    np.testing.assert_allclose(nested.reshape(flat.shape), flat, atol=1e-6)


def test_gradients_of_other_things_pass(drawn: tuple[np.ndarray, ...]) -> None:
    images, indices, magnitudes = (jnp.asarray(values[:4]) for values in drawn)
    images = images.astype(jnp.float32) / 255

    def loss(scale: jax.Array) -> jax.Array:
        return jnp.sum(scale * jax.vmap(few)(images, indices % 3, magnitudes))

    total, gradient = jax.jit(jax.value_and_grad(loss))(jnp.float32(2))
    np.testing.assert_allclose(gradient, total / 2, rtol=1e-5)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"operation must be one of .*; got 'shear'"):
        chain.create_space({"shear": (0, 1)}, 31)
    with pytest.raises(ValueError, match="bins must be at least 2; got 1"):
        chain.create_space(trivial.RANGES, 1)
    one = jnp.zeros(1)
    with pytest.raises(ValueError, match=r"interpolation must be one of .*; got 'cubic'"):
        chain.apply(jnp.zeros((4, 4, 1)), one.astype(jnp.int32), one, names=("invert",), interpolation="cubic")
