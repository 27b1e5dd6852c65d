"""Files that are no saved reference, or one of another version."""

import json
from pathlib import Path

import numpy as np
import pytest

from mollax.auditing.material import Form
from mollax.auditing.reference import Part, Reference
from mollax.auditing.saved import check_place, is_saved, load_saved, save
from mollax.auditing.space import Pixels
from mollax.data.duplicates import content_hashes


def test_other_files_are_none(tmp_path):
    np.savez(tmp_path / "set.npz", images=np.zeros((2, 2, 2), np.uint8))
    (tmp_path / "damaged.npz").write_bytes(b"PK nothing")
    assert not is_saved(str(tmp_path / "set.npz"))
    assert not is_saved(str(tmp_path / "damaged.npz"))
    assert not is_saved(str(tmp_path))


def test_another_version_is_refused(tmp_path):
    np.savez(tmp_path / "kept.npz", mollax_reference=np.int32(99))
    with pytest.raises(ValueError, match="saved by another version of mollax"):
        load_saved(Path(tmp_path / "kept.npz"))


def test_the_place_is_looked_at_first(tmp_path):
    for path, message in (
        (tmp_path / "kept.zip", "must end in .npz"),
        (tmp_path / "no" / "kept.npz", "the folder .*no does not exist; create it first"),
        (tmp_path / "kept.npz", "is a folder; name a file"),
    ):
        (tmp_path / "kept.npz").mkdir(exist_ok=True)
        with pytest.raises(ValueError, match=message):
            check_place(path)
    check_place(tmp_path / "no" / "kept.npz", to_come=tmp_path / "no")


def made(count=4):
    images = np.arange(count * 16, dtype=np.uint8).reshape(count, 4, 4, 1)
    files = tuple(map(str, range(count)))
    part = Part(Pixels().points(images), images, None, None, files)
    hashes = content_hashes(images)
    return Reference({}, Form(4, 1, 0), (), None, part, part, hashes, hashes, (), (), run="abc", seed=5)


def keep(path, reference):
    save(path, reference, Pixels(), kernel="gaussian", strength=0.1, held_log=np.zeros(4))


def test_run_seed_and_hashes_are_kept(tmp_path):
    keep(tmp_path / "kept.npz", made())
    again, kind, probe = load_saved(tmp_path / "kept.npz")
    assert (again.run, again.seed, kind, probe) == ("abc", 5, "pixels", None)
    assert again.hashes == again.held_hashes == made().held_hashes


def test_files_of_before_are_read(tmp_path):
    """Without run, seed and hashes of held-out images; these are those of its pixels, or not known of features."""
    keep(tmp_path / "kept.npz", made())
    with np.load(tmp_path / "kept.npz") as archive:
        arrays = dict(archive)
    del arrays["held_hashes"]
    meta = json.loads(str(arrays["meta"]))
    for space, hashes in (("pixels", made().held_hashes), ("features", [])):
        old = {key: value for key, value in meta.items() if key not in ("run", "seed")} | {"space": space}
        if space == "features":
            arrays |= {name: np.zeros((4, 3), np.float32) for name in ("bank", "held")}
        np.savez(tmp_path / "old.npz", **{**arrays, "meta": np.array(json.dumps(old))})
        again = load_saved(tmp_path / "old.npz")[0]
        assert (again.run, again.seed, again.held_hashes) == ("", None, hashes)
        assert ("copies of held-out images are not looked for" in " ".join(again.notes)) == (space == "features")
