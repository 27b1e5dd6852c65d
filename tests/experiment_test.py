"""From config to objects: statistics, lengths and settings that make no sense."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from mollax import evaluation, experiment, models, ood
from mollax.data import LazyImages, Split
from mollax.parallel import AXIS


@pytest.fixture(scope="module")
def dataset():
    return experiment.load_data(tiny.config())


def test_channel_statistics_equal_numpys(rng):
    images = rng.integers(0, 256, (2300, 3, 5, 3), dtype=np.uint8)
    labels = np.zeros(2300, np.int32)
    mean, std = experiment.channel_statistics(Split(images, labels))
    np.testing.assert_allclose(mean, (images / 255.0).mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std, (images / 255.0).std((0, 1, 2)), rtol=1e-9)
    lazy = LazyImages(images.__getitem__, images.shape)
    np.testing.assert_array_equal(experiment.channel_statistics(Split(lazy, labels))[0], mean)
    part = experiment.channel_statistics(Split(images, labels), images=100)[0]
    chosen = np.linspace(0, 2299, 100).astype(int)
    np.testing.assert_allclose(part, (images[chosen] / 255.0).mean((0, 1, 2)), rtol=1e-12)


def test_a_constant_channel_stays_finite():
    split = Split(np.full((4, 2, 2, 1), 7, np.uint8), np.zeros(4, np.int32))
    assert experiment.channel_statistics(split)[1] == pytest.approx(1 / 255)


def test_lengths_are_in_steps(dataset):
    config = tiny.config(train__duration="2 epochs", eval__every="50 %", checkpoint__every="0 steps")
    run = experiment.create(config, dataset)
    assert run.steps == round(2 * len(dataset.train) / 16)
    assert run.eval_every == round(run.steps / 2)
    assert run.save_every == 0
    assert run.log_every == 2


def test_intervals_are_whole_groups_of_dispatched_steps(dataset):
    config = tiny.config(
        train__duration="100 steps",
        train__steps_per_dispatch=20,
        log__every="7 steps",
        eval__every="25 %",
        checkpoint__every="50 steps",
    )
    run = experiment.create(config, dataset)
    assert (run.steps, run.log_every, run.eval_every, run.save_every) == (100, 20, 20, 40)
    config = tiny.config(train__steps_per_dispatch=20, eval__every="0 steps")
    assert experiment.create(config, dataset).eval_every == 0


def test_extra_class_widens_the_model(dataset):
    run = experiment.create(tiny.config(mollify__label_form="extra"), dataset)
    state = experiment.init_state(tiny.config(), run)
    logits = run.model.apply(state.evaluated(), jnp.zeros((1, 8, 8, 1)), train=False)
    assert logits.shape == (1, 11)
    assert models.count_parameters(state.params) == sum(leaf.size for leaf in jax.tree.leaves(state.params))


def test_parameters_depend_on_the_seed_only(dataset):
    run = experiment.create(tiny.config(), dataset)
    a, b = (experiment.init_state(tiny.config(seed=1, optim__lr=lr), run).params for lr in (0.1, 0.2))
    tiny.equal(a, b)
    other = experiment.init_state(tiny.config(seed=2), run).params
    assert any((x != y).any() for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(other), strict=True))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"model__name": "resnet7"}, "Did you mean 'resnet8'"),
        ({"model__dtype": "float16"}, "dtype must be one of 'float32', 'bfloat16'"),
        ({"train__duration": "5 %"}, "train.duration cannot be a percentage"),
        ({"optim__warmup": "9 steps"}, "optim.warmup must be shorter than the run of 8 steps"),
        ({"eval__every": "often"}, "eval.every must be one number with one unit"),
        (
            {"mollify__enabled": False, "mollify__repeats": 2},
            "mollify.repeats is 2, but mollify.enabled is False",
        ),
        ({"optim__accumulate": 3}, "multiple of devices x optim.accumulate, 12, so that parts are equal; got 16"),
        ({"optim__ema": 1.0}, r"optim.ema must be in \[0, 1\)"),
        ({"train__steps_per_dispatch": 0}, "train.steps_per_dispatch must be at least 1; got 0"),
        ({"loss__name": "mse"}, "loss.name must be one of"),
        ({"model__head": "cosin"}, "Did you mean 'cosine'"),
        ({"model__head": "inner", "ood__method": "tv"}, 'ood.method goes with model.head "linear" alone'),
    ],
)
def test_settings_that_make_no_sense(dataset, changes, message):
    with pytest.raises(ValueError, match=message):
        experiment.create(tiny.config(**changes), dataset)


def test_a_decomposed_head_learns_its_similarities_without_decay(dataset):
    config = tiny.config(model__head="euclidean", model__options={"hidden": (4,)}, optim__weight_decay=0.1)
    run = experiment.create(config, dataset)
    assert run.model.confidence == ood.DecomposedConfidence(10, kind="euclidean", axis_name=AXIS)
    params = experiment.init_state(config, run).params
    updates, _ = run.optimizer.update(jax.tree.map(jnp.zeros_like, params), run.optimizer.init(params), params)
    head = updates["confidence"]
    assert (head["similarity"]["kernel"] == 0).all()
    assert (head["domain"]["kernel"] != 0).all()
    assert (updates["trunk"]["hidden1"]["kernel"] != 0).any()


def test_unknown_data_names_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'digits'"):
        experiment.load_data(tiny.config(data__reader="digit"))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"eval__bins": 0}, "eval.bins must be at least 1; got 0"),
        ({"eval__resamples": -1}, "eval.resamples must be at least 0; got -1"),
        ({"eval__batch_size": 0}, "eval.batch_size must be at least 1; got 0"),
        ({"eval__stress": ("nois:0.3",)}, "Did you mean 'noise'"),
    ],
)
def test_evaluation_settings_are_checked_before_training(dataset, changes, message):
    config = tiny.config(**changes)
    with pytest.raises(ValueError, match=message):
        evaluation.create_evaluator(config, experiment.create(config, dataset))
