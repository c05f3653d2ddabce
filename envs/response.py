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

from perennial.envs.compiled import kernel
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
    philox_block,
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
    shown: Array  # int64 (B,): the tick whose parameters and calendar hold; `tick` unless the calendar stands still
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
        visit=np.full(width, -1, i64), user=np.zeros(width, i32), tick=np.zeros(width, i64),
        shown=np.zeros(width, i64), page=np.zeros(width, i32),
        focus=np.full(width, -1, i32), clicks=np.zeros(width, i32), quiet=np.zeros(width, i32),
        patience=np.zeros(width, f32), persistence=np.ones(width), pleasure=np.zeros(width, f32),
        price=np.zeros(width, f32), need=np.zeros((width, categories), f32), cart=np.zeros((width, categories), f32),
        calendar=np.zeros((width, 8), f32), notice=np.zeros((width, notice), f32),
        candidates=np.zeros((width, candidates), i32),
    )  # fmt: skip


@njit(cache=True, error_model="numpy", fastmath=True)
def fill_logits(
    items, user, user_latent, item_latent, item_values, item_category, need, row, price, satiation, focus, table, logit
):
    """Fill `logit` (n,) with the attractions of `items` int64 (n,): need + <p, q> + appeal - price - satiation + focus.

    `need` (B, C) at `row`; `table` is the focus table. Arrays come one by one: handing over a tuple of arrays costs
    more than the sum itself. In float32, in the order that suits the processor, the same for every page.
    """
    for k in range(items.size):
        item = max(items[k], 0)
        total = np.float32(0.0)
        for j in range(item_latent.shape[1]):
            total += user_latent[user, j] * item_latent[item, j]
        category = item_category[item]
        total += need[row, category] + item_values[item, APPEAL] - price * item_values[item, PRICE]
        total -= satiation[user, category]
        if focus >= 0:
            total += table[focus, category]
        logit[k] = total


@kernel
def logistic(x):
    """1 / (1 + exp(-x)) in float64, to a relative 1e-10; beyond |x| = 40 as at 40.

    exp by Taylor's series of a 64th of its argument, squared six times: additions and products only, so that the
    compiler does several at once, with the same bits as one by one.
    """
    y = min(max(-x, -40.0), 40.0) * 0.015625
    e = 1.0 + y * (1.0 / 12.0)
    e = 1.0 + y * e * (1.0 / 11.0)
    e = 1.0 + y * e * (1.0 / 10.0)
    e = 1.0 + y * e * (1.0 / 9.0)
    e = 1.0 + y * e * (1.0 / 8.0)
    e = 1.0 + y * e * (1.0 / 7.0)
    e = 1.0 + y * e * (1.0 / 6.0)
    e = 1.0 + y * e * (1.0 / 5.0)
    e = 1.0 + y * e * (1.0 / 4.0)
    e = 1.0 + y * e * (1.0 / 3.0)
    e = 1.0 + y * e * (1.0 / 2.0)
    e = 1.0 + y * e
    e *= e
    e *= e
    e *= e
    e *= e
    e *= e
    e *= e
    return 1.0 / (1.0 + e)


@kernel
def fill_logistic(logit, chance):
    """chance = logistic(logit), float64 (n,) each, two arrays: on one and the same it would go one by one."""
    for k in range(logit.size):
        chance[k] = logistic(logit[k])


@kernel
def gumbel(word):
    """A standard Gumbel from a word: whose logit plus this is greatest is a draw from the conditional logit."""
    return -np.log(-np.log(unit(word)))


class Scratch(NamedTuple):
    """Room for one page's work, used again for every page. ``c0`` to ``c3``: Philox counters in, words out."""

    c0: Array  # uint64 (W,)
    c1: Array
    c2: Array
    c3: Array
    item: Array  # int64 (K,): the slots' items, -1 where an earlier slot shows it
    logit: Array  # float64 (K,): their attractions
    chance: Array  # float64 (K,): their chances of a click
    look: Array  # uint64 (K + 3,): the slots' words of examination
    hits: Array  # int64 (K + 1,): the clicked slots
    bits: Array  # uint64: one bit an item, all 0 between uses


BLOCK = 16
"""Philox counters drawn at once for candidates: 64 words, enough for 50 of some hundreds of items."""


def new_scratch(slate_size: int, items: int) -> Scratch:
    """Room for pages of `slate_size` slots of a shop with so many items."""
    width = max(BLOCK, -(-(slate_size + -(-slate_size // 4) + 2) // 8) * 8)
    u64, i64 = np.uint64, np.int64
    return Scratch(
        c0=np.zeros(width, u64), c1=np.zeros(width, u64), c2=np.zeros(width, u64), c3=np.zeros(width, u64),
        item=np.zeros(slate_size, i64), logit=np.zeros(slate_size), chance=np.zeros(slate_size),
        look=np.zeros(slate_size + 3, u64), hits=np.zeros(slate_size + 1, i64), bits=np.zeros(items // 64 + 1, u64),
    )  # fmt: skip


@kernel
def draw_candidates(key, launch, retire, churns, visit, page, day, candidates, row, c0, c1, c2, c3, bits):
    """M live items without replacement, by (visit, page), into `candidates` (B, M): draw, refuse repeats."""
    count = np.uint64(launch.size)
    wanted = candidates.shape[1]
    v, place = np.uint64(visit), (np.uint64(CANDIDATE) << np.uint64(24)) | np.uint64(page)
    low, high = v & np.uint64(0xFFFFFFFF), v >> np.uint64(32)
    found = 0
    first = 0
    while found < wanted:
        for i in range(BLOCK):
            c0[i] = np.uint64(first + i)
            c1[i] = place
            c2[i] = low
            c3[i] = high
        philox_block(c0, c1, c2, c3, BLOCK, key[0], key[1])
        first += BLOCK
        for i in range(BLOCK):
            for words in (c0, c1, c2, c3):
                item = (words[i] * count) >> np.uint64(32)
                if churns and not launch[item] <= day < retire[item]:
                    continue
                mask = np.uint64(1) << (item & np.uint64(63))
                if found < wanted and not bits[item >> np.uint64(6)] & mask:
                    bits[item >> np.uint64(6)] |= mask
                    candidates[row, found] = item
                    found += 1
            if found == wanted:
                break
    for m in range(wanted):
        bits[np.uint64(candidates[row, m]) >> np.uint64(6)] = np.uint64(0)


@kernel
def copy_row(target, n, source, row):
    """target[n] = source[row], as a plain loop: the compiler makes a block copy of it."""
    for j in range(target.shape[1]):
        target[n, j] = source[row, j]


@kernel
def taste_now(key, own, mean, spread, share, knot_days, user, day, taste):
    """Fill `taste` float64 (C,) with the visitor's log-tastes at `day`; `own` (U, C), their `mean` and `spread` (C,).

    A `share` of their variance follows a path through knots that are independent standard normals: between two knots it
    goes along cos and sin of the quarter turn, so that its variance is the same at all times.
    """
    if share == 0.0:
        for c in range(taste.size):
            taste[c] = own[user, c]
        return
    place = day / knot_days
    knot = np.int64(np.floor(place))
    angle = 0.5 * np.pi * (place - knot)
    here, ahead = np.cos(angle), np.sin(angle)
    for c in range(taste.size):
        a, b, _, _ = draw(key, TASTE, user, knot, c)
        e, f, _, _ = draw(key, TASTE, user, knot + 1, c)
        path = spread[c] * (here * normal(a, b) + ahead * normal(e, f))
        taste[c] = mean[c] + np.sqrt(1.0 - share) * (own[user, c] - mean[c]) + np.sqrt(share) * path


@kernel
def begin_visits(
    tables, rules, state, lanes, rows, visit, user, tick, shown, moments, calendar, notice, which, scratch
):
    """Open the visits `visit` of `user` at `tick` in `rows`, with the parameters of the tick `shown`, all int64 (n,).

    `which` int64 (n,): its rows in `moments` (T, 4 C + 3), as `Offsets.packed` gives them, `calendar` (T, 8) and
    `notice` (T, L).
    """
    categories = lanes.need.shape[1]
    taste = np.empty(categories)
    key, launch, retire, candidates = tables.key, tables.launch, tables.retire, lanes.candidates
    c0, c1, c2, c3 = scratch.c0, scratch.c1, scratch.c2, scratch.c3
    user_values, segment, satiation = tables.user_values, tables.segment, state.satiation
    own, mean, spread = tables.taste, tables.taste_mean, tables.taste_spread
    for n in range(rows.size):
        row, u, at = rows[n], user[n], which[n]
        lanes.visit[row] = visit[n]
        lanes.user[row] = u
        lanes.tick[row] = tick[n]
        lanes.shown[row] = shown[n]
        lanes.page[row] = 0
        lanes.focus[row] = -1
        lanes.clicks[row] = 0
        lanes.quiet[row] = 0
        lanes.pleasure[row] = 0.0
        a, b, _, _ = draw(key, PATIENCE, visit[n], 0, 0)
        patience = user_values[u, USER_PATIENCE] + rules.visit_patience * normal(a, b)
        lanes.patience[row] = patience
        lanes.persistence[row] = persistence_of(rules, lanes.patience[row], moments[at, 4 * categories + 2])
        lanes.price[row] = user_values[u, PRICE_SENSITIVITY] * np.exp(moments[at, 4 * categories + 1])
        copy_row(lanes.calendar, row, calendar, at)
        copy_row(lanes.notice, row, notice, at)
        now, day = tick[n] / 24.0, shown[n] / 24.0
        fade = np.exp((state.left_day[u] - now) / rules.satiation_days)
        for c in range(categories):
            satiation[u, c] *= fade
        taste_now(key, own, mean, spread, rules.taste_share, rules.taste_days, u, day, taste)
        fill_need(user_values[u, SENSITIVITY], segment[u], taste, moments, at, lanes.need, lanes.cart, row)
        state.left_day[u] = now
        state.open[u] = True
        draw_candidates(
            key, launch, retire, rules.churns, visit[n], 0, day, candidates, row, c0, c1, c2, c3, scratch.bits
        )


@kernel
def persistence_of(rules, patience, examination):
    """Chance that the eye goes on to the next slot; `examination` is the log of a factor on its decay."""
    return np.exp(-rules.examination_decay * np.exp(examination - rules.attention_spread * np.float64(patience)))


@kernel
def fill_need(sensitivity, segment, taste, moments, at, need, cart, row):
    """Fill `need` and `cart` (B, C) at `row` from the visitor's `taste` (C,) and line `at` of `moments`."""
    categories = taste.size
    first = segment * categories
    for c in range(categories):
        need[row, c] = taste[c] + sensitivity * moments[at, first + c] + moments[at, 4 * categories]
        cart[row, c] = sensitivity * moments[at, 2 * categories + first + c]


@kernel
def respond(
    tables, rules, state, lanes, rows, slates, skip, scratch,
    clicked, carted, purchased, waved, reward, terminated, truncated,
):  # fmt: skip
    """Serve `slates` (n, K) to `rows` but those in `skip` bool (n,), and move their visitors on.

    Fills the outcome arrays, zeroed, (n, K) or (n,). The page is resolved in full before anything changes. Lanes that
    go on get the candidates of their next page; lanes whose visit ended keep their last page.
    """
    # Arrays are taken out of their tuples once: doing so page by page costs more than the page.
    key, launch, retire = tables.key, tables.launch, tables.retire
    item_values, item_category, item_latent = tables.item_values, tables.item_category, tables.item_latent
    user_latent, focus_table, weights = tables.user_latent, tables.focus, tables.weights
    satiation, history, loyalty, visits, is_open = (
        state.satiation, state.history, state.loyalty, state.visits, state.open
    )  # fmt: skip
    user_of, visit_of, page_of, shown = lanes.user, lanes.visit, lanes.page, lanes.shown
    candidates, need, cart, focus, price = lanes.candidates, lanes.need, lanes.cart, lanes.focus, lanes.price
    persistences, patience, pleasure = lanes.persistence, lanes.patience, lanes.pleasure
    clicks_of, quiet = lanes.clicks, lanes.quiet
    c0, c1, c2, c3, items, logit = scratch.c0, scratch.c1, scratch.c2, scratch.c3, scratch.item, scratch.logit
    chance, look, hits, bits = scratch.chance, scratch.look, scratch.hits, scratch.bits
    for n in range(rows.size):
        if skip[n]:
            continue
        row = rows[n]
        user, visit, page, persistence = user_of[row], visit_of[row], page_of[row], persistences[row]
        _lay_out(candidates, row, slates, n, items, bits)
        leave, content, outside = _draw_page(key, visit, page, items, c0, c1, c2, c3, look)
        fill_logits(
            items, user, user_latent, item_latent, item_values, item_category, need, row, price[row],
            satiation, focus[row], focus_table, logit,
        )  # fmt: skip
        if rules.choice == POSITION:
            _examine(items, logit, chance, c0, c3, look, item_values, persistence, n, clicked, waved)
        elif rules.choice == CASCADE:
            _cascade(items, logit, c0, c3, look, item_values, persistence, n, clicked, waved)
        else:
            _choose_one(items, logit, c0, c3, look, outside, item_values, persistence, n, clicked, waved)
        clicks = _hits(clicked, n, hits)
        satisfied, earned = _settle(
            items, hits, clicks, c1, c2, cart, row, item_values, item_category, weights, n, carted, purchased
        )
        for k in range(items.size):
            earned -= weights[3] * waved[n, k]
        reward[n] = earned
        clicks_of[row] += clicks
        quiet[row] = 0 if clicks > 0 else quiet[row] + 1
        _satiate(rules, satiation, user, items, hits, clicks, item_category, n, purchased)
        if clicks > 0:
            pleasure[row] += _remember(history, user, items, hits, clicks, item_values)
            focus[row] = item_category[items[hits[clicks - 1]]]
        terminated[n], truncated[n] = _leave(rules, page, clicks, satisfied, patience[row], leave, content)
        if terminated[n] or truncated[n]:
            made = clicks_of[row]
            pleased = pleasure[row] / max(made, 1) * (1.0 - np.exp(-rules.pleasure_scale * made))
            loyalty[user] += rules.loyalty_rate * (pleased - loyalty[user])
            visits[user] += 1
            is_open[user] = False
        else:
            page_of[row] = page + 1
            day = shown[row] / 24.0
            draw_candidates(
                key, launch, retire, rules.churns, visit, page + 1, day, candidates, row, c0, c1, c2, c3, bits
            )


@kernel
def _lay_out(candidates, row, slates, n, items, bits):
    """Fill `items` (K,): the items in the slots, -1 where an earlier slot shows the same."""
    for k in range(items.size):
        item = np.int64(candidates[row, slates[n, k]])
        place, mask = item >> 6, np.uint64(1) << np.uint64(item & 63)
        items[k] = -1 if bits[place] & mask else item
        bits[place] |= mask
    for k in range(items.size):
        if items[k] >= 0:
            bits[items[k] >> 6] = np.uint64(0)


@kernel
def _draw_page(key, visit, page, items, c0, c1, c2, c3, look):
    """All words of a page at once: K of reaction (by item), K / 4 of examination, then leaving, then choice.

    Word k % 4 of block k // 4 is slot k's word of examination, into `look`. Words of reaction stay in `c0` (click),
    `c1` (cart), `c2` (purchase), `c3` (not interested). Returns the draws of leaving and of contentment, and the word
    of "none of them".
    """
    slots = items.size
    blocks = (slots + 3) // 4
    last = slots + blocks
    v, at, shift = np.uint64(visit), np.uint64(page), np.uint64(24)
    low, high = v & np.uint64(0xFFFFFFFF), v >> np.uint64(32)
    for k in range(slots):
        c0[k] = np.uint64(max(items[k], 0))
        c1[k] = (np.uint64(REACTION) << shift) | at
    for b in range(blocks):
        c0[slots + b] = np.uint64(b)
        c1[slots + b] = (np.uint64(EXAMINATION) << shift) | at
    c0[last] = c0[last + 1] = np.uint64(0)
    c1[last] = (np.uint64(LEAVING) << shift) | at
    c1[last + 1] = (np.uint64(CHOICE) << shift) | at
    count = (last + 2 + 7) // 8 * 8  # whole vectors; what is drawn beyond is not looked at
    for i in range(count):
        c2[i] = low
        c3[i] = high
    philox_block(c0, c1, c2, c3, count, key[0], key[1])
    for b in range(blocks):
        look[4 * b] = c0[slots + b]
        look[4 * b + 1] = c1[slots + b]
        look[4 * b + 2] = c2[slots + b]
        look[4 * b + 3] = c3[slots + b]
    return unit(c0[last]), unit(c1[last]), c0[last + 1]


@kernel
def _examine(items, logit, chance, c0, c3, look, item_values, persistence, n, clicked, waved):
    """Position-based: every slot is examined with its own chance, whatever the others hold (Craswell et al. 2008)."""
    fill_logistic(logit, chance)
    theta = 1.0
    for k in range(items.size):  # no branches: what visitors do is hard to foresee, for processors too
        looks = (items[k] >= 0) & (unit(look[k]) < theta)
        theta *= persistence
        clicks = looks & (unit(c0[k]) < chance[k])
        clicked[n, k] = clicks
        waved[n, k] = looks & (not clicks) & (unit(c3[k]) < item_values[max(items[k], 0), NOT_INTERESTED])


@kernel
def _cascade(items, logit, c0, c3, look, item_values, persistence, n, clicked, waved):
    """From the top to the first click; the eye goes on from a slot without one with the lane's persistence.

    Craswell, Zoeter, Taylor, Ramsey (2008), "An experimental comparison of click position-bias models", WSDM, sec. 2.4.
    """
    for k in range(items.size):
        if k > 0 and unit(look[k]) >= persistence:
            return
        if items[k] < 0:
            continue
        if unit(c0[k]) < logistic(logit[k]):
            clicked[n, k] = True
            return
        waved[n, k] = unit(c3[k]) < item_values[items[k], NOT_INTERESTED]


@kernel
def _choose_one(items, logit, c0, c3, look, outside, item_values, persistence, n, clicked, waved):
    """At most one click: a conditional logit over the slots and "none of them", whose weight is 1 (McFadden 1974).

    The weight of slot k is persistence^k exp(logit). Drawn by Gumbel's maximum, keyed by item, so that two slates meet
    the same visitor. After "none of them", each slot that was examined may be waved away.
    """
    step = np.log(persistence)
    best = gumbel(outside)
    chosen = -1
    for k in range(items.size):
        score = logit[k] + k * step + gumbel(c0[k])
        if items[k] >= 0 and score > best:
            best, chosen = score, k
    if chosen >= 0:
        clicked[n, chosen] = True
        return
    theta = 1.0
    for k in range(items.size):
        if items[k] >= 0 and unit(look[k]) < theta:
            waved[n, k] = unit(c3[k]) < item_values[items[k], NOT_INTERESTED]
        theta *= persistence


@kernel
def _hits(clicked, n, hits):
    """The clicked slots, in order, into `hits` (K + 1,). Returns their number."""
    clicks = 0
    for k in range(clicked.shape[1]):
        hits[clicks] = k
        clicks += np.int64(clicked[n, k])
    return clicks


@kernel
def _settle(items, hits, clicks, c1, c2, cart, row, item_values, item_category, weights, n, carted, purchased):
    """Carts and purchases of the clicked slots. Returns (best quality bought or 0, reward so far)."""
    satisfied, earned = np.float32(0.0), clicks * weights[0]
    for h in range(clicks):
        k = hits[h]
        item = items[k]
        if unit(c1[k]) < logistic(item_values[item, CART] + cart[row, item_category[item]]):
            carted[n, k] = True
            earned += weights[1]
            if unit(c2[k]) < item_values[item, BUY]:
                purchased[n, k] = True
                earned += weights[2]
                satisfied = max(satisfied, item_values[item, QUALITY])
    return satisfied, earned


@kernel
def _satiate(rules, satiation, user, items, hits, clicks, item_category, n, purchased):
    """A resolved page: some satiation passes, what was clicked and bought adds to it."""
    for c in range(satiation.shape[1]):
        satiation[user, c] *= rules.satiation_keep
    for h in range(clicks):
        bought = rules.satiation_purchase if purchased[n, hits[h]] else 0.0
        satiation[user, item_category[items[hits[h]]]] += rules.satiation_click + bought


@kernel
def _remember(history, user, items, hits, clicks, item_values):
    """Put the clicked items at the end of the history. Returns their summed quality."""
    length = history.shape[1]
    kept = max(length - clicks, 0)
    for h in range(kept):
        history[user, h] = history[user, h + length - kept]
    for h in range(length - kept):
        history[user, kept + h] = items[hits[clicks - (length - kept) + h]]
    pleasure = np.float32(0.0)
    for h in range(clicks):
        pleasure += item_values[items[hits[h]], QUALITY]
    return pleasure


@kernel
def _leave(rules, page, clicks, satisfied, patience, leave, content):
    """Whether the visit ends with this page, as (terminated, truncated); `leave`, `content`: draws in (0, 1)."""
    logit = rules.leave_base - rules.leave_spread * patience
    if clicks > 0:
        logit -= rules.leave_click
    terminated = leave < logistic(logit) or content < satisfied
    return terminated, not terminated and page + 1 >= rules.page_limit


@kernel
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


@kernel
def fill_observations(rules, state, lanes, rows, user_features, user, history, candidates, page, calendar, notice):
    """Copy what may be seen of `rows` into the arrays of an observation."""
    clicked_last, own_candidates, own_calendar, own_notice = (
        state.history, lanes.candidates, lanes.calendar, lanes.notice
    )  # fmt: skip
    for n in range(rows.size):
        row = rows[n]
        u = lanes.user[row]
        copy_row(user, n, user_features, u)
        copy_row(history, n, clicked_last, u)
        copy_row(candidates, n, own_candidates, row)
        copy_row(calendar, n, own_calendar, row)
        copy_row(notice, n, own_notice, row)
        page[n, 0] = lanes.page[row] / rules.page_limit
        page[n, 1] = min(lanes.clicks[row] / 10.0, PAGE_BOUND)
        page[n, 2] = 1.0 if lanes.page[row] > 0 and lanes.quiet[row] == 0 else 0.0
        page[n, 3] = min(lanes.quiet[row] / 10.0, PAGE_BOUND)
        page[n, 4] = 1.0 if state.visits[u] == 0 else 0.0
        page[n, 5] = 1.0
