"""What is in fashion: click rates of items from counts that fade, the same for every visitor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import Agent, Decision, Feedback, Items, Keys, Observations, Spaces, top_k
from perennial.agents.validation import number, saved

HOURS = 24


class Trending(Agent):
    """Ranks candidates by ``(clicks + prior x mean rate) / (impressions + prior)``, with counts that fade.

    A click or impression of age a weighs ``2^(-a / half_life_days)`` (exponential smoothing, Brown 1959, by age in
    hours): unlike `Popular`, which counts a whole window alike, it forgets by itself and needs no window. `fit` with
    start="cold" forgets and counts the window; with "warm" it adds the pages later than all it has seen. `update` adds
    all pages it is given, late ones at the weight of their age. Deterministic: propensity 1.

    Arguments
    ---------
    half_life_days : age at which a count weighs half, in days, > 0
    prior : impressions at the mean click rate that every item starts with, > 0; draws rarely shown items to the mean
    """

    def __init__(self, half_life_days: float = 3.0, prior: float = 20.0) -> None:
        self.half_life_days = number("half_life_days", half_life_days, 0.0, above=True)
        self.prior = number("prior", prior, 0.0, above=True)

    def begin(self, items: Items, spaces: Spaces, seed: int) -> None:
        super().begin(items, spaces, seed)
        self._forget()

    def _forget(self) -> None:
        self.clicks = np.zeros(self.spaces.n_items)
        self.impressions = np.zeros(self.spaces.n_items)
        self.clock = np.full(1, -1, dtype=np.int64)  # the hour at which a count weighs 1
        self._rank()

    def _rank(self) -> None:
        """Settle each item's score, float64 (N,)."""
        total = self.impressions.sum()
        mean = self.clicks.sum() / total if total > 0 else 0.0
        self._scores = (self.clicks + self.prior * mean) / (self.impressions + self.prior)

    def weight(self, hours: Any) -> Any:
        """float64: what a count that is `hours` old weighs."""
        return np.exp2(-np.asarray(hours, dtype=np.float64) / (HOURS * self.half_life_days))

    def act(self, observations: Observations, keys: Keys) -> Decision:
        slates = top_k(self._scores[observations["candidates"]], self.spaces.slate_size)
        return Decision(slates, np.ones(slates.shape))

    def fit(self, window: Feedback, start: str = "warm") -> dict[str, float]:
        if start == "cold":
            self._forget()
        return self.update(window.take(window.keys.tick > self.clock[0]))

    def update(self, feedback: Feedback) -> dict[str, float]:
        if len(feedback) == 0:
            return {"pages": 0.0}
        now = max(int(self.clock[0]), int(feedback.keys.tick.max()))
        fade = self.weight(now - self.clock[0])
        weight = np.broadcast_to(self.weight(now - feedback.keys.tick)[:, None], feedback.slate_items.shape)
        size, items, clicked = self.spaces.n_items, feedback.slate_items, feedback.clicked
        self.impressions = fade * self.impressions + np.bincount(items.ravel(), weight.ravel(), size)
        self.clicks = fade * self.clicks + np.bincount(items[clicked], weight[clicked], size)
        self.clock[0] = now
        self._rank()
        return {"pages": float(len(feedback)), "impressions_kept": float(self.impressions.sum())}

    def state(self) -> dict[str, NDArray[Any]]:
        return {"clicks": self.clicks.copy(), "impressions": self.impressions.copy(), "clock": self.clock.copy()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        shape = (self.spaces.n_items,)
        parts = saved(state, "clicks", shape), saved(state, "impressions", shape), saved(state, "clock", (1,))
        self.clicks, self.impressions, self.clock = parts
        self._rank()
