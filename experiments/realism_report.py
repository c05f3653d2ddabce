"""The realism report of `perennial-calibrate`: print the tables, write them as Markdown or JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from perennial.envs.calibration.recipes import SHOPS, VISITS
from perennial.envs.calibration.tables import CalibrationError
from perennial.envs.preset import Preset, load_preset
from perennial.experiments.console import wide_console

if TYPE_CHECKING:
    from perennial.envs.calibration.logs import PurchaseLog
    from perennial.experiments.tables import Table

SEEDS = (1, 2, 3)
"""Of the worlds of the reference policy; the presets were fitted in world 0."""

NOTE = (
    "Under the reference policy (uniform slates over season-blind candidates) unless a column says otherwise; noise "
    "taken off on both sides. No open log joins season and clicks: that the season moves what is clicked is assumed."
)


def all_tables(data: Path, workers: int) -> list[Table]:
    """Every part of the report whose log lies in a folder of `data`, then what needs no log."""
    from perennial.envs.drift.fits import load_drift_fits
    from perennial.experiments.realism_tables import provenance_table, years_table

    folders = {shop.folder: shop.name for shop in SHOPS.values()} | {log.folder: log.name for log in VISITS.values()}
    there = [name for name in folders if (data / name).is_dir()]
    if not there:
        raise CalibrationError(
            f"'data' must be a folder that holds some of the folders {list(folders)}. Got '{data}' with none of them. "
            f"Name the folder above the logs'."
        )
    found: list[Table] = []
    for folder in folders:
        if folder not in there:
            _say(f"left out: no folder '{folder}' in '{data}'")
            continue
        found += tables_of(folders[folder], data / folder, workers)
    return [*found, years_table(load_drift_fits()), provenance_table()]


def tables_of(name: str, folder: Path, workers: int, preset: Preset | None = None) -> list[Table]:
    """The tables of the log called `name` in `SHOPS` or `VISITS`, for `preset` (None: the committed one)."""
    _say(f"{name}: reading the log, playing {len(SEEDS)} worlds and the other policies (some minutes)")
    if name in SHOPS:
        return shop_report(SHOPS[name].read(folder), load_preset(name) if preset is None else preset, workers)
    from perennial.experiments.realism import visit_realism
    from perennial.experiments.realism_tables import visit_tables

    return visit_tables(visit_realism(VISITS[name].read(folder), SEEDS, workers))


def shop_report(log: PurchaseLog, preset: Preset, workers: int) -> list[Table]:
    """The tables of a shop's log and the preset fitted to it."""
    from perennial.experiments.realism import shop_realism
    from perennial.experiments.realism_tables import shop_tables

    if log.categories != preset.categories:
        raise CalibrationError(
            f"'preset' must have the log's categories: {log.categories}. Got '{preset.name}' with {preset.categories}. "
            f"Fit a preset to this log first."
        )
    return shop_tables(shop_realism(log, preset, SEEDS, workers))


def read_preset(path: Path) -> Preset:
    """The preset in the file `path`, as `perennial-calibrate` wrote it."""
    try:
        return Preset.from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CalibrationError(
            f"'preset' must be a file that perennial-calibrate wrote. Got '{path}': {reason}. Fit it first."
        ) from error


def show(tables: Sequence[Table]) -> None:
    """Print all tables and how many bars are met."""
    from perennial.experiments.realism_tables import bars_of

    console = wide_console()
    for table in tables:
        console.print(table.rich())
    console.print(NOTE, bars_of(tables).verdict, sep="\n", highlight=False)


def text_of(tables: Sequence[Table], out: Path) -> str:
    """The report as Markdown, or as JSON with every number to its last digit, told by the suffix of `out`."""
    from perennial.experiments.realism_tables import bars_of

    bars = bars_of(tables)
    if out.suffix == ".json":
        body = {"tables": {table.title: table.plain() for table in tables}, "met": bars.met, "missed": bars.missed}
        return json.dumps(body, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return "\n".join(["# Realism report", "", NOTE, "", bars.verdict, "", *(table.markdown() for table in tables)])


def check_out(out: Path | None) -> None:
    """Refuse a file that is neither Markdown nor JSON."""
    if out is not None and out.suffix not in {".md", ".json"}:
        raise CalibrationError(f"'out' of a report must end in .md or .json. Got '{out}'. Name another file.")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
