"""What an audit finds in digits that were changed: numbers, their parts, copies, pictures."""

import json

import audit_images
import numpy as np
import pytest
import tiny
from scipy.special import logsumexp

from mollax.auditing import assemble
from mollax.auditing.prepare import prepare


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("assembled")
    audit_images.write(folder / "reference", count=120)
    audit_images.write(folder / "new", count=30, first=130, below="plain")
    audit_images.write(folder / "new", count=30, first=160, below="turned", change=lambda x: np.rot90(x).copy())
    audit_images.write(folder / "new", count=3, below="copied")
    return folder


def run(reference, new, **changes):
    settings = audit_images.settings(reference, new, **{"kernel": "gaussian:sigma=.15", "baselines": False, **changes})
    prepared = prepare(settings, audit_images.silent)
    return prepared, assemble.measure_all(settings, prepared, audit_images.silent)


@pytest.fixture(scope="module")
def found(folder):
    return run(folder / "reference", folder / "new", new_limit=0, baselines=True)


def brute(points, bank, sigma):
    squares = np.square(points[:, None].astype(np.float64) - bank[None]).sum(2)
    d = bank.shape[1]
    return logsumexp(-squares / (2 * sigma**2), axis=1) - np.log(len(bank)) - d / 2 * np.log(2 * np.pi * sigma**2)


def test_numbers_are_those_of_the_formula(found):
    prepared, result = found
    bank, held, new = prepared.reference.bank.points, prepared.reference.held.points, prepared.new_part.points
    means = [-brute(side, bank, 0.15).mean() for side in (held, new)]
    excess = result.block["excess"]
    assert (excess["held"], excess["new"]) == pytest.approx(means, rel=1e-4)
    assert excess["value"] == pytest.approx(means[1] - means[0], rel=1e-3)
    assert excess["per_dimension"] == pytest.approx(excess["value"] / 64)
    spread = brute(held, bank, 0.15).std(ddof=1)
    assert result.block["effect"] == pytest.approx(excess["value"] / spread, rel=1e-3)
    assert result.block["flagged"] == pytest.approx(
        (-brute(new, bank, 0.15) > np.quantile(-brute(held, bank, 0.15), 0.95)).mean(), abs=0.02
    )
    assert excess["p_value"] == 0.01
    assert result.block["verdict"].startswith("Different beyond chance (p = 0.010)")


def test_the_changed_folder_is_to_blame(found):
    block = found[1].block
    assert block["folders_within_classes"]
    assert [row["name"] for row in block["folders"]] == ["turned", "plain", "copied"]
    assert [row["images"] for row in block["folders"]] == [30, 30, 3]
    parts = block["classes"]
    assert parts["label_shift"]["value"] + parts["within"]["value"] == pytest.approx(block["excess"]["value"], rel=1e-4)
    assert set(block["baselines"]) == {"MMD", "Kolmogorov-Smirnov", "classifier"}


def test_copies_are_listed(found):
    """The first three of 120 reference images, whether they came to lie in the bank or in the held-out part."""
    prepared, result = found
    inside = {"bank": set(prepared.reference.bank.files), "held-out": set(prepared.reference.held.files)}
    leaked = result.block["leakage"]
    assert leaked["count"] == len(leaked["pairs"]) == 3
    assert leaked["held_out"] == sum(pair["part"] == "held-out" for pair in leaked["pairs"])
    for pair in leaked["pairs"]:
        assert "copied" in pair["new"]
        assert pair["reference"] in inside[pair["part"]]
        assert pair["reference"] == pair["new"].replace("copied/", "")


def test_the_reference_itself_is_all_copies(folder, tmp_path):
    prepared, result = run(folder / "reference", folder / "reference", new_limit=0, top=0)
    leaked = result.block["leakage"]
    assert (leaked["count"], leaked["held_out"]) == (120, len(prepared.reference.held)) == (120, 24)
    assert result.block["verdict"].startswith("Copies: 120 of 120 new images are reference images, pixel for pixel")


def test_few_new_images(folder, tmp_path):
    audit_images.write(tmp_path / "few", count=3, first=130)
    _, result = run(folder / "reference", tmp_path / "few")
    assert result.block["entropy_aware"] is None
    assert any("24 held-out and 3 new images" in note for note in result.block["notes"])
    assert json.dumps(result.block, allow_nan=False)


def test_pictures_are_ordered(found):
    _, result = found
    assert len(result.most["names"]) == len(result.least["names"]) == 3
    assert result.most["contributions"] == sorted(result.most["contributions"], reverse=True)
    assert result.least["contributions"] == sorted(result.least["contributions"])
    assert all("turned" in name for name in result.most["names"])
    assert result.most["nearest"].shape == (3, 8, 8, 1)


def test_the_block_is_json(found):
    assert json.loads(json.dumps(found[1].block, allow_nan=False))["mollax"]


def test_images_near_the_mean_drift_downwards(folder, tmp_path):
    images, labels = tiny.digits(500)
    mean = images[labels < 3, :, :, 0].mean(axis=0)
    audit_images.write(tmp_path / "dull", count=60, first=130, change=lambda x: ((x + mean) / 2).astype(np.uint8))
    _, result = run(folder / "reference", tmp_path / "dull", kernel="gaussian:sigma=1.5")
    assert result.block["excess"]["high"] < 0
    assert "more typical than held-out training images" in result.block["verdict"]


def test_a_kernel_of_standardized_pixels_has_densities_of_pixels(folder):
    """The mollifier at small t is Gaussian noise of scale sigma_t std: means of both agree but for the shrinking."""
    both, result = run(folder / "reference", folder / "new", kernel="mollifier:t=0.2", top=0)
    scored = result.scored
    bank, held = both.reference.bank, both.reference.held
    std = (bank.images / 255).std()
    shrunk = np.cos(np.pi * 0.1) * (bank.points - bank.points.mean()) + bank.points.mean()
    expected = brute(held.points, shrunk, np.sin(np.pi * 0.1) * std)
    np.testing.assert_allclose(scored.held_log, expected, rtol=2e-3)


@pytest.mark.slow
def test_an_averaged_kernel_runs(folder):
    _, result = run(folder / "reference", folder / "new", kernel="averaged:floor=.3", top=1)
    assert np.isfinite(result.scored.new_log).all()
    assert result.block["kernel"]["name"] == "averaged"
