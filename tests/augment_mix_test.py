"""MixUp and CutMix by NumPy: partners, weights, boxes, labels."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from policy_checks import many_keys
from scipy import stats

from mollax.augment import cutmix, mixup, neighbors
from mollax.augment.mix import box, draw_share


def batch(rng: np.random.Generator, count: int = 6) -> tuple[jax.Array, jax.Array]:
    """Random images whose labels name them."""
    return jnp.asarray(rng.random((count, 8, 10, 3), np.float32)), jnp.eye(count)


@pytest.mark.parametrize("per_image", [False, True])
def test_mixup_mixes_images_as_labels_say(per_image: bool, rng: np.random.Generator) -> None:
    images, labels = batch(rng)
    mixed, soft = (np.asarray(x) for x in mixup(jax.random.key(3), images, labels, per_image=per_image))
    # One-hot labels that name the images tell all: who was mixed and how much.
    np.testing.assert_allclose(mixed, np.einsum("nk,khwc->nhwc", soft, np.asarray(images)), atol=1e-5)
    np.testing.assert_allclose(soft.sum(axis=1), 1, atol=1e-6)
    own = np.diag(soft)[np.diag(soft) < 1]
    assert len(np.unique(own.round(5))) == (len(own) if per_image else 1)
    # Partners are a permutation.
    assert (np.where(np.diag(soft) < 1, (soft > 0).sum(axis=0), 2) == 2).all()


@pytest.mark.parametrize("per_image", [False, True])
def test_cutmix_labels_are_the_shares_of_pixels(per_image: bool, rng: np.random.Generator) -> None:
    images, labels = batch(rng)
    mixed, soft = (np.asarray(x) for x in cutmix(jax.random.key(4), images, labels, per_image=per_image))
    boxes = []
    for result, label, image in zip(mixed, soft, np.asarray(images), strict=True):
        source = np.array([(result == np.asarray(other)).all(axis=-1) for other in images])
        assert source.sum(axis=0).max() == 1, "each pixel is one image's"
        np.testing.assert_allclose(source.mean(axis=(1, 2)), label, atol=1e-6)
        foreign = (result != image).any(axis=-1)
        if foreign.any():
            rows, columns = np.flatnonzero(foreign.any(axis=1)), np.flatnonzero(foreign.any(axis=0))
            assert foreign.sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1), "a full box"
            boxes.append((rows[0], rows[-1], columns[0], columns[-1]))
    assert (len(set(boxes)) > 1) == per_image


@pytest.mark.parametrize("share, row, column", [(0.75, 0.5, 0.5), (0.3, 0.0, 0.99), (1.0, 0.2, 0.2), (0.0, 0.6, 0.1)])
def test_the_box_is_the_papers(share: float, row: float, column: float) -> None:
    height, width = 12, 20
    expected = np.zeros((height, width), bool)
    cut = np.sqrt(1 - share)
    (y, h), (x, w) = ((int(row * height), int(height * cut)), (int(column * width), int(width * cut)))
    expected[max(y - h // 2, 0) : y + h // 2, max(x - w // 2, 0) : x + w // 2] = True
    ours = jax.jit(lambda *draws: box(*draws, height=height, width=width))(*map(jnp.float32, (share, row, column)))
    np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("alpha", [1.0, 0.4])
def test_shares_follow_beta(alpha: float) -> None:
    shares = jax.jit(lambda key: jax.vmap(lambda k: draw_share(k, alpha))(jax.random.split(key, 3000)))(
        jax.random.key(1)
    )
    assert stats.kstest(np.asarray(shares), stats.beta(alpha, alpha).cdf).pvalue > 0.01


@pytest.mark.parametrize("function", [mixup, cutmix])
def test_soft_labels_stay_distributions_and_keys_decide(function: Callable, rng: np.random.Generator) -> None:
    images, _ = batch(rng)
    labels = jnp.asarray(rng.dirichlet(np.ones(4), 6), jnp.float32)
    mapped = jax.jit(jax.vmap(lambda key: function(key, images, labels)))
    mixed, soft = mapped(many_keys(40))
    np.testing.assert_allclose(soft.sum(axis=-1), 1, atol=1e-5)
    # Nothing is lost over a permuted batch.
    np.testing.assert_allclose(jnp.mean(mixed, 1), jnp.broadcast_to(jnp.mean(images, 0), (40, 8, 10, 3)), atol=1e-5)
    np.testing.assert_array_equal(mixed, mapped(many_keys(40))[0])
    assert len(np.unique(np.asarray(soft).reshape(40, -1).round(5), axis=0)) > 30


def test_neighbors_are_others_of_the_group_and_all_of_them_come_up() -> None:
    drawn = np.asarray(jax.jit(jax.vmap(lambda key: neighbors(key, 8, group=4)))(many_keys(60)))
    place = np.arange(8)
    assert (drawn // 4 == place // 4).all()
    assert (drawn != place).all()
    np.testing.assert_array_equal(np.sort(drawn), np.broadcast_to(place, (60, 8)))
    for position in place:
        assert len(set(drawn[:, position])) == 3
    assert (drawn[:, 0] != drawn[:, 4] - 4).any(), "groups draw on their own"


@pytest.mark.parametrize("function", [mixup, cutmix])
@pytest.mark.parametrize("per_image", [False, True])
def test_slices_are_mixed_as_the_whole(function: Callable, per_image: bool, rng: np.random.Generator) -> None:
    images, labels = batch(rng, 8)
    key, partner_key = jax.random.split(jax.random.key(5))

    def mixed(start: int, stop: int) -> tuple[jax.Array, jax.Array]:
        partners = neighbors(partner_key, stop - start, group=4, first_index=start)
        parts = images[start:stop], labels[start:stop]
        return function(key, *parts, per_image=per_image, partners=partners, first_index=start)

    whole, halves = mixed(0, 8), [mixed(0, 4), mixed(4, 8)]
    for i in (0, 1):
        np.testing.assert_allclose(whole[i], np.concatenate([half[i] for half in halves]), atol=1e-6)
    assert not np.allclose(whole[0], images)


def test_bad_arguments_are_named(unhooked: None) -> None:
    key, images, labels = jax.random.key(0), jnp.zeros((4, 8, 8, 3)), jnp.zeros((4, 10))
    for function in (mixup, cutmix):
        with pytest.raises(ValueError, match=r"alpha must be in \(0, inf\); got 0"):
            function(key, images, labels, alpha=0)
        with pytest.raises(ValueError, match="same length, but images has 4, labels has 3"):
            function(key, images, labels[:3])
        with pytest.raises(ValueError, match=r"labels must have 2 axes \(n, classes\)"):
            function(key, images, labels[:, 0])
        with pytest.raises(TypeError, match=r"labels must be floats, not int32. Use jax.nn.one_hot"):
            function(key, images, labels.astype(jnp.int32))
        with pytest.raises(TypeError, match=r"images must be floats, not uint8. Divide"):
            function(key, images.astype(jnp.uint8), labels)
    with pytest.raises(ValueError, match=r"groups of 8, so there must be a multiple of that; got 12"):
        neighbors(key, 12)
    with pytest.raises(ValueError, match=r"group must be at least 2; got 1"):
        neighbors(key, 12, group=1)
