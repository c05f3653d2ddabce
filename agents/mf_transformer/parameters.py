"""All weights of a model in one flat vector, with named views of it and an Adam that works on the whole at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from perennial.agents.validation import saved

BETA1, BETA2, EPSILON = 0.9, 0.99, 1e-8
BOUND = 3.0  # of a nudge, in learning rates


@dataclass(frozen=True)
class Weight:
    """One named weight: its `shape`, the `mean` and standard deviation (`spread`) it starts with, its learning `rate`
    relative to the optimiser's, and whether it decays towards zero."""

    shape: tuple[int, ...]
    spread: float = 0.0
    mean: float = 0.0
    rate: float = 1.0
    decay: bool = False

    @property
    def size(self) -> int:
        return math.prod(self.shape)


class Parameters:
    """The weights of one model and the moments of their optimiser: three float32 vectors and a count of steps.

    AdamW: Loshchilov and Hutter 2019, algorithm 2, with the gradient's norm clipped (Pascanu et al. 2013, section 3.2).
    """

    def __init__(self, layout: Mapping[str, Weight], rng: np.random.Generator) -> None:
        self.layout = dict(layout)
        weights = self.layout.values()
        self.sizes = [w.size for w in weights]
        start = [w.mean + w.spread * rng.standard_normal(w.size, dtype=np.float32) for w in weights]
        self.flat = torch.from_numpy(np.concatenate(start).astype(np.float32)).requires_grad_()
        self.rate = torch.from_numpy(np.repeat(np.array([w.rate for w in weights], dtype=np.float32), self.sizes))
        self.decay = torch.from_numpy(np.repeat(np.array([w.decay for w in weights], dtype=np.float32), self.sizes))
        self.first = torch.zeros_like(self.rate)
        self.second = torch.zeros_like(self.rate)
        self.steps = 0

    def views(self) -> dict[str, Tensor]:
        """Every weight by name, in its shape; gradients flow back into the flat vector."""
        parts = self.flat.split(self.sizes)
        return {name: part.view(w.shape) for (name, w), part in zip(self.layout.items(), parts, strict=True)}

    def step(self, learning_rate: float, weight_decay: float, clip: float) -> float:
        """One AdamW step down the gradient kept in the flat vector, which is cleared. Returns the gradient's norm."""
        gradient, norm = self._take_gradient(clip)
        self.steps += 1
        with torch.no_grad():
            self.first.lerp_(gradient, 1 - BETA1)
            self.second.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
            mean = self.first / (1 - BETA1**self.steps)
            self._move(mean / self._spread(), learning_rate, weight_decay)
        return norm

    def nudge(self, learning_rate: float, weight_decay: float, clip: float) -> float:
        """One step that leaves Adam's moments as they are, for gradients of a few pages.

        Such gradients are far noisier than those the moments were made from, and would make every later step of a fit
        too small. Where a weight's moment is still zero, the step is bounded by `BOUND` times the rate.
        """
        if self.steps == 0:
            return self.step(learning_rate, weight_decay, clip)
        gradient, norm = self._take_gradient(clip)
        with torch.no_grad():
            self._move((gradient / self._spread()).clamp_(-BOUND, BOUND), learning_rate, weight_decay)
        return norm

    def _take_gradient(self, clip: float) -> tuple[Tensor, float]:
        """The gradient, scaled to a norm of at most `clip`, and its norm before that; the flat vector's is cleared."""
        gradient = self.flat.grad
        if gradient is None:
            raise RuntimeError("A step needs a gradient. Call backward() on a loss made from views() first.")
        self.flat.grad = None
        norm = float(torch.linalg.vector_norm(gradient))
        return gradient.mul_(min(1.0, clip / (norm + EPSILON))), norm

    def _spread(self) -> Tensor:
        return self.second.sqrt().mul_(1 / math.sqrt(1 - BETA2**self.steps)).add_(EPSILON)

    def _move(self, direction: Tensor, learning_rate: float, weight_decay: float) -> None:
        if weight_decay:
            self.flat.sub_(self.decay * self.flat, alpha=learning_rate * weight_decay)
        self.flat.sub_(direction.mul_(self.rate), alpha=learning_rate)

    def state(self) -> dict[str, NDArray[Any]]:
        """Copies of the vectors and of the count of steps."""
        return {
            "parameters": self.flat.detach().numpy().copy(),
            "first_moment": self.first.numpy().copy(),
            "second_moment": self.second.numpy().copy(),
            "gradient_steps": np.array([self.steps], dtype=np.int64),
        }

    def check(self, state: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The parts of `state` that belong here, or an error that says which does not fit."""
        vectors = ("parameters", "first_moment", "second_moment")
        parts = {name: saved(state, name, (sum(self.sizes),)) for name in vectors}
        return parts | {"gradient_steps": saved(state, "gradient_steps", (1,))}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `state` gave, once `check` has passed it."""
        with torch.no_grad():
            self.flat.copy_(torch.from_numpy(state["parameters"]))
        self.first = torch.from_numpy(state["first_moment"])
        self.second = torch.from_numpy(state["second_moment"])
        self.steps = int(state["gradient_steps"][0])
