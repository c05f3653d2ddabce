"""Do rollouts judge rightly? Users of the simulated shop, recorded once and drawn anew: `perennial-rollouts`.

A policy serves a shop for thirty days, and every visit is written down. A repetition draws users from that record with
replacement, deals them to two arms, and looks once a day. A better or worse arm is the same record with clicks taken
away by lot from the lesser one, so that the lift is known exactly and users stay as unlike each other as they are.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.agents.lifecycle.evidence import Moments
from perennial.agents.lifecycle.sequential import assigned, bets, log_gains, mixture_interval
from perennial.experiments.console import script, wide_console
from perennial.experiments.statistics import share_interval
from perennial.experiments.tables import Column, Table
from perennial.experiments.threads import one_thread

FIRST_DAY = "2010-09-02"
DAYS = 30
POOL = 12_000
"""Users of the recorded shop."""
VISITS = 0.1
"""Visits of a user a day, about the preset's own."""
TRAINING_DAYS = 7
ALPHA = 0.05
HORIZON = 5000.0
HORIZON_PAGES = 20_000.0
"""Visits, and pages, after which the sequences are narrowest."""
MIN_USERS = 50
TOLERANCES = (0.07, 0.05)
"""Of a canary's last step, measured beside the one that ships."""
LIFTS = (0.0, -0.05, 0.05, 0.1)
CHUNK = 50

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Visits:
    """A record of visits, ordered by time: ``user``, ``day`` from 0, ``pages``, ``clicks``, int64 (V,) each.

    ``first_clicks``: those on the visit's first page. ``users``: how many there are; ``slots`` a page.
    """

    user: NDArray[np.int64]
    day: NDArray[np.int64]
    pages: NDArray[np.int64]
    clicks: NDArray[np.int64]
    first_clicks: NDArray[np.int64]
    users: int
    slots: int

    def thinned(self, keep: float, rng: np.random.Generator) -> Visits:
        """The same with each click kept with chance `keep`."""
        first = rng.binomial(self.first_clicks, keep)
        later = rng.binomial(self.clicks - self.first_clicks, keep)
        return Visits(self.user, self.day, self.pages, first + later, first, self.users, self.slots)

    def days(self, first: int, end: int) -> Visits:
        """The days from `first` to before `end`, counted from 0."""
        rows = (self.day >= first) & (self.day < end)
        user, day, pages = self.user[rows], self.day[rows] - first, self.pages[rows]
        return Visits(user, day, pages, self.clicks[rows], self.first_clicks[rows], self.users, self.slots)


def record(seed: int, days: int = DAYS, users: int = POOL) -> Visits:
    """Thirty days of a gift shop in its season, served by LinUCB that learned from a week of uniform slates."""
    from perennial.agents.base import Feedback, Keys, Spaces
    from perennial.agents.lifecycle.rollout import Served
    from perennial.agents.linucb import LinUCB
    from perennial.agents.random_slates import RandomSlates
    from perennial.envs import World
    from perennial.envs.drift.seasonal import Seasonal
    from perennial.experiments.loop import as_feedback

    def serve(agent: Any, first: int, count: int) -> Feedback:
        parts = []
        for day in range(first, first + count):
            visits = world.arrivals(24 * day, 24 * day + 23)
            while len(visits):
                keys, observations = Keys(**world.keys(visits)), world.observe(visits)
                decision = agent.act(observations, keys)
                nobody = np.zeros(len(keys), np.int32)
                answer = world.respond(visits, decision.slates)
                parts.append(as_feedback(keys, observations, Served(decision, nobody, nobody > 0), answer))
        return Feedback.concatenate(parts)

    world = World("gift_shop", Seasonal(), seed=seed, n_users=users, n_items=2000, visits_per_day=VISITS * users)
    uniform, agent, start = RandomSlates(), LinUCB(), World.day_of(FIRST_DAY)
    for policy in (uniform, agent):
        policy.begin(world.items, Spaces(**world.sizes), seed)
    agent.fit(serve(uniform, start - TRAINING_DAYS, TRAINING_DAYS), "cold")
    pages = serve(agent, start, days)
    return by_visit(pages, start, users)


def by_visit(pages: Any, start: int, users: int) -> Visits:
    """The record of logged pages."""
    keys, clicks = pages.keys, pages.clicked.sum(axis=1)
    _, first, at = np.unique(keys.visit, return_index=True, return_inverse=True)
    opening = keys.page == 0
    order = np.argsort(keys.tick[first], kind="stable")
    return Visits(
        user=keys.user_id[first][order].astype(np.int64),
        day=keys.tick[first][order] // 24 - start,
        pages=np.bincount(at)[order],
        clicks=np.bincount(at, clicks)[order].astype(np.int64),
        first_clicks=np.bincount(at[opening], clicks[opening], len(first))[order].astype(np.int64),
        users=users,
        slots=pages.clicked.shape[1],
    )


@dataclass(frozen=True)
class Arms:
    """One arm of R repetitions at the end of each day: moments of clicks by visit and by page, float64 (R, days).

    ``squares``: the sum over visits of clicks^2.
    """

    by_visit: Moments
    by_page: Moments
    squares: NDArray[np.float64]


@dataclass(frozen=True)
class Pool:
    """What a user has come to by the end of each day: float64 (U, 10, days), and the first visit's day and value.

    The ten: has come (0 or 1); clicks y and y^2; visits v, y v, v^2; pages p, y p, p^2; the sum over visits of
    clicks^2. ``first_day`` (U,), days if never; ``first_value`` (U,) in [0, 1]: first-page clicks a slot.
    """

    sums: NDArray[np.float64]
    first_day: NDArray[np.int64]
    first_value: NDArray[np.float64]
    slots: int

    @staticmethod
    def of(visits: Visits, days: int) -> Pool:
        cell, size = visits.user * days + visits.day, visits.users * days

        def total(values: Any) -> NDArray[np.float64]:
            return np.bincount(cell, values, size).reshape(visits.users, days).cumsum(axis=1)

        y, v, p = total(visits.clicks), total(np.ones(len(visits.user))), total(visits.pages)
        sums = np.stack([v > 0, y, y * y, v, y * v, v * v, p, y * p, p * p, total(visits.clicks**2)], axis=1)
        first_day, first_value = np.full(visits.users, days), np.zeros(visits.users)
        user, index = np.unique(visits.user, return_index=True)
        first_day[user], first_value[user] = visits.day[index], visits.first_clicks[index] / visits.slots
        return Pool(sums, first_day, first_value, visits.slots)

    def drawn(self, counts: NDArray[np.float64]) -> Arms:
        """Arms with `counts` float64 (R, U) of each user."""
        users, kinds, days = self.sums.shape
        sums = (counts @ self.sums.reshape(users, -1)).reshape(-1, kinds, days)
        came, y, yy, v, yv, vv, p, yp, pp, squares = (sums[:, n] for n in range(kinds))
        return Arms(Moments(came, y, v, yy, yv, vv), Moments(came, y, p, yy, yp, pp), squares)


Verdicts = tuple[Bools, Bools]
"""(R, days): shown to be better, shown to be worse, at each look."""


def mixture(candidate: Moments, champion: Moments, horizon: float) -> Verdicts:
    """The normal-mixture sequence on a ratio, users as units."""
    _, low, high = mixture_interval(candidate, champion, ALPHA, horizon, MIN_USERS)
    return low >= 0, high <= 0


def repeated_z(candidate: Arms, champion: Arms, by_user: bool) -> Verdicts:
    """A z-test of clicks a visit at every look as if it were the only one; if not `by_user`, also as if visits of one
    user had nothing to do with each other."""
    arms = candidate, champion
    means, variances = zip(*(arm.by_visit.ratio() for arm in arms))
    if not by_user:
        rest = zip((arm.squares for arm in arms), (arm.by_visit.w for arm in arms), means)
        variances = tuple((squares / visits - mean**2) / visits for squares, visits, mean in rest)
    with np.errstate(invalid="ignore", divide="ignore"):
        z = (means[0] - means[1]) / np.sqrt(variances[0] + variances[1])
    return z > 1.959964, z < -1.959964


def betting(
    pools: Sequence[Pool], counts: Sequence[NDArray[np.float64]], share: float, rng: np.random.Generator
) -> Verdicts:
    """The betting sequence on the first page of each user's first visit, in the order in which users come."""
    better: list[Bools] = []
    worse: list[Bools] = []
    days = pools[0].sums.shape[2]
    for drawn in zip(*counts):
        users = [np.repeat(np.arange(len(n)), n.astype(np.int64)) for n in drawn]
        day = np.concatenate([pool.first_day[u] for pool, u in zip(pools, users)])
        value = np.concatenate([pool.first_value[u] for pool, u in zip(pools, users)])
        arm = np.arange(len(day)) < len(users[0])
        order = rng.permutation(len(day))
        order = order[np.argsort(day[order], kind="stable")]
        order = order[day[order] < days]
        x = assigned(value[order], arm[order], share)
        ends = np.searchsorted(day[order], np.arange(days), side="right")
        for gains, found in zip(log_gains(x, bets(x, ALPHA), 0.5), (better, worse)):
            most = np.concatenate([[0.0], np.maximum.accumulate(np.cumsum(gains))])
            found.append(most[ends] >= math.log(2 / ALPHA))
    return np.array(better), np.array(worse)


@dataclass(frozen=True)
class Outcome:
    """Of one rule, over repetitions: ``day`` (R,) of the verdict (days if none), ``better`` (R,), impressions to it."""

    day: NDArray[np.int64]
    better: Bools
    impressions: NDArray[np.float64]


def first_verdict(verdicts: Verdicts, impressions: NDArray[np.float64]) -> Outcome:
    """The first look at which either is shown."""
    better, worse = verdicts
    either, days = better | worse, better.shape[1]
    day = np.where(either.any(axis=1), either.argmax(axis=1), days)
    at = np.minimum(day, days - 1)
    rows = np.arange(len(day))
    spent = np.where(day < days, impressions[rows, at], np.inf)
    return Outcome(day, better[rows, at] & (day < days), spent)


def repeat(
    visits: Visits, lift: float, users: int, repetitions: int, seed: int, share: float = 0.5, days: int = DAYS
) -> dict[str, Outcome]:
    """Every rule's outcomes: so many users, drawn and dealt anew each time; the candidate's clicks have that lift."""
    rng = np.random.default_rng([seed, users, round(1e4 * (1 + lift))])
    best = max(1.0, 1.0 + lift)
    pools = tuple(
        Pool.of(visits if level == best else visits.thinned(level / best, rng), days) for level in (1.0 + lift, 1.0)
    )
    found: dict[str, list[Outcome]] = {}
    for start in range(0, repetitions, CHUNK):
        size = min(CHUNK, repetitions - start)
        for rule, outcome in _chunk(pools, users, size, share, rng).items():
            found.setdefault(rule, []).append(outcome)
    return {rule: _joined(parts) for rule, parts in found.items()}


def _chunk(pools: Any, users: int, size: int, share: float, rng: np.random.Generator) -> dict[str, Outcome]:
    candidates = rng.binomial(users, share, size)
    pool = len(pools[0].first_day)
    counts = tuple(
        np.stack([np.bincount(rng.integers(0, pool, n), minlength=pool) for n in arm]).astype(np.float64)
        for arm in (candidates, users - candidates)
    )
    one, two = (p.drawn(c) for p, c in zip(pools, counts))
    impressions = (one.by_page.w + two.by_page.w) * pools[0].slots
    rules: dict[str, Callable[[], Verdicts]] = {
        "mixture, clicks a page": lambda: mixture(one.by_page, two.by_page, HORIZON_PAGES),
        "mixture, clicks a visit": lambda: mixture(one.by_visit, two.by_visit, HORIZON),
        "betting, first page": lambda: betting(pools, counts, share, rng),
        "z, users as units": lambda: repeated_z(one, two, by_user=True),
        "z, visits as units": lambda: repeated_z(one, two, by_user=False),
    }
    return {rule: first_verdict(judge(), impressions) for rule, judge in rules.items()}


def _joined(parts: list[Outcome]) -> Outcome:
    return Outcome(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("day", "better", "impressions")))


def table(outcomes: dict[tuple[float, int], dict[str, Outcome]]) -> Table:
    """One row per rule, lift and size of the shop."""
    rows: list[dict[str, Any]] = []
    for (lift, users), rules in outcomes.items():
        for rule, found in rules.items():
            n, middle = len(found.day), float(np.median(found.impressions))
            rows.append(
                {
                    "lift": f"{lift:+.0%}" if lift else "equal",
                    "users": f"{users:,}",
                    "rule": rule,
                    "promoted": share_interval(int(found.better.sum()), n),
                    "verdict": share_interval(int((found.day < DAYS).sum()), n),
                    "impressions": f"{middle:,.0f}" if math.isfinite(middle) else "none in 30 days",
                }
            )
    shares = lambda cell: f"{cell.mean:.1%} [{cell.low:.1%}, {cell.high:.1%}]"  # noqa: E731
    columns = (
        Column("lift", "candidate", str),
        Column("users", "users", str),
        Column("rule", "rule", str),
        Column("promoted", "promoted", shares),
        Column("verdict", "any verdict", shares),
        Column("impressions", "median impressions to it", str),
    )
    return Table("Thirty daily looks at two arms; 95 % intervals over the repetitions", columns, rows)


@script("perennial-rollouts")
def main(arguments: Sequence[str] | None = None) -> int:
    """Print two tables: the tests by themselves, and each kind of rollout as it ships."""
    from perennial.experiments import rollout_kinds

    one_thread()
    parser = argparse.ArgumentParser(prog="perennial-rollouts", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=2000, help="for each row (default 2000)")
    parser.add_argument("--users", type=int, nargs="+", default=[4000, 20_000], help="sizes of the shop that tests")
    parser.add_argument("--lifts", type=float, nargs="+", default=list(LIFTS), help="of the candidate")
    parser.add_argument(
        "--tolerances", type=float, nargs="*", default=list(TOLERANCES), help="of a canary's last step, to compare"
    )
    parser.add_argument("--share", type=float, default=0.5, help="of the users that meet it (default 0.5)")
    parser.add_argument("--pool", type=int, default=POOL, help=f"users recorded (default {POOL})")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if min(options.repetitions, options.pool, *options.users) < 1 or not 0 < options.share < 1:
        parser.error("--repetitions, --users and --pool must be 1 or more, --share between 0 and 1.")
    visits, outcomes, kinds = record(options.seed, users=options.pool), {}, {}
    for users in options.users:
        for lift in options.lifts:
            count, seed = options.repetitions, options.seed
            outcomes[lift, users] = repeat(visits, lift, users, count, seed, options.share)
            kinds[lift, users] = rollout_kinds.repeat(visits, lift, users, count, seed, options.tolerances)
    wide_console().print(table(outcomes).rich(), rollout_kinds.table(kinds).rich())
    return 0


if __name__ == "__main__":
    sys.exit(main())
