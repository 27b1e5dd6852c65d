"""Image files as a stream: what is found, in what order, decoded how far ahead, and what is told of bad ones."""

import numpy as np
import pytest
from PIL import Image

from mollax.data import ReadOptions
from mollax.data.stream import decode_batches, find_images

OPTIONS = ReadOptions(image_size=4, channels=1, alpha="white")


@pytest.fixture
def folder(tmp_path):
    for number in range(5):
        Image.new("L", (4, 4), 10 * number).save(tmp_path / f"{number}.png")
    (tmp_path / "x.txt").touch()
    return tmp_path


def test_names_are_those_that_were_given(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    inside = folder.relative_to(folder.parent)
    found = find_images([inside / "3.png", inside])
    assert [one.name for one in found] == [str(inside / "3.png"), *(f"{inside}/{number}.png" for number in range(5))]
    with found[0].files.open(found[0].key) as file:
        assert file.read() == (folder / "3.png").read_bytes()


def test_batches_come_in_order_and_one_ahead(folder, monkeypatch):
    opened = []
    found = find_images([folder])
    monkeypatch.setattr(type(found[0].files), "open", _counting(opened, type(found[0].files).open))
    batches = decode_batches(found, OPTIONS, size=2)
    first = next(batches)
    assert len(opened) <= 4, "the batch that is given and the next one"
    rest = list(batches)
    assert [len(batch) for batch in (first, *rest)] == [2, 2, 1]
    for number, (one, result) in enumerate(sum(rest, first)):
        assert one.name.endswith(f"{number}.png")
        np.testing.assert_array_equal(result[0], np.full((4, 4, 1), 10 * number))
        assert result[1] == ()


def _counting(opened, function):
    def counted(self, key):
        opened.append(key)
        return function(self, key)

    return counted


def test_bad_files_give_their_reason(folder):
    (folder / "5.png").write_bytes(b"x")
    (folder / "6.png").symlink_to(folder / "nothing")
    (folder / "7.png").write_bytes((folder / "0.png").read_bytes()[:45])
    Image.new("RGBA", (8, 8)).save(folder / "8.png")
    reasons = {one.name[-5:]: result for batch in decode_batches(find_images([folder]), OPTIONS, size=9)
               for one, result in batch}  # fmt: skip
    assert "not a readable" in reasons["5.png"]
    assert reasons["6.png"] == "cannot be read (No such file or directory)"
    assert "truncated or damaged" in reasons["7.png"]
    np.testing.assert_array_equal(reasons["8.png"][0], np.full((4, 4, 1), 255))


def test_nothing_to_find(tmp_path):
    with pytest.raises(ValueError, match="holds no images"):
        find_images([tmp_path])
    with pytest.raises(FileNotFoundError, match="does not exist"):
        find_images([tmp_path / "no"])
    assert list(decode_batches([], OPTIONS, size=3)) == []
