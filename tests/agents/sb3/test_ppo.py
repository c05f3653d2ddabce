"""PPO served and taught in the loop: it learns, counts what it drops, repeats and resumes to the bit."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from perennial.agents.base import Agent, Feedback
from perennial.agents.sb3.generators import read_positions
from perennial.agents.sb3.ppo import Ppo
from tests.agents.toy import ToyShop, toy_shop, uplift

SMALL = {"n_steps": 200, "batch_size": 50, "n_epochs": 2}


def begun(shop: ToyShop, seed: int = 0, **options: object) -> Ppo:
    agent = Ppo(**(SMALL | options))  # type: ignore[arg-type]
    agent.begin(shop.items, shop.spaces, seed)
    return agent


def served(shop: ToyShop, agent: Agent, batch: int = 50) -> Feedback:
    observations, keys = shop.observe(batch)
    return shop.respond(observations, keys, agent.act(observations, keys))


def teach(shop: ToyShop, agent: Agent, rounds: int) -> list[dict[str, float]]:
    return [agent.update(served(shop, agent)) for _ in range(rounds)]


def assert_same_state(one: Ppo, other: Ppo) -> None:
    first, second = one.state(), other.state()
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name, strict=True)


def test_it_learns_what_is_good() -> None:
    """A third of the items is always clicked where looked at, the others hardly ever: 13,000 pages."""
    shop = toy_shop(scale=0.0, focus=0.0, n_users=400)
    shop.appeal = np.where(np.arange(120) % 3 == 0, 4.0, -3.0)
    agent = begun(shop, n_steps=500, batch_size=125, n_epochs=4)
    before, _, _ = uplift(shop, agent, n_batches=3)
    for _ in range(65):
        agent.update(served(shop, agent, batch=200))
    mine, uniform, best = uplift(shop, agent)
    assert before == pytest.approx(uniform, rel=0.15)
    assert mine > uniform + 0.9 * (best - uniform)


def test_it_learns_tastes() -> None:
    """Categories differ per visitor: half of the way from uniform to best slates within 20,000 pages."""
    shop = toy_shop(n_users=400)
    agent = begun(shop, n_steps=1000, batch_size=250, n_epochs=4)
    for _ in range(100):
        agent.update(served(shop, agent, batch=200))
    mine, uniform, best = uplift(shop, agent)
    assert mine > uniform + 0.5 * (best - uniform)


def test_propensities_are_those_of_the_slates_it_drew() -> None:
    shop = toy_shop()
    agent = begun(shop)
    teach(shop, agent, 12)
    observations, keys = shop.observe(40)
    decision = agent.act(observations, keys)
    assert decision.slates.dtype == np.int32
    assert decision.slates.shape == (40, 4)
    assert all(len(set(slate)) == 4 for slate in decision.slates.tolist())
    again = agent.slate_propensity(observations, keys, decision.slates)
    np.testing.assert_array_equal(again, decision.slot_propensity)
    np.testing.assert_allclose(decision.extras["log_prob"], np.log(again), rtol=1e-5, atol=1e-6)


def test_draws_follow_the_propensities() -> None:
    """First slots drawn 20,000 times on one page, against the stated chance of each candidate."""
    shop = toy_shop()
    agent = begun(shop)
    teach(shop, agent, 20)
    observations, keys = shop.observe(1)
    many = {name: np.repeat(array, 20_000, axis=0) for name, array in observations.items()}
    drawn = agent.act(many, keys.take(np.zeros(20_000, np.int64)))
    seen = np.bincount(drawn.slates[:, 0], minlength=20) / 20_000
    chance = np.zeros(20)
    chance[drawn.slates[:, 0]] = drawn.slot_propensity[:, 0]
    assert chance.sum() == pytest.approx(1, abs=1e-5)
    assert np.abs((seen - chance) / np.sqrt(chance / 20_000)).max() < 4


def test_a_repeated_slot_is_impossible() -> None:
    shop = toy_shop()
    agent = begun(shop)
    observations, keys = shop.observe(1)
    assert agent.slate_propensity(observations, keys, np.array([[3, 3, 1, 2]], np.int32))[0, 1] == 0.0


def test_other_peoples_pages_teach_nothing_and_are_counted() -> None:
    shop = toy_shop()
    agent = begun(shop, n_steps=50)
    before = agent.state()
    figures = agent.fit(shop.uniform_log(300))
    assert figures == {"pages_dropped": 300.0, "pages_waiting": 0.0, "passes": 0.0}
    for name, array in agent.state().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


def test_explored_and_outdated_pages_are_counted() -> None:
    shop = toy_shop()
    agent = begun(shop)
    page = served(shop, agent)
    explored = replace(page, explored=np.arange(50) < 7)
    assert agent.update(explored)["pages_dropped"] == 7
    late = served(shop, agent)
    figures = teach(shop, agent, 8)
    assert sum("pages_learned" in f for f in figures) >= 1
    last = agent.update(late)
    assert last == {"pages_dropped": 50.0, "pages_waiting": figures[-1]["pages_waiting"], "passes": 0.0}


def test_every_page_is_either_learned_dropped_or_waiting() -> None:
    shop = toy_shop()
    agent = begun(shop)
    figures = teach(shop, agent, 30)
    learned = sum(f.get("pages_learned", 0) for f in figures)
    dropped = sum(f["pages_dropped"] for f in figures)
    assert learned >= 3 * SMALL["n_steps"]
    assert sum(f["passes"] * 50 for f in figures) == SMALL["n_epochs"] * learned
    assert learned + dropped + figures[-1]["pages_waiting"] == 30 * 50


def test_a_window_teaches_what_updates_would() -> None:
    """`fit` on a window that repeats pages already handed over learns each page once."""
    shop = toy_shop()
    one, other = begun(shop), begun(shop)
    pages, figures = [], {}
    while "pages_learned" not in figures:
        pages.append(served(shop, one))
        figures = one.update(pages[-1])
    other.update(pages[0])
    assert other.fit(Feedback.concatenate(pages))["pages_learned"] == figures["pages_learned"]
    for name, array in one.state().items():
        if name.startswith("policy"):
            np.testing.assert_array_equal(array, other.state()[name])


def test_a_cold_start_forgets() -> None:
    shop = toy_shop()
    agent = begun(shop)
    teach(shop, agent, 20)
    version = agent.version
    assert agent.fit(served(shop, agent), start="cold")["pages_dropped"] == 50
    assert agent.version == version + 1
    mine, uniform, _ = uplift(shop, agent, n_batches=5)
    assert mine == pytest.approx(uniform, rel=0.1)
    with pytest.raises(ValueError, match="'start' must be one of 'warm', 'cold'. Got 'hot'"):
        agent.fit(served(shop, agent), start="hot")


def test_same_seed_same_bits_and_company_does_not_matter() -> None:
    alone, shared, company_shop = toy_shop(), toy_shop(), toy_shop(seed=5)
    agent = begun(alone)
    teach(alone, agent, 12)
    twin, company = begun(shared), begun(company_shop, seed=9)
    for _ in range(12):
        teach(company_shop, company, 1)
        teach(shared, twin, 1)
        np.random.random()  # noqa: NPY002
    assert agent.version > 1
    assert_same_state(agent, twin)


def test_global_generators_are_left_alone() -> None:
    shop = toy_shop()
    before = read_positions()
    teach(shop, begun(shop), 12)
    after = read_positions()
    assert all(np.array_equal(before[name], after[name], equal_nan=name.endswith("gauss")) for name in before)


def test_saved_and_loaded_it_goes_on_bit_for_bit(tmp_path: Path) -> None:
    shop, same = toy_shop(), toy_shop()
    agent, other = begun(shop), begun(same)
    teach(shop, agent, 13)
    teach(same, other, 13)
    assert agent.waiting
    assert agent.version > 1
    agent.save(tmp_path / "ppo.safetensors")
    resumed = begun(shop, seed=77)
    resumed.load(tmp_path / "ppo.safetensors")
    assert_same_state(agent, resumed)
    teach(shop, resumed, 10)
    teach(same, other, 10)
    assert_same_state(other, resumed)


def test_a_fresh_agent_can_be_saved(tmp_path: Path) -> None:
    shop = toy_shop()
    agent, other = begun(shop), begun(shop, seed=4)
    agent.save(tmp_path / "fresh.safetensors")
    other.load(tmp_path / "fresh.safetensors")
    assert_same_state(agent, other)


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="'batch_size' must be at most 'n_steps' = 100. Got 200"):
        Ppo(n_steps=100, batch_size=200)


def test_slots_cannot_be_credited_by_an_environment() -> None:
    shop = toy_shop()
    with pytest.raises(ValueError, match="'credit' must be 'page' to learn on an environment. Got 'slot'"):
        begun(shop).learn(None, 100)  # type: ignore[arg-type]


def test_a_state_of_other_sizes_is_refused() -> None:
    shop = toy_shop()
    agent, other = begun(shop), begun(shop, width=32)
    with pytest.raises(ValueError, match="must have shape .* load into an agent with the same options"):
        other.restore(agent.state())
    with pytest.raises(ValueError, match="The state must hold 'counters'"):
        agent.restore({})


def test_the_yaml_holds_the_defaults() -> None:
    values = yaml.safe_load((Path(__file__).parents[3] / "conf/agent/ppo.yaml").read_text())
    assert values.pop("_target_") == "perennial.agents.sb3.ppo.Ppo"
    defaults = {name: p.default for name, p in inspect.signature(Ppo).parameters.items()}
    assert values == defaults
