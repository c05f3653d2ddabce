"""Conversions that are told apart from their page, later than it: carts and purchases, joined to the page at read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from hashlib import blake2b
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from perennial.agents.base import Feedback, Spaces
from perennial.agents.lifecycle.intake import MAX_PAGES, MAX_VISIT, page_keys
from perennial.agents.lifecycle.tables import HOURS

KINDS = ("cart", "purchase")
CART, PURCHASE = range(len(KINDS))

DTYPES: dict[str, type[np.generic]] = {
    "tick": np.int64,
    "visit": np.int64,
    "page": np.int32,
    "slot": np.int32,
    "kind": np.int32,
    "item": np.int32,
    "page_tick": np.int64,
    "value": np.float32,
}


@dataclass(frozen=True)
class Conversions:
    """C conversions, ordered by (tick, visit, page, slot, kind) once they are in the log. Each (C,):

    ``tick`` int64: the hour the log heard of it. ``visit`` int64, ``page`` int32, ``slot`` int32, ``item`` int32: the
    slot that earned it, ``page_tick`` int64 the hour of its page. ``kind`` int32: index into KINDS. ``value`` float32:
    what it adds to the page's reward.
    """

    tick: NDArray[np.int64]
    visit: NDArray[np.int64]
    page: NDArray[np.int32]
    slot: NDArray[np.int32]
    kind: NDArray[np.int32]
    item: NDArray[np.int32]
    page_tick: NDArray[np.int64]
    value: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.tick)

    def take(self, rows: NDArray[Any]) -> Conversions:
        """Those in `rows` (indices or a mask), in that order."""
        return Conversions(*(getattr(self, f.name)[rows] for f in fields(self)))

    def sorted(self) -> Conversions:
        """In the order of the log."""
        return self.take(np.lexsort((self.value, self.kind, self.slot, self.page, self.visit, self.tick)))

    @staticmethod
    def concatenate(parts: list[Conversions]) -> Conversions:
        """Those of all `parts`, one after the other; none for none."""
        parts = [none(), *parts]
        return Conversions(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Conversions)))

    def labels(self) -> list[tuple[int, int, int]]:
        """What tells each from the others: its page, its slot, its kind."""
        keys = self.visit * MAX_PAGES + self.page
        return list(zip(keys.tolist(), self.slot.tolist(), self.kind.tolist(), strict=True))

    def content_hash(self) -> bytes:
        """Names the content."""
        digest = blake2b(digest_size=8)
        for f in fields(self):
            digest.update(np.ascontiguousarray(getattr(self, f.name)).data)
        return digest.digest()


def none() -> Conversions:
    """No conversion at all."""
    return Conversions(**{name: np.empty(0, dtype) for name, dtype in DTYPES.items()})  # type: ignore[arg-type]


def of_pages(pages: Feedback) -> Conversions:
    """The purchases that `pages` came with; their worth is in the page's reward already."""
    row, slot = np.nonzero(pages.purchased)
    keys = pages.keys
    return Conversions(
        tick=keys.tick[row],
        visit=keys.visit[row],
        page=keys.page[row],
        slot=slot.astype(np.int32),
        kind=np.full(len(row), PURCHASE, np.int32),
        item=pages.slate_items[row, slot],
        page_tick=keys.tick[row],
        value=np.zeros(len(row), np.float32),
    )


def check_form(conversions: Conversions) -> None:
    """Raise unless every array is (C,) of its dtype."""
    for name, dtype in DTYPES.items():
        array = getattr(conversions, name)
        if array.shape != (len(conversions),) or array.dtype != dtype:
            raise ValueError(
                f"'conversions': {name} must be {np.dtype(dtype)} of shape ({len(conversions)},). "
                f"Got {array.dtype} of shape {array.shape}. Nothing was logged."
            )


Row = NDArray[np.bool_]

RULES: dict[str, Callable[[Conversions, Spaces, range], Row]] = {
    "visit or page number out of range": lambda c, s, t: (
        (c.visit < 0) | (c.visit > MAX_VISIT) | (c.page < 0) | (c.page >= MAX_PAGES)
    ),
    "tick is not an hour being closed": lambda c, s, t: (c.tick < t.start) | (c.tick >= t.stop),
    "converted before its page was served": lambda c, s, t: c.page_tick > c.tick,
    "slot out of range": lambda c, s, t: (c.slot < 0) | (c.slot >= s.slate_size),
    "item out of range": lambda c, s, t: (c.item < 0) | (c.item >= s.n_items),
    "unknown kind": lambda c, s, t: (c.kind < 0) | (c.kind >= len(KINDS)),
    "value not finite": lambda c, s, t: ~np.isfinite(c.value),
}
"""Reason: which conversions closed with the hours t it refuses. The first that applies is the one recorded."""


def refused(conversions: Conversions, spaces: Spaces, hours: range) -> dict[int, str]:
    """Row number -> reason, for those that must not enter the log."""
    reasons: dict[int, str] = {}
    for reason, rule in RULES.items():
        for row in np.flatnonzero(rule(conversions, spaces, hours)).tolist():
            reasons.setdefault(row, reason)
    return reasons


def join(pages: Feedback, conversions: Conversions) -> Feedback:
    """`pages` with what `conversions`, in the order of the log, say of them; the others are not of these pages.

    A slot converts once in each kind: what the page already has, or an earlier row told, is not counted again.
    """
    row = _rows(pages, conversions)
    conversions, row = conversions.take(row >= 0), row[row >= 0]
    if len(row) == 0:
        return pages
    flags = np.stack([pages.carted, pages.purchased])
    place = np.ravel_multi_index((conversions.kind, row, conversions.slot), flags.shape)
    first = np.zeros(len(row), np.bool_)
    first[np.unique(place, return_index=True)[1]] = True
    first &= ~flags.ravel()[place]
    flags.ravel()[place] = True
    reward = pages.reward.copy()
    np.add.at(reward, row[first], conversions.value[first])
    return replace(pages, carted=flags[CART], purchased=flags[PURCHASE], reward=reward)


def _rows(pages: Feedback, conversions: Conversions) -> NDArray[np.int64]:
    """int64 (C,): the row of each conversion's page, -1 where it is not among `pages`."""
    if len(pages) == 0:
        return np.full(len(conversions), -1)
    keys, wanted = page_keys(pages), conversions.visit * MAX_PAGES + conversions.page
    order = np.argsort(keys, kind="stable")
    found = order[np.minimum(np.searchsorted(keys, wanted, sorter=order), len(keys) - 1)]
    return np.where(keys[found] == wanted, found, -1)


def frame(conversions: Conversions, day: int) -> pl.DataFrame:
    """One row per conversion, as the table `conversions` has them; they entered the log on `day`."""
    table = pl.DataFrame({name: getattr(conversions, name) for name in DTYPES})
    return table.select(
        "visit",
        "page",
        pl.col("slot").cast(pl.Int16),
        "tick",
        pl.lit(day, pl.Int32).alias("day"),
        "item",
        pl.Series("kind", KINDS, dtype=pl.String).gather(conversions.kind.astype(np.uint32)),
        "page_tick",
        "value",
    )


def from_frame(table: pl.DataFrame) -> Conversions:
    """Back from the table, in the order of the log."""
    kind = table["kind"].replace_strict(KINDS, range(len(KINDS)), return_dtype=pl.Int32)
    columns = {name: table[name].to_numpy() for name in DTYPES if name != "kind"} | {"kind": kind.to_numpy()}
    return Conversions(**{name: columns[name].astype(DTYPES[name]) for name in DTYPES}).sorted()  # type: ignore[arg-type]


def refused_frame(conversions: Conversions, reasons: list[str], received: int) -> pl.DataFrame:
    """Conversions that were refused, as they came: the kind a number, the reason, and the hour they came in."""
    table = pl.DataFrame({name: getattr(conversions, name) for name in DTYPES})
    return table.with_columns(
        pl.Series("reason", reasons, dtype=pl.String),
        day=pl.lit(received // HOURS, pl.Int32),
        received=pl.lit(received, pl.Int64),
    )
