"""Measures what a run does with a simulated day, day after day for a year: `perennial-bench --lifecycle`.

All parts of a run are there but the simulator and a model that learns: log, monitor with its watchlist, fairness,
decisions, deployment, registry, score, timings and the checkpoint that holds them.
"""

from __future__ import annotations

import math
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from perennial.agents.base import Feedback, Items, Keys, Spaces
from perennial.agents.lifecycle.checkpoint import Checkpoint, Kept
from perennial.agents.lifecycle.decisions import Audit
from perennial.agents.lifecycle.detectors import Adwin
from perennial.agents.lifecycle.fairness import FairnessReport
from perennial.agents.lifecycle.feedback import FeedbackLog
from perennial.agents.lifecycle.monitors import Monitor
from perennial.agents.lifecycle.registry import Registry
from perennial.agents.lifecycle.rollout import Deployment, ImmediateRollout
from perennial.agents.lifecycle.strategy import Strategy
from perennial.agents.lifecycle.training import TrainingJob
from perennial.agents.lifecycle.triggers import Drift, Never
from perennial.agents.lifecycle.watchlist import Watchlist
from perennial.agents.lifecycle.windows import LastDays
from perennial.agents.popular import Popular
from perennial.experiments.loop import Loop
from perennial.experiments.metrics import HOURS, Scorer
from perennial.experiments.threads import one_thread

IMPRESSIONS = 100_000
WAVES = 4
"""Waves of pages in an hour, each appended by itself."""
SPACES = Spaces(
    n_items=10_000,
    n_users=20_000,
    n_categories=12,
    n_candidates=50,
    slate_size=10,
    history=20,
    user_dim=16,
    page_dim=8,
    calendar_dim=8,
    notice_dim=1,
)

EARLY, LATE, AROUND = 10, 360, 7
"""Two days that are compared by the days around each, so many on either side."""
DAYS = LATE + AROUND + 1
"""That are lived, to have them all."""


def items(seed: int = 0) -> Items:
    """An item table as a watchlist takes it."""
    rng, n = np.random.default_rng(seed), SPACES.n_items
    return {
        "category": rng.integers(0, SPACES.n_categories, n).astype(np.int32),
        "price": rng.lognormal(size=n).astype(np.float32),
    }


def day_of_pages(seed: int = 0) -> list[list[Feedback]]:
    """A day's pages by hour and wave, drawn once; clicks about as often as in the shops."""
    rng, pages = np.random.default_rng(seed), IMPRESSIONS // SPACES.slate_size
    sizes = np.diff(np.linspace(0, pages, HOURS * WAVES + 1).astype(int)).reshape(HOURS, WAVES)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).reshape(HOURS, WAVES)
    return [
        [_wave(rng, hour, int(starts[hour, wave]), int(sizes[hour, wave])) for wave in range(WAVES)]
        for hour in range(HOURS)
    ]


def _wave(rng: np.random.Generator, hour: int, first: int, n: int) -> Feedback:
    candidates = np.argsort(rng.random((n, 1000)), axis=1)[:, : SPACES.n_candidates].astype(np.int32)
    slates = np.argsort(rng.random((n, SPACES.n_candidates)), axis=1)[:, : SPACES.slate_size].astype(np.int32)
    clicked = rng.random(slates.shape) < 0.3
    widths = {"user": SPACES.user_dim, "page": SPACES.page_dim, "calendar": SPACES.calendar_dim, "notice": 1}
    seen: dict[str, Any] = {name: rng.normal(size=(n, width)).astype(np.float32) for name, width in widths.items()}
    seen["history"] = rng.integers(-1, SPACES.n_items, (n, SPACES.history)).astype(np.int32)
    return Feedback(
        keys=Keys(
            np.arange(first, first + n),
            np.zeros(n, np.int32),
            rng.integers(0, SPACES.n_users, n).astype(np.int32),
            np.full(n, hour),
        ),
        observations={**seen, "candidates": candidates},
        slates=slates,
        slate_items=np.take_along_axis(candidates, slates, axis=1),
        clicked=clicked,
        carted=clicked & (rng.random(slates.shape) < 0.09),
        purchased=clicked & (rng.random(slates.shape) < 0.03),
        not_interested=np.zeros(slates.shape, np.bool_),
        reward=clicked.sum(axis=1).astype(np.float32),
        terminated=np.ones(n, np.bool_),
        truncated=np.zeros(n, np.bool_),
        slot_propensity=rng.uniform(0.1, 1.0, slates.shape),
        version=np.ones(n, np.int32),
        explored=rng.random(n) < 0.02,
    )


def on_day(wave: Feedback, day: int) -> Feedback:
    """The wave's pages, by other visits, on another day."""
    keys = wave.keys
    return replace(wave, keys=replace(keys, visit=keys.visit + day * IMPRESSIONS, tick=keys.tick + day * HOURS))


@dataclass(frozen=True)
class Day:
    """What a day took: ``seconds`` on the clock, ``processor`` seconds of all threads, ``memory`` held after it, MB."""

    seconds: float
    processor: float
    memory: float


@dataclass
class Waves:
    """Pages of some hours that are still to be served, wave by wave, as the loop takes visits."""

    left: list[Feedback]

    @property
    def active(self) -> NDArray[np.int64]:
        """int64 (B,): the visits of the next wave; none when all are served."""
        return self.left[0].keys.visit if self.left else np.empty(0, np.int64)

    @property
    def potential(self) -> int:
        return sum(map(len, self.left))


class Drawn:
    """A shop whose pages and answers were drawn beforehand, whatever it is asked to show.

    ``hours``: the waves of each hour of the day at hand.
    """

    def __init__(self) -> None:
        self.hours: list[list[Feedback]] = []

    def arrivals(self, tick: int, last: int) -> Waves:
        return Waves([wave for hour in self.hours[tick % HOURS : last % HOURS + 1] for wave in hour])

    def keys(self, visits: Waves) -> dict[str, NDArray[Any]]:
        return vars(visits.left[0].keys)

    def observe(self, visits: Waves) -> dict[str, NDArray[Any]]:
        return visits.left[0].observations

    def respond(self, visits: Waves, slates: NDArray[np.int32]) -> Feedback:
        return visits.left.pop(0)

    def score(self, visits: Waves, slates: NDArray[np.int32]) -> Known:
        """It knows no better slates; what an oracle takes is the simulator's time, and not measured here."""
        return Known(np.zeros(len(slates)), np.zeros(len(slates)))


@dataclass(frozen=True)
class Known:
    """float64 (B,) each, as a scorer takes them."""

    reward: NDArray[np.float64]
    regret: NDArray[np.float64]


def begin(world: Drawn, folder: Path) -> Loop:
    """A loop of the parts that every run has (see `execution`), with `Popular`, whose decisions take little time."""
    training = TrainingJob(Popular, items(), SPACES)
    log, audit = FeedbackLog(folder / "log", SPACES), Audit(folder / "decisions.jsonl")
    (folder / "registry").mkdir(parents=True)
    registry = Registry(folder / "registry", code="bench", seed=0, keep=3)
    trigger = Drift(Adwin(delta=0.002), cooldown_days=7)
    strategy = Strategy(trigger, LastDays(7), Never(), ImmediateRollout(), step_hours=1)
    champion = training.fresh()
    champion.fit(day_of_pages()[0][0])
    deployment = Deployment(champion, strategy.rollout, registry, tick=-1)
    outside = {"world": world, "training": training, "items": training.items}
    kept: dict[str, Kept] = {"log": log, "audit": audit, "registry": registry}
    rng = np.random.default_rng(0)
    people, sellers = rng.integers(0, 2, SPACES.n_users), rng.integers(0, 20, SPACES.n_items)
    return Loop(
        world,
        deployment,
        strategy,
        training,
        log,
        Monitor(watchlist=Watchlist(training.items, SPACES, deployment.latency)),
        audit,
        Scorer(world),
        FairnessReport({"protected": people, "provider": sellers}),
        checkpoint=Checkpoint(folder / "checkpoint", kept, outside),
    )


def year(days: int, folder: Path) -> Iterator[Day]:
    """Each day of a loop as every run has it, from serving to the checkpoint; drawing its pages is not counted."""
    template, world = day_of_pages(), Drawn()
    loop = begin(world, folder)
    for day in range(days):
        world.hours = [[on_day(wave, day) for wave in hour] for hour in template]
        clock, processor = time.perf_counter(), time.process_time()
        loop.run(day * HOURS, day * HOURS + HOURS - 1)
        yield Day(time.perf_counter() - clock, time.process_time() - processor, held())


def held() -> float:
    """Memory this process holds, MB; where the system does not tell, the most it ever held."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
        return float(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def lifecycle(days: int = DAYS) -> None:
    """Live through `days` and print what a day takes, early and late, and how memory went."""
    with tempfile.TemporaryDirectory() as folder:
        grown = apart(days, Path(folder) / "grown")
        alone = days - 2 * AROUND - 1 if days >= DAYS else days
        lived = list(track(islice(grown, alone), total=alone, description="days"))
        pairs = in_turns(apart(days, Path(folder) / "young"), grown)
        size = sum(file.stat().st_size for file in (Path(folder) / "grown").rglob("*") if file.is_file()) / 2**20
    table = Table("what", "measured", title=f"{days} days of {IMPRESSIONS:,} impressions, one core; aim 2 s a day")
    for what, value in (figures(lived) | compared(pairs)).items():
        table.add_row(what, value)
    table.add_row("on disk, MB", f"{size:.0f}")
    Console().print(table)


def apart(days: int, folder: Path) -> Iterator[Day]:
    """`year` in a process of its own, with memory of its own, where a day is lived when it is asked for."""
    spawn = get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_live, args=(theirs, days, folder), daemon=True)
    process.start()
    theirs.close()
    try:
        for _ in range(days):
            ours.send("next day")
            yield ours.recv()
    finally:
        ours.close()
        process.join()


def _live(asked: Connection, days: int, folder: Path) -> None:
    """Live through a day whenever asked, until nobody asks any more."""
    one_thread()
    with suppress(EOFError):
        for _, day in zip(iter(asked.recv, None), year(days, folder), strict=False):
            asked.send(day)


def in_turns(young: Iterator[Day], grown: Iterator[Day]) -> list[tuple[Day, Day]]:
    """The days around `EARLY` of one record in turns with the last of another, so that both meet the machine alike.

    Each process has done its own days only: in one, the young record would live off memory the grown one gave back.
    """
    late = next(grown, None)
    if late is None:
        return []
    list(islice(young, EARLY - AROUND))
    pairs = [(next(young), late)]
    return pairs + [(early, late) for late, early in zip(grown, young, strict=False)]


def figures(lived: list[Day]) -> dict[str, str]:
    """What is told of the days."""
    seconds, middle = [day.seconds for day in lived], min(59, len(lived) // 2)
    return {
        "log + monitor + decide, s a day, mean": f"{np.mean(seconds):.3f}",
        "the same, median": f"{np.median(seconds):.3f}",
        "the slowest day (the days of a block are merged), s": f"{max(seconds):.2f}",
        f"memory after day {middle + 1}, MB": f"{lived[middle].memory:.0f}",
        f"memory after day {len(lived)}, MB": f"{lived[-1].memory:.0f}",
    }


def compared(pairs: list[tuple[Day, Day]]) -> dict[str, str]:
    """Late days over early ones, in seconds of the processor, as others may be at work on the machine."""
    if not pairs:
        return {}
    early, late = (np.array([day.processor for day in side]) for side in zip(*pairs, strict=True))
    ratio = np.sort(late / early)
    off = math.ceil(len(ratio) / 2 - 0.98 * math.sqrt(len(ratio)))  # ranks of the median's 95 % interval (Conover 1999)
    return {
        f"days around {EARLY} of a new record, processor, s, median of {len(early)}": f"{np.median(early):.4f}",
        f"days around {LATE} in turns with them": f"{np.median(late):.4f}",
        "late over early, median of pairs with 95 % interval (aim 1.1)": (
            f"{np.median(ratio):.2f} [{ratio[off - 1]:.2f}, {ratio[-off]:.2f}]"
        ),
    }
