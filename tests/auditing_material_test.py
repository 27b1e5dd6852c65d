"""Form, held-out part and groups of an audit: rules by hand, mistakes by message."""

import io

import audit_images
import numpy as np
import pytest
from PIL import Image

from mollax.auditing import material
from mollax.auditing.material import Form, choose_form, cut_held_out, groups_of, load, open_held_out, without_held_out
from mollax.data.collection import open_collection
from mollax.data.inspect import Storage


def stored(*, mode="gray", size="28 x 28", quality=None, count=10):
    return Storage(count, count, {"PNG": count}, {mode: count}, {size: count}, {str(quality): count} if quality else {})


def test_form():
    settings = audit_images.settings()
    assert choose_form(settings, stored(), stored()) == Form(28, 1, 0)
    assert choose_form(settings, stored(mode="RGB", size="300 x 200"), stored()) == Form(64, 3, 0)
    assert choose_form(settings, stored(size="20 x 30"), stored(quality=80)) == Form(20, 1, 80)
    assert choose_form(settings, stored(quality=75), stored(quality=90)).jpeg_quality == 75
    assert choose_form(audit_images.settings(size=12, jpeg_quality=0), stored(quality=75), stored()) == Form(12, 1, 0)
    assert choose_form(settings, stored(), stored(), shape=(32, 32, 3)) == Form(32, 3, 0)


def test_form_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="size=16, but the run in None is for images of 8 x 8"):
        choose_form(audit_images.settings(size=16), stored(), stored(), shape=(8, 8, 1))
    with pytest.raises(ValueError, match="8 x 9; only square ones"):
        choose_form(audit_images.settings(), stored(), stored(), shape=(8, 9, 1))
    with pytest.raises(ValueError, match="jpeg-quality must be in"):
        choose_form(audit_images.settings(jpeg_quality=101), stored(), stored())


def test_both_sides_go_through_the_same_jpeg(tmp_path):
    audit_images.write(tmp_path, count=4)
    side = load(open_collection(tmp_path), Form(8, 1, 60), limit=0)
    plain = load(open_collection(tmp_path), Form(8, 1, 0), limit=0)
    for image, original in zip(side.loaded.images, plain.loaded.images, strict=True):
        buffer = io.BytesIO()
        Image.fromarray(original[:, :, 0]).save(buffer, "JPEG", quality=60)
        np.testing.assert_array_equal(image[:, :, 0], np.asarray(Image.open(buffer)))
    assert load(open_collection(tmp_path), Form(8, 1, 0), limit=3).loaded.notes[0].startswith("3 of 4 images taken")


def test_the_held_out_part_is_seeded_and_disjoint():
    bank, held = cut_held_out(100, 0.2, groups=None, seed=1)
    again = cut_held_out(100, 0.2, groups=None, seed=1)
    assert len(held) == 20
    np.testing.assert_array_equal(np.sort(np.concatenate([bank, held])), np.arange(100))
    np.testing.assert_array_equal(held, again[1])
    assert not np.array_equal(held, cut_held_out(100, 0.2, groups=None, seed=2)[1])
    assert len(cut_held_out(100_000, 0.2, groups=None, seed=0)[1]) == material.HELD_MOST


def test_groups_stay_whole():
    groups = [f"writer{i // 7}" for i in range(100)]
    bank, held = cut_held_out(100, 0.3, groups=groups, seed=0)
    assert not {groups[i] for i in bank} & {groups[i] for i in held}
    assert 0 < len(held) <= 30
    bank, held = cut_held_out(20, 0.2, groups=["a"] * 10 + ["b"] * 10, seed=0)
    assert len(held) == len(bank) == 10


def test_bad_cuts():
    with pytest.raises(ValueError, match="has 9 images; a held-out part can be cut from ten"):
        cut_held_out(9, 0.2, groups=None, seed=0)
    with pytest.raises(ValueError, match="All 10 images are of one group, 'a'"):
        cut_held_out(10, 0.2, groups=["a"] * 10, seed=0)
    with pytest.raises(ValueError, match="held-out-share must be in"):
        cut_held_out(10, 1.0, groups=None, seed=0)


def test_groups_are_folders(tmp_path):
    audit_images.write(tmp_path, count=4, below="ann")
    loaded = load(open_collection(tmp_path), Form(8, 1, 0), limit=0).loaded
    assert set(groups_of(loaded, 1)) == {"ann"}
    assert groups_of(loaded, 0) is None
    with pytest.raises(
        ValueError, match=r"groups=2 takes groups from CLASS/FOLDER/GROUP/IMAGE; .* does not lie so deep"
    ):
        groups_of(loaded, 2)


def test_a_held_out_part_inside_the_bank_is_refused(tmp_path):
    audit_images.write(tmp_path / "bank", count=40)
    audit_images.write(tmp_path / "held", count=20, first=30)
    form = Form(8, 1, 0)
    bank, held = (load(open_collection(tmp_path / name), form, limit=0) for name in ("bank", "held"))
    with pytest.raises(ValueError, match="10 of 20 held-out images are also in the bank"):
        without_held_out(bank, held.loaded, given=True)
    rest, kept = without_held_out(bank, held.loaded, given=False)
    assert (len(rest), kept.sum()) == (30, 30)
    assert rest.loaded.notes[-1] == "10 copies of held-out images taken out of the bank"


def test_held_out_is_a_split_or_a_path(tmp_path):
    for split in ("train", "val"):
        audit_images.write(tmp_path / split, count=3)
    assert open_held_out(audit_images.settings(tmp_path)) is None
    by_split = open_held_out(audit_images.settings(tmp_path, held_out="validation"))
    by_path = open_held_out(audit_images.settings(tmp_path, held_out=str(tmp_path / "val")))
    assert (by_split.split, by_path.split, len(by_split), len(by_path)) == ("validation", "all", 3, 3)
