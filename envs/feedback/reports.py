"""Reports on their way from the shop's pages to its log, and the noise that may befall them."""

# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False, check-untyped-defs=False
# (numba infers the kernel's types; its docstring states them)

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from perennial.envs.compiled import kernel
from perennial.envs.random_numbers import FEEDBACK, draw, unit

CART, PURCHASE = 0, 1
"""Kinds of conversions."""

PER_REPORT = ("row", "copy", "due", "clicked", "carted", "purchased", "not_interested")
"""What `Reports` hold for each report."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Answer(Protocol):
    """What the visitors of B pages did in their K slots, bool (B, K) each; see `perennial.envs.world.Response`."""

    @property
    def clicked(self) -> Flags: ...

    @property
    def carted(self) -> Flags: ...

    @property
    def purchased(self) -> Flags: ...

    @property
    def not_interested(self) -> Flags: ...


@dataclass(frozen=True)
class Told:
    """S conversions told by themselves, int64 (S,) each.

    ``row``: which page earned it, ``slot``: where on it. ``kind``: CART or PURCHASE. ``copy``: 0 for the first telling.
    ``due``: the hour at which it arrives.
    """

    row: Ints
    slot: Ints
    kind: Ints
    copy: Ints
    due: Ints

    def __len__(self) -> int:
        return len(self.row)

    def take(self, rows: NDArray[Any]) -> Told:
        """Those in `rows` (indices or a mask), in that order."""
        return Told(*(getattr(self, f.name)[rows] for f in fields(self)))

    def __add__(self, other: Told) -> Told:
        return Told(*(np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)))


@dataclass(frozen=True)
class Reports:
    """What is on its way to the log about B pages: R reports of pages, and conversions told by themselves.

    Of the pages, int64 (B,): ``visit``, ``page``, ``tick``. Of the reports, int64 (R,): ``row`` which page, ``copy`` 0
    for the first report of a page, ``due`` the hour at which it arrives; and what it says of the page's slots, bool
    (R, K): ``clicked``, ``carted``, ``purchased``, ``not_interested``.
    """

    visit: Ints
    page: Ints
    tick: Ints
    row: Ints
    copy: Ints
    due: Ints
    clicked: Flags
    carted: Flags
    purchased: Flags
    not_interested: Flags
    told: Told

    @staticmethod
    def of(keys: Mapping[str, NDArray[Any]], answer: Answer) -> Reports:
        """What there is to report of the pages `keys` (see `World.keys`): every page at once, once and in full."""
        visit, page, tick = (keys[name].astype(np.int64) for name in ("visit", "page", "tick"))
        row, nothing = np.arange(len(visit)), np.empty(0, np.int64)
        outcomes = answer.clicked, answer.carted, answer.purchased, answer.not_interested
        told = Told(*(nothing for _ in fields(Told)))
        return Reports(visit, page, tick, row, np.zeros_like(row), tick.copy(), *outcomes, told)

    def __len__(self) -> int:
        return len(self.row)

    def take(self, rows: NDArray[Any]) -> Reports:
        """The reports of pages in `rows` (indices or a mask), in that order; all that is told stays."""
        return replace(self, **{name: getattr(self, name)[rows] for name in PER_REPORT})

    def __add__(self, other: Reports) -> Reports:
        """The reports of both, which are about the same pages."""
        joined = {name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in PER_REPORT}
        return replace(self, **joined, told=self.told + other.told)

    def reward(self, weights: NDArray[np.float64]) -> NDArray[np.float32]:
        """float32 (R,): what the page earned according to each report; `weights` see `Reward.weights`."""
        flags = (self.clicked, self.carted, self.purchased, self.not_interested)
        click, cart, purchase, annoyed = (weight * f.sum(axis=1) for weight, f in zip(weights, flags, strict=True))
        return (click + cart + purchase - annoyed).astype(np.float32)


@dataclass(frozen=True)
class Noise:
    """The world's noise for reports: `key` as `random_numbers.key_of` makes it."""

    key: NDArray[np.uint64]

    def of_pages(self, stream: int, reports: Reports) -> Floats:
        """float64 (R, 4) in (0, 1) for each report, by its page and copy; a `stream` for each fault."""
        return self._draw(stream, reports, reports.row, reports.copy, 0)

    def of_visits(self, stream: int, reports: Reports) -> Floats:
        """float64 (R, 4), the same for all reports of a visit."""
        visit = reports.visit[reports.row]
        return uniforms(self.key, visit, np.full(len(visit), VISIT), np.full(len(visit), stream << STREAM))

    def of_slots(self, stream: int, reports: Reports) -> Floats:
        """float64 (R, K, 4) for each slot of each page, the same for all its copies."""
        slots = reports.clicked.shape[1]
        place = np.tile(np.arange(slots), len(reports)) + 1
        return self._draw(stream, reports, np.repeat(reports.row, slots), 0, place).reshape(-1, slots, 4)

    def of_conversions(self, stream: int, reports: Reports, report: Ints, slot: Ints, kind: int) -> Floats:
        """float64 (n, 4) for conversions of a kind in `slot` of reports number `report`; the same for all copies."""
        return self._draw(stream, reports, reports.row[report], 0, (kind + 2) * MOST_SLOTS + slot)

    def of_told(self, stream: int, reports: Reports) -> Floats:
        """float64 (S, 4) for each conversion told by itself, by its slot, kind and copy."""
        told = reports.told
        return self._draw(stream, reports, told.row, told.copy, (told.kind + 2) * MOST_SLOTS + told.slot)

    def _draw(self, stream: int, reports: Reports, row: Ints, copy: Ints | int, place: Ints | int) -> Floats:
        """The last word of the counter: stream below 256, copy below 256, place below 65536."""
        where = np.full(len(row), (stream << STREAM) | (np.asarray(copy) << COPY) | place)
        drawn: Floats = uniforms(self.key, reports.visit[row], reports.page[row], where)
        return drawn


STREAM, COPY = 24, 16
MOST_SLOTS = 2**13
VISIT = 2**24 - 1
"""Stands for the page in draws that are about a whole visit."""


@kernel
def uniforms(key, visit, page, where):
    """float64 (n, 4) in (0, 1): draws of FEEDBACK for `visit`, `page`, `where` int64 (n,) each."""
    drawn = np.empty((visit.size, 4))
    for n in range(visit.size):
        a, b, c, d = draw(key, FEEDBACK, visit[n], page[n], where[n])
        drawn[n, 0], drawn[n, 1], drawn[n, 2], drawn[n, 3] = unit(a), unit(b), unit(c), unit(d)
    return drawn
