"""The picture of a drift: the declared path of everything that it moves, and of nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.envs import World
from perennial.experiments import figures

Floats = NDArray[np.float64]

A_DAY = 8
"""Moments drawn a day."""

NAMED = 6
"""Most lines of a panel that are coloured and named: those that move most."""


@dataclass(frozen=True)
class Panel:
    """One quantity over time: ``title`` with its unit, ``lines`` float64 (T,) by name."""

    title: str
    lines: Mapping[str, Floats]

    @property
    def moves(self) -> bool:
        return any(np.ptp(line) > 1e-12 for line in self.lines.values())


def panels(world: World, first: int, days: int) -> list[Panel]:
    """What moves in `world` from day `first` on, for `days` days, in `A_DAY` moments a day."""
    moments = first + np.arange(days * A_DAY + 1) / A_DAY
    now = world.drift.change(moments, world.setting)
    names = world.preset.categories
    found: list[Panel] = []
    for title, table in (("the attraction", now.need), ("a cart given a click", now.purchase)):
        alike = np.array_equal(table[:, 0], table[:, 1])
        for segment in (0,) if alike else (0, 1):
            lines = {name: table[:, segment, c] for c, name in enumerate(names)}
            found.append(Panel(f"logits added to {title}{'' if alike else f', segment {segment}'}", lines))
    found += [
        Panel("logits added to the attraction of all items alike", {"level": now.level}),
        Panel("factor on price sensitivity", {"price": np.exp(now.price)}),
        Panel("factor on the decay of examination from slot to slot", {"examination": np.exp(now.examination)}),
        Panel("share of potential visits", _segments(world, now.population)),
        Panel("correlation of visitors' tastes with those of the first day", {"tastes": _likeness(world, moments)}),
        Panel("share of the items on sale", _catalogue(world, moments)),
    ]
    return [panel for panel in found if panel.moves]


def _segments(world: World, population: Floats) -> dict[str, Floats]:
    people = world.visitors
    activity = np.diff(people.arrival_share, prepend=0.0)
    share = activity[people.segment == 1].sum() / activity.sum()
    odds = share / (1 - share) * np.exp(population) if share < 1 else np.full_like(population, np.inf)
    return {"segment 1": odds / (1 + odds), "segment 0": 1 / (1 + odds)}


def _likeness(world: World, moments: Floats) -> Floats:
    """Expected correlation of a visitor's log-taste with the first moment's: see `envs.attraction.taste_now`."""
    turnover = world.drift.turnover()
    place = moments / turnover.knot_days
    knot = np.floor(place)
    angle = 0.5 * np.pi * (place - knot)
    weights = {0: np.cos(angle), 1: np.sin(angle)}
    shared = np.zeros(len(moments))
    for mine in (0, 1):
        for other in (0, 1):
            shared += np.where(knot + mine == knot[0] + other, weights[mine] * weights[other][0], 0.0)
    return np.asarray(1 - turnover.share + turnover.share * shared)


def _catalogue(world: World, moments: Floats) -> dict[str, Floats]:
    goods = world.catalogue
    there = goods.launch <= moments[0]
    launched = np.searchsorted(np.sort(goods.launch[~there]), moments, side="right")
    gone_new = np.searchsorted(np.sort(goods.retire[~there]), moments, side="right")
    gone = np.searchsorted(np.sort(goods.retire[there]), moments, side="right")
    live = there.sum() - gone + launched - gone_new
    return {"there on the first day": (there.sum() - gone) / live, "new since": (launched - gone_new) / live}


def picture(world: World, name: str, first: int, days: int) -> Any:
    """A matplotlib figure, one panel for each thing that moves. Raises ValueError if nothing does."""
    from matplotlib.figure import Figure

    found = panels(world, first, days)
    if not found:
        raise ValueError(f"Drift '{name}' moves nothing in these {days} days: there is no path to draw.")
    dates = np.datetime64(World.date_of(first)) + (np.arange(days * A_DAY + 1) * (24 // A_DAY)).astype("timedelta64[h]")
    with figures.style():
        heights = [3.6 if len(panel.lines) > 2 else 1.9 for panel in found]
        figure = Figure(figsize=(9.0, sum(heights) + 0.5), layout="constrained")
        axes = figure.subplots(len(found), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        for place, panel in zip(axes, found, strict=True):
            _draw(place, dates, panel)
        _label_dates(axes[-1], days)
        figure.suptitle(f"{name}, {world.preset.name}", x=0.01, ha="left", fontweight="bold")
    return figure


def _draw(axes: Any, dates: Any, panel: Panel) -> None:
    lines = _merged(panel.lines)
    ranges = {name: float(np.ptp(line)) for name, line in lines.items()}
    ranked = sorted(ranges, key=lambda name: -ranges[name])
    named = [name for name in ranked[:NAMED] if ranges[name] > 0.02 * ranges[ranked[0]]]
    for name in ranked[::-1]:
        if name not in named:
            axes.plot(dates, lines[name], color="#cfcfcf", linewidth=1.0)
    colours = dict(zip(named, figures.PALETTE, strict=False))
    for name in named:
        axes.plot(dates, lines[name], color=colours[name])
    others = len(panel.lines) - sum(name.count(",") + 1 for name in named)
    axes.set_title(panel.title + (f" ({others} others in grey)" if others else ""), loc="left", fontsize=9.5)
    axes.set_xlim(dates[0], dates[-1])
    if len(panel.lines) > 1:
        ends = {name: (dates[-1], float(lines[name][-1])) for name in named}
        heights = [height for _, height in ends.values()]
        if np.ptp(heights) < 0.1 * max(ranges.values()):
            _label_peaks(axes, dates, {name: lines[name] for name in named}, colours)
        else:
            figures._label_ends(axes, ends, colours)


def _merged(lines: Mapping[str, Floats]) -> dict[str, Floats]:
    """Lines that lie on one another as one, its name all their names; those that never move stay apart."""
    found: dict[bytes, list[str]] = {}
    for name, line in lines.items():
        found.setdefault(line.tobytes() if np.ptp(line) else name.encode(), []).append(name)
    return {", ".join(names): lines[names[0]] for names in found.values()}


def _label_peaks(axes: Any, dates: Any, lines: Mapping[str, Floats], colours: Mapping[str, str]) -> None:
    """Each line's name where it is furthest from 0; for lines that all end alike. Names at one place are stacked."""
    low, high = axes.get_ylim()
    axes.set_ylim(low - 0.12 * (high - low) * (low < -0.1 * high), high + 0.12 * (high - low))
    taken: list[tuple[int, float]] = []
    for name, line in lines.items():
        at = int(np.argmax(np.abs(line)))
        value = float(line[at])
        near = sum(abs(at - x) < 0.12 * len(line) and abs(value - y) < 0.08 * (high - low) for x, y in taken)
        taken.append((at, value))
        axes.annotate(
            name.replace("_", " "),
            (dates[at], value),
            xytext=(0, (5 + 11 * near) * np.sign(value)),
            textcoords="offset points",
            ha="center",
            va="bottom" if value > 0 else "top",
            color=colours[name],
            fontsize=9,
        )


def _label_dates(axes: Any, days: int) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=4, maxticks=13)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
