"""The weight of the entropy in the augmenter's loss: fixed, annealed, by a PID controller, or by InstaAug's rule.

A controller is an immutable description; its state is a dict of float32 scalars that belongs in a checkpoint:
`initial()` makes it, `update(state, entropy)` takes the batch's mean entropy (nats) after each step, and
`state["weight"]` is what the next step's loss uses. All are pure and run inside jit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mollax import checks

State = dict[str, Float[Array, ""]]
Scalar = Float[Array, ""]


def require_reachable(target: float, maximum: float) -> None:
    """Raises ValueError if a distribution can't have the target entropy, both in nats.

    The largest entropy of d parameters in (-w, w) is d log(2 w), a hair less for the flow: 1.39 for two in the unit
    box, 2.08 for three, 2.77 for four. A controller that aims above it would raise its weight for ever.
    """
    if not target < maximum:
        raise ValueError(
            f"The target entropy of {target:g} nats cannot be reached: the largest is {maximum:.4g}, such as that of "
            "uniform parameters within the bounds. Lower the target, or use more parameters or wider bounds."
        )


@dataclass(frozen=True)
class Fixed:
    """A constant weight, alpha of eq 10.

    Raises:
      ValueError: for a negative weight.
    """

    weight: float = 0.1

    def __post_init__(self) -> None:
        checks.in_range("weight", self.weight, 0.0)

    def initial(self) -> State:
        """The state before the first step."""
        return {"weight": jnp.float32(self.weight)}

    def update(self, state: State, entropy: Scalar) -> State:
        """The same state."""
        return state


@dataclass(frozen=True)
class Annealed:
    """A weight that falls geometrically to its final value, weight (start / weight)^max(0, 1 - t / period), t in steps.

    Ours. By eq 10 the best distribution is f^(1 / weight) / Z. With a small weight the gradient of the loss hides that
    of the entropy: the flow shrinks to a point, from which it widens slowly. From a large weight on it narrows with its
    optimum.

    Attributes:
      weight: the final one.
      start: the first, at least as large.
      period: steps.

    Raises:
      ValueError: for a weight that is not positive, a start below it, or a period below 1.
    """

    weight: float = 0.1
    start: float = 1.0
    period: int = 1

    def __post_init__(self) -> None:
        checks.in_range("weight", self.weight, 0.0, open_low=True)
        checks.in_range("start", self.start, self.weight)
        checks.positive_int("period", self.period)

    def initial(self) -> State:
        """The state before the first step."""
        return {"weight": jnp.float32(self.start)}

    def update(self, state: State, entropy: Scalar) -> State:
        """The state after a step, whatever its entropy."""
        rate = (self.weight / self.start) ** (1 / self.period)
        return {"weight": jnp.maximum(state["weight"] * jnp.float32(rate), jnp.float32(self.weight))}


@dataclass(frozen=True)
class PID:
    """Proportional-integral-derivative control towards a target entropy (A.3.3).

    With h the moving average of the entropy and error e = target - h,

        weight = EMA( clip( kp e + ki sum e + kd (e - e_before), low, high ) ).

    The sum is over steps. It starts where the integral term alone gives `weight` (at 10 in the authors' code), and an
    error that would push the output beyond a limit moves it up to that limit only (anti-windup; they have none). Both
    averages decay by `smoothing` a step; h starts at the first entropy, the output at `weight` (theirs at its first).

    Attributes:
      target: entropy in nats.
      kp, ki, kd: gains; (.01, .01, 0) for sprites, (.1, .5, 0) for TinyImageNet crops.
      weight: at the start.
      low, high: limits of the weight.
      smoothing: decay of both moving averages, 0 for none.

    Raises:
      ValueError: for negative or all-zero gains, limits out of order, a start outside of them, or a smoothing not in
        [0, 1).
    """

    target: float
    kp: float = 0.01
    ki: float = 0.01
    kd: float = 0.0
    weight: float = 0.1
    low: float = 0.0
    high: float = 10.0
    smoothing: float = 0.9

    def __post_init__(self) -> None:
        checks.in_range("target", self.target)
        for name in ("kp", "ki", "kd"):
            checks.in_range(name, getattr(self, name), 0.0)
        if self.kp + self.ki + self.kd == 0:
            raise ValueError("A PID controller needs a gain above 0; all of kp, ki and kd are 0.")
        checks.in_range("high", self.high, checks.in_range("low", self.low), open_low=True)
        checks.in_range("weight", self.weight, self.low, self.high)
        checks.in_range("smoothing", self.smoothing, 0.0, 1.0, open_high=True)

    def initial(self) -> State:
        """The state before the first step."""
        return {
            "weight": jnp.float32(self.weight),
            "sum": jnp.float32(self.weight / self.ki if self.ki else 0.0),
            "entropy": jnp.float32(math.nan),  # no average yet
            "error": jnp.float32(math.nan),
        }

    def update(self, state: State, entropy: Scalar) -> State:
        """The state after a step whose batch had this mean entropy. One that is not finite changes nothing."""
        entropy = jnp.asarray(entropy, jnp.float32)
        first = jnp.isnan(state["entropy"])
        keep = jnp.float32(self.smoothing)
        average = jnp.where(first, entropy, keep * state["entropy"] + (1 - keep) * entropy)
        error = self.target - average
        change = jnp.where(first, 0.0, error - state["error"])

        rest, before = self.kp * error + self.kd * change, state["sum"]
        total = before + error
        if self.ki:
            # No further than to the limit, and never against the error.
            most, least = (self.high - rest) / self.ki, (self.low - rest) / self.ki
            total = jnp.where(error > 0, jnp.clip(most, before, total), jnp.clip(least, total, before))
        weight = keep * state["weight"] + (1 - keep) * jnp.clip(rest + self.ki * total, self.low, self.high)
        new = {"weight": weight, "sum": total, "entropy": average, "error": error}
        return _where(jnp.isfinite(entropy), new, state)


@dataclass(frozen=True)
class EntropyRange:
    """InstaAug's rule (Miao et al. 2023): multiply the weight until the entropy is in a range (A.3.3; their code).

    Every `period` steps their mean entropy is looked at. Outside of [minimum, maximum], as the time before, and not on
    its way back by more than `progress`, it multiplies the weight by `factor` (below) or divides it (above), at most
    `most` times net. The paper speaks of each step; in the authors' code an epoch is one, and so it is for the numbers
    below: applied to every batch they drive the weight over orders of magnitude before the entropy can follow.

    Attributes:
      minimum, maximum: of the entropy in nats.
      weight: at the start.
      factor: 1.2, for crops 1.1 in an earlier version of theirs.
      progress: nats from one time to the next.
      most: 50, for crops 10 in an earlier version.
      period: steps.

    Raises:
      ValueError: for a range that is empty, or a weight, factor or count out of range.
    """

    minimum: float
    maximum: float
    weight: float = 0.1
    factor: float = 1.2
    progress: float = 0.005
    most: int = 50
    period: int = 1

    def __post_init__(self) -> None:
        checks.in_range("maximum", self.maximum, checks.in_range("minimum", self.minimum))
        checks.in_range("weight", self.weight, 0.0, open_low=True)
        checks.in_range("factor", self.factor, 1.0, open_low=True)
        checks.in_range("progress", self.progress, 0.0)
        checks.positive_int("most", self.most)
        checks.positive_int("period", self.period)

    def initial(self) -> State:
        """The state before the first step."""
        # Last side: -1 below, 1 above; its entropy; sum and number of those since.
        names = ("side", "count", "entropy", "sum", "steps")
        return {"weight": jnp.float32(self.weight), **{name: jnp.float32(0) for name in names}}

    def update(self, state: State, entropy: Scalar) -> State:
        """The state after a step whose batch had this mean entropy. One that is not finite changes nothing."""
        entropy = jnp.asarray(entropy, jnp.float32)
        waiting = {**state, "sum": state["sum"] + entropy, "steps": state["steps"] + 1}
        due = waiting["steps"] >= self.period
        new = _where(due, self._moved(state, waiting["sum"] / waiting["steps"]), waiting)
        return _where(jnp.isfinite(entropy), new, state)

    def _moved(self, state: State, entropy: Scalar) -> State:
        """The state after a period with this mean entropy."""
        side = jnp.where(entropy < self.minimum, -1.0, jnp.where(entropy > self.maximum, 1.0, 0.0))
        stuck = side * (entropy - state["entropy"]) >= -self.progress
        push = jnp.where((side != 0) & (side == state["side"]) & stuck, -side, 0.0)
        push = jnp.where(jnp.abs(state["count"] + push) > self.most, 0.0, push)
        zero = jnp.float32(0)
        return {
            "weight": state["weight"] * jnp.float32(self.factor) ** push,
            "side": side,
            "count": state["count"] + push,
            "entropy": entropy,
            "sum": zero,
            "steps": zero,
        }


def _where(condition: Array, new: State, old: State) -> State:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b).astype(jnp.float32), new, old)
