"""Grids: products, files, lines of text, and what a config makes of them."""

import pytest
import tiny

from mollax import grid


def test_product_joins_labels_and_fields():
    axes = {"FCR": {}, "none": {"augment.pad": 0}}, {"": {"mollify.enabled": False}, "mollified": {}}
    assert grid.product(*axes) == {
        "FCR": {"mollify.enabled": False},
        "FCR + mollified": {},
        "none": {"augment.pad": 0, "mollify.enabled": False},
        "none + mollified": {"augment.pad": 0},
    }
    with pytest.raises(ValueError, match=r"Two axes of the grid set optim\.lr\."):
        grid.product({"a": {"optim.lr": 1.0}}, {"b": {"optim.lr": 2.0}})
    with pytest.raises(ValueError, match="Two combinations of the grid are called 'a'"):
        grid.product({"a": {}, "": {}}, {"": {}, "a": {}})


def test_a_line_is_a_product_of_literals_and_words():
    found = grid.read("optim.lr=0.01, 1e-3; mollify.roles=('none','blur'),('none',) ;augment.policy='',rand")
    assert list(found)[:2] == [
        "optim.lr=0.01, mollify.roles=('none','blur'), augment.policy=''",
        "optim.lr=0.01, mollify.roles=('none','blur'), augment.policy=rand",
    ]
    assert len(found) == 8
    assert list(found.values())[-1] == {"optim.lr": 1e-3, "mollify.roles": ("none",), "augment.policy": "rand"}


@pytest.mark.parametrize("text", ["optim.lr", "optim.lr=", "=3"])
def test_a_line_that_is_no_grid_is_refused(text):
    with pytest.raises(ValueError, match="A grid is a file or 'field=value,value;field=value'"):
        grid.read(text)


def test_a_file_gets_its_word(tmp_path):
    file = tmp_path / "lr.py"
    file.write_text("def get_grid(word):\n    return {word or 'all': {'optim.lr': 0.5}}\n")
    assert grid.read(str(file)) == {"all": {"optim.lr": 0.5}}
    assert grid.read(f"{file}:one") == {"one": {"optim.lr": 0.5}}
    with pytest.raises(FileNotFoundError, match="There is no grid file"):
        grid.read(str(tmp_path / "none.py"))
    file.write_text("x = 1")
    with pytest.raises(ValueError, match="has no function get_grid"):
        grid.read(str(file))


def test_fields_are_set_in_a_locked_copy():
    config = tiny.config()
    changed = grid.apply(
        config, {"seed": 3, "optim.lr": 1, "model.options": {"features": (8,)}, "mollify.roles": ("blur",)}
    )
    assert (changed.seed, changed.optim.lr, changed.mollify.roles) == (3, 1.0, ("blur",))
    assert changed.model.options.to_dict() == {"features": (8,)}
    assert (config.seed, config.model.options.to_dict()) == (0, {})
    with pytest.raises(AttributeError):
        changed.sead = 1


def test_unknown_fields_and_other_types_are_refused():
    with pytest.raises(
        ValueError, match=r"field of the grid must be one of .*got 'optim\.lrr'. Did you mean 'optim\.lr'"
    ):
        grid.apply(tiny.config(), {"optim.lrr": 1.0})
    with pytest.raises(ValueError, match=r"optim\.lr cannot be 'fast'"):
        grid.apply(tiny.config(), {"optim.lr": "fast"})
