"""Points are checked at the door; what is being traced is not looked at."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mollax.drift.points import check_points

POINTS = np.ones((3, 2), np.float32)


def test_good_points_pass():
    check_points("points", POINTS)
    check_points("points", jnp.asarray(POINTS), width=2)


def test_known_points_are_checked_while_others_are_traced():
    known, traced = jnp.full((2, 2), jnp.inf), jnp.full((2, 2), jnp.nan)
    jax.eval_shape(lambda x: check_points("points", x), traced)
    with pytest.raises(ValueError, match="points must hold finite numbers; row 0 does not"):
        jax.eval_shape(lambda x: check_points("points", known), traced)


@pytest.mark.parametrize(
    "points, kind, message",
    [
        (POINTS[0], ValueError, r"points must have 2 axes \(points, values of each\); got shape \(2,\)"),
        (POINTS.astype(np.uint8), TypeError, r"floating-point numbers; got uint8\. Divide 8-bit images by 255"),
        (POINTS[:, :0], ValueError, r"at least one point of at least one value; got shape \(3, 0\)"),
        (POINTS[:, :1], ValueError, "points of 1 values, the other points have 2: bring both to one size"),
        (POINTS + np.array([[0], [np.inf], [0]], np.float32), ValueError, "row 1 does not"),
    ],
)
def test_bad_points(points, kind, message):
    with pytest.raises(kind, match=message):
        check_points("points", points, width=2)
