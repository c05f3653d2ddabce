"""Agents whose scores are chances of a click say so with each decision, and visitors bear them out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.special import expit

from perennial.agents.adaptive import WindowEnsemble
from perennial.agents.bandits.lints import LinTS
from perennial.agents.base import Agent, Decision, Feedback, top_k
from perennial.agents.linucb import LinUCB
from perennial.agents.mf_transformer import MfTransformer
from perennial.agents.neural_linear import NeuralLinear
from perennial.agents.popular import Popular
from perennial.agents.slateq import SlateQ, network
from tests.agents.toy import ToyShop, toy_shop

QUICK = {"factors": 4, "width": 16, "cold_steps": 150, "batch_size": 256, "history": 4, "learning_rate": 0.01}
AGENTS: dict[str, Callable[[], Agent]] = {
    "linucb": lambda: LinUCB(alpha=3.0),  # its bonus is no part of what it foretells
    "lints": LinTS,
    "neural_linear": lambda: NeuralLinear(cold_steps=100),
    "mf_transformer": lambda: MfTransformer(**QUICK),  # type: ignore[arg-type]
    "mf_transformer with a reward head": lambda: MfTransformer(**QUICK, reward_weight=1.0),  # type: ignore[arg-type]
    "window_ensemble": lambda: WindowEnsemble(LinUCB(), days=[7, 28]),
}


@pytest.fixture(scope="module")
def logged() -> tuple[ToyShop, Feedback]:
    shop = toy_shop(1)
    return shop, shop.uniform_log(4000)


def fitted(agent: Agent, shop: ToyShop, log: Feedback) -> Agent:
    agent.begin(shop.items, shop.spaces, 5)
    agent.fit(log, "cold")
    return agent


@pytest.mark.parametrize("name", AGENTS)
def test_clicks_come_as_often_as_foretold(name: str, logged: tuple[ToyShop, Feedback]) -> None:
    shop, log = logged
    agent, pages = fitted(AGENTS[name](), shop, log), []
    for _ in range(10):
        observations, keys = shop.observe(100)
        pages.append(shop.respond(observations, keys, agent.act(observations, keys)))
    served = Feedback.concatenate(pages)
    foretold = served.extras["predicted_clicks"]
    assert foretold.dtype == np.float64
    assert foretold.shape == served.slates.shape
    assert 0 < foretold.min() < foretold.max() <= 1
    assert foretold.mean() == pytest.approx(served.clicked.mean(), abs=0.06)  # what looks best may do so by chance
    # A line adds for each slot what the visitors' examination multiplies by.
    assert foretold.mean(axis=0) == pytest.approx(served.clicked.mean(axis=0), abs=0.15)
    assert served.clicked.mean() > 1.2 * log.clicked.mean()


def test_a_line_foretells_what_its_regression_expects_of_each_slot(logged: tuple[ToyShop, Feedback]) -> None:
    shop, log = logged
    for agent in (fitted(LinUCB(), shop, log), fitted(LinTS(), shop, log)):
        observations, keys = shop.observe(50)
        decision = agent.act(observations, keys)
        page = shop.respond(observations, keys, decision)
        expected = (agent.rows(page) @ agent.theta).reshape(decision.slates.shape)  # type: ignore[attr-defined]
        np.testing.assert_allclose(decision.extras["predicted_clicks"], expected.clip(1e-6, 1), atol=1e-5)


def test_a_model_of_clicks_foretells_its_own_chance_whatever_it_ranks_by(logged: tuple[ToyShop, Feedback]) -> None:
    shop, log = logged
    observations, keys = shop.observe(50)
    agent = MfTransformer(**QUICK, temperature=0.5)  # type: ignore[arg-type]
    fitted(agent, shop, log)
    decision = agent.act(observations, keys)
    logits = np.take_along_axis(agent.scores(observations, keys), decision.slates, axis=1)
    bias = agent.parameters.views()["bias.slot"].detach().numpy()
    assert (bias != 0).any()
    np.testing.assert_allclose(decision.extras["predicted_clicks"], expit(logits + bias), rtol=1e-5)


def test_slateq_foretells_the_choice_of_its_conditional_logit(logged: tuple[ToyShop, Feedback]) -> None:
    shop, log = logged
    agent = SlateQ(cold_steps=10, rounds=2)
    fitted(agent, shop, log)
    observations, keys = shop.observe(50)
    decision = agent.act(observations, keys)
    items = np.take_along_axis(observations["candidates"], decision.slates, axis=1)
    with torch.inference_mode():
        weights = agent.parameters.views()
        logits = network.of_items(weights, *agent._inputs(observations, items))[..., network.CHOICE]
        logits[:, 1:] += weights["slot"]
        chances = torch.softmax(torch.nn.functional.pad(logits, (0, 1)), dim=1).numpy()  # the last is no choice
    assert (weights["slot"] != 0).any()
    np.testing.assert_allclose(decision.extras["predicted_clicks"], chances[:, :-1], rtol=1e-4)


def test_what_foretells_nothing_for_every_page_foretells_nothing(logged: tuple[ToyShop, Feedback]) -> None:
    class Silent(Popular):
        def act(self, observations, keys):  # type: ignore[no-untyped-def]
            slates = top_k(self._scores[observations["candidates"]], self.spaces.slate_size)
            return Decision(slates, np.ones(slates.shape))

    shop, log = logged
    agent = fitted(WindowEnsemble(Silent(), days=[7, 28]), shop, log)
    assert agent.act(*shop.observe(10)).extras == {}
