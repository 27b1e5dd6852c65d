"""Kill -9 at random moments, saves included, and resume: the same parameters, bit for bit. Two processes likewise."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp
import pytest
import tiny

ROOT = Path(__file__).parents[1]
STEPS = 60
OVERRIDES = (
    f"--config.train.duration={STEPS} steps",
    "--config.model.name=resnet8",
    "--config.train.batch_size=16",
    "--config.data.limit=200",
    "--config.data.test_limit=60",
    "--config.eval.every=20 steps",
    "--config.eval.stress=()",
    "--config.checkpoint.every=2 steps",
    "--config.log.every=1 steps",
)


def start(workdir, cache, *flags, devices=1):
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        # Restarts would spend most of their time compiling the same program.
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    command = [sys.executable, "-m", "mollax.main", "--config=configs/digits.py", f"--workdir={workdir}", *OVERRIDES]
    output = (workdir.parent / f"{workdir.name}.log").open("ab")
    with output:
        return subprocess.Popen([*command, *flags], cwd=ROOT, env=environment, stdout=output, stderr=output)


def finish(workdir, *processes):
    codes = [process.wait(timeout=600) for process in processes]
    assert codes == [0] * len(processes), (workdir.parent / f"{workdir.name}.log").read_text()[-3000:]


def state_of(workdir):
    return ocp.StandardCheckpointer().restore((workdir / "checkpoints" / str(STEPS) / "state").absolute())


def losses_of(workdir):
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [row["train/loss"] for row in rows if "train/loss" in row]


def wait_for_a_moment(workdir, process, draw, during_save):
    """Returns after a few more steps, or as soon as a save is under way."""
    metrics, folder = workdir / "metrics.jsonl", workdir / "checkpoints"
    target = None
    while process.poll() is None:
        time.sleep(0.001)
        lines = metrics.read_bytes().count(b"\n") if metrics.exists() else 0
        if target is None and lines:
            target = lines + draw.randint(1, 5)
        if target is None or lines < target:
            continue
        if not during_save:
            time.sleep(draw.uniform(0, 0.05))
            return
        started = [d for d in folder.iterdir() if not (d / "commit_success.txt").exists()]
        if started:
            time.sleep(draw.uniform(0, 0.02))
            return


@pytest.mark.slow
def test_ten_kills_leave_the_same_parameters(tmp_path):
    whole, broken, cache = tmp_path / "whole", tmp_path / "broken", tmp_path / "cache"
    finish(whole, start(whole, cache))
    draw = random.Random(0)
    killed = 0
    for number in range(10):
        process = start(broken, cache)
        wait_for_a_moment(broken, process, draw, during_save=number % 2 == 1)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killed += 1
        process.wait(timeout=60)
    assert killed == 10, "the run was over before ten kills: raise STEPS"
    finish(broken, start(broken, cache))
    tiny.equal(state_of(whole), state_of(broken))


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.mark.slow
def test_two_processes_draw_the_same_and_learn_the_same(tmp_path):
    """2 processes of 1 device, 1 process of 1 and of 2 devices: the same losses up to rounding."""
    flags = [f"--coordinator=127.0.0.1:{free_port()}", "--processes=2"]
    runs = {name: tmp_path / name for name in ("one", "two", "processes")}
    finish(runs["one"], start(runs["one"], tmp_path / "cache"))
    finish(runs["two"], start(runs["two"], tmp_path / "cache", devices=2))
    pair = [start(runs["processes"], tmp_path / f"cache{i}", *flags, f"--process={i}") for i in range(2)]
    finish(runs["processes"], *pair)
    losses = {name: losses_of(workdir) for name, workdir in runs.items()}
    # Later, one ReLU that falls on the other side of zero makes rounding grow, as it would on any hardware.
    np.testing.assert_allclose(losses["two"][:12], losses["one"][:12], rtol=1e-5)
    np.testing.assert_allclose(losses["two"], losses["one"], rtol=0.05)
    np.testing.assert_allclose(losses["processes"], losses["two"], rtol=1e-5)
    tiny.close(state_of(runs["two"])["params"], state_of(runs["processes"])["params"], 1e-5)
