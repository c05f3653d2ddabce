"""How a visit begins: whose turn it is, and what holds while it lasts."""

# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False, check-untyped-defs=False
# (numba infers the kernels' types; their docstrings state them)

from __future__ import annotations

import numpy as np

from perennial.envs.attraction import fill_need, persistence_of, taste_now
from perennial.envs.candidates import draw_candidates
from perennial.envs.compiled import copy_row, kernel
from perennial.envs.lanes import PRICE_SENSITIVITY, SENSITIVITY, USER_PATIENCE
from perennial.envs.random_numbers import PATIENCE, draw, normal


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
    drawn, bits = scratch.drawn, scratch.bits
    user_values, segment, satiation = tables.user_values, tables.segment, state.satiation
    visit_of, user_of, tick_of, shown_of, page_of = lanes.visit, lanes.user, lanes.tick, lanes.shown, lanes.page
    focus, clicks, quiet, pleasure, patience_of = lanes.focus, lanes.clicks, lanes.quiet, lanes.pleasure, lanes.patience
    persistence, price, need, cart = lanes.persistence, lanes.price, lanes.need, lanes.cart
    own_calendar, own_notice, left_day, is_open = lanes.calendar, lanes.notice, state.left_day, state.open
    own, mean, spread = tables.taste, tables.taste_mean, tables.taste_spread
    for n in range(rows.size):
        row, u, at = rows[n], user[n], which[n]
        visit_of[row] = visit[n]
        user_of[row] = u
        tick_of[row] = tick[n]
        shown_of[row] = shown[n]
        page_of[row] = 0
        focus[row] = -1
        clicks[row] = 0
        quiet[row] = 0
        pleasure[row] = 0.0
        a, b, _, _ = draw(key, PATIENCE, visit[n], 0, 0)
        patience = user_values[u, USER_PATIENCE] + rules.visit_patience * normal(a, b)
        patience_of[row] = patience
        persistence[row] = persistence_of(rules, patience_of[row], moments[at, 4 * categories + 2])
        price[row] = user_values[u, PRICE_SENSITIVITY] * np.exp(moments[at, 4 * categories + 1])
        copy_row(own_calendar, row, calendar, at)
        copy_row(own_notice, row, notice, at)
        now, day = tick[n] / 24.0, shown[n] / 24.0
        fade = np.exp((left_day[u] - now) / rules.satiation_days)
        for c in range(categories):
            satiation[u, c] *= fade
        taste_now(key, own, mean, spread, rules.taste_share, rules.taste_days, u, day, taste)
        fill_need(user_values[u, SENSITIVITY], segment[u], taste, moments, at, need, cart, row)
        left_day[u] = now
        is_open[u] = True
    draw_candidates(
        key, launch, retire, rules.churns, rows, rows.size, visit_of, page_of, shown_of, candidates, drawn, bits
    )
