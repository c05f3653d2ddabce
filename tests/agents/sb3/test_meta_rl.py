"""RL^2: what is remembered of a user, how long, and that it is worth having where moods change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perennial.agents.base import Decision, Feedback, Keys, Observations
from perennial.agents.sb3.memory import Memory, outcome_of
from perennial.agents.sb3.meta_rl import MetaRl
from perennial.agents.sb3.ppo import Ppo
from tests.agents.sb3.learners import LEARNERS
from tests.agents.sb3.tiny import TinyEnv, begun, served, tiny_shop
from tests.agents.toy import ToyShop, toy_shop


class Moods(ToyShop):
    """Two kinds of items; each user likes one kind at a time, hidden, and changes over once in ten pages."""

    def respond(self, observations: Observations, keys: Keys, decision: Decision) -> Feedback:
        answer = super().respond(observations, keys, decision)
        changed = keys.user_id[self.rng.random(len(keys)) < 0.1]
        self.taste[changed] = -self.taste[changed]
        return answer


def moods(seed: int = 0) -> ToyShop:
    shop = toy_shop(seed, n_users=64, n_items=6, n_categories=2, n_candidates=6, slate_size=1, history=1, dim=2)
    shop.__class__ = Moods
    shop.user[:], shop.focus, shop.weight = 0.0, 0.0, 0.0
    shop.appeal[:] = 1.5
    shop.taste = np.where(np.arange(64) % 2 == 0, 3.0, -3.0)[:, None] * np.array([1.0, -1.0])
    return shop


def share_while_learning(agent: Any, rounds: int, scored: int) -> float:
    """Expected clicks of the last `scored` of `rounds` rounds of 64 pages, as a share of the best slates'."""
    shop, mine, best = moods(), 0.0, 0.0
    begun(agent, shop)
    for number in range(rounds):
        observations, keys = shop.observe(64)
        decision = agent.act(observations, keys)
        if number >= rounds - scored:
            mine += shop.expected_clicks(observations, keys, decision.slates).sum()
            best += shop.expected_clicks(observations, keys, shop.best_slates(observations, keys)).sum()
        agent.update(shop.respond(observations, keys, decision))
    return mine / best


OPTIONS: dict[str, Any] = {"n_steps": 500, "batch_size": 250, "n_epochs": 4, "learning_rate": 5e-3, "gamma": 0.5}
SIZES: dict[str, Any] = {"credit": "page", "embedding": 8, "width": 16, "reward_scale": 1.0}


@pytest.mark.slow
def test_the_carried_state_helps_where_moods_change() -> None:
    """No page tells the mood: a memoryless policy sees the last click, which says nothing of what was refused since."""
    memoryless = share_while_learning(Ppo(**OPTIONS, **SIZES), 250, 60)
    carried = share_while_learning(MetaRl(state=16, gae_lambda=0.9, **OPTIONS, **SIZES), 250, 60)
    assert carried > memoryless + 0.05
    assert carried > 0.75


def keys_of(visit: int, page: int, user: int = 0) -> Keys:
    return Keys(np.array([visit]), np.array([page], np.int32), np.array([user], np.int32), np.zeros(1, np.int64))


@pytest.mark.parametrize(("carries", "expected"), [(True, 5.0), (False, 0.0)])
def test_memory_ends_with_the_visit_or_not(carries: bool, expected: float) -> None:
    memory, first = Memory(3, {"x": np.zeros(2, np.float32)}, carries), keys_of(7, 0)
    memory.keep(first, memory.recall(first), {"x": np.full((1, 2), 5.0, np.float32)})
    assert memory.recall(keys_of(7, 1))["x"].tolist() == [[5.0, 5.0]]
    assert memory.recall(keys_of(8, 0))["x"].tolist() == [[expected] * 2]
    assert memory.recall(keys_of(8, 0, user=1))["x"].tolist() == [[0.0, 0.0]]
    assert memory.recall(first)["x"].tolist() == [[0.0, 0.0]], "asked again, a page finds what it found before"


def test_outcomes_are_read_off_the_history() -> None:
    """Clicked of what was shown: 4; 5 and 4; nothing; nothing (no page before)."""
    shown = np.array([[4, 5], [4, 5], [4, 5], [-1, -1]], np.int32)
    before = np.array([[-1, -1, 9], [1, 2, 3], [1, 2, 3], [-1, -1, -1]], np.int32)
    now = np.array([[-1, 9, 4], [3, 5, 4], [1, 2, 3], [-1, -1, -1]], np.int32)
    assert outcome_of(shown, before, now).tolist() == [[1, 0], [1, 1], [0, 0], [0, 0]]


@pytest.mark.parametrize("name", ["recurrent_ppo", "meta_rl"])
def test_state_before_a_page_is_zero_only_at_a_start(name: str) -> None:
    shop = tiny_shop()
    agent = begun(LEARNERS[name](), shop)
    log = Feedback.concatenate([served(shop, agent, 300) for _ in range(6)])  # all users on every page
    blank = (log.extras["memory"] == 0).all(axis=(1, 2, 3))
    first_met = np.arange(len(log)) < 300
    starts = first_met if name == "meta_rl" else log.keys.page == 0
    assert blank.tolist() == starts.tolist()


def test_asking_for_propensities_does_not_move_the_state() -> None:
    shop = tiny_shop()
    agent = begun(LEARNERS["meta_rl"](), shop)
    served(shop, agent)
    observations, keys = shop.observe(50)
    decision, before = agent.act(observations, keys), agent.memory.state()
    agent.slate_propensity(observations, keys, decision.slates[:, ::-1].copy())
    again = agent.memory.state()
    assert all(np.array_equal(array, again[name]) for name, array in before.items())


def test_a_page_whose_follower_is_missing_lends_its_value() -> None:
    """Users' pages are runs over visits; the last of each is learned from only if it ended a visit."""
    shop = tiny_shop()
    agent = begun(LEARNERS["meta_rl"](), shop)
    agent.n_steps = 10**6
    for _ in range(4):
        agent.update(served(shop, agent, 300))
    ready, pages = agent._ready(agent.waiting)
    assert ready.all()
    last = pages["page"] == 3
    assert pages["ended"][last].any()
    assert (pages["explored"] == (last & ~pages["ended"])).all()
    assert pages["page"].tolist() == [0, 1, 2, 3] * 300
    assert pages["visit"].tolist() == np.repeat(np.arange(300), 4).tolist()


def test_learn_tells_of_the_page_before() -> None:
    shop = tiny_shop()
    agent = begun(LEARNERS["meta_rl"](), shop)
    lanes = agent._lanes(TinyEnv(shop, 6))
    assert (lanes.reset()["shown"] == -1).all()
    slates = np.tile([3, 1], (6, 1))
    candidates = lanes._candidates.copy()
    shown = np.take_along_axis(candidates, slates, axis=1)
    seen, rewards, done, infos = lanes.step(slates)
    goes_on = ~done
    assert goes_on.any()
    assert done.any()
    assert (seen["shown"][goes_on] == shown[goes_on]).all()
    assert (seen["outcome"].sum(axis=1)[goes_on] == (rewards / agent.reward_scale)[goes_on]).all()
    assert (seen["shown"][done] == -1).all()
    for lane in np.flatnonzero(done):
        last = infos[lane]["terminal_observation"]
        assert set(last) == set(lanes.observation_space.spaces)
        assert last["shown"].tolist() == shown[lane].tolist()


@pytest.mark.parametrize("name", ["recurrent_ppo", "meta_rl"])
def test_a_cold_fit_forgets_whom_it_met(name: str) -> None:
    """A new network has no use for states that the old one left."""
    shop = tiny_shop()
    agent = begun(LEARNERS[name](), shop)
    served(shop, agent)
    agent.fit(shop.uniform_log(20), "cold")
    _, keys = shop.observe(50)
    assert not agent.memory.recall(keys)["memory"].any()


def test_remembered_users_are_saved(tmp_path: Path) -> None:
    shop = tiny_shop()
    agent, other = begun(LEARNERS["recurrent_ppo"](), shop), begun(LEARNERS["recurrent_ppo"](), shop)
    served(shop, agent)
    agent.save(tmp_path / "agent")
    other.load(tmp_path / "agent")
    observations, keys = shop.observe(50)
    one, two = agent.act(observations, keys), other.act(observations, keys)
    assert (one.slates == two.slates).all()
    assert (one.extras["memory"] == two.extras["memory"]).all()
    assert one.extras["memory"].any()
