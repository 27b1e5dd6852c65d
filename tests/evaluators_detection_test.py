"""Detection of known and unknown sets by many scores: numbers against the metrics themselves, notes, thresholds."""

import json
import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from mollax import data, metrics, models, ood
from mollax.data import Split
from mollax.data.codec import recode_jpeg
from mollax.evaluators import DetectionEvaluator, FeaturePass, OtherSet, parse_score
from mollax.evaluators.detection import _histogram
from mollax.ood.scores import knn, tv

SCORES = ("msp", "energy", "knn:k=3", "odin:epsilon=0.0", "odin", "mahalanobis:shrinkage=0.1", "rankfeat")


@pytest.fixture(scope="module")
def dataset():
    return data.load("digits", test_limit=80)


def sets():
    """Noise, and digits among which are ten of the training set."""
    noise = data.load_foreign("noise", shape=(8, 8, 1), name="uniform", limit=40)
    whole = data.load("digits")
    mixed = np.concatenate([255 - np.asarray(whole.test.images[:50]), np.asarray(whole.train.images[:10])])
    return {
        "noise": OtherSet(noise.split, "far", noise.notes),
        "inverted": OtherSet(Split(mixed, np.zeros(60, np.int32)), "near"),
    }


def network(critic=True):
    net = models.create_model("mlp", classes=10, hidden=(16,))
    model = ood.CriticClassifier(classifier=net, critic=ood.Critic(10, hidden=(3,))) if critic else net
    init = {"method": "start"} if critic else {"train": False}
    variables = model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)), **init)
    return model, jax.tree.map(lambda leaf: leaf + 0.05 * jax.random.normal(jax.random.key(1), leaf.shape), variables)


def evaluator(dataset, model, **options):
    settings = {"scores": SCORES, "resamples": 50, "bank": 200, "batch_size": 64, **options}
    return DetectionEvaluator(model, dataset, settings.pop("sets", sets()), mean=tiny.MEAN, std=tiny.STD, **settings)


@pytest.fixture(scope="module")
def outcome(dataset):
    model, variables = network()
    made = evaluator(dataset, model, scores=(*SCORES, "tv", "tv:variant=extra"))
    return made, model, variables, made.run(variables)


def test_numbers_are_those_of_the_metrics(outcome, dataset):
    _, model, variables, block = outcome
    one = FeaturePass(model, image_shape=(8, 8, 1), mean=tiny.MEAN, std=tiny.STD, batch_size=50)
    bank = data.take_evenly(dataset.train, 200)
    passes = [one.run(variables, split) for split in (bank, dataset.validation, dataset.test, sets()["noise"].split)]
    state = knn.fit(passes[0].features, passes[0].logits, np.asarray(bank.labels), None, k=3)
    held, known, strange = (np.asarray(knn.score(state, p.features, p.logits)) for p in passes[1:])
    cell = block["table"]["knn:k=3"]["noise"]
    summary = metrics.detection_summary(known, strange)
    for name, value in summary.items():
        np.testing.assert_allclose(cell[name], value, rtol=1e-4, err_msg=name)
    row = next(row for row in block["scores"] if row["name"] == "knn:k=3")
    np.testing.assert_allclose(row["threshold"], metrics.accept_threshold(held), rtol=1e-4)
    assert row["accepted"] == np.mean(known <= row["threshold"])
    assert cell["flagged"] == np.mean(strange > row["threshold"])
    assert row["microseconds"] > 0


def test_the_critic_is_asked_where_there_is_one(outcome, dataset):
    _, model, variables, block = outcome
    one = FeaturePass(model, image_shape=(8, 8, 1), mean=tiny.MEAN, std=tiny.STD, batch_size=50)
    parts = [one.run(variables, split) for split in (dataset.test, sets()["noise"].split)]
    for name, variant in (("tv", "prediction"), ("tv:variant=extra", "extra")):
        state = tv.fit(parts[0].critic, parts[0].logits, np.asarray(dataset.test.labels), None, variant=variant)
        known, strange = (np.asarray(tv.score(state, jnp.asarray(p.critic), jnp.asarray(p.logits))) for p in parts)
        np.testing.assert_allclose(block["table"][name]["noise"]["auroc"], metrics.auroc(known, strange), rtol=1e-6)


def test_images_of_the_training_set_are_left_out_and_said(outcome):
    block = outcome[3]
    about = {one["name"]: one for one in block["sets"]}
    assert about["inverted"]["images"] == 50
    assert about["inverted"]["notes"] == ["10 images that are also in training left out"]
    assert about["noise"]["group"] == "far"
    assert block["images"] == 80
    assert block["bank"] == 200


def test_outliers_that_were_learned_from_are_left_out(dataset):
    noise = sets()["noise"]
    some = data.take_evenly(noise.split, 15)
    model, variables = network(critic=False)
    made = evaluator(dataset, model, sets={"noise": noise}, outliers=some, scores=("msp",), resamples=0)
    about = made.run(variables)["sets"][0]
    assert about["images"] == 25
    assert "15 images that are also in outliers that were learned from left out" in about["notes"]


def test_intervals_hold_the_number_and_compare_with_the_first(outcome):
    block = outcome[3]
    for score, cells in block["table"].items():
        for cell in cells.values():
            low, high = cell["intervals"]["auroc"]
            assert low <= cell["auroc"] <= high
            assert ("against_first" in cell) == (score != "msp")
            assert len(cell["curve"]["tpr"]) == len(cell["curve"]["fpr"]) == len(cell["curve"]["precision"])
    for row in block["scores"]:
        shares = row["histogram"]["shares"]
        assert set(shares) == {"test", "noise", "inverted"}
        np.testing.assert_allclose([sum(share) for share in shares.values()], 1, atol=1e-3)


def test_input_steps_are_chosen_on_validation_images(outcome):
    chosen = {row["name"]: row["chosen"] for row in outcome[3]["scores"]}
    assert chosen["odin:epsilon=0.0"] == {}
    assert chosen["odin"]["epsilon"] in [round(0.0004 * i, 4) for i in range(13)]


def test_what_was_fitted_can_be_kept(outcome):
    assert set(outcome[0].states) == set(outcome[3]["table"])


def test_a_score_that_cannot_be_fitted_does_not_cost_the_others(dataset, caplog):
    model, variables = network(critic=False)
    with caplog.at_level(logging.WARNING):
        block = evaluator(dataset, model, scores=("msp", "knn:k=500"), resamples=0).run(variables)
    assert list(block["table"]) == ["msp"]
    assert "500" in block["left_out"]["knn:k=500"]
    assert "knn:k=500 is left out" in caplog.text
    assert "intervals" not in block["table"]["msp"]["noise"]


@pytest.mark.parametrize("which", ["set noise", "validation", "test"])
def test_a_score_that_is_nan_on_one_image_does_not_cost_the_others(dataset, monkeypatch, which):
    """Every split is asked before the score counts, and its state is not kept."""
    block, made = run_with_changed_energy(dataset, monkeypatch, lambda scores: scores[which].put(7, np.nan))
    assert list(block["table"]) == list(made.states) == ["msp"]
    assert "1 of " in block["left_out"]["energy"]
    assert f"scores of {which} are NaN, the first is of image 7" in block["left_out"]["energy"]


def test_a_score_without_a_finite_threshold_is_left_out(dataset, monkeypatch):
    block, _ = run_with_changed_energy(dataset, monkeypatch, lambda scores: scores["validation"].fill(np.inf))
    assert "threshold on validation images would be inf" in block["left_out"]["energy"]


def test_infinite_scores_can_be_written_down(dataset, monkeypatch):
    def change(scores):
        scores["test"][:8] = np.inf
        scores["set noise"][:10] = -np.inf

    block, _ = run_with_changed_energy(dataset, monkeypatch, change)
    assert block["left_out"] == {}
    json.dumps(block, allow_nan=False)
    shares = block["scores"][1]["histogram"]["shares"]
    assert shares["test"][-1] >= 0.1
    assert shares["noise"][0] >= 0.25


def run_with_changed_energy(dataset, monkeypatch, change):
    """What a run says if `change` is applied to the energies of all splits; and the evaluator."""
    model, variables = network(critic=False)
    made = evaluator(dataset, model, scores=("msp", "energy"), resamples=0)
    score_all = made._score_all

    def changed(name, *rest):
        scored, seconds = score_all(name, *rest)
        scored = {which: np.array(values) for which, values in scored.items()}
        if name == "energy":
            change(scored)
        return scored, seconds

    monkeypatch.setattr(made, "_score_all", changed)
    return made.run(variables), made


def test_histograms_put_infinities_into_the_end_bins(rng):
    known, strange = rng.normal(size=1000), rng.normal(size=200)
    plain = _histogram({"test": known, "set a": strange}, ("a",))
    counts = np.histogram(np.clip(known, plain["edges"][0], plain["edges"][-1]), plain["edges"])[0]
    np.testing.assert_allclose(plain["shares"]["test"], counts / 1000, atol=1e-5)
    infinite = np.concatenate([strange, [np.inf] * 250, [-np.inf] * 50])
    made = _histogram({"test": known, "set a": infinite}, ("a",))
    assert made["edges"] == plain["edges"]
    np.testing.assert_allclose(made["shares"]["a"][1:-1], 0.4 * np.array(plain["shares"]["a"][1:-1]), atol=1e-5)
    np.testing.assert_allclose(made["shares"]["a"][-1], 0.5 + 0.4 * plain["shares"]["a"][-1], atol=1e-5)
    np.testing.assert_allclose(made["shares"]["a"][0], 0.1 + 0.4 * plain["shares"]["a"][0], atol=1e-5)


def test_a_histogram_of_infinities_alone():
    values = {"test": np.full(3, -np.inf, np.float32), "set a": np.float32([np.inf, np.inf, -np.inf, np.inf])}
    made = _histogram(values, ("a",))
    assert np.isfinite(made["edges"]).all()
    assert (made["shares"]["test"][0], made["shares"]["a"][0], made["shares"]["a"][-1]) == (1, 0.25, 0.75)


def test_known_classes_under_other_conditions_are_compared_unless_they_were_made_of_test_images(dataset):
    images = np.concatenate([np.asarray(dataset.train.images[:5]), 255 - np.asarray(dataset.test.images[:20])])
    folder = OtherSet(Split(images, np.zeros(25, np.int32)), "shifted")
    made = OtherSet(dataset.test, "shifted", made_of_test=True)
    about = evaluator(dataset, network(critic=False)[0], sets={"folder": folder, "made": made})
    assert {name: len(split) for name, split in about._sets.items()} == {"folder": 20, "made": 80}
    assert about._notes == {"folder": ("5 images that are also in training left out",), "made": ()}


def test_images_are_also_compared_as_they_were_before_a_codec(dataset):
    images = np.concatenate([255 - np.asarray(dataset.test.images[:20]), np.asarray(dataset.train.images[:20])])
    stored = Split(images, np.arange(40, dtype=np.int32))
    recoded = Split(recode_jpeg(images, 50), stored.labels)
    assert not {image.tobytes() for image in recoded.images} & {image.tobytes() for image in dataset.train.images}
    sets = {"jpeg": OtherSet(recoded, "near", stored=stored)}
    made = evaluator(dataset, network(critic=False)[0], sets=sets, images=10)
    expected = data.take_evenly(recoded, 10).images[:5]
    np.testing.assert_array_equal(made._sets["jpeg"].images, expected)
    assert made._notes["jpeg"] == ("5 images that are also in training left out",)


def test_a_set_of_known_images_alone_is_refused(dataset):
    own = OtherSet(data.take_evenly(dataset.train, 9), "near")
    with pytest.raises(ValueError, match=r"left of eval\.ood\.sets\.own: 9 images that are also in training left out"):
        evaluator(dataset, network(critic=False)[0], sets={"own": own})


@pytest.mark.parametrize(
    "text, expected",
    [
        ("energy", ("energy", {})),
        ("ash:variant=b,percentile=65", ("ash", {"variant": "b", "percentile": 65})),
        ("knn:normalize=False,k=1", ("knn", {"normalize": False, "k": 1})),
    ],
)
def test_scores_are_read(text, expected):
    assert parse_score(text) == expected


@pytest.mark.parametrize(
    "options, message",
    [
        ({"scores": ("enrgy",)}, "Did you mean 'energy'"),
        ({"scores": ("knn:kk=3",)}, "option of knn must be one of 'k', 'normalize'; got 'kk'"),
        ({"scores": ("knn:k",)}, "\"name:option=value\"; got 'knn:k'"),
        ({"scores": ("tv",)}, "'tv' needs a critic: train with ood.method"),
        ({"scores": ()}, "needs at least one of eval.ood.sets"),
        ({"sets": {}}, "needs at least one of eval.ood.sets"),
        ({"bank": -1}, "eval.ood.bank must be at least 0"),
        ({"sets": {"a": OtherSet(Split(np.zeros((1, 8, 8, 1), np.uint8), np.zeros(1, np.int32)), "remote")}}, "'near'"),
    ],
)
def test_bad_settings(dataset, options, message):
    with pytest.raises(ValueError, match=message):
        evaluator(dataset, network(critic=False)[0], **options)
