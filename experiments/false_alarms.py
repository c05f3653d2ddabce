"""What calibrated detectors do where nothing gives cause: retrains in stationary twins, alarms under a pure season."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from perennial.agents.base import Feedback, Keys
from perennial.agents.lifecycle.monitors import Monitor
from perennial.agents.lifecycle.triggers import Trigger
from perennial.experiments.calibrate_detectors import BUDGET_DAYS, TOLERANCE, Setting, rates
from perennial.experiments.metrics import HOURS
from perennial.experiments.recordings import Recording
from perennial.experiments.statistics import Interval, t_interval
from perennial.experiments.tables import Column, Table

YEAR = 365
SEASON_SEEDS, SEASON_DAYS = range(3000, 3016), 5 * YEAR
"""Worlds of the season's table, and days of each; the first year only teaches the deseasonalised."""

SHAPES = {"ks": 0.1}
"""Tests of shape, with the step of clicks per slot of ten: see `Deseasonalised`."""


def deseasonalised(setting: Setting) -> Setting:
    """The same detector, watching what is left when the year and the week are taken off."""
    node = {
        "_target_": "perennial.agents.lifecycle.detectors.Deseasonalised",
        "history_days": YEAR,
        "harmonics": 4,
        "weekly": 3,
        "step": SHAPES.get(setting.name, 0.0),
        "detector": setting.node,
    }
    return Setting(setting.name, node, ("detector", *setting.knob))


def season_row(setting: Setting, twin: Sequence[Recording], season: Sequence[Recording]) -> dict[str, Any]:
    """Alarms per budget's span after the first year: raw and deseasonalised, in the twin and under the season."""
    rest = deseasonalised(setting)
    found = {
        (kind, world): t_interval(rates(each, recordings, YEAR))
        for kind, each in (("raw", setting), ("rest", rest))
        for world, recordings in (("twin", twin), ("season", season))
    }
    own, rest_season = found["rest", "twin"].mean, found["rest", "season"]
    return {
        "detector": setting.name,
        **{f"{kind}_{world}": _words(interval) for (kind, world), interval in found.items()},
        "ratio": f"{rest_season.mean / own:.2f} [{rest_season.low / own:.2f}, {rest_season.high / own:.2f}]",
        "verdict": "yes" if rest_season.low < (1 + TOLERANCE) * own else "no",
    }


def season_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """One row per detector."""
    return Table(
        f"Alarms per {BUDGET_DAYS:.0f} days under a pure yearly season, after a year of history",
        (
            Column("detector", "detector", str),
            Column("raw_twin", "raw, twin", str),
            Column("raw_season", "raw, season", str),
            Column("rest_twin", "deseason- alised, twin", str),
            Column("rest_season", "deseason- alised, season", str),
            Column("ratio", "its ratio", str),
            Column("verdict", "below 1.2 x", str),
        ),
        rows,
    )


def first_pages(recording: Recording) -> Iterator[tuple[int, Feedback]]:
    """(last hour, first pages) of each recorded day, as a monitor takes them."""
    bounds, slots = recording.bounds(), np.arange(recording.slots)
    for day in range(recording.days):
        clicks = recording.clicks[bounds[day] : bounds[day + 1]]
        tick, n = recording.first_tick + HOURS * day + HOURS - 1, len(clicks)
        clicked, none = slots[None] < clicks[:, None], np.zeros((n, recording.slots), np.bool_)
        slates, zeros, yes = none.astype(np.int32), np.zeros(n, np.int32), np.ones(n, np.bool_)
        keys = Keys(np.arange(bounds[day], bounds[day + 1]), zeros, zeros, np.full(n, tick, np.int64))
        reward = clicks.astype(np.float32)
        yield (
            tick,
            Feedback(
                keys, {}, slates, slates, clicked, none, none, none, reward, yes, ~yes, np.ones(none.shape), zeros, ~yes
            ),
        )


def retrains(triggers: Sequence[Trigger], recording: Recording) -> list[int]:
    """How often each of `triggers` orders one, asked at the end of each day; the policy that serves stays the same."""
    monitor, orders = Monitor(), [0] * len(triggers)
    for tick, pages in first_pages(recording):
        monitor.update(pages, tick)
        for number, trigger in enumerate(triggers):
            if trigger.evaluate(monitor, tick).fired:
                orders[number] += 1
                trigger.reset(tick)
    return orders


def trigger_rows(build: Callable[[], Mapping[str, Trigger]], recordings: Sequence[Recording]) -> list[dict[str, Any]]:
    """Retrains per budget's span of each trigger that `build` makes, new in each stationary twin."""
    names = list(build())
    orders = np.array([retrains(list(build().values()), each) for each in recordings])
    days = np.array([each.days for each in recordings])
    rows = []
    for name, found in zip(names, orders.T, strict=True):
        interval = t_interval(found / days * BUDGET_DAYS)
        verdict = "yes" if interval.low <= 1.0 else "no"
        rows.append({"strategy": name, "rate": _words(interval), "retrains": int(found.sum()), "verdict": verdict})
    return rows


def trigger_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """One row per strategy."""
    return Table(
        f"Retrains in stationary twins, budget one in {BUDGET_DAYS:.0f} days",
        (
            Column("strategy", "strategy", str),
            Column("rate", f"retrains per {BUDGET_DAYS:.0f} days", str),
            Column("retrains", "retrains", str),
            Column("verdict", "not above budget", str),
        ),
        rows,
    )


def _words(interval: Interval) -> str:
    return f"{interval.mean:.2f} [{interval.low:.2f}, {interval.high:.2f}]"
