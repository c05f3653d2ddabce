"""A week's pages of a gift shop as they were logged, and as they might have been: lots and clicks drawn anew."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from perennial.agents.base import Agent, Feedback, Items, Keys, Spaces
from perennial.agents.exploring import Exploring
from perennial.agents.lifecycle.off_policy import own_slates
from perennial.agents.lifecycle.rollout import Served
from perennial.agents.linucb import LinUCB
from perennial.agents.popular import Popular
from perennial.agents.random_slates import uniform_slates
from perennial.envs import World
from perennial.envs.drift.seasonal import Seasonal
from perennial.envs.oracle import Oracle
from perennial.experiments.loop import as_feedback

EPSILON = 0.02  # the shop's own floor; with 50 candidates a slot's item is explored on one page in 2,500


@dataclass(frozen=True)
class LoggedShop:
    """Contexts as they were met, the chance of each click by the oracle, and the slates of some policies on them.

    ``attraction`` float64 (P, M): chance of a click if looked at; ``looks`` (P, K): chance of a look, by slot.
    """

    pages: Feedback
    items: Items
    spaces: Spaces
    attraction: np.ndarray
    looks: np.ndarray
    champion: np.ndarray
    targets: dict[str, np.ndarray]

    def value(self, slates: np.ndarray) -> float:
        """Mean clicks of a page, the truth."""
        return float((np.take_along_axis(self.attraction, slates, axis=1) * self.looks).sum(axis=1).mean())

    def redrawn(self, rng: np.random.Generator) -> Feedback:
        """The same pages as the champion behind its floor might have been answered."""
        slates, count = self.champion.copy(), len(self.pages)
        explored = rng.random(count) < EPSILON
        slates[explored] = uniform_slates(rng, int(explored.sum()), self.attraction.shape[1], slates.shape[1])
        clicked = rng.random(slates.shape) < np.take_along_axis(self.attraction, slates, axis=1) * self.looks
        items = np.take_along_axis(self.pages.observations["candidates"], slates, axis=1)
        return replace(self.pages, slates=slates, slate_items=items, clicked=clicked, explored=explored)


def logged_shop(users: int, days: int = 7, seed: int = 0) -> LoggedShop:
    """The shop's own sizes and floor, at a twelfth of a visit a user and day.

    The champion is last night's LinUCB; the targets: "refit", the same of tonight, with a day more; "cold", fitted on
    the last week alone; "popular", far away; "floor", the champion behind a floor of .3.
    """
    world = World("gift_shop", Seasonal(), seed=seed, n_users=users, n_items=2000, visits_per_day=users / 12)
    spaces, start = Spaces(**world.sizes), world.day_of("2010-09-20")

    def fitted(agent: Agent, pages: Feedback) -> Agent:
        agent.begin(world.items, spaces, seed=0)
        agent.fit(pages, "cold")
        return agent

    floor = Exploring(Popular(), 0.1)
    floor.begin(world.items, spaces, seed=0)
    earlier = _play(world, floor, start - 14, 7)[0]
    floor.policy, floor.epsilon = fitted(LinUCB(), earlier), EPSILON
    later = _play(world, floor, start - 7, 7)[0]
    both = Feedback.concatenate([earlier, later])
    champion = fitted(LinUCB(), both.take(both.keys.tick // 24 < start - 1))
    agents = {"refit": fitted(LinUCB(), both), "cold": fitted(LinUCB(), later), "popular": fitted(Popular(), earlier)}
    floor.policy = champion
    pages, attraction, looks = _play(world, floor, start, days)
    own = own_slates(champion, pages)
    targets = {name: own_slates(agent, pages) for name, agent in agents.items()}
    rng = np.random.default_rng(seed)
    uniform = uniform_slates(rng, len(pages), attraction.shape[1], own.shape[1])
    targets["floor"] = np.where(rng.random((len(pages), 1)) < 0.3, uniform, own)
    return LoggedShop(pages, world.items, spaces, attraction, looks, own, targets)


def _play(world: World, policy: Exploring, first: int, days: int) -> tuple[Feedback, np.ndarray, np.ndarray]:
    oracle, parts, attraction, looks = Oracle(world), [], [], []
    for day in range(first, first + days):
        visits = world.arrivals(24 * day, 24 * day + 23)
        while len(visits):
            keys, observations = Keys(**world.keys(visits)), world.observe(visits)
            truth = oracle.truth(visits)
            attraction.append(truth.click)
            looks.append(truth.persistence[:, None] ** np.arange(world.sizes["slate_size"]))
            decision = policy.act(observations, keys)
            served = Served(decision, np.ones(len(keys), np.int32), decision.extras["explored"])
            parts.append(as_feedback(keys, observations, served, world.respond(visits, decision.slates)))
    return Feedback.concatenate(parts), np.concatenate(attraction), np.concatenate(looks)
