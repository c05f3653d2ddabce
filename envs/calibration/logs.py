"""Read and clean a shop's purchase log: one row a bought product, grouped into orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from perennial.envs.calibration.categories import Lookup, Rules, read_categories
from perennial.envs.calibration.tables import CalibrationError, pick_columns, read_table, to_number, to_time
from perennial.envs.preset import EPOCH

if TYPE_CHECKING:
    import polars as pl

ROLES = {"user": True, "time": True, "price": True, "text": True, "order": False, "item": False, "quantity": False}
"""What a column can mean, and whether it is required; see `perennial-calibrate shop --help`."""


@dataclass(frozen=True)
class PurchaseLog:
    """A clean log of R bought products in O orders; all arrays are aligned with the rows or the orders.

    ``category`` int64 (R,) index into ``categories``; ``item`` int64 (R,) a product's number from 0;
    ``price`` float64 (R,) > 0; ``order`` int64 (R,) index of the row's order, orders numbered by time;
    ``order_day`` int64 (O,) days since `EPOCH`; ``order_hour`` int64 (O,) in [0, 24), all 0 in a log of dates;
    ``order_user`` int64 (O,) a customer's number from 0, -1 = unknown; ``dropped`` rows that cleaning took out.
    """

    categories: list[str]
    category: NDArray[np.int64]
    item: NDArray[np.int64]
    price: NDArray[np.float64]
    order: NDArray[np.int64]
    order_day: NDArray[np.int64]
    order_hour: NDArray[np.int64]
    order_user: NDArray[np.int64]
    dropped: int

    @property
    def days(self) -> int:
        """Days from the first order to the last, both included."""
        return int(self.order_day[-1] - self.order_day[0] + 1)

    @property
    def baskets(self) -> NDArray[np.float64]:
        """float64 (O, C): how many products of each category an order holds."""
        counts = np.zeros((len(self.order_day), len(self.categories)))
        np.add.at(counts, (self.order, self.category), 1.0)
        return counts

    def in_years(self, first: float, last: float) -> NDArray[np.bool_]:
        """bool (O,): orders made at least `first` and less than `last` years of 365 days after the first order."""
        age = (self.order_day - self.order_day[0]) / 365
        return (age >= first) & (age < last)


def part(log: PurchaseLog, orders: NDArray[np.bool_]) -> PurchaseLog:
    """The log of some of its `orders` bool (O,)."""
    rows, number = orders[log.order], np.cumsum(orders) - 1
    return replace(
        log,
        category=log.category[rows],
        item=log.item[rows],
        price=log.price[rows],
        order=number[log.order[rows]],
        order_day=log.order_day[orders],
        order_hour=log.order_hour[orders],
        order_user=log.order_user[orders],
    )


def read_purchases(
    path: Path,
    columns: Mapping[str, str],
    categories: Path,
    drop: Sequence[str] = (),
    since: date | None = None,
    until: date | None = None,
    cancelled: str = "",
) -> PurchaseLog:
    """Read the log in `path`, keep rows sold (quantity and price above 0, order not `cancelled`), give categories.

    `columns` maps roles (see `ROLES`) to the file's columns; without `order`, a user's purchases of one day are an
    order; without `item`, a text is a product; `drop` names categories that are no goods (postage, fees);
    `since` and `until` are the first and the last day kept.
    """
    table = pick_columns(read_table(path, "purchases"), columns, ROLES, "columns")
    rows = table.height
    table = _sold(_typed(table), cancelled, since, until)
    mapping = read_categories(categories)
    table, names = _categorised(table, mapping, drop)
    if table.height == 0:
        raise CalibrationError(
            f"'purchases' must keep at least one row after cleaning. Got none of {rows} in '{path}'. "
            f"Check --columns, --from, --to and --drop-category."
        )
    return _as_log(table, names, rows - table.height)


def _typed(table: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    table = to_time(to_number(table, "price", "columns"), "time", "columns")
    if "quantity" in table.columns:
        table = to_number(table, "quantity", "columns").filter(pl.col("quantity") > 0)
    words = [c for c in ("user", "order", "item", "text") if c in table.columns]
    return table.with_columns(pl.col(words).cast(pl.String)).with_columns(pl.col("text").fill_null(""))


def _sold(table: pl.DataFrame, cancelled: str, since: date | None, until: date | None) -> pl.DataFrame:
    import polars as pl

    table = table.filter((pl.col("price") > 0) & pl.col("price").is_finite() & pl.col("time").is_not_null())
    if since is not None:
        table = table.filter(pl.col("time").dt.date() >= since)
    if until is not None:
        table = table.filter(pl.col("time").dt.date() <= until)
    if cancelled and "order" in table.columns:
        table = table.filter(~pl.col("order").str.starts_with(cancelled))
    return table


def _categorised(table: pl.DataFrame, mapping: Rules | Lookup, drop: Sequence[str]) -> tuple[pl.DataFrame, list[str]]:
    import polars as pl

    unknown = [name for name in drop if name not in mapping.names]
    if unknown:
        raise CalibrationError(
            f"'drop-category' must be one of {mapping.names}. Got '{unknown[0]}'. Correct --drop-category."
        )
    texts = table["text"].unique().sort().to_list()
    given = mapping.categories_of(texts)
    table = table.with_columns(
        pl.col("text").replace_strict(texts, given, return_dtype=pl.String).alias("category")
    ).filter(~pl.col("category").is_in(list(drop)))
    seen = set(table["category"].unique())
    return table, [name for name in mapping.names if name in seen]


def _as_log(table: pl.DataFrame, names: list[str], dropped: int) -> PurchaseLog:
    import polars as pl

    table = table.with_columns(
        (pl.col("time").dt.date() - date.fromisoformat(EPOCH)).dt.total_days().alias("day"),
        pl.col("time").dt.hour().cast(pl.Int64).alias("hour"),
    )
    if "order" not in table.columns:
        table = table.with_columns(pl.format("{} {}", pl.col("user").fill_null("?"), pl.col("day")).alias("order"))
    table = table.sort("time", "order", "text", "price", maintain_order=True)
    first = table.unique("order", keep="first", maintain_order=True).with_row_index("number")
    table = table.join(first.select("order", "number"), on="order", how="left", maintain_order="left")
    item = "item" if "item" in table.columns else "text"
    return PurchaseLog(
        categories=names,
        category=table["category"].replace_strict(names, range(len(names)), return_dtype=pl.Int64).to_numpy(),
        item=_numbered(table[item]),
        price=table["price"].to_numpy(),
        order=table["number"].cast(pl.Int64).to_numpy(),
        order_day=first["day"].cast(pl.Int64).to_numpy(),
        order_hour=first["hour"].to_numpy(),
        order_user=_numbered(first["user"]),
        dropped=dropped,
    )


def _numbered(column: pl.Series) -> NDArray[np.int64]:
    """int64: each value's number in sorted order, from 0; null is -1."""
    import polars as pl

    values = column.drop_nulls().unique().sort()
    numbers = column.replace_strict(values, range(len(values)), default=None, return_dtype=pl.Int64)
    return numbers.fill_null(-1).to_numpy()
