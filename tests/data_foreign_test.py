"""Other sets brought to the shape, channels and codec of a first one; classes, limits and shared images."""

import numpy as np
import pytest
from PIL import Image

from mollax.data import LazyImages, Split, load_foreign, take_evenly, without_shared
from mollax.data.codec import recode_jpeg


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Twelve RGB images of 8 pixels, two a class; those of class k are 20 k + the image's number."""
    path = tmp_path_factory.mktemp("foreign") / "set.npz"
    labels = np.repeat(np.arange(6), 2)
    images = np.broadcast_to((20 * labels + np.arange(12))[:, None, None, None], (12, 8, 8, 3)).astype(np.uint8)
    np.savez(
        path, train_images=images[::2], train_labels=labels[::2], test_images=images[1::2], test_labels=labels[1::2]
    )
    return path, images


def load(path, **options):
    return load_foreign("npz", **{"shape": (8, 8, 3), "path": path, **options})


def test_takes_the_named_split_or_all(archive):
    path, images = archive
    np.testing.assert_array_equal(load(path).split.images, images[1::2])
    np.testing.assert_array_equal(load(path, split="train").split.images, images[::2])
    everything = load(path, split="all")
    assert len(everything.split) == 12
    assert sorted(everything.split.images[:, 0, 0, 0]) == sorted(images[:, 0, 0, 0])
    missing = load(path, split="validation")
    assert len(missing.split) == 12
    assert "it has no validation split" in missing.notes


def test_is_brought_to_the_first_sets_shape(archive):
    path, _ = archive
    made = load(path, shape=(4, 4, 1))
    assert made.split.images.shape == (6, 4, 4, 1)
    assert any("resized" in note for note in made.notes)


def test_goes_through_the_first_sets_codec(archive, rng):
    path, images = archive
    made = load(path, jpeg_quality=50)
    np.testing.assert_array_equal(made.split.images, recode_jpeg(images[1::2], 50))
    assert "through JPEG of quality 50" in made.notes


def test_classes_and_exclusions_count_as_in_the_whole_set(archive):
    path, images = archive
    made = load(path, classes=(3, 4, 5), excluded=("4",))
    np.testing.assert_array_equal(made.split.images, images[[7, 11]])
    assert "classes left out: 4" in made.notes
    with pytest.raises(ValueError, match="All classes of the set are excluded: 4"):
        load(path, classes=(4,), excluded=(4,))
    with pytest.raises(ValueError, match="excluded names 'cat', which is no class"):
        load(path, excluded=("cat",))


def test_limits_spread_evenly(archive):
    path, images = archive
    made = load(path, limit=3)
    np.testing.assert_array_equal(made.split.images, images[1::2][[0, 2, 5]])
    assert "3 of 6 images kept (limit)" in made.notes


def test_drawn_figures_at_any_size():
    made = load_foreign("sprites", shape=(8, 8, 1), limit=10)
    assert made.split.images.shape == (10, 8, 8, 1)
    assert made.split.images.std() > 10


def test_noise_is_what_it_says():
    uniform = load_foreign("noise", shape=(16, 16, 3), name="uniform", limit=200)
    assert uniform.split.images.shape == (200, 16, 16, 3)
    shares = np.bincount(uniform.split.images.ravel(), minlength=256) / uniform.split.images.size
    np.testing.assert_allclose(shares, 1 / 256, atol=1.2e-3)
    gaussian = load_foreign("noise", shape=(16, 16, 1), name="gaussian", limit=400).split.images.astype(np.float64)
    assert abs(gaussian.mean() - 127.5) < 0.5
    # A normal deviate clipped at two deviations keeps 96 % of its deviation.
    assert abs(gaussian.std() - 0.9597 * 63.75) < 0.5
    same = load_foreign("noise", shape=(16, 16, 3), name="uniform", limit=200)
    np.testing.assert_array_equal(same.split.images, uniform.split.images)
    other = load_foreign("noise", shape=(16, 16, 3), name="uniform", limit=200, seed=1)
    assert (other.split.images != uniform.split.images).any()


def test_images_that_another_split_has_are_left_out(rng):
    images = rng.integers(0, 256, (6, 4, 4, 1), np.uint8)
    split = Split(images, np.arange(6, dtype=np.int32))
    lazy = Split(LazyImages(images.__getitem__, images.shape), split.labels)
    others = {"train": Split(images[3:5], np.zeros(2, np.int32)), "test": Split(images[:0], np.zeros(0, np.int32))}
    for part in (split, lazy):
        kept, notes = without_shared(part, others)
        np.testing.assert_array_equal(kept.labels, [0, 1, 2, 5])
        assert notes == ("2 images that are also in train left out",)
    kept, notes = without_shared(split, {"train": lazy})
    assert len(kept) == 6
    assert notes == ("not compared with train, which is decoded on demand",)


def test_images_that_were_the_same_before_the_codec_are_left_out(tmp_path, rng):
    """Noise, of which JPEG leaves nothing as it was, and flat images, which it leaves alone."""
    images = np.concatenate(
        [rng.integers(0, 256, (6, 8, 8, 3), np.uint8), np.full((2, 8, 8, 3), [[[[80]]], [[[160]]]], np.uint8)]
    )
    np.savez(tmp_path / "a.npz", test_images=images, test_labels=np.arange(8), train_images=images[:1] // 2,
             train_labels=np.zeros(1, np.int64))  # fmt: skip
    known = {"training": Split(images[[1, 3, 7]], np.zeros(3, np.int32))}
    known["test"] = Split(images[[3, 4]], np.zeros(2, np.int32))
    made = load(tmp_path / "a.npz", jpeg_quality=75)
    np.testing.assert_array_equal(made.stored.images, images)
    assert load(tmp_path / "a.npz").stored is None
    lazy = [Split(LazyImages(part.images.__getitem__, images.shape), part.labels) for part in (made.split, made.stored)]
    for split, stored in ((made.split, made.stored), lazy):
        kept, notes = without_shared(split, known, stored=stored)
        np.testing.assert_array_equal(kept.labels, [0, 2, 5, 6])
        assert notes == ("3 images that are also in training left out", "1 images that are also in test left out")
    # Those that are the same after it alone count too: a set that was stored by this codec.
    kept, _ = without_shared(made.split, {"training": take_evenly(made.split, 2)}, stored=made.stored)
    np.testing.assert_array_equal(kept.labels, np.arange(1, 7))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"reader": "nipz"}, "Did you mean 'npz'"),
        ({"split": "tests"}, "split must be one of"),
        ({"shape": (8, 6, 3)}, "made square; this one is 8x6"),
        ({"limit": -1}, "limit must be at least 0"),
        ({"jpeg_quality": 200}, "at most 100"),
        ({"reader": "noise", "name": "pink"}, "name must be one of 'uniform', 'gaussian'; got 'pink'"),
    ],
)
def test_bad_input(archive, options, message):
    with pytest.raises(ValueError, match=message):
        load_foreign(**{"reader": "npz", "shape": (8, 8, 3), "path": archive[0], **options})


def test_images_without_classes(tmp_path, rng):
    for name in ("a.png", "deep/er/b.png", "deep/c.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (10, 8, 3), np.uint8)).save(tmp_path / name)
    (tmp_path / "deep" / "d.png").write_bytes(b"no image")
    made = load_foreign("images", shape=(8, 8, 3), path=tmp_path, on_bad_image="skip")
    assert made.split.images.shape == (3, 8, 8, 3)
    assert any(note.startswith("1 unreadable images skipped (such as ") for note in made.notes)
    with pytest.raises(ValueError, match=r"d\.png"):
        load_foreign("images", shape=(8, 8, 3), path=tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no images"):
        load_foreign("images", shape=(8, 8, 3), path=tmp_path / "empty")


def test_a_missing_file():
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load("nowhere.npz")


def test_tiny_imagenet_without_classes_of_another_set(real_data):
    path = real_data / "tiny-imagenet-200.zip"
    made = load_foreign(
        "tiny_imagenet", shape=(32, 32, 3), path=path, classes=tuple(range(4)), excluded=("n01443537",), limit=20
    )
    assert made.split.images[0].shape == (32, 32, 3)
    assert len(made.split) == 20
    assert any(note.startswith("classes left out: ") for note in made.notes)
