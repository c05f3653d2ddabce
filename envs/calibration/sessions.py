"""How a visit goes in a click log: how many clicks, whether the next stays in the category, how deep clicks reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.envs.calibration.tables import CalibrationError, pick_columns, read_table, to_number

CLICK_ROLES = {"session": True, "order": True, "category": True, "product": True, "page": False}
"""What a column can mean, and whether it is required; see `perennial-calibrate visits --help`."""

MAX_CLICKS = 20
"""The go-on hazard is compared up to this number of clicks."""


@dataclass(frozen=True)
class ClickLog:
    """S sessions with N clicks in order of session and time.

    ``session`` int64 (N,) from 0; ``category`` int64 (N,) from 0; ``product`` int64 (N,) from 0;
    ``page`` float64 (N,): the page of the listing that shows the product, from 1, NaN = unknown.
    """

    session: NDArray[np.int64]
    category: NDArray[np.int64]
    product: NDArray[np.int64]
    page: NDArray[np.float64]


@dataclass(frozen=True)
class SessionFacts:
    """What the visit model has to reproduce, among sessions with a click.

    ``go_on`` float64 (MAX_CLICKS,): P(another click | at least k clicks), k = 1, 2, ...; ``same_category``: share of
    next clicks in the category of the last; ``category_share`` float64 (C,); ``depth``: clicks per product on page 2
    over those on page 1, NaN = unknown; ``sizes`` int64 (S,): clicks of each session.
    """

    go_on: NDArray[np.float64]
    same_category: float
    category_share: NDArray[np.float64]
    depth: float
    sizes: NDArray[np.int64]


def read_clicks(path: Path, columns: Mapping[str, str]) -> ClickLog:
    """Read the click log in `path`; `columns` maps roles (see `CLICK_ROLES`) to the file's columns."""
    import polars as pl

    table = pick_columns(read_table(path, "clicks"), columns, CLICK_ROLES, "columns")
    for role in ("order", "page"):
        if role in table.columns:
            table = to_number(table, role, "columns")
    table = table.drop_nulls().sort("session", "order")
    if table.height == 0:
        raise CalibrationError(f"'clicks' must keep at least one row after cleaning. Got none in '{path}'.")
    page = table["page"].to_numpy() if "page" in table.columns else np.full(table.height, np.nan)
    category, product = (_numbered(table[role].cast(pl.String).to_numpy()) for role in ("category", "product"))
    return ClickLog(
        session=_numbered(table["session"].to_numpy()),
        category=category,
        product=product,
        page=page.astype(np.float64),
    )


def _numbered(values: NDArray[Any]) -> NDArray[np.int64]:
    return np.asarray(np.unique(values, return_inverse=True)[1], dtype=np.int64)


def session_facts(log: ClickLog) -> SessionFacts:
    """Measure a click log."""
    sizes = np.bincount(log.session)
    reached = np.array([(sizes >= k).sum() for k in range(1, MAX_CLICKS + 2)])
    follows = np.diff(log.session) == 0
    categories = np.bincount(log.category)
    return SessionFacts(
        go_on=reached[1:] / np.maximum(reached[:-1], 1),
        same_category=float((np.diff(log.category) == 0)[follows].mean()),
        category_share=categories / categories.sum(),
        depth=depth(log),
        sizes=sizes,
    )


def depth(log: ClickLog) -> float:
    """Clicks per product shown on page 2 over clicks per product on page 1; NaN where the log has no two pages.

    Product and page are confounded in a shop with a fixed listing (good products first): a prior, not the truth.
    """
    _, first = np.unique(log.product, return_index=True)
    made = [(log.page == page).sum() / max((log.page[first] == page).sum(), 1) for page in (1, 2)]
    return float(made[1] / made[0]) if min(made) > 0 else float("nan")


def size_figures(sizes: NDArray[np.int64]) -> dict[str, float]:
    """Single-click share, median, mean and 90th percentile of clicks a session."""
    return {
        "single_click_share": float((sizes == 1).mean()),
        "clicks_median": float(np.median(sizes)),
        "clicks_mean": float(sizes.mean()),
        "clicks_p90": float(np.quantile(sizes, 0.9)),
    }
