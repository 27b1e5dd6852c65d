"""From a config to critic, penalty and outliers; margins from data; runs that learn from outliers, resumed too."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from compiling import compile_gans_fast

from mollax import data, detectors, experiment, models, objectives, ood, parallel
from mollax.checkpoint import read_variables
from mollax.finished_run import open_run
from mollax.image import standardize
from mollax.train import train_and_evaluate

OFF = {"mollify__enabled": False, "model__options": {"hidden": (16,)}, "eval__stress": ()}
NOISE = {"reader": "noise", "name": "uniform", "limit": 64}
BOTH = {"block_shuffle": 1.0, "augmix": 0.0, "cutmix": 0.0, "auxiliary": 1.0}


def config(method="tv", **changes):
    made = tiny.config(**{**OFF, **changes}).copy_and_resolve_references()
    made.unlock()
    made.ood.method = method
    return made.lock()


@pytest.fixture(scope="module")
def dataset():
    return experiment.load_data(tiny.config())


def create(dataset, method="tv", **changes):
    return detectors.create_detector(config(method, **changes), models.create_model("mlp", classes=10), dataset)


def seen(method, rng):
    """What networks might say of 8 images and 8 outliers."""
    logits, critic = (jnp.asarray(rng.normal(size=(2, 8, k)), jnp.float32) for k in (10, 11))
    labels = jnp.eye(10)[jnp.arange(8)]
    critics = tuple(critic) if method in ood.DIVERGENCES else (None, None)
    return objectives.Seen(logits[0], logits[1], *critics, labels, jnp.float32(1.0))


def on_one_device(function):
    """A penalty runs inside a step, where there is an axis over devices."""
    return jax.tree.map(lambda leaf: leaf[0], jax.vmap(lambda _: function(), axis_name=parallel.AXIS)(jnp.zeros(1)))


# WOODS, which learns from a wild mixture, has tests of its own.
@pytest.mark.parametrize("method", [method for method in detectors.METHODS if method != "woods"])
def test_every_penalty_is_that_of_its_formula(dataset, rng, method):
    made = create(dataset, method)
    says = seen(method, rng)
    shares = jnp.asarray(detectors.class_frequencies(dataset), jnp.float32)
    carried = made.extra
    if method in ood.DIVERGENCES:
        options = {}
        if method == "dv":
            options["average"] = ood.update_average(jnp.float32(0), says.critic_id, says.critic_ood, shares, 0.5)
        expected = -ood.divergence_objective(
            method, says.critic_id, says.labels, says.critic_ood, shares, 0.5, **options
        )
    elif method == "exposure":
        expected = ood.outlier_exposure(says.logits_ood)
    else:
        carried = {**carried, "m_in": jnp.float32(-3.0), "m_out": jnp.float32(-2.5)}
        expected = ood.energy_margin(says.logits_id, says.logits_ood, m_in=-3.0, m_out=-2.5)
        if method == "balanced_energy":
            prior = np.arange(1, 11) / 55
            carried["prior"] = jnp.asarray(prior, jnp.float32)
            with_axis = functools.partial(
                ood.balanced_energy, says.logits_id, says.logits_ood, prior=prior, m_in=-3.0, m_out=-2.5
            )
            expected = with_axis()
    value, metrics, after = on_one_device(lambda: made.penalty(says, carried))
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert jax.tree.structure(after) == jax.tree.structure(carried)
    assert jnp.isfinite(jnp.asarray(list(metrics.values()) or [0.0])).all()
    if method == "dv":
        np.testing.assert_allclose(after["average"], options["average"], rtol=1e-6)


def test_class_frequencies_are_those_of_the_training_split(dataset):
    shares = detectors.class_frequencies(dataset)
    np.testing.assert_allclose(shares, np.bincount(dataset.train.labels) / len(dataset.train))


def test_outliers_of_another_set(dataset):
    settings = config(ood__sources=BOTH)
    with settings.unlocked():
        settings.ood.auxiliary.update(NOISE)
    made = detectors.create_detector(settings, models.create_model("mlp", classes=10), dataset)
    per_slice = 16 // jax.device_count()
    assert made.counts == {"block_shuffle": per_slice // 2, "auxiliary": per_slice // 2}
    assert len(made.auxiliary) == 64
    assert detectors.outlier_batch_size(settings, made) == 8
    assert "64 images of uniform noise" in made.notes


GAN = {"block_shuffle": 0.0, "augmix": 0.0, "cutmix": 0.0, "auxiliary": 0.0, "gan": 1.0}


def with_gan(method, on, sources=GAN, **changes):
    """A config with a small GAN among its sources."""
    settings = config(method, ood__sources=sources, **changes)
    options = {"latent": 3, "hidden": (8,)} if on == "features" else {"latent": 3, "width": 2}
    with settings.unlocked():
        settings.ood.gan.update({"on": on, "options": options, "steps": 4, "batch_size": 8, "generators": 2})
        settings.ood.auxiliary.update(NOISE)
    return settings


@pytest.mark.parametrize("sources", [("auxiliary",), ("gan",), ("auxiliary", "gan")])
def test_auxiliary_outliers_generated_ones_or_both(dataset, sources):
    settings = with_gan("tv", "features", {**dict.fromkeys(GAN, 0.0), **dict.fromkeys(sources, 1.0)})
    made = detectors.create_detector(settings, models.create_model("mlp", classes=10, hidden=(16,)), dataset)
    assert made.counts == dict.fromkeys(sources, 16 // jax.device_count() // len(sources))
    assert (made.auxiliary is not None) == ("auxiliary" in sources)
    assert (made.gan is not None) == ("gan" in sources)
    assert made.gan is None or made.gan.places.center.shape == (16,)


@pytest.mark.parametrize("on", ["features", pytest.param("pixels", marks=pytest.mark.slow)])
def test_margins_of_what_a_gan_makes(dataset, monkeypatch, on):
    compile_gans_fast(monkeypatch)
    settings = with_gan("energy", on, init_from="a run")
    run = experiment.create(settings, dataset)
    state = experiment.init_state(settings, run)
    monkeypatch.setattr(ood, "choose_margins", lambda *energies: ood.Margins(*(np.mean(one) for one in energies)))
    measure = functools.partial(detectors.measure, settings, run.detector, dataset, mean=run.mean, std=run.std)
    with jax.numpy_dtype_promotion("standard"):  # for optax
        found = measure(state)
    made = run.detector.gan.examples(found.extra["gan"], 1000)
    made = made.reshape(-1, *made.shape[2:])
    variables = state.evaluated()
    if on == "features":
        logits = run.model.apply(variables, made, method="head")
    else:
        logits = run.model.apply(variables, standardize(made, run.mean, run.std), train=False)
    np.testing.assert_allclose(found.extra["ood"]["m_out"], ood.free_energy(logits).mean(), rtol=2e-2)


def woods(dataset, **options):
    settings = config("woods", ood__sources={**BOTH, "block_shuffle": 0.0}, ood__options=options)
    with settings.unlocked():
        settings.ood.auxiliary.update(NOISE)
    return settings, detectors.create_detector(settings, models.create_model("mlp", classes=10), dataset)


def test_woods_halves_the_training_set_and_hides_outliers_in_the_other_half(dataset):
    _, made = woods(dataset)
    half = len(dataset.train) - len(dataset.train) // 2
    assert abs(len(made.labelled) - half) <= 1
    count = round((len(dataset.train) - len(made.labelled)) / 9)
    assert len(made.auxiliary) == len(dataset.train) - len(made.labelled) + count
    both = [image.tobytes() for image in (*made.labelled.images, *made.auxiliary.images[:-count])]
    assert sorted(both) == sorted(image.tobytes() for image in dataset.train.images)
    with pytest.raises(ValueError, match=r"needs \d+ outliers; there are 64"):
        woods(dataset, share=0.9)


def test_the_penalty_of_woods_moves_its_multipliers_once_an_epoch(dataset, rng):
    _, made = woods(dataset, false_alarms=0.1)
    unit = jnp.asarray(rng.normal(size=(2, 8, 1)), jnp.float32)
    says = seen("tv", rng)._replace(critic_id=unit[0], critic_ood=unit[1])
    carried = {**made.extra, "pretrained_ce": jnp.float32(0.4)}
    terms = ood.woods_terms(unit[0, :, 0], unit[1, :, 0], jnp.float32(1.0), pretrained_ce=0.4, false_alarms=0.1)
    parts = round(len(made.labelled) / 16)
    step = jax.jit(lambda carried: on_one_device(lambda: made.penalty(says, carried)))
    for number in range(1, parts + 1):
        value, metrics, carried = step(carried)
        if number < parts:
            tiny.equal(carried["woods"], ood.initial_woods())
    np.testing.assert_allclose(value, ood.woods_loss(terms, ood.initial_woods()), rtol=1e-5)
    np.testing.assert_allclose([metrics["u_id"], metrics["u_ce"]], [terms.u_id, terms.u_ce], rtol=1e-5)
    expected = ood.update_multipliers(ood.initial_woods(), terms.u_id, terms.u_ce)
    tiny.close(carried["woods"], expected, 1e-5)
    assert float(carried["parts"]) == 0
    assert float(carried["woods"].lam_ce) > 0


@pytest.mark.parametrize(
    "method, changes, message",
    [
        ("tvv", {}, "Did you mean 'tv'"),
        ("tv", {"ood__options": {"clip": 3.0}}, "option of tv must be one of ; got 'clip'"),
        ("tv", {"invariance__augmenter": "flow"}, "train one first and continue it with init_from"),
        ("tv", {"mollify__enabled": True, "mollify__label_form": "extra"}, "extra class does not go with ood.method"),
        ("exposure", {"ood__hidden": (4,)}, "ood.hidden is for a critic"),
        ("tv", {"ood__sources": BOTH}, "needs ood.auxiliary.reader and .path"),
        ("tv", {"ood__ratio": 0.0}, "ood.ratio must be in"),
        ("woods", {}, '"auxiliary" must be the only source'),
    ],
)
def test_bad_settings(dataset, method, changes, message):
    with pytest.raises(ValueError, match=message):
        create(dataset, method, **changes)


def energies(dataset, **changes):
    settings = config("balanced_energy", **changes)
    run = experiment.create(settings, dataset)
    return settings, run, experiment.init_state(settings, run)


def test_margins_and_frequencies_come_from_data(dataset):
    """Black images, of which the fresh classifier is less sure than of digits."""
    settings, run, state = energies(dataset)
    assert jnp.isnan(state.extra["ood"]["m_in"])
    model, variables = run.model, state.evaluated()
    images = jnp.asarray(dataset.validation.images, jnp.float32) / 255
    energy = ood.free_energy(model.apply(variables, (images - run.mean[0]) / run.std[0], train=False))
    noise = jnp.zeros((50, 8, 8, 1)) - run.mean[0] / run.std[0]
    strange = ood.free_energy(model.apply(variables, noise, train=False))
    assert energy.mean() < strange.mean()
    black = data.Split(np.zeros((50, 8, 8, 1), np.uint8), np.zeros(50, np.int32))
    detector = dataclasses.replace(run.detector, auxiliary=black)
    measure = functools.partial(detectors.measure, settings, detector, dataset, mean=run.mean, std=run.std)
    found = measure(state).extra["ood"]
    np.testing.assert_allclose(found["m_in"], energy.mean(), rtol=1e-4)
    np.testing.assert_allclose(found["m_out"], strange.mean(), rtol=1e-4)
    np.testing.assert_allclose(found["prior"].max(), 1)  # one image, one class


def test_given_margins_are_taken(dataset):
    settings, run, state = energies(dataset, ood__options={"m_in": -9.0, "m_out": -4.0})
    found = experiment.first_state(settings, run, state).extra["ood"]
    assert (float(found["m_in"]), float(found["m_out"])) == (-9.0, -4.0)
    settings, run, state = energies(dataset, ood__options={"m_in": -9.0})
    with pytest.raises(ValueError, match="give both m_in and m_out, or neither"):
        experiment.first_state(settings, run, state)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tv")
    settings = config("dv", ood__sources=BOTH, eval__ood__scores=("msp", "tv"), eval__ood__resamples=20)
    with settings.unlocked():
        settings.ood.auxiliary.update(NOISE)
        settings.eval.ood.sets = {
            "gaussian": {"reader": "noise", "name": "gaussian", "limit": 30},
            "foggy": {"reader": "corruption", "name": "contrast:5", "group": "shifted"},
            "mine": {"reader": "folder", "path": ""},
        }
    return folder, settings, train_and_evaluate(settings, folder)


@pytest.mark.slow
def test_a_run_learns_and_detects(trained):
    folder, _, results = trained
    assert set(results["ood"]["table"]["tv"]) == {"gaussian", "foggy"}
    assert {one["name"]: one["group"] for one in results["ood"]["sets"]} == {"gaussian": "far", "foggy": "shifted"}
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert any("train/divergence" in row for row in rows)
    assert (folder / "detectors.npz").is_file()
    assert any("outliers: 64 images of uniform noise" in note for note in results["data"]["notes"])


@pytest.mark.slow
def test_a_finished_run_has_its_critic_and_its_scores(trained):
    folder, _, results = trained
    run = open_run(folder)
    assert isinstance(run.model, ood.CriticClassifier)
    images = jnp.zeros((2, 8, 8, 1))
    features = run.model.apply(run.variables, images, train=False, method="features")
    logits = run.model.apply(run.variables, features, method="head")
    states = ood.scores.load_states(folder / "detectors.npz", {"tv": ood.scores.tv.State})
    scores = ood.scores.tv.score(states["tv"], run.model.apply(run.variables, features, method="judge"), logits)
    assert scores.shape == (2,)
    assert results["divergence"]["test"] <= results["divergence"]["maximum"]


@pytest.mark.slow
def test_a_stopped_run_goes_on_bit_for_bit(trained, tmp_path, monkeypatch):
    folder, settings, _ = trained
    tiny.stop_after_step_six(settings, tmp_path, monkeypatch)
    train_and_evaluate(settings, tmp_path)
    whole, parts = (tiny.last_state(where, settings) for where in (folder, tmp_path))
    tiny.equal(whole, parts)
    assert float(whole.extra["ood"]["average"]) != 0


@pytest.mark.slow
def test_the_head_alone_learns_on_a_classifier_of_another_run(trained, tmp_path):
    folder = trained[0]
    settings = config("tv", ood__mode="head", init_from=str(folder))
    train_and_evaluate(settings, tmp_path)
    before, after = (read_variables(where)["params"] for where in (folder, tmp_path))
    tiny.equal(before["classifier"], after["classifier"])
    assert any((a != 0).any() for a in jax.tree.leaves(after["critic"]["outputs"]))


@pytest.mark.slow
@pytest.mark.parametrize("on", ["features", "pixels"])
def test_a_run_with_a_gan_goes_on_bit_for_bit(trained, tmp_path, monkeypatch, on):
    mode = "head" if on == "features" else "joint"
    settings = with_gan("tv", on, {**GAN, "auxiliary": 1.0}, init_from=str(trained[0]), ood__mode=mode)
    with jax.numpy_dtype_promotion("standard"):  # for optax
        train_and_evaluate(settings, tmp_path / "whole")
        tiny.stop_after_step_six(settings, tmp_path / "parts", monkeypatch)
        # What was learned is in the checkpoint: nothing is learned again.
        monkeypatch.setattr(ood, "fit_gan", None)
        train_and_evaluate(settings, tmp_path / "parts")
    whole, parts = (tiny.last_state(tmp_path / name, settings) for name in ("whole", "parts"))
    tiny.equal(whole, parts)
    assert np.isfinite(whole.extra["gan"].center).all()
    assert (tmp_path / "whole" / "negatives.png").is_file() == (on == "pixels")


@pytest.mark.slow
def test_woods_continues_a_classifier_under_its_constraints(trained, tmp_path):
    settings = config("woods", init_from=str(trained[0]), ood__sources={**BOTH, "block_shuffle": 0.0})
    with settings.unlocked():
        settings.ood.auxiliary.update(NOISE)
        settings.eval.ood.scores, settings.eval.ood.resamples = ("energy",), 0
        settings.eval.ood.sets = {"gaussian": {"reader": "noise", "name": "gaussian", "limit": 30}}
    results = train_and_evaluate(settings, tmp_path)
    state = tiny.last_state(tmp_path, settings)
    assert float(state.extra["ood"]["pretrained_ce"]) > 0
    assert float(state.extra["ood"]["woods"].beta_id) != 1  # an epoch has ended
    assert "divergence" not in results
    assert 0 <= results["ood"]["table"]["energy"]["gaussian"]["auroc"] <= 1
