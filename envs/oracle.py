"""The only door to ground truth: expected rewards, best slates, regret and the size of drift, exact for every page.

Nothing here changes the world. Agents and their lifecycle never import it; comparators and scoring do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.envs import values
from perennial.envs.drift import Offsets
from perennial.envs.validation import check_slates
from perennial.envs.values import View
from perennial.envs.world import Visits, World

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Truth:
    """The candidates of n pages as they are; all float64.

    ``logit`` (n, M) of the attraction. ``gain`` (n, M): expected reward given a click. ``loss`` (n, M): expected cost
    if examined and not clicked. ``persistence`` (n,): chance that the eye goes on to the next slot.
    """

    logit: Floats
    gain: Floats
    loss: Floats
    persistence: Floats

    @property
    def click(self) -> Floats:
        """float64 (n, M): attraction, the chance of a click if examined (under "single": if shown alone, first)."""
        return 1.0 / (1.0 + np.exp(-self.logit))

    @property
    def value(self) -> Floats:
        """float64 (n, M): expected reward if examined."""
        click = self.click
        return click * self.gain - (1.0 - click) * self.loss


@dataclass(frozen=True)
class Scored:
    """What n slates come to, in the state their visitors are in now; float64 (n,) each.

    Expected ``reward`` and ``clicks``; ``best``: the greatest expected reward of any slate of the page's candidates.
    """

    reward: Floats
    clicks: Floats
    best: Floats

    @property
    def regret(self) -> Floats:
        """float64 (n,) >= 0: myopic regret, noise-free given the state visited."""
        return self.best - self.reward


class Oracle:
    """What a page is worth, in the state its visitor is in now; exact in all three models of choice.

    "position": sum_k theta_k v(a_k), theta_k = persistence^k; the best slate sorts by v (rearrangement inequality).
    "cascade": the same with theta_k also times the chance that nothing above was clicked; the best slate by dynamic
    programming (`values.best_cascade`). "single": a ratio of sums; by Dinkelbach's iteration (`values.best_single`).
    A repeated item earns 0 in its later slots; where fewer than K candidates are worth showing, repeats of the first
    fill the rest. What leaving or loyalty make of a page later is not in it: the best slate is the myopic one.
    """

    def __init__(self, world: World) -> None:
        self.world = world

    def truth(self, visits: Visits, offsets: Offsets | None = None) -> Truth:
        """The open pages' candidates; with other `offsets` (one moment), as a comparator sees them."""
        world, rows = self.world, visits.rows
        shape = (len(rows), world.sizes["n_candidates"])
        view = self._view(visits, offsets)
        truth = Truth(np.empty(shape), np.empty(shape), np.empty(shape), view.persistence)
        values.fill_truth(
            world._tables, world._state, visits.lanes, rows, view, np.empty(shape, np.int64),
            truth.logit, truth.gain, truth.loss,
        )  # fmt: skip
        return truth

    def best_slates(
        self, visits: Visits, offsets: Offsets | None = None, bonus: Floats | None = None, weight: Floats | None = None
    ) -> NDArray[np.int64]:
        """int64 (n, K): the slate of greatest expected reward (under `offsets`, if given).

        `bonus` float64 (N,), times `weight` (n,) of the page (1 unless given), is added to what a click on each item
        gains: its worth beyond the page.
        """
        world, slates = self.world, np.empty((len(visits.rows), self.world.sizes["slate_size"]), np.int64)
        view = self._view(visits, offsets)
        values.fill_best(
            world._tables,
            world._rules,
            world._state,
            visits.lanes,
            visits.rows,
            view,
            self._bonus(bonus),
            np.ones(len(visits)) if weight is None else weight,
            slates,
        )
        return slates

    def score(self, visits: Visits, slates: NDArray[Any]) -> Scored:
        """Expected reward and clicks of `slates` (n, K) on the open pages, and the best that could be had."""
        world, rows = self.world, visits.rows
        slates = check_slates(slates, len(rows), world.sizes["slate_size"], world.sizes["n_candidates"])
        scored = Scored(np.empty(len(rows)), np.empty(len(rows)), np.empty(len(rows)))
        values.score_slates(
            world._tables, world._rules, world._state, visits.lanes, rows, self._view(visits, None), slates,
            scored.reward, scored.clicks, scored.best,
        )  # fmt: skip
        return scored

    def expected_reward(self, visits: Visits, slates: NDArray[Any]) -> Floats:
        """float64 (n,): expected reward of `slates` (n, K) on the open pages."""
        return self.score(visits, slates).reward

    def regret(self, visits: Visits, slates: NDArray[Any]) -> Floats:
        """float64 (n,) >= 0: expected reward of the best slate less that of `slates`, in the state visited (myopic)."""
        return self.score(visits, slates).regret

    def _bonus(self, bonus: Floats | None) -> Floats:
        items = self.world.sizes["n_items"]
        if bonus is None:
            return np.zeros(items)
        if bonus.shape != (items,):
            raise ValueError(f"'bonus' must have shape ({items},), one number an item. Got {bonus.shape}.")
        return bonus

    def _view(self, visits: Visits, offsets: Offsets | None) -> View:
        """What the open pages' visitors want: as it is, or as it would be under `offsets`."""
        world, lanes, rows = self.world, visits.lanes, visits.rows
        if offsets is None:
            return View(lanes.need[rows], lanes.cart[rows], lanes.price[rows], lanes.persistence[rows])
        shape = (len(rows), world.sizes["n_categories"])
        f32 = np.float32
        view = View(np.empty(shape, f32), np.empty(shape, f32), np.empty(len(rows), f32), np.empty(len(rows)))
        values.fill_view(world._tables, world._rules, lanes, rows, offsets.packed(), view)
        return view

    def magnitude(self, ticks: NDArray[np.int64], since: NDArray[np.int64]) -> Floats:
        """float64 (T,): how far the world's parameters at `ticks` lie from those at `since`, in logits.

        Root mean square, over categories by base share and both segments alike, of the change of need + level +
        purchase offset: 0 if nothing moved, 1 if every category's logit moved by one.
        """
        now, then = self.world.conditions(ticks), self.world.conditions(since)
        return (now - then).size(np.asarray(self.world.preset.base_share))

    def budget(self, first: int, last: int) -> float:
        """Total variation of the parameters from day `first` to day `last`: the daily magnitudes' sum, in logits."""
        days = np.arange(first, last) * 24
        return float(self.magnitude(days + 24, days).sum())
