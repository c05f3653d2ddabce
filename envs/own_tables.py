"""Catalogues and visitors of one's own, from Parquet or CSV tables, in place of the generated ones.

Data dictionary. One row an item, or one row a visitor; ids are row numbers. Columns that are not given are generated in
the preset's image, from those that are; unknown columns are refused.

A catalogue:

===============  ========  ===================================================================================
column           required  meaning
===============  ========  ===================================================================================
category         yes       name of one of the preset's categories, or its number from 0
price            yes       > 0, in the currency of the preset
appeal           no        logits added to the attraction for everybody; generated ones have a spread of .4
quality          no        in [0, 1]: what the visitor thinks of it after the click
launch, retire   no        on sale from launch (included) to retire (excluded): dates, as 2010-11-30, or days since
                           2010-01-01; empty = always
provider         no        number of whose item it is, from 0
latent_0 ...     no        latent qualities, all or none; entries of variance 1 / d for the generated visitors
feature_0 ...    no        the 16 observable features, all or none
===============  ========  ===================================================================================

Visitors:

=================  ====================================================================================================
column             meaning (none is required; a table of one column will do)
=================  ====================================================================================================
activity           > 0, relative rate of visits
taste_<category>   >= 0, weight of the category among what this visitor likes, all or none; scaled to sum 1
price_sensitivity  >= 0, fall of the logit with one standard deviation of log price in the category
sensitivity        >= 0, to the season, mean about 1
segment            0 or 1, which part of the population a drift may favour
protected          0 or 1, the attribute that no observation shows
latent_0 ...       latent wants, all or none, as many as the catalogue's
feature_0 ...      the 16 observable attributes, all or none
=================  ====================================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from perennial.envs import catalogue, visitors
from perennial.envs.catalogue import Catalogue, generate_catalogue
from perennial.envs.preset import EPOCH, Preset
from perennial.envs.visitors import Visitors, generate_visitors

if TYPE_CHECKING:
    import polars as pl

Columns = dict[str, NDArray[Any]]

ITEM_COLUMNS = ("category", "price", "appeal", "quality", "launch", "retire", "provider")
VISITOR_COLUMNS = ("activity", "price_sensitivity", "sensitivity", "segment", "protected")


class TableError(ValueError):
    """A table cannot be used; the message names the column, what is allowed, what came and the next step."""


def read_catalogue(path: str | Path, preset: Preset, dim: int = 16, seed: int = 0) -> Catalogue:
    """The catalogue in `path`; `dim` latent columns are generated where it has none. Raises TableError."""
    table = _read(path, "catalogue", ITEM_COLUMNS, ())
    for column in ("category", "price"):
        if column not in table.columns:
            raise TableError(f"'catalogue' must have a column '{column}'. Got {table.columns}. Add it to '{path}'.")
    given: Columns = {"category": _categories(table["category"], preset)}
    limits = {"price": (0.0, np.inf), "appeal": (-np.inf, np.inf), "quality": (0.0, 1.0), "provider": (0.0, 2**31 - 1)}
    given |= _numbers(table, "catalogue", limits)
    if (given["price"] == 0).any():
        raise TableError("'catalogue.price' must be > 0. Got 0. Drop such items or correct their prices.")
    given |= {name: _days(table[name], name) for name in ("launch", "retire") if name in table.columns}
    given |= _blocks(table, "catalogue", catalogue.FEATURES)
    return generate_catalogue(preset, table.height, dim, seed, given)


def read_visitors(path: str | Path, preset: Preset, dim: int = 16, seed: int = 0) -> Visitors:
    """The visitors in `path`; `dim` latent columns are generated where it has none. Raises TableError."""
    tastes = [f"taste_{name}" for name in preset.categories]
    table = _read(path, "visitors", VISITOR_COLUMNS, tastes)
    limits = dict.fromkeys(("activity", "price_sensitivity", "sensitivity"), (0.0, np.inf))
    given = _numbers(table, "visitors", limits | {"segment": (0.0, 1.0), "protected": (0.0, 1.0)})
    if "activity" in given and not (given["activity"] > 0).all():
        raise TableError("'visitors.activity' must be > 0. Got 0. Drop who never comes.")
    named = [name for name in tastes if name in table.columns]
    if named:
        if len(named) < len(tastes):
            missing = next(name for name in tastes if name not in named)
            raise TableError(f"'visitors' must have all taste columns or none. Got no '{missing}'. Add it.")
        weights = np.stack([_number(table, name, "visitors", 0.0, np.inf) for name in tastes], axis=1)
        if not (weights.sum(axis=1) > 0).all():
            row = int((weights.sum(axis=1) <= 0).argmax())
            raise TableError(f"'visitors' must like something: the taste columns of row {row + 1} are all 0.")
        given["share"] = weights / weights.sum(axis=1, keepdims=True)
    given |= _blocks(table, "visitors", visitors.FEATURES)
    return generate_visitors(preset, table.height, dim, seed, given)


def _read(path: str | Path, option: str, known: tuple[str, ...], more: Any) -> pl.DataFrame:
    """The table in `path`, its columns all known."""
    from perennial.envs.calibration.tables import read_table

    table = read_table(Path(path), option)
    names = [*known, *more]
    for column in table.columns:
        if column not in names and not re.fullmatch(r"(latent|feature)_\d+", column):
            near = get_close_matches(column, names, 1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise TableError(
                f"'{option}' may have the columns {names}, latent_0 ... and feature_0 ... Got '{column}'.{hint}"
            )
    return table


def _categories(column: pl.Series, preset: Preset) -> NDArray[np.int32]:
    """int32 (N,): numbers of the categories, given by name or number."""
    place = {name: n for n, name in enumerate(preset.categories)}
    place |= {str(n): n for n in range(len(preset.categories))}
    numbers = [place.get(str(value)) for value in column.to_list()]
    if None in numbers:
        row = numbers.index(None)
        near = get_close_matches(str(column[row]), preset.categories, 1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise TableError(
            f"'catalogue.category' must name one of {preset.categories}. Got {column[row]!r} in row {row + 1}.{hint}"
        )
    return np.array(numbers, np.int32)


def _numbers(table: pl.DataFrame, option: str, limits: Mapping[str, tuple[float, float]]) -> Columns:
    return {name: _number(table, name, option, *ends) for name, ends in limits.items() if name in table.columns}


def _number(table: pl.DataFrame, name: str, option: str, low: float, high: float) -> NDArray[np.float64]:
    """float64: the column `name`, all finite and within [low, high]."""
    from perennial.envs.calibration.tables import to_number

    values = to_number(table, name, option)[name].to_numpy().astype(np.float64)
    wrong = ~(np.isfinite(values) & (values >= low) & (values <= high))
    if wrong.any():
        row = int(wrong.argmax())
        raise TableError(
            f"'{option}.{name}' must hold numbers in [{low:g}, {high:g}]. Got {values[row]} in row {row + 1}."
        )
    return values


def _days(column: pl.Series, name: str) -> NDArray[np.float64]:
    """float64 (N,): days since the epoch, from dates or numbers; empty launches are -inf, empty retirements inf."""
    import polars as pl

    try:
        if column.dtype == pl.String:
            column = column.str.to_date()
        if column.dtype.is_temporal():
            column = (column.cast(pl.Date) - pl.Series([EPOCH]).str.to_date()).dt.total_days()
        days = column.cast(pl.Float64)
    except pl.exceptions.PolarsError as error:
        raise TableError(f"'catalogue.{name}' must hold dates, as 2010-11-30, or days. Got: {error}.") from error
    return np.asarray(days.fill_null(-np.inf if name == "launch" else np.inf).to_numpy(), np.float64)


def _blocks(table: pl.DataFrame, option: str, features: int) -> Columns:
    """Latents and features, each as one array (rows, columns), if given."""
    found: Columns = {}
    for kind, wanted in (("latent", None), ("feature", features)):
        count = sum(column.startswith(f"{kind}_") for column in table.columns)
        if count == 0:
            continue
        names = [f"{kind}_{n}" for n in range(count if wanted is None else wanted)]
        missing = [name for name in names if name not in table.columns]
        if missing or count != len(names):
            raise TableError(
                f"'{option}' must have {kind}_0 to {names[-1]} or none of them. Got {count}: see {missing[:1]}."
            )
        parts = [_number(table, name, option, -np.inf, np.inf) for name in names]
        found["features" if kind == "feature" else kind] = np.stack(parts, axis=1)
    return found
