"""The page kernel: how visitors answer a slate, compiled once and shared by the loop and every Gymnasium face.

All functions run over `rows`, the lanes concerned, and touch only those lanes and their visitors. Nothing here depends
on the batch's width, uses BLAS, or draws a number that is not counted by (purpose, visit, page, item or slot). Some
pages are answered at once: first their words and attractions, then their clicks, then what the clicks change.
"""

# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False, check-untyped-defs=False
# (numba infers the kernels' types; their docstrings state them)

from __future__ import annotations

import numpy as np

from perennial.envs.attraction import fill_attractions, fill_logistic, gumbel, logistic
from perennial.envs.candidates import draw_candidates
from perennial.envs.compiled import inlined, kernel
from perennial.envs.lanes import BUY, CART, CASCADE, NOT_INTERESTED, PAGES, POSITION, QUALITY
from perennial.envs.random_numbers import CHOICE, EXAMINATION, LEAVING, REACTION, philox_block, unit


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
    persistence, patience, pleasure = lanes.persistence, lanes.patience, lanes.pleasure
    clicks_of, quiet = lanes.clicks, lanes.quiet
    c0, c1, c2, c3, items = scratch.c0, scratch.c1, scratch.c2, scratch.c3, scratch.item
    place, lane = scratch.place, scratch.lane
    logit, chance, theta, dislike = scratch.logit, scratch.chance, scratch.theta, scratch.dislike
    look, click, wave, hits = scratch.look, scratch.click, scratch.wave, scratch.hits
    drawn, bits = scratch.drawn, scratch.bits
    size = slates.shape[1]
    slots = items.size // PAGES
    n = 0
    while n < rows.size:
        pages = 0
        while n < rows.size and pages < PAGES:
            place[pages], lane[pages] = n, rows[n]
            pages += not skip[n]
            n += 1
        # Functions of few loops each: in a long one the compiler loses sight of what may be done side by side.
        fill_items(candidates, slates, place, lane, pages, item_values, slots, items, dislike, bits)
        fill_attractions(
            pages, slots, size, items, lane, lane, user_of, user_latent, item_latent, item_values, item_category,
            need, price, satiation, focus, focus_table, logit,
        )  # fmt: skip
        fill_counters(visit_of, page_of, lane, pages, slots, items, c0, c1, c2, c3)
        philox_block(c0, c1, c2, c3, pages * (slots + slots // 4 + 2), key[0], key[1])
        fill_look(pages, slots, c0, c1, c2, c3, look)
        if rules.choice == POSITION:
            fill_theta(persistence, lane, pages, slots, size, theta)
            examine(pages * slots, items, logit, chance, theta, dislike, look, c0, c3, click, wave)
        else:
            choose(
                rules.choice, persistence, lane, pages, slots, size, items, logit, dislike, look, c0, c3,
                click, wave,
            )  # fmt: skip
        going_on = 0
        for p in range(pages):
            m, row, first = place[p], lane[p], p * slots
            user, page = user_of[row], page_of[row]
            clicks, waves = outcome(click, wave, first, m, clicked, waved, hits)
            satisfied, earned = settle(
                items, first, hits, clicks, c1, c2, cart, row, item_values, item_category, weights, m, carted, purchased
            )
            reward[m] = earned - weights[3] * waves
            clicks_of[row] += clicks
            quiet[row] = 0 if clicks > 0 else quiet[row] + 1
            satiate(rules, satiation, user, items, first, hits, clicks, item_category, m, purchased)
            if clicks > 0:
                pleasure[row] += remember(history, user, items, first, hits, clicks, item_values)
                focus[row] = item_category[items[first + hits[clicks - 1]]]
            last = last_words(pages, p, slots)
            leave, content = unit(c0[last]), unit(c1[last])
            terminated[m], truncated[m] = leaves(rules, page, clicks, satisfied, patience[row], leave, content)
            if terminated[m] or truncated[m]:
                made = clicks_of[row]
                pleased = pleasure[row] / max(made, 1) * (1.0 - np.exp(-rules.pleasure_scale * made))
                loyalty[user] += rules.loyalty_rate * (pleased - loyalty[user])
                visits[user] += 1
                is_open[user] = False
            else:
                page_of[row] = page + 1
                lane[going_on] = row
                going_on += 1
        draw_candidates(
            key, launch, retire, rules.churns, lane, going_on, visit_of, page_of, shown, candidates, drawn, bits
        )


@kernel
def fill_items(candidates, slates, place, lane, pages, item_values, slots, items, dislike, bits):
    """Fill `items`, -1 where an earlier slot shows the same, and `dislike` of the pages in `lane`."""
    size = slates.shape[1]
    for p in range(pages):
        n, row, first = place[p], lane[p], p * slots
        for k in range(size):
            item = np.int64(candidates[row, slates[n, k]])
            word, mask = item >> 6, np.uint64(1) << np.uint64(item & 63)
            items[first + k] = -1 if bits[word] & mask else item
            bits[word] |= mask
            dislike[first + k] = item_values[item, NOT_INTERESTED]
        for k in range(first, first + size):
            bits[max(items[k], 0) >> 6] = np.uint64(0)


@kernel
def fill_counters(visit_of, page_of, lane, pages, slots, items, c0, c1, c2, c3):
    """The Philox counters of the pages in `lane`: S of reaction a page, by item, then S / 4 + 2 a page.

    In place of them come the words: those of slot k of page p at p S + k, of reaction in `c0` (click), `c1` (cart),
    `c2` (purchase) and `c3` (not interested); then four slots' words of examination a counter (`fill_look`), and those
    of leaving and of choice (`last_words`).
    """
    blocks, shift = slots // 4, np.uint64(24)
    rest = pages * slots
    for p in range(pages):
        row = lane[p]
        v, at = np.uint64(visit_of[row]), np.uint64(page_of[row])
        low, high = v & np.uint64(0xFFFFFFFF), v >> np.uint64(32)
        for i in range(p * slots, (p + 1) * slots):
            c0[i] = np.uint64(max(items[i], 0))
            c1[i] = (np.uint64(REACTION) << shift) | at
            c2[i], c3[i] = low, high
        first = rest + p * (blocks + 2)
        for b in range(blocks):
            c0[first + b] = np.uint64(b)
            c1[first + b] = (np.uint64(EXAMINATION) << shift) | at
        last = first + blocks
        c0[last] = c0[last + 1] = np.uint64(0)
        c1[last] = (np.uint64(LEAVING) << shift) | at
        c1[last + 1] = (np.uint64(CHOICE) << shift) | at
        for i in range(first, last + 2):
            c2[i], c3[i] = low, high


@kernel
def fill_look(pages, slots, c0, c1, c2, c3, look):
    """Into `look` slot k's word of examination: word k % 4 of block k // 4."""
    blocks = slots // 4
    rest = pages * slots
    for p in range(pages):
        for b in range(blocks):
            i, k = rest + p * (blocks + 2) + b, p * slots + 4 * b
            look[k], look[k + 1], look[k + 2], look[k + 3] = c0[i], c1[i], c2[i], c3[i]


@inlined
def last_words(pages, p, slots):
    """Where the words of leaving of page `p` stand; those of choice come next."""
    return pages * slots + p * (slots // 4 + 2) + slots // 4


@kernel
def fill_theta(persistence, lane, pages, slots, size, theta):
    """Fill `theta` of the pages in `lane`: the chance that slot k is looked at is persistence^k."""
    for p in range(pages):
        reach = 1.0
        for k in range(p * slots, p * slots + size):
            theta[k] = reach
            reach *= persistence[lane[p]]


@kernel
def examine(count, items, logit, chance, theta, dislike, look, c0, c3, click, wave):
    """Position-based: every slot is examined with its own chance, whatever the others hold (Craswell et al. 2008).

    Over the first `count` slots of all pages, without branches: processors cannot foresee either what visitors do.
    """
    fill_logistic(logit, chance, count)
    for k in range(count):
        looks = (items[k] >= 0) & (unit(look[k]) < theta[k])
        clicks = looks & (unit(c0[k]) < chance[k])
        click[k] = clicks
        wave[k] = looks & (not clicks) & (unit(c3[k]) < dislike[k])


@kernel
def choose(
    choice, persistence, lane, pages, slots, size, items, logit, dislike, look, c0, c3, click, wave
):  # fmt: skip
    """Fill `click` and `wave` of the pages in `lane`, one by one, under the other two ways of choosing."""
    for p in range(pages):
        first, goes_on = p * slots, persistence[lane[p]]
        for k in range(first, first + size):
            click[k] = wave[k] = False
        if choice == CASCADE:
            cascade(first, size, items, logit, goes_on, dislike, look, c0, c3, click, wave)
        else:
            outside = c0[last_words(pages, p, slots) + 1]
            choose_one(first, size, items, logit, goes_on, dislike, look, c0, c3, outside, click, wave)


@kernel
def cascade(first, size, items, logit, persistence, dislike, look, c0, c3, click, wave):
    """From the top to the first click; the eye goes on from a slot without one with the lane's persistence.

    Craswell, Zoeter, Taylor, Ramsey (2008), "An experimental comparison of click position-bias models", WSDM, sec. 2.4.
    """
    for k in range(first, first + size):
        if k > first and unit(look[k]) >= persistence:
            return
        if items[k] < 0:
            continue
        if unit(c0[k]) < logistic(logit[k]):
            click[k] = True
            return
        wave[k] = unit(c3[k]) < dislike[k]


@kernel
def choose_one(first, size, items, logit, persistence, dislike, look, c0, c3, outside, click, wave):
    """At most one click: a conditional logit over the slots and "none of them", whose weight is 1 (McFadden 1974).

    The weight of slot k is persistence^k exp(logit). Drawn by Gumbel's maximum, keyed by item, so that two slates meet
    the same visitor. After "none of them", each slot that was examined may be waved away.
    """
    step = np.log(persistence)
    best = gumbel(outside)
    chosen = -1
    for k in range(first, first + size):
        score = logit[k] + (k - first) * step + gumbel(c0[k])
        if items[k] >= 0 and score > best:
            best, chosen = score, k
    if chosen >= 0:
        click[chosen] = True
        return
    theta = 1.0
    for k in range(first, first + size):
        if items[k] >= 0 and unit(look[k]) < theta:
            wave[k] = unit(c3[k]) < dislike[k]
        theta *= persistence


@inlined
def outcome(click, wave, first, n, clicked, waved, hits):
    """Line `n` of `clicked` and `waved`; the clicked slots, in order, into `hits` (K + 1,). Returns (clicks, waves)."""
    clicks, waves = 0, 0
    for k in range(clicked.shape[1]):
        hit = click[first + k]
        clicked[n, k], waved[n, k] = hit, wave[first + k]
        hits[clicks] = k
        clicks += np.int64(hit)
        waves += np.int64(wave[first + k])
    return clicks, waves


@inlined
def settle(items, first, hits, clicks, c1, c2, cart, row, item_values, item_category, weights, n, carted, purchased):
    """Carts and purchases of the clicked slots. Returns (best quality bought or 0, reward so far)."""
    satisfied, earned = np.float32(0.0), clicks * weights[0]
    for h in range(clicks):
        k = hits[h]
        item = items[first + k]
        if unit(c1[first + k]) < logistic(item_values[item, CART] + cart[row, item_category[item]]):
            carted[n, k] = True
            earned += weights[1]
            if unit(c2[first + k]) < item_values[item, BUY]:
                purchased[n, k] = True
                earned += weights[2]
                satisfied = max(satisfied, item_values[item, QUALITY])
    return satisfied, earned


@inlined
def satiate(rules, satiation, user, items, first, hits, clicks, item_category, n, purchased):
    """A resolved page: some satiation passes, what was clicked and bought adds to it."""
    for c in range(satiation.shape[1]):
        satiation[user, c] *= rules.satiation_keep
    for h in range(clicks):
        bought = rules.satiation_purchase if purchased[n, hits[h]] else 0.0
        satiation[user, item_category[items[first + hits[h]]]] += rules.satiation_click + bought


@inlined
def remember(history, user, items, first, hits, clicks, item_values):
    """Put the clicked items at the end of the history. Returns their summed quality."""
    length = history.shape[1]
    kept = max(length - clicks, 0)
    for h in range(kept):
        history[user, h] = history[user, h + length - kept]
    for h in range(length - kept):
        history[user, kept + h] = items[first + hits[clicks - (length - kept) + h]]
    pleasure = np.float32(0.0)
    for h in range(clicks):
        pleasure += item_values[items[first + hits[h]], QUALITY]
    return pleasure


@inlined
def leaves(rules, page, clicks, satisfied, patience, leave, content):
    """Whether the visit ends with this page, as (terminated, truncated); `leave`, `content`: draws in (0, 1)."""
    logit = rules.leave_base - rules.leave_spread * patience
    if clicks > 0:
        logit -= rules.leave_click
    terminated = leave < logistic(logit) or content < satisfied
    return terminated, not terminated and page + 1 >= rules.page_limit
