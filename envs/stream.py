"""Fills free lanes with the earliest potential visits whose visitors are not in the shop, for the Gymnasium faces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.envs import engine, openings
from perennial.envs.calendars import Calendar
from perennial.envs.lanes import Lanes
from perennial.envs.moments import HOURS
from perennial.envs.world import World

Saved = dict[str, NDArray[Any]]


class Stream:
    """The world's potential visits from `tick` on, in order, each taken once."""

    def __init__(self, world: World, tick: int, calendar: Calendar) -> None:
        self.world, self.calendar = world, calendar
        self._tick = tick
        self._pending = np.empty((3, 0), np.int64)
        self._chance = np.empty(0)
        self._taken = np.empty(0, np.bool_)
        self._first = 0

    def take(self, count: int) -> NDArray[np.int64]:
        """int64 (3, count): visit, user, tick of the next visits; their visitors are in the shop from now on."""
        found = [self._take(count)]
        while (missing := count - sum(part.shape[1] for part in found)) > 0:
            self._extend()
            found.append(self._take(missing))
        return found[0] if len(found) == 1 else np.concatenate(found, axis=1)

    def take_one(self, place: Any) -> tuple[int, int, int]:
        """visit, user, tick of the next visit; `place` is the world with its one lane, see `perennial.envs.engine`."""
        while True:
            index, self._first = engine.take(place, self._pending, self._chance, self._taken, self._first)
            if index >= 0:
                visit, user, tick = self._pending[:, index].tolist()
                return visit, user, tick
            self._extend()

    def open(self, lanes: Lanes, rows: NDArray[np.int64], starting: NDArray[np.int64]) -> None:
        """Begin the visits `starting` (3, n) in `rows`, as the calendar shows them."""
        self.world.begin(lanes, rows, starting, self.calendar.shown(starting))

    def save(self) -> Saved:
        """What is needed to go on from here, copied."""
        counts = np.array([self._tick, self._first])
        return {"counts": counts, "pending": self._pending, "chance": self._chance, "taken": self._taken.copy()}

    def restore(self, saved: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `save` gave."""
        self._tick, self._first = (int(n) for n in saved["counts"])
        self._pending, self._chance = saved["pending"].copy(), saved["chance"].copy()
        self._taken = saved["taken"].copy()

    def _take(self, count: int) -> NDArray[np.int64]:
        """int64 (3, up to count): of those drawn already."""
        out = np.empty(count, np.int64)
        world = self.world
        found, _ = openings.take_visits(
            self._pending, self._chance, self._taken, self._first, world._state, world._rules, out
        )
        rest = self._taken[self._first :]
        self._first += len(rest) if rest.all() else int(rest.argmin())
        return self._pending[:, out[:found]]

    def _extend(self) -> None:
        """Draw the rest of the day and on until there is one more potential visit; forget what was taken."""
        keep = ~self._taken
        fresh = 0
        while fresh == 0:
            last = self._tick // HOURS * HOURS + HOURS - 1
            more, draws = self.world.potential(self._tick, last)
            self._tick = last + 1
            fresh = len(draws)
        self._pending = np.concatenate([self._pending[:, keep], more], axis=1)
        self._chance = np.concatenate([self._chance[keep], draws])
        self._taken = np.zeros(len(self._chance), np.bool_)
        self._first = 0
