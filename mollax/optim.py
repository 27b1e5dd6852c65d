"""Optimizers and schedules by name: SGD and AdamW; cosine, step and constant, with linear warm-up."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mollax import checks

OPTIMIZERS = ("sgd", "adamw")
SCHEDULES = ("cosine", "step", "constant")
DECAY_MASKS = ("all", "kernels")


def create_schedule(
    name: str,
    *,
    lr: float,
    steps: int,
    warmup: int = 0,
    milestones: Sequence[int] = (),
    factor: float = 0.1,
) -> optax.Schedule:
    """Learning rate at each step: linear warm-up from 0, then one of three shapes.

    Args:
      name: "cosine" (to 0 at the last step; Loshchilov & Hutter 2016), "step" (times `factor` at each milestone) or
        "constant".
      lr: rate at the end of the warm-up.
      steps: updates of the whole run.
      warmup: steps of warm-up, part of `steps`.
      milestones: steps (from the start of the run) at which a "step" schedule drops, increasing.
      factor: by which it drops.

    Raises:
      ValueError: for an unknown name, a warm-up as long as the run, or milestones missing, out of order or not used.
    """
    checks.one_of("optim.schedule", name, SCHEDULES)
    checks.in_range("optim.lr", lr, 0.0, open_low=True)
    if warmup and warmup >= steps:
        raise ValueError(f"optim.warmup must be shorter than the run of {steps} steps; got {warmup} steps.")
    if (name == "step") != bool(milestones):
        raise ValueError(
            f'optim.milestones are for the "step" schedule, which needs them; got schedule {name!r} and milestones '
            f"{tuple(milestones)}."
        )
    if list(milestones) != sorted(set(milestones)) or any(m <= warmup for m in milestones):
        raise ValueError(f"optim.milestones must increase and lie after the warm-up; got {tuple(milestones)} steps.")
    after = steps - warmup
    match name:
        case "cosine":
            schedule = optax.cosine_decay_schedule(lr, max(after, 1))
        case "step":
            schedule = optax.piecewise_constant_schedule(lr, {m - warmup: factor for m in milestones})
        case _:
            schedule = optax.constant_schedule(lr)
    if warmup:
        schedule = optax.join_schedules([optax.linear_schedule(0.0, lr, warmup), schedule], [warmup])
    # Schedules divide the count; as a float it does so under strict dtype promotion too.
    return lambda count: schedule(jnp.asarray(count, jnp.float32))


def _kernels_only(params: Any) -> Any:
    """True for weights of two and more axes: not for biases and normalization scales."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def _every(masks: Sequence[Callable[[Any], Any]], params: Any) -> Any:
    """True for what all masks name."""
    return jax.tree.map(lambda *named: all(named), *(mask(params) for mask in masks))


def create_optimizer(
    name: str,
    schedule: optax.Schedule,
    *,
    weight_decay: float = 0.0,
    decay_mask: str = "all",
    momentum: float = 0.9,
    nesterov: bool = False,
    b1: float = 0.9,
    b2: float = 0.999,
    clip_norm: float = 0.0,
    decays: Callable[[Any], Any] | None = None,
) -> optax.GradientTransformation:
    """SGD (decay coupled, as PyTorch's: added to the gradient) or AdamW (decay decoupled).

    Args:
      name: "sgd" or "adamw".
      schedule: learning rate.
      weight_decay: strength; 0 for none.
      decay_mask: "all" decays every parameter (as the authors do), "kernels" spares biases and norm scales.
      momentum, nesterov: of SGD.
      b1, b2: of AdamW.
      clip_norm: gradients are scaled down to this global norm first; 0 for no clipping.
      decays: a further mask, from parameters to booleans: what it does not name never decays. None names all.

    Raises:
      ValueError: for an unknown name or a value out of range.
    """
    checks.one_of("optim.name", name, OPTIMIZERS)
    checks.one_of("optim.decay_mask", decay_mask, DECAY_MASKS)
    checks.in_range("optim.weight_decay", weight_decay, 0.0)
    checks.in_range("optim.clip_norm", clip_norm, 0.0)
    checks.in_range("optim.momentum", momentum, 0.0, 1.0, open_high=True)
    masks = [mask for mask in (_kernels_only if decay_mask == "kernels" else None, decays) if mask is not None]
    mask = functools.partial(_every, masks) if masks else None
    clip = optax.clip_by_global_norm(clip_norm) if clip_norm else optax.identity()
    if name == "adamw":
        return optax.chain(clip, optax.adamw(schedule, b1=b1, b2=b2, weight_decay=weight_decay, mask=mask))
    decay = optax.add_decayed_weights(weight_decay, mask) if weight_decay else optax.identity()
    return optax.chain(clip, decay, optax.sgd(schedule, momentum=momentum or None, nesterov=nesterov))
