"""Evidence per user: what two arms' visitors did, summed by visitor, because visitors are what was drawn by lot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import Feedback

Floats = NDArray[np.float64]

COUNTED = ("visits", "pages", "clicks", "reward", "ended", "bounces")
"""What is summed for each visitor; ``ended``: visits that came to their end, ``bounces``: those without a click."""

METRICS: dict[str, tuple[str, str]] = {
    "clicks_per_visit": ("clicks", "visits"),
    "reward_per_visit": ("reward", "visits"),
    "clicks_per_page": ("clicks", "pages"),
    "bounce": ("bounces", "ended"),
}
"""Name of a metric: the two sums whose ratio it is."""

FIRSTS = ("first_page_ctr", "first_bounce")
"""One value in [0, 1] a visitor: clicks per slot on the first page of all; whether the first ended visit bounced."""


@dataclass(frozen=True)
class Moments:
    """Sums over an arm's users of y, w and their products; float64, any one shape. ``users``: how many have w > 0."""

    users: Floats
    y: Floats
    w: Floats
    yy: Floats
    yw: Floats
    ww: Floats

    @staticmethod
    def of(y: Floats, w: Floats) -> Moments:
        """From one number y and one w for each user, float64 (U,)."""
        seen = w > 0
        y, w = y[seen], w[seen]
        return Moments(*(np.asarray(part, np.float64) for part in (len(y), y.sum(), w.sum(), y @ y, y @ w, w @ w)))

    def ratio(self) -> tuple[Floats, Floats]:
        """(sum y / sum w, the variance of that ratio) when users are drawn independently; NaN below two users.

        The delta method on per-user totals (Deng, Knoblich and Lu 2018, "Applying the delta method in metric
        analytics", section 3): Var = n s^2 / (sum w)^2, s^2 the variance over users of y - ratio x w. What one user
        does on many days counts as one observation, however its parts hang together.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = self.y / self.w
            spread = (self.yy - 2 * ratio * self.yw + ratio**2 * self.ww) / (self.users - 1)
            return ratio, np.maximum(spread, 0.0) * self.users / self.w**2


class UserLedger:
    """Sums by user and arm, and each user's first values, in the order in which they came to be known."""

    def __init__(self) -> None:
        self._sums = np.zeros((2, len(COUNTED), 0))
        self._open: dict[int, int] = {}
        self._firsts: dict[str, list[tuple[NDArray[np.bool_], Floats]]] = {name: [] for name in FIRSTS}
        self._known = {name: np.zeros(0, np.bool_) for name in FIRSTS}

    def add(self, pages: Feedback, candidate: NDArray[np.bool_]) -> None:
        """Count pages, ordered by tick; `candidate` bool (P,): the arm that served each."""
        if not len(pages):
            return
        self._grow(int(pages.keys.user_id.max()) + 1)
        clicks = pages.clicked.sum(axis=1).astype(np.float64)
        first = pages.keys.page == 0
        self._sum("visits", pages.keys.user_id, candidate, first.astype(np.float64))
        self._sum("pages", pages.keys.user_id, candidate, np.ones(len(pages)))
        self._sum("clicks", pages.keys.user_id, candidate, clicks)
        self._sum("reward", pages.keys.user_id, candidate, pages.reward.astype(np.float64))
        rows = np.flatnonzero(first)
        share = clicks[rows] / pages.clicked.shape[1]
        self._first("first_page_ctr", pages.keys.user_id[rows], candidate[rows], share)
        self._end_visits(pages, candidate, clicks)

    def moments(self, metric: str, members: NDArray[np.bool_] | None = None) -> tuple[Moments, Moments]:
        """The sums of a metric in the (candidate's, champion's) arm; of some users only, with `members` bool (U,)."""
        y, w = (COUNTED.index(name) for name in METRICS[metric])
        sums = self._sums if members is None else self._sums[..., members[: self._sums.shape[2]]]
        candidate, champion = (Moments.of(sums[arm, y], sums[arm, w]) for arm in (1, 0))
        return candidate, champion

    def users(self) -> tuple[int, int]:
        """How many users the (candidate's, champion's) arm has met."""
        seen = (self._sums[:, COUNTED.index("pages")] > 0).sum(axis=1)
        return int(seen[1]), int(seen[0])

    def total(self, name: str) -> tuple[float, float]:
        """A sum over all users of the (candidate's, champion's) arm."""
        sums = self._sums[:, COUNTED.index(name)].sum(axis=1)
        return float(sums[1]), float(sums[0])

    def firsts(self, name: str) -> tuple[NDArray[np.bool_], Floats]:
        """(arm bool (n,), value float64 (n,)): one for each user, in the order they came to be known."""
        parts = self._firsts[name]
        if not parts:
            return np.empty(0, np.bool_), np.empty(0)
        return np.concatenate([arm for arm, _ in parts]), np.concatenate([value for _, value in parts])

    def _grow(self, users: int) -> None:
        more = users - self._sums.shape[2]
        if more > 0:
            self._sums = np.pad(self._sums, ((0, 0), (0, 0), (0, more)))
            self._known = {name: np.pad(known, (0, more)) for name, known in self._known.items()}

    def _sum(self, name: str, users: NDArray[Any], candidate: NDArray[np.bool_], values: Floats) -> None:
        size = self._sums.shape[2]
        flat = candidate.astype(np.int64) * size + users
        self._sums[:, COUNTED.index(name)] += np.bincount(flat, values, 2 * size).reshape(2, size)

    def _first(self, name: str, users: NDArray[Any], candidate: NDArray[np.bool_], values: Floats) -> None:
        """Keep the values of users who had none yet; of several of one user the first."""
        _, earliest = np.unique(users, return_index=True)
        rows = np.sort(earliest)
        rows = rows[~self._known[name][users[rows]]]
        self._known[name][users[rows]] = True
        self._firsts[name].append((candidate[rows], values[rows]))

    def _end_visits(self, pages: Feedback, candidate: NDArray[np.bool_], clicks: Floats) -> None:
        """Count visits that ended; the clicks of those that go on are carried to the next call."""
        visits, first, at = np.unique(pages.keys.visit, return_index=True, return_inverse=True)
        total = np.bincount(at, clicks, len(visits))
        over = np.zeros(len(visits), np.bool_)
        over[at[pages.terminated | pages.truncated]] = True
        if self._open:
            total += [self._open.pop(visit, 0) for visit in visits.tolist()]
        self._open |= dict(zip(visits[~over].tolist(), total[~over].astype(int).tolist(), strict=True))
        order = np.argsort(first[over], kind="stable")
        rows, bounced = first[over][order], (total[over][order] == 0).astype(np.float64)
        users, arm = pages.keys.user_id[rows], candidate[rows]
        self._sum("ended", users, arm, np.ones(len(rows)))
        self._sum("bounces", users, arm, bounced)
        self._first("first_bounce", users, arm, bounced)
