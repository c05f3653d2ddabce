"""How a visit goes in a click log: how many clicks, whether the next stays in the category, how deep clicks reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.envs.calibration.tables import CalibrationError, pick_columns, read_table, to_number

CLICK_ROLES = {"session": True, "order": True, "category": True, "product": True, "page": False, "cell": False}
"""What a column can mean, and whether it is required; see `perennial-calibrate visits --help`."""

MAX_CLICKS = 20
"""The go-on hazard is compared up to this number of clicks."""


@dataclass(frozen=True)
class ClickLog:
    """S sessions with N clicks in order of session and time.

    ``session`` int64 (N,) from 0; ``category`` int64 (N,) from 0; ``product`` int64 (N,) from 0;
    ``rank`` float64 (N,): the product's place in its category's listing, NaN = unknown.
    """

    session: NDArray[np.int64]
    category: NDArray[np.int64]
    product: NDArray[np.int64]
    rank: NDArray[np.float64]


@dataclass(frozen=True)
class SessionFacts:
    """What the visit model has to reproduce, among sessions with a click.

    ``go_on`` float64 (MAX_CLICKS,): P(another click | at least k clicks), k = 1, 2, ...; ``same_category``: share of
    next clicks in the category of the last; ``category_share`` float64 (C,); ``depth_slope``: slope of the log of
    clicks per product against the product's place in the listing; ``sizes`` int64 (S,): clicks of each session.
    """

    go_on: NDArray[np.float64]
    same_category: float
    category_share: NDArray[np.float64]
    depth_slope: float
    sizes: NDArray[np.int64]


def read_clicks(path: Path, columns: Mapping[str, str]) -> ClickLog:
    """Read the click log in `path`; `columns` maps roles (see `CLICK_ROLES`) to the file's columns."""
    import polars as pl

    table = pick_columns(read_table(path, "clicks"), columns, CLICK_ROLES, "columns")
    for role in ("order", "page", "cell"):
        if role in table.columns:
            table = to_number(table, role, "columns")
    table = table.drop_nulls().sort("session", "order")
    if table.height == 0:
        raise CalibrationError(f"'clicks' must keep at least one row after cleaning. Got none in '{path}'.")
    place = table.select(
        (pl.col("page") if "page" in table.columns else pl.lit(None, pl.Float64)).alias("page"),
        (pl.col("cell") if "cell" in table.columns else pl.lit(1.0)).alias("cell"),
    )
    category, product = (_numbered(table[role].cast(pl.String).to_numpy()) for role in ("category", "product"))
    return ClickLog(
        session=_numbered(table["session"].to_numpy()),
        category=category,
        product=product,
        rank=listing_rank(category, product, place["page"].to_numpy(), place["cell"].to_numpy()),
    )


def _numbered(values: NDArray[Any]) -> NDArray[np.int64]:
    return np.asarray(np.unique(values, return_inverse=True)[1], dtype=np.int64)


def listing_rank(
    category: NDArray[np.int64], product: NDArray[np.int64], page: NDArray[np.float64], cell: NDArray[np.float64]
) -> NDArray[np.float64]:
    """float64 (N,): the product's mean place, from 0, in its category's listing read page by page, cell by cell.

    A page of the listing holds as many products as the fullest (category, page); its cells share them equally.
    """
    _, first = np.unique(product, return_index=True)
    pairs = np.stack([category[first], page[first]])
    per_page = np.unique(pairs, axis=1, return_counts=True)[1].max()
    cells = np.nanmax(cell)
    return np.asarray((page - 1) * per_page + (cell - 0.5) * per_page / cells - 0.5)


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
        depth_slope=depth_slope(log),
        sizes=sizes,
    )


def depth_slope(log: ClickLog) -> float:
    """Slope of log clicks per product on its place in the listing, with a constant per category; least squares.

    Product and place are confounded in a shop with a fixed listing (good products first): a prior, not the truth.
    """
    _, first, clicks = np.unique(log.product, return_index=True, return_counts=True)
    rank, category = log.rank[first], log.category[first]
    if np.isnan(rank).any():
        return 0.0
    design = np.column_stack([np.eye(category.max() + 1)[category], rank])
    return float(np.linalg.lstsq(design, np.log(clicks), rcond=None)[0][-1])


def size_figures(sizes: NDArray[np.int64]) -> dict[str, float]:
    """Single-click share, median, mean and 90th percentile of clicks a session."""
    return {
        "single_click_share": float((sizes == 1).mean()),
        "clicks_median": float(np.median(sizes)),
        "clicks_mean": float(sizes.mean()),
        "clicks_p90": float(np.quantile(sizes, 0.9)),
    }
