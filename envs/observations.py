"""What may be seen: the shapes of an observation, its Gymnasium space, and the calendar."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from perennial.envs.compiled import copy_row, kernel
from perennial.envs.notice import BOUND as NOTICE_BOUND
from perennial.envs.preset import YEAR_DAYS

PAGE = 6
"""Columns of ``page``: page / page limit, clicks in this visit / 10, last page clicked (0 or 1), pages since the last
click / 10, first visit of this user (0 or 1), and a constant 1."""

CALENDAR = 8
"""Columns of ``calendar``: sine and cosine of the year, of half a year, of the week and of the day."""

USER_BOUND = 10.0
PAGE_BOUND = 1000.0
"""Entries of ``user`` lie in [-USER_BOUND, USER_BOUND], of ``page`` in [0, PAGE_BOUND]; beyond they are cut."""


def calendar(tick: NDArray[np.int64]) -> NDArray[np.float32]:
    """float32 (n, 8): the calendar at `tick` (hours since the epoch)."""
    day = tick / 24.0
    phase = 2 * np.pi * np.stack([day / YEAR_DAYS, 2 * day / YEAR_DAYS, day / 7.0, day % 1.0], axis=1)
    return np.stack([np.sin(phase), np.cos(phase)], axis=2).reshape(len(tick), CALENDAR).astype(np.float32)


def observation_space(sizes: dict[str, int]) -> spaces.Dict:
    """The Gymnasium space of one page, for `sizes` as in `World.sizes`."""
    items = sizes["n_items"]

    def real(columns: int, low: float, high: float) -> spaces.Box:
        return spaces.Box(low, high, (columns,), np.float32)

    return spaces.Dict(
        {
            "user": real(sizes["user_dim"], -USER_BOUND, USER_BOUND),
            "history": spaces.Box(-1, items - 1, (sizes["history"],), np.int32),
            "candidates": spaces.Box(0, items - 1, (sizes["n_candidates"],), np.int32),
            "page": real(PAGE, 0.0, PAGE_BOUND),
            "calendar": real(CALENDAR, -1.0, 1.0),
            "notice": real(sizes["notice_dim"], -NOTICE_BOUND, NOTICE_BOUND),
        }
    )


def empty_observations(n: int, sizes: dict[str, int]) -> dict[str, NDArray[Any]]:
    """Arrays for `n` pages, to be filled."""
    return {
        "user": np.empty((n, sizes["user_dim"]), np.float32),
        "history": np.empty((n, sizes["history"]), np.int32),
        "candidates": np.empty((n, sizes["n_candidates"]), np.int32),
        "page": np.empty((n, PAGE), np.float32),
        "calendar": np.empty((n, CALENDAR), np.float32),
        "notice": np.empty((n, sizes["notice_dim"]), np.float32),
    }


@kernel
def fill_observations(
    rules: Any, state: Any, lanes: Any, rows: Any, user_features: Any,
    user: Any, history: Any, candidates: Any, page: Any, calendar: Any, notice: Any,
) -> None:  # fmt: skip
    """Copy what may be seen of `rows` into the arrays of an observation."""
    clicked_last, visits = state.history, state.visits
    own_candidates, own_calendar, own_notice = lanes.candidates, lanes.calendar, lanes.notice
    user_of, page_of, clicks, quiet = lanes.user, lanes.page, lanes.clicks, lanes.quiet
    limit = rules.page_limit
    for n in range(rows.size):
        row = rows[n]
        u = user_of[row]
        copy_row(user, n, user_features, u)
        copy_row(history, n, clicked_last, u)
        copy_row(candidates, n, own_candidates, row)
        copy_row(calendar, n, own_calendar, row)
        copy_row(notice, n, own_notice, row)
        page[n, 0] = page_of[row] / limit
        page[n, 1] = min(clicks[row] / 10.0, PAGE_BOUND)
        page[n, 2] = 1.0 if page_of[row] > 0 and quiet[row] == 0 else 0.0
        page[n, 3] = min(quiet[row] / 10.0, PAGE_BOUND)
        page[n, 4] = 1.0 if visits[u] == 0 else 0.0
        page[n, 5] = 1.0
