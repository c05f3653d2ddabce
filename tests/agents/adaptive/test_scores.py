"""Agents that hold agents tell how they rank, so that the least certain decisions can be found; asking is free."""

from __future__ import annotations

import numpy as np
import pytest

from perennial.agents.adaptive import CalendarConditioned, DetectedRestart, SeasonalMemory, WindowEnsemble
from perennial.agents.bandits.lints import LinTS
from perennial.agents.base import Agent, top_k
from perennial.agents.lifecycle.detectors import PageHinkley
from perennial.agents.lifecycle.review import certainty
from perennial.agents.linucb import LinUCB
from perennial.agents.popular import Popular
from perennial.agents.scores import scorer
from tests.agents.toy import ToyShop, toy_shop

WRAPPERS = {
    "calendar_conditioned": CalendarConditioned,
    "detected_restart": lambda agent: DetectedRestart(agent, PageHinkley()),
    "seasonal_memory": SeasonalMemory,
    "window_ensemble": lambda agent: WindowEnsemble(agent, days=[1, 2]),
}
every_wrapper = pytest.mark.parametrize("name", WRAPPERS)


def fitted(name: str, agent: Agent) -> tuple[Agent, ToyShop]:
    shop = toy_shop()
    wrapped: Agent = WRAPPERS[name](agent)
    wrapped.begin(shop.items, shop.spaces, 0)
    wrapped.fit(shop.uniform_log(400), "cold")
    return wrapped, shop


@every_wrapper
def test_certainty_is_the_margin_of_what_the_agent_inside_ranks_by(name: str) -> None:
    agent, shop = fitted(name, LinUCB(rank=2))
    observations, keys = shop.observe(50)
    decision = agent.act(observations, keys)
    values, measure = certainty(agent, observations, keys, decision)
    scores = scorer(agent)
    assert scores is not None
    ranked = -np.sort(-np.asarray(scores(observations, keys), np.float64), axis=1)
    k = shop.spaces.slate_size
    assert (measure, values.tolist()) == ("margin", pytest.approx((ranked[:, k - 1] - ranked[:, k]).tolist()))
    assert len(set(values.tolist())) > 40
    if name != "window_ensemble":  # there, each page is one copy's
        assert (decision.slates == top_k(np.asarray(scores(observations, keys)), k)).all()


@every_wrapper
def test_asking_an_agent_that_draws_changes_nothing_it_serves(name: str) -> None:
    (asked, shop), (left_alone, _) = fitted(name, LinTS(rank=2)), fitted(name, LinTS(rank=2))
    for _ in range(3):
        observations, keys = shop.observe(50)
        _, measure = certainty(asked, observations, keys, asked.act(observations, keys))
        assert measure == "margin"
        left_alone.act(observations, keys)
    observations, keys = shop.observe(50)
    mine, other = asked.act(observations, keys), left_alone.act(observations, keys)
    assert mine.slates.tobytes() == other.slates.tobytes()
    assert mine.slot_propensity.tobytes() == other.slot_propensity.tobytes()
    assert asked.state().keys() == left_alone.state().keys()
    for part, array in asked.state().items():
        assert array.tobytes() == left_alone.state()[part].tobytes(), part


@every_wrapper
def test_around_an_agent_without_scores_there_are_none(name: str) -> None:
    agent, shop = fitted(name, Popular())
    observations, keys = shop.observe(50)
    assert scorer(agent) is None
    assert certainty(agent, observations, keys, agent.act(observations, keys))[1] == "propensity"


def test_an_ensembles_scores_are_its_copies_by_their_chances() -> None:
    agent, shop = fitted("window_ensemble", LinUCB(rank=2))
    assert isinstance(agent, WindowEnsemble)
    agent.weights = np.array([0.75, 0.25])
    observations, keys = shop.observe(20)
    one, two = (member.scores(observations) for member in agent.members)  # type: ignore[attr-defined]
    scores = scorer(agent)
    assert scores is not None
    np.testing.assert_allclose(scores(observations, keys), agent.chances[0] * one + agent.chances[1] * two, rtol=1e-6)
    assert agent.chances[0] == pytest.approx(0.9 * 0.75 + 0.05)
