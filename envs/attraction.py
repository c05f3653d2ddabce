"""What attracts a visitor: needs, logits and chances, the same for the page kernel and for the oracle."""

# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False, check-untyped-defs=False
# (numba infers the kernels' types; their docstrings state them)

from __future__ import annotations

import numpy as np

from perennial.envs.compiled import fast_kernel, inlined, kernel
from perennial.envs.lanes import APPEAL, PRICE
from perennial.envs.random_numbers import TASTE, draw, normal, unit


@fast_kernel
def fill_attractions(
    pages, stride, size, items, lane, line, user_of, user_latent, item_latent, item_values, item_category,
    need, price, satiation, focus_of, focus_table, logit,
):  # fmt: skip
    """Fill `logit` with the attractions of `size` of `items` int64 from place p `stride` on, for `pages` pages p.

    Attraction = need + <p, q> + appeal - price - satiation + focus. The page's visitor and focus are those of its lane
    `lane[p]`, its `need` (B, C) and `price` (B,) stand at `line[p]`. In float32, in the same order for every page.
    """
    for p in range(pages):
        row, at = lane[p], line[p]
        user, focus = user_of[row], focus_of[row]
        for k in range(p * stride, p * stride + size):
            item = max(items[k], 0)
            total = np.float32(0.0)
            for j in range(item_latent.shape[1]):
                total += user_latent[user, j] * item_latent[item, j]
            category = item_category[item]
            total += need[at, category] + item_values[item, APPEAL] - price[at] * item_values[item, PRICE]
            total -= satiation[user, category]
            if focus >= 0:
                total += focus_table[focus, category]
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
def fill_logistic(logit, chance, count):
    """chance = logistic(logit) of the first `count`, float64 (n,), two arrays: on one it would go one by one."""
    for k in range(count):
        chance[k] = logistic(logit[k])


@inlined
def gumbel(word):
    """A standard Gumbel from a word: whose logit plus this is greatest is a draw from the conditional logit."""
    return -np.log(-np.log(unit(word)))


@inlined
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


@inlined
def persistence_of(rules, patience, examination):
    """Chance that the eye goes on to the next slot; `examination` is the log of a factor on its decay."""
    return np.exp(-rules.examination_decay * np.exp(examination - rules.attention_spread * np.float64(patience)))


@inlined
def fill_need(sensitivity, segment, taste, moments, at, need, cart, row):
    """Fill `need` and `cart` (B, C) at `row` from the visitor's `taste` (C,) and line `at` of `moments`."""
    categories = taste.size
    first = segment * categories
    for c in range(categories):
        need[row, c] = taste[c] + sensitivity * moments[at, first + c] + moments[at, 4 * categories]
        cart[row, c] = sensitivity * moments[at, 2 * categories + first + c]
