"""What an episode is, for the Gymnasium faces: one visit, one visitor's life, or the shop over some days."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.envs.calendars import Calendar
from perennial.envs.lanes import Lanes
from perennial.envs.moments import HOURS
from perennial.envs.stream import Saved, Stream
from perennial.envs.world import Response, World


class Visit:
    """One visit: leaving or a satisfied purchase terminates it, the page limit truncates it."""

    def __init__(self, world: World, start_day: int, days: int, width: int, calendar: Calendar) -> None:
        self.stream = Stream(world, HOURS * start_day, calendar)
        self._hours, self._end = HOURS * days, np.zeros(width, np.int64)

    def start(self, lanes: Lanes, rows: NDArray[np.int64]) -> None:
        """Begin episodes in the free lanes `rows`."""
        self.stream.open(lanes, rows, self.stream.take(len(rows)))

    def go_on(self, lanes: Lanes, result: Response) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """(terminated, truncated) of the episodes after a page; where one goes on, its lane stands at its next page."""
        return result.terminated, result.truncated

    def save(self) -> Saved:
        """What is needed to go on from here."""
        return self.stream.save() | {"end": self._end.copy()}

    def restore(self, saved: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `save` gave."""
        self.stream.restore(saved)
        self._end = saved["end"].copy()


class Horizon(Visit):
    """The shop's visitors, one after the other, for some days: truncated with the first visit that comes later.

    That visit is open already, and is where the next episode begins.
    """

    def __init__(self, world: World, start_day: int, days: int, width: int, calendar: Calendar) -> None:
        super().__init__(world, start_day, days, width, calendar)
        self._ready = np.zeros(width, np.bool_)

    def start(self, lanes: Lanes, rows: NDArray[np.int64]) -> None:
        super().start(lanes, rows[~self._ready[rows]])
        self._ready[rows] = False
        self._end[rows] = lanes.tick[rows] + self._hours

    def go_on(self, lanes: Lanes, result: Response) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        rows = np.flatnonzero(result.terminated | result.truncated)
        super().start(lanes, rows)
        over = np.zeros(len(result.terminated), np.bool_)
        over[rows] = lanes.tick[rows] >= self._end[rows]
        self._ready |= over
        return np.zeros_like(over), over

    def save(self) -> Saved:
        return super().save() | {"ready": self._ready.copy()}

    def restore(self, saved: Mapping[str, NDArray[Any]]) -> None:
        super().restore(saved)
        self._ready = saved["ready"].copy()


class User(Visit):
    """One visitor's life over some days: the next step after a visit is the same visitor's next one, if loyalty brings
    them back; truncated when the days are over. Episodes begin with the visitors in the order in which they come.
    """

    def __init__(self, world: World, start_day: int, days: int, width: int, calendar: Calendar) -> None:
        super().__init__(world, start_day, days, width, calendar)
        self._lived = np.full(world.sizes["n_users"], -1, np.int64)  # to which tick a visitor's life has been lived
        self._days: dict[int, tuple[NDArray[np.int64], NDArray[np.float64]]] = {}

    def start(self, lanes: Lanes, rows: NDArray[np.int64]) -> None:
        for row in rows:
            visit = self._newcomer()
            tick = int(visit[2, 0])
            self._end[row] = tick + self._hours
            self._lived[visit[1, 0]] = self._end[row]
            self.stream.open(lanes, np.array([row]), visit)

    def go_on(self, lanes: Lanes, result: Response) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        over = np.zeros(len(result.terminated), np.bool_)
        for row in np.flatnonzero(result.terminated | result.truncated):
            visit = self._return(int(lanes.user[row]), int(lanes.tick[row]), int(self._end[row]))
            if visit is None:
                over[row] = True
            else:
                self.stream.open(lanes, np.array([row]), visit)
        return np.zeros_like(over), over

    def _newcomer(self) -> NDArray[np.int64]:
        """int64 (3, 1): the next visit of a visitor whose life has not been lived up to it."""
        while True:
            visit = self.stream.take(1)
            if visit[2, 0] >= self._lived[visit[1, 0]]:
                return visit
            self.stream.world._state.open[visit[1, 0]] = False

    def _return(self, user: int, tick: int, end: int) -> NDArray[np.int64] | None:
        """int64 (3, 1): the visitor's first visit after `tick` and before `end` that does happen, if any."""
        world = self.stream.world
        rules, loyalty = world._rules, float(world._state.loyalty[user])
        chance = rules.return_floor + (1 - rules.return_floor) * loyalty
        for day in range(tick // HOURS, -(-end // HOURS)):
            pending, draws = self._of_day(day)
            mine = (pending[1] == user) & (pending[2] > tick) & (pending[2] < end) & (draws < chance)
            if mine.any():
                return pending[:, [int(mine.argmax())]]
        return None

    def _of_day(self, day: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The potential visits of a day, kept for the days that the lanes may still ask for."""
        if day not in self._days:
            kept = 2 * self._hours // HOURS + 2
            self._days = {d: v for d, v in self._days.items() if abs(d - day) <= kept}
            self._days[day] = self.stream.world.potential(HOURS * day, HOURS * day + HOURS - 1)
        return self._days[day]

    def save(self) -> Saved:
        return super().save() | {"lived": self._lived.copy()}

    def restore(self, saved: Mapping[str, NDArray[Any]]) -> None:
        super().restore(saved)
        self._lived = saved["lived"].copy()


KINDS: dict[str, type[Visit]] = {"visit": Visit, "horizon": Horizon, "user": User}
