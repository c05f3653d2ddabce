"""What a frozen policy hears: the first pages of years in a shop, recorded once and listened to by many detectors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import Agent, Feedback, Keys, Spaces
from perennial.agents.lifecycle.rollout import Served
from perennial.agents.popular import Popular
from perennial.agents.random_slates import RandomSlates
from perennial.envs import World
from perennial.experiments.loop import as_feedback
from perennial.experiments.metrics import HOURS
from perennial.experiments.results import digest
from perennial.experiments.threads import one_thread

SHOP = {"n_users": 1200, "n_items": 2000, "visits_per_day": 100.0}
"""The gift shop of the case study."""

LEARNED_DAYS, SETTLING_DAYS = 28, 62
"""Days of uniform pages that `popular` is fitted on, and days it then serves before the recording begins, so that
visitors' loyalty and satiation have settled."""

AT_ONCE = 56
"""Days that are served side by side."""


@dataclass(frozen=True)
class Recording:
    """Visits of `days` days in order of time: ``day`` int64 (V,) from 0, ``clicks`` int8 (V,) on the first page, of
    `slots`. ``first_tick``: hour the recording begins with."""

    day: NDArray[np.int64]
    clicks: NDArray[np.int8]
    days: int
    slots: int
    first_tick: int

    def stream(self, metric: str) -> NDArray[np.float64]:
        """float64 (V,): "first_page_ctr" or "no_click", as `monitors.STREAMS` gives them."""
        if metric == "no_click":
            return (self.clicks == 0).astype(np.float64)
        return self.clicks / float(self.slots)

    def bounds(self) -> NDArray[np.int64]:
        """int64 (days + 1,): visits before the beginning of each day, and all of them."""
        found: NDArray[np.int64] = np.searchsorted(self.day, np.arange(self.days + 1))
        return found

    def with_fewer_clicks(self, share: float, rng: np.random.Generator) -> Recording:
        """The same visits, each click lost with chance `share`."""
        return Recording(
            self.day, rng.binomial(self.clicks, 1.0 - share).astype(np.int8), self.days, self.slots, self.first_tick
        )


def record(seed: int, days: int, drift: Any = None, shop: dict[str, Any] | None = None) -> Recording:
    """Let a frozen `popular` serve a shop for `days` days under `drift` (None: nothing drifts)."""
    from perennial.envs.drift import NoDrift

    world = World("gift_shop", NoDrift() if drift is None else drift, seed, **(SHOP if shop is None else shop))
    spaces, items = Spaces(**world.sizes), world.items
    uniform, popular = RandomSlates(), Popular()
    uniform.begin(items, spaces, seed)
    popular.begin(items, spaces, seed)
    popular.fit(Feedback.concatenate(list(_serve(world, uniform, 0, LEARNED_DAYS))))
    first, found = LEARNED_DAYS + SETTLING_DAYS, []
    for day in range(LEARNED_DAYS, first + days, AT_ONCE):
        for pages in _serve(world, popular, day, min(day + AT_ONCE, first + days)):
            keys, wanted = pages.keys, (pages.keys.page == 0) & (pages.keys.tick >= first * HOURS)
            found.append((keys.tick[wanted], keys.visit[wanted], pages.clicked[wanted].sum(axis=1)))
    tick, visit, clicks = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.lexsort((visit, tick))
    day_of = tick[order] // HOURS - first
    return Recording(day_of, clicks[order].astype(np.int8), days, spaces.slate_size, first * HOURS)


def _serve(world: World, agent: Agent, first: int, end: int) -> Iterator[Feedback]:
    """The pages of the days from `first` up to `end`, wave by wave, side by side: what serves does not change."""
    visits = world.arrivals(HOURS * first, HOURS * end - 1)
    while len(visits):
        keys, seen = Keys(**world.keys(visits)), world.observe(visits)
        decision = agent.act(seen, keys)
        answer = world.respond(visits, decision.slates)
        no = np.zeros(len(keys), np.int32)
        yield as_feedback(keys, seen, Served(decision, no, no.astype(np.bool_)), answer)


def recorded(
    seeds: Sequence[int],
    days: int,
    drift: Any = None,
    workers: int = 1,
    folder: Path | None = None,
    shop: dict[str, Any] | None = None,
) -> list[Recording]:
    """One recording per seed, over worker processes; taken from `folder` where they are, and kept there."""
    job = partial(_recorded, days=days, drift=drift, folder=folder, shop=shop)
    if workers == 1:
        return [job(seed) for seed in seeds]
    with ProcessPoolExecutor(min(workers, len(seeds)), get_context("spawn"), one_thread) as pool:
        return list(pool.map(job, seeds))


def _recorded(seed: int, days: int, drift: Any, folder: Path | None, shop: dict[str, Any] | None) -> Recording:
    if folder is None:
        return record(seed, days, drift, shop)
    what = digest([type(drift).__name__, days, shop, _code()])[:12]
    path = folder / f"{what}-{seed}.npz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, **vars(record(seed, days, drift, shop)))
    with np.load(path) as kept:
        return Recording(kept["day"], kept["clicks"], *(int(kept[name]) for name in ("days", "slots", "first_tick")))


@cache
def _code() -> str:
    """SHA-256 of what decides a recording: the shop, what serves it, and how it is recorded."""
    import perennial.agents.popular
    import perennial.envs

    shop = Path(str(perennial.envs.__file__)).parent
    files = [Path(__file__), Path(perennial.agents.popular.__file__)]
    files += [path for path in shop.rglob("*") if path.suffix in {".py", ".json"} and "calibration" not in path.parts]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(files))).hexdigest()
