"""Each kind of rollout as it ships, step by step: how often it promotes a candidate whose lift is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import perennial.conf
from perennial.agents.lifecycle.evidence import Moments
from perennial.agents.lifecycle.hashing import BUCKETS
from perennial.agents.lifecycle.rollout import Rollout
from perennial.agents.lifecycle.rollouts import ABTest, BlueGreen, Canary
from perennial.agents.lifecycle.sequential import Mixture, mixture_interval
from perennial.agents.lifecycle.tables import HOURS
from perennial.experiments.rollouts import CHUNK, DAYS, Arms, Pool, Visits
from perennial.experiments.statistics import share_interval
from perennial.experiments.tables import Column, Table

SHIPPED = {"canary": "nightly_canary", "a/b test": "weekly_ab_test", "blue-green": "nightly_blue_green"}
"""Kind of rollout that reads clicks: the strategy of ``conf/strategy`` whose settings are measured."""

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Step:
    """One step of a rollout: at daily looks `first` to `last`, counted from 1, is the candidate not `margin` worse?

    It ends forward once the difference is shown to lie above ``margin`` (a share of the champion's mean), and backward
    once it is shown to lie below ``worse``, or after the last look. ``share`` of the users meet the candidate.
    """

    share: float
    margin: float
    worse: float
    first: int
    last: int
    alpha: float
    horizon: float
    min_users: int

    def judge(self, candidate: Moments, champion: Moments) -> tuple[Bools, NDArray[np.int64]]:
        """Of R repetitions: whether the step ended forward, and at which look, both (R,); moments (R, days)."""
        _, low, high = mixture_interval(candidate, champion, self.alpha, self.horizon, self.min_users)
        level = np.abs(champion.ratio()[0])
        look = np.arange(1, low.shape[1] + 1)
        with np.errstate(invalid="ignore"):
            back = (high <= self.worse * level) | (look >= self.last)
            good = (low >= self.margin * level) & (look >= self.first) & ~(high <= self.worse * level)
        over = good | back
        at = over.argmax(axis=1)
        return good[np.arange(len(at)), at], look[at]


def shipped(strategy: str, **changes: Any) -> Rollout:
    """The rollout of a strategy in ``conf/``; `changes` to what its YAML says."""
    from perennial.experiments.configuration import build, load

    node = load(Path(perennial.conf.__file__).parent / "strategy" / f"{strategy}.yaml")["rollout"]
    assert isinstance(node, dict)
    made: Rollout = build({**node, **changes}, "rollout")
    return made


def steps_of(rollout: Rollout) -> list[Step]:
    """What a canary or an A/B test does, as steps."""
    assert isinstance(rollout, Canary | ABTest)
    assert isinstance(rollout.sequence, Mixture)
    sequence = rollout.sequence
    common = Step(0.5, 0.0, 0.0, 1, rollout.max_hours // HOURS, sequence.alpha, sequence.horizon, sequence.min_users)
    if isinstance(rollout, ABTest):
        return [replace(common, share=rollout.share / BUCKETS, margin=rollout.margin, worse=rollout.margin)]
    common = replace(common, first=-(-rollout.min_hours // HOURS), alpha=sequence.alpha / rollout.steps)
    pairs = zip(rollout.shares, rollout.tolerances, strict=True)
    return [replace(common, share=share / BUCKETS, margin=-tolerance) for share, tolerance in pairs]


@dataclass(frozen=True)
class Ended:
    """Of R repetitions, (R,) each: ``promoted`` or not, after so many ``days`` and ``impressions`` of both arms."""

    promoted: Bools
    days: NDArray[np.int64]
    impressions: NDArray[np.float64]


def staged(
    steps: Sequence[Step], metric: str, pools: Sequence[Pool], users: int, size: int, rng: np.random.Generator
) -> Ended:
    """Step after step, each on users dealt anew from its first day on; `pools`: the (candidate's, champion's)."""
    on, days, seen = np.ones(size, np.bool_), np.zeros(size, np.int64), np.zeros(size)
    for step in steps:
        counts = dealt(len(pools[0].first_day), users, step.share, size, rng)
        arms = [pool.drawn(n) for pool, n in zip(pools, counts, strict=True)]
        good, look = step.judge(*(moments(arm, metric) for arm in arms))
        pages = arms[0].by_page.w + arms[1].by_page.w
        days[on] += look[on]
        seen[on] += (pages[np.arange(size), look - 1] * pools[0].slots)[on]
        on = on & good
    return Ended(on, days, seen)


def moments(arm: Arms, metric: str) -> Moments:
    """The sums of a metric of clicks."""
    return {"clicks_per_page": arm.by_page, "clicks_per_visit": arm.by_visit}[metric]


def dealt(pool: int, users: int, share: float, size: int, rng: np.random.Generator) -> list[Floats]:
    """float64 (R, pool) of each arm: how often each recorded user is in it."""
    candidates = rng.binomial(users, share, size)
    return [
        np.stack([np.bincount(rng.integers(0, pool, n), minlength=pool) for n in arm]).astype(np.float64)
        for arm in (candidates, users - candidates)
    ]


def switched(rollout: BlueGreen, pools: Sequence[Pool], users: int, size: int, rng: np.random.Generator) -> Ended:
    """The same users with the champion while it soaks, then with the candidate; `pools`: the (watch's, soak's) days."""
    sequence, pool = rollout.sequence, len(pools[0].first_day)
    assert isinstance(sequence, Mixture)
    counts = np.stack([np.bincount(rng.integers(0, pool, users), minlength=pool) for _ in range(size)])
    after, before = (part.drawn(counts.astype(np.float64)) for part in pools)
    measure = moments(before, sequence.metric)
    measure = Moments(*(getattr(measure, part.name)[:, -1:] for part in fields(measure)))
    alpha = sequence.alpha / rollout.steps
    watched = moments(after, sequence.metric)
    found = mixture_interval(watched, measure, alpha, sequence.horizon, sequence.min_users, together=False)
    back = found[2] <= -rollout.tolerance * np.abs(measure.ratio()[0])
    days = np.where(back.any(axis=1), back.argmax(axis=1) + 1, back.shape[1])
    pages = after.by_page.w[np.arange(size), days - 1] + before.by_page.w[:, -1]
    return Ended(np.logical_not(back.any(axis=1)), days + before.by_page.w.shape[1], pages * pools[0].slots)


def repeat(
    visits: Visits, lift: float, users: int, repetitions: int, seed: int, tolerances: Sequence[float] = ()
) -> dict[str, Ended]:
    """What each shipped kind does with a candidate of that lift; the canary also with other last `tolerances`."""
    rng = np.random.default_rng([seed, users, round(1e4 * (1 + lift)), 1])
    best = max(1.0, 1.0 + lift)
    arms = [visits if level == best else visits.thinned(level / best, rng) for level in (1.0 + lift, 1.0)]
    pools = [Pool.of(arm, DAYS) for arm in arms]
    found = {}
    for name, rollout in kinds(tolerances).items():
        parts = []
        for start in range(0, repetitions, CHUNK):
            size = min(CHUNK, repetitions - start)
            if isinstance(rollout, BlueGreen):
                soak, watch = rollout.soak_hours // HOURS, rollout.watch_hours // HOURS
                halves = [Pool.of(arms[0].days(soak, soak + watch), watch), Pool.of(arms[1].days(0, soak), soak)]
                parts.append(switched(rollout, halves, users, size, rng))
            else:
                assert isinstance(rollout.sequence, Mixture)
                parts.append(staged(steps_of(rollout), rollout.sequence.metric, pools, users, size, rng))
        found[name] = Ended(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Ended)))
    return found


def kinds(tolerances: Sequence[float] = ()) -> dict[str, Any]:
    """Name: rollout, as shipped and with other tolerances of the canary's last step."""
    canary = shipped(SHIPPED["canary"])
    assert isinstance(canary, Canary)
    named = {f"{kind} ({strategy})": shipped(strategy) for kind, strategy in SHIPPED.items()}
    for tolerance in tolerances:
        changed = [max(tolerance, other) for other in canary.tolerances[:-1]] + [tolerance]
        named[f"canary, tolerances {' '.join(f'{t:g}' for t in changed)}"] = shipped(
            SHIPPED["canary"], tolerances=changed
        )
    return named


def table(outcomes: dict[tuple[float, int], dict[str, Ended]]) -> Table:
    """One row per kind, lift and size of the shop."""
    rows: list[dict[str, Any]] = []
    for (lift, users), found in outcomes.items():
        for kind, ended in found.items():
            yes = ended.promoted
            row: dict[str, Any] = {"lift": f"{lift:+.0%}" if lift else "equal", "users": f"{users:,}", "kind": kind}
            row["promoted"] = share_interval(int(yes.sum()), len(yes))
            row["days"] = f"{np.median(ended.days[yes]):.0f}" if yes.any() else "-"
            row["impressions"] = f"{np.median(ended.impressions[yes]):,.0f}" if yes.any() else "-"
            rows.append(row)
    columns = (
        Column("lift", "candidate", str),
        Column("users", "users", str),
        Column("kind", "rollout", str),
        Column("promoted", "promoted", lambda cell: f"{cell.mean:.1%} [{cell.low:.1%}, {cell.high:.1%}]"),
        Column("days", "median days to it", str),
        Column("impressions", "median impressions", str),
    )
    return Table(
        "Rollouts as they ship, guardrails aside; immediate and shadow ask no clicks and promote all", columns, rows
    )
