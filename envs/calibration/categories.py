"""Give each purchase its category: by keyword rules on a description, or by a lookup table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from perennial.envs.calibration.tables import CalibrationError, read_table

if TYPE_CHECKING:
    import polars as pl

OTHER = "other"
"""The category of what no rule or row names."""


@dataclass(frozen=True)
class Rules:
    """Regular expressions searched in the upper-case text, in order; the first that matches gives the category."""

    rules: tuple[tuple[str, re.Pattern[str]], ...]

    @property
    def names(self) -> list[str]:
        """The categories in the order of their rules, `other` last."""
        return [*dict.fromkeys(name for name, _ in self.rules if name != OTHER), OTHER]

    def categories_of(self, texts: Sequence[str]) -> list[str]:
        """The category of each of `texts`."""
        return [next((n for n, r in self.rules if r.search(t.upper())), OTHER) for t in texts]


@dataclass(frozen=True)
class Lookup:
    """A table from the log's own category to ours; what it does not hold is `other`."""

    table: dict[str, str]

    @property
    def names(self) -> list[str]:
        """The categories by name, `other` last."""
        return [*sorted(set(self.table.values()) - {OTHER}), OTHER]

    def categories_of(self, texts: Sequence[str]) -> list[str]:
        """The category of each of `texts`."""
        return [self.table.get(t, OTHER) for t in texts]


def read_categories(path: Path) -> Rules | Lookup:
    """A rules file (columns: order, category, regex) or a lookup table (columns: category, department).

    The column names do not matter: a first column of whole numbers makes it a rules file.
    """
    table = read_table(path, "categories")
    if table.width >= 3 and table.to_series(0).dtype.is_integer():
        return _rules(table)
    if table.width >= 2:
        return Lookup(dict(zip(_strings(table, 0), _strings(table, 1), strict=True)))
    raise CalibrationError(
        f"'categories' must hold rules (order, category, regex) or a lookup (category, department). "
        f"Got the columns {table.columns} in '{path}'. Add the missing column."
    )


def _rules(table: pl.DataFrame) -> Rules:
    ordered = table.sort(table.columns[0], maintain_order=True)
    rules = []
    for name, text in zip(_strings(ordered, 1), _strings(ordered, 2), strict=True):
        try:
            rules.append((name, re.compile(text)))
        except re.error as error:
            raise CalibrationError(
                f"'categories' must hold regular expressions in its third column. Got {text!r} for '{name}': {error}. "
                f"Correct the expression."
            ) from error
    return Rules(tuple(rules))


def _strings(table: pl.DataFrame, column: int) -> list[str]:
    import polars as pl

    return table.to_series(column).cast(pl.String).fill_null("").to_list()
