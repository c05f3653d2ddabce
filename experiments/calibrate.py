"""`perennial-calibrate`: fit a preset to a purchase log, or the visit model to a click log; report how real they are.

Data dictionary. A purchase log (CSV, gzipped CSV or Parquet) has one row a bought product:

==========  ========  =========================================================================================
role        required  meaning
==========  ========  =========================================================================================
user        yes       the customer, any value; empty = unknown (the row counts for the season, not for tastes)
time        yes       when, as 2010-11-30 or 2010-11-30 19:35:00; from dates alone the hour profile is uniform
text        yes       what the category is found by: a description (rules) or the shop's own category (lookup)
price       yes       price of one piece, any currency; rows at 0 or below are dropped
order       no        the order; without it a user's purchases of one day are one order
item        no        the product; without it each text is a product
quantity    no        pieces; rows at 0 or below (returns) are dropped
==========  ========  =========================================================================================

The categories' file holds either rules (order, category, regex: searched in the upper-case text, the first match wins)
or a lookup table (text, category); what neither knows is "other".

A click log has one row a click on a product: session (yes), order (yes, number of the click within the session),
category (yes), product (yes), page (no, of the listing that shows the product, from 1).

With --report nothing is fitted: two simulated years under the committed preset (or --preset) are held against the log
they were fitted to. `perennial-calibrate --report --data DIR` does so for all logs in the folders of DIR.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from perennial.experiments.threads import one_thread

one_thread()  # here and not in main: the imports below bring NumPy, which reads the number of threads once

from perennial.envs.calibration.recipes import SHOPS, VISITS  # noqa: E402
from perennial.envs.calibration.tables import CalibrationError  # noqa: E402
from perennial.envs.preset import Source, load_visit_model, visit_model_to_json  # noqa: E402

if TYPE_CHECKING:
    from perennial.envs.calibration.goodness import Row
    from perennial.envs.calibration.logs import PurchaseLog
    from perennial.envs.calibration.sessions import ClickLog

PROGRAM = "perennial-calibrate"


def main(arguments: Sequence[str] | None = None) -> int:
    """Read a log, fit, print the goodness of fit, write the file; 0 if it went well, 2 if something cannot be used."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    options = parser.parse_args(["report", *given[1:]] if given[:1] == ["--report"] else given)
    reports = getattr(options, "report", False)
    if options.out is None and not reports:
        parser.error("a fit needs --out, the file to write")
    try:
        _check_out(options.out)
        if reports:
            _report(options)
        elif options.what == "shop":
            _shop(options, given)
        elif options.what == "visits":
            _visits(options, given)
        elif options.what == "drifts":
            _drifts(options.census, options.data, options.out)
        elif options.what in SHOPS:
            recipe = SHOPS[options.what]
            _fit_shop(recipe.read(options.data), recipe.name, recipe.title, recipe.source, options)
        else:
            visits = VISITS[options.what]
            _fit_visits(visits.read(options.data), visits.source, options.out)
    except CalibrationError as error:
        print(f"{PROGRAM}: error: {error}", file=sys.stderr)
        return 2
    return 0


def _report(options: argparse.Namespace) -> None:
    from perennial.experiments import realism_report

    realism_report.check_out(options.out)
    preset = realism_report.read_preset(options.preset) if getattr(options, "preset", None) else None
    if options.what == "report":
        tables = realism_report.all_tables(options.data, options.workers)
    elif options.what == "shop":
        if preset is None:
            raise CalibrationError("'preset' must name the file fitted to this log. Got none. Add --preset FILE.")
        tables = realism_report.shop_report(_read_shop(options), preset, options.workers)
    else:
        tables = realism_report.tables_of(options.what, options.data, options.workers, preset)
    realism_report.show(tables)
    if options.out is not None:
        write_atomically(options.out, realism_report.text_of(tables, options.out))


def _read_shop(options: argparse.Namespace) -> PurchaseLog:
    from perennial.envs.calibration.logs import read_purchases

    return read_purchases(
        options.purchases, parse_columns(options.columns), options.categories, options.drop_category,
        options.since, options.until, options.cancelled_prefix,
    )  # fmt: skip


def _shop(options: argparse.Namespace, given: list[str]) -> None:
    log = _read_shop(options)
    _fit_shop(log, options.name, options.title or options.name, _source(options, given), options)


def _visits(options: argparse.Namespace, given: list[str]) -> None:
    from perennial.envs.calibration.sessions import read_clicks

    _fit_visits(read_clicks(options.clicks, parse_columns(options.columns)), _source(options, given), options.out)


def _fit_shop(log: PurchaseLog, name: str, title: str, source: Source, options: argparse.Namespace) -> None:
    from perennial.envs.calibration.fit import Grid, fit_shop
    from perennial.envs.calibration.goodness import shop_goodness, shop_rows
    from perennial.envs.calibration.simulate import Effort

    model, grid, effort = load_visit_model(), Grid(options.ctr_levels, options.channels), Effort(users=options.visitors)
    preset = fit_shop(log, name, title, source, model, options.harmonics, grid, effort, _say)
    preset = replace(preset, goodness_of_fit=shop_goodness(log, preset, model, effort))
    _print_table(f"{name}: goodness of fit", shop_rows(preset))
    write_atomically(options.out, preset.to_json())


def _fit_visits(log: ClickLog, source: Source, out: Path) -> None:
    from perennial.envs.calibration.goodness import visit_rows
    from perennial.envs.calibration.sessions import session_facts
    from perennial.envs.calibration.visits import fit_visits

    _say("the click log, then the visit model by simulation")
    facts = session_facts(log)
    model, paths = fit_visits(facts, source)
    _print_table("visits: goodness of fit (visits with a click)", visit_rows(facts, model, paths))
    write_atomically(out, visit_model_to_json(model))


def _drifts(census: Path, data: Path, out: Path) -> None:
    from perennial.envs.calibration import seasons
    from perennial.envs.calibration.goodness import Row
    from perennial.envs.calibration.logs import part
    from perennial.envs.calibration.recipes import MARKETPLACE, THREE_YEARS, TRADES
    from perennial.envs.calibration.shock import fit_shock
    from perennial.envs.calibration.turnover import fit_turnover
    from perennial.envs.calibration.two_years import NAMES, fit_two_years
    from perennial.envs.calibration.years import fit_years, read_trades
    from perennial.envs.drift.fits import Departments, DriftFits, Spring2020, Tastes, Years

    _say("seasons of whole trades over the years, then tastes over three years of purchases")
    years, log = fit_years(read_trades(census)), THREE_YEARS.read(data)
    weeks, effect = seasons.weekly(log), seasons.design_effect(log.baskets)
    tastes = fit_turnover(log, seasons.fit_log_share(weeks, 3, effect))
    spring, pair = fit_shock(log), fit_two_years(part(log, log.in_years(0, 2)))
    source = THREE_YEARS.source
    two_years = replace(MARKETPLACE.source, command=TRADES.command)
    found = DriftFits(
        Years(TRADES, years.amplitude_sd, years.common_amplitude_sd, years.phase_sd_days, years.common_phase_sd_days),
        Departments(two_years, *pair.values, *pair.errors),
        Tastes(source, tastes.share, tastes.knot_days, tastes.share_error, tastes.knot_days_error),
        Spring2020(source, dict(spring.sizes), spring.half_life_days),
    )
    rest = f"{years.trades} trades, {years.years} years, noise taken off"
    rows = [Row(name.replace("_", " "), None, getattr(found.years, name), rest) for name in NAMES]
    rows += [
        Row(f"departments: {name.replace('_', ' ')}", None, value, f"two years; standard error {error:.2g}; not used")
        for name, value, error in zip(NAMES, pair.values, pair.errors, strict=True)
    ]
    rows.append(Row("share of tastes that moves", None, tastes.share, f"standard error {tastes.share_error:.2g}"))
    rows.append(Row("days between knots", None, tastes.knot_days, f"standard error {tastes.knot_days_error:.2g}"))
    rows += [
        Row(f"likeness of orders {lag:.0f} days apart", likeness, None, "1 = at once, as fitted")
        for lag, likeness in zip(tastes.lag, tastes.likeness, strict=True)
    ]
    rows += [
        Row(f"spring 2020: {name}", None, size, "log share at the peak, noise shrunk away")
        for name, size in sorted(spring.sizes.items(), key=lambda pair: -abs(pair[1]))
    ]
    rows.append(Row("spring 2020: half-life, days", None, spring.half_life_days))
    _print_table("drifts", rows)
    write_atomically(out, found.to_json())


def parse_columns(text: str) -> dict[str, str]:
    """{role: column} from "role=column,role=column"."""
    pairs = [part.partition("=") for part in text.split(",")]
    wrong = [role for role, equals, column in pairs if not (role and equals and column)]
    if wrong:
        raise CalibrationError(f"'columns' must be role=column,role=column,... Got '{wrong[0]}'. Correct --columns.")
    return {role.strip(): column.strip() for role, _, column in pairs}


def write_atomically(path: Path, text: str) -> None:
    """Write `text` beside `path` and rename it: the file is whole or as it was."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    _say(f"written: {path}")


def _check_out(out: Path | None) -> None:
    if out is None:
        return
    if out.is_dir() or not out.parent.is_dir():
        raise CalibrationError(
            f"'out' must be a file in a folder that exists. Got '{out}'. Make the folder or name another file."
        )


def _source(options: argparse.Namespace, given: list[str]) -> Source:
    return Source(options.source, options.licence, options.citation, f"{PROGRAM} {shlex.join(given)}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _print_table(title: str, rows: list[Row]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    table.add_column("figure")
    for column in ("log", "fit"):
        table.add_column(column, justify="right")
    table.add_column("remark")
    for row in rows:
        table.add_row(row.figure, *("" if v is None else f"{v:.4g}" for v in (row.log, row.fit)), row.remark)
    Console(width=120).print(table)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="what", required=True, metavar="what", title="what to fit")
    _shop_options(commands.add_parser("shop", help="a preset from any purchase log", allow_abbrev=False))
    _visit_options(commands.add_parser("visits", help="the visit model from any click log", allow_abbrev=False))
    drifts = commands.add_parser("drifts", help="how seasons shift and tastes turn over", allow_abbrev=False)
    drifts.add_argument("--census", type=Path, required=True, help="monthly sales of whole trades, CSV")
    drifts.add_argument("--data", type=Path, required=True, help="the folder that holds the marketplace's files")
    sources = {name: shop.source for name, shop in SHOPS.items()} | {name: log.source for name, log in VISITS.items()}
    for name, source in sources.items():
        files = SHOPS[name].files if name in SHOPS else VISITS[name].files
        known = commands.add_parser(name, help=source.name, description=files, allow_abbrev=False)
        known.add_argument("--data", type=Path, required=True, help="the folder that holds the log's files")
        if name in SHOPS:
            _fit_options(known)
    for name in ("shop", *sources):
        _report_options(commands.choices[name], presets=name not in VISITS)
    report = commands.add_parser("report", help="how real all committed presets are", allow_abbrev=False)
    report.add_argument("--data", type=Path, required=True, help="the folder that holds the logs' folders")
    report.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")
    report.set_defaults(report=True)
    for command in commands.choices.values():
        command.add_argument("--out", type=Path, help="the file to write: JSON; of a report .md or .json, if any")
    return parser


def _report_options(parser: argparse.ArgumentParser, presets: bool) -> None:
    add = parser.add_argument
    add("--report", action="store_true", help="fit nothing: hold simulated years against the log")
    add("--workers", type=int, default=os.cpu_count() or 1, help="of the report: processes (default: all cores)")
    if presets:
        add("--preset", type=Path, help="of the report: the file with the preset (default: the committed one)")


def _shop_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--purchases", type=Path, required=True, help="the purchase log: .csv, .csv.gz or .parquet")
    add("--columns", required=True, help="role=column,...: user, time, text, price [, order, item, quantity]")
    add("--categories", type=Path, required=True, help="rules (order, category, regex) or a lookup table")
    add("--drop-category", action="append", default=[], help="a category that is no goods; may be repeated")
    add("--cancelled-prefix", default="", help="orders that begin so are dropped")
    add("--from", dest="since", type=day, help="first day kept, as 2018-01-01")
    add("--to", dest="until", type=day, help="last day kept, as 2019-12-31")
    add("--name", required=True, help="the preset's name")
    add("--title", default="", help="one line that says what shop it is")
    _source_options(parser)
    _fit_options(parser)


def _visit_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--clicks", type=Path, required=True, help="the click log: .csv, .csv.gz or .parquet")
    parser.add_argument("--columns", required=True, help="role=column,...: session, order, category, product [, page]")
    _source_options(parser)


def _source_options(parser: argparse.ArgumentParser) -> None:
    for name in ("source", "licence", "citation"):
        parser.add_argument(f"--{name}", required=True, help=f"the log's {name}, kept in the file")


def _fit_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--harmonics", type=int, choices=range(1, 9), help="of the year; default: judged on the second year, else 4")
    add("--visitors", type=visitors, default=5000, help="simulated at each moment of the year; more = less noise")
    add("--ctr-levels", type=ctr_level, nargs="+", default=[0.5, 1.0, 2.0], help="multiples of the CTR to fit at")
    add("--channels", type=channel, nargs="+", default=[0.0, 0.5, 1.0], help="channels in [0, 1] to fit at")


def ctr_level(text: str) -> float:
    """A multiple of the declared CTR, in (0, 4]: at 4 the mean attraction is 0.6."""
    return _between(text, 1e-3, 4.0)


def visitors(text: str) -> int:
    """A number of visitors, at least 100."""
    return int(_between(text, 100, 1_000_000))


def channel(text: str) -> float:
    """A channel in [0, 1]."""
    return _between(text, 0.0, 1.0)


def _between(text: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"must be a number in [{low}, {high}]. Got {text!r}. Choose another.")
    return value


def day(text: str) -> date:
    """A day, ISO 8601."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be a day as 2018-01-31. Got {text!r}. Rewrite it so.") from error


if __name__ == "__main__":
    sys.exit(main())
