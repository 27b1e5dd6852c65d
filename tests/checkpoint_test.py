"""Checkpoints come back bit for bit; damage, another config and another model are recognized."""

import logging

import jax
import jax.numpy as jnp
import optax
import pytest
import tiny

from mollax import parallel
from mollax.checkpoint import Checkpointer, CheckpointMismatchError, config_differences
from mollax.state import create_state

CONFIG = {
    "optim": {"lr": 0.1, "milestones": (1, 2)},
    "data": {"path": "here", "reader": "digits"},
    "log": {"every": "1 step"},
}


def make_state(width=3, at_step=0):
    variables = {
        "params": {"layer": {"w": jnp.arange(width, dtype=jnp.float32)}},
        "batch_stats": {"m": jnp.ones(2)},
    }
    state = create_state(variables, optax.sgd(0.1, momentum=0.9), ema=True)
    return state.replace(step=jnp.int32(at_step))


def saved(folder, *steps, config=CONFIG, keep=5):
    with_saves = Checkpointer(folder, config=config, keep=keep)
    for number in steps:
        with_saves.save(make_state(at_step=number), wait=True)
    with_saves.close()
    return folder


def test_round_trip_is_exact_and_needs_no_memory_of_the_writer(tmp_path):
    saved(tmp_path, 1, 7)
    restored = Checkpointer(tmp_path, config=CONFIG).restore(make_state())
    assert int(restored.step) == 7
    tiny.equal(jax.tree.map(jnp.asarray, restored), make_state(at_step=7))


def test_nothing_saved_is_none(tmp_path):
    assert Checkpointer(tmp_path / "new", config=CONFIG).restore(make_state()) is None


def test_only_the_newest_are_kept(tmp_path):
    saved(tmp_path, 1, 2, 3, 4, keep=2)
    assert Checkpointer(tmp_path, config=CONFIG).steps == [3, 4]


def test_state_of_many_devices_is_restored_for_any_number(tmp_path):
    spread = parallel.replicate(make_state(at_step=2))
    assert len(jax.tree.leaves(spread)[0].devices()) == jax.device_count()
    checkpointer = Checkpointer(tmp_path, config=CONFIG)
    checkpointer.save(spread, wait=True)
    restored = Checkpointer(tmp_path, config=CONFIG).restore(make_state())
    tiny.equal(jax.device_put(restored, jax.devices()[0]), make_state(at_step=2))


@pytest.mark.parametrize("damage", ["truncate", "remove"])
def test_a_damaged_checkpoint_is_passed_over_with_a_warning(tmp_path, caplog, damage):
    saved(tmp_path, 1, 2)
    for file in (tmp_path / "2" / "state").rglob("*"):
        if file.is_file() and "commit_success" not in file.name:
            file.write_bytes(file.read_bytes()[:5]) if damage == "truncate" else file.unlink()
    with caplog.at_level(logging.WARNING):
        restored = Checkpointer(tmp_path, config=CONFIG).restore(make_state())
    assert int(restored.step) == 1
    assert "Checkpoint 2 cannot be read" in caplog.text


def test_if_all_are_damaged_it_says_so(tmp_path):
    saved(tmp_path, 1)
    for file in (tmp_path / "1" / "state").rglob("*"):
        if file.is_file() and "commit_success" not in file.name:
            file.write_bytes(b"")
    with pytest.raises(RuntimeError, match=r"None of the checkpoints in .* can be read"):
        Checkpointer(tmp_path, config=CONFIG).restore(make_state())


def test_another_config_names_the_fields(tmp_path):
    saved(tmp_path, 3)
    other = {**CONFIG, "optim": {"lr": 0.2, "milestones": (1, 2)}}
    with pytest.raises(
        CheckpointMismatchError, match=r"step 3(.|\n)*optim.lr: 0.1 saved, 0.2 now(.|\n)*another --workdir"
    ):
        Checkpointer(tmp_path, config=other).restore(make_state())


def test_another_model_names_the_arrays(tmp_path):
    saved(tmp_path, 3)
    with pytest.raises(CheckpointMismatchError, match=r"params.layer.w: shape \(3,\) saved, \(4,\) now"):
        Checkpointer(tmp_path, config=CONFIG).restore(make_state(width=4))


def test_paths_and_intervals_may_change_and_tuples_equal_lists():
    now = {
        "optim": {"lr": 0.1, "milestones": [1, 2]},
        "data": {"path": "there", "reader": "digits"},
        "log": {"every": "9 steps"},
    }
    assert config_differences(CONFIG, now) == []
    now["data"]["reader"] = "idx"
    assert config_differences(CONFIG, now) == ["data.reader: 'digits' saved, 'idx' now"]
