"""The source "gan" of outliers: what a GAN learns before the first step, and how its generators stay in the state.

It imitates training images, or their features under the classifier that training starts from, and then stays as it is:
every step draws from the same distribution, those of a resumed run too. With features that means that a classifier
which goes on learning moves away from what was imitated; while the critic alone learns (`ood.mode="head"`) it does not.
"""

from __future__ import annotations

import dataclasses
import inspect
import logging
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PRNGKeyArray, UInt8
from ml_collections import ConfigDict
from PIL import Image

from mollax import checks, data, evaluators, keys, ood
from mollax.data import Dataset, Split
from mollax.objectives.outliers import GENERATED
from mollax.state import TrainState

PICTURES, SIDE = 12, 64  # of a sheet: pictures of each generator, and about how many pixels they are enlarged to


@dataclass(frozen=True)
class Generating:
    """What generates outliers.

    Attributes:
      gan: the two networks.
      on: "features" or "pixels".
      places: for `extra["gan"]`; NaN until `learn`.
    """

    gan: ood.Gan
    on: str
    places: ood.Generators

    @property
    def number(self) -> int:
        """How many generators there are."""
        return len(jax.tree.leaves(self.places.params)[0])

    def draw(self, key: PRNGKeyArray, each: Key[Array, " n"], generators: ood.Generators) -> Float[Array, "n ..."]:
        """An outlier for every key of `each`, all by one of the generators, which `key` draws."""
        which = jax.random.randint(key, (), 0, self.number)
        return ood.draw_negatives(each, generators, which, gan=self.gan)

    def examples(self, generators: ood.Generators, count: int) -> Float[Array, "g n ..."]:
        """`count` outliers of each generator, always the same ones."""
        each = keys.example_keys(keys.stream_key(0, "negatives"), 0, count)
        draw = jax.jit(partial(ood.draw_negatives, gan=self.gan))
        return jnp.stack([draw(each, generators, jnp.int32(i)) for i in range(self.number)])


def create_gan(settings: ConfigDict, classifier: nn.Module, image_shape: tuple[int, int, int]) -> Generating:
    """The GAN of `config.ood.gan`, which has not learned yet.

    Raises:
      ValueError, TypeError: for settings that make no sense.
    """
    on, options = checks.one_of("ood.gan.on", settings.on, GENERATED), settings.options.to_dict()
    make: Any = ood.pixel_gan if on == "pixels" else ood.feature_gan
    for option in options:
        known = [p.name for p in inspect.signature(make).parameters.values() if p.kind is p.KEYWORD_ONLY]
        checks.one_of("option of ood.gan", option, known)
    shape: tuple[int, ...] = image_shape
    if on == "features":

        def features(images: Array) -> Any:
            return classifier.init_with_output(jax.random.key(0), images, train=False, method="features")[0]

        shape = jax.eval_shape(features, jnp.zeros((1, *image_shape), jnp.float32)).shape[1:]
    gan = make(shape if on == "pixels" else shape[0], **options)
    return Generating(gan, on, ood.empty_generators(gan, shape, settings.generators))


def learn(
    config: ConfigDict,
    generating: Generating,
    model: nn.Module,
    dataset: Dataset,
    state: TrainState,
    *,
    mean: Float[Array, " c"],
    std: Float[Array, " c"],
) -> TrainState:
    """The first state with generators that have learned from training images (random: by `config.seed`).

    Images are as they are, without augmentation; features are those in evaluation. Features that are nowhere negative
    are imitated by such.

    Raises:
      ValueError: for features of a classifier that has not been trained, counts below 1, or a GAN that diverged.
    """
    settings, began = config.ood.gan, time.perf_counter()
    split = data.take_evenly(dataset.train, settings.images)
    if generating.on == "pixels":
        real = evaluators.stack(split, np.arange(len(split))).astype(np.float32) / np.float32(255)
    else:
        real = _features(config, model, dataset, split, state, mean=mean, std=std)
    nonnegative = generating.on == "features" and bool(real.min() >= 0)
    gan = dataclasses.replace(generating.gan, nonnegative=nonnegative)
    checkpoints = ood.fit_gan(
        keys.stream_key(config.seed, "gan"),
        gan,
        jnp.asarray(real),
        steps=settings.steps,
        batch=settings.batch_size,
        checkpoints=settings.generators,
    )
    generators = ood.gather_generators(checkpoints, least=0.0 if nonnegative else -np.inf)
    seconds = time.perf_counter() - began
    logging.info("A GAN has learned from the %s of %d training images in %.0f s.", generating.on, len(split), seconds)
    return state.replace(extra={**state.extra, "gan": generators})


def _features(
    config: ConfigDict,
    model: nn.Module,
    dataset: Dataset,
    split: Split,
    state: TrainState,
    *,
    mean: Float[Array, " c"],
    std: Float[Array, " c"],
) -> Float[np.ndarray, "n d"]:
    """Features under the classifier that training starts from, which must be a trained one."""
    if not (config.init_from or config.model.weights):
        raise ValueError(
            "A GAN on features imitates those of a trained classifier: name its run by init_from, or set "
            'ood.gan.on to "pixels".'
        )
    one = evaluators.FeaturePass(
        model, image_shape=dataset.image_shape, mean=mean, std=std, batch_size=config.eval.batch_size
    )
    return one.run(state.evaluated(), split).features


def write_sheet(path: Path, generating: Generating, generators: ood.Generators) -> None:
    """A PNG of images that a GAN on pixels makes, a line for each generator, the earliest first."""
    made = np.asarray(generating.examples(jax.device_get(generators), PICTURES))
    pixels: UInt8[np.ndarray, "g n h w c"] = np.rint(255 * made).astype(np.uint8)
    zoom = max(1, SIDE // made.shape[2])
    # A margin of one black pixel, then lines of pictures beside each other.
    framed = np.pad(pixels, [(0, 0), (0, 0), (0, 1), (0, 1), (0, 0)])
    sheet = np.concatenate([np.concatenate(list(line), axis=1) for line in framed], axis=0)
    sheet = sheet.repeat(zoom, axis=0).repeat(zoom, axis=1)
    Image.fromarray(sheet[:, :, 0] if sheet.shape[2] == 1 else sheet).save(path)
