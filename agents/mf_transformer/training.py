"""From logged pages to gradient steps: batches, and the losses of clicks and of rewards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from perennial.agents.base import Feedback, Observations
from perennial.agents.mf_transformer.factorisation import Factorisation
from perennial.agents.mf_transformer.mixture import Mixture, Pages
from perennial.agents.mf_transformer.parameters import Parameters


@dataclass(frozen=True)
class Optimisation:
    """How weights learn: pages a step, the rate's peak, decoupled weight decay, the largest norm of a gradient, and
    what the reward head's error weighs beside the clicks'."""

    batch_size: int
    learning_rate: float
    weight_decay: float
    clip: float
    reward_weight: float = 0.0


def pages_of(
    observations: Observations, user_id: NDArray[np.int32], items: NDArray[np.int32], mf: Factorisation, history: int
) -> Pages:
    """The arrays of B pages as tensors; `items` (B, S) int32 are the ids to be scored."""
    page, past = observations["page"], observations["history"][:, -history:]
    empty = past < 0
    filled = 1.0 - empty.mean(axis=1, dtype=np.float32, keepdims=True)
    context = np.concatenate([page, page > 0, mf.familiarity[user_id], filled], axis=1, dtype=np.float32)
    return Pages(
        user=torch.from_numpy(np.array(observations["user"], dtype=np.float32)),
        context=torch.from_numpy(context),
        history=torch.from_numpy(np.where(empty, mf.shape[1], past).astype(np.int64)),
        factors=torch.from_numpy(mf.user_factors[user_id]),
        visitor=torch.from_numpy(np.array(user_id, dtype=np.int64)),
        items=torch.from_numpy(np.array(items, dtype=np.int32)),
    )


def batches(n_pages: int, size: int, steps: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """`steps` batches of page numbers: pass after pass over all pages, each in a new random order."""
    size = min(size, n_pages)
    order = np.empty(0, dtype=np.int64)
    for _ in range(steps):
        if len(order) < size:
            order = rng.permutation(n_pages)
        yield order[:size]
        order = order[size:]


def rates(peak: float, steps: int, end: float) -> NDArray[np.float64]:
    """float64 (steps,): learning rates falling from `peak` to `end` times it along half a cosine."""
    return peak * (end + (1 - end) * 0.5 * (1 + np.cos(np.pi * np.arange(steps) / steps)))


@dataclass(frozen=True)
class Budget:
    """What one call may spend: gradient `steps`, at `rate` times the learning rate falling to `end` times that; and
    whether the pages are so `few` that the optimiser's moments had better not learn from them."""

    steps: int
    rate: float
    end: float = 1.0
    few: bool = False


def train(
    parameters: Parameters,
    mixture: Mixture,
    mf: Factorisation,
    feedback: Feedback,
    optimisation: Optimisation,
    budget: Budget,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Spend `budget` on the pages of `feedback`.

    Returns the mean loss a slot, the gradient's mean norm before clipping, and the number of steps.
    """
    item_factors = torch.from_numpy(mf.item_factors)
    pages = pages_of(feedback.observations, feedback.keys.user_id, feedback.slate_items, mf, mixture.shape.history)
    clicked = torch.from_numpy(feedback.clicked.astype(np.float32))
    reward = torch.from_numpy(feedback.reward.astype(np.float32))
    losses, norms = np.zeros(budget.steps), np.zeros(budget.steps)
    schedule = rates(budget.rate * optimisation.learning_rate, budget.steps, budget.end)
    move = parameters.nudge if budget.few else parameters.step
    for step, rows in enumerate(batches(len(feedback), optimisation.batch_size, budget.steps, rng)):
        picked = torch.from_numpy(rows)
        batch = (parameters.views(), mixture, item_factors, pages.take(picked), clicked[picked])
        if mixture.shape.use_reward:
            loss = joint_loss(*batch, reward[picked], optimisation.reward_weight)
        else:
            loss = click_loss(*batch)
        loss.backward()
        losses[step] = loss.item()
        norms[step] = move(schedule[step], optimisation.weight_decay, optimisation.clip)
    return {"loss": float(losses.mean()), "gradient_norm": float(norms.mean()), "gradient_steps": float(budget.steps)}


def click_loss(
    weights: Mapping[str, Tensor], mixture: Mixture, item_factors: Tensor, pages: Pages, clicked: Tensor
) -> Tensor:
    """Mean cross-entropy of `clicked` (B, K) in {0, 1} over all slots shown; every slot has a bias of its own."""
    table = mixture.item_table(weights, item_factors)
    logits = mixture.scores(weights, table, pages) + weights["bias.slot"]
    return F.binary_cross_entropy_with_logits(logits, clicked)


def joint_loss(
    weights: Mapping[str, Tensor],
    mixture: Mixture,
    item_factors: Tensor,
    pages: Pages,
    clicked: Tensor,
    reward: Tensor,
    reward_weight: float,
) -> Tensor:
    """The click loss plus `reward_weight` times the mean squared error of the page's `reward` (B,), which is predicted
    as the sum of what its clicks are worth."""
    table = mixture.item_table(weights, item_factors)
    logits, worths = mixture.scores_and_worths(weights, table, pages)
    clicks = F.binary_cross_entropy_with_logits(logits + weights["bias.slot"], clicked)
    return clicks + reward_weight * F.mse_loss((clicked * worths).sum(dim=1), reward)
