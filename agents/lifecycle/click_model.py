"""A model of clicks for off-policy estimates: what a slot would earn, predicted from pages it was not fitted on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import Feedback, Items, Observations, Spaces
from perennial.agents.lifecycle.hashing import BUCKETS, buckets, key_of
from perennial.agents.linucb import LinUCB

Floats = NDArray[np.float64]
FOLDS = 2
CHUNK = 1024  # pages whose features are held at once


class ClickModel:
    """Ridge regression of the click on `PairFeatures` and the slot, cross-fitted by user.

    Users are dealt into two folds, and each page is predicted by the model of the other (Chernozhukov et al. 2018): a
    model that has seen a page's own clicks would hide its errors from the doubly robust correction.
    """

    def __init__(self, items: Items, spaces: Spaces, ridge: float = 10.0) -> None:
        self._models = [LinUCB(alpha=0.0, ridge=ridge) for _ in range(FOLDS)]
        for model in self._models:
            model.begin(items, spaces, seed=0)

    def fit(self, pages: Feedback) -> None:
        """Learn from logged pages; those explored and those not alike."""
        folds = self.folds(pages)
        for fold, model in enumerate(self._models):
            model.fit(pages.take(folds != fold), "cold")

    @staticmethod
    def folds(pages: Feedback) -> NDArray[np.int64]:
        """int64 (P,): the fold of each page's user."""
        return buckets(pages.keys.user_id, key_of("click model")) * FOLDS // BUCKETS

    def predict(self, pages: Feedback, items: NDArray[np.int32], looks: Floats | None = None) -> Floats:
        """float64 (P, K): expected clicks of `items` int32 (P, K) shown in these slots, each in [0, 1].

        With `looks` float64 (K,), the examination of each slot relative to the first, they are that share of what the
        item is expected to earn in the first slot: weights that follow an item from slot to slot
        (`off_policy.position_weights`) are right only if its predictions follow too.
        """
        rates, folds = np.empty(items.shape), self.folds(pages)
        for fold, model in enumerate(self._models):
            rows = np.flatnonzero(folds == fold)
            for part in (rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)):
                seen: Observations = {name: array[part] for name, array in pages.observations.items()}
                rates[part] = _first_slot(model, seen, items[part]) + (_slots(model) if looks is None else 0.0)
        rates = np.clip(rates, 0.0, 1.0)
        return rates if looks is None else rates * looks


def _first_slot(model: LinUCB, observations: Observations, items: NDArray[np.int32]) -> Floats:
    rates: Floats = model.features.of(observations, items) @ model.theta[: model.features.size]
    return rates


def _slots(model: LinUCB) -> Floats:
    """float64 (K,): what a slot adds to the first."""
    return np.concatenate([[0.0], model.theta[model.features.size :]])
