"""Policies that know the truth: what a learner is measured against. They look through the oracle's door."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

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
    """A policy that plays in a copy of the world of its own, `world`."""

    world: World

    @abstractmethod
    def slates(self, visits: Visits) -> NDArray[np.int64]:
        """int64 (n, K): what it shows on the open pages."""

    def learn(self, answer: Response) -> None:  # noqa: B027 - most have nothing to learn
        """Take note of what the slates just served came to."""


class Moving(Comparator):
    """Sorts by the true expected reward of this very page: all parameters at t. Myopic: a reference, not a bound."""

    def __init__(self, world: World) -> None:
        self.world, self._oracle = world, Oracle(world)

    def slates(self, visits: Visits) -> NDArray[np.int64]:
        return self._oracle.best_slates(visits)


class Frozen(Comparator):
    """Knows every visitor and item, and the season's mean over one window, which it takes for always.

    Over the scored window itself this is *static-best*; over an earlier one, a recommender gone stale.
    """

    def __init__(self, world: World, window: Window) -> None:
        self.world, self._oracle = world, Oracle(world)
        self._offsets = mean_offsets(world, window)

    def slates(self, visits: Visits) -> NDArray[np.int64]:
        return self._oracle.best_slates(visits, self._offsets)


def season_offsets(world: World) -> list[Offsets]:
    """The mean calendar curve: the drift's mean over ten years from the epoch, for each of the year's 365 days.

    What shifts from year to year, or happens once, averages out; a season that returns stays.
    """
    ticks = 24 * (np.arange(365) + np.floor(365.25 * np.arange(10))[:, None]).astype(np.int64) + 12
    path = world.conditions(ticks.ravel())
    year = np.tile(np.arange(365), len(ticks))
    return [path.take(year == day).mean(np.ones(len(ticks))) for day in range(365)]


class SeasonAware(Comparator):
    """Knows every visitor and item and what each day of the year is like on average, but not this year from others."""

    def __init__(self, world: World) -> None:
        self.world, self._oracle = world, Oracle(world)
        self._year = season_offsets(world)

    def slates(self, visits: Visits) -> NDArray[np.int64]:
        slates = np.empty((len(visits), self.world.sizes["slate_size"]), np.int64)
        day = (visits.lanes.tick[visits.rows] / 24 % 365.25).astype(np.int64) % 365
        for today in np.unique(day):
            rows = day == today
            slates[rows] = self._oracle.best_slates(replace(visits, rows=visits.rows[rows]), self._year[today])
        return slates


class FarSighted(Comparator):
    """The moving oracle, and besides it values what a click does to the visitor's loyalty; no other information.

    A click moves the visit's mean quality by about quality / n, n the clicks of a visit; loyalty follows by the
    dynamics' rate and fades by it; a unit of loyalty brings (1 - floor) more of each later potential visit, worth
    `visit_worth`. So a click is worth, beyond its page, visit_worth x (1 - floor) x rate x (quality - mean quality) / n
    x sum over the visitor's expected m potential visits to come before `last` of the share that is left of the change,
    (1 - (1 - rate r)^m) / (rate r), r the return probability. The two constants are plain averages of the moving
    oracle's own visits: nothing is tuned.
    """

    def __init__(self, world: World, last: int, visit_worth: float, visit_clicks: float) -> None:
        self.world, self._oracle, self._dynamics = world, Oracle(world), world.dynamics
        quality = world.catalogue.quality.astype(np.float64)
        moved = self._dynamics
        self._bonus = (quality - quality.mean()) * visit_worth * (1 - moved.return_floor) * moved.loyalty_rate
        self._bonus /= max(visit_clicks, 1.0)
        self._share = np.diff(world.visitors.arrival_share, prepend=0.0)
        days = 24 * np.arange(last + 2)[:, None] + np.arange(24)
        daily = world.arrival_rates(days.ravel()).reshape(-1, 24).sum(axis=1)
        self._to_come = daily[::-1].cumsum()[::-1]
        self._last = last

    def slates(self, visits: Visits) -> NDArray[np.int64]:
        lanes, rows, moved = visits.lanes, visits.rows, self._dynamics
        tomorrow = np.minimum(lanes.tick[rows] // 24 + 1, self._last + 1)
        later = self._share[lanes.user[rows]] * (self._to_come[tomorrow] - self._to_come[self._last + 1])
        fades = moved.loyalty_rate * (moved.return_floor + (1 - moved.return_floor) * moved.start_loyalty)
        weight = (1 - (1 - fades) ** later) / max(fades, 1e-12)
        return self._oracle.best_slates(visits, bonus=self._bonus, weight=weight)


class Uniform(Comparator):
    """The reference policy: K candidates drawn uniformly without replacement, blind to all."""

    def __init__(self, world: World, seed: int = 0) -> None:
        self._rng = np.random.default_rng([seed, world.seed])
        self.world, self._sizes = world, world.sizes

    def slates(self, visits: Visits) -> NDArray[np.int64]:
        draws = self._rng.random((len(visits), self._sizes["n_candidates"]))
        return np.argsort(draws, axis=1)[:, : self._sizes["slate_size"]]


class LoggedPopular(Comparator):
    """The agent `popular`, refitted every night on its trailing 28 days: knows no truth, stands among those that do."""

    def __init__(self, world: World, days: int = 28) -> None:
        self._agent = Popular()
        self._agent.begin(world.items, Spaces(**world.sizes), world.seed)
        self.world, self._days = world, days
        self._served: dict[int, list[Feedback]] = {}

    def slates(self, visits: Visits) -> NDArray[np.int64]:
        self._seen = Keys(**self.world.keys(visits)), self.world.observe(visits)
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
        served = Served(self._decision, nobody, nobody.astype(np.bool_))
        self._served.setdefault(day, []).append(as_feedback(keys, observations, served, answer))
