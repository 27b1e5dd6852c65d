"""The image-conditional RealNVP flow over transform parameters (Dinh et al. 2017; Singhal et al. 2023, A.3.1).

    z ~ base(. ; e),   T = f_L( ... f_1(z; e) ...; e),   log g(T; I) = log base(z; e) - sum of log |det|

with e the embedding of the image I. A layer f_l is an affine coupling, which keeps some coordinates x_K and maps the
others to x exp(s) + m with (s, m) = MLP_l(x_K, e), followed by c tanh(x / c), c = 6. After the last, w tanh(x / w)
bounds the parameters to (-w, w), in fact to +-w tanh(c / w), .99999 for w = 1, as x is in (-c, c); every one of these
steps is in the density. The layers keep fixed, shuffled halves of the coordinates by turns, so that two layers change
all of them; a single coordinate is changed given e alone.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from mollax import checks
from mollax.invariance.base import Mixture, check_options
from mollax.invariance.precision import at_least_float32

Values = Float[Array, "*batch d"]
LogDet = Float[Array, "*batch"]
First = Float[Array, "_ *batch"]  # features lead inside: what is done to them is contiguous, and twice as fast
PyTree = Any

_LEAST_RATIO = 3  # of c to w: tanh(3) = .995
_ROUNDING = 1e-5  # of parameters, in units of the bound


def kept_coordinates(layers: int, dimension: int) -> Bool[np.ndarray, "layers d"]:
    """Which coordinates each layer leaves as they are: half of them (rounded down), then the opposite half, by turns.

    Every two layers a new fixed shuffle decides the halves. Of one coordinate none is kept.
    """
    kept = np.zeros((layers, dimension), bool)
    half = dimension // 2
    for layer in range(0, layers if half else 0, 2):
        order = np.random.default_rng(layer).permutation(dimension)
        kept[layer, order[:half]] = True
        if layer + 1 < layers:
            kept[layer + 1, order[dimension - half :]] = True
    return kept


def _stretch(y: Values) -> Values:
    """The inverse of tanh. Values at or beyond its bounds are read as the last number before them."""
    last = 1 - float(jnp.finfo(y.dtype).epsneg)
    return jnp.arctanh(jnp.clip(y, -last, last))


@jax.custom_jvp
def _squash(u: First) -> tuple[First, LogDet]:
    """tanh(u), and its log-determinant: the sum over the first axis of log(1 - tanh(u)^2), which would round to log 0.

    It is -2 (|u| + log((1 + e^(-2|u|)) / 2)) for each, with one logarithm of a product for many: logarithms are what
    takes long. A product of 64, lest it underflow.
    """
    size = jnp.abs(u)
    factors = (1 + jnp.exp(-2 * size)) / 2
    logs = [jnp.log(jnp.prod(factors[i : i + 64], 0)) for i in range(0, len(u), 64)]
    return jnp.tanh(u), -2 * (jnp.sum(size, 0) + sum(logs))


@_squash.defjvp
def _(primals: tuple[First], tangents: tuple[First]) -> tuple[tuple[First, LogDet], tuple[First, LogDet]]:
    """Slopes 1 - tanh^2 and -2 tanh: tanh is all that has to be kept for them."""
    squashed, log_det = _squash(*primals)
    moved = squashed * tangents[0]
    return (squashed, log_det), (tangents[0] - squashed * moved, -2 * jnp.sum(moved, 0))


def _product(kernel: Float[Array, "d f"], x: First) -> First:
    """kernel^T x; of one long matrix x, since the products of its gradient are slower with more axes."""
    flat = x.reshape(len(x), math.prod(x.shape[1:]))  # -1 could not tell the size if there are no images
    rows = jax.lax.dot_general(kernel, flat, (((0,), (0,)), ((), ())), precision="highest")
    return rows.reshape(len(rows), *x.shape[1:])


def _with_bias(
    kernel: Float[Array, "layers i o"], bias: Float[Array, "layers o"], *, pass_on: bool
) -> Float[Array, "layers i+1 _"]:
    """Kernels for features that end with a 1, so that the last row is the bias; `pass_on` makes results end so too."""
    rows = jnp.concatenate([kernel, bias[:, None]], 1)
    if not pass_on:
        return rows
    column = np.zeros((*rows.shape[:2], 1))
    column[:, -1] = 1
    return jnp.concatenate([rows, jnp.asarray(column, rows.dtype)], 2)


def _conditioner(params: PyTree, x: First) -> tuple[First, First, First]:
    """Log-scale and shift of one coupling, and x itself.

    The first product has an identity beside its weights and gives x back. XLA would compute anything cheaper once more
    for each of its uses, and what that is made of, layer after layer, which takes ten times as long.
    """
    given = params["given"]
    first, x = jnp.split(_product(params["first"], x), [len(given)])
    hidden = first + given.reshape(len(given), *(1,) * (x.ndim - given.ndim), *given.shape[1:])
    for kernel in params["hidden"]:
        hidden = _product(kernel, nn.relu(hidden))
    log_scale, shift = jnp.split(_product(params["last"], nn.relu(hidden)), 2)
    return log_scale, shift, x


def _forward(params: PyTree, x: First, inner: float) -> tuple[First, LogDet]:
    """A coupling and c tanh(. / c), with the log-determinant."""
    log_scale, shift, x = _conditioner(params, x)
    squashed, log_det = _squash((x * jnp.exp(log_scale) + shift) / inner)
    return inner * squashed, log_det + jnp.sum(log_scale, 0)


def _inverse(params: PyTree, y: First, inner: float) -> tuple[First, LogDet]:
    """The way back, with the log-determinant of the way there."""
    log_scale, shift, x = _conditioner(params, inner * _stretch(y / inner))
    return (x - shift) * jnp.exp(-log_scale), _squash(x / inner)[1] + jnp.sum(log_scale, 0)


def _lead(array: Array, like: Array) -> Array:
    """The array with axes of length 1 in front, as many as `like` has more."""
    return jnp.reshape(array, (1,) * (like.ndim - array.ndim) + array.shape)


class Couplings(distrax.Bijector):
    """All layers and the final bound, as one distrax bijector over vectors.

    Args:
      params: of the layers, stacked, as `TransformFlow` names them.
      kept: as `kept_coordinates` gives.
      embedding: of the images.
      inner: c, of the tanh after each layer.
      bound: w.
      scan: one compiled layer in a loop, which compiles about twice as fast; else all of them in a row.
    """

    def __init__(
        self,
        params: PyTree,
        kept: Bool[np.ndarray, "layers d"],
        embedding: Float[Array, "*batch e"],
        *,
        inner: float,
        bound: float,
        scan: bool,
    ) -> None:
        super().__init__(event_ndims_in=1)
        # Biases are weights of a feature 1: no sums of their own, forward or backward. Zero weights give what is kept
        # a scale of 1 and a shift of 0, exactly, and hide the others from the products.
        layers, d = kept.shape
        first = jnp.where(kept[:, :, None], params["first"], 0)
        beside = jnp.asarray(np.tile(np.eye(d, d + 1, k=1), (layers, 1, 1)), first.dtype)
        last = _with_bias(params["last"], params["last_bias"], pass_on=False)
        context = _with_bias(params["context"], params["context_bias"], pass_on=True)
        ones = jnp.ones((1, *embedding.shape[:-1]), embedding.dtype)
        embedded = jnp.concatenate([jnp.moveaxis(embedding, -1, 0), ones])
        # One product for all layers: faster than one each, forward and backward.
        given = _product(jnp.moveaxis(context, 1, 0).reshape(len(embedded), -1), embedded)
        self._params = {
            "given": given.reshape(layers, context.shape[-1], *embedding.shape[:-1]),
            "first": jnp.concatenate([first, beside], 2),
            "hidden": [_with_bias(*parts, pass_on=True) for parts in params["hidden"]],
            "last": jnp.where(np.tile(~kept, 2)[:, None], last, 0),
        }
        self._inner, self._bound, self._scan = inner, bound, scan

    def forward_and_log_det(self, x: Values) -> tuple[Values, LogDet]:
        """From base to parameters."""
        x, log_det = self._run(_forward, jnp.moveaxis(at_least_float32(x), -1, 0), reverse=False)
        squashed, last = _squash(x / self._bound)
        return jnp.moveaxis(self._bound * squashed, 0, -1), log_det + last

    def inverse_and_log_det(self, y: Values) -> tuple[Values, LogDet]:
        """From parameters to base."""
        u = _stretch(jnp.moveaxis(at_least_float32(y), -1, 0) / self._bound)
        x, log_det = self._run(_inverse, self._bound * u, reverse=True)
        return jnp.moveaxis(x, 0, -1), -log_det - _squash(u)[1]

    def _run(self, layer: Any, x: First, *, reverse: bool) -> tuple[First, LogDet]:
        """All layers by turns, and the log-determinant of their forward direction."""

        def step(carry: tuple[First, LogDet], params: PyTree) -> tuple[tuple[First, LogDet], None]:
            x, more = layer(params, carry[0], self._inner)
            return (x, carry[1] + more), None  # summed layer by layer: XLA is slow to sum what was stacked

        start = x, jnp.zeros(x.shape[1:], x.dtype)
        return jax.lax.scan(step, start, self._params, reverse=reverse, unroll=1 if self._scan else True)[0]

    def same_as(self, other: distrax.Bijector) -> bool:
        """Whether it is this very object."""
        return other is self


class TransformFlow(nn.Module):
    """g(T; I): a distribution over transform parameters in (-r, r)^d, r = w tanh(c / w), given an image's embedding.

    With bound w = 1 and inner bound c = 6, r = .99999 w; with w = 1.5, .9993 w. Coordinates that the last of several
    layers keeps pass the tanh of the one before too and reach w tanh(c tanh(1) / w) at most, .9998 and .9955 w.

    The base's location, log-scale and weights are linear in the embedding. The last layers of the conditioners and
    this projection start `init_scale` times smaller than usual, so that the flow starts near the identity (but for its
    bounds) and nearly the same for all images. Products in full float32 precision. Single embeddings (e,) or batches
    (*batch, e).

    Attributes:
      dimension: d, from 1 to 6 for the transforms here; any positive number works.
      layers: L.
      widths: of the conditioners' hidden layers: (32, 32) in A.3, (64, 64) in the paper's text.
      modes: of the base.
      base: "gaussian" or "uniform".
      relaxation, temperature: how the choice of a mode is made differentiable, see `Mixture`.
      bound: w.
      inner_bound: c, at least 3 w: less would cut more than half a percent from the bounds.
      init_scale: see above.
      spread: initial standard deviation of the modes' locations, 0 to below 1; their scale is sqrt(1 - spread^2). The
        mixture thus starts with variance 1 if Gaussian, and with spread^2 + (1 - spread^2) / 3 if uniform, as a scale
        is half a box. Modes that start alike stay alike for long.
      start: factor of both, of all initial transforms but for the bounds. At 1 they take the whole box; at .1, say,
        they are close to the identity, and what is learned widens from there.
      scan: see `Couplings`; parameters are the same either way.

    Raises:
      ValueError, TypeError: for settings out of range, a uniform base with soft modes, or an inner bound below 3 w.
    """

    dimension: int
    layers: int = 12
    widths: tuple[int, ...] = (32, 32)
    modes: int = 1
    base: str = "gaussian"
    relaxation: str = "straight_through"
    temperature: float = 0.05
    bound: float = 1.0
    inner_bound: float = 6.0
    init_scale: float = 0.01
    spread: float = 0.0
    start: float = 1.0
    scan: bool = True

    def __post_init__(self) -> None:
        for name in ("dimension", "layers"):
            checks.positive_int(name, getattr(self, name))
        checks.positive_int("number of widths", len(self.widths))
        for width in self.widths:
            checks.positive_int("each of widths", width)
        check_options(self.base, self.relaxation, self.temperature, modes=self.modes)
        for name in ("bound", "inner_bound", "init_scale", "start"):
            checks.in_range(name, getattr(self, name), 0.0, open_low=True)
        if self.inner_bound < _LEAST_RATIO * self.bound:
            raise ValueError(
                f"inner_bound must be at least {_LEAST_RATIO} times the bound, or parameters end at bound "
                f"tanh(inner_bound / bound), well before the bound; got inner_bound {self.inner_bound:g} and bound "
                f"{self.bound:g}. Raise inner_bound to {_LEAST_RATIO * self.bound:g} or more."
            )
        checks.in_range("spread", self.spread, 0.0, 1.0, open_high=True)
        super().__post_init__()

    def distribution(self, embedding: Float[Array, "*batch e"]) -> distrax.Transformed:
        """The distribution as a distrax object with the embedding's batch shape.

        One key gives every row its own noise, which then depends on the batch's shape; `sample` takes a key a row. Its
        `log_prob` asks the base: narrow boxes can lose samples to rounding, which `log_prob` here does not.
        """
        return distrax.Transformed(*self._parts(embedding))

    def sample(
        self, key: Key[Array, "*batch"], embedding: Float[Array, "*batch e"], *, n: int
    ) -> tuple[Float[Array, "*batch n d"], Float[Array, "*batch n"]]:
        """n transforms for every embedding and their log-densities (nats), in one pass.

        Args:
          key: one for each embedding: what is drawn depends on it and its embedding alone.
          embedding: of the image or images.
          n: how many, at least 1.
        """
        return self.sample_and_score(key, embedding, n=n)[:2]

    def sample_and_score(
        self, key: Key[Array, "*batch"], embedding: Float[Array, "*batch e"], *, n: int
    ) -> tuple[Float[Array, "*batch n d"], Float[Array, "*batch n"], Float[Array, "*batch n"] | None]:
        """As `sample`, and with relaxation "score" what `surrogate_losses` needs to learn the modes' weights."""
        checks.positive_int("n", n)
        base, couplings = self._parts(embedding)
        z = base.sample_each(key, n=n)
        params, log_det = couplings.forward_and_log_det(z)
        score = base.score(z)
        score = None if score is None else jnp.moveaxis(score, 0, -1)
        return jnp.moveaxis(params, 0, -2), jnp.moveaxis(base.log_prob(z) - log_det, 0, -1), score

    def log_prob(
        self, params: Float[Array, "*batch n d"], embedding: Float[Array, "*batch e"]
    ) -> Float[Array, "*batch n"]:
        """log g(params; I) of n given transforms an embedding, by the inverse, in float32; -inf outside of the bounds.

        With a uniform base also -inf outside of what the boxes are mapped to. Rounding of the inverse can move a point
        by more than a narrow box is wide, so that the forward direction decides: a transform is in a box if the box's
        point nearest to its inverse is mapped to it but for rounding (1e-5 w). This takes a pass for each mode more.

        Gradients are finite up to the bounds and on them.

        Raises:
          ValueError: if the parameters have another dimension than the flow.
        """
        if params.shape[-1] != self.dimension:
            raise ValueError(f"The flow is over {self.dimension} parameters; got params of shape {params.shape}.")
        values = jnp.moveaxis(at_least_float32(params), -2, 0)
        base, couplings = self._parts(embedding)
        z, log_det = couplings.inverse_and_log_det(values)
        if self.base == "uniform":
            nearest = jnp.moveaxis(base.nearest_in_boxes(z), -2, 0)
            apart = jnp.max(jnp.abs(couplings.forward(nearest) - values[None]), -1)
            density = base.boxes_log_prob(jnp.moveaxis(apart <= _ROUNDING * self.bound, 0, -1))
        else:
            density = base.log_prob(z)
        inside = jnp.all(jnp.abs(values) <= self.bound, -1)
        return jnp.moveaxis(jnp.where(inside, density + log_det, -jnp.inf), 0, -1)

    def max_entropy(self) -> float:
        """d log(2 w tanh(c / w)), of the uniform distribution in (-r, r)^d: no target above it can be reached."""
        return self.dimension * math.log(2 * self.bound * math.tanh(self.inner_bound / self.bound))

    @nn.compact
    def _parts(self, embedding: Float[Array, "*batch e"]) -> tuple[Mixture, Couplings]:
        e, d, modes = embedding.astype(jnp.float32), self.dimension, self.modes
        dense = nn.initializers.lecun_normal(batch_axis=0)
        small = nn.initializers.variance_scaling(self.init_scale**2, "fan_in", "truncated_normal", batch_axis=0)
        zeros = nn.initializers.zeros_init()
        count, widths = self.layers, self.widths
        layers = {
            "context": self.param("context", dense, (count, e.shape[-1], widths[0])),
            "context_bias": self.param("context_bias", zeros, (count, widths[0])),
            "first": self.param("first", dense, (count, d, widths[0])),
            "hidden": [
                (
                    self.param(f"hidden{i}", dense, (count, *shape)),
                    self.param(f"hidden{i}_bias", zeros, (count, shape[1])),
                )
                for i, shape in enumerate(itertools.pairwise(widths), start=1)
            ],
            "last": self.param("last", small, (count, widths[-1], 2 * d)),
            "last_bias": self.param("last_bias", zeros, (count, 2 * d)),
        }
        couplings = Couplings(
            layers,
            kept_coordinates(count, d),
            e,
            inner=self.inner_bound,
            bound=self.bound,
            scan=self.scan,
        )
        kernel = nn.initializers.variance_scaling(self.init_scale**2, "fan_in", "truncated_normal")
        raw = nn.Dense(
            modes * (2 * d + 1), False, dtype=jnp.float32, precision="highest", kernel_init=kernel, name="base"
        )(e)
        weights, loc, log_scale = jnp.split(raw, (modes, modes * (1 + d)), axis=-1)
        shape = (*e.shape[:-1], modes, d)
        loc, log_scale = loc.reshape(shape), log_scale.reshape(shape)
        mixture = Mixture(
            weights + _lead(self.param("base_weights", zeros, (modes,)), weights),
            loc + _lead(self.param("base_loc", nn.initializers.normal(self.spread * self.start), (modes, d)), loc),
            log_scale + _lead(self.param("base_log_scale", self._log_scale, (modes, d)), log_scale),
            family=self.base,
            relaxation=self.relaxation,
            temperature=self.temperature,
        )
        return mixture, couplings

    def _log_scale(self, key: Array, shape: tuple[int, ...]) -> Array:
        return jnp.full(shape, math.log(self.start) + 0.5 * math.log(1 - self.spread**2), jnp.float32)
