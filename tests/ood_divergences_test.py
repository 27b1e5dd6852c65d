"""Divergences against quadrature on Gaussians, enumeration, separable maxima, inequalities, finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
from compiling import fast

from mollax.ood.divergences import (
    NAMES,
    REVERSE_KL_CLIP,
    divergence_estimate,
    divergence_maximum,
    divergence_objective,
    update_average,
)
from mollax.ood.total_variation import bounded_critic, tv_maximum, tv_objective

FREQ, M = np.array([0.5, 0.2, 0.3]), 0.4
LABELS = np.repeat([0, 1, 2], [5, 2, 3])  # of these frequencies exactly
PAIRED = NAMES[:-1]
# The best v of a log ratio log dP/dQ, in closed form.
BEST = {
    "tv": lambda s: 40 * np.sign(s),
    "nwj": lambda s: 1 + s,
    "pearson": lambda s: 2 * np.expm1(s),
    "hellinger": lambda s: s / 2,
    "dv": lambda s: s + 3,  # a constant does not matter
}


def best(name, log_ratio):
    return BEST.get(name, lambda s: s)(log_ratio)


def jsd(p, q, weights):
    middle = (p + q) / 2
    return np.sum(weights * (scipy.special.rel_entr(p, middle) + scipy.special.rel_entr(q, middle))) / 2


def gaussians(distance):
    """Grid, its weights, and the densities of N(0, 1) and N(D, 1) on it."""
    x, dx = np.linspace(-12, 12 + distance, 4001, retstep=True)
    return x, np.full(x.shape, dx), scipy.stats.norm.pdf(x), scipy.stats.norm.pdf(x - distance)


def known(name, distance):
    """The values of METHODS section 3 and TV on N(0, 1) against N(D, 1)."""
    _, dx, p, q = gaussians(distance)
    values = {
        "tv": 2 * scipy.stats.norm.cdf(distance / 2) - 1,
        "pearson": np.expm1(distance**2),
        "hellinger": 2 * -np.expm1(-(distance**2) / 8),
        "jensen_shannon": 2 * jsd(p, q, dx),
        "gan": 2 * jsd(p, q, dx) - np.log(4),
        # Minus Bayes' cross-entropy, -1/2 int p log p/(p+q) + q log q/(p+q).
        "bc": np.sum(dx * (p * np.log(p / (p + q)) + q * np.log(q / (p + q)))) / 2,
    }
    return values.get(name, distance**2 / 2)


def on_gaussians(name, distance, shift=0.0):
    """The estimate for the best critic moved by `shift`."""
    x, dx, p, q = gaussians(distance)
    v = best(name, distance**2 / 2 - distance * x) + shift
    with jax.enable_x64(True):
        on = jnp.asarray(v)
        return float(divergence_estimate(name, on, jnp.asarray(p * dx), on, jnp.asarray(q * dx)))


@pytest.mark.parametrize("name", PAIRED)
def test_best_critic_reaches_the_divergence_of_gaussians(name):
    for distance in (0.5, 1.0) if name == "pearson" else (0.5, 1.0, 2.0):
        rel = 2e-3 if name == "tv" else 1e-4 if name == "reverse_kl" else 1e-6  # a kink on the grid; the clip
        assert on_gaussians(name, distance) == pytest.approx(known(name, distance), rel=rel)
        for shift in (0.3, -0.3):
            if name in ("tv", "dv"):  # the sign, and all but a constant, decide
                continue
            assert on_gaussians(name, distance, shift) < on_gaussians(name, distance) - 1e-3


@pytest.mark.parametrize("name", PAIRED)
def test_best_critic_on_fresh_samples(name, rng):
    distance, count = 1.0, 200_000
    x_p, x_q = rng.normal(size=count), rng.normal(distance, size=count)
    weights = jnp.full(count, 1 / count, jnp.float32)
    on_p, on_q = (jnp.float32(best(name, distance**2 / 2 - distance * x)) for x in (x_p, x_q))
    found = divergence_estimate(name, on_p, weights, on_q, weights)
    assert found.dtype == jnp.float32
    assert float(found) == pytest.approx(known(name, distance), rel=0.03)


@pytest.mark.parametrize("distance", [0.3, 1.0, 2.5])
def test_inequalities_among_estimates(distance):
    tv = on_gaussians("tv", distance)
    for name in ("dv", "nwj", "reverse_kl"):
        kl = on_gaussians(name, distance)
        assert tv <= np.sqrt(kl / 2)  # Pinsker
        assert tv <= np.sqrt(-np.expm1(-kl))  # Bretagnolle and Huber
    squared = on_gaussians("hellinger", distance)
    assert squared / 2 <= tv <= np.sqrt(squared * (1 - squared / 4))
    # Between separable labels too.
    for m in (0.1, 0.5, 0.8):
        entropy = divergence_maximum("dv", FREQ, m)
        assert tv_maximum(FREQ, m) <= min(np.sqrt(entropy / 2), np.sqrt(-np.expm1(-entropy)))


def explicit(name, free_id, soft, free_ood):
    """E_P[g(v)] - E_Q[f*(g(v))] over the tables of joint and product, from conjugates f*(t) not composed with g."""
    conjugates = {
        "tv": (lambda v: np.tanh(v) / 2, lambda t: t),
        "nwj": (lambda v: v, lambda t: np.exp(t - 1)),
        "reverse_kl": (lambda v: -np.exp(-v), lambda t: -1 - np.log(-t)),
        "pearson": (lambda v: v, lambda t: t**2 / 4 + t),
        "hellinger": (lambda v: 1 - np.exp(-v), lambda t: t / (1 - t)),
        "jensen_shannon": (lambda v: np.log(2 / (1 + np.exp(-v))), lambda t: -np.log(2 - np.exp(t))),
        "gan": (lambda v: -np.log1p(np.exp(-v)), lambda t: -np.log(1 - np.exp(t))),
        "bc": (lambda v: np.log(1 / (1 + np.exp(-v))) / 2, lambda t: -np.log(1 - np.exp(2 * t)) / 2),
    }
    free = np.concatenate([free_id, free_ood])
    p_x = np.concatenate([np.full(len(free_id), M / len(free_id)), np.full(len(free_ood), (1 - M) / len(free_ood))])
    joint = np.concatenate([np.pad(soft, ((0, 0), (0, 1))), np.tile([0, 0, 0, 1], (len(free_ood), 1))])
    joint = joint * p_x[:, None]
    product = np.outer(p_x, [*(M * FREQ), 1 - M])
    if name == "dv":
        return np.sum(joint * free) - np.log(np.sum(product * np.exp(free)))
    if name == "bc_id_ood":
        belief = 1 / (1 + np.exp(-free[:, -1]))
        is_ood = np.arange(len(free)) >= len(free_id)
        return np.sum(p_x * np.where(is_ood, np.log(belief), np.log(1 - belief)))
    g, conjugate = conjugates[name]
    return np.sum(joint * g(free)) - np.sum(product * conjugate(g(free)))


def of_all(function, *arguments):
    """{name: function(name, ...)} for all names, compiled as one program."""
    return jax.device_get(fast(lambda *inner: {name: function(name, *inner) for name in NAMES})(*arguments))


def test_objectives_are_those_of_the_tables_and_so_are_their_gradients(rng):
    free_id, free_ood = rng.normal(size=(10, 4)), rng.normal(size=(3, 4))
    soft = rng.dirichlet(np.ones(3), 10)
    direction = rng.normal(size=(10, 4))

    def of(name, free_id, free_ood, labels):
        return jax.value_and_grad(lambda v: divergence_objective(name, v, labels, free_ood, FREQ, M))(free_id)

    with jax.enable_x64(True):
        arrays = jnp.asarray(free_id), jnp.asarray(free_ood)
        with_soft, with_hard = of_all(of, *arrays, jnp.asarray(soft)), of_all(of, *arrays, jnp.asarray(LABELS))
    h = 1e-5
    for name in NAMES:
        for found, rows in ((with_soft, soft), (with_hard, np.eye(3)[LABELS])):
            value, gradient = found[name]
            assert value.dtype == np.float64
            np.testing.assert_allclose(value, explicit(name, free_id, rows, free_ood), rtol=1e-10, err_msg=name)
            # Finite differences of the explicit tables, not of the function itself.
            above, below = (explicit(name, free_id + s * h * direction, rows, free_ood) for s in (1, -1))
            expected = (above - below) / (2 * h)
            np.testing.assert_allclose(np.sum(gradient * direction), expected, rtol=1e-6, atol=1e-9, err_msg=name)


def test_tv_is_the_tv_objective(rng):
    free_id, free_ood = jnp.float32(rng.normal(size=(10, 4))), jnp.float32(rng.normal(size=(3, 4)))
    labels = jnp.asarray(LABELS)
    found = fast(lambda a, b: divergence_objective("tv", a, labels, b, FREQ, M))(free_id, free_ood)
    expected = fast(lambda a, b: tv_objective(bounded_critic(a), labels, bounded_critic(b), FREQ, M))(free_id, free_ood)
    np.testing.assert_allclose(found, expected, atol=1e-7)


@pytest.mark.parametrize("freq", [FREQ, np.array([0.1, 0.7, 0.2])])
@pytest.mark.parametrize("name", NAMES)
def test_maximum_for_labels_that_are_a_function_of_x(name, freq):
    """Of images with the class shares of training, and with others."""
    p = np.append(M * freq, 1 - M)
    clip = REVERSE_KL_CLIP if name == "reverse_kl" else None
    maximum = divergence_maximum(name, freq, M, seen_freq=FREQ, clip=clip)
    if freq is FREQ:
        assert maximum == divergence_maximum(name, freq, M, clip=clip)

    def separable(count_ood, off):
        """The best critic; `off` is its log ratio where an image does not have the label."""
        own = np.concatenate([np.eye(4)[LABELS], np.tile(np.eye(4)[3], (count_ood, 1))]) > 0
        with np.errstate(over="ignore"):
            free = best(name, np.where(own, -np.log(p)[None], off))
        return free[: len(LABELS)], free[len(LABELS) :]

    with jax.enable_x64(True):
        free_id, free_ood = separable(3, off=-60.0)
        if name == "bc_id_ood":  # every image is sure of its side
            free_id, free_ood = np.full((10, 4), -60.0), np.full((3, 4), 60.0)
        arguments = jnp.asarray(LABELS), jnp.asarray(free_ood), freq, M
        objective = fast(lambda v: divergence_objective(name, v, *arguments))
        found = objective(jnp.asarray(free_id))
        np.testing.assert_allclose(found, maximum, rtol=1e-9, atol=1e-12)
        rng = np.random.default_rng(3)
        for scale in (0.05, 0.5):  # and no critic nearby exceeds it
            noise = jnp.asarray(scale * rng.normal(size=(10, 4)))
            assert objective(jnp.asarray(free_id) + noise) <= maximum + 1e-12


def test_maxima_in_closed_form():
    for classes in (1, 5, 100):
        uniform = np.full(classes, 1 / classes)
        entropy = np.log(2) + np.log(classes) / 2  # half of it OOD
        assert divergence_maximum("dv", uniform, 0.5) == pytest.approx(entropy)
        assert divergence_maximum("nwj", uniform, 0.5) == pytest.approx(entropy)
        assert divergence_maximum("pearson", uniform, 0.5) == classes
        assert divergence_maximum("tv", uniform, 0.5) == tv_maximum(uniform, 0.5)
        hellinger = 2 - 2 * 0.5**1.5 * (1 + classes**-0.5)
        assert divergence_maximum("hellinger", uniform, 0.5) == pytest.approx(hellinger)
    rare = np.array([0.5, 0.5, 0.0])
    assert divergence_maximum("pearson", rare, 0.5) == 2  # a class that never occurs
    for name in NAMES[:-1]:  # or that occurs though training did not have it
        found = divergence_maximum(name, rare, 0.5, seen_freq=rare[::-1], clip=10.0)
        assert np.isinf(found) == (name in ("dv", "nwj", "pearson"))
    # One class, m = 1/2: log ratios are log 2 or -inf.
    one = np.ones(1)
    twice = np.log(4 / 3) + np.log(2 / 3) / 2 + np.log(2) / 2
    assert divergence_maximum("jensen_shannon", one, 0.5) == pytest.approx(twice)
    assert divergence_maximum("gan", one, 0.5) == pytest.approx(twice - np.log(4))
    assert divergence_maximum("bc", one, 0.5) == pytest.approx(twice / 2 - np.log(2))
    assert divergence_maximum("reverse_kl", one, 0.5, clip=4.0) == pytest.approx(2.5 - np.log(2) / 2)


def test_minibatches_are_unbiased_but_for_dv(rng):
    free_id, free_ood = jnp.float32(rng.normal(size=(12, 4))), jnp.float32(2 * rng.normal(size=(8, 4)))
    labels = jnp.asarray(rng.integers(0, 3, 12))

    def full(name, free_id, free_ood):
        return divergence_objective(name, free_id, labels, free_ood, FREQ, M)

    def batched(name, free_id, free_ood):
        split = [array.reshape(4, -1, *array.shape[1:]) for array in (free_id, labels, free_ood)]
        return jnp.mean(jax.vmap(lambda *part: divergence_objective(name, *part, FREQ, M))(*split))

    values = of_all(jax.value_and_grad(full, (1, 2)), free_id, free_ood)
    means = of_all(jax.value_and_grad(batched, (1, 2)), free_id, free_ood)
    for name in NAMES:
        (value, gradients), (mean, of_parts) = values[name], means[name]
        if name == "dv":
            assert mean > value + 1e-2  # Jensen: the logarithm of a small batch's mean is too small
            assert np.abs(of_parts[0] - gradients[0]).max() > 1e-4
            continue
        np.testing.assert_allclose(mean, value, rtol=1e-5, err_msg=name)
        for a, b in zip(of_parts, gradients, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6, err_msg=name)


def test_the_average_makes_gradients_of_dv_unbiased_and_leaves_its_value(rng):
    free_id, free_ood = jnp.float32(rng.normal(size=(12, 4))), jnp.float32(2 * rng.normal(size=(8, 4)))
    labels = jnp.asarray(rng.integers(0, 3, 12))
    everything = update_average(jnp.zeros(()), free_id, free_ood, FREQ, M, decay=0.0)

    def full(free):
        return divergence_objective("dv", free, labels, free_ood, FREQ, M)

    def part(free, labels, ood):
        return divergence_objective("dv", free, labels, ood, FREQ, M, average=everything)

    def corrected(free):
        split = [array.reshape(4, -1, *array.shape[1:]) for array in (free, labels, free_ood)]
        parts = jax.vmap(part)(*split)
        return jnp.mean(parts), parts

    gradient = fast(jax.grad(full))(free_id)
    (_, parts), found = fast(jax.value_and_grad(corrected, has_aux=True))(free_id)
    np.testing.assert_allclose(found, gradient, atol=1e-6)
    plain = divergence_objective("dv", free_id[:3], labels[:3], free_ood[:2], FREQ, M)
    np.testing.assert_allclose(parts[0], plain, rtol=1e-6)


def test_update_of_the_average(rng):
    free_id, free_ood = rng.normal(size=(5, 4)), rng.normal(size=(3, 4))
    product = np.array([*(M * FREQ), 1 - M])
    mean = M * np.mean(np.exp(free_id) @ product) + (1 - M) * np.mean(np.exp(free_ood) @ product)
    pair = jnp.float32(free_id), jnp.float32(free_ood)
    found = fast(lambda a: update_average(a, *pair, FREQ, M, decay=0.9))(jnp.float32(np.log(2.0)))
    np.testing.assert_allclose(found, np.log(0.9 * 2 + 0.1 * mean), rtol=1e-5)
    np.testing.assert_allclose(update_average(found, *pair, FREQ, M, decay=0.0), np.log(mean), rtol=1e-5)
    # Outputs whose exponential is not a float32, and a gradient that is none.
    far = update_average(jnp.zeros(()), pair[0] + 200, pair[1] + 200, FREQ, M)
    np.testing.assert_allclose(far, 200 + np.log(0.01 * mean), rtol=1e-5)
    gradient = jax.grad(lambda free: update_average(jnp.zeros(()), free, pair[1], FREQ, M))(pair[0])
    assert not gradient.any()


def test_values_without_weight_are_not_looked_at():
    weights = jnp.array([1.0, 0.0])

    @fast
    def of_paired(values):
        def of(name):
            def estimate(v):
                return divergence_estimate(name, v, weights, v, weights, clip=None)

            return jax.value_and_grad(estimate)(values)

        return {name: of(name) for name in PAIRED}

    expected, found = of_paired(jnp.array([0.5, 0.0])), of_paired(jnp.array([0.5, -1e9]))
    for name in PAIRED:
        np.testing.assert_array_equal(found[name][0], expected[name][0])
        np.testing.assert_array_equal(found[name][1], expected[name][1])


def test_reverse_kl_is_clipped_from_below_alone():
    v, one = jnp.array([-30.0]), jnp.ones(1)

    def of(v, clip):
        return divergence_estimate("reverse_kl", jnp.zeros(1), one, v, one, clip=clip)

    assert of(v, REVERSE_KL_CLIP) == of(jnp.array([-10.0]), None) == 10  # -1 + clip + 1
    assert of(v, None) == 30
    assert jax.grad(of)(v, 5.0) == 0
    assert of(jnp.array([30.0]), 5.0) == -30


def test_large_outputs_stay_finite():
    labels = jnp.array([0, 1, 2])

    @fast
    def of_stable(v):
        def of(name):
            return jax.value_and_grad(lambda v: divergence_objective(name, v, labels, v, FREQ, M))(v)

        return [of(name) for name in NAMES if name not in ("nwj", "hellinger")]

    for size in (1e4, -1e4):
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(of_stable(jnp.full((3, 4), size))))


def test_bad_input(unhooked):
    good = jnp.zeros((3, 4)), jnp.array([0, 1, 2]), jnp.zeros((2, 4)), FREQ, M
    one = jnp.ones(1)
    with pytest.raises(ValueError, match=r"name must be one of 'tv', .*Did you mean 'hellinger'"):
        divergence_objective("helinger", *good)
    with pytest.raises(ValueError, match="name must be one of"):
        divergence_estimate("bc_id_ood", one, one, one, one)
    with pytest.raises(ValueError, match="on_q has 2, weights_q has 1"):
        divergence_estimate("tv", one, one, jnp.ones(2), one)
    with pytest.raises(ValueError, match="average corrects the bias of \"dv\"; 'nwj' has none"):
        divergence_objective("nwj", *good, average=jnp.zeros(()))
    with pytest.raises(ValueError, match=r"clip must be in \(0, inf\)"):
        divergence_objective("reverse_kl", *good, clip=0.0)
    with pytest.raises(ValueError, match="critic_ood must have 4 columns"):
        divergence_objective("gan", good[0], good[1], jnp.zeros((2, 3)), FREQ, M)
    with pytest.raises(ValueError, match=r"decay must be in \[0, 1\)"):
        update_average(jnp.zeros(()), good[0], good[2], FREQ, M, decay=1.0)
    with pytest.raises(ValueError, match=r"reverse_kl is unbounded .* Give the clip of the objective, 10"):
        divergence_maximum("reverse_kl", FREQ, M)
    with pytest.raises(ValueError, match="id_share must be in"):
        divergence_maximum("dv", FREQ, 1.5)
    with pytest.raises(ValueError, match="class_freq has 3, seen_freq has 2"):
        divergence_maximum("dv", FREQ, M, seen_freq=np.array([0.5, 0.5]))
