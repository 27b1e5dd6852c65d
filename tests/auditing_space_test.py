"""Pixels and features as points."""

import audit_images
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from mollax.auditing.space import Features, Pixels, check_same_features


def test_pixels_are_flattened():
    images = tiny.digits(3)[0]
    points = Pixels().points(images)
    assert points.dtype == np.float32
    np.testing.assert_allclose(points.reshape(3, 8, 8, 1) * 255, images, rtol=1e-6)
    assert Pixels().about() == {"kind": "pixels", "run": None}


def test_features_are_the_runs(tmp_path_factory):
    workdir = audit_images.write_run(tmp_path_factory)
    space = Features(workdir)
    images = tiny.digits(5)[0]
    points = space.points(images)
    run = space.run
    plain = jnp.asarray((images / np.float32(255) - np.asarray(run.mean)) / np.asarray(run.std))
    by_hand = run.model.apply(run.variables, plain, train=False, method="features")
    np.testing.assert_allclose(points, by_hand, rtol=1e-4, atol=1e-5)
    assert space.shape == (8, 8, 1)
    check_same_features(space, images, points)
    with pytest.raises(ValueError, match="other features than those saved"):
        check_same_features(space, images, points + 1)
