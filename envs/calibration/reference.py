"""Run the reference policy, uniform slates over season-blind candidates, and count expected purchases."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from perennial.envs.oracle import Oracle
from perennial.envs.preset import Preset, SeasonFit, VisitModel
from perennial.envs.rewards import Reward
from perennial.envs.world import Visits, World

FIRST_VISIT = 1 << 40
"""Visit keys of the simulated visits begin here, in the tick that no arrival stream of these worlds reaches."""


@dataclass(frozen=True)
class ReferenceRun:
    """V visits under the reference policy at one moment.

    ``purchases`` float64 (V, C): expected purchases of the visit's pages by category; ``clicks`` float64 (V,): expected
    clicks; ``attraction`` float64 (V,): sum over the visit's pages of the candidates' mean chance of a click;
    ``pages`` int64 (V,): pages seen.
    """

    purchases: NDArray[np.float64]
    clicks: NDArray[np.float64]
    attraction: NDArray[np.float64]
    pages: NDArray[np.int64]


def world_of(preset: Preset, fit: SeasonFit, model: VisitModel, n_users: int, n_items: int, seed: int) -> World:
    """A world whose season is `fit` and whose reward is the expected number of purchases."""
    return World(
        replace(preset, season=[fit]),
        seed=seed,
        n_users=n_users,
        n_items=n_items,
        ctr_level=fit.ctr_level,
        channel=fit.channel,
        reward=Reward(click=0.0, purchase=1.0),
        visit_model=model,
    )


def open_visits(world: World, day: float, batch: int = 0) -> Visits:
    """One visit of every user at `day`, all visitors fresh; other batches meet other draws, the same on every day."""
    users = np.arange(world.sizes["n_users"], dtype=np.int64)
    world.reset()
    starting = np.stack([FIRST_VISIT + batch * len(users) + users, users, np.full(len(users), int(day * 24))])
    visits = Visits(world.new_lanes(len(users)), users)
    world.begin(visits.lanes, visits.rows, starting)
    return visits


def uniform_slates(world: World, pages: int) -> NDArray[np.int64]:
    """int64 (pages, K): the first K candidates, a uniform slate since candidates come in random order."""
    return np.tile(np.arange(world.sizes["slate_size"]), (pages, 1))


def slots_examined(persistence: NDArray[np.float64], slots: int) -> NDArray[np.float64]:
    """float64 (n,): expected number of examined slots of a page, by its lane's persistence (n,)."""
    return np.asarray((persistence[:, None] ** np.arange(slots)).sum(1))


def run_reference(world: World, day: float, batch: int = 0) -> ReferenceRun:
    """Run the reference policy over one visit of every user at `day`; purchases and clicks are expectations."""
    oracle, visits = Oracle(world), open_visits(world, day, batch)
    users, categories = world.sizes["n_users"], world.sizes["n_categories"]
    purchases, clicks, attraction = np.zeros(users * categories), np.zeros(users), np.zeros(users)
    pages = np.zeros(users, np.int64)
    while len(visits):
        rows, truth = visits.rows, oracle.truth(visits)
        category = world.catalogue.category[visits.lanes.candidates[rows]]
        place = (rows[:, None] * categories + category).ravel()
        click = truth.click
        examined = slots_examined(truth.persistence, world.sizes["slate_size"]) / world.sizes["n_candidates"]
        worth = examined[:, None] * click * truth.gain
        purchases += np.bincount(place, worth.ravel(), users * categories)
        clicks[rows] += examined * click.sum(1)
        attraction[rows] += click.mean(1)
        pages[rows] += 1
        world.respond(visits, uniform_slates(world, len(rows)))
    return ReferenceRun(purchases.reshape(users, categories), clicks, attraction, pages)
