"""Base distributions of the flow: mixtures of Gaussians or of uniforms that depend on the image (A.3.1, A.3.2)."""

from __future__ import annotations

import math
from typing import Any

import distrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key, PRNGKeyArray

from mollax import checks
from mollax.invariance.precision import at_least_float32

BASES = ("gaussian", "uniform")
RELAXATIONS = ("straight_through", "soft", "score")
_OUTSIDE = -1e30  # a log-density of nothing whose gradient is zero, not NaN
# A sample at the edge of its box counts as inside: the tolerance in scales, and in roundings of what is subtracted,
# which alone are wider than a narrow box far from 0.
_ROUNDING, _ROUNDINGS = 1e-5, 4


class Mixture(distrax.Distribution):
    """sum_k pi_k N(loc_k, scale_k^2) or sum_k pi_k U[loc_k - scale_k, loc_k + scale_k], independent over dimensions.

    Samples are differentiable in all parameters: z = sum_k y_k (loc_k + scale_k e), e standard normal or uniform in
    (-1, 1), y = softmax((log pi + Gumbel) / temperature) (Jang et al. 2017). "straight_through" uses the one-hot y
    with the soft one's gradient: z is exactly distributed as `log_prob` says, its gradient in pi is an approximation.
    "soft" uses y itself: the gradient is that of the samples, but they lie between the modes too and `log_prob` is not
    their density, so an entropy computed from it is biased. "score", ours, uses the one-hot y without a gradient;
    what is computed from z has to be differentiated with `score`, and is then unbiased in all parameters.

    The density of uniforms has no gradient at the edges of the boxes: the entropy of a mixture of overlapping ones
    ignores how the overlap changes. With one mode it is exact.

    A box counts as larger than it is by 1e-5 of its scale and four roundings of loc and the value, so that no sample
    is outside of its own: without an effect but for boxes about as narrow as numbers are apart there.

    Every row of the batch draws its own noise. Log-densities are float32 (float64 of float64), in nats; so is all
    arithmetic, whatever the precision of what is given.

    Args:
      logits: (*batch, k), of the weights pi.
      loc, log_scale: (*batch, k, d).
      family: "gaussian" or "uniform".
      relaxation: "straight_through", "soft" or "score".
      temperature: of the Gumbel-softmax.

    Raises:
      ValueError: for shapes that disagree, an unknown family or relaxation, soft uniforms (samples between boxes
        would have density 0), or a temperature that is not positive.
    """

    def __init__(
        self,
        logits: Float[Array, "*batch k"],
        loc: Float[Array, "*batch k d"],
        log_scale: Float[Array, "*batch k d"],
        *,
        family: str = "gaussian",
        relaxation: str = "straight_through",
        temperature: float = 0.05,
    ) -> None:
        super().__init__()
        if loc.shape != log_scale.shape or loc.shape[:-1] != logits.shape:
            raise ValueError(
                "A mixture takes logits (*batch, k) and loc and log_scale (*batch, k, d); got "
                f"{logits.shape}, {loc.shape} and {log_scale.shape}."
            )
        check_options(family, relaxation, temperature, modes=logits.shape[-1])
        self._logits, self._loc, self._log_scale = map(at_least_float32, (logits, loc, log_scale))
        self._family, self._relaxation, self._temperature = family, relaxation, temperature

    @property
    def event_shape(self) -> tuple[int, ...]:
        """(d,)."""
        return self._loc.shape[-1:]

    @property
    def batch_shape(self) -> tuple[Any, ...]:
        """That of the parameters; numbers, or symbols while a program is exported for any number of rows."""
        return self._logits.shape[:-1]

    def sample_each(self, keys: Key[Array, "*batch"], *, n: int) -> Float[Array, "n *batch d"]:
        """n samples of every row by its own key: what a row draws does not depend on the others.

        Raises:
          ValueError: if the keys are not one a row.
        """
        if keys.shape != self.batch_shape:
            raise ValueError(f"One key a row: expected keys of shape {self.batch_shape}, got {keys.shape}.")
        axes = len(keys.shape)
        logits, loc, log_scale = (
            row.reshape(-1, *row.shape[axes:]) for row in (self._logits, self._loc, self._log_scale)
        )
        drawn = jax.vmap(self._sample_row, in_axes=(0, 0, 0, 0, None))(keys.reshape(-1), logits, loc, log_scale, n)
        return jnp.moveaxis(drawn, 1, 0).reshape(n, *keys.shape, *self.event_shape)

    def _sample_row(
        self,
        key: PRNGKeyArray,
        logits: Float[Array, " k"],
        loc: Float[Array, "k d"],
        log_scale: Float[Array, "k d"],
        n: int,
    ) -> Float[Array, "n d"]:
        k, d = loc.shape
        # One call draws all that is random: a generator takes longer to compile than the rest.
        width = d if k == 1 else d + k
        lowest = float(jnp.finfo(loc.dtype).epsneg) - 1  # the first number above -1
        uniform = jax.random.uniform(key, (n, width), loc.dtype, lowest, 1.0)
        noise = uniform[:, :d]
        if self._family == "gaussian":
            noise = math.sqrt(2) * jax.lax.erf_inv(noise)
        if k == 1:
            return loc + jnp.exp(log_scale) * noise
        gumbel = -jnp.log(-jnp.log((1 + uniform[:, d:]) / 2))
        noisy = jax.nn.log_softmax(logits)[None] + gumbel
        soft = jax.nn.softmax(noisy / self._temperature)
        if self._relaxation == "soft":
            chosen = soft
        else:
            hard = jax.nn.one_hot(jnp.argmax(noisy, -1), k, dtype=loc.dtype)
            # In this order the value is `hard` to the last bit: the difference of a number and itself is 0.
            chosen = hard if self._relaxation == "score" else hard + (soft - jax.lax.stop_gradient(soft))
        mixed = jnp.matmul(chosen, jnp.concatenate([loc, jnp.exp(log_scale)], 1), precision="highest")
        return mixed[:, :d] + mixed[:, d:] * noise

    def _sample_n(self, key: PRNGKeyArray, n: int) -> Float[Array, "n *batch d"]:
        if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):  # what distrax makes of a number
            key = jax.random.wrap_key_data(key)
        keys = jax.random.split(key, self.batch_shape) if self.batch_shape else key
        return self.sample_each(keys, n=n)

    def log_prob(self, value: Float[Array, "*sample d"]) -> Float[Array, "*sample"]:
        """log sum_k pi_k p_k(value), exactly; -inf outside of all uniforms. Sample axes lead, then the batch's.

        Raises:
          ValueError: if the value has another number of dimensions d.
        """
        z, loc, log_scale = self._beside(value)
        if self._family == "gaussian":
            squares = jnp.square((z - loc) * jnp.exp(-log_scale))
            return self._mixed(jnp.sum(-0.5 * squares - log_scale - 0.5 * math.log(2 * math.pi), -1))
        rounding = _ROUNDINGS * float(jnp.finfo(z.dtype).eps) * (jnp.abs(loc) + jnp.abs(z))
        return self.boxes_log_prob(jnp.all(jnp.abs(z - loc) <= jnp.exp(log_scale) * (1 + _ROUNDING) + rounding, -1))

    def boxes_log_prob(self, inside: Bool[Array, "*sample k"]) -> Float[Array, "*sample"]:
        """log_prob of a mixture of uniforms for values of which is known in which boxes they are."""
        shape = (1,) * (inside.ndim - self._logits.ndim) + self._loc.shape
        each = jnp.where(inside, -jnp.sum(self._log_scale.reshape(shape) + math.log(2), -1), _OUTSIDE)
        return jnp.where(jnp.any(inside, -1), self._mixed(each), -jnp.inf)

    def nearest_in_boxes(self, value: Float[Array, "*sample d"]) -> Float[Array, "*sample k d"]:
        """The point of each box loc +- scale that is nearest to the value.

        Raises:
          ValueError: if the value has another number of dimensions d.
        """
        z, loc, log_scale = self._beside(value)
        return jnp.clip(z, loc - jnp.exp(log_scale), loc + jnp.exp(log_scale))

    def _beside(self, value: Float[Array, "*sample d"]) -> tuple[Float[Array, "*_ d"], ...]:
        """A value, locations and log-scales, whose axes (*sample, k, d) fit each other."""
        if value.shape[-1:] != self.event_shape:
            raise ValueError(f"The mixture is over {self.event_shape[0]} dimensions; got a value of {value.shape}.")
        z = at_least_float32(value)[..., None, :]
        shape = (1,) * (z.ndim - self._loc.ndim) + self._loc.shape
        return z, self._loc.reshape(shape), self._log_scale.reshape(shape)

    def _mixed(self, each: Float[Array, "*sample k"]) -> Float[Array, "*sample"]:
        """log sum_k pi_k exp(each_k)."""
        if self._logits.shape[-1] == 1:
            return each[..., 0]
        logits = jax.nn.log_softmax(self._logits)
        return jax.nn.logsumexp(logits.reshape((1,) * (each.ndim - logits.ndim) + logits.shape) + each, axis=-1)

    def score(self, value: Float[Array, "*sample d"]) -> Float[Array, "*sample"] | None:
        """log_prob(value) as a function of the weights pi alone, for `surrogate_losses`; None but for "score".

        E over modes of h grad log pi_k = E of h grad log_prob, at fixed samples: the one that does not need to know the
        mode has less noise (Rao-Blackwell).
        """
        if self._relaxation != "score" or self._logits.shape[-1] == 1:
            return None
        fixed = jax.lax.stop_gradient((self._loc, self._log_scale, value))
        return Mixture(self._logits, *fixed[:2], family=self._family).log_prob(fixed[2])


def check_options(family: str, relaxation: str, temperature: float, *, modes: int) -> None:
    """Raises ValueError where `Mixture` would; for checks before there are arrays."""
    checks.one_of("base", family, BASES)
    checks.one_of("relaxation", relaxation, RELAXATIONS)
    checks.in_range("temperature", temperature, 0.0, open_low=True)
    checks.positive_int("modes", modes)
    if family == "uniform" and relaxation == "soft" and modes > 1:
        raise ValueError(
            "Soft samples of a mixture of uniforms lie between its boxes, where their density is 0; use relaxation "
            '"straight_through", base "gaussian" or one mode.'
        )
