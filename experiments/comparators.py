"""Policies that know the truth: what a learner is measured against. They look through the oracle's door."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import Feedback, Keys, Spaces
from perennial.agents.lifecycle.rollout import Served
from perennial.agents.popular import Popular
from perennial.envs import Response, Visits, World
from perennial.envs.drift import Offsets
from perennial.envs.oracle import Oracle
from perennial.experiments.loop import as_feedback


@dataclass(frozen=True)
class Window:
    """Days from `first` to `last`, both included, since the epoch."""

    first: int
    last: int

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise ValueError(f"'last' must be >= 'first'. Got a window from day {self.first} to day {self.last}.")


def mean_offsets(world: World, window: Window) -> Offsets:
    """The drift's mean over `window`, one moment, weighted by the expected arrivals of each hour."""
    ticks = np.arange(24 * window.first, 24 * (window.last + 1))
    return world.conditions(ticks).mean(world.arrival_rates(ticks))


class Comparator(ABC):
    """A policy that plays in a copy of the world of its own."""

    @abstractmethod
    def slates(self, visits: Visits) -> NDArray[np.int64]:
        """int64 (n, K): what it shows on the open pages."""

    def learn(self, answer: Response) -> None:  # noqa: B027 - most have nothing to learn
        """Take note of what the slates just served came to."""


class Moving(Comparator):
    """Sorts by the true expected reward of this very page: all parameters at t. Myopic: a reference, not a bound."""

    def __init__(self, world: World) -> None:
        self._oracle = Oracle(world)

    def slates(self, visits: Visits) -> NDArray[np.int64]:
        return self._oracle.best_slates(visits)


class Frozen(Comparator):
    """Knows every visitor and item, and the season's mean over one window, which it takes for always.

    Over the scored window itself this is *static-best*; over an earlier one, a recommender gone stale.
    """

    def __init__(self, world: World, window: Window) -> None:
        self._oracle = Oracle(world)
        self._offsets = mean_offsets(world, window)

    def slates(self, visits: Visits) -> NDArray[np.int64]:
        return self._oracle.best_slates(visits, self._offsets)


class Uniform(Comparator):
    """The reference policy: K candidates drawn uniformly without replacement, blind to all."""

    def __init__(self, world: World, seed: int = 0) -> None:
        self._rng = np.random.default_rng([seed, world.seed])
        self._sizes = world.sizes

    def slates(self, visits: Visits) -> NDArray[np.int64]:
        draws = self._rng.random((len(visits), self._sizes["n_candidates"]))
        return np.argsort(draws, axis=1)[:, : self._sizes["slate_size"]]


class LoggedPopular(Comparator):
    """The agent `popular`, refitted every night on its trailing 28 days: knows no truth, stands among those that do."""

    def __init__(self, world: World, days: int = 28) -> None:
        self._agent = Popular()
        self._agent.begin(world.items, Spaces(**world.sizes), world.seed)
        self._world, self._days = world, days
        self._served: dict[int, list[Feedback]] = {}

    def slates(self, visits: Visits) -> NDArray[np.int64]:
        self._seen = Keys(**self._world.keys(visits)), self._world.observe(visits)
        self._decision = self._agent.act(self._seen[1], self._seen[0])
        return self._decision.slates.astype(np.int64)

    def learn(self, answer: Response) -> None:
        """Take note of what the slates just served came to; a new day refits on the days before it."""
        keys, observations = self._seen
        nobody = np.zeros(len(keys), np.int32)
        day = int(keys.tick[0]) // 24
        if day not in self._served:
            self._served = {d: pages for d, pages in self._served.items() if d >= day - self._days}
            if self._served:
                self._agent.fit(Feedback.concatenate([page for pages in self._served.values() for page in pages]))
        served = Served(self._decision, nobody, nobody.astype(np.bool_), "champion", 0)
        self._served.setdefault(day, []).append(as_feedback(keys, observations, served, answer))
