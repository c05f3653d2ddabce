"""What a learner may say instead of a slate, and which slate each saying stands for, by the item table alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from gymnasium import spaces as gym_spaces
from numpy.typing import NDArray

from perennial.agents.base import Items, Spaces, top_k
from perennial.agents.validation import one_of

PROTO_BOUND = 5.0
"""Entries of a proto-action lie in [-PROTO_BOUND, PROTO_BOUND]; an item's features are of about unit spread."""


class Actions(ABC):
    """One way to say which slate is meant. The learner's network may see candidates in any order.

    `slates` is what an action shows. `guess` names an action that may have shown a given slate: where
    ``slates(guess) == slate`` it is as good as the one that was taken, since nothing but the slate reaches the visitor.
    """

    masks: Any = None

    def __init__(self, items: Items, spaces: Spaces) -> None:
        self.items, self.spaces = items, spaces
        self.k, self.m = spaces.slate_size, spaces.n_candidates

    @abstractmethod
    def space(self) -> gym_spaces.Space[Any]:
        """The space of one action."""

    @abstractmethod
    def slates(self, actions: NDArray[Any], candidates: NDArray[np.int32]) -> NDArray[np.int32]:
        """int32 (B, K): slots into `candidates`, int32 (B, M)."""

    @abstractmethod
    def guess(self, slates: NDArray[np.int32], candidates: NDArray[np.int32]) -> NDArray[Any]:
        """An action for each of the `slates`, int32 (B, K), as a learner stores it."""


class Slates(Actions):
    """`MultiDiscrete([M] * K)`: the slate itself."""

    def space(self) -> gym_spaces.MultiDiscrete:
        return gym_spaces.MultiDiscrete([self.m] * self.k)

    def slates(self, actions: NDArray[Any], candidates: NDArray[np.int32]) -> NDArray[np.int32]:
        return actions.astype(np.int32)

    def guess(self, slates: NDArray[np.int32], candidates: NDArray[np.int32]) -> NDArray[np.int32]:
        return slates


class Picks(Actions):
    """`Discrete(M)`: this candidate first, then the others in the order in which they come (which has no meaning).

    A learner of action values serves by ranking them all; each slot of a logged slate is then a pick of its own, see
    `QLearner`.
    """

    def space(self) -> gym_spaces.Discrete[Any]:
        return gym_spaces.Discrete(self.m)

    def slates(self, actions: NDArray[Any], candidates: NDArray[np.int32]) -> NDArray[np.int32]:
        return first(np.asarray(actions)[:, None] == np.arange(self.m), self.k)

    def guess(self, slates: NDArray[np.int32], candidates: NDArray[np.int32]) -> NDArray[np.int32]:
        return slates[:, 0]


class Categories(Actions):
    """`Discrete(C)`: candidates of one category first, in the order in which they come, then the others."""

    def space(self) -> gym_spaces.Discrete[Any]:
        return gym_spaces.Discrete(self.spaces.n_categories)

    def slates(self, actions: NDArray[Any], candidates: NDArray[np.int32]) -> NDArray[np.int32]:
        return first(self.items["category"][candidates] == np.asarray(actions)[:, None], self.k)

    def guess(self, slates: NDArray[np.int32], candidates: NDArray[np.int32]) -> NDArray[np.int32]:
        shown = np.take_along_axis(candidates, slates[:, :1].astype(np.int64), axis=1)[:, 0]
        return np.asarray(self.items["category"][shown])

    def masks(self, candidates: NDArray[np.int32]) -> NDArray[np.bool_]:
        """bool (B, C): categories that have a candidate on the page."""
        present = np.zeros((len(candidates), self.spaces.n_categories), dtype=np.bool_)
        np.put_along_axis(present, self.items["category"][candidates].astype(np.int64), True, axis=1)
        return present


class Scores(Actions):
    """`Box(-1, 1, (M,))`: a score for every candidate; the K highest are shown, first among equals first."""

    def space(self) -> gym_spaces.Box:
        return gym_spaces.Box(-1.0, 1.0, (self.m,), np.float32)

    def slates(self, actions: NDArray[Any], candidates: NDArray[np.int32]) -> NDArray[np.int32]:
        return top_k(actions, self.k)

    def guess(self, slates: NDArray[np.int32], candidates: NDArray[np.int32]) -> NDArray[np.float32]:
        """Scores from 1 down to 0.5 for what was shown, -1 for the rest."""
        scores = np.full(candidates.shape, -1.0, dtype=np.float32)
        np.put_along_axis(scores, slates.astype(np.int64), np.linspace(1.0, 0.5, self.k, dtype=np.float32), axis=1)
        return scores


class Protos(Actions):
    """`Box(-5, 5, (F,))`: a point among the items' features; the K candidates nearest to it, nearest first.

    Dulac-Arnold et al. 2015, "Deep reinforcement learning in large discrete action spaces" (arXiv:1512.07679).
    """

    def space(self) -> gym_spaces.Box:
        return gym_spaces.Box(-PROTO_BOUND, PROTO_BOUND, (self.items["features"].shape[1],), np.float32)

    def slates(self, actions: NDArray[Any], candidates: NDArray[np.int32]) -> NDArray[np.int32]:
        away = self.items["features"][candidates].astype(np.float64) - actions[:, None].astype(np.float64)
        return top_k(-(away**2).sum(axis=2), self.k)

    def guess(self, slates: NDArray[np.int32], candidates: NDArray[np.int32]) -> NDArray[np.float32]:
        """The middle of what was shown, which is the action itself only where it shows just these."""
        shown = np.take_along_axis(candidates, slates.astype(np.int64), axis=1)
        middle = self.items["features"][shown].mean(axis=1)
        return np.clip(middle, -PROTO_BOUND, PROTO_BOUND).astype(np.float32)


KINDS: dict[str, type[Actions]] = {
    "slate": Slates,
    "item": Picks,
    "category": Categories,
    "scores": Scores,
    "proto": Protos,
}


def first(chosen: NDArray[np.bool_], k: int) -> NDArray[np.int32]:
    """int32 (B, k): slots where `chosen` (B, M) first, then the others, each in the order in which they come."""
    return np.argsort(~chosen, axis=1, kind="stable")[:, :k].astype(np.int32)


def kind_of(name: Any, allowed: tuple[str, ...]) -> type[Actions]:
    """The class behind a word, if the learner can take it."""
    return KINDS[one_of("action", name, allowed)]
