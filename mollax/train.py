"""The training program: restore, then evaluate, save, dispatch, read the previous step's metrics, until done."""

from __future__ import annotations

import functools
import logging
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from mollax import evaluation, evaluators, experiment, finish, parallel, step
from mollax.checkpoint import Checkpointer
from mollax.data import Dataset
from mollax.data.pipeline import Batches
from mollax.experiment import Experiment
from mollax.logbook import Logbook, open_log, write_json
from mollax.ood.scores import save_states
from mollax.progress import Terminal
from mollax.state import TrainState


class NonFiniteLossError(RuntimeError):
    """Loss, gradient or parameters became NaN or infinite; the message has step, value and last good checkpoint."""


class Interrupted(Exception):
    """SIGTERM or SIGINT arrived; the state has been saved."""

    def __init__(self, number: int, at_step: int) -> None:
        super().__init__(
            f"Stopped by {signal.Signals(number).name} after step {at_step}; everything is saved. "
            "The same command goes on from there."
        )
        self.number = number


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collects SIGTERM and SIGINT instead of dying of them; a second one kills as usual."""
    received: list[int] = []

    def handle(number: int, _: Any) -> None:
        received.append(number)
        signal.signal(number, signal.SIG_DFL)

    previous = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class _Meter:
    """Holds the metrics of the newest dispatch and reads them one dispatch later, while the device works."""

    def __init__(self, run: Experiment, logbook: Logbook, checkpointer: Checkpointer, batch_size: int) -> None:
        self._run, self._logbook, self._checkpointer = run, logbook, checkpointer
        self._batch_size = batch_size
        self._waiting: tuple[int, Any] | None = None
        self._sums: dict[str, float] = {}
        self._since, self._started = 0, time.perf_counter()
        self.images_per_second = 0.0

    def put(self, first_step: int, metrics: Any) -> None:
        """Takes the metrics of steps first_step + 1, ...; call `read` first."""
        self._waiting = (first_step, metrics)

    def read(self) -> None:
        """Waits for the held metrics, checks the loss, and logs at the configured interval."""
        if self._waiting is None:
            return
        (first, metrics), self._waiting = self._waiting, None
        rows = {name: np.asarray(values) for name, values in metrics.items()}
        for offset in range(len(rows["loss"])):
            self._add(first + offset + 1, {name: float(values[offset]) for name, values in rows.items()})

    def _add(self, at_step: int, values: dict[str, float]) -> None:
        # A finite loss may still have an update that is not; it must not reach a checkpoint.
        broken = [name for name in ("loss", "grad_norm", "param_norm") if not math.isfinite(values[name])]
        if broken:
            good = self._checkpointer.steps
            where = f"The last good checkpoint is step {good[-1]}" if good else "There is no checkpoint yet"
            raise NonFiniteLossError(
                f"The {broken[0]} is {values[broken[0]]} at step {at_step}. {where}. A lower optim.lr, a longer "
                "optim.warmup or optim.clip_norm usually helps; they make another run, so give it another --workdir."
            )
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._since += 1
        if (self._run.log_every and at_step % self._run.log_every == 0) or at_step == self._run.steps:
            now = time.perf_counter()
            self.images_per_second = self._since * self._batch_size / (now - self._started)
            means = {f"train/{name}": total / self._since for name, total in self._sums.items()}
            means["train/lr"] = float(self._run.schedule(at_step - 1))
            means["train/images_per_second"] = self.images_per_second
            self._logbook.write(at_step, means)
            self.restart()

    def restart(self) -> None:
        """Starts a new interval: time spent in evaluation and saving is not training speed."""
        self._sums, self._since, self._started = {}, 0, time.perf_counter()

    def pause(self, seconds: float) -> None:
        """Takes time that was not training out of the current interval."""
        self._started += seconds


def _agree(received: list[int]) -> int:
    """The signal that any process got, 0 for none; all processes must stop at the same step."""
    mine = received[0] if received else 0
    if jax.process_count() == 1:
        return mine
    return int(np.max(multihost_utils.process_allgather(np.int32(mine))))


def _loop(
    config: ConfigDict,
    run: Experiment,
    state: TrainState,
    batches: Batches,
    validate: Callable[[TrainState], dict[str, float]],
    checkpointer: Checkpointer,
    logbook: Logbook,
    terminal: Terminal,
    received: list[int],
) -> tuple[TrainState, float]:
    """Runs from the state's step to the last and saves it; also returns the newest images per second."""
    train_step = functools.partial(
        step.train_step,
        objective=run.objective,
        optimizer=run.optimizer,
        seed=config.seed,
        ema_decay=config.optim.ema,
        accumulate=config.optim.accumulate,
        adapt=None if run.learned is None else run.learned.adapt,
    )
    dispatch = parallel.parallelize(step.many_steps(train_step), donate=True)
    meter = _Meter(run, logbook, checkpointer, config.train.batch_size)
    start = at_step = int(state.step)
    group = config.train.steps_per_dispatch
    while True:
        paused = time.perf_counter()
        last = at_step == run.steps
        due_eval = run.eval_every and at_step > start and (at_step % run.eval_every == 0 or last)
        due_save = at_step > start and (last or (run.save_every and at_step % run.save_every == 0))
        stopped = _agree(received)
        if due_eval or due_save or stopped:
            meter.read()
        if due_eval:
            logbook.write(at_step, {f"validation/{k}": v for k, v in validate(state).items()})
        if due_save or stopped:
            checkpointer.save(state, wait=last or bool(stopped))
        if stopped:
            raise Interrupted(stopped, at_step)
        if last:
            return state, meter.images_per_second
        meter.pause(time.perf_counter() - paused)
        until = min((at_step // group + 1) * group, run.steps)
        state, metrics = dispatch(state, batches.take(at_step, until - at_step), batches.data)
        meter.read()
        meter.put(at_step, metrics)
        at_step = until
        terminal.show("train", at_step, run.steps, _note(logbook, meter))


def _note(logbook: Logbook, meter: _Meter) -> str:
    """What the bar says: newest loss and validation error, and the speed."""
    newest: dict[str, Any] = {}
    for row in logbook.history[-20:]:
        newest.update(row)
    parts = []
    if newest.get("train/loss") is not None:
        parts.append(f"loss {newest['train/loss']:.3f}")
    if newest.get("validation/error") is not None:
        parts.append(f"validation error {100 * newest['validation/error']:.1f} %")
    if meter.images_per_second:
        parts.append(f"{meter.images_per_second:,.0f} images/s")
    return ", ".join(parts)


def train_and_evaluate(
    config: ConfigDict, workdir: str | Path, *, command: str = "", dataset: Dataset | None = None
) -> dict[str, Any]:
    """Trains what the config describes, going on from the newest checkpoint in `workdir`, and evaluates it.

    Writes config.json, checkpoints/, metrics.jsonl, tensorboard/, train.log, results.json and report.html.

    Args:
      config: from a config file; see `mollax.recipes`.
      workdir: created where missing.
      command: how the run was started, for the report.
      dataset: what `config.data` stands for, if it has been read already.

    Returns:
      The content of results.json.

    Raises:
      NonFiniteLossError: when the loss, the gradient or a parameter is not finite.
      Interrupted: after SIGTERM or SIGINT, once the state is saved.
      CheckpointMismatchError: if `workdir` belongs to another run.
      ValueError: for settings or data that make no sense.
    """
    return _run(config, Path(workdir), dataset, train=True, command=command)


def evaluate(config: ConfigDict, workdir: str | Path, *, command: str = "") -> dict[str, Any]:
    """Evaluates the newest checkpoint in `workdir` and writes results.json, report.html and config.json again.

    The config may differ from the training's in what a continuation may change (`checkpoint.FREE_FIELDS`).

    Raises:
      FileNotFoundError: if there is no checkpoint.
    """
    return _run(config, Path(workdir), None, train=False, command=command)


def _run(config: ConfigDict, workdir: Path, dataset: Dataset | None, *, train: bool, command: str) -> dict[str, Any]:
    began = time.perf_counter()
    folder = workdir / "checkpoints"
    if not train and not folder.is_dir():
        raise FileNotFoundError(f"There is no run to evaluate in {workdir}; train one there, or name its --workdir.")
    primary = jax.process_index() == 0
    workdir.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        if primary:
            stack.enter_context(open_log(workdir))
        dataset = experiment.load_data(config) if dataset is None else dataset
        run = experiment.create(config, dataset)
        evaluator = evaluation.create_evaluator(config, run)
        further = evaluation.create_further_evaluators(config, run, evaluator.predictor)
        validate = evaluation.create_validation(evaluator, further)
        checkpointer = stack.enter_context(
            closing(Checkpointer(folder, config=config.to_dict(), keep=config.checkpoint.keep))
        )
        state = experiment.init_state(config, run)
        restored = checkpointer.restore(state)
        if restored is None and not train:
            raise FileNotFoundError(f"There is no checkpoint in {folder}; train a run there first.")
        if restored is not None:
            logging.info("Restored step %d of %d from %s.", int(restored.step), run.steps, folder)
        state = experiment.first_state(config, run, state) if restored is None else restored
        state = parallel.replicate(state)
        logbook = stack.enter_context(closing(Logbook(workdir, start_step=int(state.step), primary=primary)))
        terminal = stack.enter_context(Terminal(enabled=primary))
        received = stack.enter_context(_signals())
        speed = 0.0
        if train:
            if primary:
                write_json(workdir / "config.json", config.to_dict())
            batches = experiment.create_batches(config, run)
            state, speed = _loop(config, run, state, batches, validate, checkpointer, logbook, terminal, received)

        def show(evaluation: str, done: int, total: int) -> None:
            terminal.show(evaluation, done, total)
            if received:  # Everything is saved by now.
                raise Interrupted(received[0], int(state.step))

        found = evaluator.run(state, progress=show)
        for name, other in further.items():
            found[name] = other.run(state.evaluated(), progress=show)
            if primary and isinstance(other, evaluators.DetectionEvaluator):
                save_states(workdir / "detectors.npz", other.states)
        history = logbook.history
    how = {"command": command, "wall_seconds": time.perf_counter() - began, "images_per_second": speed}
    return finish.write_outcome(config, run, state, evaluator, found, history, workdir, how, trained=train)
