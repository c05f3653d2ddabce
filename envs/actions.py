"""Ways to say what to show: a slate, scores of the candidates, a wish in feature space, or a category.

All but the first are for learners that cannot pick a slate among thousands: each turns B actions into slates.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from perennial.envs.validation import check_slates
from perennial.envs.world import World

Slates = NDArray[np.int64]

BOUND = 5.0
"""Entries of a proto-action lie in [-BOUND, BOUND]; an item's features are of unit spread."""


class Actions(ABC):
    """One way to say it, in `world`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.items = world.sizes["n_candidates"]
        self.slots = world.sizes["slate_size"]

    @abstractmethod
    def space(self) -> spaces.Space[Any]:
        """The space of one action."""

    @abstractmethod
    def slates(self, actions: Any, candidates: NDArray[np.int32], served: int) -> Slates:
        """int64 (B, K): slots into `candidates` (B, M). Raises, naming what is wrong, before anything changes."""


class SlateActions(Actions):
    """`MultiDiscrete([M] * K)`: the slate itself."""

    def space(self) -> spaces.MultiDiscrete:
        return spaces.MultiDiscrete([self.items] * self.slots)

    def slates(self, actions: Any, candidates: NDArray[np.int32], served: int) -> Slates:
        return check_slates(actions, served, self.slots, self.items)


class ScoreActions(Actions):
    """`Box(-1, 1, (M,))`: a score for every candidate; the K highest are shown, first among equals first."""

    def space(self) -> spaces.Box:
        return spaces.Box(-1.0, 1.0, (self.items,), np.float32)

    def slates(self, actions: Any, candidates: NDArray[np.int32], served: int) -> Slates:
        scores = _reals(actions, (served, self.items), 1.0)
        return np.argsort(-scores, axis=1, kind="stable")[:, : self.slots]


class ProtoActions(Actions):
    """`Box(-5, 5, (F,))`: a wish among the items' features (Dulac-Arnold et al. 2015, arXiv:1512.07679).

    The K candidates nearest to it are shown, nearest first.
    """

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._features = world.items_on(np.inf)["features"]

    def space(self) -> spaces.Box:
        return spaces.Box(-BOUND, BOUND, (self._features.shape[1],), np.float32)

    def slates(self, actions: Any, candidates: NDArray[np.int32], served: int) -> Slates:
        wishes = _reals(actions, (served, self._features.shape[1]), BOUND)
        distance = ((self._features[candidates] - wishes[:, None]) ** 2).sum(axis=2)
        return np.argsort(distance, axis=1, kind="stable")[:, : self.slots]


class CategoryActions(Actions):
    """`Discrete(C)`: candidates of one category first, in the order in which they come, then the others."""

    def space(self) -> spaces.Discrete[Any]:
        return spaces.Discrete(self.world.sizes["n_categories"])

    def slates(self, actions: Any, candidates: NDArray[np.int32], served: int) -> Slates:
        wanted = np.asarray(actions)
        if wanted.dtype.kind not in "iu":
            raise TypeError(f"A category is an integer. Got dtype {wanted.dtype}; round or cast it yourself.")
        if wanted.shape != (served,):
            raise ValueError(f"'actions' must have shape ({served},), one category a page. Got {wanted.shape}.")
        count = self.world.sizes["n_categories"]
        if ((wanted < 0) | (wanted >= count)).any():
            raise ValueError(f"A category lies in [0, {count}). Got {wanted[(wanted < 0) | (wanted >= count)][0]}.")
        other = self.world.catalogue.category[candidates] != wanted[:, None]
        return np.argsort(other, axis=1, kind="stable")[:, : self.slots]


def _reals(actions: Any, shape: tuple[int, ...], bound: float) -> NDArray[np.float64]:
    """float64 of `shape`: `actions`, if they are real numbers within the bound."""
    given = np.asarray(actions)
    if given.dtype.kind not in "fiu":
        raise TypeError(f"'actions' must hold real numbers. Got dtype {given.dtype}.")
    if given.shape != shape:
        raise ValueError(f"'actions' must have shape {shape}. Got {given.shape}.")
    wrong = ~(np.abs(given) <= bound)
    if wrong.any():
        raise ValueError(f"'actions' must lie in [{-bound:g}, {bound:g}]. Got {given[wrong][0]}; clip it yourself.")
    return given.astype(np.float64)


KINDS: dict[str, type[Actions]] = {
    "slate": SlateActions,
    "scores": ScoreActions,
    "proto": ProtoActions,
    "category": CategoryActions,
}
