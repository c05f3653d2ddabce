"""The only door to ground truth: expected rewards, best slates and regret, exact for every page.

Nothing here changes the world. Agents and their lifecycle never import it; comparators and scoring do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.envs import response
from perennial.envs.drift import Offsets
from perennial.envs.validation import check_slates
from perennial.envs.world import Visits, World


@dataclass(frozen=True)
class Truth:
    """The candidates of n pages as they are. Both float64 (n, M), per examined slot.

    ``click``: chance of a click. ``value``: expected reward.
    """

    click: NDArray[np.float64]
    value: NDArray[np.float64]


class Oracle:
    """What a page is worth, in the state its visitor is in now.

    The expected reward of a slate is sum_k theta_k v(a_k), a repeated item earning 0 in its later slots. As theta is
    non-increasing and does not depend on the slate, the best slate sorts by v (rearrangement inequality); where fewer
    than K candidates have v > 0, repeats of the first item, worth 0, fill the rest.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._theta = world._tables.examination

    def truth(self, visits: Visits, offsets: Offsets | None = None) -> Truth:
        """Click chances and values of the open pages' candidates; with other `offsets`, as a comparator sees them."""
        world, lanes, rows = self.world, visits.lanes, visits.rows
        if offsets is None:
            need, cart = lanes.need[rows], lanes.cart[rows]
        else:
            users = lanes.user[rows]
            sensitivity = world.visitors.sensitivity[users, None]
            need = (world.visitors.taste[users] + sensitivity * offsets.need + offsets.level).astype(np.float32)
            cart = (sensitivity * offsets.purchase).astype(np.float32)
        shape = (len(rows), world.sizes["n_candidates"])
        truth = Truth(np.empty(shape), np.empty(shape))
        response.page_values(world._tables, world._state, lanes, rows, need, cart, truth.click, truth.value)
        return truth

    def values(self, visits: Visits) -> NDArray[np.float64]:
        """float64 (n, M): expected reward of each candidate in an examined slot."""
        return self.truth(visits).value

    def best_slates(self, visits: Visits, offsets: Offsets | None = None) -> NDArray[np.int64]:
        """int64 (n, K): the slate of greatest expected reward (under `offsets`, if given)."""
        return best_slates(self.truth(visits, offsets).value, self.world.sizes["slate_size"])

    def expected(self, per_slot: NDArray[np.float64], slates: NDArray[Any]) -> NDArray[np.float64]:
        """float64 (n,): sum over slots of theta_k times `per_slot` (n, M) of the item shown, repeats counted once."""
        slates = check_slates(slates, len(per_slot), self.world.sizes["slate_size"], self.world.sizes["n_candidates"])
        return (np.take_along_axis(per_slot, slates, axis=1) * self._theta * first_places(slates)).sum(axis=1)

    def expected_reward(self, visits: Visits, slates: NDArray[Any]) -> NDArray[np.float64]:
        """float64 (n,): expected reward of `slates` (n, K) on the open pages."""
        return self.expected(self.values(visits), slates)

    def regret(self, visits: Visits, slates: NDArray[Any]) -> NDArray[np.float64]:
        """float64 (n,) >= 0: expected reward of the best slate less that of `slates`, in the state visited (myopic)."""
        values = self.values(visits)
        best = self.expected(values, best_slates(values, self.world.sizes["slate_size"]))
        return best - self.expected(values, slates)


def best_slates(values: NDArray[np.float64], slate_size: int) -> NDArray[np.int64]:
    """int64 (n, K): candidates by falling value; from the first with v < 0 on, the best item again, worth 0."""
    order = np.argsort(-values, axis=1, kind="stable")[:, :slate_size]
    worth = np.take_along_axis(values, order, axis=1) >= 0
    return np.where(worth, order, order[:, :1])


def first_places(slates: NDArray[Any]) -> NDArray[np.bool_]:
    """bool (n, K): where a slot shows its item for the first time on the page."""
    repeated = (slates[:, :, None] == slates[:, None, :]) & np.tri(slates.shape[1], k=-1, dtype=np.bool_)
    return ~repeated.any(axis=2)
