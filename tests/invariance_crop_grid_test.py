"""LRP crops: boxes by hand, the law by SciPy and by counting, exact gradients of expectations, the union."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
from compiling import fast

from mollax.invariance.crop_grid import CropGrid, CropNetwork, FlowAndGrid, crop_boxes
from mollax.invariance.draws import surrogate_losses
from mollax.invariance.transforms import crop_matrix
from mollax.invariance.uniform import Uniform

SMALL = {"sides": (2, 1), "sizes": (0.5, 1.0), "offsets": (0.0, 0.5)}
# Compiles several times faster; nothing here runs long.
IMAGES = jnp.asarray(np.random.default_rng(3).normal(size=(3, 4, 4, 1)), jnp.float32)


class Logits(nn.Module):
    """A logit for each crop: a bias, and the image's first pixels."""

    k: int = 5

    @nn.compact
    def __call__(self, images, *, train):
        bias = self.param("bias", nn.initializers.normal(1.0), (self.k,))
        return images.reshape(len(images), -1)[:, : self.k] + bias[None]


def probabilities(variables, images=IMAGES):
    """Of the small grid, in float64."""
    logits = np.asarray(images, np.float64).reshape(len(images), -1)[:, :5]
    logits = logits + np.asarray(variables["params"]["pose"]["bias"], np.float64)
    return scipy.special.softmax(logits + np.array([-math.log(4)] * 4 + [0.5]), axis=-1)


def drawn(module, variables, keys, images=IMAGES, limits=(0.7, 1.0), *, n):
    """What the module draws."""
    return module.apply(variables, keys, images, n=n, limits=limits)


draw = fast(drawn, static_argnames=("module", "n"))


def small(**options):
    return CropGrid(Logits(), **(SMALL | options))


@pytest.fixture
def variables(key):
    return {"params": {"pose": {"bias": jax.random.normal(key, (5,))}}}


def test_boxes_by_hand():
    boxes = crop_boxes()
    assert boxes.shape == (321, 4)
    np.testing.assert_allclose(boxes[[0, 1, 16]], [[-15 / 16, -15 / 16, 0.375, 0.375]] * 3 + np.array([
        [0, 0, 0, 0], [1 / 8, 0, 0, 0], [0, 1 / 8, 0, 0]
    ]))  # fmt: skip
    np.testing.assert_allclose(boxes[[256, 319]], [[-7 / 8, -7 / 8, 0.75, 0.75], [7 / 8, 7 / 8, 0.75, 0.75]])
    np.testing.assert_array_equal(boxes[320], [0, 0, 1, 1])
    assert len(np.unique(boxes, axis=0)) == 321


@pytest.mark.parametrize("limits", [(0.7, 1.0), (0.35, 0.9)])
def test_matrices_are_the_boxes_and_the_params(limits, key, variables):
    draws = draw(small(), variables, jax.random.split(key, 3), limits=limits, n=30)
    assert draws.params.shape == (3, 30, 4)
    assert draws.matrices.shape == (3, 30, 2, 3)
    flat = draws.matrices.reshape(-1, 2, 3)
    x, y, width, height = crop_boxes(sides=SMALL["sides"], sizes=SMALL["sizes"]).T
    boxes = np.array([[[w, 0, cx], [0, h, cy]] for cx, cy, w, h in zip(x, y, width, height, strict=True)])
    gaps = np.abs(np.asarray(flat)[:, None] - boxes).max((2, 3))
    np.testing.assert_array_equal(gaps.min(1), 0)
    assert set(gaps.argmin(1)) == set(range(5))
    again = jax.vmap(lambda p: crop_matrix(p, limits=limits))(draws.params.reshape(-1, 4))
    np.testing.assert_allclose(again, flat, atol=1e-6)


def test_the_law_is_the_softmax(key, variables):
    n = 4000
    draws = draw(small(), variables, jax.random.split(key, 3), n=n)
    p = probabilities(variables)
    np.testing.assert_allclose(draws.entropy, scipy.stats.entropy(p, axis=-1), rtol=1e-5)
    np.testing.assert_allclose(draws.penalty, -draws.entropy)
    for row, matrices, log_density in zip(p, np.asarray(draws.matrices), np.asarray(draws.log_density), strict=True):
        place = np.where(matrices[:, 0, 0] == 1, 4, (matrices[:, 0, 2] > 0) + 2 * (matrices[:, 1, 2] > 0))
        np.testing.assert_allclose(log_density, np.log(row)[place], rtol=1e-4, atol=1e-5)
        assert scipy.stats.chisquare(np.bincount(place, minlength=5), n * row).pvalue > 1e-3


def test_first_odds_are_the_offsets(key):
    module = CropGrid(Zeros())
    draws = draw(module, {}, key[None], IMAGES[:1], n=1)
    levels = scipy.special.softmax([0.0, 1.0, 3.0])
    expected = -np.sum(levels * np.log(levels / np.array([256, 64, 1])))
    np.testing.assert_allclose(draws.entropy, expected, rtol=1e-5)
    even = draw(CropGrid(Zeros(), offsets=(math.log(256), math.log(64), 0.0)), {}, key[None], IMAGES[:1], n=1)
    np.testing.assert_allclose(even.entropy, math.log(321), rtol=1e-6)


class Zeros(nn.Module):
    """321 even logits."""

    def __call__(self, images, *, train):
        return jnp.zeros((len(images), 321))


def losses_of(matrices):
    """Some loss of the crop."""
    return jnp.square(matrices[..., 0, 2] - 0.3) + matrices[..., 0, 0] * jnp.cos(2 * matrices[..., 1, 2])


def exact_gradient(variables):
    boxes = crop_boxes(sides=SMALL["sides"], sizes=SMALL["sizes"])
    losses = np.square(boxes[:, 0] - 0.3) + boxes[:, 2] * np.cos(2 * boxes[:, 1])
    p = probabilities(variables)
    return np.mean(p * (losses - (p @ losses)[:, None]), axis=0)


def test_score_gradient_is_the_expectations(key, variables):
    module = small()
    keys = jax.random.split(key, 3)

    def loss(v, n, apart):
        draws = drawn(module, v, keys, n=n)
        losses = losses_of(draws.matrices)
        return jnp.mean(losses if apart else surrogate_losses(losses, draws.score))

    score = fast(jax.grad(loss), static_argnums=(1, 2))
    bias = score(variables, 20000, False)["params"]["pose"]["bias"]
    np.testing.assert_allclose(bias, exact_gradient(variables), atol=4e-3)
    assert np.abs(exact_gradient(variables)).max() > 0.04
    # The value is the losses', whose own gradient is zero.
    np.testing.assert_allclose(loss(variables, 8, False), loss(variables, 8, True), rtol=1e-6)
    np.testing.assert_array_equal(score(variables, 8, True)["params"]["pose"]["bias"], np.zeros(5))
    # One draw has no others.
    alone = score(variables, 1, False)["params"]["pose"]["bias"]
    assert np.isfinite(alone).all()
    assert np.any(alone != 0)


def test_leave_one_out_has_less_noise(variables):
    def gradients(one_by_one):
        def one(key):
            keys = jax.random.split(key, 3)

            def loss(v):
                draws = small().apply(v, keys, IMAGES, n=4)
                losses, score = losses_of(draws.matrices) + 1, draws.score
                if one_by_one:
                    losses, score = losses.reshape(-1, 1), score.reshape(-1, 1)
                return jnp.mean(surrogate_losses(losses, score))

            return jax.grad(loss)(variables)["params"]["pose"]["bias"]

        return fast(jax.vmap(one))(jax.random.split(jax.random.key(1), 300))

    alone, others_left = gradients(True), gradients(False)
    np.testing.assert_allclose(alone.mean(0), others_left.mean(0), atol=0.05)
    assert others_left.var(0).sum() < 0.7 * alone.var(0).sum()


def test_straight_through_is_the_relaxed_choices_gradient(key, variables):
    soft = small(gradient="straight_through", temperature=0.7)
    keys = jax.random.split(key, 3)
    hard = draw(small(), variables, keys, n=6)
    draws = draw(soft, variables, keys, n=6)
    for field in draws._fields[:-1]:
        np.testing.assert_array_equal(getattr(draws, field), getattr(hard, field))
    assert draws.score is None
    weights = jax.random.normal(key, (3, 6, 2, 3))
    found = fast(jax.grad(lambda v: jnp.sum(weights * drawn(soft, v, keys, n=6).matrices)))(variables)
    x, y, width, height = crop_boxes(sides=SMALL["sides"], sizes=SMALL["sizes"]).T
    table = np.array([[[w, 0, cx], [0, h, cy]] for cx, cy, w, h in zip(x, y, width, height, strict=True)])
    offsets = np.array([-math.log(4)] * 4 + [0.5], np.float32)
    noise = jax.vmap(lambda k: jax.random.gumbel(k, (6, 5)))(keys)

    def relaxed(bias):
        logits = IMAGES.reshape(3, -1)[:, :5] + (bias + offsets)[None]
        soft_choice = jax.nn.softmax((jax.nn.log_softmax(logits)[:, None] + noise) / 0.7)
        return jnp.sum(weights * jnp.einsum("bnk,kij->bnij", soft_choice, jnp.asarray(table, jnp.float32)))

    expected = fast(jax.grad(relaxed))(variables["params"]["pose"]["bias"])
    np.testing.assert_allclose(found["params"]["pose"]["bias"], expected, rtol=1e-4, atol=1e-5)
    losses = losses_of(draws.matrices)
    assert surrogate_losses(losses, draws.score) is losses


def test_penalty_evens_the_choice(key, variables):
    keys = jax.random.split(key, 3)
    entropy = fast(lambda v: drawn(small(), v, keys, n=30).entropy.mean())
    gradient = fast(jax.grad(lambda v: drawn(small(), v, keys, n=30).penalty.mean()))(variables)
    assert entropy(jax.tree.map(lambda p, g: p - 0.1 * g, variables, gradient)) > entropy(variables)


def test_per_image_noise_and_vmap(key, variables):
    keys, module = jax.random.split(key, 3), small()
    whole = draw(module, variables, keys, n=30)
    alone = draw(module, variables, keys[1:2], IMAGES[1:2], n=30)
    for field in whole._fields:
        np.testing.assert_allclose(getattr(whole, field)[1:2], getattr(alone, field), rtol=1e-6)
    same = draw(module, variables, keys, jnp.stack([IMAGES[0]] * 3), n=30)
    assert not np.array_equal(same.matrices[0], same.matrices[1])
    mapped = jax.vmap(lambda k, x: draw(module, variables, k[None], x[None], n=30).matrices[0])(keys, IMAGES)
    np.testing.assert_array_equal(mapped, whole.matrices)


def test_network(key, rng):
    sketch = jax.eval_shape(CropNetwork().init_with_output, key, jnp.zeros((2, 64, 64, 3)))
    assert sketch[0].shape == (2, 321)
    assert sum(leaf.size for leaf in jax.tree.leaves(sketch[1])) == 21881
    # Half the side has a quarter of the positions.
    network = CropNetwork(planes=4)
    images = jnp.asarray(rng.normal(size=(2, 32, 32, 3)), jnp.float32)
    variables = fast(network.init)(key, images)
    apply = fast(network.apply)
    logits = apply(variables, images)
    assert logits.shape == (2, 64 + 16 + 1)
    assert 0.01 < np.std(logits) < 1
    assert network.apply(variables, images[:0]).shape == (0, 64 + 16 + 1)
    # A logit sees what is around its crop: a mark in the upper right changes the first row's last most.
    marked = images.at[0, :4, -4:].add(5.0)
    found = apply(variables, marked)
    # The other image does not see it.
    np.testing.assert_allclose(found[1], logits[1], rtol=1e-5, atol=1e-6)
    change = np.abs(found - logits)[0, :64].reshape(8, 8)
    assert np.unravel_index(change.argmax(), (8, 8)) in {(0, 7), (0, 6), (1, 7), (1, 6)}
    grid = CropGrid(network, sides=(8, 4, 1))
    draws = draw(grid, {"params": {"pose": variables["params"]}}, jax.random.split(key, 2), images, n=1)
    expected = np.asarray(logits) + np.log(np.repeat([1 / 64, np.e / 16, np.e**3], [64, 16, 1]))
    np.testing.assert_allclose(draws.entropy, scipy.stats.entropy(np.exp(expected), axis=-1), rtol=1e-4)


def test_union(key, variables):
    module = FlowAndGrid(Uniform("crop", width=0.5), small())
    keys = jax.random.split(key, 3)
    variables = {"params": {"grid": variables["params"]}}
    draws = draw(module, variables, keys, limits=(0.6, 0.9), n=8)
    assert draws.params.shape == (3, 8, 4)
    halves = jax.vmap(jax.random.split)(keys)
    flow = draw(Uniform("crop", width=0.5), {}, halves[:, 0], limits=(0.6, 0.9), n=4)
    grid = draw(small(), {"params": variables["params"]["grid"]}, halves[:, 1], limits=(0.6, 0.9), n=4)
    for field in ("params", "matrices", "log_density"):
        np.testing.assert_allclose(getattr(draws, field)[:, ::2], getattr(flow, field), rtol=1e-6)
        np.testing.assert_allclose(getattr(draws, field)[:, 1::2], getattr(grid, field), rtol=1e-6)
    np.testing.assert_allclose(draws.penalty, grid.penalty / 2, rtol=1e-6)
    np.testing.assert_allclose(draws.entropy, (flow.entropy + grid.entropy) / 2, rtol=1e-6)
    for part, entropy in (("flow", flow.entropy), ("grid", grid.entropy)):
        chosen = draw(FlowAndGrid(module.flow, module.grid, entropy_of=part), variables, keys, n=8)
        np.testing.assert_allclose(chosen.entropy, entropy, rtol=1e-6)
    # Only the grid's half is learned by a score.
    np.testing.assert_array_equal(draws.score[:, ::2], np.zeros((3, 4)))
    np.testing.assert_array_equal(draws.score[:, 1::2], draws.log_density[:, 1::2])
    soft = draw(FlowAndGrid(module.flow, small(gradient="straight_through")), variables, keys, n=8)
    assert soft.score is None


def test_surrogate_slopes_are_losses_against_the_others(rng):
    losses = jnp.asarray(rng.normal(size=(3, 4)), jnp.float32)
    slopes = jax.grad(lambda score: jnp.sum(surrogate_losses(losses, score)))(jnp.zeros((3, 4)))
    np.testing.assert_allclose(slopes, (losses - losses.mean(1, keepdims=True)) * 4 / 3, atol=1e-6)
    alone = jax.grad(lambda score: jnp.sum(surrogate_losses(losses[:, :1], score)))(jnp.zeros((3, 1)))
    np.testing.assert_array_equal(alone, losses[:, :1])


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: crop_boxes(sides=(2, 1), sizes=(0.5,)), "2 sides and 1 sizes"),
        (lambda: crop_boxes(sides=(2,), sizes=(1.0,)), "its side must be 1, got 2"),
        (lambda: crop_boxes(sides=(2,), sizes=(1.5,)), r"sizes must be in \(0, 1\]"),
        (lambda: small(offsets=(0.0,)), "offset for each of 2 levels"),
        (lambda: small(gradient="gumbel"), "gradient must be one of 'score', 'straight_through'"),
        (lambda: small(temperature=0.0), r"temperature must be in \(0"),
        (lambda: small(kind="rotation"), "kind of a CropGrid must be one of 'crop'"),
        (lambda: CropNetwork(planes=6), "groups must divide planes"),
        (lambda: CropNetwork().init(jax.random.key(0), jnp.zeros((1, 8, 16, 3))), "square images.*got 8x16"),
        (lambda: CropNetwork().init(jax.random.key(0), jnp.zeros((1, 12, 12, 3))), "a multiple of 8; got 12x12"),
        (lambda: FlowAndGrid(Uniform("rotation"), small()), "kind of flow in a FlowAndGrid"),
        (lambda: FlowAndGrid(Uniform("crop"), small(), entropy_of="both"), "entropy_of must be one of"),
    ],
)
def test_bad_options(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    "module, options, message",
    [
        (small(), {"limits": (0.7, 0.7)}, "0 < low < high <= 1"),
        (CropGrid(Logits()), {}, r"CropGrid has 321 crops; its pose gave \(3, 5\) for 3 images"),
        (FlowAndGrid(Uniform("crop"), small()), {"n": 3}, "n must be even, got 3"),
        (small(), {"n": 0}, "n must be at least 1"),
    ],
)
def test_bad_calls(module, options, message, key):
    with pytest.raises(ValueError, match=message):
        module.init(key, jax.random.split(key, 3), IMAGES, **({"n": 2} | options))
