"""Fills free lanes with the earliest potential visits whose visitors are not in the shop, for the Gymnasium faces."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perennial.envs import response
from perennial.envs.moments import HOURS
from perennial.envs.response import Lanes
from perennial.envs.world import World


class Stream:
    """The world's potential visits from `tick` on, in order, each taken once."""

    def __init__(self, world: World, tick: int) -> None:
        self._world = world
        self._tick = tick
        self._pending = np.empty((3, 0), np.int64)
        self._chance = np.empty(0)
        self._taken = np.empty(0, np.bool_)
        self._first = 0

    def fill(self, lanes: Lanes, rows: NDArray[np.int64]) -> None:
        """Open the next visits in the free lanes `rows`, in the order of `rows`."""
        found = [self._take(len(rows))]
        while (missing := len(rows) - sum(part.shape[1] for part in found)) > 0:
            self._extend()
            found.append(self._take(missing))
        self._world.begin(lanes, rows, np.concatenate(found, axis=1))

    def _take(self, count: int) -> NDArray[np.int64]:
        """int64 (3, up to count): visit, user, tick of the visits taken."""
        out = np.empty(count, np.int64)
        world = self._world
        found, _ = response.take_visits(
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
            more, draws = self._world.potential(self._tick, last)
            self._tick = last + 1
            fresh = len(draws)
        self._pending = np.concatenate([self._pending[:, keep], more], axis=1)
        self._chance = np.concatenate([self._chance[keep], draws])
        self._taken = np.zeros(len(self._chance), np.bool_)
        self._first = 0
