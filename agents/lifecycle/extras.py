"""Extras: what an agent noted while serving and needs to learn from it, kept in a table beside the pages.

Most agents note nothing, and have no such table. Each extra is a column of its own, numbers as they are: one number a
page, or lists in lists for an array of any shape, so that any reader of Delta Lake reads it and nothing is pickled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from perennial.agents.base import Feedback
from perennial.agents.lifecycle.intake import MAX_PAGES, page_keys

KEYS = ("visit", "page", "tick", "day", "block")
"""Columns that are no extras."""
STORABLE = ("bool", "int8", "int16", "int32", "int64", "float32", "float64")
"""Dtypes that Delta Lake holds bit for bit."""


def check_form(pages: Feedback, stored: Sequence[str]) -> None:
    """Raise unless the pages carry all `stored` extras or none, one row a page, in a dtype that the log can hold."""
    there = [name for name in stored if name in pages.extras]
    if not there:
        return
    if len(there) < len(stored):
        raise ValueError(
            f"'feedback.extras' must hold {', '.join(stored)}, or none of them. Got {', '.join(there)} only. Nothing "
            "was logged."
        )
    for name in there:
        array = pages.extras[name]
        if array.dtype.name not in STORABLE or array.shape[:1] != (len(pages),) or 0 in array.shape[1:]:
            raise ValueError(
                f"'feedback.extras[{name!r}]' must be one of {', '.join(STORABLE)}, of shape ({len(pages)}, ...) with "
                f"no empty axis. Got {array.dtype} of shape {array.shape}. Nothing was logged."
            )


def frame(parts: Sequence[Feedback], stored: Sequence[str], day: int) -> pl.DataFrame:
    """One row for each page of the `parts` that carry the `stored` extras, which entered the log on `day`."""
    noted = [part for part in parts if stored and all(name in part.extras for name in stored)]
    if not noted:
        return pl.DataFrame()
    pages = Feedback.concatenate(noted)
    columns = [pl.Series(name, getattr(pages.keys, name)) for name in ("visit", "page", "tick")]
    columns.append(pl.Series("day", np.full(len(pages), day, np.int32)))
    return pl.DataFrame([*columns, *(_column(name, pages.extras[name]) for name in stored)])


def concatenate(parts: Sequence[Feedback], stored: Sequence[str]) -> Feedback:
    """The pages of all `parts`; where some carry the `stored` extras and others do not, theirs are 0: nobody's.

    Such pages come from an agent that noted nothing, as one before this agent was deployed.
    """
    noted = [part for part in parts if stored and all(name in part.extras for name in stored)]
    if 0 < len(noted) < len(parts):
        like = {name: noted[0].extras[name] for name in stored}
        parts = [part if stored[0] in part.extras else _with_zeros(part, like) for part in parts]
    return Feedback.concatenate(list(parts))


def _with_zeros(pages: Feedback, like: Mapping[str, NDArray[Any]]) -> Feedback:
    zeros = {name: np.zeros((len(pages), *array.shape[1:]), array.dtype) for name, array in like.items()}
    return replace(pages, extras=pages.extras | zeros)


def joined(pages: Feedback, rows: pl.DataFrame | None) -> Feedback:
    """The pages with what `rows` hold of them, 0 where they hold nothing; without any extras if no page has a row."""
    if rows is None or len(rows) == 0 or len(pages) == 0:
        return pages
    keys, known = page_keys(pages), rows["visit"].to_numpy() * MAX_PAGES + rows["page"].to_numpy()
    order = np.argsort(known)
    place = order[np.minimum(np.searchsorted(known, keys, sorter=order), len(order) - 1)]
    there = known[place] == keys
    if not there.any():
        return pages
    found, names = rows[place[there]], [name for name in rows.columns if name not in KEYS]
    extras = _with_zeros(pages, {name: _array(found[name]) for name in names}).extras
    for name in names:
        extras[name][there] = _array(found[name])
    return replace(pages, extras=extras)


def _column(name: str, values: NDArray[Any]) -> pl.Series:
    """An array (P, ...) as a column: of numbers, or of lists in lists, as deep as it has further axes."""
    series = pl.Series(name, np.ascontiguousarray(values))
    kind: Any = pl.Series(np.empty(0, values.dtype)).dtype
    for _ in range(values.ndim - 1):
        kind = pl.List(kind)
    return series.cast(kind)


def _array(column: pl.Series) -> NDArray[Any]:
    """What `_column` made one of; `column` has a row at least, and all its rows have the shape of the first."""
    shape = [len(column)]
    while isinstance(column.dtype, pl.List):
        shape.append(int(column.list.len()[0]))
        column = column.explode()
    return np.array(column.to_numpy()).reshape(shape)
