"""Checkpoints: {state, config} under one step, written atomically by Orbax, restored on any number of devices."""

from __future__ import annotations

import logging
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from mollax import checks
from mollax.state import TrainState

PyTree = Any
# What may change between a run and its continuation: where things are and how often one looks, not what is computed.
FREE_FIELDS = (
    "data.path",
    "data.workers",
    "data.memory",
    "data.limit_mib",
    "train.steps_per_dispatch",
    "log",
    "eval",
    "checkpoint",
    "invariance.predict",
    "init_from",
    "model.weights",
    "ood.auxiliary.path",
    "ood.more_auxiliary.*.path",
)


class CheckpointMismatchError(ValueError):
    """The checkpoint was written by another model or config."""


def flatten_config(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"optim": {"lr": 1}} -> {"optim.lr": 1}; tuples become lists, as in JSON."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, dict):
            flat.update(flatten_config(value, f"{prefix}{name}."))
        else:
            flat[prefix + name] = list(value) if isinstance(value, tuple) else value
    return flat


def config_differences(saved: dict[str, Any], current: dict[str, Any]) -> list[str]:
    """One line for every field that differs and is not free to change, such as "optim.lr: 0.1 saved, 0.2 now"."""
    before, now = flatten_config(saved), flatten_config(current)
    lines = []
    for name in sorted(before.keys() | now.keys()):
        free = any(fnmatchcase(name, field) or name.startswith(field + ".") for field in FREE_FIELDS)
        if not free and before.get(name) != now.get(name):
            lines.append(f"{name}: {before.get(name)!r} saved, {now.get(name)!r} now")
    return lines


class Checkpointer:
    """Saves and restores (state, config) in one folder; keeps the newest few."""

    def __init__(self, folder: Path, *, config: dict[str, Any], keep: int = 2) -> None:
        checks.positive_int("checkpoint.keep", keep)
        self._folder, self._config = folder, config
        self._manager = ocp.CheckpointManager(
            folder.absolute(),
            options=ocp.CheckpointManagerOptions(max_to_keep=keep, enable_async_checkpointing=jax.process_count() == 1),
            item_handlers={"state": ocp.StandardCheckpointHandler(), "config": ocp.JsonCheckpointHandler()},
        )

    @property
    def steps(self) -> list[int]:
        """Steps that have a complete checkpoint, oldest first."""
        return sorted(self._manager.all_steps())

    def save(self, state: TrainState, *, wait: bool = False) -> None:
        """Saves the state under its step, unless that step is there already.

        The state is copied to the host first, so the caller may donate it; files are written in the background
        unless `wait`.
        """
        step = int(state.step)
        if step not in self._manager.all_steps():
            # A copy: on CPU device_get may be a view of the buffer that the next step is about to reuse.
            host = jax.tree.map(np.array, jax.device_get(state))
            self._manager.save(
                step,
                args=ocp.args.Composite(state=ocp.args.StandardSave(host), config=ocp.args.JsonSave(self._config)),
            )
        if wait:
            self._manager.wait_until_finished()

    def restore(self, template: TrainState) -> TrainState | None:
        """The newest checkpoint that can be read, on the host; None if there is none at all.

        A damaged checkpoint is passed over with a warning.

        Raises:
          CheckpointMismatchError: if the newest readable checkpoint was written with another config or model; the
            message names every field or parameter that differs.
          RuntimeError: if there are checkpoints but none can be read.
        """
        failures = []
        for step in reversed(self.steps):
            try:
                saved = self._manager.restore(step, args=ocp.args.Composite(config=ocp.args.JsonRestore()))["config"]
                self._refuse(step, config_differences(saved, self._config))
                found = self._manager.item_metadata(step)["state"]
                if found is None:
                    raise OSError("the files that describe its state are missing")
                self._refuse(step, _shape_differences(found, template))
                host = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), template)
                restored = self._manager.restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore(host)))
            except CheckpointMismatchError:
                raise
            except Exception as error:  # Orbax and its storage raise many kinds for damaged files.
                failures.append(f"step {step}: {type(error).__name__}: {str(error).splitlines()[0]}")
                logging.warning("Checkpoint %s cannot be read; trying the one before it. (%s)", step, failures[-1])
                continue
            return restored["state"]
        if failures:
            raise RuntimeError(
                f"None of the checkpoints in {self._folder} can be read ({'; '.join(failures)}). "
                "Move the folder away to start afresh."
            )
        return None

    def _refuse(self, step: int, differences: list[str]) -> None:
        if differences:
            raise CheckpointMismatchError(
                f"The checkpoint of step {step} in {self._folder} belongs to another run:\n  "
                + "\n  ".join(differences[:20])
                + ("\n  ..." if len(differences) > 20 else "")
                + "\nUse its settings, or another --workdir."
            )

    def close(self) -> None:
        """Waits for writes in the background."""
        self._manager.wait_until_finished()
        self._manager.close()


def read_variables(workdir: Path) -> dict[str, PyTree]:
    """The variables that another run evaluates, from its newest checkpoint, on the host: see `TrainState.evaluated`.

    Raises:
      FileNotFoundError: if the run has none.
    """
    folder = workdir / "checkpoints"
    steps = sorted(int(path.name) for path in folder.glob("*") if path.name.isdigit()) if folder.is_dir() else []
    if not steps:
        raise FileNotFoundError(f"There is no checkpoint in {folder}; name the --workdir of a run that has trained.")
    with ocp.StandardCheckpointer() as reader:
        saved = reader.restore((folder / str(steps[-1]) / "state").absolute())
    kept = (saved.get("extra") or {}).get("ema") or saved
    return {"params": kept["params"], **(kept["model_state"] or {})}


def _shapes(tree: PyTree) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    names = (
        ".".join(str(getattr(k, "key", getattr(k, "name", getattr(k, "idx", k)))) for k in path) for path, _ in leaves
    )
    return {name: tuple(leaf.shape) for name, (_, leaf) in zip(names, leaves, strict=True) if hasattr(leaf, "shape")}


def _shape_differences(found: Any, template: TrainState) -> list[str]:
    """One line for every array of the checkpoint whose name or shape is not the template's."""
    saved = _shapes(getattr(found, "tree", found))
    expected = _shapes(ocp.utils.serialize_tree(template, keep_empty_nodes=True))
    return [
        f"{name}: shape {saved.get(name)} saved, {expected.get(name)} now"
        for name in sorted(saved.keys() | expected.keys())
        if saved.get(name) != expected.get(name)
    ]
