"""The page kernel: how visitors answer a slate, compiled once and shared by the loop and every Gymnasium face.

All functions run over `rows`, the lanes concerned, and touch only those lanes and their visitors. Nothing here depends
on the batch's width, uses BLAS, or draws a number that is not counted by (purpose, visit, page, item or slot).
"""

# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False, check-untyped-defs=False
# (numba infers the kernels' types; their docstrings state them)

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from perennial.envs.observations import PAGE_BOUND
from perennial.envs.random_numbers import CANDIDATE, EXAMINATION, LEAVING, PATIENCE, REACTION, draw, normal, unit

Array = NDArray[Any]

# Columns of `Tables.item_values` and `Tables.user_values`.
APPEAL, PRICE, CART, BUY, NOT_INTERESTED, QUALITY = range(6)
PRICE_SENSITIVITY, SENSITIVITY, USER_PATIENCE = range(3)


class Tables(NamedTuple):
    """What never changes. ``key`` uint64 (2,). ``live`` int32 (n,): ids of the items on sale."""

    key: Array
    item_latent: Array  # float32 (N, d)
    item_values: Array  # float32 (N, 6): appeal, price deviation, cart logit, buy, not interested, quality
    item_category: Array  # int32 (N,)
    user_latent: Array  # float32 (U, d)
    user_values: Array  # float32 (U, 3): price sensitivity, sensitivity to the season, own part of patience
    taste: Array  # float32 (U, C)
    live: Array
    focus: Array  # float32 (C, C): what focus on category f (row) adds to the logit of category c (column)
    examination: Array  # float64 (K,): chance that slot k is examined, non-increasing
    weights: Array  # float64 (4,): reward of a click, cart, purchase, "not interested"


class Rules(NamedTuple):
    """The dynamics of visitors; logits unless said otherwise."""

    leave_base: float
    leave_spread: float
    leave_click: float
    page_limit: int
    visit_patience: float  # spread of the visit's own part of patience
    satiation_click: float
    satiation_purchase: float
    satiation_keep: float  # share that lasts from page to page
    satiation_days: float  # e-folding time between visits, days
    return_floor: float  # return probability at loyalty 0
    loyalty_rate: float
    pleasure_scale: float


class State(NamedTuple):
    """What a visitor carries from visit to visit."""

    loyalty: Array  # float32 (U,) in [0, 1]
    satiation: Array  # float32 (U, C) >= 0
    left_day: Array  # float64 (U,): when the last visit began, days
    history: Array  # int32 (U, H): items clicked last, newest last, -1 = none
    visits: Array  # int32 (U,): visits made
    open: Array  # bool (U,): is in the shop now


class Lanes(NamedTuple):
    """B open visits."""

    visit: Array  # int64 (B,)
    user: Array  # int32 (B,)
    tick: Array  # int64 (B,)
    page: Array  # int32 (B,) from 0
    focus: Array  # int32 (B,): category of the last click, -1 = none
    clicks: Array  # int32 (B,): in this visit
    quiet: Array  # int32 (B,): pages since the last click
    patience: Array  # float32 (B,): standard normal, higher stays longer
    pleasure: Array  # float32 (B,): summed quality of the clicked items
    need: Array  # float32 (B, C): taste + sensitivity x season + level
    cart: Array  # float32 (B, C): sensitivity x season on the purchase side
    calendar: Array  # float32 (B, 8)
    candidates: Array  # int32 (B, M)


def new_lanes(width: int, categories: int, candidates: int) -> Lanes:
    """`width` empty lanes."""
    i32, i64, f32 = np.int32, np.int64, np.float32
    return Lanes(
        visit=np.full(width, -1, i64), user=np.zeros(width, i32), tick=np.zeros(width, i64), page=np.zeros(width, i32),
        focus=np.full(width, -1, i32), clicks=np.zeros(width, i32), quiet=np.zeros(width, i32),
        patience=np.zeros(width, f32), pleasure=np.zeros(width, f32),
        need=np.zeros((width, categories), f32), cart=np.zeros((width, categories), f32),
        calendar=np.zeros((width, 8), f32), candidates=np.zeros((width, candidates), i32),
    )  # fmt: skip


@njit(cache=True, fastmath=True)
def match(users, user, items, item):
    """<p_u, q_i> in float32, summed in the order that suits the processor, the same for every page."""
    total = np.float32(0.0)
    for j in range(items.shape[1]):
        total += users[user, j] * items[item, j]
    return total


@njit(cache=True, inline="always")
def attraction_logit(tables, state, row, user, focus, need, item):
    """Logit of the attraction of `item`: need + <p, q> + appeal - price term - satiation + focus."""
    category = tables.item_category[item]
    logit = need[row, category] + tables.item_values[item, APPEAL]
    logit += match(tables.user_latent, user, tables.item_latent, item)
    logit -= tables.user_values[user, PRICE_SENSITIVITY] * tables.item_values[item, PRICE]
    logit -= state.satiation[user, category]
    if focus >= 0:
        logit += tables.focus[focus, category]
    return logit


@njit(cache=True)
def logistic(x):
    """1 / (1 + exp(-x)) in float64."""
    return 1.0 / (1.0 + np.exp(-np.float64(x)))


@njit(cache=True)
def draw_candidates(tables, lanes, row, stamp):
    """M live items without replacement, by (visit, page): draw, refuse repeats; `stamp` int64 (N + 1,) scratch"""
    live = tables.live
    count = np.uint64(live.size)
    wanted = lanes.candidates.shape[1]
    stamp[-1] += 1
    mark = stamp[-1]
    found = 0
    block = 0
    while found < wanted:
        words = draw(tables.key, CANDIDATE, lanes.visit[row], lanes.page[row], block)
        block += 1
        for word in words:
            item = live[np.int64((word * count) >> np.uint64(32))]
            if stamp[item] != mark and found < wanted:
                stamp[item] = mark
                lanes.candidates[row, found] = item
                found += 1


@njit(cache=True)
def begin_visits(tables, rules, state, lanes, rows, visit, user, tick, offsets, which, calendar, stamp):
    """Open the visits `visit` of `user` at `tick` in `rows`; `offsets` (T, 3, C) and `calendar` (T, 8) by `which`."""
    for n in range(rows.size):
        row = rows[n]
        u = user[n]
        lanes.visit[row] = visit[n]
        lanes.user[row] = u
        lanes.tick[row] = tick[n]
        lanes.page[row] = 0
        lanes.focus[row] = -1
        lanes.clicks[row] = 0
        lanes.quiet[row] = 0
        lanes.pleasure[row] = 0.0
        a, b, _, _ = draw(tables.key, PATIENCE, visit[n], 0, 0)
        lanes.patience[row] = tables.user_values[u, USER_PATIENCE] + rules.visit_patience * normal(a, b)
        lanes.calendar[row] = calendar[which[n]]
        day = tick[n] / 24.0
        fade = np.exp((state.left_day[u] - day) / rules.satiation_days)
        sensitivity = tables.user_values[u, SENSITIVITY]
        for c in range(lanes.need.shape[1]):
            state.satiation[u, c] *= fade
            lanes.need[row, c] = tables.taste[u, c] + sensitivity * offsets[which[n], 0, c] + offsets[which[n], 1, c]
            lanes.cart[row, c] = sensitivity * offsets[which[n], 2, c]
        state.left_day[u] = day
        state.open[u] = True
        draw_candidates(tables, lanes, row, stamp)


@njit(cache=True)
def page_values(tables, state, lanes, rows, need, cart, click_value, value):
    """Fill float64 (n, M) `click_value` (attraction) and `value` (expected reward if examined) of every candidate.

    `need`, `cart` (n, C) stand in for the lanes' own, so that a comparator can look with other parameters.
    """
    w = tables.weights
    for n in range(rows.size):
        row = rows[n]
        user = lanes.user[row]
        for m in range(lanes.candidates.shape[1]):
            item = lanes.candidates[row, m]
            a = logistic(attraction_logit(tables, state, n, user, lanes.focus[row], need, item))
            click_value[n, m] = a
            value[n, m] = w[0] * a - (1.0 - a) * w[3] * tables.item_values[item, NOT_INTERESTED]
            sold = w[1] + w[2] * tables.item_values[item, BUY]
            if sold > 0.0:
                value[n, m] += sold * a * logistic(tables.item_values[item, CART] + cart[n, tables.item_category[item]])


@njit(cache=True)
def respond(
    tables, rules, state, lanes, rows, slates, clicked, carted, purchased, waved, reward, terminated, truncated
):
    """Serve `slates` (n, K) to `rows`; fills the outcome arrays (zeroed, (n, K) or (n,)) and moves visitors on.

    The page is resolved in full before anything changes. Lanes whose visit ended keep their last page.
    """
    w = tables.weights
    for n in range(rows.size):
        row = rows[n]
        user = lanes.user[row]
        visit = lanes.visit[row]
        page = lanes.page[row]
        earned = 0.0
        satisfied = np.float32(0.0)
        clicks = 0
        for k in range(slates.shape[1]):
            repeated = False
            for j in range(k):
                repeated |= slates[n, j] == slates[n, k]
            if repeated:
                continue
            seen = draw(tables.key, EXAMINATION, visit, page, k)[0]
            if unit(seen) >= tables.examination[k]:
                continue
            item = lanes.candidates[row, slates[n, k]]
            u0, u1, u2, u3 = draw(tables.key, REACTION, visit, page, item)
            a = logistic(attraction_logit(tables, state, row, user, lanes.focus[row], lanes.need, item))
            if unit(u0) < a:
                clicks += 1
                clicked[n, k] = True
                earned += w[0]
                c = logistic(tables.item_values[item, CART] + lanes.cart[row, tables.item_category[item]])
                if unit(u1) < c:
                    carted[n, k] = True
                    earned += w[1]
                    if unit(u2) < tables.item_values[item, BUY]:
                        purchased[n, k] = True
                        earned += w[2]
                        satisfied = max(satisfied, tables.item_values[item, QUALITY])
            elif unit(u3) < tables.item_values[item, NOT_INTERESTED]:
                waved[n, k] = True
                earned -= w[3]
        reward[n] = earned
        _move_on(tables, rules, state, lanes, row, slates[n], clicked[n], purchased[n], clicks)
        leave, content, _, _ = draw(tables.key, LEAVING, visit, page, 0)
        logit = rules.leave_base - rules.leave_spread * lanes.patience[row]
        if clicks > 0:
            logit -= rules.leave_click
        terminated[n] = unit(leave) < logistic(logit) or unit(content) < satisfied
        truncated[n] = not terminated[n] and page + 1 >= rules.page_limit
        if terminated[n] or truncated[n]:
            pleased = 1.0 - np.exp(-rules.pleasure_scale * lanes.pleasure[row])
            state.loyalty[user] += rules.loyalty_rate * (pleased - state.loyalty[user])
            state.visits[user] += 1
            state.open[user] = False
        else:
            lanes.page[row] = page + 1


@njit(cache=True)
def _move_on(tables, rules, state, lanes, row, slate, clicked, purchased, clicks):
    """What a resolved page changes in its visitor: satiation, focus, pleasure, history."""
    user = lanes.user[row]
    for c in range(state.satiation.shape[1]):
        state.satiation[user, c] *= rules.satiation_keep
    lanes.clicks[row] += clicks
    lanes.quiet[row] = 0 if clicks > 0 else lanes.quiet[row] + 1
    if clicks == 0:
        return
    length = state.history.shape[1]
    kept = max(length - clicks, 0)
    for h in range(kept):
        state.history[user, h] = state.history[user, h + length - kept]
    skip = clicks - (length - kept)
    h = kept
    for k in range(slate.size):
        if not clicked[k]:
            continue
        item = lanes.candidates[row, slate[k]]
        category = tables.item_category[item]
        state.satiation[user, category] += rules.satiation_click + (rules.satiation_purchase if purchased[k] else 0.0)
        lanes.pleasure[row] += tables.item_values[item, QUALITY]
        lanes.focus[row] = category
        if skip > 0:
            skip -= 1
        else:
            state.history[user, h] = item
            h += 1


@njit(cache=True)
def next_candidates(tables, lanes, rows, stamp):
    """Draw the candidates of the pages that `rows` have come to."""
    for n in range(rows.size):
        draw_candidates(tables, lanes, rows[n], stamp)


@njit(cache=True)
def take_visits(pending, return_draw, taken, first, state, rules, out):
    """Take from the pending potential visits, earliest first, those whose user is not in the shop, until `out` is full.

    `pending` int64 (3, P): visit, user, tick. A visit happens iff its draw is below the user's return probability.
    Returns (number written to `out` as indices into pending, number passed over because the user did not return).
    """
    found = 0
    missed = 0
    for p in range(first, return_draw.size):
        if found == out.size:
            break
        user = pending[1, p]
        if taken[p] or state.open[user]:
            continue
        taken[p] = True
        if return_draw[p] < rules.return_floor + (1.0 - rules.return_floor) * state.loyalty[user]:
            state.open[user] = True
            out[found] = p
            found += 1
        else:
            missed += 1
    return found, missed


@njit(cache=True)
def fill_observations(tables, rules, state, lanes, rows, user_features, user, history, candidates, page, calendar):
    """Copy what may be seen of `rows` into the arrays of an observation."""
    for n in range(rows.size):
        row = rows[n]
        u = lanes.user[row]
        user[n] = user_features[u]
        history[n] = state.history[u]
        candidates[n] = lanes.candidates[row]
        calendar[n] = lanes.calendar[row]
        page[n, 0] = lanes.page[row] / rules.page_limit
        page[n, 1] = min(lanes.clicks[row] / 10.0, PAGE_BOUND)
        page[n, 2] = 1.0 if lanes.page[row] > 0 and lanes.quiet[row] == 0 else 0.0
        page[n, 3] = min(lanes.quiet[row] / 10.0, PAGE_BOUND)
        page[n, 4] = 1.0 if state.visits[u] == 0 else 0.0
        page[n, 5] = 1.0
