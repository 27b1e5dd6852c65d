"""The TV objective against enumeration, known maxima and Gaussians; its gradients, its minibatches, its messages."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.integrate
import scipy.stats
from compiling import fast
from hypothesis import given, settings
from hypothesis import strategies as st

from mollax.ood.critic import Critic
from mollax.ood.total_variation import (
    bounded_critic,
    gaussian_tv,
    joint_and_product,
    label_probabilities,
    tv_maximum,
    tv_objective,
)

FREQ = np.array([0.5, 0.2, 0.3])
compiled = fast(tv_objective, static_argnums=4)


def soft_rows(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.dirichlet(np.ones(3), count)


def enumerated(critic_id, soft, critic_ood, freq, m):
    """sum_x,y (P - Q)(x, y) T(x, y) over explicit tables of the joint and of the product P(x) P(y)."""
    critic = np.concatenate([critic_id, critic_ood])
    p_x = np.concatenate(
        [np.full(len(critic_id), m / len(critic_id)), np.full(len(critic_ood), (1 - m) / len(critic_ood))]
    )
    joint = np.zeros_like(critic)
    for i, row in enumerate(soft):
        joint[i, :-1] = p_x[i] * row
    joint[len(soft) :, -1] = p_x[len(soft) :]
    p_y = np.array([*(m * freq), 1 - m])
    total = 0.0
    for x, y in itertools.product(range(len(critic)), range(critic.shape[1])):
        total += (joint[x, y] - p_x[x] * p_y[y]) * critic[x, y]
    return total


@pytest.mark.parametrize("m", [0.5, 0.3])
@pytest.mark.parametrize("soft", [False, True])
def test_is_the_sum_over_joint_and_product(rng, m, soft):
    critic_id, critic_ood = rng.uniform(-0.5, 0.5, (7, 4)), rng.uniform(-0.5, 0.5, (4, 4))
    hard = np.array([0, 1, 2, 0, 0, 2, 1])
    rows = soft_rows(rng, 7) if soft else np.eye(3)[hard]
    expected = enumerated(critic_id, rows, critic_ood, FREQ, m)
    with jax.enable_x64(True):
        labels = jnp.asarray(rows if soft else hard)
        found = tv_objective(jnp.asarray(critic_id), labels, jnp.asarray(critic_ood), FREQ, m)
        assert found.dtype == jnp.float64
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        # Frequencies of this batch, (3, 2, 2) / 7, are another objective.
        batch = tv_objective(jnp.asarray(critic_id), labels, jnp.asarray(critic_ood), np.array([3, 2, 2]) / 7, m)
        assert abs(batch - expected) > 1e-3
    single = compiled(
        jnp.float32(critic_id), jnp.float32(rows) if soft else jnp.int32(hard), jnp.float32(critic_ood), FREQ, m
    )
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, expected, atol=1e-6)


def test_by_hand():
    # One class, m = 1/4, one image each: P is (1/4 at ID, class), (3/4 at OOD, extra); P(y) = (1/4, 3/4).
    critic_id, critic_ood = jnp.array([[0.5, -0.5]]), jnp.array([[-0.5, 0.25]])
    expected = 0.25 * 0.5 + 0.75 * 0.25 - 0.25 * (0.25 * 0.5 - 0.75 * 0.5) - 0.75 * (-0.25 * 0.5 + 0.75 * 0.25)
    np.testing.assert_allclose(tv_objective(critic_id, jnp.array([0]), critic_ood, np.ones(1), 0.25), expected)


def test_one_hot_labels_are_labels(rng):
    critic_id, critic_ood = jnp.float32(rng.normal(size=(6, 4))), jnp.float32(rng.normal(size=(5, 4)))
    labels = jnp.array([0, 2, 1, 1, 0, 2])
    hard = compiled(critic_id, labels, critic_ood, FREQ, 0.4)
    np.testing.assert_allclose(compiled(critic_id, jax.nn.one_hot(labels, 3), critic_ood, FREQ, 0.4), hard, atol=1e-6)


def test_weights_are_those_of_distributions(rng):
    samples = joint_and_product(
        jnp.zeros((6, 4)), jnp.float32(soft_rows(rng, 6)), jnp.ones((2, 4)), jnp.float32(FREQ), 0.25
    )
    for weights in (samples.joint_weights, samples.product_weights):
        np.testing.assert_allclose(weights.sum(), 1, rtol=1e-6)
    # Three quarters are OOD under both, however many images there are.
    np.testing.assert_allclose(jnp.sum(samples.joint_weights * samples.on_joint), 0.75, rtol=1e-6)
    np.testing.assert_allclose(jnp.sum(samples.product_weights * samples.on_product), 0.75, rtol=1e-6)
    np.testing.assert_allclose(label_probabilities(jnp.float32(FREQ), 0.25), [0.125, 0.05, 0.075, 0.75], rtol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([0.05, 0.5, 0.8]))
def test_best_critic_attains_the_maximum_and_none_exceeds_it(seed, m):
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1, 2], [5, 2, 3])  # exactly of these frequencies
    best = np.full((10, 4), -0.5)
    best[np.arange(10), labels] = 0.5
    best_ood = np.tile([-0.5, -0.5, -0.5, 0.5], (4, 1))
    arguments = jnp.asarray(labels), FREQ, m
    found = compiled(jnp.float32(best), arguments[0], jnp.float32(best_ood), *arguments[1:])
    np.testing.assert_allclose(found, tv_maximum(FREQ, m), atol=1e-6)
    other, other_ood = rng.uniform(-0.5, 0.5, (10, 4)), rng.uniform(-0.5, 0.5, (4, 4))
    assert compiled(jnp.float32(other), arguments[0], jnp.float32(other_ood), *arguments[1:]) <= found


def test_best_critic_of_overlapping_classes_is_the_sign_of_the_surplus(rng):
    # T* = sign(P(k|x) - P(k)) / 2, on 5 inputs that have every label with some probability.
    soft, freq, m = soft_rows(rng, 5), FREQ, 0.5
    soft += freq - soft.mean(axis=0)  # of these frequencies exactly
    soft = np.abs(soft)
    freq = soft.mean(axis=0)
    soft, freq = soft / soft.sum(axis=1, keepdims=True), freq / freq.sum()
    surplus = np.concatenate([soft - m * freq, np.full((5, 1), -(1 - m))], axis=1)
    best_ood = np.tile([-0.5, -0.5, -0.5, 0.5], (2, 1))
    found = compiled(jnp.float32(np.sign(surplus) / 2), jnp.float32(soft), jnp.float32(best_ood), freq, m)
    for signs in itertools.product([-0.5, 0.5], repeat=4):  # all critics of one input
        other = np.sign(surplus) / 2
        other[2] = signs
        assert found >= compiled(jnp.float32(other), jnp.float32(soft), jnp.float32(best_ood), freq, m) - 1e-6


def test_maxima_in_closed_form():
    for classes in (1, 2, 10, 100):
        uniform = np.full(classes, 1 / classes)
        assert tv_maximum(uniform, 0.5) == pytest.approx(0.75 - 0.25 / classes)
    assert tv_maximum(FREQ, 0.2) == pytest.approx(1 - 0.04 * 0.38 - 0.64)


@pytest.mark.parametrize("distance", [0.5, 1, 2])
@pytest.mark.parametrize("m", [0.5, 0.2])
def test_gaussian_tv_by_quadrature(distance, m):
    def gap(x):
        return abs(scipy.stats.norm.pdf(x) - scipy.stats.norm.pdf(x - distance))

    l1, _ = scipy.integrate.quad(gap, -10, 10 + distance, points=[distance / 2])
    assert gaussian_tv(distance, m) == pytest.approx(m * (1 - m) * l1, rel=1e-8)
    assert gaussian_tv(distance, 0.5) <= tv_maximum(np.ones(1), 0.5)


def test_minibatches_are_unbiased(rng):
    critic_id, critic_ood = jnp.float32(rng.normal(size=(12, 4))), jnp.float32(rng.normal(size=(8, 4)))
    labels = jnp.array([0, 1, 2, 0, 0, 0, 1, 1, 2, 2, 2, 2])

    def full(free_id, free_ood):
        return tv_objective(bounded_critic(free_id), labels, bounded_critic(free_ood), FREQ, 0.4)

    def batched(free_id, free_ood):
        parts = [
            tv_objective(bounded_critic(a), b, bounded_critic(c), FREQ, 0.4)
            for a, b, c in zip(jnp.split(free_id, 4), jnp.split(labels, 4), jnp.split(free_ood, 4), strict=True)
        ]
        return sum(parts) / 4

    value, gradient = fast(jax.value_and_grad(full, (0, 1)))(critic_id, critic_ood)
    parts, of_parts = fast(jax.value_and_grad(batched, (0, 1)))(critic_id, critic_ood)
    np.testing.assert_allclose(parts, value, atol=1e-6)
    for a, b in zip(of_parts, gradient, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-7)


def test_gradient_by_finite_differences(rng):
    with jax.enable_x64(True):
        soft = jnp.asarray(soft_rows(rng, 3))
        free_ood = jnp.asarray(rng.normal(size=(2, 4)))
        direction = rng.normal(size=(3, 4))

        def of(free_id):
            return tv_objective(bounded_critic(free_id), soft, bounded_critic(free_ood), FREQ, 0.3)

        free_id = jnp.asarray(rng.normal(size=(3, 4)))
        h = 1e-5
        expected = (of(free_id + h * direction) - of(free_id - h * direction)) / (2 * h)
        np.testing.assert_allclose(jnp.sum(fast(jax.grad(of))(free_id) * direction), expected, rtol=1e-8)


class Problems:
    """A critic of its own for every column of the input: outputs (problems, n, K + 1)."""

    def __init__(self, critic):
        self.critic = critic

    def init(self, key, x):
        return jax.vmap(self.critic.init, (0, None))(jax.random.split(key, x.shape[1]), x[:, :1])

    def apply(self, params, x):
        return jax.vmap(self.critic.apply)(params, x.T[..., None])


def train(key, critic, draw, freq, m, steps, rate):
    """Parameters of a critic after Adam on minus J, with a new batch in every step."""
    optimizer = optax.adam(optax.cosine_decay_schedule(rate, steps))

    def loss(params, batch):
        x_id, labels, x_ood = batch
        critics = bounded_critic(critic.apply(params, x_id)), bounded_critic(critic.apply(params, x_ood))
        if critics[0].ndim == 2:
            return -tv_objective(critics[0], labels, critics[1], freq, m)
        return -sum(tv_objective(a, labels, b, freq, m) for a, b in zip(*critics, strict=True))

    def step(carry, step_key):
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss)(params, draw(step_key)), state)
        return (optax.apply_updates(params, updates), state), None

    @jax.jit
    def run(key):
        params = critic.init(key, draw(key)[0])
        keys = jax.random.split(jax.random.fold_in(key, 1), steps)
        (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), keys)
        return params

    with jax.numpy_dtype_promotion("standard"):  # for optax
        return run(key)


def test_trained_critic_reaches_the_maximum_on_held_out_data(key):
    m = 0.4
    # Three classes, three kinds of outliers, 8 standard deviations apart from each other.
    centers = 3 * jnp.eye(8)[:6]

    def images(key, labels):
        keys = jax.random.split(key)
        kinds = jax.random.randint(keys[0], labels.shape, 3, 6)
        noise = 0.5 * jax.random.normal(keys[1], (2, len(labels), 8))
        return centers[labels] + noise[0], labels, centers[kinds] + noise[1]

    def draw(key):
        return images(key, jax.random.choice(jax.random.fold_in(key, 1), 3, (64,), p=jnp.float32(FREQ)))

    critic = Critic(3, hidden=(32,))
    params = train(key, critic, draw, FREQ, m, steps=250, rate=0.02)
    # As frequent as they should be: only then J has the known maximum.
    x_id, labels, x_ood = fast(images)(
        jax.random.fold_in(key, 8), jnp.repeat(jnp.arange(3), jnp.array([1000, 400, 600]))
    )
    outputs = fast(lambda x: bounded_critic(critic.apply(params, x)))
    found = compiled(outputs(x_id), labels, outputs(x_ood), FREQ, m)
    assert 0.98 <= found / tv_maximum(FREQ, m) <= 1 + 1e-5


def test_gaussians_on_fresh_samples(key):
    distances, m = jnp.array([0.5, 1.0, 2.0]), 0.4

    def draw(key, count=1024):
        """The inputs of all three problems side by side."""
        a, b = jax.random.normal(key, (2, count, 1))
        return a + jnp.zeros(3)[None], jnp.zeros(count, jnp.int32), b + distances[None]

    critic = Problems(Critic(1, hidden=(16,)))
    params = train(key, critic, draw, np.ones(1), m, steps=300, rate=0.03)
    x_id, labels, x_ood = fast(draw, static_argnums=1)(jax.random.fold_in(key, 9), 400_000)
    outputs = fast(lambda x: critic.apply(params, x))
    free_id, free_ood = outputs(x_id), outputs(x_ood)
    for i, distance in enumerate(distances.tolist()):
        expected = gaussian_tv(distance, m)
        sign_id, sign_ood = (jnp.sign(distance / 2 - x[:, i : i + 1]) / 2 for x in (x_id, x_ood))
        best = compiled(
            jnp.concatenate([sign_id, -sign_id], 1), labels, jnp.concatenate([sign_ood, -sign_ood], 1), np.ones(1), m
        )
        assert float(best) == pytest.approx(expected, rel=0.02)
        trained = compiled(bounded_critic(free_id[i]), labels, bounded_critic(free_ood[i]), np.ones(1), m)
        assert float(trained) == pytest.approx(expected, rel=0.02)
        assert trained <= 1.002 * best


@pytest.mark.parametrize(
    "change, message",
    [
        ({"critic_id": jnp.zeros((5, 3))}, "critic_id must have 4 columns, one for each of the 3 classes"),
        ({"critic_ood": jnp.zeros((5, 5))}, "critic_ood must have 4 columns"),
        ({"critic_ood": jnp.zeros((0, 4))}, "critic_ood has no examples. Both ID and OOD"),
        ({"critic_id": jnp.zeros(4)}, "critic_id must have 2 axes"),
        ({"labels": jnp.zeros(4, jnp.int32)}, "critic_id has 5, labels has 4"),
        ({"labels": jnp.zeros((5, 4))}, r"Soft labels must have shape \(5, 3\); got \(5, 4\)"),
        ({"labels": jnp.zeros((5, 3), jnp.int32)}, "labels must have 1 axes"),
        ({"labels": jnp.array([0, 1, 2, 3, 0])}, r"labels must be in 0 \.\. 2; got 0 \.\. 3"),
        ({"labels": jnp.array([0, 1, -1, 2, 0])}, r"got -1 \.\. 2. OOD images have no label"),
        ({"class_freq": np.array([50.0, 20, 30])}, "class_freq must hold shares .* sum of 100 .* Divide the counts"),
        ({"class_freq": np.array([1.5, -1, 0.5])}, "smallest of -1"),
        ({"class_freq": np.array([0.5, 0.5, np.nan])}, "class_freq must hold shares"),
        ({"class_freq": np.ones((1, 3))}, "class_freq must have 1 axes"),
        ({"id_share": 1.0}, r"id_share must be in \(0, 1\); got 1.0"),
        ({"id_share": 0.0}, r"id_share must be in \(0, 1\); got 0.0"),
    ],
)
def test_bad_input(unhooked, change, message):
    good = {
        "critic_id": jnp.zeros((5, 4)),
        "labels": jnp.array([0, 1, 2, 0, 0]),
        "critic_ood": jnp.zeros((2, 4)),
        "class_freq": FREQ,
        "id_share": 0.5,
    }
    assert tv_objective(**good) == 0
    with pytest.raises(ValueError, match=message):
        tv_objective(**{**good, **change})


def test_bad_numbers(unhooked):
    with pytest.raises(TypeError, match="id_share must be a number"):
        tv_maximum(FREQ, "half")
    with pytest.raises(ValueError, match="class_freq must hold shares"):
        tv_maximum(np.zeros(0), 0.5)
    with pytest.raises(ValueError, match="distance must be in"):
        gaussian_tv(-1.0, 0.5)


def test_the_extra_label_cannot_be_read_as_a_class_in_a_compiled_step():
    critic = jnp.zeros((2, 4)).at[:, -1].set(0.5)
    found = fast(lambda labels: tv_objective(critic, labels, critic, FREQ, 0.5))(jnp.array([0, 3]))
    assert jnp.isnan(found)
