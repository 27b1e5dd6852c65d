"""Transforms against SciPy's matrix exponential, closed forms, PIL's crop and the singular value decomposition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from PIL import Image

from mollax import image
from mollax.invariance import GENERATORS, KINDS, affine_matrix, crop_matrix, dimension, lie_algebra, rotation_error

EXPONENTIAL = [kind for kind in KINDS if kind != "crop"]
DIMENSIONS = {"rotation": 1, "translation": 2, "rotation_translation": 3, "affine": 6}
DIMENSIONS |= {"decoupled_rotation": 2, "decoupled": 6, "crop": 4}


def test_dimensions():
    assert {kind: dimension(kind) for kind in KINDS} == DIMENSIONS


@pytest.mark.parametrize("kind", EXPONENTIAL)
def test_matrices_are_scipys_exponentials(kind, rng):
    params = rng.uniform(-1, 1, (6, dimension(kind))).astype(np.float32)
    found = jax.jit(jax.vmap(lambda p: affine_matrix(p, kind=kind)))(params)
    for matrix, row in zip(found, params.astype(np.float64), strict=True):
        if kind == "decoupled_rotation":
            exponent = np.pi * np.array([[0, row[0], 0], [row[1], 0, 0], [0, 0, 0]])
        elif kind == "decoupled":
            exponent = np.pi * np.vstack([row.reshape(2, 3), np.zeros(3)])
        else:
            names = {"rotation": ["rotate"], "translation": ["translate_x", "translate_y"], "affine": list(GENERATORS)}
            chosen = names.get(kind, ["translate_x", "translate_y", "rotate"])
            top = sum(w * np.array(GENERATORS[name]) for w, name in zip(row, chosen, strict=True))
            exponent = np.vstack([top, np.zeros(3)])
        expected = scipy.linalg.expm(exponent)[:2]
        np.testing.assert_allclose(matrix, expected, atol=2e-5 * max(1, np.abs(expected).max()))


def test_closed_forms():
    turn = affine_matrix(jnp.array([0.25]), kind="rotation")
    np.testing.assert_allclose(turn, image.affine.rotation(np.pi / 4), atol=1e-6)
    shift = affine_matrix(jnp.array([1.0, -0.5]), kind="translation")
    np.testing.assert_allclose(shift, image.affine.translation(0.1, -0.05), atol=1e-6)
    zoom = affine_matrix(jnp.array([0, 0, 0, 0.5, 0, 0.0]), kind="affine")
    np.testing.assert_allclose(zoom, image.affine.scaling(np.exp(0.5)), rtol=1e-6)
    # Eq 13 with b = -d is a rotation, and the entry range is its angle.
    entries = affine_matrix(jnp.array([-0.3, 0.3]), kind="decoupled_rotation", entry_range=2.0)
    np.testing.assert_allclose(entries, image.affine.rotation(0.6), atol=1e-6)
    for kind in EXPONENTIAL:
        np.testing.assert_allclose(affine_matrix(jnp.zeros(dimension(kind)), kind=kind), image.affine.identity())


def test_crops_are_pils_boxes(rng):
    pixels = rng.integers(0, 256, (33, 33), np.uint8)
    # The right half of the width, all of the height.
    matrix = crop_matrix(jnp.array([1.0, 1.0, -1.0, 1.0]), limits=(0.5, 1.0))
    np.testing.assert_allclose(matrix, [[0.5, 0, 0.5], [0, 1, 0]])
    found = image.affine_warp(jnp.asarray(pixels[..., None], jnp.float32) / 255, matrix)[..., 0]
    # With corners aligned, every second output column is a column of the right half.
    np.testing.assert_allclose(
        found[:, ::2] * 255, np.asarray(Image.fromarray(pixels).crop((16, 0, 33, 33))), atol=1e-3
    )


def test_crops_stay_inside(rng):
    params = jnp.asarray(rng.uniform(-1, 1, (200, 4)), jnp.float32)
    (sx, _, tx), (_, sy, ty) = np.moveaxis(np.asarray(jax.vmap(crop_matrix)(params)), 0, -1)
    assert (np.abs(tx) + sx <= 1 + 1e-6).all()
    assert (np.abs(ty) + sy <= 1 + 1e-6).all()
    assert sx.min() >= 0.7
    np.testing.assert_array_equal(
        affine_matrix(params[0], kind="crop", limits=(0.35, 1.0)), crop_matrix(params[0], limits=(0.35, 1.0))
    )


def test_rotation_error_is_the_svds(rng):
    for matrix in rng.normal(size=(20, 2, 3)):
        u, _, vt = np.linalg.svd(matrix[:, :2])
        nearest = u @ np.diag([1, np.linalg.det(u @ vt)]) @ vt
        expected = np.linalg.norm(matrix[:, :2] - nearest) / np.linalg.norm(matrix[:, :2])
        assert float(rotation_error(jnp.asarray(matrix, jnp.float32))) == pytest.approx(expected, abs=2e-3)
    assert float(rotation_error(image.affine.rotation(2.0))) < 1e-3


@pytest.mark.parametrize("kind", ["affine", "decoupled", "crop"])
def test_gradients_are_finite_at_zero_and_right(kind, rng):
    params = jnp.asarray(rng.uniform(-0.5, 0.5, dimension(kind)), jnp.float32)
    jacobian = jax.jit(jax.jacobian(lambda p: affine_matrix(p, kind=kind)))
    assert jnp.isfinite(jacobian(jnp.zeros_like(params))).all()
    step = 1e-2 * jnp.eye(dimension(kind))
    matrices = jax.jit(jax.vmap(lambda p: affine_matrix(p, kind=kind)))
    numeric = (matrices(params[None] + step) - matrices(params[None] - step)) / 0.02
    np.testing.assert_allclose(
        jnp.moveaxis(jacobian(params), -1, 0), numeric, atol=2e-2 * float(jnp.abs(numeric).max())
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_computed_in_single(kind, dtype, rng):
    params = jnp.asarray(rng.uniform(-1, 1, dimension(kind)), dtype)
    found = affine_matrix(params, kind=kind)
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, affine_matrix(params.astype(jnp.float32), kind=kind))


@pytest.mark.parametrize("kind", ["affine", "decoupled", "crop"])
def test_double_precision_stays(kind, rng):
    with jax.enable_x64(True):
        params = jnp.asarray(rng.uniform(-1, 1, dimension(kind)))
        found = affine_matrix(params, kind=kind)
        assert found.dtype == jnp.float64
        if kind != "crop":
            expected = scipy.linalg.expm(np.asarray(lie_algebra(params, kind=kind)))[:2]
            np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_integers_are_refused(kind, unhooked):
    with pytest.raises(
        TypeError, match=rf'parameters of kind "{kind}" must be floats, not int32; give such as jnp.zer'
    ):
        affine_matrix(jnp.ones(dimension(kind), jnp.int32), kind=kind)


def test_bad_arguments_are_named(unhooked):
    with pytest.raises(ValueError, match=r"kind must be one of .*got 'rotate'. Did you mean 'rotation'"):
        affine_matrix(jnp.zeros(1), kind="rotate")
    with pytest.raises(ValueError, match=r'kind "affine" takes 6 parameters; got shape \(5,\)'):
        affine_matrix(jnp.zeros(5), kind="affine")
    with pytest.raises(ValueError, match=r'kind "rotation" takes 1 parameter; got shape \(\)'):
        affine_matrix(jnp.float32(0), kind="rotation")
    with pytest.raises(ValueError, match="A crop is no exponential"):
        lie_algebra(jnp.zeros(4), kind="crop")
    for limits in ((0.0, 1.0), (0.8, 0.5), (0.5, 1.5)):
        with pytest.raises(ValueError, match="limits of a crop must be 0 < low <= high <= 1"):
            crop_matrix(jnp.zeros(4), limits=limits)
    with pytest.raises(ValueError, match=r"2x2 or more; got shape \(1, 3\)"):
        rotation_error(jnp.zeros((1, 3)))
