"""What a recurrent agent remembers of each user from page to page, and how a page turned out, seen from the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import Keys
from perennial.agents.validation import saved

Recalled = dict[str, NDArray[Any]]


class Memory:
    """One row of state per user, as of before and after the page served last, so that a page may be asked for twice.

    A user has at most one visit open at a time. With `carries`, what is remembered outlives the visit; without, a
    visit's first page finds the blank state.
    """

    def __init__(self, n_users: int, blank: Mapping[str, Any], carries: bool) -> None:
        """`blank`: for each name the state of one who was never met, an array."""
        self.blank, self.carries = {name: np.asarray(value) for name, value in blank.items()}, carries
        self.visit, self.page = np.full(n_users, -1, dtype=np.int64), np.full(n_users, -1, dtype=np.int64)
        self.before, self.after = ({name: _rows(n_users, row) for name, row in self.blank.items()} for _ in range(2))

    def recall(self, keys: Keys) -> Recalled:
        """The state as it was before each of these pages, (B, ...) by name."""
        user = keys.user_id
        again = (self.visit[user] == keys.visit) & (self.page[user] == keys.page)
        recalled = {}
        for name, row in self.blank.items():
            state = np.where(_over(again, row), self.before[name][user], self.after[name][user])
            if not self.carries:
                state = np.where(_over(self.visit[user] != keys.visit, row), row, state)
            recalled[name] = state.astype(row.dtype)
        return recalled

    def keep(self, keys: Keys, before: Recalled, after: Recalled) -> None:
        """Remember the state before these pages, now served, and the one after them."""
        self.visit[keys.user_id], self.page[keys.user_id] = keys.visit, keys.page
        for name in self.blank:
            self.before[name][keys.user_id], self.after[name][keys.user_id] = before[name], after[name]

    def state(self) -> Recalled:
        """Arrays of all users met so far."""
        user = np.flatnonzero(self.visit >= 0)
        arrays: Recalled = {"user": user, "visit": self.visit[user], "page": self.page[user]}
        for name in self.blank:
            arrays[f"before.{name}"], arrays[f"after.{name}"] = self.before[name][user], self.after[name][user]
        return arrays

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `state` gave."""
        user = arrays["user"]
        fits = {f"{when}.{n}": (len(user), *row.shape) for when in ("before", "after") for n, row in self.blank.items()}
        given = {name: saved(arrays, name, shape) for name, shape in fits.items()}
        self.visit[:], self.page[:] = -1, -1
        for name, row in self.blank.items():
            for when, table in (("before", self.before), ("after", self.after)):
                table[name][:] = row
                table[name][user] = given[f"{when}.{name}"]
        self.visit[user], self.page[user] = arrays["visit"], arrays["page"]


def outcome_of(shown: NDArray[np.int32], before: NDArray[np.int32], now: NDArray[np.int32]) -> NDArray[np.float32]:
    """float32 (B, K): 1 for the items `shown` (B, K; -1 = none) that entered the history (B, H) between two pages.

    A history keeps the clicked items, newest last: it has moved by the fewest places that make the rest agree.
    """
    clicked = np.zeros(shown.shape, dtype=np.bool_)
    open_rows = np.ones(len(shown), dtype=np.bool_)
    for places in range(before.shape[1] + 1):
        rest = before.shape[1] - places
        here = open_rows & (now[:, :rest] == before[:, places:]).all(axis=1)
        fresh = now[here, rest:]
        clicked[here] = (shown[here][:, :, None] == fresh[:, None, :]).any(axis=2)
        open_rows &= ~here
    return (clicked & (shown >= 0)).astype(np.float32)


def rounds(user: NDArray[np.int32]) -> list[NDArray[np.int64]]:
    """The rows of each user's first page, of each user's second, and so on; `user` (P,) in the order of serving."""
    order = np.argsort(user, kind="stable")
    _, first, count = np.unique(user[order], return_index=True, return_counts=True)
    place = np.empty(len(user), dtype=np.int64)
    place[order] = np.arange(len(user)) - np.repeat(first, count)
    return [np.flatnonzero(place == n) for n in range(int(count.max(initial=0)))]


def _rows(n: int, row: NDArray[Any]) -> NDArray[Any]:
    """(n, ...) copies of a row; memory is touched only where the row is not zero."""
    table = np.zeros((n, *row.shape), dtype=row.dtype)
    if row.any():
        table[:] = row
    return table


def _over(rows: NDArray[np.bool_], row: NDArray[Any]) -> NDArray[np.bool_]:
    return rows.reshape(-1, *[1] * row.ndim)
