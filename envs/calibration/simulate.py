"""Fit season and taste scales by simulation: at sensitivity 1 the reference policy reproduces the log's shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from perennial.envs.calibration.reference import ReferenceRun, run_reference, world_of
from perennial.envs.calibration.seasons import shares
from perennial.envs.preset import YEAR_DAYS, Preset, SeasonFit, VisitModel, harmonics
from perennial.envs.world import World

CTR_LEVELS = (0.5, 1.0, 2.0)
CHANNELS = (0.0, 0.5, 1.0)
GAIN = 1.4
"""A step of the fixed point is this much longer than a world of one kind of visitor would need: tastes differ, so a
category's purchases answer its logit with less than 1."""


@dataclass(frozen=True)
class Effort:
    """How much to simulate: `users` visits at each of `days` moments of the year, `rounds` of the fixed point."""

    users: int = 5000
    items: int = 8000
    days: int = 16
    rounds: int = 8
    seed: int = 0

    def moments(self) -> NDArray[np.float64]:
        """float64 (days,): moments spread evenly over the year, whole hours."""
        return np.floor((np.arange(self.days) + 0.5) * YEAR_DAYS / self.days * 24) / 24


def fit_season(
    preset: Preset, model: VisitModel, ctr_level: float, channel: float, effort: Effort, start: SeasonFit | None = None
) -> SeasonFit:
    """The season that gives the preset's shares, at (ctr_level, channel), by a fixed point of `effort.rounds` rounds.

    Each round runs the reference policy at every moment with the same draws and adds, per category, the log of wanted
    over simulated purchase share, projected on the harmonics. The level moves so that the mean attraction stays
    ctr * ctr_level; below channel 1 the categories' common part moves so that purchases per click stay constant
    (the log says nothing of either: all volume goes to arrivals); at channel 1 their base-weighted sum is 0.
    """
    days = effort.moments()
    wanted = shares(np.asarray(preset.log_share), days)
    waves = harmonics(days, (np.asarray(preset.log_share).shape[1] - 1) // 2)
    project = np.linalg.pinv(waves)
    fit = start or first_guess(preset, ctr_level, channel)
    category, level = np.asarray(fit.category), np.asarray(fit.level)
    for _ in range(effort.rounds):
        runs = simulate(preset, SeasonFit(ctr_level, channel, category.tolist(), level.tolist()), model, effort)
        sold = np.stack([r.purchases.sum(0) for r in runs])
        step = np.log(wanted) - np.log(sold / sold.sum(1, keepdims=True))
        step -= (step @ preset.base_share)[:, None]
        if channel < 1:
            paid = np.log(preset.cart_given_click * preset.purchase_given_cart * _clicks(runs) / sold.sum(1))
            step += paid[:, None] / (1 - channel)
        lift = _logit(preset.ctr * ctr_level) - _logit(mean_attraction(runs))
        category = category + GAIN * (project @ step).T
        level = level + GAIN * (project @ lift)
    return SeasonFit(ctr_level, channel, category.tolist(), level.tolist())


def first_guess(preset: Preset, ctr_level: float, channel: float) -> SeasonFit:
    """Where the fixed point starts: the log-shares' own swing, and a level that would do without any variety."""
    category = np.asarray(preset.log_share).copy()
    category[:, 0] = 0.0
    level = np.zeros(category.shape[1])
    level[0] = _logit(preset.ctr * ctr_level)
    return SeasonFit(ctr_level, channel, category.tolist(), level.tolist())


def simulate(preset: Preset, fit: SeasonFit, model: VisitModel, effort: Effort, batch: int = 0) -> list[ReferenceRun]:
    """The reference policy at each of the effort's moments, the same visitors and draws at all of them."""
    world = build(preset, fit, model, effort)
    return [run_reference(world, day, batch) for day in effort.moments()]


def build(preset: Preset, fit: SeasonFit, model: VisitModel, effort: Effort) -> World:
    """The world that `simulate` runs."""
    return world_of(preset, fit, model, effort.users, effort.items, effort.seed)


def mean_attraction(runs: Sequence[ReferenceRun]) -> NDArray[np.float64]:
    """float64 (runs,): chance of a click on an examined item, over all pages."""
    return np.array([r.attraction.sum() / r.pages.sum() for r in runs])


def _clicks(runs: Sequence[ReferenceRun]) -> NDArray[np.float64]:
    return np.array([r.clicks.sum() for r in runs])


def taste_of(preset: Preset, fit: SeasonFit, model: VisitModel, effort: Effort) -> float:
    """The concentration that `fit_concentration` finds in simulated orders, in expectation.

    Two batches of visits of the same users stand for pairs of orders; a visit counts by its expected purchases.
    """
    expected = shares(np.asarray(preset.log_share), effort.moments())
    products = weight = 0.0
    halves = [simulate(preset, fit, model, effort, batch) for batch in (1, 2)]
    for one, two, share in zip(*halves, expected, strict=True):
        size = one.purchases.sum(1, keepdims=True), two.purchases.sum(1, keepdims=True)
        products += float(((one.purchases - size[0] * share) * (two.purchases - size[1] * share)).sum())
        weight += float((size[0] * size[1]).sum())
    share = expected.mean(0)
    return float((1 - (share**2).sum()) / max(products / weight, 1e-6) - 1)


def fit_world_taste(preset: Preset, fit: SeasonFit, model: VisitModel, effort: Effort) -> float:
    """The world's Dirichlet concentration whose simulated orders give the log's `taste_concentration`.

    Log-log interpolation between concentrations around the log's; the year is looked at in four moments.
    """
    grid = preset.taste_concentration * np.geomspace(0.25, 16.0, 7)
    few = replace(effort, days=4)
    found = [taste_of(replace(preset, world_taste_concentration=float(a)), fit, model, few) for a in grid]
    order = np.argsort(found)
    wanted = np.log(preset.taste_concentration)
    return float(np.exp(np.interp(wanted, np.log(np.asarray(found)[order]), np.log(grid[order]))))


def order_rate(runs: Sequence[ReferenceRun]) -> float:
    """Chance that a visit ends with an order, from its expected purchases taken as independent and rare."""
    return float(np.mean([-np.expm1(-r.purchases.sum(1)).mean() for r in runs]))


def _logit(p: float | NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.log(p) - np.log1p(-np.asarray(p)))
