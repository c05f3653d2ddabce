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
from perennial.envs.random_numbers import (
    CANDIDATE,
    CHOICE,
    EXAMINATION,
    LEAVING,
    PATIENCE,
    REACTION,
    TASTE,
    draw,
    normal,
    unit,
)

Array = NDArray[Any]

# Columns of `Tables.item_values` and `Tables.user_values`.
APPEAL, PRICE, CART, BUY, NOT_INTERESTED, QUALITY = range(6)
PRICE_SENSITIVITY, SENSITIVITY, USER_PATIENCE = range(3)

POSITION, CASCADE, SINGLE = range(3)
"""How a visitor chooses from a page; see `World`."""


class Tables(NamedTuple):
    """What never changes. ``key`` uint64 (2,)."""

    key: Array
    item_latent: Array  # float32 (N, d)
    item_values: Array  # float32 (N, 6): appeal, price deviation, cart logit, buy, not interested, quality
    item_category: Array  # int32 (N,)
    launch: Array  # float64 (N,), days; on sale from here (included)
    retire: Array  # float64 (N,), days; to here (excluded)
    user_latent: Array  # float32 (U, d)
    user_values: Array  # float32 (U, 3): price sensitivity, sensitivity to the season, own part of patience
    segment: Array  # int8 (U,)
    taste: Array  # float32 (U, C)
    taste_mean: Array  # float64 (C,): over the visitors
    taste_spread: Array  # float64 (C,)
    focus: Array  # float32 (C, C): what focus on category f (row) adds to the logit of category c (column)
    weights: Array  # float64 (4,): reward of a click, cart, purchase, "not interested"


class Rules(NamedTuple):
    """The dynamics of visitors; logits unless said otherwise."""

    choice: int  # POSITION, CASCADE or SINGLE
    churns: bool  # items come and go: `launch` and `retire` are looked at
    leave_base: float
    leave_spread: float
    leave_click: float
    examination_decay: float
    attention_spread: float
    page_limit: int
    visit_patience: float  # spread of the visit's own part of patience
    taste_share: float  # of the tastes' variance that moves
    taste_days: float  # between knots of its path
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
    persistence: Array  # float64 (B,): chance that the eye goes on to the next slot
    pleasure: Array  # float32 (B,): summed quality of the clicked items
    price: Array  # float32 (B,): price sensitivity now
    need: Array  # float32 (B, C): taste + sensitivity x season + level
    cart: Array  # float32 (B, C): sensitivity x season on the purchase side
    calendar: Array  # float32 (B, 8)
    notice: Array  # float32 (B, L)
    candidates: Array  # int32 (B, M)


def new_lanes(width: int, categories: int, candidates: int, notice: int) -> Lanes:
    """`width` empty lanes."""
    i32, i64, f32 = np.int32, np.int64, np.float32
    return Lanes(
        visit=np.full(width, -1, i64), user=np.zeros(width, i32), tick=np.zeros(width, i64), page=np.zeros(width, i32),
        focus=np.full(width, -1, i32), clicks=np.zeros(width, i32), quiet=np.zeros(width, i32),
        patience=np.zeros(width, f32), persistence=np.ones(width), pleasure=np.zeros(width, f32),
        price=np.zeros(width, f32), need=np.zeros((width, categories), f32), cart=np.zeros((width, categories), f32),
        calendar=np.zeros((width, 8), f32), notice=np.zeros((width, notice), f32),
        candidates=np.zeros((width, candidates), i32),
    )  # fmt: skip


@njit(cache=True, fastmath=True)
def match(users, user, items, item):
    """<p_u, q_i> in float32, summed in the order that suits the processor, the same for every page."""
    total = np.float32(0.0)
    for j in range(items.shape[1]):
        total += users[user, j] * items[item, j]
    return total


@njit(cache=True, inline="always")
def attraction_logit(tables, state, user, focus, need, price, item):
    """Logit of the attraction of `item`: need + <p, q> + appeal - price term - satiation + focus; `need` (C,)."""
    category = tables.item_category[item]
    logit = need[category] + tables.item_values[item, APPEAL]
    logit += match(tables.user_latent, user, tables.item_latent, item)
    logit -= price * tables.item_values[item, PRICE]
    logit -= state.satiation[user, category]
    if focus >= 0:
        logit += tables.focus[focus, category]
    return logit


@njit(cache=True)
def logistic(x):
    """1 / (1 + exp(-x)) in float64."""
    return 1.0 / (1.0 + np.exp(-np.float64(x)))


@njit(cache=True)
def gumbel(word):
    """A standard Gumbel from a word: whose logit plus this is greatest is a draw from the conditional logit."""
    return -np.log(-np.log(unit(word)))


@njit(cache=True)
def draw_candidates(tables, rules, lanes, row, stamp):
    """M live items without replacement, by (visit, page): draw, refuse repeats; `stamp` int64 (N + 1,) scratch"""
    count = np.uint64(tables.item_category.size)
    wanted = lanes.candidates.shape[1]
    day = lanes.tick[row] / 24.0
    stamp[-1] += 1
    mark = stamp[-1]
    found = 0
    block = 0
    while found < wanted:
        words = draw(tables.key, CANDIDATE, lanes.visit[row], lanes.page[row], block)
        block += 1
        for word in words:
            item = np.int64((word * count) >> np.uint64(32))
            if rules.churns and not tables.launch[item] <= day < tables.retire[item]:
                continue
            if stamp[item] != mark and found < wanted:
                stamp[item] = mark
                lanes.candidates[row, found] = item
                found += 1


@njit(cache=True)
def taste_now(tables, rules, user, day, taste):
    """Fill `taste` float64 (C,) with the visitor's log-tastes at `day`.

    A share of their variance follows a path through knots that are independent standard normals: between two knots it
    goes along cos and sin of the quarter turn, so that its variance is the same at all times.
    """
    share = rules.taste_share
    if share == 0.0:
        for c in range(taste.size):
            taste[c] = tables.taste[user, c]
        return
    place = day / rules.taste_days
    knot = np.int64(np.floor(place))
    angle = 0.5 * np.pi * (place - knot)
    here, ahead = np.cos(angle), np.sin(angle)
    for c in range(taste.size):
        a, b, _, _ = draw(tables.key, TASTE, user, knot, c)
        e, f, _, _ = draw(tables.key, TASTE, user, knot + 1, c)
        path = tables.taste_spread[c] * (here * normal(a, b) + ahead * normal(e, f))
        own = tables.taste[user, c] - tables.taste_mean[c]
        taste[c] = tables.taste_mean[c] + np.sqrt(1.0 - share) * own + np.sqrt(share) * path


@njit(cache=True)
def begin_visits(tables, rules, state, lanes, rows, visit, user, tick, moments, calendar, notice, which, stamp):
    """Open the visits `visit` of `user` at `tick` in `rows`; `which` (n,) are rows of the next three.

    `moments` (T, 4 C + 3) as `Offsets.packed` gives them, `calendar` (T, 8), `notice` (T, L).
    """
    categories = lanes.need.shape[1]
    taste = np.empty(categories)
    for n in range(rows.size):
        row = rows[n]
        u = user[n]
        now = moments[which[n]]
        lanes.visit[row] = visit[n]
        lanes.user[row] = u
        lanes.tick[row] = tick[n]
        lanes.page[row] = 0
        lanes.focus[row] = -1
        lanes.clicks[row] = 0
        lanes.quiet[row] = 0
        lanes.pleasure[row] = 0.0
        a, b, _, _ = draw(tables.key, PATIENCE, visit[n], 0, 0)
        patience = tables.user_values[u, USER_PATIENCE] + rules.visit_patience * normal(a, b)
        lanes.patience[row] = patience
        lanes.persistence[row] = persistence_of(rules, patience, now[4 * categories + 2])
        lanes.price[row] = tables.user_values[u, PRICE_SENSITIVITY] * np.exp(now[4 * categories + 1])
        lanes.calendar[row] = calendar[which[n]]
        lanes.notice[row] = notice[which[n]]
        day = tick[n] / 24.0
        fade = np.exp((state.left_day[u] - day) / rules.satiation_days)
        for c in range(categories):
            state.satiation[u, c] *= fade
        taste_now(tables, rules, u, day, taste)
        fill_need(tables, u, taste, now, lanes.need[row], lanes.cart[row])
        state.left_day[u] = day
        state.open[u] = True
        draw_candidates(tables, rules, lanes, row, stamp)


@njit(cache=True)
def persistence_of(rules, patience, examination):
    """Chance that the eye goes on to the next slot; `examination` is the log of a factor on its decay."""
    return np.exp(-rules.examination_decay * np.exp(examination - rules.attention_spread * np.float64(patience)))


@njit(cache=True)
def fill_need(tables, user, taste, now, need, cart):
    """Fill `need` and `cart` (C,) from the visitor's `taste` (C,) and the moment `now` (4 C + 3,)."""
    categories = taste.size
    sensitivity = tables.user_values[user, SENSITIVITY]
    first = tables.segment[user] * categories
    for c in range(categories):
        need[c] = taste[c] + sensitivity * now[first + c] + now[4 * categories]
        cart[c] = sensitivity * now[2 * categories + first + c]


@njit(cache=True)
def seen_again(slate, k):
    """Whether slot `k` shows an item that an earlier slot shows."""
    repeated = False
    for j in range(k):
        repeated |= slate[j] == slate[k]
    return repeated


@njit(cache=True)
def respond(
    tables, rules, state, lanes, rows, slates, clicked, carted, purchased, waved, reward, terminated, truncated
):
    """Serve `slates` (n, K) to `rows`; fills the outcome arrays (zeroed, (n, K) or (n,)) and moves visitors on.

    The page is resolved in full before anything changes. Lanes whose visit ended keep their last page.
    """
    for n in range(rows.size):
        row = rows[n]
        if rules.choice == POSITION:
            examine(tables, state, lanes, row, slates[n], clicked[n], waved[n])
        elif rules.choice == CASCADE:
            cascade(tables, state, lanes, row, slates[n], clicked[n], waved[n])
        else:
            choose_one(tables, state, lanes, row, slates[n], clicked[n], waved[n])
        clicks, satisfied, reward[n] = settle(
            tables, lanes, row, slates[n], clicked[n], carted[n], purchased[n], waved[n]
        )
        _move_on(tables, rules, state, lanes, row, slates[n], clicked[n], purchased[n], clicks)
        terminated[n], truncated[n] = _leave(tables, rules, state, lanes, row, clicks, satisfied)


@njit(cache=True)
def examine(tables, state, lanes, row, slate, clicked, waved):
    """Position-based: every slot is examined with its own chance, whatever the others hold (Craswell et al. 2008)."""
    user, visit, page, persistence = lanes.user[row], lanes.visit[row], lanes.page[row], lanes.persistence[row]
    theta = 1.0
    for k in range(slate.size):
        looks = unit(draw(tables.key, EXAMINATION, visit, page, k)[0]) < theta
        theta *= persistence
        if not looks or seen_again(slate, k):
            continue
        item = lanes.candidates[row, slate[k]]
        u0, _, _, u3 = draw(tables.key, REACTION, visit, page, item)
        logit = attraction_logit(tables, state, user, lanes.focus[row], lanes.need[row], lanes.price[row], item)
        clicked[k] = unit(u0) < logistic(logit)
        waved[k] = not clicked[k] and unit(u3) < tables.item_values[item, NOT_INTERESTED]


@njit(cache=True)
def cascade(tables, state, lanes, row, slate, clicked, waved):
    """From the top to the first click; the eye goes on from a slot without one with the lane's persistence.

    Craswell, Zoeter, Taylor, Ramsey (2008), "An experimental comparison of click position-bias models", WSDM, sec. 2.4.
    """
    user, visit, page, persistence = lanes.user[row], lanes.visit[row], lanes.page[row], lanes.persistence[row]
    for k in range(slate.size):
        if k > 0 and unit(draw(tables.key, EXAMINATION, visit, page, k)[0]) >= persistence:
            return
        if seen_again(slate, k):
            continue
        item = lanes.candidates[row, slate[k]]
        u0, _, _, u3 = draw(tables.key, REACTION, visit, page, item)
        logit = attraction_logit(tables, state, user, lanes.focus[row], lanes.need[row], lanes.price[row], item)
        if unit(u0) < logistic(logit):
            clicked[k] = True
            return
        waved[k] = unit(u3) < tables.item_values[item, NOT_INTERESTED]


@njit(cache=True)
def choose_one(tables, state, lanes, row, slate, clicked, waved):
    """At most one click: a conditional logit over the slots and "none of them", whose weight is 1 (McFadden 1974).

    The weight of slot k is persistence^k exp(logit). Drawn by Gumbel's maximum, keyed by item, so that two slates meet
    the same visitor. After "none of them", each slot that was examined may be waved away.
    """
    user, visit, page = lanes.user[row], lanes.visit[row], lanes.page[row]
    step = np.log(lanes.persistence[row])
    best = gumbel(draw(tables.key, CHOICE, visit, page, 0)[0])
    chosen = -1
    for k in range(slate.size):
        if seen_again(slate, k):
            continue
        item = lanes.candidates[row, slate[k]]
        logit = attraction_logit(tables, state, user, lanes.focus[row], lanes.need[row], lanes.price[row], item)
        score = logit + k * step + gumbel(draw(tables.key, REACTION, visit, page, item)[0])
        if score > best:
            best, chosen = score, k
    if chosen >= 0:
        clicked[chosen] = True
        return
    theta = 1.0
    for k in range(slate.size):
        looks = unit(draw(tables.key, EXAMINATION, visit, page, k)[0]) < theta
        theta *= lanes.persistence[row]
        if looks and not seen_again(slate, k):
            item = lanes.candidates[row, slate[k]]
            waved[k] = unit(draw(tables.key, REACTION, visit, page, item)[3]) < tables.item_values[item, NOT_INTERESTED]


@njit(cache=True)
def settle(tables, lanes, row, slate, clicked, carted, purchased, waved):
    """Carts and purchases of the clicked slots. Returns (clicks, best quality bought or 0, reward)."""
    w = tables.weights
    clicks, satisfied, earned = 0, np.float32(0.0), 0.0
    for k in range(slate.size):
        if waved[k]:
            earned -= w[3]
        if not clicked[k]:
            continue
        item = lanes.candidates[row, slate[k]]
        clicks += 1
        earned += w[0]
        _, u1, u2, _ = draw(tables.key, REACTION, lanes.visit[row], lanes.page[row], item)
        if unit(u1) < logistic(tables.item_values[item, CART] + lanes.cart[row, tables.item_category[item]]):
            carted[k] = True
            earned += w[1]
            if unit(u2) < tables.item_values[item, BUY]:
                purchased[k] = True
                earned += w[2]
                satisfied = max(satisfied, tables.item_values[item, QUALITY])
    return clicks, satisfied, earned


@njit(cache=True)
def _leave(tables, rules, state, lanes, row, clicks, satisfied):
    """Whether the visit ends with this page, as (terminated, truncated); if so, what it leaves behind."""
    user, page = lanes.user[row], lanes.page[row]
    leave, content, _, _ = draw(tables.key, LEAVING, lanes.visit[row], page, 0)
    logit = rules.leave_base - rules.leave_spread * lanes.patience[row]
    if clicks > 0:
        logit -= rules.leave_click
    terminated = unit(leave) < logistic(logit) or unit(content) < satisfied
    truncated = not terminated and page + 1 >= rules.page_limit
    if terminated or truncated:
        pleased = 1.0 - np.exp(-rules.pleasure_scale * lanes.pleasure[row])
        state.loyalty[user] += rules.loyalty_rate * (pleased - state.loyalty[user])
        state.visits[user] += 1
        state.open[user] = False
    else:
        lanes.page[row] = page + 1
    return terminated, truncated


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
def next_candidates(tables, rules, lanes, rows, stamp):
    """Draw the candidates of the pages that `rows` have come to."""
    for n in range(rows.size):
        draw_candidates(tables, rules, lanes, rows[n], stamp)


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
def fill_observations(
    tables, rules, state, lanes, rows, user_features, user, history, candidates, page, calendar, notice
):
    """Copy what may be seen of `rows` into the arrays of an observation."""
    for n in range(rows.size):
        row = rows[n]
        u = lanes.user[row]
        user[n] = user_features[u]
        history[n] = state.history[u]
        candidates[n] = lanes.candidates[row]
        calendar[n] = lanes.calendar[row]
        notice[n] = lanes.notice[row]
        page[n, 0] = lanes.page[row] / rules.page_limit
        page[n, 1] = min(lanes.clicks[row] / 10.0, PAGE_BOUND)
        page[n, 2] = 1.0 if lanes.page[row] > 0 and lanes.quiet[row] == 0 else 0.0
        page[n, 3] = min(lanes.quiet[row] / 10.0, PAGE_BOUND)
        page[n, 4] = 1.0 if state.visits[u] == 0 else 0.0
        page[n, 5] = 1.0
