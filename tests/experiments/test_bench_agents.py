"""The agents' benchmark runs on every YAML; its figures are not judged."""

import numpy as np

from perennial.agents.popular import Popular
from perennial.envs import World
from perennial.experiments import bench_agents


def test_measures_an_agent_on_pages_it_served(monkeypatch) -> None:
    monkeypatch.setitem(bench_agents.SIZES, "n_items", 300)
    monkeypatch.setitem(bench_agents.SIZES, "n_users", 300)
    speed = bench_agents.measure(Popular(), pages=400, singles=10, seconds=0.05)
    assert speed.one_ms.shape == (10,)
    assert np.all(speed.one_ms > 0)
    assert min(speed.decisions, speed.update_s, speed.fit_s) > 0


def test_served_pages_are_in_the_order_of_the_log() -> None:
    world = World("gift_shop", seed=0, **{**bench_agents.SIZES, "n_items": 300, "n_users": 300})
    agent = bench_agents.built("random")
    agent.begin(world.items, bench_agents.Spaces(**world.sizes), 0)
    pages = bench_agents.serve(world, agent, 300, 24 * 200)
    assert len(pages) == 300
    order = np.lexsort((pages.keys.page, pages.keys.visit, pages.keys.tick))
    assert np.array_equal(order, np.arange(300))
    assert len(set(pages.keys.tick.tolist())) > 1


def test_every_agent_of_the_configuration_is_named() -> None:
    assert {"linucb", "lints", "neural_linear", "d_linucb", "sw_linucb", "popular"} <= set(bench_agents.names())
