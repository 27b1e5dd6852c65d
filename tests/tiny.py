"""A tiny training problem shared by the tests of step, train and checkpoint: real digits, a small network."""

import functools
import math
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.datasets import load_digits

from mollax import experiment, models, objectives, optim, parallel, recipes, step, train
from mollax.checkpoint import Checkpointer
from mollax.state import create_state

MEAN, STD = jnp.full(1, 0.3), jnp.full(1, 0.38)


def digits(count=64):
    """uint8 (count, 8, 8, 1) and int32 labels."""
    bunch = load_digits()
    images = (bunch.images[:count, :, :, None] * (255 / 16)).astype(np.uint8)
    return images, bunch.target[:count].astype(np.int32)


def problem(*, model="mlp", loss="cross_entropy", marginal="jensen", repeats=1, **model_options):
    """A model, its objective, an optimizer and the first state."""
    network = models.create_model(model, classes=10, axis_name=parallel.AXIS, **model_options)
    variables = network.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)), train=False)
    objective = objectives.classification_objective(
        network, classes=10, mean=MEAN, std=STD, mollifier={}, loss=loss, marginal=marginal, repeats=repeats
    )
    optimizer = optim.create_optimizer("sgd", optax.constant_schedule(0.05))
    return network, objective, optimizer, create_state(variables, optimizer)


def train_step(objective, optimizer, **options):
    return functools.partial(step.train_step, objective=objective, optimizer=optimizer, seed=1, **options)


def config(**changes):
    """The digits recipe cut down to seconds; `changes` are dotted names with "__" for the dot."""
    made = recipes.base()
    made.model.name = "mlp"
    made.augment.flip = False
    made.augment.pad = 1
    made.augment.degrees = 0.0
    made.data.limit = 200
    made.data.test_limit = 60
    made.train.duration = "8 steps"
    made.train.batch_size = 16
    made.log.every = "2 steps"
    made.eval.every = "4 steps"
    made.eval.batch_size = 64
    made.eval.resamples = 50
    made.eval.stress = ("noise:0.3", "contrast:0.3")
    made.checkpoint.every = "4 steps"
    for name, value in changes.items():
        parts = name.split("__")
        functools.reduce(getattr, parts[:-1], made)[parts[-1]] = value
    return made.lock()


def close(a, b, tolerance):
    """Largest difference between two trees of arrays, relative to the largest value, is within tolerance."""
    for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        left, right = np.asarray(left), np.asarray(right)
        scale = max(1.0, float(np.abs(left).max(initial=0.0)))
        assert math.isclose(0.0, float(np.abs(left - right).max(initial=0.0)) / scale, abs_tol=tolerance)


def equal(a, b):
    """Two trees of arrays are the same, bit for bit."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(np.asarray(left), np.asarray(right))


def last_state(workdir, config):
    """The newest checkpoint of a run."""
    run = experiment.create(config, experiment.load_data(config))
    return Checkpointer(workdir / "checkpoints", config=config.to_dict()).restore(experiment.init_state(config, run))


def stop_after_step_six(config, workdir, monkeypatch):
    """Trains until a SIGTERM that comes while step 6 is under way."""
    put = train._Meter.put

    def kill(self, first_step, metrics):
        put(self, first_step, metrics)
        if first_step == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(train._Meter, "put", kill)
        with pytest.raises(train.Interrupted, match="Stopped by SIGTERM after step 6; everything is saved"):
            train.train_and_evaluate(config, workdir)


def without_page(patch):
    """Runs end without their report, whose pictures take as long as the training, while `patch` lasts."""
    patch.setattr("mollax.finish.mollified_samples", lambda config, run: None)
    patch.setattr("mollax.report.write_report", lambda path, **content: None)


class Trained(Exception):
    """Raised by `train_only` in place of the evaluation."""


def train_only(config, workdir, monkeypatch):
    """Trains, from the last checkpoint if there is one, up to the last step's; what comes after it is left out."""
    loop = train._loop

    def stop(*args):
        loop(*args)
        raise Trained

    with monkeypatch.context() as patch:
        patch.setattr(train, "_loop", stop)
        with pytest.raises(Trained):
            train.train_and_evaluate(config, workdir)


def flow_config(**changes):
    """`config` with a small flow over rotations of digits."""
    settings = {
        "mollify__enabled": False,
        "augment__pad": 0,
        "model__options": {"hidden": (16,)},
        "invariance__augmenter": "flow",
        "invariance__optim__name": "sgd",  # optax's Adam promotes types, which conftest refuses
        "invariance__options": {"layers": 2, "widths": (8,)},
        "invariance__pose_options": {"widths": (2, 2, 4, 4)},
        "invariance__embedding": 6,
        "invariance__warmup": "2 steps",
        "invariance__predict__draws": 2,
        "eval__stress": (),
        "eval__transforms__images": 12,
        "eval__transforms__draws": 20,
        "eval__transforms__steps": 2,
        "eval__transforms__align_draws": 4,
    }
    return config(**{**settings, **changes})
