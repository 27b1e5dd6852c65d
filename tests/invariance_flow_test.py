"""The flow as a distribution: log-determinants, inverses, integrals, histograms, training to a target, both forms."""

import functools

import histograms
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compiling import fast

from mollax.invariance.draws import surrogate_losses
from mollax.invariance.flow import Couplings, TransformFlow, kept_coordinates

BENT = {"init_scale": 0.4, "spread": 0.6}


@functools.cache
def initialized(flow: TransformFlow, e: int) -> dict:
    """Variables as training starts with."""
    init = fast(lambda k: flow.init(k, k, jnp.zeros(e), n=1, method="sample"))
    return init(jax.random.key(7))


def make(d: int, *, batch: tuple[int, ...] = (3,), e: int = 5, **options) -> tuple[TransformFlow, dict, jax.Array]:
    """A flow with weights that bend it, and embeddings; scanned and of 4 layers unless told otherwise, for speed."""
    flow = TransformFlow(d, **({"layers": 4, "widths": (16, 16), "scan": True, **BENT} | options))
    rng, key = np.random.default_rng(7), jax.random.key(7)
    shapes = jax.eval_shape(functools.partial(flow.init, n=1, method="sample"), key, key, jnp.zeros(e))["params"]

    def leaf(name: str, shape: tuple[int, ...]) -> np.ndarray:
        if name == "base_log_scale":
            return 0.1 * rng.normal(size=shape) + np.log(1 - flow.spread**2) / 2
        if name.endswith("bias") or name.startswith("base_"):
            return rng.normal(size=shape) * {"base_loc": flow.spread, "last_bias": flow.init_scale / 4}.get(name, 0.1)
        return rng.normal(size=shape) / np.sqrt(shape[-2]) * (flow.init_scale if name == "last" else 1)

    params = {name: leaf(name, at.shape) for name, at in shapes.items() if name != "base"}
    params["base"] = {"kernel": flow.init_scale * leaf("kernel", shapes["base"]["kernel"].shape)}
    embedding = jnp.asarray(rng.normal(size=(*batch, e)), jnp.float32)
    return flow, {"params": jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), params)}, embedding


@functools.cache
def sampler(flow: TransformFlow, n: int):
    """Jitted (variables, keys, embedding) to samples and log-densities."""
    return fast(lambda variables, keys, embedding: flow.apply(variables, keys, embedding, n=n, method="sample"))


@functools.cache
def density(flow: TransformFlow):
    """Jitted (variables, params, embedding) to log-densities."""
    return fast(lambda variables, params, embedding: flow.apply(variables, params, embedding, method="log_prob"))


def density_at(flow: TransformFlow, variables: dict, embedding: jax.Array):
    """log_prob of points (m, d) for one embedding (e,)."""
    of = density(flow)
    return lambda points: of(variables, points, embedding)


@pytest.mark.parametrize("d", [1, 2, pytest.param(6, marks=pytest.mark.slow)])
@pytest.mark.parametrize("scan", [False, True])
def test_log_determinants_are_those_of_the_jacobian(d, scan):
    flow, variables, embedding = make(d, scan=scan, batch=())
    couplings = flow.apply(variables, embedding, method="_parts")[1]
    z = jax.random.normal(jax.random.key(1), (20, d))
    for function, x in (
        (couplings.forward_and_log_det, z),
        (couplings.inverse_and_log_det, fast(couplings.forward)(z)),
    ):
        jacobian = np.asarray(fast(jax.vmap(jax.jacfwd(lambda x, f=function: f(x)[0])))(x), np.float64)
        log_det = fast(function)(x)[1]
        np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobian)[1], rtol=2e-4, atol=1e-3)


def test_log_determinants_of_many_coordinates_far_out():
    """Of couplings that change nothing: the bounds alone, which have a closed form; gradients against float64's."""
    d, layers, bound = 150, 2, 1.0
    shapes = {"context": (4, 8), "context_bias": (8,), "first": (d, 8), "last": (8, 2 * d), "last_bias": (2 * d,)}
    params = {name: jnp.zeros((layers, *shape)) for name, shape in shapes.items()} | {"hidden": []}
    couplings = Couplings(params, kept_coordinates(layers, d), jnp.zeros(4), inner=6.0, bound=bound, scan=True)
    z = np.concatenate([np.random.default_rng(3).normal(scale=s, size=(2, d)) for s in (0.01, 1.0, 30.0)])

    def closed_form(z: jax.Array) -> jax.Array:
        log_det = 0.0
        for width in (6.0, 6.0, bound):
            u = jnp.abs(z / width)
            log_det += 2 * jnp.sum(jnp.log(2.0) - u - jnp.log1p(jnp.exp(-2 * u)), -1)
            z = width * jnp.tanh(z / width)
        return log_det

    with jax.enable_x64(True):
        expected, slope = jax.value_and_grad(lambda z: jnp.sum(closed_form(z)))(jnp.asarray(z))
        each = closed_form(jnp.asarray(z))
    values = jnp.asarray(z, jnp.float32)
    np.testing.assert_allclose(couplings.forward_and_log_det(values)[1], each, rtol=2e-5, atol=1e-5)
    found, gradient = jax.value_and_grad(lambda z: jnp.sum(couplings.forward_and_log_det(z)[1]))(values)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient, slope, atol=2e-5)


@pytest.mark.parametrize("d", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_in_float64_they_are_to_the_last_digits(d):
    rng = np.random.default_rng(8)
    with jax.enable_x64(True):
        shapes = {"context": (5, 4, 8), "context_bias": (5, 8), "first": (5, d, 8), "last": (5, 8, 2 * d)}
        params = {name: jnp.asarray(0.2 * rng.normal(size=shape)) for name, shape in shapes.items()}
        params |= {"hidden": [], "last_bias": jnp.asarray(0.1 * rng.normal(size=(5, 2 * d)))}
        embedding, z = jnp.asarray(rng.normal(size=4)), jnp.asarray(rng.normal(size=(10, d)))
        for scan in (False, True):
            couplings = Couplings(params, kept_coordinates(5, d), embedding, inner=6.0, bound=1.5, scan=scan)
            y, log_det = fast(couplings.forward_and_log_det)(z)
            assert y.dtype == log_det.dtype == jnp.float64
            jacobian = fast(jax.vmap(jax.jacfwd(couplings.forward)))(z)
            np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobian)[1], rtol=1e-10, atol=1e-10)
            back, inverse_log_det = fast(couplings.inverse_and_log_det)(y)
            np.testing.assert_allclose(back, z, rtol=1e-8, atol=1e-8)
            np.testing.assert_allclose(inverse_log_det, -log_det, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("base,modes", [("gaussian", 1), ("gaussian", 3), ("uniform", 1), ("uniform", 3)])
@pytest.mark.parametrize("d", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_density_integrates_to_one_and_samples_follow_it(base, modes, d):
    flow, variables, embedding = make(d, batch=(), base=base, modes=modes, init_scale=0.3)
    drawn, log_density = sampler(flow, 1_000_000)(variables, jax.random.key(9), embedding)
    assert np.abs(drawn).max() < 1
    log_prob = density_at(flow, variables, embedding)
    distance, expected, mass = histograms.compare(np.asarray(drawn), log_prob, -1, 1, bins={1: 100, 2: 40}[d])
    # Where a density jumps, points on either side of the jump are read off.
    slack = 0.01 if base == "gaussian" else 0.02
    assert mass == pytest.approx(1, abs=slack)
    assert distance < 1.25 * expected + (slack if base == "uniform" else 0)
    # It is not the density of another embedding.
    other = histograms.compare(np.asarray(drawn), density_at(flow, variables, -embedding), -1, 1, bins=40)
    assert other[0] > 4 * distance
    some = slice(0, 2000)
    np.testing.assert_allclose(log_prob(drawn[some]), log_density[some], rtol=1e-3, atol=1e-2)


def test_one_pass_and_inverse_agree():
    bound = 1.5
    for d, options in ((1, {}), (6, {"layers": 12, "modes": 2}), (2, {"base": "uniform", "modes": 2})):
        flow, variables, embedding = make(d, bound=bound, **{**options, "init_scale": 0.2})
        drawn, log_density = sampler(flow, 64)(variables, jax.random.split(jax.random.key(2), 3), embedding)
        assert drawn.shape == (3, 64, d)
        assert log_density.shape == (3, 64)
        assert (np.abs(drawn) < bound).all()
        again = density(flow)(variables, drawn, embedding)
        np.testing.assert_allclose(again, log_density, rtol=2e-3, atol=5e-3)


def test_inverse_of_samples():
    flow, variables, embedding = make(4, layers=6)
    z = jax.random.normal(jax.random.key(1), (7, 3, 4))

    def round_trip(variables: dict, embedding: jax.Array, z: jax.Array) -> tuple[jax.Array, ...]:
        couplings = flow.apply(variables, embedding, method="_parts")[1]
        y, log_det = couplings.forward_and_log_det(z)
        return y, log_det, *couplings.inverse_and_log_det(y)

    y, log_det, back, inverse_log_det = fast(round_trip)(variables, embedding, z)
    np.testing.assert_allclose(back, z, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(inverse_log_det, -log_det, rtol=1e-3, atol=1e-3)
    assert np.abs(y - np.tanh(z)).max() > 0.2


def log_target(t: jax.Array, peaks: jax.Array) -> jax.Array:
    """log f, up to a constant: one peak at .3, or two of equal mass at -.5 and .4."""
    two = jnp.logaddexp(-0.5 * ((t + 0.5) / 0.17) ** 2, -0.5 * ((t - 0.4) / 0.17) ** 2)
    return jnp.where(peaks == 1, -0.5 * ((t - 0.3) / 0.25) ** 2, two)


TRAINED = TransformFlow(1, layers=8, modes=4, relaxation="score", spread=0.7, scan=True)
TWO_IMAGES, SIGNS = jnp.eye(2, 5), jnp.array([[1.0], [-1.0]])  # the f of the second is mirrored


@jax.jit
def train(variables: dict, peaks: jax.Array, power: jax.Array) -> dict:
    """Minimizes E log g - lambda E log f, which is least at g = f^lambda / Z (eq 10), over both images."""
    steps = 1500
    optimizer = optax.adam(optax.cosine_decay_schedule(5e-3, steps))

    def loss(variables: dict, key: jax.Array) -> jax.Array:
        keys = jax.random.split(key, 2)
        drawn, log_density, score = TRAINED.apply(variables, keys, TWO_IMAGES, n=256, method="sample_and_score")
        return jnp.mean(surrogate_losses(log_density - power * log_target(SIGNS * drawn[..., 0], peaks), score))

    def step(carry: tuple, key: jax.Array) -> tuple[tuple, None]:
        variables, state = carry
        updates, state = optimizer.update(jax.grad(loss)(variables, key), state)
        return (optax.apply_updates(variables, updates), state), None

    keys = jax.random.split(jax.random.key(3), steps)
    return jax.lax.scan(step, (variables, optimizer.init(variables)), keys)[0][0]


@pytest.mark.parametrize(
    "peaks,power", [(1, 1.0), *(pytest.param(*row, marks=pytest.mark.slow) for row in ((1, 2.0), (2, 1.0), (2, 2.0)))]
)
def test_training_reaches_the_target_for_each_embedding(peaks, power):
    """The masses of separate peaks too, which straight-through choices hardly learn (see the base's tests)."""
    start = initialized(TRAINED, 5)
    with jax.numpy_dtype_promotion("standard"):  # for optax
        trained = train(start, jnp.int32(peaks), jnp.float32(power))
    points, volume = histograms.cells(-1, 1, bins=500, dimension=1)
    x = jnp.asarray(points)
    for embedding, sign in zip(TWO_IMAGES, SIGNS, strict=True):
        target = np.asarray(power * log_target(sign * x[:, 0], jnp.int32(peaks)), np.float64)
        target -= np.log(np.exp(target).sum() * volume)
        before, found = (np.asarray(density_at(TRAINED, v, embedding)(x), np.float64) for v in (start, trained))
        assert (np.exp(before) * (before - target)).sum() * volume > 0.2
        divergence = (np.exp(found) * (found - target)).sum() * volume
        print(f"{peaks} peaks, lambda {power}: KL {divergence:.4f}")
        assert divergence < 0.02


def test_every_image_draws_by_its_key_alone():
    flow, variables, embedding = make(3, batch=(6,))
    same = jnp.broadcast_to(embedding[:1], embedding.shape)
    keys = jax.random.split(jax.random.key(4), 6)
    drawn, log_density = sampler(flow, 8)(variables, keys, same)
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) == 48
    swapped = sampler(flow, 8)(variables, keys[::-1], same)[0]
    np.testing.assert_allclose(swapped[::-1], drawn, atol=1e-6)
    # Whatever else is in the batch, also by itself.
    mixed = jnp.concatenate([same[:2], embedding[2:]])
    np.testing.assert_allclose(sampler(flow, 8)(variables, keys, mixed)[0][:2], drawn[:2], atol=1e-6)
    alone, alone_density = sampler(flow, 8)(variables, keys[1], same[1])
    assert alone.shape == (8, 3)
    np.testing.assert_allclose(alone, drawn[1], atol=1e-6)
    np.testing.assert_allclose(alone_density, log_density[1], atol=1e-5)
    by_vmap = jax.vmap(sampler(flow, 8), (None, 0, 0))(variables, keys, same)[0]
    np.testing.assert_allclose(by_vmap, drawn, atol=1e-6)
    grid = sampler(flow, 8)(variables, keys.reshape(2, 3), same.reshape(2, 3, 5))[0]
    np.testing.assert_allclose(grid.reshape(6, 8, 3), drawn, atol=1e-6)


def test_loop_and_scan_agree():
    embedding, results = None, {}
    for scan in (False, True):
        flow, variables, embedding = make(6, layers=3, scan=scan)

        def loss(variables: dict, embedding: jax.Array, flow: TransformFlow = flow) -> tuple[jax.Array, jax.Array]:
            keys = jax.random.split(jax.random.key(1), 3)
            drawn, log_density = flow.apply(variables, keys, embedding, n=4, method="sample")
            inverse = flow.apply(variables, 0.9 * jax.lax.stop_gradient(drawn), embedding, method="log_prob")
            return jnp.mean(log_density) + jnp.mean(drawn) + 0.1 * jnp.mean(inverse), (drawn, log_density, inverse)

        results[scan] = variables, fast(jax.value_and_grad(loss, (0, 1), has_aux=True))(variables, embedding)
    assert jax.tree.structure(results[False]) == jax.tree.structure(results[True])
    for loop, scan in zip(jax.tree.leaves(results[False]), jax.tree.leaves(results[True]), strict=True):
        np.testing.assert_allclose(loop, scan, rtol=2e-2, atol=2e-3)


def test_every_coordinate_is_transformed():
    for d in range(1, 8):
        kept = kept_coordinates(12, d)
        assert (~kept).any(axis=0).all()
        for first, second in zip(kept[::2], kept[1::2], strict=True):
            assert not (first & second).any(), "two layers change all"
        for row in kept:
            assert row.sum() == d // 2
    assert len(np.unique(kept_coordinates(12, 6), axis=0)) > 2
    np.testing.assert_array_equal(kept_coordinates(12, 6), kept_coordinates(12, 6))
    assert kept_coordinates(3, 6).shape == (3, 6)
    # And in fact: each derivative of a two-layer flow by the embedding is there.
    flow, variables, embedding = make(6, layers=2, batch=())
    z = jnp.zeros(6)
    forward = jax.jit(lambda x: flow.apply(variables, x, method="_parts")[1].forward(z))
    assert (np.abs(jax.jacrev(forward)(embedding)).max(-1) > 1e-3).all()


def test_one_coupling_keeps_coordinates_exactly():
    flow, variables, embedding = make(6, layers=1)
    kept = kept_coordinates(1, 6)[0]
    z = 3 * jax.random.normal(jax.random.key(1), (50, 3, 6))
    y = fast(lambda v, e, z: flow.apply(v, e, method="_parts")[1].forward(z))(variables, embedding, z)
    expected = fast(lambda z: jnp.tanh(6 * jnp.tanh(z / 6)))(z)
    np.testing.assert_array_equal(y[..., kept], expected[..., kept])
    assert (np.abs(y - expected)[..., ~kept] > 1e-3).mean() > 0.7
    # What a layer changes is not read by its conditioner.
    moved = z + jnp.where(jnp.asarray(kept)[None, None], 0.0, 1.0)
    jacobian = fast(
        jax.jacfwd(lambda z: flow.apply(variables, embedding[0], method="_parts")[1].forward_and_log_det(z)[0])
    )(moved[0, 0])
    changed = np.flatnonzero(~kept)
    block = np.asarray(jacobian)[np.ix_(changed, changed)]
    np.testing.assert_array_equal(block, np.diag(np.diag(block)))


def test_starts_near_the_identity_and_alike_for_all_images():
    flow = TransformFlow(6, bound=1.5, scan=True)
    variables, embedding = initialized(flow, 5), jax.random.normal(jax.random.key(2), (20, 5))
    z = jax.random.normal(jax.random.key(1), (40, 1, 6)) + jnp.zeros((1, 20, 1))
    y = fast(lambda e: flow.apply(variables, e, method="_parts")[1].forward(z))(embedding)
    expected = z
    for _ in range(12):
        expected = 6 * jnp.tanh(expected / 6)
    expected = 1.5 * jnp.tanh(expected / 1.5)
    np.testing.assert_allclose(y, expected, atol=0.12)
    assert np.std(np.asarray(y), axis=1).max() < 0.06
    densities = density(flow)(variables, jnp.zeros((20, 1, 6)), embedding)
    assert np.std(np.asarray(densities)) < 0.1


@pytest.mark.parametrize("modes,spread", [(1, 0.0), (200, 0.9)])
def test_starts_as_wide_as_told(modes, spread):
    flow = TransformFlow(2, layers=4, modes=modes, spread=spread, start=0.1)
    drawn = sampler(flow, 4000)(initialized(flow, 5), jax.random.key(1), jnp.ones(5))[0]
    np.testing.assert_allclose(np.std(drawn), 0.1, rtol=0.12)


def test_the_base_starts_small_but_learns_at_full_rate():
    """`init_scale` is of the first weights only: as a factor of what they make it would slow their learning."""
    flow, e = TransformFlow(2, layers=1, modes=3), jnp.arange(1.0, 6.0)
    variables = initialized(flow, 5)
    kernel = variables["params"]["base"]["kernel"]
    assert kernel.shape == (5, 3 * (1 + 2 + 2))
    assert 0 < jnp.abs(kernel).max() < 0.03

    def locations(kernel: jax.Array) -> jax.Array:
        params = {**variables["params"], "base": {"kernel": kernel}}
        return flow.apply({"params": params}, e, method="_parts")[0]._loc.reshape(-1)

    jacobian = jax.jacrev(locations)(kernel)
    np.testing.assert_allclose(jacobian[0, :, 3], e, rtol=1e-6)


@pytest.mark.parametrize("base", ["gaussian", "uniform"])
def test_gradients_are_finite_at_the_bounds(base):
    flow, variables, embedding = make(2, batch=(), base=base, init_scale=0.2)
    inside = 1 - 1e-7
    corners = jnp.array([[1.0, 1.0], [-1.0, 1.0], [inside, -inside], [0.0, 1.0], [0.0, 0.0], [1.0 + 1e-6, 0.0]])

    def total(variables: dict, params: jax.Array, embedding: jax.Array) -> tuple[jax.Array, jax.Array]:
        log_prob = flow.apply(variables, params, embedding, method="log_prob")
        return jnp.sum(jnp.where(jnp.isinf(log_prob), 0.0, log_prob)), log_prob

    gradient, log_prob = fast(jax.grad(total, (0, 1, 2), has_aux=True))(variables, corners, embedding)
    for leaf in jax.tree.leaves(gradient):
        assert np.isfinite(leaf).all()
    assert not np.isnan(log_prob).any()
    assert log_prob[-1] == -np.inf
    assert np.isfinite(log_prob[4])
    if base == "gaussian":
        assert np.isfinite(log_prob[:-1]).all()
    if base == "uniform":
        return
    # Samples pushed into the bounds: a wide base.
    params = variables["params"]
    wide = {"params": {**params, "base_log_scale": params["base_log_scale"] + 4.0}}

    def sampled(variables: dict) -> jax.Array:
        drawn, log_density = flow.apply(variables, jax.random.key(3), embedding, n=500, method="sample")
        return jnp.mean(log_density) + jnp.mean(drawn)

    value, gradient = fast(jax.value_and_grad(sampled))(wide)
    assert np.isfinite([value, *(jnp.abs(leaf).max() for leaf in jax.tree.leaves(gradient))]).all()


def test_no_entropy_is_above_the_largest():
    for d, base, bound in ((1, "gaussian", 1.0), (3, "uniform", 1.5)):
        flow, variables, embedding = make(d, bound=bound, base=base, init_scale=0.05, spread=0.0)
        log_density = sampler(flow, 2000)(variables, jax.random.split(jax.random.key(2), 3), embedding)[1]
        assert flow.max_entropy() == pytest.approx(d * np.log(2 * bound * np.tanh(6 / bound)), rel=1e-9)
        assert (-np.asarray(log_density).mean(1) < flow.max_entropy()).all()
        assert (-np.asarray(log_density).mean(1) > flow.max_entropy() - 2.5 * d).all()


@pytest.mark.parametrize("bound,inner", [(1.0, 6.0), (1.5, 6.0), (1.0, 3.0), (2.0, 6.5)])
def test_the_largest_sample_is_at_the_reachable_bound(bound, inner, key):
    """Of a very wide base: the last tanh before the bound ends at c, so that tanh(c / w) of the bound is reached."""
    reach = bound * np.tanh(inner / bound)
    flow, variables, embedding = make(1, layers=1, batch=(), bound=bound, inner_bound=inner)
    wide = {"params": {**variables["params"], "base_log_scale": jnp.full((1, 1), 12.0)}}
    largest = np.abs(sampler(flow, 1000)(wide, key, embedding)[0]).max()
    assert largest == pytest.approx(reach, rel=1e-6)
    assert flow.max_entropy() == pytest.approx(np.log(2 * reach), rel=1e-9)
    # Of two coordinates the last layer, here one that stretches, changes one; the other has passed a tanh before.
    flow, variables, embedding = make(2, layers=2, batch=(), bound=bound, inner_bound=inner)
    steep = jax.tree.map(jnp.zeros_like, variables["params"])
    steep = {
        **steep,
        "base_log_scale": jnp.full((1, 2), 12.0),
        "last_bias": jnp.tile(jnp.array([12.0, 12, 0, 0]), (2, 1)),
    }
    largest = np.abs(sampler(flow, 1000)({"params": steep}, key, embedding)[0]).max(0)
    kept = kept_coordinates(2, 2)[-1]
    np.testing.assert_allclose(largest[~kept], reach, rtol=1e-6)
    np.testing.assert_allclose(largest[kept], bound * np.tanh(inner * np.tanh(1) / bound), rtol=1e-5)
    assert flow.max_entropy() == pytest.approx(2 * np.log(2 * reach), rel=1e-9)


@pytest.mark.parametrize("d,modes", [(1, 1), (2, 2), pytest.param(6, 2, marks=pytest.mark.slow)])
def test_no_sample_of_a_uniform_base_has_density_zero(d, modes):
    """However narrow its boxes: rounding of the inverse moves points by more than they are wide."""
    flow, variables, embedding = make(d, layers=8, base="uniform", modes=modes, init_scale=0.4)
    params, keys = variables["params"], jax.random.split(jax.random.key(2), 3)
    for narrower in (0.0, 6.0, 12.0):
        changed = {
            **params,
            "base_log_scale": params["base_log_scale"] - narrower,
            "base_loc": params["base_loc"] + 0.5,
        }
        drawn, log_density = sampler(flow, 4000)({"params": changed}, keys, embedding)
        again = density(flow)({"params": changed}, drawn, embedding)
        np.testing.assert_allclose(again, log_density, rtol=2e-3, atol=5e-3)
        if narrower:  # then all of the boxes is within a hundredth
            away = density(flow)({"params": changed}, drawn - 0.05 * jnp.sign(drawn), embedding)
            assert (np.asarray(away) == -np.inf).mean() > 0.99


@pytest.mark.parametrize("options", [{}, {"base": "uniform"}, {"modes": 3, "relaxation": "score"}, {"scan": False}])
def test_no_images_have_no_transforms(options):
    flow, variables, _ = make(3, layers=2, **options)
    nothing = jnp.zeros((0, 5))
    keys = jax.random.split(jax.random.key(0), 1)[:0]
    drawn, log_density, score = flow.apply(variables, keys, nothing, n=4, method="sample_and_score")
    assert (drawn.shape, log_density.shape) == ((0, 4, 3), (0, 4))
    assert score is None or score.shape == (0, 4)
    assert flow.apply(variables, drawn, nothing, method="log_prob").shape == (0, 4)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("base", ["gaussian", "uniform"])
def test_half_precision_parameters_are_those_of_single(base, dtype):
    flow, variables, embedding = make(2, modes=2, base=base, bound=1.3)
    rng = np.random.default_rng(1)
    params = jnp.asarray(rng.uniform(-1, 1, (3, 50, 2)), dtype)
    found = density(flow)(variables, params, embedding)
    expected = density(flow)(variables, params.astype(jnp.float32), embedding)
    assert found.dtype == jnp.float32
    assert np.isfinite(found).any()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    if base == "gaussian":
        g = flow.apply(variables, embedding, method="distribution")
        np.testing.assert_allclose(g.log_prob(jnp.moveaxis(params, 1, 0)).T, expected, rtol=1e-4, atol=1e-4)


def test_as_a_distrax_distribution(key):
    flow, variables, embedding = make(3, modes=2)
    same = jnp.broadcast_to(embedding[:1], embedding.shape)

    def use(variables: dict, embedding: jax.Array, key: jax.Array) -> tuple:
        g = flow.apply(variables, embedding, method="distribution")
        samples, log_prob = g.sample_and_log_prob(seed=key, sample_shape=(5,))
        return samples, log_prob, g.sample(seed=key, sample_shape=(5,)), g.log_prob(samples)

    samples, log_prob, again, by_inverse = fast(use)(variables, same, key)
    assert samples.shape == (5, 3, 3)
    assert log_prob.shape == (5, 3)
    assert len(np.unique(samples.reshape(-1, 3), axis=0)) == 15
    np.testing.assert_allclose(again, samples, atol=1e-6)
    np.testing.assert_allclose(by_inverse, log_prob, rtol=1e-3, atol=1e-3)
    ours = density(flow)(variables, jnp.moveaxis(samples, 0, 1), same)
    np.testing.assert_allclose(ours.T, log_prob, rtol=1e-3, atol=1e-3)
    g = flow.apply(variables, embedding, method="distribution")
    assert (g.batch_shape, g.event_shape) == ((3,), (3,))
    assert g.bijector.same_as(g.bijector)
    assert not g.bijector.same_as(flow.apply(variables, embedding, method="distribution").bijector)


def test_low_precision_embeddings_and_parameter_shapes():
    flow, variables, embedding = make(2, layers=3, widths=(8, 12, 16), modes=2)
    shapes = jax.tree.map(jnp.shape, variables["params"])
    assert shapes["first"] == (3, 2, 8)
    assert (shapes["hidden1"], shapes["hidden2"]) == ((3, 8, 12), (3, 12, 16))
    assert shapes["last"] == (3, 16, 4)
    assert shapes["base"]["kernel"] == (5, 10)
    drawn, log_density = sampler(flow, 2)(
        variables, jax.random.split(jax.random.key(1), 3), embedding.astype(jnp.bfloat16)
    )
    assert drawn.dtype == log_density.dtype == jnp.float32


@pytest.mark.usefixtures("unhooked")
def test_bad_input(key):
    for options, message in (
        ({"dimension": 0}, "dimension must be at least 1; got 0"),
        ({"layers": 0}, "layers must be at least 1; got 0"),
        ({"widths": ()}, "number of widths must be at least 1; got 0"),
        ({"widths": (32, 0)}, "each of widths must be at least 1; got 0"),
        ({"modes": 0}, "modes must be at least 1; got 0"),
        ({"base": "normal"}, "base must be one of 'gaussian', 'uniform'; got 'normal'"),
        ({"relaxation": "hard"}, "relaxation must be one of 'straight_through', 'soft'"),
        ({"base": "uniform", "relaxation": "soft", "modes": 2}, "lie between its boxes"),
        ({"temperature": 0.0}, r"temperature must be in \(0, inf\); got 0"),
        ({"bound": 0.0}, r"bound must be in \(0, inf\); got 0"),
        ({"inner_bound": -1.0}, r"inner_bound must be in \(0, inf\); got -1"),
        (
            {"inner_bound": 2.5},
            "at least 3 times the bound.*got inner_bound 2.5 and bound 1. Raise inner_bound to 3 or",
        ),
        ({"bound": 2.5}, "at least 3 times the bound.*got inner_bound 6 and bound 2.5. Raise inner_bound to 7.5 or"),
        ({"init_scale": 0.0}, r"init_scale must be in \(0, inf\); got 0"),
        ({"start": 0.0}, r"start must be in \(0, inf\); got 0"),
        ({"spread": 1.0}, r"spread must be in \[0, 1\); got 1"),
        ({"spread": -0.1}, r"spread must be in \[0, 1\); got -0.1"),
    ):
        with pytest.raises(ValueError, match=message):
            TransformFlow(**{"dimension": 2, **options})
    flow, variables, embedding = make(2, layers=1)
    keys = jax.random.split(key, 3)
    with pytest.raises(ValueError, match=r"over 2 parameters; got params of shape \(3, 1, 3\)"):
        flow.apply(variables, jnp.zeros((3, 1, 3)), embedding, method="log_prob")
    with pytest.raises(ValueError, match="n must be at least 1; got 0"):
        flow.apply(variables, keys, embedding, n=0, method="sample")
    with pytest.raises(ValueError, match=r"expected keys of shape \(3,\), got \(2,\)"):
        flow.apply(variables, keys[:2], embedding, n=1, method="sample")
