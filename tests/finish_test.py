"""The end of a run: samples for the report, and whether an evaluation agrees with the results on file."""

import logging

import numpy as np
import pytest
import tiny

from mollax import experiment, finish


@pytest.fixture(scope="module")
def run():
    return experiment.create(tiny.config(), experiment.load_data(tiny.config()))


def test_samples_show_what_the_network_saw(run):
    samples = finish.mollified_samples(tiny.config(), run, count=24)
    assert samples["images"].shape == samples["original"].shape == (24, 8, 8, 1)
    assert samples["images"].min() >= 0
    assert samples["images"].max() <= 1
    gamma = np.where(
        np.array(samples["role"]) == "noise",
        np.sin(np.pi * samples["t"] / 2) ** 2,
        np.where(np.array(samples["role"]) == "blur", samples["t"], 0),
    )
    np.testing.assert_allclose(samples["weight"], 1 - gamma + gamma / 10, atol=1e-5)
    assert set(samples["role"]) == {"none", "noise", "blur"}
    assert samples["label"] == [
        run.dataset.class_names[i] for i in run.dataset.train.labels[np.linspace(0, 179, 24).astype(int)]
    ]


def test_no_samples_without_mollification(run):
    assert finish.mollified_samples(tiny.config(mollify__enabled=False), run) is None


def results(error):
    return {"evaluations": {"clean": {"error": error, "nll": 1.0, "brier": 0.5, "ece": 0.1}}}


def test_disagreement_is_named(caplog):
    with caplog.at_level(logging.INFO):
        finish._log_agreement(results(0.1), results(0.2))
        assert "clean.error: 0.1 before, 0.2 now" in caplog.text
        caplog.clear()
        finish._log_agreement(results(0.1), results(0.1))
        assert "All numbers equal" in caplog.text
