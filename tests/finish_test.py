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
        assert "evaluations.clean.error: 0.1 before, 0.2 now" in caplog.text
        caplog.clear()
        finish._log_agreement(results(0.1), results(0.1))
        assert "All numbers equal" in caplog.text


def test_every_block_is_compared(caplog):
    def made(ekld, *, microseconds, **more):
        rotations = {"expected_kl": {"ekld": ekld}, "images": 5}
        scores = {"msp": {"microseconds": microseconds, "auroc": 0.9}}
        return {**results(0.1), "run": {"wall_seconds": microseconds}, "rotations": rotations, "ood": scores, **more}

    before = made([0.1, 0.2, 0.3], microseconds=5.0, drift={"power": 0.5})
    with caplog.at_level(logging.INFO):
        finish._log_agreement(before, made((0.1, 0.2, 0.3), microseconds=7.0, drift={"power": 0.5}))
        assert "All numbers equal those of the results on file." in caplog.text
        caplog.clear()
        finish._log_agreement(before, made([0.1, 0.25, 0.35], microseconds=5.0, divergence={"value": 1.0, "n": 2}))
        assert "rotations.expected_kl.ekld: 0.2 before, 0.25 now (and 1 of its 3 values more)" in caplog.text
        assert "These fields are not on file before: divergence." in caplog.text
        assert "These fields are no longer there: drift." in caplog.text
        assert "equal" not in caplog.text
        caplog.clear()
        finish._log_agreement(before, made([0.1, 0.2], microseconds=5.0))
        assert "rotations.expected_kl.ekld: 3 values before, 2 now" in caplog.text
        caplog.clear()
        wide = {f"score {i}": float(i) for i in range(30)}
        finish._log_agreement({"ood": wide}, {"ood": {name: value + 1 for name, value in wide.items()}})
        assert "and 10 more fields" in caplog.text
