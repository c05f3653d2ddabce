"""Let a policy serve a shop for months and keep what a shop keeps: its purchases as a log, its clicks as sessions."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from perennial.envs.arrivals import VISITS_PER_TICK
from perennial.envs.calibration.logs import PurchaseLog
from perennial.envs.calibration.reference import uniform_slates
from perennial.envs.oracle import Oracle
from perennial.envs.rewards import Reward
from perennial.envs.world import Response, Visits, World


class Policy(Protocol):
    """What shows the slates."""

    def slates(self, visits: Visits) -> NDArray[np.int64]:
        """int64 (n, K): slots into the candidates of the open pages."""

    def learn(self, answer: Response) -> None:
        """Take note of what the slates just served came to."""


class Reference:
    """The reference policy: a uniform slate over season-blind candidates."""

    def __init__(self, world: World) -> None:
        self._world = world

    def slates(self, visits: Visits) -> NDArray[np.int64]:
        return uniform_slates(self._world, len(visits))

    def learn(self, answer: Response) -> None:
        """Nothing to learn."""


@dataclass(frozen=True)
class Clicks:
    """The N clicks of V visits, in order of visit, page and slot.

    ``visit`` int64 (N,) from 0; ``page`` int64 (N,) from 0; ``category`` int64 (N,). ``visits``: V, with those that
    clicked nothing.
    """

    visit: NDArray[np.int64]
    page: NDArray[np.int64]
    category: NDArray[np.int64]
    visits: int

    @property
    def sizes(self) -> NDArray[np.int64]:
        """int64: clicks of each visit that has one."""
        sizes = np.bincount(self.visit, minlength=1)
        return sizes[sizes > 0]

    @property
    def bounce(self) -> float:
        """Share of visits without a click."""
        return 1 - len(self.sizes) / self.visits

    @property
    def depth(self) -> float:
        """Clicks on second pages over clicks on first pages, all visits counted."""
        return float((self.page == 1).sum() / max((self.page == 0).sum(), 1))

    @property
    def same_category(self) -> float:
        """Share of next clicks in the category of the last; clicks of one page come at once and have no order."""
        later = (np.diff(self.visit) == 0) & (np.diff(self.page) > 0)
        return float((np.diff(self.category) == 0)[later].mean())


@dataclass(frozen=True)
class Played:
    """What a policy's months came to.

    ``log``: its purchases, those of a visit one order. ``clicks`` of all visits. ``expected`` float64 (D, C): expected
    purchases of each day by category, from day ``first`` on: noise-free given the pages met and what they showed.
    """

    log: PurchaseLog
    clicks: Clicks
    first: int
    expected: NDArray[np.float64]


def play(world: World, policy: Policy, first: int, days: int, warm_up: int = 0) -> Played:
    """Serve `days` days from day `first` on (since the epoch), after `warm_up` days that are not kept."""
    kept = _Kept(world, first, days)
    for day in range(first - warm_up, first + days):
        visits = world.arrivals(24 * day, 24 * day + 23)
        while len(visits):
            slates, keys = policy.slates(visits), world.keys(visits)
            items = np.take_along_axis(visits.lanes.candidates[visits.rows], slates, axis=1)
            if day >= first:
                kept.look(visits, slates, items, day)
            answer = world.respond(visits, slates)
            if day >= first:
                kept.take(keys["visit"], keys["user_id"], keys["page"], items, answer)
            policy.learn(answer)
    return kept.played()


def paid_by_purchases(world: World) -> World:
    """The same world, state and all, seen by a shop that counts purchases only: for its oracle, not for serving."""
    other = copy(world)
    other._tables = world._tables._replace(weights=Reward(click=0.0, purchase=1.0).weights())
    return other


class _Kept:
    """Collects clicks and purchases page by page."""

    def __init__(self, world: World, first: int, days: int) -> None:
        self._world, self._first, self._oracle = world, first, Oracle(paid_by_purchases(world))
        self._expected = np.zeros((days, world.sizes["n_categories"]))
        self._visits = 0
        self._clicks: list[NDArray[np.int64]] = [np.empty((3, 0), np.int64)]
        self._bought: list[NDArray[np.int64]] = [np.empty((3, 0), np.int64)]

    def look(self, visits: Visits, slates: NDArray[np.int64], items: NDArray[np.int32], day: int) -> None:
        """Add what `slates` (n, K), which show `items`, sell in expectation."""
        truth = self._oracle.truth(visits)
        worth = np.take_along_axis(truth.click * truth.gain, slates, axis=1)
        worth *= truth.persistence[:, None] ** np.arange(slates.shape[1])
        category = self._world.catalogue.category[items]
        self._expected[day - self._first] += np.bincount(category.ravel(), worth.ravel(), self._expected.shape[1])

    def take(
        self,
        visit: NDArray[np.int64],
        user: NDArray[np.int32],
        page: NDArray[np.int32],
        items: NDArray[np.int32],
        answer: Response,
    ) -> None:
        """Keep what came of pages (n,) that showed `items` (n, K)."""
        self._visits += int((page == 0).sum())
        row, slot = np.nonzero(answer.clicked)
        self._clicks.append(np.stack([visit[row], page[row], items[row, slot]]))
        row, slot = np.nonzero(answer.purchased)
        self._bought.append(np.stack([visit[row], user[row], items[row, slot]]))

    def played(self) -> Played:
        """All that was kept, in order."""
        visit, page, item = np.concatenate(self._clicks, axis=1)
        order = np.lexsort((page, visit))  # stable: slots stay in order
        category = self._world.catalogue.category[item[order]].astype(np.int64)
        clicks = Clicks(np.unique(visit, return_inverse=True)[1][order], page[order], category, self._visits)
        return Played(as_log(self._world, *np.concatenate(self._bought, axis=1)), clicks, self._first, self._expected)


def as_log(world: World, visit: NDArray[np.int64], user: NDArray[np.int64], item: NDArray[np.int64]) -> PurchaseLog:
    """Purchases (P,) as a shop's log: those of a visit are an order, made in the hour in which the visit began."""
    by_time = np.argsort(visit, kind="stable")
    visit, user, item = visit[by_time], user[by_time], item[by_time]
    orders, first, order = np.unique(visit, return_index=True, return_inverse=True)
    day, hour = np.divmod(orders // VISITS_PER_TICK, 24)
    return PurchaseLog(
        categories=world.preset.categories,
        category=world.catalogue.category[item].astype(np.int64),
        item=item,
        price=world.catalogue.price[item].astype(np.float64),
        order=order.astype(np.int64),
        order_day=day,
        order_hour=hour,
        order_user=user[first],
        dropped=0,
    )
