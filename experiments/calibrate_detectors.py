"""Set every detector's knob to one false alarm in so many days of a stationary shop: `perennial-calibrate-detectors`.

A frozen `popular` serves driftless shops; what it hears is recorded once. Each knob is set on some worlds, and judged
on others: how often it then alarms without cause, and how long it takes to see that a tenth of the clicks is lost.
"""

from __future__ import annotations

import argparse
import copy
import math
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from perennial.experiments import configuration
from perennial.experiments.console import script, wide_console
from perennial.experiments.statistics import Interval, t_interval
from perennial.experiments.tables import Column, Table
from perennial.experiments.threads import one_thread

if TYPE_CHECKING:
    from perennial.agents.lifecycle.detectors import Detector
    from perennial.experiments.configuration import Node
    from perennial.experiments.recordings import Recording

BUDGET_DAYS = 90.0
"""Days between two false alarms."""

TUNED, JUDGED, DAYS = range(1000, 1060), range(2000, 2060), 1095
"""Seeds of the worlds a knob is set on and judged on, and days of each."""

DROP = 0.1
"""Share of the clicks that is lost in the declared change."""

BEFORE, AFTER = 50, 90
"""Days a detector runs before the declared change, and days it is given to see it."""

BRACKETS = 14
"""Steps in search of a knob on the other side of the budget."""

TOLERANCE = 0.2
"""Share of the budget within which a rate must be possible."""

CONF = configuration.CONF


@dataclass(frozen=True)
class Setting:
    """A detector's YAML: its `name`, its values, and where its knob lies in them."""

    name: str
    node: Node
    knob: tuple[str, ...]

    @property
    def value(self) -> float:
        inner: Any = self.node
        for key in self.knob:
            inner = inner[key]
        return float(inner)

    def at(self, value: float) -> Setting:
        """The same with the knob at `value`."""
        node = copy.deepcopy(self.node)
        inner: Any = node
        for key in self.knob[:-1]:
            inner = inner[key]
        inner[self.knob[-1]] = value
        return Setting(self.name, node, self.knob)

    def build(self) -> Detector:
        detector: Detector = configuration.build(self.node, f"detector.{self.name}")
        return detector

    @property
    def metric(self) -> str:
        """The stream it watches: errors where a rise is bad, clicks where a fall is."""
        from perennial.agents.lifecycle.detectors import ErrorDetector

        detector = self.build()
        while hasattr(detector, "detector"):
            detector = detector.detector
        return "no_click" if isinstance(detector, ErrorDetector) or direction(detector) == "up" else "first_page_ctr"


def direction(detector: Detector) -> str:
    """Which change counts for it."""
    return str(getattr(detector, "direction", "both"))


def settings(names: Sequence[str] | None = None) -> list[Setting]:
    """The detectors of ``conf/detector`` that have a knob, or those of them that `names` lists."""
    from hydra.utils import get_object

    found: list[Setting] = []
    for path in sorted((CONF / "detector").glob("*.yaml")):
        node = configuration.load(path)
        inner: Any = node
        way: list[str] = []
        while "detector" in inner:
            inner, way = inner["detector"], [*way, "detector"]
        knob = get_object(inner["_target_"]).knob
        if knob and (names is None or path.stem in names):
            found.append(Setting(path.stem, node, (*way, knob)))
    return found


def false_alarms(detector: Detector, recording: Recording, metric: str, from_day: int = 0) -> int:
    """Alarms over a recording from `from_day` on, the detector starting afresh after each."""
    values, bounds, alarms = recording.stream(metric), recording.bounds(), 0
    for day in range(recording.days):
        detector.at(recording.first_tick + 24 * day)
        today = values[bounds[day] : bounds[day + 1]]
        while len(today) and (found := detector.first_alarm(today)) is not None:
            alarms += day >= from_day
            detector.reset()
            today = today[found + 1 :]
    return alarms


def rates(setting: Setting, recordings: Sequence[Recording], from_day: int = 0) -> list[float]:
    """Alarms per budget's span of days, of each recording."""
    return [
        false_alarms(setting.build(), each, setting.metric, from_day) / (each.days - from_day) * BUDGET_DAYS
        for each in recordings
    ]


def strictness(setting: Setting, value: float) -> float:
    """A scale on which more is stricter, > 0: the threshold itself, one over a level or a confidence."""
    return value if setting.knob[-1] == "threshold" else 1.0 / value


def knob_at(setting: Setting, strict: float) -> float:
    """The knob's value at a strictness, to five digits, as it is written down."""
    return float(f"{strictness(setting, strict):.5g}")


def calibrated(setting: Setting, rate: Callable[[Setting], float], steps: int = 7, close: float = 0.04) -> Setting:
    """The setting whose rate comes nearest to 1 on the tuning worlds without passing it: a budget is a cap.

    Bisection on the logarithm of the strictness, from the value at hand.
    """
    tried: dict[float, float] = {}

    def ask(strict: float, beyond: float = math.nan) -> float:
        """The rate at a strictness; `beyond` where the class allows none such."""
        value = knob_at(setting, strict)
        if value not in tried:
            try:
                tried[value] = rate(setting.at(value))
            except configuration.ConfigurationError:
                tried[value] = beyond
        return tried[value]

    low = high = strictness(setting, setting.value)
    tighten, factor = ask(low) > 1.0, 1.3
    for _ in range(BRACKETS):
        if (ask(high, 0.0) <= 1.0) if tighten else (ask(low, math.inf) >= 1.0):
            break
        low, high = (high, high * factor) if tighten else (low / factor, low)
        factor *= 1.2
    for _ in range(steps):
        if any(1.0 - close < found <= 1.0 for found in tried.values()):
            break
        middle = math.sqrt(low * high)
        low, high = (middle, high) if ask(middle) > 1.0 else (low, middle)
    kept = {value: found for value, found in tried.items() if found <= 1.0}
    nearest = max(kept, key=lambda value: kept[value]) if kept else min(tried, key=lambda value: tried[value])
    return setting.at(nearest)


def delays(setting: Setting, recordings: Sequence[Recording], seed: int = 0) -> list[float]:
    """Visits from the declared change to the alarm, infinite where none came in time.

    Each recording is cut into spans; those with a false alarm before the change tell nothing and are left out.
    """
    found = []
    for number, recording in enumerate(recordings):
        less = recording.with_fewer_clicks(DROP, np.random.default_rng([seed, number]))
        before, after, bounds = recording.stream(setting.metric), less.stream(setting.metric), recording.bounds()
        for start in range(0, recording.days - BEFORE - AFTER + 1, BEFORE + AFTER):
            first, change, last = bounds[[start, start + BEFORE, start + BEFORE + AFTER]]
            detector = setting.build()
            if detector.first_alarm(before[first:change]) is None:
                alarm = detector.first_alarm(after[change:last])
                found.append(math.inf if alarm is None else alarm + 1.0)
    return found


@dataclass(frozen=True)
class Judged:
    """What came of a detector: its calibrated `setting`, its `rate` per budget's span over the worlds, the `alarms` it
    rests on, the median `delay` in visits, the share of changes that were `seen`, the `seconds` it took to find out."""

    setting: Setting
    rate: Interval
    alarms: int
    delay: float
    seen: float
    seconds: float

    @property
    def line(self) -> str:
        """All of it, while the others are still at work."""
        return (
            f"{self.setting.name}: {self.setting.knob[-1]} = {self.setting.value:g}, {self.rate.mean:.3f} "
            f"[{self.rate.low:.3f}, {self.rate.high:.3f}] from {self.alarms} alarms, {self.verdict}; "
            f"median delay {self.delay:.0f} visits; {self.seconds:.0f} s"
        )

    @property
    def verdict(self) -> str:
        """Whether the interval reaches into the budget's tolerance."""
        if self.rate.high < 1 - TOLERANCE:
            return "below (coarse knob)"
        return "yes" if self.rate.low <= 1 + TOLERANCE else "no, above"


def judge(setting: Setting, tuned: Sequence[Recording], judged: Sequence[Recording]) -> Judged:
    """Calibrate on the one set of worlds, judge on the other."""
    started, wait = time.perf_counter(), setting.node.get("history_days", 0)

    def rate(candidate: Setting) -> float:
        return float(np.mean(rates(candidate, tuned, wait)))

    chosen = calibrated(setting, rate)
    found = rates(chosen, judged, wait)
    late = [] if wait else delays(chosen, judged)
    days = sum(each.days - wait for each in judged)
    return Judged(
        chosen,
        t_interval(found),
        round(float(np.mean(found)) * days / BUDGET_DAYS),
        float(np.median(late)) if late else math.nan,
        float(np.mean(np.isfinite(late))) if late else math.nan,
        time.perf_counter() - started,
    )


def table(found: Sequence[Judged], visits_a_day: float) -> Table:
    """One row per detector."""

    def delay(judged: Judged) -> str | None:
        if math.isnan(judged.delay):
            return None
        if math.isinf(judged.delay):
            return f"> {AFTER} days"
        return f"{judged.delay:.0f} visits, {judged.delay / visits_a_day:.1f} days"

    rows: list[dict[str, Any]] = [
        {
            "detector": each.setting.name,
            "stream": each.setting.metric,
            "knob": f"{each.setting.knob[-1]} = {each.setting.value:g}",
            "rate": f"{each.rate.mean:.2f} [{each.rate.low:.2f}, {each.rate.high:.2f}]",
            "alarms": each.alarms,
            "verdict": each.verdict,
            "delay": delay(each),
            "seen": None if math.isnan(each.seen) else each.seen,
        }
        for each in found
    ]
    return Table(
        f"False alarms in a stationary shop, budget one in {BUDGET_DAYS:.0f} days; delay after a loss of {DROP:.0%}",
        (
            Column("detector", "detector", str),
            Column("stream", "stream", str),
            Column("knob", "knob", str),
            Column("rate", f"alarms per {BUDGET_DAYS:.0f} days", str),
            Column("alarms", "alarms", str),
            Column("verdict", f"within {TOLERANCE:.0%}", str),
            Column("delay", "median delay", str),
            Column("seen", f"seen in {AFTER} days", "{:.0%}".format),
        ),
        rows,
    )


def write(setting: Setting) -> Path:
    """Put the knob's value into the detector's YAML; comments and all else stay as they are."""
    path = CONF / "detector" / f"{setting.name}.yaml"
    text, count = re.subn(
        rf"(?m)^(\s*{setting.knob[-1]}: )(\S+)( *)", lambda m: _same_width(m, setting.value), path.read_text("utf-8")
    )
    if count != 1:
        raise ValueError(f"{path} must hold '{setting.knob[-1]}' once. Found it {count} times.")
    path.write_text(text, "utf-8")
    return path


def _same_width(match: re.Match[str], value: float) -> str:
    """The new value, with the comment behind it in the column it had."""
    new = f"{value:.5g}" if "e" not in f"{value:.5g}" else f"{value:.4e}"
    room = len(match[2]) + len(match[3]) - len(new)
    return f"{match[1]}{new}{' ' * max(room, 2)}"


SEASONED = ("adwin", "cusum", "glr_gaussian", "ks", "page_hinkley")
"""Detectors of clicks whose deseasonalised form the season's table shows."""

WATCHING = ("adwin", "cusum", "ks", "page_hinkley", "performance", "psi")
"""Strategies whose trigger watches the clicks on first pages."""


@script("perennial-calibrate-detectors")
def main(arguments: Sequence[str] | None = None) -> int:
    """Calibrate and print the table; or print what the calibrated do under a season, or as triggers."""
    one_thread()
    options = _parser().parse_args(arguments)
    from perennial.experiments import recordings

    chosen = settings(options.detectors or None)
    if missing := set(options.detectors) - {each.name for each in chosen}:
        allowed = ", ".join(each.name for each in settings())
        print(f"perennial-calibrate-detectors: unknown {sorted(missing)}. Allowed: {allowed}.", file=sys.stderr)
        return 2
    console = wide_console(180)
    record = partial(recordings.recorded, workers=options.workers, folder=options.recordings)
    show = {"season": _season, "triggers": _triggers}.get(options.show, _calibrate)
    show(options, chosen, record, console)
    return 0


def _calibrate(options: Any, chosen: Sequence[Setting], record: Any, console: Any) -> None:
    started = time.perf_counter()
    tuned, judged = (record(seeds[: options.worlds], options.days or DAYS) for seeds in (TUNED, JUDGED))
    spent = time.perf_counter() - started
    console.print(f"{len(tuned) + len(judged)} worlds recorded in {spent:.0f} s", highlight=False)
    found = []
    for setting in chosen:
        found.append(judge(setting, tuned, judged))
        console.print(found[-1].line, highlight=False)
        if options.write:
            write(found[-1].setting)
    visits = sum(len(each.day) for each in judged) / sum(each.days for each in judged)
    console.print(table(found, visits).rich())


def _season(options: Any, chosen: Sequence[Setting], record: Any, console: Any) -> None:
    from perennial.envs.drift import Seasonal
    from perennial.experiments import false_alarms

    seeds, days = false_alarms.SEASON_SEEDS[: options.worlds], options.days or false_alarms.SEASON_DAYS
    twin, season = record(seeds, days), record(seeds, days, Seasonal())
    named = [each for each in chosen if each.name in SEASONED]
    rows = [false_alarms.season_row(each, twin, season) for each in named]
    console.print(false_alarms.season_table(rows).rich())


def _triggers(options: Any, chosen: Sequence[Setting], record: Any, console: Any) -> None:
    from perennial.experiments import false_alarms, run

    judged = record(JUDGED[: options.worlds], options.days or DAYS)
    nodes = {name: run.compose(["agent=popular", f"strategy={name}"]).strategy for name in WATCHING}
    rows = false_alarms.trigger_rows(
        lambda: {name: configuration.build(node, "strategy").trigger for name, node in nodes.items()}, judged
    )
    console.print(false_alarms.trigger_table(rows).rich())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="perennial-calibrate-detectors", description=__doc__)
    parser.add_argument("detectors", nargs="*", help="choices of conf/detector (default: all that have a knob)")
    parser.add_argument("--write", action="store_true", help="put the values into conf/detector")
    parser.add_argument(
        "--show", choices=("season", "triggers"), help="leave the knobs; alarms under a season, retrains in twins"
    )
    parser.add_argument("--worlds", type=int, help="at most so many worlds of each kind (default: all)")
    parser.add_argument("--days", type=int, help=f"days of each (default {DAYS}; five years for the season)")
    parser.add_argument("--recordings", type=Path, help="folder to keep the recordings in, and to take them from")
    parser.add_argument("--workers", type=int, default=1, help="processes for the recordings (default 1)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
