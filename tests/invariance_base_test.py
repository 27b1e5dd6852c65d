"""The mixtures against SciPy, distrax, quadrature and their own histograms; what their relaxations do to gradients."""

import distrax
import histograms
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from mollax.invariance.base import Mixture, check_options
from mollax.invariance.draws import surrogate_losses


def parameters(modes: int, d: int, batch: tuple[int, ...] = (), *, seed: int = 3) -> tuple[jax.Array, ...]:
    """Weights, locations and log-scales of modes that overlap in part."""
    rng = np.random.default_rng(seed)
    parts = rng.normal(size=(*batch, modes)), rng.normal(size=(*batch, modes, d)), rng.normal(size=(*batch, modes, d))
    return tuple(jnp.asarray(part, jnp.float32) for part in (parts[0], parts[1], 0.3 * parts[2] - 0.5))


def expected_log_prob(values: np.ndarray, family: str, *parts: jax.Array) -> np.ndarray:
    """By SciPy, for values (..., d) of one unbatched mixture."""
    logits, loc, log_scale = (np.asarray(part, np.float64) for part in parts)
    z, scale = values[..., None, :].astype(np.float64), np.exp(log_scale)
    if family == "gaussian":
        each = scipy.stats.norm.logpdf(z, loc, scale)
    else:
        each = scipy.stats.uniform.logpdf(z, loc - scale, 2 * scale)
    return scipy.special.logsumexp(scipy.special.log_softmax(logits) + each.sum(-1), axis=-1)


@pytest.mark.parametrize("family", ["gaussian", "uniform"])
@pytest.mark.parametrize("modes", [1, 3])
def test_log_prob_is_scipys(rng, family, modes):
    parts = parameters(modes, 3, (2, 4))
    values = rng.normal(size=(5, 2, 4, 3)).astype(np.float32)
    found = np.asarray(Mixture(*parts, family=family).log_prob(jnp.asarray(values)))
    assert found.shape == (5, 2, 4)
    for i, j in np.ndindex(2, 4):
        with np.errstate(divide="ignore"):
            expected = expected_log_prob(values[:, i, j], family, *(part[i, j] for part in parts))
        np.testing.assert_allclose(found[:, i, j], expected, rtol=2e-5, atol=2e-5)
    if family == "uniform":
        assert np.isinf(found).any()
        assert np.isfinite(found).any()


def test_log_prob_is_distraxs(rng):
    logits, loc, log_scale = parameters(4, 2, (3,))
    peer = distrax.MixtureSameFamily(
        distrax.Categorical(logits=logits), distrax.MultivariateNormalDiag(loc, jnp.exp(log_scale))
    )
    values = jnp.asarray(rng.normal(size=(7, 3, 2)), jnp.float32)
    ours = Mixture(logits, loc, log_scale)
    with jax.numpy_rank_promotion("allow"):
        expected = peer.log_prob(values)
    np.testing.assert_allclose(ours.log_prob(values), expected, rtol=1e-5, atol=1e-5)
    assert (ours.batch_shape, ours.event_shape) == (peer.batch_shape, peer.event_shape) == ((3,), (2,))


@pytest.mark.parametrize("family", ["gaussian", "uniform"])
@pytest.mark.parametrize("modes,d", [(1, 1), (3, 1), pytest.param(1, 2, marks=pytest.mark.slow), (3, 2)])
def test_a_million_samples_follow_the_density(key, family, modes, d):
    base = Mixture(*parameters(modes, d), family=family)
    samples = np.asarray(jax.jit(lambda k: base.sample(seed=k, sample_shape=1_000_000))(key))
    distance, expected, mass = histograms.compare(samples, jax.jit(base.log_prob), -8, 8, bins={1: 200, 2: 60}[d])
    assert mass == pytest.approx(1, abs=1e-4 if family == "gaussian" else 0.03)  # cells at the edge of a box
    assert distance < 1.25 * expected + (0 if family == "gaussian" else 0.03)


def test_samples_of_uniforms_lie_in_the_boxes_and_fill_them(key):
    parts = parameters(3, 2)
    base = Mixture(*parts, family="uniform")
    samples = base.sample(seed=key, sample_shape=20_000)
    assert np.isfinite(base.log_prob(samples)).all()
    samples = np.asarray(samples)
    low, high = (np.asarray(parts[1] + sign * jnp.exp(parts[2])) for sign in (-1, 1))
    inside = ((low <= samples[:, None]) & (samples[:, None] <= high)).all(-1)
    weights = scipy.special.softmax(np.asarray(parts[0], np.float64))
    volumes = (high - low).prod(-1)
    overlap = (np.minimum(high[:, None], high) - np.maximum(low[:, None], low)).clip(0).prod(-1)
    np.testing.assert_allclose(inside.mean(0), (weights * overlap / volumes).sum(1), atol=0.015)


@pytest.mark.parametrize("loc", [1.0, -30.0, 0.0])
@pytest.mark.parametrize("modes", [1, 2])
def test_narrow_boxes_far_from_zero_hold_their_samples(key, loc, modes):
    """There numbers are farther apart than 1e-5 of the box."""
    log_scale = jnp.linspace(0, -10, 11)[:, None, None] + jnp.zeros((1, modes, 2))
    center = jnp.full(log_scale.shape, loc) + jnp.arange(modes, dtype=jnp.float32)[None, :, None]
    base = Mixture(jnp.zeros((11, modes)), center, log_scale, family="uniform")
    samples = jax.jit(lambda k: base.sample(seed=k, sample_shape=50_000))(key)
    assert np.isfinite(jax.jit(base.log_prob)(samples)).all()
    # Clearly outside, by a tenth of the scale or by twenty roundings, there is nothing.
    beyond = jnp.maximum(1.1 * jnp.exp(log_scale), jnp.exp(log_scale) + 20 * 1.2e-7 * abs(loc))
    for sign in (-1, 1):
        assert (base.log_prob((center + sign * beyond)[:, -1 if sign > 0 else 0]) == -jnp.inf).all()


@pytest.mark.parametrize("family", ["gaussian", "uniform"])
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_computed_in_single(key, rng, family, dtype):
    parts = [part.astype(dtype) for part in parameters(3, 2, (4,))]
    values = jnp.asarray(rng.normal(size=(20, 4, 2)), dtype)
    half, single = (Mixture(*given, family=family) for given in (parts, [part.astype(jnp.float32) for part in parts]))
    found = half.log_prob(values)
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, single.log_prob(values.astype(jnp.float32)))
    samples = half.sample(seed=key, sample_shape=5)
    assert samples.dtype == jnp.float32
    np.testing.assert_array_equal(samples, single.sample(seed=key, sample_shape=5))


def test_double_precision_stays():
    with jax.enable_x64(True):
        parts = [jnp.asarray(np.asarray(part, np.float64)) for part in parameters(3, 2)]
        values = np.random.default_rng(0).normal(size=(5, 2))
        for family in ("gaussian", "uniform"):
            found = Mixture(*parts, family=family).log_prob(jnp.asarray(values))
            assert found.dtype == jnp.float64
            with np.errstate(divide="ignore"):
                np.testing.assert_allclose(found, expected_log_prob(values, family, *parts), rtol=1e-12)


def test_boxes_and_their_nearest_points(rng):
    logits, loc, log_scale = parameters(3, 2, (4,))
    base = Mixture(logits, loc, log_scale, family="uniform")
    values = jnp.asarray(2 * rng.normal(size=(6, 4, 2)), jnp.float32)
    nearest = np.asarray(base.nearest_in_boxes(values))
    assert nearest.shape == (6, 4, 3, 2)
    low, high = (np.asarray(loc + sign * jnp.exp(log_scale)) for sign in (-1, 1))
    np.testing.assert_allclose(nearest, np.clip(np.asarray(values)[:, :, None], low, high), rtol=1e-6)
    inside = (nearest == np.asarray(values)[:, :, None]).all(-1)
    assert inside.any()
    assert not inside.any(-1).all()
    np.testing.assert_allclose(base.boxes_log_prob(jnp.asarray(inside)), base.log_prob(values), rtol=1e-6)
    with pytest.raises(ValueError, match=r"over 2 dimensions; got a value of \(5, 4, 3\)"):
        base.nearest_in_boxes(jnp.zeros((5, 4, 3)))


def test_no_rows_have_no_samples(key):
    base = Mixture(*(part[:0] for part in parameters(3, 2, (1,))))
    drawn = base.sample_each(jax.random.split(key, 1)[:0], n=5)
    assert drawn.shape == (5, 0, 2)
    assert base.log_prob(drawn).shape == (5, 0)


def test_straight_through_samples_are_exactly_of_a_mode(key):
    logits, loc, log_scale = parameters(4, 3)
    for family in ("gaussian", "uniform"):
        base = Mixture(logits, loc, log_scale, family=family)
        samples = base.sample_each(key, n=500)
        # The samples of a mode at 0 of scale 1 under the same key, with as many weights, are the noise.
        plain = Mixture(logits, jnp.zeros_like(loc), jnp.zeros_like(loc), family=family)
        noise = plain.sample_each(key, n=500)
        candidates = loc[None] + jnp.exp(log_scale)[None] * noise[:, None]
        apart = np.abs(np.asarray(samples)[:, None] - candidates).max(-1)
        assert apart.min(1).max() < 1e-6
        chosen = np.bincount(apart.argmin(1), minlength=4) / 500
        np.testing.assert_allclose(chosen, jax.nn.softmax(logits), atol=0.08)


def test_rows_of_a_batch_draw_their_own_noise(key):
    logits, loc, log_scale = (jnp.zeros((5, *part.shape)) + part[None] for part in parameters(3, 2))
    base = Mixture(logits, loc, log_scale)
    samples = base.sample(seed=key, sample_shape=4)
    assert samples.shape == (4, 5, 2)
    assert len(np.unique(samples.reshape(-1, 2), axis=0)) == 20
    # By a key each, a row draws what it would draw alone.
    keys = jax.random.split(key, 5)
    together = base.sample_each(keys, n=4)
    for i in (0, 3):
        alone = Mixture(logits[i : i + 1], loc[i : i + 1], log_scale[i : i + 1]).sample_each(keys[i : i + 1], n=4)
        np.testing.assert_allclose(alone[:, 0], together[:, i], rtol=1e-6, atol=1e-6)
    two_axes = Mixture(*(part[:4].reshape(2, 2, *part.shape[1:]) for part in (logits, loc, log_scale)))
    np.testing.assert_allclose(
        two_axes.sample_each(keys[:4].reshape(2, 2), n=4).reshape(4, 4, 2), together[:, :4], rtol=1e-6, atol=1e-6
    )


def test_sample_and_log_prob_agree_and_transform(key):
    base = Mixture(*parameters(3, 2, (4,)))
    samples, density = base.sample_and_log_prob(seed=key, sample_shape=6)
    np.testing.assert_array_equal(samples, base.sample(seed=key, sample_shape=6))
    np.testing.assert_allclose(density, base.log_prob(samples), rtol=1e-5, atol=1e-5)

    def one(logits: jax.Array, loc: jax.Array, log_scale: jax.Array, value: jax.Array) -> jax.Array:
        return Mixture(logits, loc, log_scale).log_prob(value)

    by_row = jax.jit(jax.vmap(jax.vmap(one, (None, None, None, 0)), (0, 0, 0, 1), 1))(*parameters(3, 2, (4,)), samples)
    np.testing.assert_allclose(by_row, density, rtol=1e-5, atol=1e-5)


def test_gradients_of_one_mode_are_exact(key):
    # Entropy of a normal: d (1 + log 2 pi) / 2 + sum of log-scales; of a uniform: sum of log(2 scale).
    for family in ("gaussian", "uniform"):

        def negative_entropy(parts: tuple[jax.Array, ...], family: str = family) -> jax.Array:
            base = Mixture(*parts, family=family)
            return jnp.mean(base.log_prob(base.sample(seed=key, sample_shape=40_000)))

        logits, loc, log_scale = jax.grad(negative_entropy)(parameters(1, 3))
        np.testing.assert_allclose(logits, 0, atol=1e-5)
        np.testing.assert_allclose(loc, 0, atol=1e-2)
        np.testing.assert_allclose(log_scale, -1, atol=2e-2)


def weight_gradient(key: jax.Array, h, logits: jax.Array, loc: jax.Array, log_scale: jax.Array) -> tuple[float, float]:
    """d E[h(z)] / d logit_0 of two one-dimensional modes: by straight-through samples, and by quadrature."""

    def sampled(logits: jax.Array, h=h) -> jax.Array:
        return jnp.mean(h(Mixture(logits, loc, log_scale).sample(seed=key, sample_shape=200_000)[:, 0]))

    def exact(logits: jax.Array) -> jax.Array:
        z = jnp.linspace(-8, 8, 8001)
        density = jnp.exp(Mixture(logits, loc, log_scale).log_prob(z[:, None]))
        return jnp.sum(density * h(z)) * (z[1] - z[0])

    return float(jax.jit(jax.grad(sampled))(logits)[0]), float(jax.jit(jax.grad(exact))(logits)[0])


def test_straight_through_gradient_of_the_weights(key):
    """A step between the modes counts as the mean slope of h at its ends: right for z, nearly for z^2, not for z^4."""
    logits, loc = jnp.array([0.5, -0.5]), jnp.array([[-1.0], [1.5]])
    log_scale = jnp.log(jnp.array([[0.3], [0.3]]))
    ratios = {}
    for name, h in {"z": lambda z: z, "z^2": lambda z: z**2, "z^4": lambda z: z**4, "cos": jnp.cos}.items():
        estimate, exact = weight_gradient(key, h, logits, loc, log_scale)
        ratios[name] = estimate / exact
        assert np.sign(estimate) == np.sign(exact)
    print({name: round(ratio, 3) for name, ratio in ratios.items()})
    assert ratios["z"] == pytest.approx(1, abs=0.05)
    assert 0.65 < ratios["z^2"] < 1.05  # 1 but for the temperature
    # (h'(-1) + h'(1.5)) / 2 * 2.5 / (h(1.5) - h(-1)), but for the modes' width: 2.92 for z^4.
    assert ratios["z^4"] > 1.5


def test_straight_through_entropy_does_not_see_the_weights_of_modes_far_apart(key):
    # log p is flat between them where there are samples: no gradient, though the entropy grows towards equal weights.
    logits, loc = jnp.array([1.0, 0.0]), jnp.array([[-1.0], [1.0]])

    def log_density(z: jax.Array, width: float) -> jax.Array:
        fixed = Mixture(logits, loc, jnp.full((2, 1), jnp.log(width)))
        return fixed.log_prob(z[:, None])

    found = {}
    for width in (0.2, 1.0):
        log_scale = jnp.full((2, 1), jnp.log(width))
        found[width] = weight_gradient(key, lambda z, width=width: log_density(z, width), logits, loc, log_scale)
    print(found)
    (far, exact_far), (near, exact_near) = found[0.2], found[1.0]
    assert exact_far > 0.15
    assert abs(far) < 0.5 * exact_far
    assert near * exact_near > 0


@pytest.mark.parametrize("family", ["gaussian", "uniform"])
def test_score_gradients_are_exact_for_modes_near_and_far(key, family):
    """Of E[h + log p] in all parameters, against quadrature; boxes without an overlap, whose edges have no gradient."""
    logits = jnp.array([1.0, 0.0, -0.5])
    log_scale = jnp.log(jnp.array([[0.3], [0.4], [0.2]]))
    loc = jnp.array([[-1.0], [0.2 if family == "gaussian" else 0.5], [1.5]])

    def sampled(parts, n):
        base = Mixture(*parts, family=family, relaxation="score")
        z = base.sample(seed=key, sample_shape=n)
        values = z[:, 0] ** 4 + base.log_prob(z)
        return jnp.mean(surrogate_losses(values[None], base.score(z)[None]))

    def exact(parts):
        logits, loc, log_scale = parts
        pi, unit = jax.nn.softmax(logits)[:, None], jnp.linspace(-1, 1, 4001)[None] * (6 if family == "gaussian" else 1)
        weights = jnp.exp(-0.5 * unit**2) if family == "gaussian" else jnp.ones_like(unit)
        z = loc + jnp.exp(log_scale) * unit
        values = z**4 + Mixture(*parts, family=family).log_prob(z.reshape(-1, 1)).reshape(z.shape)
        return jnp.sum(pi * weights * values) / jnp.sum(weights)

    parts = logits, loc, log_scale
    for found, expected in zip(jax.grad(sampled)(parts, 400_000), jax.jit(jax.grad(exact))(parts), strict=True):
        np.testing.assert_allclose(found, expected, atol=0.02 * float(jnp.abs(expected).max()) + 0.01)
    np.testing.assert_allclose(sampled(parts, 400_000), exact(parts), atol=0.02)
    # Its samples are those of the straight-through choice; the others, and one mode, have no score.
    plain = Mixture(*parts, family=family)
    z = plain.sample(seed=key, sample_shape=9)
    scored = Mixture(*parts, family=family, relaxation="score")
    np.testing.assert_array_equal(scored.sample(seed=key, sample_shape=9), z)
    assert plain.score(z) is None
    assert Mixture(logits[:1], loc[:1], log_scale[:1], relaxation="score").score(z) is None


def test_soft_samples_do_not_follow_the_density(key):
    parts = jnp.zeros(2), jnp.array([[-2.0], [2.0]]), jnp.log(jnp.full((2, 1), 0.2))
    found = {}
    for relaxation in ("straight_through", "soft"):
        base = Mixture(*parts, relaxation=relaxation, temperature=0.5)
        samples = base.sample(seed=key, sample_shape=100_000)
        distance, expected, _ = histograms.compare(np.asarray(samples), base.log_prob, -4, 4, bins=80)
        found[relaxation] = distance / expected, float(-jnp.mean(base.log_prob(samples)))
    exact = 0.5 * np.log(2 * np.pi * np.e * 0.04) + np.log(2)
    assert found["straight_through"][0] < 1.5
    assert found["straight_through"][1] == pytest.approx(exact, abs=0.02)
    assert found["soft"][0] > 10
    assert found["soft"][1] > exact + 1


def test_gradients_are_finite_outside_of_the_boxes():
    def density(value: jax.Array, parts: tuple[jax.Array, ...]) -> jax.Array:
        return jnp.sum(Mixture(*parts, family="uniform").log_prob(value))

    for value in (jnp.array([100.0, 0.0]), parameters(2, 2)[1][0] + 0.01):
        for leaf in jax.tree.leaves(jax.grad(density, (0, 1))(value, parameters(2, 2))):
            assert np.isfinite(leaf).all()


@pytest.mark.usefixtures("unhooked")
def test_bad_input(key):
    logits, loc, log_scale = parameters(3, 2)
    with pytest.raises(ValueError, match=r"logits \(\*batch, k\).*got \(2,\), \(3, 2\) and \(3, 2\)"):
        Mixture(logits[:2], loc, log_scale)
    for options, message in {
        (("family", "normal"),): "base must be one of 'gaussian', 'uniform'; got 'normal'",
        (("relaxation", "hard"),): "relaxation must be one of 'straight_through', 'soft', 'score'; got 'hard'",
        (("temperature", 0.0),): r"temperature must be in \(0, inf\); got 0",
        (("family", "uniform"), ("relaxation", "soft")): "lie between its boxes",
    }.items():
        with pytest.raises(ValueError, match=message):
            Mixture(logits, loc, log_scale, **dict(options))
    base = Mixture(logits, loc, log_scale)
    with pytest.raises(ValueError, match=r"over 2 dimensions; got a value of \(5, 3\)"):
        base.log_prob(jnp.zeros((5, 3)))
    with pytest.raises(ValueError, match="modes must be at least 1; got 0"):
        check_options("gaussian", "soft", 1.0, modes=0)
    check_options("uniform", "soft", 1.0, modes=1)
    with pytest.raises(ValueError, match=r"expected keys of shape \(\), got \(2,\)"):
        base.sample_each(jax.random.split(key), n=1)
