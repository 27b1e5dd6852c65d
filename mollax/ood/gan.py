"""A small GAN (Goodfellow et al. 2014) on a network's features or on pixels, for OpenGAN's negatives.

Losses are the non-saturating ones. Unlike the networks of OpenGAN's authors these have no batch norm, so that a step is
a pure function of parameters, and features are standardised by mean and spread of those that `Gan.initial` is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from mollax import checks

PyTree = Any
Data = Float[Array, "n ..."]


class GanParams(NamedTuple):
    """What samples and scores need.

    Attributes:
      generator, discriminator: parameters of the two networks.
      center, spread: of the data; both networks work on (x - center) / spread.
    """

    generator: PyTree
    discriminator: PyTree
    center: Float[Array, "*shape"]
    spread: Float[Array, "*shape"]


class GanState(NamedTuple):
    """Parameters and the optimizers' states."""

    params: GanParams
    generator_opt: PyTree
    discriminator_opt: PyTree


class MLP(nn.Module):
    """Linear layers with leaky ReLU (slope 0.2) between them; the last is linear."""

    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, x: Float[Array, "n d"]) -> Float[Array, "n k"]:
        """The last layer's values."""
        for width in self.widths[:-1]:
            x = nn.leaky_relu(nn.Dense(width)(x), 0.2)
        return nn.Dense(self.widths[-1])(x)


class PixelGenerator(nn.Module):
    """From a latent vector to (h, w, c) in (-1, 1): a linear layer, then two transposed convolutions of stride 2."""

    shape: tuple[int, int, int]
    width: int

    @nn.compact
    def __call__(self, z: Float[Array, "n z"]) -> Float[Array, "n h w c"]:
        """One picture a latent vector."""
        height, width, channels = self.shape
        start = (height // 4, width // 4, 2 * self.width)
        x = nn.Dense(start[0] * start[1] * start[2])(z).reshape(-1, *start)
        x = nn.ConvTranspose(self.width, (4, 4), (2, 2))(nn.leaky_relu(x, 0.2))
        return jnp.tanh(nn.ConvTranspose(channels, (4, 4), (2, 2))(nn.leaky_relu(x, 0.2)))


class PixelDiscriminator(nn.Module):
    """From a picture to one logit: two convolutions of stride 2 and a linear layer."""

    width: int

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n 1"]:
        """One logit a picture."""
        for width in (self.width, 2 * self.width):
            x = nn.leaky_relu(nn.Conv(width, (4, 4), (2, 2))(x), 0.2)
        return nn.Dense(1)(x.reshape(len(x), -1))


@dataclass(frozen=True)
class Gan:
    """Two networks and how they learn; made by `feature_gan` or `pixel_gan`. All methods are pure.

    Attributes:
      generator: (n, latent) -> standardised data.
      discriminator: standardised data -> (n, 1), the logit of being ID.
      latent: numbers a sample is made from.
      pixels: whether the data are images in [0, 1]; else features.
      nonnegative: whether samples below 0 become 0, for features after a ReLU.
      rate: Adam's learning rate of the generator; the discriminator's is 2/3 of it, as the authors'.
      outlier_weight: of real outliers in the discriminator's loss, where `step` is given some.
    """

    generator: nn.Module
    discriminator: nn.Module
    latent: int
    pixels: bool
    nonnegative: bool = False
    rate: float = 1e-4
    outlier_weight: float = 1.0

    def __post_init__(self) -> None:
        checks.positive_int("latent", self.latent)
        checks.in_range("rate", self.rate, 0.0, open_low=True)
        checks.in_range("outlier_weight", self.outlier_weight, 0.0)

    def initial(self, key: PRNGKeyArray, real: Data) -> GanState:
        """The state before the first step, for data like `real`: for features all that there are, for their scale.

        Raises: ValueError for no data or values that are not finite; TypeError for integers.
        """
        if not jnp.issubdtype(real.dtype, jnp.floating):
            raise TypeError(f"A GAN learns floats; got {real.dtype}. Divide 8-bit images by 255.")
        if len(real) == 0 or not np.isfinite(np.asarray(real)).all():
            raise ValueError(f"A GAN needs finite data to imitate; got shape {real.shape}, or NaN or infinity in it.")
        shape = real.shape[1:]
        center, spread = jnp.full(shape, 0.5, jnp.float32), jnp.full(shape, 0.5, jnp.float32)
        if not self.pixels:
            values = np.asarray(real, np.float64)
            deviation = values.std(axis=0)
            center = jnp.asarray(values.mean(axis=0), jnp.float32)
            # A feature that never changes would be divided by 0.
            spread = jnp.asarray(np.where(deviation > 1e-6, deviation, 1.0), jnp.float32)
        return _start(self, key, center, spread)

    def step(
        self, key: PRNGKeyArray, state: GanState, real: Data, *, outliers: Float[Array, "m ..."] | None = None
    ) -> tuple[GanState, dict[str, Float[Array, ""]]]:
        """One update of the discriminator, then one of the generator against it, and both losses in nats.

        As many samples are drawn as there are real data. With `outliers` (an auxiliary set's) the discriminator learns
        that they are not ID either.
        """
        first, second = jax.random.split(key)
        params = state.params
        generator_optimizer, discriminator_optimizer = self.optimizers()
        fake = self.sample(first, params, len(real))

        def discriminate(weights: PyTree) -> Array:
            current = params._replace(discriminator=weights)
            loss = discriminator_loss(-self.score(current, real), -self.score(current, fake))
            if outliers is None:
                return loss
            return loss + self.outlier_weight * jnp.mean(jax.nn.softplus(-self.score(current, outliers)))

        def generate(weights: PyTree) -> Array:
            made = self.sample(second, params._replace(generator=weights), len(real))
            return generator_loss(-self.score(params, made))

        against, gradient = jax.value_and_grad(discriminate)(params.discriminator)
        updates, discriminator_opt = discriminator_optimizer.update(gradient, state.discriminator_opt)
        params = params._replace(discriminator=optax.apply_updates(params.discriminator, updates))
        made, gradient = jax.value_and_grad(generate)(params.generator)
        updates, generator_opt = generator_optimizer.update(gradient, state.generator_opt)
        params = params._replace(generator=optax.apply_updates(params.generator, updates))
        return GanState(params, generator_opt, discriminator_opt), {"discriminator": against, "generator": made}

    def sample(self, key: PRNGKeyArray, params: GanParams, count: int) -> Data:
        """`count` synthetic negatives, in the data's own units; images in [0, 1]."""
        return self.generate(params, jax.random.normal(key, (count, self.latent), jnp.float32))

    def generate(self, params: GanParams, latent: Float[Array, "n z"]) -> Data:
        """One synthetic negative a latent vector, as `sample`; the discriminator's parameters play no part."""
        standardised: Any = self.generator.apply(params.generator, latent)
        made = params.center[None] + params.spread[None] * standardised
        return jax.nn.relu(made) if self.nonnegative else made

    def score(self, params: GanParams, data: Data) -> Float[Array, " n"]:
        """Minus the discriminator's logit of being ID: high for OOD."""
        scaled = (data - params.center[None]) / params.spread[None]
        logits: Any = self.discriminator.apply(params.discriminator, scaled)
        return -logits[:, 0]

    def optimizers(self) -> tuple[optax.GradientTransformation, optax.GradientTransformation]:
        """Of the generator and of the discriminator."""
        return optax.adam(self.rate, b1=0.5), optax.adam(self.rate / 1.5, b1=0.5)


@partial(jax.jit, static_argnums=0)
def _start(gan: Gan, key: PRNGKeyArray, center: Array, spread: Array) -> GanState:
    """Random parameters for data of this shape, in one compiled function."""
    generator_key, discriminator_key = jax.random.split(key)
    generator = gan.generator.init(generator_key, jnp.zeros((1, gan.latent), jnp.float32))
    discriminator = gan.discriminator.init(discriminator_key, jnp.zeros((1, *center.shape), jnp.float32))
    ours, theirs = gan.optimizers()
    params = GanParams(generator, discriminator, center, spread)
    return GanState(params, ours.init(generator), theirs.init(discriminator))


def feature_gan(
    width: int,
    *,
    latent: int = 100,
    hidden: Sequence[int] = (256, 256),
    nonnegative: bool = False,
    rate: float = 1e-4,
    outlier_weight: float = 1.0,
) -> Gan:
    """A GAN on features of `width` numbers, both networks with these hidden layers.

    Raises: ValueError for a width, latent or hidden layer below 1, or options out of range; TypeError for no integers.
    """
    checks.positive_int("width", width)
    for layer in hidden:
        checks.positive_int("each of hidden", layer)
    networks = MLP((*hidden, width)), MLP((*hidden, 1))
    return Gan(*networks, latent, False, nonnegative=nonnegative, rate=rate, outlier_weight=outlier_weight)


def pixel_gan(
    shape: tuple[int, int, int],
    *,
    latent: int = 100,
    width: int = 32,
    rate: float = 2e-4,
    outlier_weight: float = 1.0,
) -> Gan:
    """A GAN on (height, width, channels) images in [0, 1], with two small (transposed) convolutions; `width` channels.

    Raises: ValueError for sides that are no multiples of 4, or options out of range; TypeError for no integers.
    """
    if len(shape) != 3 or min(shape) < 1 or shape[0] % 4 or shape[1] % 4:
        raise ValueError(f"shape must be (height, width, channels) with sides that are multiples of 4; got {shape}.")
    checks.positive_int("width", width)
    networks = PixelGenerator(shape, width), PixelDiscriminator(width)
    return Gan(*networks, latent, True, rate=rate, outlier_weight=outlier_weight)


def discriminator_loss(real: Float[Array, " n"], fake: Float[Array, " m"]) -> Float[Array, ""]:
    """-E_real[log sigma(D)] - E_fake[log(1 - sigma(D))] of logits D, in nats; 2 log 2 when it cannot tell."""
    return jnp.mean(jax.nn.softplus(-real)) + jnp.mean(jax.nn.softplus(fake))


def generator_loss(fake: Float[Array, " m"]) -> Float[Array, ""]:
    """-E_fake[log sigma(D)] of logits D, in nats: non-saturating, log 2 when the discriminator cannot tell."""
    return jnp.mean(jax.nn.softplus(-fake))
