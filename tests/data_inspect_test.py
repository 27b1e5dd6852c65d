"""Storage of collections: JPEG qualities against Pillow's own tables, counts of real files, differences."""

import io

import numpy as np
import pytest
from PIL import Image

from mollax.data.folder import list_tree
from mollax.data.inspect import differences, inspect_array, inspect_files, jpeg_quality


def jpeg_tables(quality, mode="RGB"):
    buffer = io.BytesIO()
    Image.new(mode, (8, 8)).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as image:
        return image.quantization


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_every_quality_of_pillow_is_found(mode):
    for quality in range(5, 101):
        assert jpeg_quality(jpeg_tables(quality, mode)) == quality


def test_foreign_tables_get_the_nearest_quality():
    table = np.array(jpeg_tables(60)[0])
    table[5] += 2
    assert jpeg_quality({0: table.tolist()}) == 60
    with pytest.raises(ValueError, match="got none"):
        jpeg_quality({})
    with pytest.raises(ValueError, match="64 entries; got shape"):
        jpeg_quality({0: [1, 2, 3]})


def save(folder, count, *, mode="RGB", size=(10, 8), suffix="png", **options):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.new(mode, size).save(folder / f"{suffix}{i}.{suffix}", **options)


def look(folder, **options):
    tree = list_tree(folder)
    return inspect_files(tree.files, list(tree.keys.values()), **options)


def test_files_are_counted(tmp_path):
    save(tmp_path, 3)
    save(tmp_path, 5, mode="L", size=(20, 30), suffix="jpg", quality=70)
    (tmp_path / "bad.png").write_bytes(b"no image")
    found = look(tmp_path)
    assert found.images == 9
    assert found.looked_at == 8
    assert found.format == {"JPEG": 5, "PNG": 3}
    assert found.mode == {"gray": 5, "RGB": 3}
    assert found.size == {"30 x 20": 5, "8 x 10": 3}
    assert found.quality == {"70": 5}
    assert found.typical_quality() == 70
    assert found.common_size() == (30, 20)
    assert look(tmp_path, sample=2).looked_at <= 2
    with pytest.raises(ValueError, match="sample must be at least 1"):
        look(tmp_path, sample=0)


def test_quality_is_typical_of_half_of_the_files_or_none(tmp_path):
    save(tmp_path, 3)
    save(tmp_path, 2, suffix="jpg", quality=50)
    assert look(tmp_path).typical_quality() is None
    save(tmp_path / "more", 3, suffix="jpg", quality=90)
    assert look(tmp_path).typical_quality() == 90


def test_differences_say_what_differs(tmp_path):
    save(tmp_path / "a", 4, suffix="jpg", quality=75)
    save(tmp_path / "b", 4, suffix="jpg", quality=77)
    save(tmp_path / "c", 4, mode="L", size=(9, 9))
    a, b, c = (look(tmp_path / name) for name in "abc")
    assert not any(one.differs for one in differences(a, a))
    assert not any(one.differs for one in differences(a, b))  # two points of quality are within the noise of encoders
    rows = {one.what: one for one in differences(a, c)}
    assert [name for name, row in rows.items() if row.differs] == ["size", "format", "color mode", "JPEG quality"]
    assert rows["size"].reference == "8 x 10"
    assert rows["size"].new == "9 x 9"
    assert rows["JPEG quality"].reference == "75"
    assert rows["JPEG quality"].new == "no JPEG"
    array = inspect_array((5, 9, 9, 1), kind="array (npz)")
    words = {one.what: (one.new, one.differs) for one in differences(c, array)}
    assert words == {"size": ("9 x 9", False), "format": ("array (npz)", False), "color mode": ("gray", False)}


def test_mixed_collections_are_described_by_shares(tmp_path):
    save(tmp_path / "a", 9)
    save(tmp_path / "a", 1, suffix="jpg", quality=75)
    save(tmp_path / "b", 10)
    rows = {one.what: one for one in differences(look(tmp_path / "a"), look(tmp_path / "b"))}
    assert rows["format"].reference == "PNG (90 %, 1 other)"
    assert rows["format"].differs
    assert rows["JPEG quality"].reference == "75 where JPEG"
    assert not rows["JPEG quality"].differs
    assert not rows["size"].differs
