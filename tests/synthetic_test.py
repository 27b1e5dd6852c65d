"""The source "gan": what it learns from and keeps, that features stay where they are, and the sheet of samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from compiling import compile_gans_fast
from PIL import Image

from mollax import experiment, models, synthetic
from mollax.image import standardize
from mollax.ood import draw_negatives

OFF = {"mollify__enabled": False, "model__options": {"hidden": (16,)}, "eval__stress": ()}
SMALL = {"steps": 4, "batch_size": 8, "images": 40, "generators": 2}
OPTIONS = {"features": {"latent": 3, "hidden": (8,)}, "pixels": {"latent": 3, "width": 2}}


def made(on, **changes):
    """A config, the classifier, and what generates outliers for it."""
    config = tiny.config(**OFF, **changes)
    with config.unlocked():
        config.ood.method = "tv"
        config.ood.gan.update({**SMALL, "on": on, "options": OPTIONS[on]})
    network = models.create_model("mlp", classes=10, hidden=(16,))
    return config, network, synthetic.create_gan(config.ood.gan, network, (8, 8, 1))


@pytest.fixture(scope="module")
def dataset():
    return experiment.load_data(tiny.config())


@pytest.fixture(autouse=True)
def fast_gans(monkeypatch):
    compile_gans_fast(monkeypatch)


def learn(dataset, on, **changes):
    config, network, generating = made(on, **changes)
    run = experiment.create(tiny.config(**OFF), dataset)
    state = experiment.init_state(tiny.config(**OFF), run)
    with jax.numpy_dtype_promotion("standard"):  # for optax
        learned = synthetic.learn(config, generating, network, dataset, state, mean=run.mean, std=run.std)
    return generating, run, state, learned.extra["gan"]


def test_generators_imitate_features_of_the_classifier(dataset):
    generating, run, state, kept = learn(dataset, "features", init_from="a run")
    chosen = np.linspace(0, len(dataset.train) - 1, 40).astype(int)
    images = standardize(jnp.asarray(dataset.train.images[chosen], jnp.float32) / 255, run.mean, run.std)
    features = run.model.apply(state.evaluated(), images, train=False, method="features")
    np.testing.assert_allclose(kept.center, features.mean(0), rtol=1e-4, atol=1e-5)
    assert float(kept.least) == 0  # after a ReLU
    examples = generating.examples(kept, 30)
    assert examples.shape == (2, 30, 16)
    assert float(examples.min()) == 0
    assert (examples[0] != examples[1]).any()
    # Each step draws from one of them, and all are drawn.
    each = jax.random.split(jax.random.key(0), 3)
    chosen = set()
    for seed in range(8):
        drawn = generating.draw(jax.random.key(seed), each, kept)
        possible = [draw_negatives(each, kept, which, gan=generating.gan) for which in range(2)]
        chosen |= {which for which, one in enumerate(possible) if float(jnp.abs(one - drawn).max()) < 1e-5}
    assert chosen == {0, 1}


def test_places_are_those_of_what_is_learned(dataset):
    generating, _, _, kept = learn(dataset, "pixels")
    assert jax.tree.structure(generating.places) == jax.tree.structure(kept)
    for place, leaf in zip(jax.tree.leaves(generating.places), jax.tree.leaves(kept), strict=True):
        assert (place.shape, place.dtype) == (leaf.shape, leaf.dtype)
        assert jnp.isnan(place).all()
    assert generating.number == 2
    tiny.equal(learn(dataset, "pixels")[3], kept)  # random by the seed alone


def test_a_sheet_has_a_line_for_each_generator(dataset, tmp_path):
    generating, _, _, kept = learn(dataset, "pixels")
    synthetic.write_sheet(tmp_path / "sheet.png", generating, kept)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape == (2 * 9 * 8, 12 * 9 * 8)  # two lines of twelve framed pictures, each pixel 8 times as large
    expected = np.rint(255 * np.asarray(generating.examples(kept, 12)))
    np.testing.assert_allclose(sheet[9 * 8 : -8 : 8, 9 * 8 : 17 * 8 : 8], expected[1, 1, :, :, 0], atol=1)


def test_bad_settings(dataset):
    with pytest.raises(ValueError, match=r"name its run by init_from, or set ood.gan.on"):
        learn(dataset, "features")
    config, network, _ = made("features")
    for field, value, message in (
        ("on", "feature", "Did you mean 'features'"),
        ("options", {"width": 4}, "option of ood.gan must be one of .latent., .hidden."),
        ("generators", 0, "count must be at least 1"),
    ):
        with config.unlocked():
            settings = config.ood.gan.copy_and_resolve_references()
        with settings.unlocked():
            settings[field] = value
        with pytest.raises(ValueError, match=message):
            synthetic.create_gan(settings, network, (8, 8, 1))
