"""The realism report as tables: the log, the bar, the reference policy beside it, and the others without a bar."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from perennial.envs.calibration import provenance
from perennial.envs.calibration.holdout import Holdout
from perennial.envs.calibration.two_years import NAMES
from perennial.envs.drift.fits import DriftFits
from perennial.experiments.realism import ShopRealism, VisitRealism, Year
from perennial.experiments.tables import Cell, Column, Table

MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
LAGS = (1, 2, 4, 8, 13, 20, 26, 32, 39, 45, 51, 52, 53, 65, 78, 91, 103)

PUBLISHED_DRIFT = {"gift_shop": (0.052, 0.052), "marketplace": (0.010, 0.014)}
"""Weekly share drift of the logs behind the presets, nats a purchase, over their years; see `seasons.drift_size`."""

WITHIN = (0.75, 1.33)
"""Of the log's weekly share drift: the simulated one is to lie there."""

CELLS = 0.9
"""Share of month indices that are to lie in the log's own intervals."""

VISIT_BARS = {
    "single_click_share": (0.18, 0.25), "clicks_median": (4.0, 6.0), "clicks_p90": (13.0, 20.0),
    "least_rise": (0.0, math.inf), "depth": (0.3, 0.6),
}  # fmt: skip
SAME_CATEGORY = (0.7, 0.85)
"""Asked of a catalogue of four categories."""

VISIT_TITLES = {
    "single_click_share": "visits of a single click",
    "clicks_median": "clicks, median",
    "clicks_mean": "clicks, mean",
    "clicks_p90": "clicks, 90th percentile",
    **{f"go_on_{k}": f"chance to go on after {k} click{'s' if k > 1 else ''}" for k in (1, 2, 5, 10, 20)},
    "least_rise": "its least rise from line to line",
    "depth": "clicks on page 2 over page 1",
    "same_category": "next click in the same category",
    "bounce": "visits without a click",
}
QUANTILES = {"p10": "10th percentile", "median": "median", "mean": "mean", "p90": "90th percentile"}
PERSON_TITLES = {
    "orders_per_day": "orders a day",
    "taste_concentration": "taste concentration",
    "taste_half_year": "tastes, half-year to half-year",
    "taste_half_year_error": "its standard error",
    "taste_year": "tastes, year to year",
    "taste_year_error": "its standard error",
    **{
        f"{what}_{part}": f"{title}, {QUANTILES[part]}"
        for what, title in (
            ("orders", "orders a customer-year"),
            ("products", "products a customer-year"),
            ("price", "price bought"),
        )
        for part in QUANTILES
    },
}
SEASON_TITLES = {
    "drift": "weekly share drift: mean KL of week from year, noise off",
    "drift_noise": "noise taken off (orders permuted)",
    "inside": "month indices within the log's interval",
    "lag_26": "weeks 26 apart: mean divergence, noise off",
    "lag_52": "weeks 52 apart",
}

Bar = tuple[float, float]


@dataclass(frozen=True)
class Bars:
    """How many bars are met, and which are not."""

    met: int
    missed: Sequence[str]

    @property
    def verdict(self) -> str:
        """One sentence."""
        missed = f" Missed: {'; '.join(self.missed)}." if self.missed else ""
        return f"{self.met} of {self.met + len(self.missed)} bars met.{missed}"


def bars_of(tables: Sequence[Table]) -> Bars:
    """The verdicts of all rows that have a bar."""
    rows = [(table.title, row) for table in tables for row in table.rows if row.get("verdict")]
    missed = [f"{title.split(':')[0]}, {row['figure']}" for title, row in rows if row["verdict"] == "missed"]
    return Bars(len(rows) - len(missed), missed)


def shop_tables(found: ShopRealism) -> list[Table]:
    """All tables of a shop."""
    name, names = found.preset.name, list(found.others)
    drift = PUBLISHED_DRIFT.get(name, (found.log.figures["drift"], found.log.figures["drift"]))
    bars = {"drift": (WITHIN[0] * drift[0], WITHIN[1] * drift[1]), "inside": (CELLS, 1.0)}
    size = f"{found.users} visitors, two years (popular, moving: one), {len(found.reference)} worlds"
    season = [{**_season(year, found)} for year in found.reference]
    others = {player: _season(year, found) for player, year in found.others.items()}
    clicks = {player: year.figures for player, year in found.others.items()}
    figures = [year.figures for year in found.reference]
    return [
        _figures(
            f"{name}, season: {size}", SEASON_TITLES, _season(found.log, found, itself=True), season, others, bars
        ),
        _departments(found),
        _lags(found, names),
        _figures(f"{name}, visits with a click", VISIT_TITLES, {}, figures, clicks, VISIT_BARS),
        _figures(f"{name}, customers and prices", PERSON_TITLES, found.log.figures, figures, clicks, {}),
        *(_holdout(name, way) for way in found.holdouts),
    ]


def visit_tables(found: VisitRealism) -> list[Table]:
    """The table of visits in a flat shop with the click log's categories."""
    title = f"clothing visits: a flat shop of {found.categories} categories, {len(found.reference)} worlds"
    bars = VISIT_BARS | ({"same_category": SAME_CATEGORY} if found.categories == 4 else {})
    others = {player: year.figures for player, year in found.others.items()}
    return [_figures(title, VISIT_TITLES, found.log, [year.figures for year in found.reference], others, bars)]


def _season(year: Year, found: ShopRealism, itself: bool = False) -> dict[str, float]:
    """The figures of a year's season; the log itself is not held against its own intervals."""
    figures = {key: year.figures[key] for key in ("drift", "drift_noise")}
    if not itself:
        figures["inside"] = float(found.months.inside(year.index).mean())
    return figures | {f"lag_{lag}": float(year.lag[lag]) for lag in (26, 52) if lag < len(year.lag)}


def _figures(
    title: str,
    titles: Mapping[str, str],
    log: Mapping[str, float],
    reference: Sequence[Mapping[str, float]],
    others: Mapping[str, Mapping[str, float]],
    bars: Mapping[str, Bar],
) -> Table:
    """One row per figure: log, bar, the reference policy's mean and spread over worlds, verdict, the others."""
    rows: list[dict[str, Cell]] = []
    for key, text in titles.items():
        values = np.array([figures[key] for figures in reference if key in figures])
        if not len(values):
            continue
        mean, bar = float(values.mean()), bars.get(key)
        rows.append(
            {
                "figure": text,
                "log": log.get(key),
                "bar": None if bar is None else _bar(bar),
                "reference": mean,
                "spread": float(values.std(ddof=1)) if len(values) > 1 else None,
                "verdict": None if bar is None else "met" if bar[0] <= mean <= bar[1] else "missed",
                **{player: figures.get(key) for player, figures in others.items()},
            }
        )
    columns = (
        Column("figure", "figure", str), Column("log", "log", number), Column("bar", "bar", str),
        Column("reference", "reference policy", number), Column("spread", "± over worlds", number),
        Column("verdict", "verdict", str), *(Column(player, player, number) for player in others),
    )  # fmt: skip
    return Table(title, columns, rows)


def _departments(found: ShopRealism) -> Table:
    """One row per category: its highest and lowest month in the log and under the reference policy, cells inside."""
    index = np.mean([year.index for year in found.reference], axis=0)
    inside = np.mean([found.months.inside(year.index) for year in found.reference], axis=0).sum(axis=0)
    rows: list[dict[str, Cell]] = [
        {
            "category": category,
            "share": found.preset.base_share[c],
            "log_high": _extreme(found.months.index[:, c], np.argmax),
            "high": _extreme(index[:, c], np.argmax),
            "log_low": _extreme(found.months.index[:, c], np.argmin),
            "low": _extreme(index[:, c], np.argmin),
            "inside": float(inside[c]),
        }
        for c, category in enumerate(found.preset.categories)
    ]
    columns = (
        Column("category", "category", str), Column("share", "share of purchases", "{:.1%}".format),
        Column("log_high", "log: highest month", str), Column("high", "reference", str),
        Column("log_low", "log: lowest month", str), Column("low", "reference", str),
        Column("inside", "months of 12 inside", "{:.1f}".format),
    )  # fmt: skip
    return Table(f"{found.preset.name}, departments: share by month over the year's mean", columns, rows)


def _extreme(index: Any, place: Callable[..., Any]) -> str:
    month = int(place(index))
    return f"{index[month]:.2f} {MONTHS[month]}"


def _lags(found: ShopRealism, names: Sequence[str]) -> Table:
    """How far apart weeks are, by the lag between them."""
    curves = {"log": found.log.lag} | {name: found.others[name].lag for name in names}
    shortest = min(len(year.lag) for year in found.reference)
    mean = np.mean([year.lag[:shortest] for year in found.reference], axis=0)
    rows: list[dict[str, Cell]] = [
        {
            "lag": str(lag),
            "reference": float(mean[lag]),
            **{name: float(curve[lag]) if lag < len(curve) else None for name, curve in curves.items()},
        }
        for lag in LAGS
        if lag < len(mean)
    ]
    columns = [
        Column("lag", "weeks apart", str),
        Column("log", "log", decimals),
        Column("reference", "reference", decimals),
    ]
    columns += [Column(name, name, decimals) for name in names]
    prediction = "" if found.years > 1 else "; beyond the log's year a prediction"
    return Table(f"{found.preset.name}, weeks by lag: Jensen-Shannon, nats, noise off{prediction}", columns, rows)


def _holdout(name: str, way: Holdout) -> Table:
    """What each model of the season adds to a held-out purchase's log-likelihood over no season."""
    rows: list[dict[str, Cell]] = [
        {"model": gain.model, "gain": gain.value, "error": gain.error, "share": gain.value / way.ceiling}
        for gain in way.gains
    ]
    rows.append({"model": "every week known, noise off", "gain": way.ceiling, "error": None, "share": 1.0})
    columns = (
        Column("model", "season", str), Column("gain", "gain over no season", "{:+.5f}".format),
        Column("error", "standard error", "{:.5f}".format), Column("share", "of what there is", "{:.0%}".format),
    )  # fmt: skip
    return Table(f"{name}, held out: {way.name}; nats a purchase", columns, rows)


def years_table(kept: DriftFits) -> Table:
    """The shifts of seasons, from trades over many years and from departments over two."""
    rows: list[dict[str, Cell]] = [
        {
            "size": name.replace("_", " "),
            "trades": getattr(kept.years, name),
            "departments": getattr(kept.departments, name),
            "error": getattr(kept.departments, f"{name}_error"),
        }
        for name in NAMES
    ]
    columns = (
        Column("size", "standard deviation over years", str), Column("trades", "20 trades, 13 years: used", number),
        Column("departments", "24 departments, 2018-2019", number), Column("error", "standard error", number),
    )  # fmt: skip
    return Table(
        "shifting seasons: of the swing's log factor and of its delay (both presets use the trades)", columns, rows
    )


def provenance_table() -> Table:
    """Every parameter of the world, those of one owner and source in one row."""
    groups: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for owner, own in provenance.parameters().items():
        for name in own:
            entry = provenance.TABLE[owner][name]
            groups[owner, entry.kind, entry.source].append(name)
    rows: list[dict[str, Cell]] = [
        {"owner": owner, "parameters": ", ".join(names), "kind": kind, "source": source}
        for (owner, kind, source), names in groups.items()
    ]
    columns = tuple(Column(key, key, str, words=True) for key in ("owner", "parameters", "kind", "source"))
    return Table("where every parameter comes from", columns, rows)


def number(value: Any) -> str:
    """Three significant digits; nothing where there is no number."""
    return "–" if isinstance(value, float) and math.isnan(value) else f"{value:.3g}"


def decimals(value: Any) -> str:
    """Four decimals."""
    return f"{value:.4f}"


def _bar(bar: Bar) -> str:
    low, high = bar
    return f"> {low:.3g}" if math.isinf(high) else f"{low:.3g} to {high:.3g}"
