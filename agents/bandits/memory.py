"""How a linear bandit remembers: everything, a sliding window, with fading weights, or since the last restart."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.agents.bandits.linear_algebra import Floats
from perennial.agents.bandits.moments import Moments
from perennial.agents.bandits.restarts import Alarm
from perennial.agents.validation import number, saved, whole

HOURS = 24
Ticks = NDArray[np.int64]


class Memory(ABC):
    """Sums over the rows it was given, each weighted by its age.

    Time passes in *pages* (rounds, in the papers' words) or in *ticks* (hours since the epoch); each form says which.
    Feeding pages one by one or in batches comes to the same, up to rounding. All sums take leading batch axes.
    """

    @abstractmethod
    def begin(self, size: int, batch: tuple[int, ...] = ()) -> None:
        """Forget everything; rows will have `size` numbers."""

    @abstractmethod
    def add(self, x: Floats, y: Floats, ticks: Ticks) -> None:
        """Take P pages of K rows, oldest first: x (..., P, K, d), y (..., P, K), ticks (P,), not falling."""

    @property
    @abstractmethod
    def moments(self) -> Moments:
        """The weighted sums as of the newest page."""

    @abstractmethod
    def state(self) -> dict[str, NDArray[Any]]: ...

    @abstractmethod
    def restore(self, state: Mapping[str, NDArray[Any]]) -> None: ...


class Everything(Memory):
    """Nothing is ever forgotten."""

    def begin(self, size: int, batch: tuple[int, ...] = ()) -> None:
        self._moments = Moments.zeros(size, batch)

    def add(self, x: Floats, y: Floats, ticks: Ticks) -> None:
        self._moments.add(Moments.of(x, y))

    @property
    def moments(self) -> Moments:
        return self._moments

    def state(self) -> dict[str, NDArray[Any]]:
        return self._moments.state()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        self._moments.restore(state)


class SlidingDays(Memory):
    """The newest page's day and the ``days - 1`` before it.

    Each day's sums are kept apart and added up when asked: nothing is ever subtracted, so nothing cancels.

    Arguments
    ---------
    days : length of the window, >= 1
    """

    def __init__(self, days: int = 28) -> None:
        self.days = whole("days", days, 1)

    def begin(self, size: int, batch: tuple[int, ...] = ()) -> None:
        self._size, self._batch = size, batch
        self._blocks = Moments.zeros(size, (self.days, *batch))
        self._day = np.full(1, -1, dtype=np.int64)  # of the newest page; its block is day % days

    def add(self, x: Floats, y: Floats, ticks: Ticks) -> None:
        days = ticks // HOURS
        if len(days) and days[-1] > self._day[0]:
            self._turn(int(days[-1]))
        for day in np.unique(days[days > self._day[0] - self.days]):
            of_day = days == day
            block = Moments.of(x[..., of_day, :, :], y[..., of_day, :])
            for name, sums in vars(self._blocks).items():
                sums[day % self.days] += getattr(block, name)

    def _turn(self, day: int) -> None:
        """Clear the blocks of days that begin now, which held days that leave the window."""
        for new in range(max(int(self._day[0]) + 1, day - self.days + 1), day + 1):
            for sums in vars(self._blocks).values():
                sums[new % self.days] = 0.0
        self._day[0] = day

    @property
    def moments(self) -> Moments:
        return Moments(**{name: sums.sum(axis=0) for name, sums in vars(self._blocks).items()})

    def state(self) -> dict[str, NDArray[Any]]:
        return {**self._blocks.state(), "day": self._day.copy()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        self._blocks.restore(state)
        self._day = saved(state, "day", (1,))


class SlidingPages(Memory):
    """The last `pages` pages, whose rows are kept; the sums are made anew from them, so no error adds up.

    Arguments
    ---------
    pages : length of the window, >= 1
    """

    def __init__(self, pages: int = 5000) -> None:
        self.pages = whole("pages", pages, 1)

    def begin(self, size: int, batch: tuple[int, ...] = ()) -> None:
        self._size, self._batch = size, batch
        self._x: Floats = np.zeros((*batch, 0, 1, size))
        self._y: Floats = np.zeros((*batch, 0, 1))
        self._moments = Moments.zeros(size, batch)

    def add(self, x: Floats, y: Floats, ticks: Ticks) -> None:
        if x.shape[-3] == 0:
            return
        keep = max(0, self.pages - x.shape[-3])
        old = max(0, self._x.shape[-3] - keep)
        first = self._x.shape[-3] == 0
        self._x = np.array(x[..., -self.pages :, :, :]) if first else self._joined(self._x, x, old, -3)
        self._y = np.array(y[..., -self.pages :, :]) if first else self._joined(self._y, y, old, -2)
        self._moments = Moments.of(self._x, self._y)

    def _joined(self, kept: Floats, new: Floats, old: int, axis: int) -> Floats:
        """The rows from page `old` of those kept on, and the new ones, at most `pages` of them."""
        joined = np.concatenate([np.moveaxis(kept, axis, 0)[old:], np.moveaxis(new, axis, 0)[-self.pages :]])
        return np.moveaxis(joined, 0, axis)

    @property
    def moments(self) -> Moments:
        return self._moments

    @property
    def held(self) -> int:
        """Pages in the window."""
        return int(self._x.shape[-3])

    def state(self) -> dict[str, NDArray[Any]]:
        return {"x": self._x.copy(), "y": self._y.copy()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        held = state["x"].shape[-3:-1] if "x" in state and state["x"].ndim >= 3 else (0, 1)
        self._x = saved(state, "x", (*self._batch, *held, self._size))
        self._y = saved(state, "y", (*self._batch, *held))
        self._moments = Moments.of(self._x, self._y)


class FadingPages(Memory):
    """A page that p pages came after has weight ``gamma^p``.

    The sums with squared weights, which D-LinUCB's confidence needs (Russac, Vernade and Cappe 2019, equation 4), are
    kept beside them in `squares`.

    Arguments
    ---------
    gamma : weight lost per page, in (0, 1]
    """

    def __init__(self, gamma: float = 0.9999) -> None:
        self.gamma = number("gamma", gamma, 0.0, 1.0, above=True)

    def begin(self, size: int, batch: tuple[int, ...] = ()) -> None:
        self._moments, self.squares = Moments.zeros(size, batch), Moments.zeros(size, batch)

    def add(self, x: Floats, y: Floats, ticks: Ticks) -> None:
        pages = x.shape[-3]
        weights = self.gamma ** np.arange(pages - 1, -1, -1.0)
        for sums, power in ((self._moments, 1), (self.squares, 2)):
            sums.fade(self.gamma ** (power * pages))
            sums.add(Moments.of(x, y, weights**power))

    @property
    def moments(self) -> Moments:
        return self._moments

    def state(self) -> dict[str, NDArray[Any]]:
        return {**self._moments.state(), **{f"squares.{name}": a for name, a in self.squares.state().items()}}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        self._moments.restore(state)
        self.squares.restore({n.removeprefix("squares."): a for n, a in state.items() if n.startswith("squares.")})


class FadingDays(Memory):
    """A page that lies h hours before the newest has weight ``2^(-h / 24 / half_life)``.

    Arguments
    ---------
    half_life : days after which a page counts half, > 0
    """

    def __init__(self, half_life: float = 14.0) -> None:
        self.half_life = number("half_life", half_life, 0.0, above=True)

    def begin(self, size: int, batch: tuple[int, ...] = ()) -> None:
        self._moments = Moments.zeros(size, batch)
        self._now = np.full(1, -1, dtype=np.int64)  # tick of the newest page

    def add(self, x: Floats, y: Floats, ticks: Ticks) -> None:
        if len(ticks) == 0:
            return
        now = max(int(ticks[-1]), int(self._now[0]))
        self._moments.fade(float(self._weight(now - self._now)[0]))
        self._moments.add(Moments.of(x, y, self._weight(now - ticks)))
        self._now[0] = now

    def _weight(self, hours: Ticks) -> Floats:
        return np.asarray(0.5 ** (hours / (HOURS * self.half_life)), dtype=np.float64)

    @property
    def moments(self) -> Moments:
        return self._moments

    def state(self) -> dict[str, NDArray[Any]]:
        return {**self._moments.state(), "now": self._now.copy()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        self._moments.restore(state)
        self._now = saved(state, "now", (1,))


class Restarted(Memory):
    """Everything since the last restart: at a declared break, or after an alarm.

    What was learned before is forgotten for good, and so is the rest of a batch that lies before the restart.

    Arguments
    ---------
    breaks : ticks (hours since the epoch), rising; what comes before a break is forgotten once a page comes after it
    alarm : watches the mean target of each hour and says when to restart; None listens to `breaks` alone
    """

    def __init__(self, breaks: Sequence[int] = (), alarm: Alarm | None = None) -> None:
        self.breaks = [whole(f"breaks[{i}]", tick, 0) for i, tick in enumerate(breaks)]
        if self.breaks != sorted(self.breaks):
            raise ValueError(f"'breaks' must rise. Got {self.breaks}.")
        self.alarm = alarm

    def begin(self, size: int, batch: tuple[int, ...] = ()) -> None:
        if self.alarm is not None and batch:
            raise ValueError("'alarm' watches one stream: give a batch of repetitions their 'breaks' instead.")
        self._moments = Moments.zeros(size, batch)
        self._start = np.zeros(1, dtype=np.int64)  # tick of the last restart
        if self.alarm is not None:
            self.alarm.begin()

    def add(self, x: Floats, y: Floats, ticks: Ticks) -> None:
        if len(ticks) == 0:
            return
        start = max([int(self._start[0]), *(tick for tick in self.breaks if tick <= ticks[-1])])
        if self.alarm is not None:
            start = max(start, self.alarm.watch(ticks, y.mean(axis=-1)))
        if start > self._start[0]:
            self._start[0] = start
            self._moments.fade(0.0)
        kept = ticks >= start
        self._moments.add(Moments.of(x[..., kept, :, :], y[..., kept, :]))

    @property
    def moments(self) -> Moments:
        return self._moments

    @property
    def start(self) -> int:
        """Tick of the last restart, 0 before the first."""
        return int(self._start[0])

    def state(self) -> dict[str, NDArray[Any]]:
        watched = {} if self.alarm is None else self.alarm.state()
        return {**self._moments.state(), "start": self._start.copy(), **{f"alarm.{n}": a for n, a in watched.items()}}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        self._moments.restore(state)
        self._start = saved(state, "start", (1,))
        if self.alarm is not None:
            self.alarm.restore({n.removeprefix("alarm."): a for n, a in state.items() if n.startswith("alarm.")})
