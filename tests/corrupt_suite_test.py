"""One door to all corruptions: the 8-bit grid, keys, batches, sizes and bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mollax import corrupt

EVERY = (*corrupt.NAMES, *corrupt.EXTRA_NAMES)


def images(rng, *shape):
    smooth = np.linspace(0, 1, shape[-2])[:, None] * np.ones(shape)
    return jnp.asarray(np.clip(smooth + 0.2 * rng.normal(size=shape), 0, 1), jnp.float32)


@pytest.mark.parametrize("name", EVERY)
def test_results_are_on_the_grid_reproducible_and_independent_of_the_batch(name, key, rng):
    batch = images(rng, 3, 10, 13, 3)
    run = jax.jit(lambda key, batch, first: corrupt.corrupt_batch(key, batch, name, 4, first_index=first))
    found = np.asarray(run(key, batch, 5))
    assert found.shape == batch.shape
    assert 0 <= found.min() <= found.max() <= 1
    np.testing.assert_allclose(found * 255, np.round(found * 255), atol=2e-5)
    assert np.abs(found - batch).max() > 0.01
    # Image 2 of this batch is image 7 of all, wherever it stands. (One shape, so that one program serves.)
    moved = np.asarray(run(key, batch[jnp.array([2, 0, 1])], 7))
    np.testing.assert_allclose(moved[0], found[2], atol=1.001 / 255)
    assert (moved[0] != found[2]).mean() < 0.01
    other = np.asarray(run(jax.random.fold_in(key, 1), batch, 5))
    assert (other != found).any() == (name in corrupt.RANDOM_NAMES)


def test_rounding_is_an_option(key, rng):
    image = images(rng, 16, 16, 3)
    down, nearest = (corrupt.corrupt(key, image, "contrast", 3, rounding=r) for r in ("truncate", "round"))
    difference = np.asarray(nearest - down) * 255
    assert set(np.unique(np.round(difference))) == {0.0, 1.0}


def test_images_off_the_grid_are_put_on_it(key, rng):
    image = images(rng, 8, 8, 1)
    on_grid = jnp.round(image * 255) / 255
    a, b = (corrupt.corrupt(key, x, "gaussian_noise", 1) for x in (image, on_grid))
    np.testing.assert_array_equal(a, b)


def test_groups_hold_the_15_test_corruptions():
    assert [len(names) for names in corrupt.GROUPS.values()] == [3, 4, 4, 4]
    assert set(corrupt.RANDOM_NAMES) < set(EVERY)


def test_bad_input_is_refused_at_the_door(key, rng, unhooked):
    image = images(rng, 16, 16, 3)
    for bad in (0, 6):
        with pytest.raises(ValueError, match=f"severity must be .*got {bad}"):
            corrupt.corrupt(key, image, "fog", bad)
    with pytest.raises(ValueError, match="Did you mean 'gaussian_blur'"):
        corrupt.corrupt(key, image, "gausian_blur", 1)
    with pytest.raises(ValueError, match=r"at least 8x8 pixels; got shape \(7, 16, 3\)"):
        corrupt.corrupt(key, image[:7], "fog", 1)
    with pytest.raises(ValueError, match=r"gray or color images .*got shape \(16, 16, 2\)"):
        corrupt.corrupt(key, image[..., :2], "fog", 1)
    with pytest.raises(TypeError, match="float"):
        corrupt.corrupt(key, (image * 255).astype(jnp.uint8), "fog", 1)
    with pytest.raises(ValueError, match=r"values from 0 to 255\. Divide 8-bit pixels by 255"):
        corrupt.corrupt(key, jnp.round(255 * image).at[0, 0, 0].set(0.0), "fog", 1)
    with pytest.raises(ValueError, match=r"in \[0, 1\]; got values from nan"):
        corrupt.corrupt(key, image.at[3, 3, 1].set(jnp.nan), "fog", 1)
    with pytest.raises(ValueError, match="images must have 4 axes"):
        corrupt.corrupt_batch(key, image, "fog", 1)
    with pytest.raises(ValueError, match="rounding"):
        corrupt.corrupt(key, image, "fog", 1, rounding="up")
