"""What pages are worth: the kernels behind the oracle, for each way of choosing from a page.

Of a candidate on a page: its ``logit``; ``gain``, expected reward given a click; ``loss``, expected cost if it is
examined and not clicked. All run over lanes and change nothing.
"""

# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False, check-untyped-defs=False
# (numba infers the kernels' types; their docstrings state them)

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from perennial.envs.response import (
    BUY,
    CART,
    CASCADE,
    NOT_INTERESTED,
    POSITION,
    SINGLE,
    attraction_logit,
    fill_need,
    logistic,
    persistence_of,
    seen_again,
    taste_now,
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


@njit(cache=True)
def fill_view(tables, rules, lanes, rows, now, view):
    """Fill `view` with what visitors in `rows` would want at the parameters `now` (4 C + 3,), tastes as they are."""
    categories = view.need.shape[1]
    taste = np.empty(categories)
    for n in range(rows.size):
        row = rows[n]
        user = lanes.user[row]
        taste_now(tables, rules, user, lanes.tick[row] / 24.0, taste)
        fill_need(tables, user, taste, now, view.need[n], view.cart[n])
        view.price[n] = tables.user_values[user, 0] * np.exp(now[4 * categories + 1])
        view.persistence[n] = persistence_of(rules, lanes.patience[row], now[4 * categories + 2])


@njit(cache=True)
def fill_page(tables, state, lanes, row, view, n, logit, gain, loss):
    """Fill `logit`, `gain`, `loss` float64 (M,) of the page in `row`, looked at with line `n` of `view`."""
    w = tables.weights
    user = lanes.user[row]
    for m in range(logit.size):
        item = lanes.candidates[row, m]
        logit[m] = attraction_logit(tables, state, user, lanes.focus[row], view.need[n], view.price[n], item)
        gain[m] = w[0]
        loss[m] = w[3] * tables.item_values[item, NOT_INTERESTED]
        sold = w[1] + w[2] * tables.item_values[item, BUY]
        if sold > 0.0:
            gain[m] += sold * logistic(tables.item_values[item, CART] + view.cart[n, tables.item_category[item]])


@njit(cache=True)
def fill_truth(tables, state, lanes, rows, view, logit, gain, loss):
    """`fill_page` for all of `rows` into arrays (n, M)."""
    for n in range(rows.size):
        fill_page(tables, state, lanes, rows[n], view, n, logit[n], gain[n], loss[n])


@njit(cache=True)
def slate_worth(choice, persistence, slate, logit, gain, loss):
    """(expected reward, expected clicks) of `slate` (K,): exact in each of the three models; repeats count once."""
    reward, clicks, reach, total = 0.0, 0.0, 1.0, 1.0
    for k in range(slate.size):
        if not seen_again(slate, k):
            m = slate[k]
            if choice != SINGLE:
                a = logistic(logit[m])
                reward += reach * (a * gain[m] - (1.0 - a) * loss[m])
                clicks += reach * a
                if choice == CASCADE:
                    reach *= 1.0 - a
            else:
                weight = reach * np.exp(logit[m])
                total += weight
                clicks += weight
                reward += weight * gain[m] - reach * loss[m]
        reach *= persistence
    return reward / total, clicks / total


@njit(cache=True)
def best_slate(choice, persistence, logit, gain, loss, score, table, slate):
    """Fill `slate` (K,) with the slate of greatest expected reward; `score` (M,), `table` (M + 1, K + 1) scratch."""
    if choice == POSITION:
        for m in range(logit.size):
            a = logistic(logit[m])
            score[m] = a * gain[m] - (1.0 - a) * loss[m]
        take_best(score, slate)
    elif choice == CASCADE:
        best_cascade(persistence, logit, gain, loss, score, table, slate)
    else:
        best_single(persistence, logit, gain, loss, score, slate)


@njit(cache=True)
def take_best(score, slate):
    """The K greatest of `score` (M,), first among equals first; where they fall below 0, the best again, worth 0."""
    found = 0
    for m in range(score.size):
        if found == slate.size and not score[m] > score[slate[found - 1]]:
            continue
        k = min(found, slate.size - 1)
        found = k + 1
        while k > 0 and score[m] > score[slate[k - 1]]:
            slate[k] = slate[k - 1]
            k -= 1
        slate[k] = m
    for k in range(slate.size):
        if not score[slate[k]] >= 0.0:
            slate[k] = slate[0]


@njit(cache=True)
def best_cascade(persistence, logit, gain, loss, score, table, slate):
    """Which items, by dynamic programming over them in the order that any best slate keeps.

    Items i before j iff v_i / (1 - p (1 - a_i)) >= v_j / (1 - p (1 - a_j)), by exchange of neighbours (Kempe & Mahdian
    2008, "A cascade model for externalities in sponsored search", WINE); v is the worth of an item reached, p the
    persistence, a the chance of a click. `table[m, k]`: worth of the best k or fewer of the items from the m-th on.
    """
    items, size = logit.size, slate.size
    for m in range(items):
        a = logistic(logit[m])
        score[m] = (a * gain[m] - (1.0 - a) * loss[m]) / (1.0 - persistence * (1.0 - a))
    order = np.argsort(-score, kind="mergesort")
    table[:] = 0.0
    for m in range(items - 1, -1, -1):
        a = logistic(logit[order[m]])
        worth = a * gain[order[m]] - (1.0 - a) * loss[order[m]]
        for k in range(1, size + 1):
            table[m, k] = max(table[m + 1, k], worth + persistence * (1.0 - a) * table[m + 1, k - 1])
    left, found = size, 0
    for m in range(items):
        if left > 0 and table[m, left] > table[m + 1, left]:
            slate[found] = order[m]
            found += 1
            left -= 1
    if found == 0:  # all are worth less than nothing, and one must be shown
        for m in range(items):
            a = logistic(logit[m])
            score[m] = a * gain[m] - (1.0 - a) * loss[m]
        slate[0] = np.argmax(score)
        found = 1
    slate[found:] = slate[0]


@njit(cache=True)
def best_single(persistence, logit, gain, loss, score, slate):
    """The best ratio of expected reward to choice weight, by Dinkelbach's iteration (1967, Management Science 13).

    For a price x of a unit of weight, the best slate sorts by exp(logit) (gain - x) - loss; x moves to that slate's
    worth until it stays. Exact: the weights of slots fall whatever they hold (rearrangement inequality).
    """
    worth = -np.inf
    price = 0.0
    for _ in range(ROUNDS):
        for m in range(logit.size):
            score[m] = np.exp(logit[m]) * (gain[m] - price) - loss[m]
        take_best(score, slate)
        found, _ = slate_worth(SINGLE, persistence, slate, logit, gain, loss)
        if not found > worth:
            return
        worth = price = found


@njit(cache=True)
def score_slates(tables, rules, state, lanes, rows, view, slates, reward, clicks, best):
    """Fill (n,): expected `reward` and `clicks` of `slates` (n, K), and the `best` expected reward of any slate."""
    items, size = lanes.candidates.shape[1], slates.shape[1]
    logit, gain, loss, score = np.empty(items), np.empty(items), np.empty(items), np.empty(items)
    table, slate = np.empty((items + 1, size + 1)), np.empty(size, np.int64)
    for n in range(rows.size):
        fill_page(tables, state, lanes, rows[n], view, n, logit, gain, loss)
        p = view.persistence[n]
        reward[n], clicks[n] = slate_worth(rules.choice, p, slates[n], logit, gain, loss)
        best_slate(rules.choice, p, logit, gain, loss, score, table, slate)
        best[n] = slate_worth(rules.choice, p, slate, logit, gain, loss)[0]


@njit(cache=True)
def fill_best(tables, rules, state, lanes, rows, view, slates):
    """Fill `slates` int64 (n, K) with the best slate of each page, looked at with `view`."""
    items, size = lanes.candidates.shape[1], slates.shape[1]
    logit, gain, loss, score = np.empty(items), np.empty(items), np.empty(items), np.empty(items)
    table = np.empty((items + 1, size + 1))
    for n in range(rows.size):
        fill_page(tables, state, lanes, rows[n], view, n, logit, gain, loss)
        best_slate(rules.choice, view.persistence[n], logit, gain, loss, score, table, slates[n])
