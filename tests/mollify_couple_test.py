"""A mollified batch against its equations, its distributions, and itself cut into slices."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mollax import mollify
from mollax.mollify.compression import TINY_IMAGENET_PNG_LOSS

NONE, NOISE, BLUR, PURE = range(4)
OPTIONS = (
    "roles",
    "label_form",
    "repeats",
    "blur_decay",
    "generator",
    "alpha",
    "beta",
    "noise_power",
    "blur_power",
)
# One compilation a setting instead of one a primitive.
mollified = jax.jit(mollify.mollify_batch, static_argnames=(*OPTIONS, "min_scale"))


def batch(n: int, side: int = 4, classes: int = 5, seed: int = 0) -> tuple[jax.Array, jax.Array]:
    """Standardized images and labels, every third of them soft."""
    rng = np.random.default_rng(seed)
    labels = np.eye(classes)[rng.integers(classes, size=n)]
    labels[::3] = 0.6 * labels[::3] + 0.4 * np.eye(classes)[rng.integers(classes, size=len(labels[::3]))]
    return jnp.asarray(rng.normal(size=(n, side, side, 1)), jnp.float32), jnp.asarray(labels, jnp.float32)


@pytest.mark.parametrize(
    "form, noise_power, blur_power, decay",
    [
        ("smooth", 1.0, 1.0, "power"),
        ("temper", 0.5, 2.0, "power"),
        ("extra", 2.0, 0.5, "measured"),
        ("extra_keep", 1.0, 2.0, "measured"),
        ("none", 1.0, 1.0, "power"),
    ],
)
def test_labels_follow_their_equations(
    form: str, noise_power: float, blur_power: float, decay: str, key: jax.Array
) -> None:
    images, labels = batch(60)
    out = mollified(
        key,
        images,
        labels,
        roles=mollify.ROLES,
        label_form=form,
        noise_power=noise_power,
        blur_power=blur_power,
        blur_decay=decay,
    )
    t, role, y = np.asarray(out.t, np.float64), np.asarray(out.role), np.asarray(labels, np.float64)
    assert set(role) == {NONE, NOISE, BLUR, PURE}
    by_noise = (1 / (1 + 1 / np.tan(np.pi * np.maximum(t, 1e-12) / 2) ** 2)) ** noise_power  # eq 12
    lost = np.interp(t, np.linspace(0, 1, 21), TINY_IMAGENET_PNG_LOSS) if decay == "measured" else t
    gamma = np.select([role == NONE, role == BLUR], [0.0 * t, lost**blur_power], by_noise)  # eq 13
    np.testing.assert_allclose(out.gamma, gamma, atol=2e-6)
    share = gamma[:, None]
    expected = {
        "smooth": (1 - share) * y + share / 5,  # eq 8
        "temper": (1 - share) * y,  # eq 7
        "extra": np.concatenate([(1 - share) * y, share], axis=1),
        "extra_keep": np.concatenate([y, share], axis=1),
        "none": y,
    }[form]
    np.testing.assert_allclose(out.labels, expected, atol=2e-6)


def test_images_follow_their_role(key: jax.Array) -> None:
    images, labels = batch(24, side=16)
    out = mollified(key, images, labels, roles=mollify.ROLES)
    assert set(np.asarray(out.role)) == {NONE, NOISE, BLUR, PURE}
    residuals = []
    for i, (t, role) in enumerate(zip(np.asarray(out.t), np.asarray(out.role), strict=True)):
        if role == NONE:
            assert t == 0
            np.testing.assert_array_equal(out.images[i], images[i])
        elif role == BLUR:
            expected = mollify.blur(images[i], mollify.blur_scale(jnp.float32(t), 16))
            np.testing.assert_allclose(out.images[i], expected, atol=2e-6)
        else:
            # The documented draws: (key, index) -> role, temperature, noise.
            noise_key = jax.random.split(jax.random.fold_in(key, i), 3)[2]
            expected = mollify.noise(noise_key, images[i], jnp.float32(t))
            np.testing.assert_allclose(out.images[i], expected, atol=2e-6)
            signal, sigma = np.cos(np.pi * t / 2), np.sin(np.pi * t / 2)
            residuals.append((np.asarray(out.images[i]) - signal * np.asarray(images[i])).ravel() / sigma)
    assert stats.kstest(np.concatenate(residuals), "norm").pvalue > 1e-3


def test_roles_and_temperatures_have_their_distributions(key: jax.Array) -> None:
    images, labels = batch(6000, side=1)
    out = mollified(key, images, labels, roles=mollify.ROLES)
    role, t = np.asarray(out.role), np.asarray(out.t)
    assert stats.chisquare(np.bincount(role, minlength=4)).pvalue > 1e-3
    assert np.all(t[role == NONE] == 0)
    assert np.all(t[role == PURE] == 1)
    for kind in (NOISE, BLUR):  # t does not depend on the role
        assert stats.kstest(t[role == kind], stats.beta(1, 2).cdf).pvalue > 1e-3


@pytest.mark.parametrize("alpha, beta", [(1.0, 2.0), (1.0, 9.0), (2.0, 1.0), (2.0, 3.0)])
def test_temperature_is_beta_distributed(alpha: float, beta: float, key: jax.Array) -> None:
    draw = jax.jit(jax.vmap(lambda k: mollify.sample_temperature(k, alpha=alpha, beta=beta)))
    t = np.asarray(draw(jax.random.split(key, 20_000)))
    assert t.dtype == np.float32
    assert t.min() >= 0
    assert t.max() <= 1
    assert stats.kstest(t, stats.beta(alpha, beta).cdf).pvalue > 1e-3


def test_the_default_mean_temperature_is_a_third(key: jax.Array) -> None:
    t = jax.vmap(mollify.sample_temperature)(jax.random.split(key, 20_000))
    np.testing.assert_allclose(t.mean(), 1 / 3, atol=4 * np.sqrt(1 / 18 / 20_000))


def assert_same(one: mollify.Mollified, other: mollify.Mollified) -> None:
    for name, a, b in zip(one._fields, one, other, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)


def cut(out: mollify.Mollified, part: slice) -> mollify.Mollified:
    return mollify.Mollified(*(x[part] for x in out))


def test_slices_with_their_first_index_equal_the_whole(key: jax.Array) -> None:
    repeats = 2
    images, labels = batch(8)
    whole = mollified(key, images, labels, repeats=repeats)
    for start in (0, 4):  # a traced start serves both
        part = slice(start, start + 4)
        half = mollified(key, images[part], labels[part], repeats=repeats, first_index=start)
        assert_same(half, cut(whole, slice(start * repeats, (start + 4) * repeats)))
    unlike = mollified(key, images[4:], labels[4:], repeats=repeats)
    assert np.any(np.asarray(unlike.t) != np.asarray(whole.t[4 * repeats :]))


def test_repeats_are_rows_of_their_own(key: jax.Array) -> None:
    images, labels = batch(4)
    out = mollified(key, images, labels, roles=("noise",), repeats=3, label_form="none")
    assert out.images.shape == (12, 4, 4, 1)
    np.testing.assert_array_equal(out.labels, np.repeat(labels, 3, axis=0))
    assert len(np.unique(out.t)) == 12
    repeated = mollify.repeat_examples(images, labels, 3)
    np.testing.assert_array_equal(repeated[0], np.repeat(images, 3, axis=0))
    assert_same(mollified(key, *repeated, roles=("noise",), label_form="none"), out)


def test_keys_decide(key: jax.Array) -> None:
    images, labels = batch(8)
    one = mollified(key, images, labels)
    assert_same(mollified(key, images, labels), one)
    other = mollified(jax.random.fold_in(key, 1), images, labels)
    assert np.mean(np.asarray(other.t) == np.asarray(one.t)) < 0.7


def test_pure_noise_has_a_uniform_label_and_no_trace_of_the_image(key: jax.Array) -> None:
    images, labels = batch(50, side=8)
    out = mollified(key, images + 100.0, labels, roles=("pure_noise",))
    np.testing.assert_array_equal(out.t, np.ones(50))
    np.testing.assert_array_equal(out.role, np.full(50, PURE))
    np.testing.assert_allclose(out.labels, np.full((50, 5), 0.2), atol=1e-6)
    assert stats.kstest(np.asarray(out.images).ravel(), "norm").pvalue > 1e-3


@pytest.mark.parametrize("roles", [("none",), ("noise", "blur")])
def test_only_enabled_roles_are_drawn(roles: tuple[str, ...], key: jax.Array) -> None:
    images, labels = batch(40)
    out = mollified(key, images, labels, roles=roles)
    assert {mollify.ROLES[i] for i in np.asarray(out.role)} == set(roles)
    if roles == ("none",):
        np.testing.assert_array_equal(out.images, images)
        np.testing.assert_array_equal(out.labels, labels)


def test_a_role_named_twice_is_drawn_twice_as_often(key: jax.Array) -> None:
    images, labels = batch(3000, side=1)
    counts = np.bincount(mollified(key, images, labels, roles=("none", "noise", "none")).role, minlength=2)
    assert stats.chisquare(counts, [2000, 1000]).pvalue > 1e-3


def test_min_scale_and_generator_reach_the_image(key: jax.Array) -> None:
    images, labels = batch(4, side=8)
    out = mollified(key, images, labels, roles=("blur",), min_scale=2.0)
    scale = mollify.blur_scale(out.t, 8, min_scale=2.0)
    np.testing.assert_allclose(out.images, jax.jit(mollify.blur_batch)(images, scale), atol=2e-6)
    out = mollified(key, images, labels, roles=("noise",), generator="threefry")
    noise_key = jax.random.split(jax.random.fold_in(key, 2), 3)[2]
    expected = mollify.noise(noise_key, images[2], out.t[2], generator="threefry")
    np.testing.assert_allclose(out.images[2], expected, atol=2e-6)


def test_jit_and_no_jit_agree(key: jax.Array) -> None:
    images, labels = batch(8)
    eager, compiled = mollify.mollify_batch(key, images, labels), mollified(key, images, labels)
    np.testing.assert_array_equal(eager.role, compiled.role)
    for a, b in zip(eager, compiled, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6)


def on_device(key: jax.Array, images: jax.Array, labels: jax.Array) -> mollify.Mollified:
    """What one of several devices does with its slice."""
    first = jax.lax.axis_index("batch") * len(images)
    return mollify.mollify_batch(key, images, labels, first_index=first)


def test_two_devices_draw_what_one_does(key: jax.Array) -> None:
    images, labels = batch(8)
    whole = mollified(key, images, labels)
    devices = jax.devices()[:2]
    if len(devices) < 2:
        pytest.skip("needs two devices")
    step = jax.pmap(on_device, axis_name="batch", in_axes=(None, 0, 0), devices=devices)
    parts = step(key, images.reshape(2, 4, 4, 4, 1), labels.reshape(2, 4, 5))
    assert_same(mollify.Mollified(*(x.reshape(-1, *x.shape[2:]) for x in parts)), whole)


def test_vmap_over_slices_agrees(key: jax.Array) -> None:
    images, labels = batch(8)
    whole = mollified(key, images, labels)
    step = jax.jit(jax.vmap(on_device, axis_name="batch", in_axes=(None, 0, 0)))
    parts = step(key, images.reshape(2, 4, 4, 4, 1), labels.reshape(2, 4, 5))
    for a, b in zip(parts, whole, strict=True):  # another product of matrices: equal to rounding
        np.testing.assert_allclose(a.reshape(b.shape), b, atol=2e-6)


def test_gradients_by_the_images(key: jax.Array) -> None:
    images, labels = batch(60)

    def loss(images: jax.Array) -> jax.Array:
        return jnp.sum(mollify.mollify_batch(key, images, labels, roles=mollify.ROLES).images ** 2)

    gradient = np.asarray(jax.jit(jax.grad(loss))(images))
    out = mollified(key, images, labels, roles=mollify.ROLES)
    assert np.all(np.isfinite(gradient))
    clean = np.asarray(out.role) == NONE
    np.testing.assert_allclose(gradient[clean], 2 * images[clean], rtol=1e-6)
    noisy = np.asarray(out.role) == NOISE
    signal = np.cos(np.pi * np.asarray(out.t)[noisy] / 2)[:, None, None, None]
    np.testing.assert_allclose(gradient[noisy], 2 * signal * np.asarray(out.images)[noisy], atol=1e-5)


def test_label_decay_by_role() -> None:
    t, role = jnp.full(4, 0.5), jnp.arange(4)
    np.testing.assert_allclose(mollify.label_decay(t, role, blur_power=2.0), [0.0, 0.5, 0.25, 0.5], atol=1e-6)


GOOD = {"images": np.zeros((2, 4, 4, 3), np.float32), "labels": np.zeros((2, 5), np.float32)}


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    "change, error, message",
    [
        (
            {"roles": ("none", "nois")},
            ValueError,
            r"role must be one of 'none', .*got 'nois'\. Did you mean 'noise'\?",
        ),
        (
            {"roles": ()},
            ValueError,
            "roles must name at least one of none, noise, blur, pure_noise; got none",
        ),
        ({"label_form": "smoth"}, ValueError, "label_form must be one of .*Did you mean 'smooth'"),
        ({"blur_decay": "pwer"}, ValueError, "blur_decay must be one of 'power', 'measured'; got 'pwer'"),
        ({"generator": "hush"}, ValueError, "generator must be one of 'hash', 'threefry'; got 'hush'"),
        (
            {"images": np.zeros((4, 4, 3), np.float32)},
            ValueError,
            r"images must have 4 axes .*got shape \(4, 4, 3\)",
        ),
        (
            {"labels": np.zeros(2, np.float32)},
            ValueError,
            r"labels must have 2 axes \(n, classes\); got shape \(2,\)",
        ),
        ({"labels": np.zeros((3, 5), np.float32)}, ValueError, "images has 2, labels has 3"),
        (
            {"images": np.zeros((2, 4, 4, 3), np.uint8)},
            TypeError,
            "images must hold floating-point .*got uint8",
        ),
        ({"labels": np.zeros((2, 5), np.int32)}, TypeError, "labels must hold .*got int32.*one_hot"),
        ({"alpha": 0.0}, ValueError, r"alpha must be in \(0, inf\); got 0.0"),
        ({"beta": -1.0}, ValueError, r"beta must be in \(0, inf\); got -1.0"),
        ({"noise_power": 0.0}, ValueError, r"noise_power must be in \(0, inf\); got 0.0"),
        ({"blur_power": -2.0}, ValueError, r"blur_power must be in \(0, inf\); got -2.0"),
        ({"min_scale": 0.0}, ValueError, r"min_scale must be in \(0, inf\); got 0.0"),
        ({"repeats": 0}, ValueError, "repeats must be at least 1; got 0"),
        ({"repeats": 1.5}, TypeError, "repeats must be an integer, got 1.5"),
    ],
)
def test_bad_input_is_refused(change: dict[str, Any], error: type[Exception], message: str, key: jax.Array) -> None:
    arguments: dict[str, Any] = {**GOOD, **change}
    images, labels = jnp.asarray(arguments.pop("images")), jnp.asarray(arguments.pop("labels"))
    with pytest.raises(error, match=message):
        mollify.mollify_batch(key, images, labels, **arguments)
