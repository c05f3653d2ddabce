"""Fit the visit model to a click log: simulate visits that never leave, weigh their pages by the chance to stay."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from perennial.envs.calibration.reference import open_visits, uniform_slates, world_of
from perennial.envs.calibration.sessions import MAX_CLICKS, SessionFacts
from perennial.envs.oracle import Oracle
from perennial.envs.preset import Preset, SeasonFit, Source, VisitModel
from perennial.envs.world import World

CTR = 0.15
"""Declared: share of examined products of an in-session listing that a visitor opens, under a uniform slate."""

LEAVE_CLICK = 1.0
"""Assumed: a click log holds no page without a click, so it does not tell how much a click keeps a visitor. Between 0
and 5 logits the chi-square of the go-on hazards falls by less than a tenth, with the other parameters refitted."""

ATTENTION_SPREAD = 2.5
"""Assumed: how strongly a visit's patience shows in how much of a page it looks at. Without it visits of a single click
are too few by half (12.5 % against 21 %); from 2 to 3 the fit of the go-on hazards hardly changes."""

DECAYS = (0.03, 0.045, 0.0675, 0.1)
"""Examination decays that are tried; a parabola through the best three gives the one that is taken."""

HAZARD_ERROR, DEPTH_ERROR = 0.02, 0.05
"""What the choice of the decay forgives, beyond sampling errors: the model's own in a hazard, and that of the depth,
which a click log confounds with what is listed where."""

VISITS, ITEMS, ROUNDS = 6000, 2000, 8
STAY = -50.0
"""A `leave_base` at which nobody leaves."""


@dataclass(frozen=True)
class Paths:
    """V visits that saw P pages each and never left.

    ``patience`` float64 (V,). ``clicks`` float64 (V, P): clicks on each page; ``attraction`` float64 (V, P): the
    candidates' mean chance of a click. Of each click but a visit's first: ``visit_of``, ``page_of`` int64 (pairs,)
    where it fell, ``same`` bool (pairs,) whether its category is that of the click before.
    """

    patience: NDArray[np.float64]
    clicks: NDArray[np.float64]
    attraction: NDArray[np.float64]
    visit_of: NDArray[np.int64]
    page_of: NDArray[np.int64]
    same: NDArray[np.bool_]


def flat_shop(facts: SessionFacts, ctr: float = CTR) -> Preset:
    """A shop with the click log's categories and nothing that turns with the year; nothing is ever bought."""
    size = len(facts.category_share)
    still = [[0.0]] * size
    return Preset(
        name="flat", title="A shop without a season", source=Source("", "", "", ""),
        categories=[str(c) for c in range(size)], base_share=facts.category_share.tolist(), log_share=still,
        season=[SeasonFit(1.0, 1.0, still, [0.0])], hour=[1 / 24] * 24, weekday=[1 / 7] * 7, volume=[0.0],
        visits_per_day=1.0, taste_concentration=14.0, world_taste_concentration=14.0, activity_shape=1.0,
        log_price_mean=[0.0] * size, log_price_std=[1.0] * size,
        ctr=ctr, cart_given_click=0.09, purchase_given_cart=0.0,
    )  # fmt: skip


def fit_visits(facts: SessionFacts, source: Source) -> tuple[VisitModel, Paths]:
    """The visit model that gives the click log's facts in a flat shop under the reference policy.

    Leaving, focus and the level of attraction by fixed point, the examination decay by what it leaves of hazards and
    depth. With the model come the paths of its last round, for the goodness of fit.
    """
    misses = [misfit(facts, *fit_with_decay(facts, source, decay, ROUNDS // 2)) for decay in DECAYS]
    return fit_with_decay(facts, source, least(np.log(DECAYS), np.array(misses)), ROUNDS)


def fit_with_decay(facts: SessionFacts, source: Source, decay: float, rounds: int) -> tuple[VisitModel, Paths]:
    """The visit model with this examination decay, by a fixed point of `rounds` rounds."""
    shop = flat_shop(facts)
    model = VisitModel(source, STAY, 0.0, LEAVE_CLICK, 3.0, decay, ATTENTION_SPREAD)
    level, leave = _logit(shop.ctr), np.array([0.0, 1.0])
    for turn in range(rounds):
        paths = walk(_flat_world(shop, model, level))
        leave = fit_leaving(paths, facts, leave)
        here = staying(paths, leave)
        if turn < rounds - 1:
            level += _logit(shop.ctr) - _logit(float((here * paths.attraction).sum() / here.sum()))
            model = replace(model, focus=model.focus + _logit(facts.same_category) - _logit(same_category(paths, here)))
    return replace(model, leave_base=float(leave[0]), leave_spread=float(leave[1])), paths


def misfit(facts: SessionFacts, model: VisitModel, paths: Paths) -> float:
    """Squared misses of the go-on hazards and of the depth, each over what is forgiven of it."""
    here = staying(paths, np.array([model.leave_base, model.leave_spread]))
    hazards = (go_on(paths.clicks, here) - facts.go_on) / np.maximum(_hazard_error(facts), HAZARD_ERROR)
    deep = 0.0 if np.isnan(facts.depth) else (depth_ratio(paths, here) - facts.depth) / DEPTH_ERROR
    return float((hazards**2).sum() + deep**2)


def least(places: NDArray[np.float64], values: NDArray[np.float64]) -> float:
    """exp of where the parabola through the least of `values` and its neighbours has its bottom."""
    middle = min(max(int(values.argmin()), 1), len(values) - 2)
    x, y = places[middle - 1 : middle + 2], values[middle - 1 : middle + 2]
    bend, slope, _ = np.polyfit(x - x[1], y, 2)
    bottom = x[1] - slope / (2 * bend) if bend > 0 else places[values.argmin()]
    return float(np.exp(np.clip(bottom, places[0], places[-1])))


def depth_ratio(paths: Paths, here: NDArray[np.float64]) -> float:
    """Clicks on second pages over clicks on first pages, all visits counted."""
    made = (here * paths.clicks).sum(0)
    return float(made[1] / made[0])


def _flat_world(shop: Preset, model: VisitModel, level: float) -> World:
    fit = replace(shop.season[0], level=[level])
    return world_of(shop, fit, model, VISITS, ITEMS, seed=0)


def walk(world: World) -> Paths:
    """Serve uniform slates to visitors who see every page up to the limit."""
    visits, oracle = open_visits(world, 0.0), Oracle(world)
    patience = visits.lanes.patience.astype(np.float64)
    pages, seen, shown = [], [], []
    while len(visits):
        slates = uniform_slates(world, len(visits))
        shown.append(world.catalogue.category[visits.lanes.candidates[visits.rows][:, : slates.shape[1]]])
        seen.append(oracle.truth(visits).click.mean(1))
        pages.append(world.respond(visits, slates).clicked)
    clicked, category = np.stack(pages, 1), np.stack(shown, 1)
    visit_of, page_of, slot = np.nonzero(clicked)
    chosen = category[visit_of, page_of, slot]
    # Clicks on one page come at once and have no order: the next click is one on a later page.
    later = np.flatnonzero((np.diff(visit_of) == 0) & (np.diff(page_of) > 0)) + 1
    return Paths(
        patience=patience,
        clicks=clicked.sum(2).astype(np.float64),
        attraction=np.stack(seen, 1),
        visit_of=visit_of[later],
        page_of=page_of[later],
        same=chosen[later] == chosen[later - 1],
    )


def staying(paths: Paths, leave: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64 (V, P): chance that a visit comes to each page.

    ``leave`` (2,): leave_base and leave_spread; a click keeps by `LEAVE_CLICK`.
    """
    logit = leave[0] - leave[1] * paths.patience[:, None] - LEAVE_CLICK * (paths.clicks[:, :-1] > 0)
    stay = np.cumprod(1 / (1 + np.exp(logit)), axis=1)
    return np.concatenate([np.ones((len(stay), 1)), stay], axis=1)


def click_counts(clicks: NDArray[np.float64], here: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64 (most clicks + 1,): chance that a visit ends with 0, 1, ... clicks; `here` (V, P) as from `staying`."""
    last = here - np.concatenate([here[:, 1:], np.zeros((len(here), 1))], axis=1)
    return np.bincount(np.cumsum(clicks, axis=1).astype(np.int64).ravel(), last.ravel()) / len(here)


def go_on(clicks: NDArray[np.float64], here: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64 (MAX_CLICKS,): P(another click | at least k clicks), k = 1, 2, ..."""
    reached = click_counts(clicks, here)[::-1].cumsum()[::-1][1 : MAX_CLICKS + 2]
    return np.asarray(reached[1:] / reached[:-1])


def clicks_figures(clicks: NDArray[np.float64], here: NDArray[np.float64]) -> dict[str, float]:
    """The figures of `sessions.size_figures` among visits with a click, and `bounce`, the share without."""
    chance = click_counts(clicks, here)
    number = np.arange(1, len(chance))
    clicked = chance[1:] / chance[1:].sum()
    below = clicked.cumsum()
    return {
        "single_click_share": float(clicked[0]),
        "clicks_median": float(number[np.searchsorted(below, 0.5)]),
        "clicks_mean": float((number * clicked).sum()),
        "clicks_p90": float(number[np.searchsorted(below, 0.9)]),
        "bounce": float(chance[0]),
    }


def fit_leaving(paths: Paths, facts: SessionFacts, start: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64 (2,): leave_base and leave_spread; least squares of the go-on hazards over their standard errors."""
    error = _hazard_error(facts)

    def miss(leave: NDArray[np.float64]) -> NDArray[np.float64]:
        return (go_on(paths.clicks, staying(paths, leave)) - facts.go_on) / error

    found: NDArray[np.float64] = least_squares(miss, start, xtol=1e-12, ftol=1e-12).x
    return found


def _hazard_error(facts: SessionFacts) -> NDArray[np.float64]:
    """float64 (MAX_CLICKS,): standard errors of the log's go-on hazards."""
    reached = np.array([(facts.sizes >= k).sum() for k in range(1, MAX_CLICKS + 1)])
    return np.asarray(np.sqrt(facts.go_on * (1 - facts.go_on) / reached))


def same_category(paths: Paths, here: NDArray[np.float64]) -> float:
    """Share of next clicks that stay in the category of the last."""
    chance = here[paths.visit_of, paths.page_of]
    return float((chance * paths.same).sum() / chance.sum())


def _logit(p: float) -> float:
    return float(np.log(p / (1 - p)))
