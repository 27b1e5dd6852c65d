"""Synthetic negatives (OpenGAN, Kong and Ramanan 2021): what a GAN makes while it learns to imitate ID data.

On features by default (`feature_gan`), or on pixels (`pixel_gan`). The samples are outliers to train with, and the
discriminator tells ID from not ID, so that it is a score of its own (`Gan.score`). The authors choose among checkpoints
by real outliers; here only held-out ID and block-shuffled ID choose, so that no test family is seen. Training takes its
outliers from the generators of several checkpoints: early ones make what is far from ID, late ones what is near.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer, Key, PRNGKeyArray
from scipy import stats

from mollax import checks
from mollax.ood.gan import Data, Gan, GanParams, GanState

Host = np.ndarray | jax.Array


class Generators(NamedTuple):
    """What negatives are drawn from: the generators of several checkpoints of a GAN.

    Attributes:
      params: of the generators, each leaf with an axis over checkpoints in front.
      center, spread: as in `GanParams`.
      least: samples below it become it: 0 for features that are nowhere negative, else minus infinity.
    """

    params: Any
    center: Float[Array, "*shape"]
    spread: Float[Array, "*shape"]
    least: Float[Array, ""]


class Choice(NamedTuple):
    """Position of the best checkpoint, and every checkpoint's AUROC of held-out ID against block-shuffled ID."""

    best: int
    aurocs: Float[np.ndarray, " c"]


def fit_gan(
    key: PRNGKeyArray, gan: Gan, real: Data, *, steps: int, batch: int = 128, checkpoints: int = 10
) -> list[GanParams]:
    """Trains on random batches of `real`; returns the parameters at `checkpoints` equal distances, the last at the end.

    Written for data that fit on one device: a bank of features, or some ten thousand small images.

    Raises: ValueError for more checkpoints than steps, or counts below 1; TypeError for no integers; as `Gan.initial`.
    """
    checks.positive_int("steps", steps)
    checks.positive_int("batch", batch)
    if checks.positive_int("checkpoints", checkpoints) > steps:
        raise ValueError(f"There can be at most a checkpoint a step; got {checkpoints} for {steps} steps.")
    initial_key, step_key = jax.random.split(key)
    state = gan.initial(initial_key, real)
    kept = {steps * (i + 1) // checkpoints for i in range(checkpoints)}

    saved = []
    for number in range(1, steps + 1):
        state = _update(gan, batch, step_key, jnp.uint32(number), state, real)
        if number in kept:
            saved.append(state.params)
    return saved


@partial(jax.jit, static_argnums=(0, 1))
def _update(gan: Gan, batch: int, key: PRNGKeyArray, number: Array, state: GanState, real: Data) -> GanState:
    """One step on a random batch; compiled once for each GAN and size."""
    batch_key, step_key = jax.random.split(jax.random.fold_in(key, number))
    return gan.step(step_key, state, real[jax.random.randint(batch_key, (batch,), 0, len(real))])[0]


def gather_generators(checkpoints: Sequence[GanParams], *, least: float = -np.inf) -> Generators:
    """The generators of checkpoints of one GAN.

    Raises: ValueError for no checkpoints, or parameters that are not finite.
    """
    if not checkpoints:
        raise ValueError("Negatives need at least one checkpoint to draw from.")
    params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(one.generator for one in checkpoints))
    if not all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(params)):
        raise ValueError("Parameters of a generator are not finite: the GAN diverged. Lower its rate.")
    return Generators(params, checkpoints[0].center, checkpoints[0].spread, jnp.float32(least))


def empty_generators(gan: Gan, shape: tuple[int, ...], count: int) -> Generators:
    """Places for `count` generators of data of this shape; NaN, so that nothing is drawn before they are learned.

    Raises: ValueError for a count below 1; TypeError for no integer.
    """
    checks.positive_int("count", count)
    latent = jax.ShapeDtypeStruct((1, gan.latent), jnp.float32)
    params = jax.eval_shape(gan.generator.init, jax.random.key(0), latent)
    places = jax.tree.map(lambda leaf: jnp.full((count, *leaf.shape), jnp.nan, leaf.dtype), params)
    nothing = jnp.full(shape, jnp.nan, jnp.float32)
    return Generators(places, nothing, nothing, jnp.float32(jnp.nan))


def draw_negatives(
    keys: Key[Array, " n"], generators: Generators, which: int | Integer[Array, ""], *, gan: Gan
) -> Data:
    """A negative for every key, in the data's own units, all by generator number `which`."""
    params = jax.tree.map(lambda leaf: leaf[which], generators.params)
    latent = jax.vmap(lambda key: jax.random.normal(key, (gan.latent,), jnp.float32))(keys)
    made = gan.generate(GanParams(params, None, generators.center, generators.spread), latent)
    return jnp.maximum(made, generators.least)


def choose_discriminator(
    gan: Gan, checkpoints: Sequence[GanParams], validation: Float[Host, "n ..."], shuffled: Float[Host, "m ..."]
) -> Choice:
    """The checkpoint whose score ranks block-shuffled ID highest above held-out ID: the first with the largest AUROC.

    For a GAN on features both are features: of validation images, and of the same after `block_shuffle`.

    Raises: ValueError for no checkpoints, no data, or scores that are not finite.
    """
    if not checkpoints or 0 in (len(validation), len(shuffled)):
        raise ValueError("There must be checkpoints, held-out ID data and block-shuffled ID data to choose by.")
    score = jax.jit(gan.score)
    aurocs = []
    for place, params in enumerate(checkpoints):
        inside, outside = (np.asarray(score(params, jnp.asarray(data))) for data in (validation, shuffled))
        if not (np.isfinite(inside).all() and np.isfinite(outside).all()):
            raise ValueError(f"Scores of checkpoint {place} are not finite: the GAN diverged. Lower its rate.")
        ranks = stats.rankdata(np.concatenate([outside, inside]).astype(np.float64))[: len(outside)]
        wins = ranks.sum() - len(outside) * (len(outside) + 1) / 2
        aurocs.append(wins / (len(outside) * len(inside)))
    return Choice(int(np.argmax(aurocs)), np.array(aurocs))
