"""What a written set says of itself: read back whole, compared, refused when it is something else."""

import dataclasses
import json

import pytest

from mollax.data.manifest import FILE, Manifest, read_manifest

MADE = Manifest(
    mollax="0.1.0",
    format="npy",
    source="pets",
    split="test",
    images=7,
    image_shape=(8, 8, 3),
    content="ab",
    class_names=("cat", "dog"),
    class_folders=(),
    table=32,
    seed=0,
    rounding="truncate",
    severities=(1, 2, 3, 4, 5),
    notes=("n",),
)


def test_it_comes_back_from_json(tmp_path):
    assert read_manifest(tmp_path) is None
    (tmp_path / FILE).write_text(json.dumps(dataclasses.asdict(MADE)), encoding="utf-8")
    assert read_manifest(tmp_path) == MADE


def test_it_tells_where_a_set_comes_from():
    assert str(MADE) == "written by mollax 0.1.0 from pets (test), seed 0, table 32"
    assert str(dataclasses.replace(MADE, rounding="round")).endswith("table 32, round to 8 bits")


def test_differences_name_both_values():
    other = dataclasses.replace(MADE, seed=1, severities=(1,), notes=(), class_names=tuple("abcdefghijklmnopqrstuvw"))
    assert MADE.differences(other) == ["class_names", "seed: 0 and 1", "severities: (1, 2, 3, 4, 5) and (1,)"]
    assert MADE.differences(MADE) == []


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        json.dumps({**dataclasses.asdict(MADE), "images": "7"}),
        json.dumps({**dataclasses.asdict(MADE), "severities": 5}),
    ],
)
def test_something_else_is_refused(text, tmp_path):
    (tmp_path / FILE).write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"corrupted\.json is not what mollax\.corrupt_set writes"):
        read_manifest(tmp_path)
