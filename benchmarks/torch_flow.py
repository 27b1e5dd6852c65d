"""The flow of `mollax.invariance.flow` in PyTorch, from its weights: as a user of normflows would write it, and lean.

Both are eager. `BlockFlow` has an object a step (permute, split, couple, merge, tanh), each with forward, inverse and a
log-determinant, and concatenates the embedding to every conditioner's input. `LeanFlow` has none of that: masks
instead of permutations and one product of the embedding for all layers.
"""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

Step = tuple[torch.Tensor, torch.Tensor]


class MLP(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, weights: list[tuple[np.ndarray, np.ndarray]]) -> None:
        super().__init__()
        modules: list[nn.Module] = []
        for kernel, bias in weights:
            linear = nn.Linear(*kernel.shape)
            linear.weight = nn.Parameter(torch.tensor(kernel.T))
            linear.bias = nn.Parameter(torch.tensor(bias))
            modules += [linear, nn.ReLU()]
        self.net = nn.Sequential(*modules[:-1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, inputs) to (n, outputs)."""
        return self.net(x)


class Permute(nn.Module):
    """A fixed order of the coordinates."""

    order: torch.Tensor
    back: torch.Tensor

    def __init__(self, order: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("order", torch.tensor(order))
        self.register_buffer("back", torch.tensor(np.argsort(order)))

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> Step:
        """From base to parameters."""
        return x[:, self.order], torch.zeros(len(x))

    def inverse(self, y: torch.Tensor, embedding: torch.Tensor) -> Step:
        """From parameters to base."""
        return y[:, self.back], torch.zeros(len(y))


class Coupling(nn.Module):
    """Splits, transforms the second half given the first and the embedding, and merges."""

    def __init__(self, mlp: MLP, kept: int) -> None:
        super().__init__()
        self.mlp, self.kept = mlp, kept

    def _parts(self, x: torch.Tensor, embedding: torch.Tensor) -> tuple[torch.Tensor, ...]:
        first, second = x[:, : self.kept], x[:, self.kept :]
        log_scale, shift = self.mlp(torch.cat([first, embedding], 1)).chunk(2, 1)
        return first, second, log_scale, shift

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> Step:
        """From base to parameters."""
        first, second, log_scale, shift = self._parts(x, embedding)
        return torch.cat([first, second * torch.exp(log_scale) + shift], 1), log_scale.sum(1)

    def inverse(self, y: torch.Tensor, embedding: torch.Tensor) -> Step:
        """From parameters to base."""
        first, second, log_scale, shift = self._parts(y, embedding)
        return torch.cat([first, (second - shift) * torch.exp(-log_scale)], 1), -log_scale.sum(1)


class Tanh(nn.Module):
    """c tanh(x / c)."""

    def __init__(self, bound: float) -> None:
        super().__init__()
        self.bound = bound

    def _log_det(self, u: torch.Tensor) -> torch.Tensor:
        return (2 * (math.log(2) - u - F.softplus(-2 * u))).sum(1)

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> Step:
        """From base to parameters."""
        u = x / self.bound
        return self.bound * torch.tanh(u), self._log_det(u)

    def inverse(self, y: torch.Tensor, embedding: torch.Tensor) -> Step:
        """From parameters to base."""
        last = 1 - torch.finfo(y.dtype).eps / 2
        u = torch.atanh(torch.clamp(y / self.bound, -last, last))
        return self.bound * u, -self._log_det(u)


class GaussianBase(nn.Module):
    """A normal distribution whose location and log-scale are linear in the embedding."""

    def __init__(self, kernel: np.ndarray, bias: np.ndarray) -> None:
        super().__init__()
        self.linear = MLP([(kernel, bias)])

    def parameters_of(self, embedding: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Location and log-scale."""
        loc, log_scale = self.linear(embedding).chunk(2, 1)
        return loc, log_scale

    def sample(self, embedding: torch.Tensor) -> Step:
        """One value a row and its log-density."""
        loc, log_scale = self.parameters_of(embedding)
        noise = torch.randn_like(loc)
        z = loc + torch.exp(log_scale) * noise
        return z, (-0.5 * noise**2 - log_scale - 0.5 * math.log(2 * math.pi)).sum(1)

    def log_prob(self, z: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """The log-density of a value a row."""
        loc, log_scale = self.parameters_of(embedding)
        distance = (z - loc) * torch.exp(-log_scale)
        return (-0.5 * distance**2 - log_scale - 0.5 * math.log(2 * math.pi)).sum(1)


def base_weights(params: Any) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias of a base with one mode; its weight, the first output, does nothing."""
    kernel = np.asarray(params["base"]["kernel"])[:, 1:]
    return kernel, np.concatenate([np.asarray(params["base_loc"])[0], np.asarray(params["base_log_scale"])[0]])


class BlockFlow(nn.Module):
    """A list of steps. Takes a TransformFlow's parameters with one Gaussian mode and what its layers keep."""

    def __init__(self, params: Any, kept: np.ndarray, *, inner: float, bound: float) -> None:
        super().__init__()
        leaf = {name: np.asarray(value) for name, value in params.items() if name != "base"}
        self.base = GaussianBase(*base_weights(params))
        steps: list[nn.Module] = []
        before = np.arange(kept.shape[1])
        for i, mask in enumerate(kept):
            order = np.concatenate([np.flatnonzero(mask), np.flatnonzero(~mask)])
            changed = np.flatnonzero(~mask)
            columns = np.concatenate([changed, len(mask) + changed])
            mlp = MLP(
                [
                    (np.concatenate([leaf["first"][i][mask], leaf["context"][i]]), leaf["context_bias"][i]),
                    (leaf["hidden1"][i], leaf["hidden1_bias"][i]),
                    (leaf["last"][i][:, columns], leaf["last_bias"][i][columns]),
                ]
            )
            steps += [Permute(np.argsort(before)[order]), Coupling(mlp, int(mask.sum())), Tanh(inner)]
            before = order
        self.steps = nn.ModuleList([*steps, Permute(np.argsort(before)), Tanh(bound)])

    def forward(self, z: torch.Tensor, embedding: torch.Tensor) -> Step:
        """From base to parameters."""
        total = torch.zeros(len(z))
        for step in self.steps:
            z, log_det = step(z, embedding)
            total = total + log_det
        return z, total

    def sample(self, embedding: torch.Tensor) -> Step:
        """One transform a row and its log-density."""
        z, log_prob = self.base.sample(embedding)
        params, log_det = self(z, embedding)
        return params, log_prob - log_det

    def log_prob(self, params: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """The log-density of a transform a row."""
        total = torch.zeros(len(params))
        for step in reversed(self.steps):
            params, log_det = cast(Any, step).inverse(params, embedding)
            total = total + log_det
        return self.base.log_prob(params, embedding) + total


class LeanFlow(nn.Module):
    """The same in as few operations as eager PyTorch allows."""

    def __init__(self, params: Any, kept: np.ndarray, *, inner: float, bound: float) -> None:
        super().__init__()
        count, d = kept.shape
        self.inner, self.bound = inner, bound
        self.base = GaussianBase(*base_weights(params))
        leaf = {name: np.array(value) for name, value in params.items() if not name.startswith("base")}
        leaf["context"] = np.concatenate(list(leaf["context"]), 1)
        leaf["context_bias"] = leaf["context_bias"].reshape(-1)
        # Masked once, here: what a layer keeps is not read by the others and gets scale 1 and shift 0.
        leaf["first"] = leaf["first"] * kept[:, :, None]
        self.changed = [torch.tensor(np.flatnonzero(~mask)) for mask in kept]
        self.kept = [torch.tensor(np.flatnonzero(mask)) for mask in kept]
        for i, mask in enumerate(kept):
            chosen = np.concatenate([np.flatnonzero(~mask), d + np.flatnonzero(~mask)])
            setattr(self, f"first{i}", nn.Parameter(torch.tensor(leaf["first"][i][mask])))
            setattr(self, f"hidden{i}", nn.Parameter(torch.tensor(leaf["hidden1"][i])))
            setattr(self, f"hidden_bias{i}", nn.Parameter(torch.tensor(leaf["hidden1_bias"][i])))
            setattr(self, f"last{i}", nn.Parameter(torch.tensor(leaf["last"][i][:, chosen])))
            setattr(self, f"last_bias{i}", nn.Parameter(torch.tensor(leaf["last_bias"][i][chosen])))
        self.context = nn.Parameter(torch.tensor(leaf["context"]))
        self.context_bias = nn.Parameter(torch.tensor(leaf["context_bias"]))
        self.count = count

    def _contexts(self, embedding: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return torch.addmm(self.context_bias, embedding, self.context).chunk(self.count, 1)

    def _conditioner(self, i: int, x: torch.Tensor, context: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = torch.relu(torch.addmm(context, x[:, self.kept[i]], getattr(self, f"first{i}")))
        hidden = torch.relu(torch.addmm(getattr(self, f"hidden_bias{i}"), hidden, getattr(self, f"hidden{i}")))
        out = torch.addmm(getattr(self, f"last_bias{i}"), hidden, getattr(self, f"last{i}"))
        log_scale, shift = out.chunk(2, 1)
        return log_scale, shift

    def sample(self, embedding: torch.Tensor) -> Step:
        """One transform a row and its log-density."""
        x, log_prob = self.base.sample(embedding)
        slopes, scales = [], []
        for i, context in enumerate(self._contexts(embedding)):
            log_scale, shift = self._conditioner(i, x, context)
            changed = self.changed[i]
            u = x.index_copy(1, changed, torch.addcmul(shift, x[:, changed], torch.exp(log_scale))) / self.inner
            x = self.inner * torch.tanh(u)
            slopes.append(u)
            scales.append(log_scale)
        slopes.append(x / self.bound)
        return self.bound * torch.tanh(slopes[-1]), log_prob - self._log_det(slopes, scales)

    def log_prob(self, params: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """The log-density of a transform a row."""
        last = 1 - torch.finfo(params.dtype).eps / 2
        slopes, scales = [torch.atanh(torch.clamp(params / self.bound, -last, last))], []
        x, contexts = self.bound * slopes[-1], self._contexts(embedding)
        for i in reversed(range(self.count)):
            slopes.append(torch.atanh(torch.clamp(x / self.inner, -last, last)))
            x, changed = self.inner * slopes[-1], self.changed[i]
            log_scale, shift = self._conditioner(i, x, contexts[i])
            x = x.index_copy(1, changed, (x[:, changed] - shift) * torch.exp(-log_scale))
            scales.append(log_scale)
        return self.base.log_prob(x, embedding) - self._log_det(slopes, scales)

    def _log_det(self, slopes: list[torch.Tensor], scales: list[torch.Tensor]) -> torch.Tensor:
        u = torch.cat(slopes, 1)
        return (2 * (math.log(2) - u - F.softplus(-2 * u))).sum(1) + torch.cat(scales, 1).sum(1)
