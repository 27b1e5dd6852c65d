"""The objective over labelled images and outliers: by hand, per source, per mode and batch norm, and over devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny
from compiling import fast

from mollax import models, objectives, ood, optim, parallel, step
from mollax.image import standardize
from mollax.objectives.outliers import make_outliers, outlier_objective, share_out
from mollax.state import create_state

SHARES = jnp.full(10, 0.1, jnp.float32)


def network(**options):
    net = models.create_model("mlp", classes=10, axis_name=parallel.AXIS, hidden=(16,), **options)
    return ood.CriticClassifier(classifier=net, critic=ood.Critic(10, hidden=(8,)))


def tv_penalty(seen, carried):
    """Total variation, and a count of the steps."""
    critics = (ood.bounded_critic(critic) for critic in (seen.critic_id, seen.critic_ood))
    first, second = critics
    value = ood.tv_objective(first, seen.labels, second, SHARES, 0.5)
    return -value, {"divergence": value}, {"count": carried["count"] + 1}


def batch_of(count, outliers=0):
    images, labels = tiny.digits(count)
    batch = {"image": jnp.asarray(images), "label": jnp.asarray(labels)}
    if outliers:
        batch["outlier"] = jnp.asarray(np.random.default_rng(0).integers(0, 256, (outliers, 8, 8, 1), np.uint8))
    return batch


@pytest.fixture(scope="module")
def problem():
    model = network()
    start = fast(functools.partial(model.init, method="start"))
    variables = start(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
    # The critic starts at zero, where every objective is zero: give its last layer values.
    kernel = variables["params"]["critic"]["outputs"]["kernel"]
    variables["params"]["critic"]["outputs"]["kernel"] = jax.random.normal(jax.random.key(1), kernel.shape)
    return model, variables


def run(problem, batch, counts, **options):
    model, variables = problem
    objective = outlier_objective(model, tv_penalty, classes=10, mean=tiny.MEAN, std=tiny.STD, counts=counts, **options)
    extra = {"ood": {"count": jnp.int32(3)}}

    def value(params):
        return objective(params, {}, extra, batch, jax.random.key(7), 0)

    return fast(jax.value_and_grad(value, has_aux=True))(variables["params"])


@pytest.mark.parametrize(
    "count, weights, expected", [(8, (1, 1), (4, 4)), (5, (1, 1), (3, 2)), (10, (0.7, 0.2), (8, 2))]
)
def test_outliers_are_shared_out_by_weight(count, weights, expected):
    names = ("block_shuffle", "auxiliary")
    shares = share_out(count, {"augmix": 0.0, **dict(zip(names, weights, strict=True))})
    assert shares == dict(zip(names, expected, strict=True))


@pytest.mark.parametrize(
    "weights, message",
    [
        ({"block_shufle": 1.0}, "Did you mean 'block_shuffle'"),
        ({"block_shuffle": 0.0}, "needs a weight above 0"),
        ({"block_shuffle": -1.0}, "weight of block_shuffle must be in"),
        ({"block_shuffle": 1.0, "augmix": 0.01}, "too few for augmix"),
    ],
)
def test_bad_shares(weights, message):
    with pytest.raises(ValueError, match=message):
        share_out(4, weights)


def test_the_loss_by_hand(problem):
    """Cross-entropy of the labelled images, minus the weighted objective of critics on images and shuffled images."""
    model, variables = problem
    batch = batch_of(8)
    (value, (metrics, _, extra)), _ = run(problem, batch, {"block_shuffle": 6}, weight=0.3)
    assert extra["ood"]["count"] == 4
    images = batch["image"].astype(jnp.float32) / 255
    key = jax.random.split(jax.random.key(7), 3)[2]
    outliers = make_outliers(key, images, {"block_shuffle": 6}, auxiliary=None)
    shown = [standardize(part, tiny.MEAN, tiny.STD) for part in (images, outliers)]
    features = [model.apply(variables, part, train=False, method="features") for part in shown]
    critics = [ood.bounded_critic(model.apply(variables, part, method="judge")) for part in features]
    expected = ood.tv_objective(critics[0], batch["label"], critics[1], SHARES, 0.5)
    logits = model.apply(variables, shown[0], train=False)
    entropy = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"]).mean()
    np.testing.assert_allclose(metrics["divergence"], expected, rtol=1e-4)
    np.testing.assert_allclose(metrics["cross_entropy"], entropy, rtol=1e-4)
    np.testing.assert_allclose(value, entropy - 0.3 * expected, rtol=1e-4)
    assert abs(float(expected)) > 1e-3


def test_every_source_makes_its_outliers(key):
    images = batch_of(8)["image"].astype(jnp.float32) / 255
    auxiliary = jnp.full((3, 8, 8, 1), 0.25)
    counts = {"block_shuffle": 4, "augmix": 2, "cutmix": 3, "auxiliary": 3}
    made = fast(lambda key: make_outliers(key, images, counts, auxiliary=auxiliary))(key)
    assert made.shape == (12, 8, 8, 1)
    np.testing.assert_array_equal(made[9:], auxiliary)
    for i in range(4):
        np.testing.assert_allclose(jnp.sort(made[i].ravel()), jnp.sort(images[i].ravel()), atol=1e-6)
        assert (made[i] != images[i]).any()
    # CutMix: pixels of an image and its neighbour, shuffled; AugMix: other values.
    both = np.concatenate([np.asarray(images[0]).ravel(), np.asarray(images[1]).ravel()])
    assert np.isin(np.asarray(made[6]).ravel(), both).all()
    with pytest.raises(ValueError, match="must bring 3 auxiliary images; it has none"):
        make_outliers(key, images, counts, auxiliary=None)


def test_more_outliers_than_images_take_them_again(key):
    images = batch_of(4)["image"].astype(jnp.float32) / 255
    made = make_outliers(key, images, {"block_shuffle": 9}, auxiliary=None)
    np.testing.assert_allclose(jnp.sort(made[8].ravel()), jnp.sort(images[0].ravel()), atol=1e-6)
    assert (made[8] != made[0]).any()


def test_the_head_alone_learns_from_a_classifier_as_in_evaluation(problem):
    (value, (metrics, _, _)), gradient = run(problem, batch_of(8, 4), {"auxiliary": 4}, mode="head")
    np.testing.assert_allclose(value, metrics["penalty"])
    assert any((leaf != 0).any() for leaf in jax.tree.leaves(gradient["critic"]))
    (value, (metrics, _, _)), _ = run(problem, batch_of(8, 4), {"auxiliary": 4}, constrained=True)
    np.testing.assert_allclose(value, metrics["penalty"])
    (_, (joint, _, _)), _ = run(problem, batch_of(8, 4), {"auxiliary": 4})
    np.testing.assert_allclose(joint["loss"], joint["cross_entropy"] + joint["penalty"], rtol=1e-6)


def test_auxiliary_images_are_augmented_as_labelled_ones_are(problem):
    """By an augmentation that erases: outliers become what the labelled images become."""
    model, variables = problem
    found = {}
    for name, augment in (("erased", lambda key, image: jnp.zeros_like(image)), ("as they are", None)):
        objective = outlier_objective(
            model,
            lambda seen, carried: (jnp.mean(jnp.abs(seen.logits_ood - seen.logits_id[0][None])), {}, carried),
            classes=10,
            mean=tiny.MEAN,
            std=tiny.STD,
            counts={"auxiliary": 3},
            augment=augment,
        )
        batch = batch_of(4, 3)
        _, (metrics, _, _) = objective(variables["params"], {}, {"ood": {}}, batch, jax.random.key(0), 0)
        found[name] = float(metrics["penalty"])
    assert found["erased"] < 1e-6
    assert found["as they are"] > 1e-2


FEATURES = jnp.linspace(0, 1, 5 * 16).reshape(5, 16)


def look(problem, batch, counts, first_index=0, **options):
    """What the penalty saw."""
    model, variables = problem
    seen = []

    def penalty(says, carried):
        seen.append(says)
        return jnp.mean(says.logits_ood), {}, carried

    objective = outlier_objective(model, penalty, classes=10, mean=tiny.MEAN, std=tiny.STD, counts=counts, **options)
    extra = {"ood": {}, "gan": FEATURES}
    _, (_, _, after) = objective(variables["params"], {}, extra, batch, jax.random.key(0), first_index)
    assert after["gan"] is FEATURES
    return seen[0]


def test_generated_features_go_to_critic_and_head_as_they_are(problem):
    model, variables = problem
    counts = {"auxiliary": 3, "gan": 5}
    generate = {"generate": lambda key, each, kept: kept}
    both = look(problem, batch_of(4, 3), counts, **generate)
    alone = look(problem, batch_of(4), {"gan": 5}, batch_norm="id", **generate)
    auxiliary = look(problem, batch_of(4, 3), {"auxiliary": 3})
    for method, name in (("head", "logits_ood"), ("judge", "critic_ood")):
        expected = model.apply(variables, FEATURES, method=method)
        np.testing.assert_allclose(getattr(alone, name), expected, rtol=1e-5)
        np.testing.assert_allclose(getattr(both, name)[3:], expected, rtol=1e-5)
        np.testing.assert_allclose(getattr(both, name)[:3], getattr(auxiliary, name), rtol=1e-5)
    np.testing.assert_allclose(alone.logits_id, auxiliary.logits_id, rtol=1e-5)


def test_generated_images_are_treated_as_auxiliary_ones(problem):
    batch = batch_of(4, 3)
    images = batch.pop("outlier").astype(jnp.float32) / 255
    augment = {"augment": lambda key, image: image[::-1]}
    options = {"generate": lambda key, each, kept: images, "generated": "pixels", **augment}
    generated = look(problem, batch, {"gan": 3}, **options)
    auxiliary = look(problem, batch_of(4, 3), {"auxiliary": 3}, **augment)
    np.testing.assert_allclose(generated.critic_ood, auxiliary.critic_ood, rtol=1e-5)


def test_draws_of_a_gan_belong_to_their_place_in_the_batch(problem):
    asked = []

    def generate(key, each, kept):
        asked.append((jax.random.key_data(key), jax.random.key_data(each)))
        return jnp.ones((len(each), 16))

    look(problem, batch_of(8), {"gan": 4}, generate=generate)
    look(problem, batch_of(4), {"gan": 2}, first_index=4, generate=generate)
    np.testing.assert_array_equal(asked[0][0], asked[1][0])
    np.testing.assert_array_equal(asked[0][1][2:], asked[1][1])
    assert len(np.unique(asked[0][1], axis=0)) == 4


def cnn():
    net = models.create_model("cnn", classes=10, widths=(4, 4, 8, 8), batch_norm=True)
    return ood.CriticClassifier(classifier=net, critic=ood.Critic(10))


def test_batch_norm_of_all_images_or_of_labelled_ones_alone():
    model, batch = cnn(), batch_of(8, 8)
    variables = model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)), method="start")
    state = {"batch_stats": variables["batch_stats"]}
    found = {}
    for mode, outliers in (("together", 0), ("id", 0), ("id", 9)):
        changed = {**batch, "outlier": jnp.minimum(batch["outlier"] + jnp.uint8(outliers), 255).astype(jnp.uint8)}
        objective = outlier_objective(
            model,
            lambda seen, carried: (jnp.mean(seen.critic_ood), {}, carried),
            classes=10,
            mean=tiny.MEAN,
            std=tiny.STD,
            counts={"auxiliary": 8},
            batch_norm=mode,
        )
        _, (metrics, new, _) = objective(variables["params"], state, {"ood": {}}, changed, jax.random.key(0), 0)
        found[mode, outliers] = float(metrics["cross_entropy"]), new["batch_stats"]
    tiny.equal(found["id", 0][1], found["id", 9][1])
    assert found["id", 0][0] == found["id", 9][0]
    assert found["together", 0][0] != found["id", 0][0]


def test_one_and_four_devices_learn_the_same():
    model = network()
    penalty = functools.partial(tv_penalty)
    optimizer = optim.create_optimizer("sgd", optax.constant_schedule(0.1))
    start = model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)), method="start")
    state = create_state(start, optimizer, extra={"ood": {"count": jnp.int32(0)}})
    after = {}
    for devices in (1, 4):
        objective = outlier_objective(
            model,
            penalty,
            classes=10,
            mean=tiny.MEAN,
            std=tiny.STD,
            counts={"block_shuffle": 16 // devices},
        )
        function = functools.partial(step.train_step, objective=objective, optimizer=optimizer, seed=0)
        mapped = jax.pmap(
            function, axis_name=parallel.AXIS, in_axes=(None, 0), out_axes=None, devices=jax.devices()[:devices]
        )
        batch = jax.tree.map(lambda leaf, n=devices: leaf.reshape(n, -1, *leaf.shape[1:]), batch_of(16))
        after[devices], _ = mapped(state, batch)
        after[devices], _ = mapped(after[devices], batch)
    tiny.close(after[1], after[4], 2e-5)
    assert after[4].extra["ood"]["count"] == 2


@pytest.mark.parametrize(
    "options, message",
    [
        ({"mode": "heads"}, "ood.mode must be one of"),
        ({"batch_norm": "both"}, "ood.batch_norm must be one of"),
        ({"counts": {"cutmix": 1}}, "at least two outliers"),
        ({"counts": {"gan": 1}}, "needs what generates its outliers"),
        ({"counts": {"gan": 1}, "generated": "images"}, "ood.gan.on must be one of"),
        ({"model": models.create_model("mlp", classes=10), "mode": "head"}, "this method has none"),
    ],
)
def test_bad_settings(problem, options, message):
    settings = {"model": problem[0], "counts": {"block_shuffle": 2}, **options}
    with pytest.raises(ValueError, match=message):
        objectives.outlier_objective(
            settings.pop("model"), tv_penalty, classes=10, mean=tiny.MEAN, std=tiny.STD, **settings
        )


def test_draws_belong_to_the_image():
    """Slices of a batch on several devices draw what one device would."""
    images = batch_of(8)["image"].astype(jnp.float32) / 255
    whole = make_outliers(jax.random.key(0), images, {"block_shuffle": 8}, auxiliary=None)
    part = make_outliers(jax.random.key(0), images[4:], {"block_shuffle": 4}, auxiliary=None, first_index=4)
    np.testing.assert_array_equal(whole[4:], part)
