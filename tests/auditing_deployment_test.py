"""Images that choose the strength: read like the others, and not among those that are compared."""

import audit_images
import numpy as np
import pytest

from mollax.auditing.deployment import read_deployment
from mollax.auditing.material import Form, load
from mollax.auditing.space import Pixels
from mollax.data.collection import open_collection
from mollax.data.duplicates import content_hashes

FORM = Form(8, 1, 0)


@pytest.fixture
def folder(tmp_path):
    return audit_images.write(tmp_path / "deployed", count=20)


def read(folder, *, bank=(), held=(), new=()):
    parts = {"bank": list(bank), "held": list(held), "new": list(new)}
    return read_deployment(str(folder), FORM, Pixels(), **parts, show=audit_images.silent)


def test_they_are_points_without_those_of_the_bank(folder):
    images = load(open_collection(folder), FORM, limit=0).loaded.images
    hashes = content_hashes(images)
    found = read(folder, bank=hashes[:5])
    np.testing.assert_array_equal(found.points, images[5:].reshape(15, 64).astype(np.float32) / np.float32(255))
    assert found.notes[0] == f"strength chosen on 15 images of {folder}"
    assert found.notes[-1] == "5 copies of other images of the audit not used for the strength"
    with pytest.raises(ValueError, match=r"1 of 20 images of --theta-from=.* are not in the bank; .* two or more"):
        read(folder, bank=hashes[1:])


@pytest.mark.parametrize("part", ["held", "new"])
def test_neither_side_chooses_its_own_strength(folder, part):
    hashes = content_hashes(load(open_collection(folder), FORM, limit=0).loaded.images)
    name = {"held": "held-out", "new": "new"}[part]
    with pytest.raises(ValueError, match=f"3 of 20 images of --theta-from=.* are also among the {name} images"):
        read(folder, **{part: hashes[:3]})


def test_a_path_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read(tmp_path / "no")
