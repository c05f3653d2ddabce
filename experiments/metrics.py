"""What is counted: one row a day while the loop runs, and the scores of a run from its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import Keys

HOURS = 24


@dataclass(frozen=True)
class Day:
    """What one simulated day came to; the scores of a run are ratios of sums over its days.

    Counts: `potential_visits` (would-be visits, the same for every arm), `visits` that happened, `pages`,
    `impressions` (slots shown), `clicks`, the same two on first pages, `bounces` (visits without a click), `carts`,
    `purchases`. Sums over pages: `reward`, `expected_reward` and `regret` (myopic, as the page is served).
    """

    day: int
    potential_visits: int
    visits: int
    pages: int
    impressions: int
    clicks: int
    first_page_impressions: int
    first_page_clicks: int
    bounces: int
    carts: int
    purchases: int
    reward: float
    expected_reward: float
    regret: float


@dataclass(frozen=True)
class Scores:
    """The scores of one run."""

    clicks_per_potential_visit: float
    first_page_ctr: float
    ctr: float
    bounce_rate: float
    regret_per_page: float
    reward_per_potential_visit: float
    expected_reward_per_page: float
    purchases_per_potential_visit: float


def summarise(days: Sequence[Day]) -> Scores:
    """The scores over `days`: ratios of sums, so that a busy day weighs as much as its visits."""
    if not days:
        raise ValueError("'days' must hold at least one day. Got none: nothing was served.")

    def ratio(part: str, whole: str) -> float:
        below = sum(getattr(d, whole) for d in days)
        return sum(getattr(d, part) for d in days) / below if below else 0.0

    return Scores(
        clicks_per_potential_visit=ratio("clicks", "potential_visits"),
        first_page_ctr=ratio("first_page_clicks", "first_page_impressions"),
        ctr=ratio("clicks", "impressions"),
        bounce_rate=ratio("bounces", "visits"),
        regret_per_page=ratio("regret", "pages"),
        reward_per_potential_visit=ratio("reward", "potential_visits"),
        expected_reward_per_page=ratio("expected_reward", "pages"),
        purchases_per_potential_visit=ratio("purchases", "potential_visits"),
    )


class Truth(Protocol):
    """The door to ground truth, `perennial.envs.oracle.Oracle` in practice."""

    def score(self, visits: Any, slates: NDArray[Any]) -> Scored:
        """What slates (B, K) come to on the open pages, in the state their visitors are in now."""


class Scored(Protocol):
    """float64 (B,) each: the expected reward of B slates, and how much of the best they miss."""

    @property
    def reward(self) -> NDArray[np.float64]: ...

    @property
    def regret(self) -> NDArray[np.float64]: ...


class Answer(Protocol):
    """What the world said to B pages: bool (B, K) each, reward float32 (B,)."""

    clicked: NDArray[np.bool_]
    carted: NDArray[np.bool_]
    purchased: NDArray[np.bool_]
    reward: NDArray[np.float32]


@dataclass
class Scorer:
    """Counts what the loop serves. Per wave: `before` (truth of the page as served), then `after` (what came of it)."""

    truth: Truth
    _days: list[Day] = field(default_factory=list)
    _day: int = -1
    _potential: int = 0
    _waves: list[dict[str, NDArray[Any]]] = field(default_factory=list)
    _asked: dict[str, NDArray[Any]] = field(default_factory=dict)

    def arrivals(self, tick: int, potential: int) -> None:
        """A new hour begins with `potential` would-be visits."""
        if tick // HOURS != self._day:
            self._close()
            self._day = tick // HOURS
        self._potential += potential

    def before(self, visits: Any, slates: NDArray[np.int32]) -> None:
        """Ask the oracle what is on offer while the world still stands where `slates` (B, K) are served."""
        scored = self.truth.score(visits, slates)
        self._asked = {"expected": scored.reward, "regret": scored.regret}

    def after(self, keys: Keys, answer: Answer) -> None:
        """Count the answer to the pages asked about in `before`."""
        outcome = {"clicked": answer.clicked, "carted": answer.carted, "purchased": answer.purchased}
        self._waves.append(
            {**self._asked, "visit": keys.visit, "first": keys.page == 0, "reward": answer.reward, **outcome}
        )

    def days(self) -> list[Day]:
        """All days so far, the one at hand included as it stands."""
        return self._days + ([self._row()] if self._day >= 0 else [])

    def __getstate__(self) -> dict[str, Any]:
        """For a checkpoint, taken between days: the day at hand is over, its waves are summed up.

        Days as columns: a checkpoint is written each day, and a year of rows would take longer than a week of them.
        """
        days = self.days()
        columns = {f.name: np.array([getattr(day, f.name) for day in days]) for f in fields(Day)}
        return {"truth": self.truth, "_days": columns, "_day": -1, "_potential": 0, "_waves": [], "_asked": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        rows = zip(*(column.tolist() for column in state["_days"].values()), strict=True)
        vars(self).update(state, _days=[Day(*row) for row in rows])

    def _close(self) -> None:
        if self._day >= 0:
            self._days.append(self._row())
        self._potential, self._waves = 0, []

    def _row(self) -> Day:
        if not self._waves:
            empty = {f.name: 0.0 if f.type == "float" else 0 for f in fields(Day)}
            return Day(**{**empty, "day": self._day, "potential_visits": self._potential})  # type: ignore[arg-type]
        pages = {name: np.concatenate([wave[name] for wave in self._waves]) for name in self._waves[0]}
        first, clicks = pages["first"], pages["clicked"].sum(axis=1)
        visits, slots = int(first.sum()), pages["clicked"].shape[1]
        return Day(
            day=self._day,
            potential_visits=self._potential,
            visits=visits,
            pages=len(first),
            impressions=slots * len(first),
            clicks=int(clicks.sum()),
            first_page_impressions=slots * visits,
            first_page_clicks=int(clicks[first].sum()),
            bounces=visits - len(np.unique(pages["visit"][clicks > 0])),
            carts=int(pages["carted"].sum()),
            purchases=int(pages["purchased"].sum()),
            reward=float(pages["reward"].sum(dtype=np.float64)),
            expected_reward=float(pages["expected"].sum()),
            regret=float(pages["regret"].sum()),
        )


def to_rows(days: Sequence[Day]) -> list[dict[str, float]]:
    """Days as plain dicts, for JSON."""
    return [asdict(day) for day in days]


def from_rows(rows: Sequence[dict[str, Any]]) -> list[Day]:
    """Days read back from JSON."""
    return [Day(**row) for row in rows]
