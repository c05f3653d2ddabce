import numpy as np

from perennial.agents.base import Agent, Decision
from perennial.agents.lifecycle.cost import REMEMBERED, DeclaredCost, VersionCosts
from tests.agents.lifecycle.hand import wave


class Sized(Agent):
    """An agent of so many parameters."""

    def __init__(self, size):
        self.weights = np.zeros(size)

    def act(self, observations, keys):
        return Decision(np.zeros((len(keys), 2), np.int32), np.ones((len(keys), 2)))

    def state(self):
        return {"weights": self.weights}


def test_a_decision_costs_a_base_and_its_parameters_unless_it_says_so_itself():
    agent, cost = Sized(2_000_000), DeclaredCost(base_ms=0.5, ms_per_million=2.0)
    assert cost.of(agent) == 0.5 + 2 * 2.0
    agent.latency_ms = 31
    assert cost.of(agent) == 31.0


def test_each_page_costs_what_its_version_does():
    costs = VersionCosts(DeclaredCost(1.0, 1e6))
    pages = wave(0, [1, 2, 3, 4], version=np.array([2, 1, 9, 2], np.int32))
    assert [costs.settle(1, Sized(3)), costs.settle(2, Sized(5))] == [4.0, 6.0]
    np.testing.assert_array_equal(costs(pages), [6.0, 4.0, np.nan, 6.0])
    costs.settle(2, Sized(7))  # it has grown by an update in place
    np.testing.assert_array_equal(costs(pages), [8.0, 4.0, np.nan, 8.0])
    for version in range(100, 100 + REMEMBERED - 1):
        costs.settle(version, Sized(1))
    np.testing.assert_array_equal(costs(pages), [8.0, np.nan, np.nan, 8.0])  # the oldest is forgotten
    assert len(costs(pages.take(np.arange(0)))) == 0
