"""How real a simulated year is: played beside the log it was fitted to, for the report of `perennial-calibrate`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from perennial.envs import World
from perennial.envs.calibration import realism
from perennial.envs.calibration.holdout import Holdout, holdouts
from perennial.envs.calibration.logs import PurchaseLog
from perennial.envs.calibration.played import Played, Policy, Reference, play
from perennial.envs.calibration.realism import MonthFacts
from perennial.envs.calibration.sessions import ClickLog, SessionFacts, session_facts
from perennial.envs.calibration.simulate import Effort, fit_season
from perennial.envs.calibration.visits import flat_shop
from perennial.envs.drift import Composed, Drift, Seasonal, ShiftingSeasons, TasteDrift
from perennial.envs.preset import Preset, load_visit_model
from perennial.experiments.comparators import LoggedPopular, Moving
from perennial.experiments.threads import one_thread

Floats = NDArray[np.float64]

YEARS = 2
"""Simulated of the reference policy, so that weeks up to two years apart can be compared; of the others one."""

WARM_UP_DAYS = 28
"""Played and not kept: loyalty finds its level, and `popular` its window."""

ITEMS = 8000
VISIT_DAYS, VISIT_USERS, VISITS_A_DAY = 365, 3000, 400.0
"""Of the flat shop in which visits are compared with the click log."""

HOLDOUT = Effort(users=3000, items=5000, rounds=6)
"""Of the world that is fitted to the first year of two, and scored on the second."""

REFERENCE = "reference"


def _fitted_drifts() -> Drift:
    return Composed([ShiftingSeasons(), TasteDrift()])


PLAYERS: Mapping[str, tuple[Callable[[World], Policy], Callable[[], Drift]]] = {
    REFERENCE: (Reference, Seasonal),
    "fitted drifts": (Reference, _fitted_drifts),
    "popular": (LoggedPopular, Seasonal),
    "moving": (Moving, Seasonal),
}
"""Who serves, under which drift. "fitted drifts": the reference policy where seasons shift and tastes wander too."""


@dataclass(frozen=True)
class Year:
    """A log's or a policy's years in figures: those that are one number by name, the lag curve, the month indices.

    ``lag`` float64 (weeks,), see `realism.lag_curve`. ``index`` float64 (12, C): of a policy, from its expected
    purchases. Empty where there is none.
    """

    figures: Mapping[str, float]
    lag: Floats
    index: Floats


@dataclass(frozen=True)
class ShopRealism:
    """A shop's log and its simulated years; ``reference`` of every seed, the others of the first."""

    preset: Preset
    years: int
    log: Year
    months: MonthFacts
    reference: Sequence[Year]
    others: Mapping[str, Year]
    holdouts: Sequence[Holdout]
    users: int


@dataclass(frozen=True)
class VisitRealism:
    """The click log's figures, and those of a flat shop with its categories."""

    log: Mapping[str, float]
    reference: Sequence[Year]
    others: Mapping[str, Year]
    categories: int


def shop_realism(log: PurchaseLog, preset: Preset, seeds: Sequence[int], workers: int) -> ShopRealism:
    """Play `YEARS` years at the log's volume, with as many visitors as the log has customers, and measure both sides.

    The worlds of `seeds` are other draws of visitors and items than the one of the fit (seed 0).
    """
    known = float((log.order_user >= 0).mean())
    users = max(round((int(log.order_user.max()) + 1) / max(known, 1e-9)), 1)
    played = _players(seeds, partial(shop_year, preset, users, _first_day(log)), workers)
    log_share = np.asarray(preset.log_share)
    months = realism.month_facts(log)
    return ShopRealism(
        preset=preset,
        years=max(log.days // 365, 1),
        log=Year(realism.log_figures(log, log_share), realism.lag_curve(log), months.index),
        months=months,
        reference=played[: len(seeds)],
        others=dict(zip(list(PLAYERS)[1:], played[len(seeds) :], strict=True)),
        holdouts=holdouts(log, HOLDOUT),
        users=users,
    )


def shop_year(preset: Preset, users: int, first: int, player: str, seed: int) -> Year:
    """One policy's years in its own world."""
    policy, drift = PLAYERS[player]
    world = World(preset, drift(), seed=seed, n_users=users, n_items=ITEMS)
    years = YEARS if policy is Reference else 1
    played = play(world, policy(world), first, 365 * years, WARM_UP_DAYS)
    figures = realism.log_figures(played.log, np.asarray(preset.log_share))
    return Year(figures | _click_figures(played), realism.lag_curve(played.log), _expected_index(played))


def visit_realism(log: ClickLog, seeds: Sequence[int], workers: int) -> VisitRealism:
    """Play a flat shop with the click log's categories, and measure the visits on both sides."""
    facts = session_facts(log)
    shop = shop_of_visits(facts)
    players = [REFERENCE, "popular", "moving"]
    played = _players(seeds, partial(visit_months, shop), workers, players)
    figures = realism.click_figures(facts.sizes) | {"same_category": facts.same_category, "depth": facts.depth}
    others = dict(zip(players[1:], played[len(seeds) :], strict=True))
    return VisitRealism(figures, played[: len(seeds)], others, len(facts.category_share))


def shop_of_visits(facts: SessionFacts, effort: Effort | None = None) -> Preset:
    """A shop without a season, with the click log's categories, where things are bought, at the declared CTR."""
    log_share = np.log(facts.category_share)
    flat = replace(
        flat_shop(facts), purchase_given_cart=0.3, log_share=(log_share - log_share.mean())[:, None].tolist()
    )
    effort = effort or Effort(users=3000, items=2000, days=1)
    return replace(flat, season=[fit_season(flat, load_visit_model(), 1.0, 1.0, effort)])


def visit_months(shop: Preset, player: str, seed: int) -> Year:
    """One policy's months in the flat shop: figures of its visits only."""
    world = World(shop, seed=seed, n_users=VISIT_USERS, visits_per_day=VISITS_A_DAY)
    played = play(world, PLAYERS[player][0](world), 0, VISIT_DAYS, warm_up=0)
    return Year(_click_figures(played), np.empty(0), np.empty((0, 0)))


def _players(
    seeds: Sequence[int], play_one: Callable[[str, int], Year], workers: int, names: Sequence[str] = tuple(PLAYERS)
) -> list[Year]:
    """The reference policy with every seed, then the others with the first, each in a process's own world."""
    jobs = [(REFERENCE, seed) for seed in seeds] + [(name, seeds[0]) for name in names if name != REFERENCE]
    if workers == 1:
        return [play_one(*job) for job in jobs]
    with ProcessPoolExecutor(min(workers, len(jobs)), get_context("spawn"), one_thread) as pool:
        return list(pool.map(play_one, *zip(*jobs, strict=True)))


def _first_day(log: PurchaseLog) -> int:
    """The day of the log's first order, or the same day of the first year whose warm-up the worlds' calendar holds."""
    first = int(log.order_day[0])
    return first + 365 * max(-((first - WARM_UP_DAYS) // 365), 0)


def _click_figures(played: Played) -> dict[str, float]:
    clicks = played.clicks
    rest = {"depth": clicks.depth, "same_category": clicks.same_category, "bounce": clicks.bounce}
    return realism.click_figures(clicks.sizes) | rest


def _expected_index(played: Played) -> Floats:
    """float64 (12, C): month indices of what was expected to be bought."""
    counts = np.zeros((12, played.expected.shape[1]))
    np.add.at(counts, realism.month_of(played.first + np.arange(len(played.expected))), played.expected)
    return realism.month_index(counts)
