"""What sells best: the items with the highest click rate among the pages it was given, the same for every visitor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import Agent, Decision, Feedback, Items, Keys, Observations, Spaces, top_k
from perennial.agents.validation import number, saved


class Popular(Agent):
    """Ranks candidates by ``(clicks + prior x mean rate) / (impressions + prior)``.

    Its model is the window itself: `fit` counts the window handed over (trailing 28 days under the usual strategy)
    and forgets what was before, whatever `start` says; `update` adds pages to the counts. Slots are not told apart
    (no correction for position). Items never shown stand at the mean rate. Deterministic: propensity 1. Its decisions
    carry those scores as ``predicted_clicks`` float64 (B, K).

    Arguments
    ---------
    prior : impressions at the mean click rate that every item starts with, > 0; draws rarely shown items to the mean
    """

    def __init__(self, prior: float = 20.0) -> None:
        self.prior = number("prior", prior, 0.0, above=True)

    def begin(self, items: Items, spaces: Spaces, seed: int) -> None:
        super().begin(items, spaces, seed)
        self._forget()

    def _forget(self) -> None:
        self.clicks = np.zeros(self.spaces.n_items, dtype=np.int64)
        self.impressions = np.zeros(self.spaces.n_items, dtype=np.int64)
        self._rank()

    def _rank(self) -> None:
        """Settle each item's score, float64 (N,)."""
        mean = self.clicks.sum() / max(1, self.impressions.sum())
        self._scores = (self.clicks + self.prior * mean) / (self.impressions + self.prior)

    def act(self, observations: Observations, keys: Keys) -> Decision:
        scores = self._scores[observations["candidates"]]
        slates = top_k(scores, self.spaces.slate_size)
        predicted = np.take_along_axis(scores, slates, axis=1)
        return Decision(slates, np.ones(slates.shape), {"predicted_clicks": predicted})

    def fit(self, window: Feedback, start: str = "warm") -> dict[str, float]:
        self._forget()
        return self.update(window)

    def update(self, feedback: Feedback) -> dict[str, float]:
        size = self.spaces.n_items
        self.impressions += np.bincount(feedback.slate_items.ravel(), minlength=size)
        self.clicks += np.bincount(feedback.slate_items[feedback.clicked], minlength=size)
        self._rank()
        rate = self.clicks.sum() / max(1, self.impressions.sum())
        return {"pages": float(len(feedback)), "click_rate": float(rate)}

    def state(self) -> dict[str, NDArray[Any]]:
        return {"clicks": self.clicks.copy(), "impressions": self.impressions.copy()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        shape = (self.spaces.n_items,)
        self.clicks, self.impressions = saved(state, "clicks", shape), saved(state, "impressions", shape)
        self._rank()
