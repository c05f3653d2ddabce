"""The picture of a study: CTR over the season, what adapting bought, and when models were retrained or alarms rang."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.envs import World
from perennial.experiments.metrics import Day
from perennial.experiments.results import Result, select

# Okabe & Ito (2008), "Color universal design": told apart with any colour vision.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
WINDOW = 7
LINE = 0.19  # inches from one name to the next

Ends = dict[str, tuple[datetime.date, float]]
"""Where each arm's line ends: its last day and value."""


@dataclass(frozen=True)
class Panel:
    """One world of the picture: its `title`, its `drift` and the arms that were run in it."""

    title: str
    drift: str
    arms: Sequence[str]


def trailing_ctr(days: Sequence[Day], window: int = WINDOW) -> NDArray[np.float64]:
    """float64 (T,): clicks per impression over the last `window` days; the first days use what there is."""
    return _trailing([d.clicks for d in days], window) / np.maximum(_trailing([d.impressions for d in days], window), 1)


def trailing_uplift(arm: Sequence[Day], incumbent: Sequence[Day], window: int = WINDOW) -> NDArray[np.float64]:
    """float64 (T,): relative uplift in clicks over the last `window` days; both arms meet the same would-be visits."""
    return _trailing([d.clicks for d in arm], window) / _trailing([d.clicks for d in incumbent], window) - 1


def _trailing(values: Sequence[int], window: int) -> NDArray[np.float64]:
    """float64 (T,): sum of the last `window` values up to each day."""
    total = np.concatenate([[0.0], np.cumsum(np.asarray(values, dtype=np.float64))])
    end = np.arange(1, len(values) + 1)
    return np.asarray(total[end] - total[np.maximum(end - window, 0)])


def season_picture(results: Sequence[Result], panels: Sequence[Panel], incumbent: str, family: Sequence[str]) -> Any:
    """A matplotlib figure. Columns: worlds. Rows: CTR; of a `family`, its uplift over the incumbent and its events."""
    from matplotlib.figure import Figure

    colours = dict(zip(dict.fromkeys(arm for p in panels for arm in p.arms), PALETTE * 9, strict=False))
    heights = (4.0, 3.0, 1.4) if set(family) - {incumbent} else (max(4.0, 0.27 * len(colours)),)
    with style():
        figure = Figure(figsize=(6.2 * len(panels), sum(heights)), layout="constrained")
        axes = figure.subplots(
            len(heights), len(panels), sharex=True, sharey="row", squeeze=False, height_ratios=heights
        )
        ends = []
        for (top, *below), panel in zip(axes.T, panels, strict=True):
            ends.append((top, _draw_ctr(top, results, panel, colours)))
            if below:
                middle, bottom = below
                ends.append((middle, _draw_uplift(middle, results, panel, incumbent, family, colours)))
                _draw_events(bottom, results, panel, incumbent, family, colours)
            _draw_calendar((top, *below)[-1])
            top.set_title(panel.title, loc="left", fontweight="bold")
        for drawn, lines in ends:  # last, when the limits that a row shares are known
            _label_ends(drawn, lines, colours)
        labels = ("clicks per item shown", f"clicks against {_name(incumbent)}")
        for row, label in zip(axes[:, 0], labels, strict=False):
            row.set_ylabel(f"{label}\n(last 7 days, mean of seeds)")
    return figure


def save(figure: Any, stem: Path) -> list[Path]:
    """Write `stem`.svg (the same bytes for the same data) and `stem`.png."""
    paths = [stem.with_suffix(".svg"), stem.with_suffix(".png")]
    stem.parent.mkdir(parents=True, exist_ok=True)
    with style():
        figure.savefig(paths[0], metadata={"Date": None, "Creator": None})
        figure.savefig(paths[1], dpi=110, metadata={"Software": None})
    drawn = paths[0].read_text(encoding="utf-8")
    paths[0].write_text(re.sub(r"(\d+\.\d\d)\d+", r"\1", drawn), encoding="utf-8")  # finer is invisible
    return paths


def style() -> Any:
    import matplotlib

    return matplotlib.rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "perennial",
            "path.simplify": True,
            "font.size": 9.5,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.grid.axis": "y",
            "grid.color": "#e6e6e6",
            "lines.linewidth": 1.6,
        }
    )


def _draw_ctr(axes: Any, results: Sequence[Result], panel: Panel, colours: Mapping[str, str]) -> Ends:
    ends: Ends = {}
    for arm in panel.arms:
        runs = select(results, arm, panel.drift)
        line = np.mean([trailing_ctr(r.days) for r in runs], axis=0)
        axes.plot(_dates(runs[0]), line, color=colours[arm])
        ends[arm] = (_dates(runs[0])[-1], line[-1])
    axes.yaxis.set_major_formatter(_percent_axis())
    return ends


def _draw_uplift(
    axes: Any,
    results: Sequence[Result],
    panel: Panel,
    incumbent: str,
    family: Sequence[str],
    colours: Mapping[str, str],
) -> Ends:
    ends: Ends = {}
    base = select(results, incumbent, panel.drift)
    axes.plot(_dates(base[0]), np.zeros(len(base[0].days)), color=colours[incumbent])
    ends[incumbent] = (_dates(base[0])[-1], 0.0)
    for arm in (a for a in panel.arms if a in family and a != incumbent):
        runs = select(results, arm, panel.drift)
        pairs = [trailing_uplift(r.days, b.days) for r, b in zip(runs, base, strict=True)]
        line = np.mean(pairs, axis=0)
        axes.plot(_dates(runs[0]), line, color=colours[arm])
        ends[arm] = (_dates(runs[0])[-1], line[-1])
    axes.yaxis.set_major_formatter(_percent_axis(signed=True))
    return ends


def _draw_events(
    axes: Any,
    results: Sequence[Result],
    panel: Panel,
    incumbent: str,
    family: Sequence[str],
    colours: Mapping[str, str],
) -> None:
    """One lane per adapting arm: bars are retrains, triangles alarms, of the first seed."""
    lanes = [arm for arm in panel.arms if arm in family and arm != incumbent]
    for lane, arm in enumerate(lanes):
        first = select(results, arm, panel.drift)[0]
        for kind, marker, lift, size in (("retrain", "|", 0.0, 60), ("alarm", "v", 0.38, 22)):
            days = sorted({event.day for event in first.events if event.kind == kind})
            axes.scatter(
                [World.date_of(d) for d in days],
                np.full(len(days), -lane + lift),
                marker=marker,
                s=size,
                color=colours[arm],
                linewidths=1.1 if marker == "|" else 0,
            )
    axes.set_yticks([-lane for lane in range(len(lanes))], [_name(arm) for arm in lanes])
    axes.set_ylim(-len(lanes) + 0.4, 0.8)
    axes.grid(False)
    axes.set_xlabel("| retrain   \N{BLACK DOWN-POINTING SMALL TRIANGLE} alarm   (first seed)")


def _draw_calendar(axes: Any) -> None:
    """Days of the year below the lowest row."""
    import matplotlib.dates as mdates

    axes.xaxis.set_major_locator(mdates.AutoDateLocator(minticks=3, maxticks=6))
    axes.xaxis.set_major_formatter(mdates.DateFormatter("%-d %b"))


def _label_ends(axes: Any, ends: Ends, colours: Mapping[str, str]) -> None:
    """Write each line's name at its right end, pushed apart where they would overlap."""
    low, high = axes.get_ylim()
    gap = (high - low) * LINE / (axes.get_position().height * axes.figure.get_figheight())
    order = sorted(ends, key=lambda arm: ends[arm][1])
    heights = _spread([ends[arm][1] for arm in order], gap)
    for arm, height in zip(order, heights, strict=True):
        axes.annotate(
            _name(arm),
            (ends[arm][0], height),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=colours[arm],
            fontsize=9,
            annotation_clip=False,
        )
    axes.set_ylim(min(low, heights[0] - gap), max(high, heights[-1] + gap))


def _spread(values: Sequence[float], gap: float) -> list[float]:
    """Ascending `values` moved as little as needed so that neighbours are `gap` apart (merging crowded groups)."""
    groups: list[list[float]] = []
    for value in values:
        groups.append([value])
        while len(groups) > 1 and _bottom(groups[-1], gap) - _top(groups[-2], gap) < gap:
            groups[-2:] = [groups[-2] + groups[-1]]
    return [_bottom(group, gap) + gap * place for group in groups for place in range(len(group))]


def _bottom(group: Sequence[float], gap: float) -> float:
    return float(np.mean(group)) - gap * (len(group) - 1) / 2


def _top(group: Sequence[float], gap: float) -> float:
    return float(np.mean(group)) + gap * (len(group) - 1) / 2


def _dates(result: Result) -> list[datetime.date]:
    return [World.date_of(day.day) for day in result.days]


def _percent_axis(signed: bool = False) -> Any:
    from matplotlib.ticker import FuncFormatter

    return FuncFormatter(lambda value, _: f"{100 * value:{'+' if signed else ''}.3g} %" if value or not signed else "0")


def _name(arm: str) -> str:
    return arm.replace("_", " ")
