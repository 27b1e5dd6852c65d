"""A run's augmentation as draws of points: each part where the run has it, and by the key alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from compiling import fast

from mollax import augmenters, experiment, invariance
from mollax.auditing.kernels import family
from mollax.auditing.pipeline import identity, training_draw
from mollax.finished_run import FinishedRun


def run_of(config, *, variables=None):
    model = experiment.create_network(config, 10)
    if config.invariance.augmenter:
        model = invariance.TransformedClassifier(model, augmenters.create_augmenter(config))
        image = jnp.zeros((1, 8, 8, 1))
        start = fast(lambda key: model.init(key, jax.random.split(key, 1), image, method="start"))
        variables = start(jax.random.key(0))
    results = {"data": {"image_shape": [8, 8, 1]}}
    return FinishedRun(config, results, model, variables, tiny.MEAN, tiny.STD)


def points(count=6):
    return jnp.asarray(tiny.digits(count)[0].reshape(count, 64) / 255, jnp.float32)


def test_draws_move_every_image_by_its_key():
    draw, words = training_draw(run_of(tiny.config(mollify__roles=("noise",))))
    assert words == "flips, crops, rotations and policy as configured, then the mollifier's noise"
    draw = fast(draw)
    first, again, other = (np.asarray(draw(jax.random.key(k), points())) for k in (0, 0, 1))
    assert first.shape == (6, 64)
    np.testing.assert_array_equal(first, again)
    assert (np.abs(first - other).max(axis=1) > 1e-3).all()
    assert (np.abs(first - np.asarray(points())).max(axis=1) > 1e-3).all()


@pytest.mark.parametrize(
    "roles, words",
    [
        (("none", "noise", "blur"), "the mollifier's noise and blur"),
        (("blur",), "the mollifier's blur"),
        (("none", "pure_noise"), "the mollifier's pure noise"),
    ],
)
def test_the_mollifier_is_called_by_its_roles(roles, words):
    assert training_draw(run_of(tiny.config(mollify__roles=roles, augment__pad=0)))[1] == words


def test_a_mollifier_that_leaves_images_alone_is_none():
    with pytest.raises(ValueError, match="trained without augmentation"):
        training_draw(run_of(tiny.config(mollify__roles=("none",), augment__pad=0)))


def test_a_run_is_known_by_its_weights_and_its_augmentation():
    def of(weight=1.0, **changes):
        return identity(run_of(tiny.config(**changes), variables={"params": {"w": np.full(3, weight)}}))

    assert of() == of(train__duration="9 steps")
    assert len({of(), of(weight=2.0), of(augment__pad=0), of(mollify__roles=("noise",))}) == 4


def test_crops_alone_keep_the_pixels():
    draw, words = training_draw(run_of(tiny.config(mollify__enabled=False)))
    assert words == "flips, crops, rotations and policy as configured"
    moved = np.asarray(fast(draw)(jax.random.key(0), points()))
    assert set(np.round(moved.ravel(), 4)) <= {0.0, *np.round(np.asarray(points()).ravel(), 4)}


@pytest.mark.slow
def test_learned_transforms_are_drawn():
    draw, words = training_draw(run_of(tiny.flow_config()))
    assert words == "learned transforms (flow)"
    moved = np.asarray(fast(draw)(jax.random.key(0), points(2)))
    assert np.isfinite(moved).all()
    assert (np.abs(moved - np.asarray(points(2))).max(axis=1) > 1e-3).all()


def test_a_run_without_augmentation_has_none():
    with pytest.raises(ValueError, match="trained without augmentation"):
        training_draw(run_of(tiny.config(mollify__enabled=False, augment__pad=0)))


def test_the_kernel_has_as_many_versions_as_draws():
    found = family("run:draws=3,sigma=.2", shape=(8, 8, 1), run=run_of(tiny.config()))
    (group,) = found.make(0.2).groups(64)
    assert np.shape(group.sigma) == (3, 1)
    assert "3 draws an image, and Gaussian noise of scale 0.2" in found.words(0.2)
