"""What pages are worth: the kernels behind the oracle, for each way of choosing from a page.

Of a candidate on a page: its ``logit``; ``gain``, expected reward given a click; ``loss``, expected cost if it is
examined and not clicked. All run over lanes and change nothing.
"""

# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False, check-untyped-defs=False
# (numba infers the kernels' types; their docstrings state them)

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from perennial.envs.attraction import fill_attractions, fill_logistic, fill_need, logistic, persistence_of, taste_now
from perennial.envs.compiled import compiled, inlined, kernel
from perennial.envs.lanes import (
    BUY,
    CART,
    CASCADE,
    NOT_INTERESTED,
    POSITION,
    PRICE_SENSITIVITY,
    SENSITIVITY,
    SINGLE,
)

Array = NDArray[Any]

ROUNDS = 50
"""Most steps of Dinkelbach's iteration; it converges superlinearly and stops when nothing changes."""


class View(NamedTuple):
    """With which parameters n pages are looked at: the lanes' own, or a comparator's."""

    need: Array  # float32 (n, C)
    cart: Array  # float32 (n, C)
    price: Array  # float32 (n,)
    persistence: Array  # float64 (n,)


@kernel
def fill_view(tables, rules, lanes, rows, moments, view):
    """Fill `view` with what visitors in `rows` would want at one moment, `moments` (1, 4 C + 3), tastes as they are."""
    categories = view.need.shape[1]
    taste = np.empty(categories)
    for n in range(rows.size):
        row = rows[n]
        user, day = lanes.user[row], lanes.shown[row] / 24.0
        taste_now(
            tables.key, tables.taste, tables.taste_mean, tables.taste_spread, rules.taste_share, rules.taste_days,
            user, day, taste,
        )  # fmt: skip
        sensitivity = tables.user_values[user, SENSITIVITY]
        fill_need(sensitivity, tables.segment[user], taste, moments, 0, view.need, view.cart, n)
        view.price[n] = tables.user_values[user, PRICE_SENSITIVITY] * np.exp(moments[0, 4 * categories + 1])
        view.persistence[n] = persistence_of(rules, lanes.patience[row], moments[0, 4 * categories + 2])


@inlined
def fill_worth(items, item_values, item_category, weights, cart, n, gain, loss):
    """Fill `gain` and `loss` float64 (M,) of `items` int64 (M,); `cart` (n, C) at line `n`."""
    for m in range(items.size):
        item = items[m]
        gain[m] = weights[0]
        loss[m] = weights[3] * item_values[item, NOT_INTERESTED]
        sold = weights[1] + weights[2] * item_values[item, BUY]
        if sold > 0.0:
            gain[m] += sold * logistic(item_values[item, CART] + cart[n, item_category[item]])


@kernel
def fill_truth(tables, state, lanes, rows, view, items, logit, gain, loss):
    """Fill `items` int64 and `logit`, `gain`, `loss` float64 (n, M) of the pages in `rows`, looked at with `view`."""
    # Arrays are taken out of their tuples once, as in `response.respond`.
    user_latent, item_latent, item_values = tables.user_latent, tables.item_latent, tables.item_values
    item_category, focus_table, weights = tables.item_category, tables.focus, tables.weights
    candidates, user, focus, satiation = lanes.candidates, lanes.user, lanes.focus, state.satiation
    need, cart, price = view.need, view.cart, view.price
    count = items.shape[1]
    for n in range(rows.size):
        for m in range(count):
            items[n, m] = candidates[rows[n], m]
    fill_attractions(
        rows.size, count, count, items.reshape(-1), rows, np.arange(rows.size), user, user_latent, item_latent,
        item_values, item_category, need, price, satiation, focus, focus_table, logit.reshape(-1),
    )  # fmt: skip
    for n in range(rows.size):
        fill_worth(items[n], item_values, item_category, weights, cart, n, gain[n], loss[n])


@inlined
def seen_again(slates, n, k):
    """Whether slot `k` of slate `n` shows a candidate that an earlier slot shows."""
    repeated = False
    for j in range(k):
        repeated |= slates[n, j] == slates[n, k]
    return repeated


@inlined
def slate_worth(choice, persistence, slates, n, logit, chance, gain, loss):
    """(expected reward, expected clicks) of slate `n` of `slates`, exact in each of the models; repeats count once."""
    reward, clicks, reach, total = 0.0, 0.0, 1.0, 1.0
    for k in range(slates.shape[1]):
        if not seen_again(slates, n, k):
            m = slates[n, k]
            if choice == SINGLE:
                weight = reach * np.exp(logit[m])
                total += weight
                clicks += weight
                reward += weight * gain[m] - reach * loss[m]
            else:
                reward += reach * (chance[m] * gain[m] - (1.0 - chance[m]) * loss[m])
                clicks += reach * chance[m]
                if choice == CASCADE:
                    reach *= 1.0 - chance[m]
        reach *= persistence
    return reward / total, clicks / total


@kernel
def best_slate(choice, persistence, logit, chance, gain, loss, score, table, slates, n):
    """Fill slate `n` of `slates` with the greatest expected reward; `score` (M,), `table` (M + 1, K + 1) scratch."""
    if choice == POSITION:
        for m in range(logit.size):
            score[m] = chance[m] * gain[m] - (1.0 - chance[m]) * loss[m]
        take_best(score, slates, n)
    elif choice == CASCADE:
        best_cascade(persistence, chance, gain, loss, score, table, slates, n)
    else:
        best_single(persistence, logit, chance, gain, loss, score, slates, n)


@compiled(fastmath={"nnan", "reassoc", "nsz"})
def greatest(score):
    """The greatest of `score`, none of them NaN; in any order, for it is the same in all."""
    best = score[0]
    for m in range(score.size):
        best = max(best, score[m])
    return best


@kernel
def take_best(score, slates, n):
    """The K greatest of `score` (M,), first among equals first; where they fall below 0, the best again, worth 0.

    K searches for the greatest, which the compiler does several at once, cost less than one sort. Spoils `score`.
    """
    for k in range(slates.shape[1]):
        best = greatest(score)
        if k > 0 and not best >= 0.0:
            slates[n, k] = slates[n, 0]
            continue
        m = 0
        while score[m] != best:
            m += 1
        slates[n, k] = m
        score[m] = -np.inf


@kernel
def best_cascade(persistence, chance, gain, loss, score, table, slates, n):
    """Which items, by dynamic programming over them in the order that any best slate keeps.

    Items i before j iff v_i / (1 - p (1 - a_i)) >= v_j / (1 - p (1 - a_j)), by exchange of neighbours (Kempe & Mahdian
    2008, "A cascade model for externalities in sponsored search", WINE); v is the worth of an item reached, p the
    persistence, a the chance of a click. `table[m, k]`: worth of the best k or fewer of the items from the m-th on.
    """
    items, size = chance.size, slates.shape[1]
    for m in range(items):
        worth = chance[m] * gain[m] - (1.0 - chance[m]) * loss[m]
        score[m] = worth / (1.0 - persistence * (1.0 - chance[m]))
    order = np.argsort(-score, kind="mergesort")
    table[:] = 0.0
    for m in range(items - 1, -1, -1):
        a = chance[order[m]]
        worth = a * gain[order[m]] - (1.0 - a) * loss[order[m]]
        for k in range(1, size + 1):
            table[m, k] = max(table[m + 1, k], worth + persistence * (1.0 - a) * table[m + 1, k - 1])
    left, found = size, 0
    for m in range(items):
        if left > 0 and table[m, left] > table[m + 1, left]:
            slates[n, found] = order[m]
            found += 1
            left -= 1
    if found == 0:  # all are worth less than nothing, and one must be shown
        for m in range(items):
            score[m] = chance[m] * gain[m] - (1.0 - chance[m]) * loss[m]
        slates[n, 0] = np.argmax(score)
        found = 1
    slates[n, found:] = slates[n, 0]


@kernel
def best_single(persistence, logit, chance, gain, loss, score, slates, n):
    """The best ratio of expected reward to choice weight, by Dinkelbach's iteration (1967, Management Science 13).

    For a price x of a unit of weight, the best slate sorts by exp(logit) (gain - x) - loss; x moves to that slate's
    worth until it stays. Exact: the weights of slots fall whatever they hold (rearrangement inequality).
    """
    worth = -np.inf
    price = 0.0
    for _ in range(ROUNDS):
        for m in range(logit.size):
            score[m] = np.exp(logit[m]) * (gain[m] - price) - loss[m]
        take_best(score, slates, n)
        found, _ = slate_worth(SINGLE, persistence, slates, n, logit, chance, gain, loss)
        if not found > worth:
            return
        worth = price = found


PAGES = 64
"""Pages whose candidates are valued at once: few enough to stay near the processor."""


@kernel
def score_slates(tables, rules, state, lanes, rows, view, slates, reward, clicks, best):
    """Fill (n,): expected `reward` and `clicks` of `slates` (n, K), and the `best` expected reward of any slate."""
    count, size = lanes.candidates.shape[1], slates.shape[1]
    items, logit, gain, loss = _room(count)
    chance, score, table = np.empty(count), np.empty(count), np.empty((count + 1, size + 1))
    top, persistence = np.empty((1, size), np.int64), view.persistence
    for first in range(0, rows.size, PAGES):
        last = min(first + PAGES, rows.size)
        part = View(view.need[first:last], view.cart[first:last], view.price[first:last], persistence[first:last])
        fill_truth(tables, state, lanes, rows[first:last], part, items, logit, gain, loss)
        for n in range(first, last):
            p, at = persistence[n], n - first
            fill_logistic(logit[at], chance, count)
            reward[n], clicks[n] = slate_worth(rules.choice, p, slates, n, logit[at], chance, gain[at], loss[at])
            best_slate(rules.choice, p, logit[at], chance, gain[at], loss[at], score, table, top, 0)
            best[n] = slate_worth(rules.choice, p, top, 0, logit[at], chance, gain[at], loss[at])[0]


@kernel
def fill_best(tables, rules, state, lanes, rows, view, bonus, weight, slates):
    """Fill `slates` int64 (n, K) with the best slate of each page, looked at with `view`.

    `bonus` (N,) by item, times `weight` (n,) by page, is added to the gains.
    """
    count, size = lanes.candidates.shape[1], slates.shape[1]
    items, logit, gain, loss = _room(count)
    chance, score, table = np.empty(count), np.empty(count), np.empty((count + 1, size + 1))
    for first in range(0, rows.size, PAGES):
        last = min(first + PAGES, rows.size)
        part = View(view.need[first:last], view.cart[first:last], view.price[first:last], view.persistence[first:last])
        fill_truth(tables, state, lanes, rows[first:last], part, items, logit, gain, loss)
        for n in range(first, last):
            at = n - first
            for m in range(count):
                gain[at, m] += weight[n] * bonus[items[at, m]]
            fill_logistic(logit[at], chance, count)
            best_slate(
                rules.choice, part.persistence[at], logit[at], chance, gain[at], loss[at], score, table, slates, n
            )


@kernel
def _room(count):
    """Arrays (PAGES, count) for items, logits, gains and losses."""
    shape = (PAGES, count)
    return np.empty(shape, np.int64), np.empty(shape), np.empty(shape), np.empty(shape)
