"""What the page kernel runs over: tables that never change, rules, visitors' state, open visits, and scratch."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

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


PAGES = 32
"""Pages that the kernel answers at once: loops over all their slots are long enough for the processor's vectors."""


class Scratch(NamedTuple):
    """Room for `PAGES` pages' work, used again and again. S = slots of a page, rounded up to whole Philox blocks of 4.

    ``c0`` to ``c3``: Philox counters in, words out; first S a page, then S / 4 + 2 a page.
    """

    c0: Array  # uint64 (W,)
    c1: Array
    c2: Array
    c3: Array
    place: Array  # int64 (PAGES,): the pages' places in the batch
    lane: Array  # int64 (PAGES,): their lanes
    item: Array  # int64 (PAGES * S,): the slots' items, -1 where an earlier slot shows it and beyond the last slot
    logit: Array  # float64 (PAGES * S,): their attractions
    chance: Array  # float64 (PAGES * S,): their chances of a click
    theta: Array  # float64 (PAGES * S,): chances that they are looked at
    dislike: Array  # float32 (PAGES * S,): chances of "not interested" if looked at and not clicked
    look: Array  # uint64 (PAGES * S,): their words of examination
    click: Array  # bool (PAGES * S,)
    wave: Array  # bool (PAGES * S,): "not interested"
    hits: Array  # int64 (K + 1,): a page's clicked slots
    drawn: Array  # int64 (DRAWN,): candidates drawn, repeats among them
    bits: Array  # uint64: one bit an item, all 0 between uses


DRAWN = 64
"""Candidates drawn at once: enough for 50 of some hundreds of items."""


def new_scratch(slate_size: int, items: int) -> Scratch:
    """Room for pages of `slate_size` slots of a shop with so many items."""
    slots = -(-slate_size // 4) * 4
    size, width = PAGES * slots, PAGES * (slots + slots // 4 + 2)
    u64, i64 = np.uint64, np.int64
    return Scratch(
        c0=np.zeros(width, u64), c1=np.zeros(width, u64), c2=np.zeros(width, u64), c3=np.zeros(width, u64),
        place=np.zeros(PAGES, i64), lane=np.zeros(PAGES, i64), item=np.full(size, -1, i64),
        logit=np.zeros(size), chance=np.zeros(size),
        theta=np.zeros(size), dislike=np.zeros(size, np.float32), look=np.zeros(size, u64),
        click=np.zeros(size, np.bool_), wave=np.zeros(size, np.bool_), hits=np.zeros(slate_size + 1, i64),
        drawn=np.zeros(DRAWN, i64), bits=np.zeros(items // 64 + 1, u64),
    )  # fmt: skip
