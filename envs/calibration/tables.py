"""Read a log or a category table from CSV or Parquet, and say in one line what is wrong where it cannot be read."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

SUFFIXES = (".csv", ".csv.gz", ".parquet")


class CalibrationError(ValueError):
    """A log, a table or an option cannot be used; the message names it, what is allowed and the next step."""


def read_table(path: Path, option: str) -> pl.DataFrame:
    """The table in `path` (CSV, gzipped CSV or Parquet, told by the suffix), at least one row; `option` is its name."""
    import polars as pl

    if not path.is_file():
        raise CalibrationError(f"'{option}' must be a readable file. Got '{path}', which is no file. Check the path.")
    if not path.name.endswith(SUFFIXES):
        raise CalibrationError(f"'{option}' must end in one of {list(SUFFIXES)}. Got '{path.name}'. Convert the file.")
    try:
        if path.suffix == ".parquet":
            table = pl.read_parquet(path)
        else:
            table = pl.read_csv(path, try_parse_dates=True, infer_schema_length=10_000)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        kind = "Parquet" if path.suffix == ".parquet" else "UTF-8 CSV with a header line"
        raise CalibrationError(
            f"'{option}' must be a well-formed {kind} file. Got '{path}': {reason}. Export the file again."
        ) from error
    if table.height == 0:
        raise CalibrationError(f"'{option}' must hold at least one row. Got '{path}' with none. Export the file again.")
    return table


def pick_columns(
    table: pl.DataFrame, columns: Mapping[str, str], roles: Mapping[str, bool], option: str
) -> pl.DataFrame:
    """`table` with the columns renamed to their roles; `roles` maps each known role to whether it is required."""
    unknown = [role for role in columns if role not in roles]
    if unknown:
        raise CalibrationError(_unknown(option, "roles", unknown[0], list(roles)))
    missing = [role for role, required in roles.items() if required and role not in columns]
    if missing:
        raise CalibrationError(
            f"'{option}' must name a column for each of {[r for r, need in roles.items() if need]}. "
            f"Got none for '{missing[0]}'. Add {missing[0]}=COLUMN; the file has {table.columns}."
        )
    absent = [name for name in columns.values() if name not in table.columns]
    if absent:
        raise CalibrationError(_unknown(option, "columns of the file", absent[0], table.columns))
    return table.select(**columns)


def to_number(table: pl.DataFrame, role: str, option: str) -> pl.DataFrame:
    """`table` with the column `role` as float64; text that is no number is refused with its first row."""
    import polars as pl

    numbers = table[role].cast(pl.Float64, strict=False)
    wrong = (numbers.is_null() & table[role].is_not_null()).arg_max()
    if wrong is not None and numbers[wrong] is None and table[role][wrong] is not None:
        raise CalibrationError(
            f"'{option}': the column for '{role}' must hold numbers. Got {table[role][wrong]!r} in row {wrong + 1}. "
            f"Correct the file or name another column."
        )
    return table.with_columns(numbers.alias(role))


def to_time(table: pl.DataFrame, role: str, option: str) -> pl.DataFrame:
    """`table` with the column `role` as a naive Datetime; text is read as ISO 8601, dates become midnight."""
    import polars as pl

    column = table[role]
    if column.dtype in (pl.String, pl.Categorical):
        parsed = column.cast(pl.String).str.to_datetime(strict=False)
        wrong = (parsed.is_null() & column.is_not_null()).arg_max()
        if wrong is not None and parsed[wrong] is None and column[wrong] is not None:
            raise CalibrationError(
                f"'{option}': the column for '{role}' must hold dates or times as 2010-11-30 or 2010-11-30 19:35:00. "
                f"Got {column[wrong]!r} in row {wrong + 1}. Rewrite the column in that form."
            )
        column = parsed
    elif not column.dtype.is_temporal():
        raise CalibrationError(
            f"'{option}': the column for '{role}' must hold dates or times. Got the type {column.dtype}. "
            f"Name another column."
        )
    return table.with_columns(column.cast(pl.Datetime("us")).alias(role))


def _unknown(option: str, what: str, got: str, known: list[str]) -> str:
    near = get_close_matches(got, known, 1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return f"'{option}' must name {what}: {known}. Got '{got}'.{hint} Correct --{option}."
