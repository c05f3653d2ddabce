"""Is the fitted season there in purchases it was not fitted to? Held-out log-likelihood, in nats a purchase."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from perennial.envs.calibration import seasons
from perennial.envs.calibration.fit import fit_log, fit_main
from perennial.envs.calibration.goodness import CHECK_SEED
from perennial.envs.calibration.logs import PurchaseLog, part
from perennial.envs.calibration.realism import customers
from perennial.envs.calibration.seasons import Weeks
from perennial.envs.calibration.simulate import Effort, simulate
from perennial.envs.preset import YEAR_DAYS, Source, load_visit_model

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

HARMONICS = (2, 3, 4, 5, 6, 7, 8)
PSEUDO_COUNT = 1.0
"""Purchases, at the training part's yearly shares, added to a raw week, so that what was not bought stays possible."""

NO_SOURCE = Source("", "", "", "")

A_WORLD = "a whole world"
"""Fitted as a preset is, the number of its harmonics chosen by the training part's own weeks."""

Season = Callable[[PurchaseLog, PurchaseLog], Floats]
"""(training part, test part) -> float64 (O, C): the shares it expects at every order of the test part."""


@dataclass(frozen=True)
class Gain:
    """What a season adds to the held-out log-likelihood of a purchase over no season at all, nats.

    ``error``: its standard error, customers drawn independently.
    """

    model: str
    value: float
    error: float


@dataclass(frozen=True)
class Holdout:
    """One way of holding out. ``gains`` by model; ``ceiling``: how far the test part's weeks lie from its own year, KL
    with noise taken off: what a season that knew every week would add, if the year's shares stayed.
    """

    name: str
    gains: Sequence[Gain]
    ceiling: float


def by_time(log: PurchaseLog, effort: Effort | None = None) -> Holdout:
    """Fitted on the first year, scored on the second. `log` spans two years.

    With an `effort`, a whole world too is fitted by simulation to the first year, and scored by what its reference
    policy sells in another draw of visitors and items.
    """
    second = ~log.in_years(0, 1)
    worlds = {} if effort is None else {A_WORLD: simulated(effort)}
    return _held_out("first year fitted, second scored", log, [second], {"raw week shares": same_week} | worlds)


def by_weeks(log: PurchaseLog) -> Holdout:
    """Every second week held out, then the others."""
    odd = seasons.week_of_order(log) % 2 == 1
    return _held_out("interleaved weeks", log, [odd, ~odd], {"raw week shares": neighbouring_weeks})


def by_customers(log: PurchaseLog, seed: int = 0) -> Holdout:
    """Half the customers held out, then the others."""
    who = customers(log)
    chosen = np.random.default_rng(seed).permutation(int(who.max()) + 1) % 2 == 1
    return _held_out("half the customers", log, [chosen[who], ~chosen[who]], {"raw week shares": same_week})


def holdouts(log: PurchaseLog, effort: Effort | None = None) -> list[Holdout]:
    """By time where the log has two years, by interleaved weeks and by customers where it has one."""
    return [by_time(log, effort)] if log.days >= 700 else [by_weeks(log), by_customers(log)]


def _held_out(name: str, log: PurchaseLog, tests: Sequence[Mask], others: Mapping[str, Season]) -> Holdout:
    parts = [(part(log, ~test), part(log, test)) for test in tests]
    models = {f"{count} harmonics": fitted(count) for count in HARMONICS} | dict(others)
    ceilings = [seasons.drift_size(test) for _, test in parts]
    gains = [gain(label, model, parts) for label, model in models.items()]
    return Holdout(name, gains, float(np.mean([measured - noise for measured, noise in ceilings])))


def gain(label: str, model: Season, parts: Sequence[tuple[PurchaseLog, PurchaseLog]]) -> Gain:
    """Mean log ratio of the shares that `model` and no season expect, over all test parts' purchases."""
    won, size = [], []
    for training, test in parts:
        ratio = np.log(model(training, test)) - np.log(level(training))
        who = customers(test)
        won.append(np.bincount(who, (test.baskets * ratio).sum(1)))
        size.append(np.bincount(who, test.baskets.sum(1)))
    per_customer, purchases = np.concatenate(won), np.concatenate(size)
    value = per_customer.sum() / purchases.sum()
    error = np.sqrt(((per_customer - value * purchases) ** 2).sum()) / purchases.sum()
    return Gain(label, float(value), float(error))


def level(log: PurchaseLog) -> Floats:
    """float64 (C,): no season, the whole log's shares; half a purchase more of every category."""
    counts = log.baskets.sum(0) + 0.5
    return np.asarray(counts / counts.sum())


def fitted(count: int) -> Season:
    """The season as a preset fits it, of `count` harmonics."""

    def model(training: PurchaseLog, test: PurchaseLog) -> Floats:
        weeks, effect = seasons.weekly(training), seasons.design_effect(training.baskets)
        return seasons.shares(seasons.fit_log_share(weeks, count, effect), test.order_day.astype(np.float64) + 0.5)

    return model


def simulated(effort: Effort) -> Season:
    """What the reference policy sells, week by week, in a world fitted to the training part alone."""

    def model(training: PurchaseLog, test: PurchaseLog) -> Floats:
        visits = load_visit_model()
        preset, season = fit_main(fit_log(training, "held_out", "", NO_SOURCE), visits, effort)
        moments = replace(effort, days=52, seed=CHECK_SEED)
        sold = np.stack([run.purchases.sum(0) for run in simulate(preset, season, visits, moments)])
        week = np.minimum(test.order_day % YEAR_DAYS / YEAR_DAYS * 52, 51).astype(np.int64)
        return np.asarray((sold / sold.sum(1, keepdims=True))[week])

    return model


def same_week(training: PurchaseLog, test: PurchaseLog) -> Floats:
    """float64 (O, C): the raw shares of the same week of the year."""
    return _raw(training, test, (0,))


def neighbouring_weeks(training: PurchaseLog, test: PurchaseLog) -> Floats:
    """float64 (O, C): the raw shares of the weeks before and after."""
    return _raw(training, test, (-1, 1))


def _raw(training: PurchaseLog, test: PurchaseLog, around: Sequence[int]) -> Floats:
    counts = _weeks_of_year(training)
    summed = sum(np.roll(counts.counts, -shift, axis=0) for shift in around) + PSEUDO_COUNT * level(training)
    share = summed / summed.sum(1, keepdims=True)
    return np.asarray(share[_week_of_year(test, training)])


def _weeks_of_year(log: PurchaseLog) -> Weeks:
    counts = np.zeros((52, len(log.categories)))
    np.add.at(counts, _week_of_year(log, log), log.baskets)
    return Weeks(np.arange(52.0), counts)


def _week_of_year(log: PurchaseLog, since: PurchaseLog) -> NDArray[np.int64]:
    """int64 (O,): the order's week of the year, in [0, 52), counted from the first order of `since`."""
    return np.minimum((log.order_day - since.order_day[0]) % 365 // 7, 51)
