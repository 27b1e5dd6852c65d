"""Log-densities of both sides: what a saved reference may lend, and one kernel for choice, audit and curve."""

import dataclasses

import audit_images
import jax
import numpy as np
import pytest

from mollax.auditing import kernels, measure, scoring
from mollax.auditing.prepare import prepare
from mollax.auditing.saved import save
from mollax.auditing.space import Features
from mollax.drift.averaged_mollifier import AveragedMollifier


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scored")
    audit_images.write(folder / "reference", count=60)
    audit_images.write(folder / "new", count=20, first=130)
    return folder


def prepared(folder, **changes):
    settings = audit_images.settings(folder / "reference", folder / "new", **changes)
    return settings, prepare(settings, audit_images.silent)


def lent(both, text, strength, **changes):
    """The sides with a reference that was saved with a kernel and held-out log-densities of 0."""
    known = np.zeros(len(both.reference.held))
    reference = dataclasses.replace(
        both.reference, kernel=both.family.text, strength=strength, held_log=known, **changes
    )
    family = kernels.family(text, shape=(8, 8, 1), run=None)
    return both._replace(reference=reference, family=family), known


def test_saved_densities_are_used_again(folder):
    settings, both = prepared(folder, kernel="gaussian:sigma=.15")
    again, known = lent(both, "gaussian:sigma=.15", 0.15)
    scored = scoring.score(settings, again, audit_images.silent)
    assert scored.held_log is known
    assert scored.how == "as saved with the reference"
    other, known = lent(both, "gaussian:sigma=.2", 0.15)
    scored = scoring.score(settings, other, audit_images.silent)
    assert scored.held_log is not known
    assert scored.how == "as asked for"


def test_an_averaged_kernel_is_scored_anew(folder):
    """Its nodes are fitted to the new images, too."""
    settings, both = prepared(folder, kernel="averaged:floor=.3")
    again, known = lent(both, "averaged:floor=.3", 0.3)
    scored = scoring.score(settings, again, audit_images.silent)
    fresh = scoring.score(settings, both, audit_images.silent)
    assert scored.held_log is not known
    np.testing.assert_array_equal(scored.held_log, fresh.held_log)
    assert scored.how == "as saved with the reference"


def test_draws_of_a_run_are_scored_anew(folder, monkeypatch):
    settings, both = prepared(folder, kernel="gaussian:sigma=.15")
    again, known = lent(both, "gaussian:sigma=.15", 0.15, seed=7)
    monkeypatch.setattr(scoring.kernels, "choose_finely", lambda found, *_, **__: (found, 0.15, "as asked for"))
    again = again._replace(family=dataclasses.replace(again.family, name="run"))
    scored = scoring.score(settings, again, audit_images.silent)
    assert scored.held_log is not known
    assert scored.how == "as saved with the reference, where it was chosen with the draws of seed 7"


def test_a_kept_run_gives_what_an_audit_without_a_file_gives(folder, tmp_path, tmp_path_factory, monkeypatch):
    """Saved with one seed, audited with another: the held-out side, too, is measured with the draws of the latter."""
    monkeypatch.setattr(jax, "local_devices", lambda: jax.devices()[:1])  # compiles sooner
    changes = {"workdir": audit_images.write_run(tmp_path_factory), "kernel": "run:sigma=.2,draws=2", "limit": 40}
    settings = audit_images.settings(new=folder / "new", **changes)
    both = prepare(settings, audit_images.silent)
    kept = tmp_path / "kept.npz"
    save(
        kept,
        both.reference,
        both.space,
        kernel=both.family.text,
        strength=0.2,
        held_log=np.zeros(len(both.reference.held)),
    )
    settings = audit_images.settings(kept, folder / "new", workdir=changes["workdir"], seed=5, new_limit=15)
    again = prepare(settings, audit_images.silent)
    scored = scoring.score(settings, again, audit_images.silent)
    drawn = kernels.family("run:sigma=.2,draws=2", shape=(8, 8, 1), run=Features(changes["workdir"]).run, seed=5)
    fresh = measure.densities(scored.held, scored.bank, drawn.make(0.2))
    np.testing.assert_allclose(scored.held_log, fresh, rtol=1e-5)
    assert scored.how.endswith("where it was chosen with the draws of seed 0")


def test_the_dot_of_the_curve_is_the_audit(folder):
    """Far fewer nodes than the kernel needs at first: what was fitted for the audit also makes the curve."""
    settings, both = prepared(folder, kernel="averaged:floor=.1")
    coarse = dataclasses.replace(
        both.family, make=lambda s: AveragedMollifier((8, 8, 1), float(s), noise_nodes=4, blur_nodes=2)
    )
    scored = scoring.score(settings, both._replace(family=coarse), audit_images.silent)
    assert scored.kernel.noise_nodes > 4
    reference = both.reference
    curve = measure.theta_curve(
        scored.family,
        scored.strength,
        (reference.bank, scored.bank),
        (reference.held, scored.held),
        scored.new,
        offset=scored.offset,
    )
    place = curve["theta"].index(scored.strength)
    assert curve["held"][place] == pytest.approx(-scored.held_log.mean(), abs=1e-3)
    assert curve["new"][place] == pytest.approx(-scored.new_log.mean(), abs=1e-3)


def test_the_strength_can_be_chosen_on_images_of_deployment(folder, tmp_path):
    """Noisy ones lie farther from the bank than its own: they ask for a wider kernel."""
    rng = np.random.default_rng(0)

    def noisy(pixels):
        return np.clip(pixels + rng.normal(0, 60, pixels.shape), 0, 255).astype(np.uint8)

    audit_images.write(tmp_path / "deployed", count=30, first=200, change=noisy)
    settings, both = prepared(folder, theta_from=str(tmp_path / "deployed"))
    scored = scoring.score(settings, both, audit_images.silent)
    plain = scoring.score(*prepared(folder), audit_images.silent)
    assert "chosen by the likelihood of 30 images of --theta-from" in scored.how
    assert scored.strength > 1.1 * plain.strength
