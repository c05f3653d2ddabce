"""Learners run their own loop on the native vector env of the simulated shop, and on stable-baselines3's own terms."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from sb3_contrib import RecurrentPPO
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.vec_env import DummyVecEnv

from perennial.agents.base import Spaces
from perennial.agents.sb3.features import CandidateScorer, WholeCombinedExtractor
from perennial.agents.sb3.policy import SlatePolicy
from perennial.agents.sb3.vec_env import GymnasiumVecEnv
from tests.agents.sb3.learners import BY_LEARN, FAST

SMALL: dict[str, Any] = {"n_users": 300, "n_items": 200, "n_candidates": 20, "slate_size": 4}
SCORER: dict[str, Any] = {"embedding": 8, "width": 32}


def shop(num_envs: int = 8, **arguments: Any) -> Any:
    env = gym.make_vec(
        "perennial.envs:perennial/Shop-v0",
        num_envs=num_envs,
        vectorization_mode="vector_entry_point",
        autoreset_mode=AutoresetMode.SAME_STEP,
        **{**SMALL, **arguments},
    )
    env.reset(seed=0)
    return env


def begun_for(env: Any, agent: Any) -> Any:
    world = env.unwrapped.world
    agent.begin(world.items_on(np.inf), Spaces(**world.sizes), 0)
    return agent


@pytest.mark.parametrize("name", BY_LEARN)
def test_every_learner_learns_in_the_shop(name: str) -> None:
    env = shop(episode="user", episode_days=20) if name == "meta_rl" else shop()
    agent = begun_for(env, FAST[name]())
    figures = agent.learn(env, 160)
    assert figures["pages_learned"] >= 160
    assert agent.model._n_updates > 0
    state = agent.state()
    assert all(np.isfinite(array).all() for key, array in state.items() if key.startswith("policy/"))


def test_an_environment_of_other_actions_is_refused() -> None:
    env = shop()
    agent = begun_for(env, FAST["dqn"]())
    with pytest.raises(ValueError, match="'env' must take slates, .*build it with action='slate'"):
        agent.learn(shop(action="scores"), 100)


@pytest.mark.parametrize(("episode", "bootstraps"), [("visit", False), ("horizon", True), ("user", True)])
def test_the_critic_looks_beyond_a_horizon_and_not_beyond_the_page_limit(episode: str, bootstraps: bool) -> None:
    env = shop(episode=episode, episode_days=1, page_limit=2, visits_per_day=40)
    assert env.metadata["limit_observed"] is not bootstraps
    act = np.zeros((8, 4), np.int64)
    assert any(env.step(act)[3].any() for _ in range(40))
    lanes = GymnasiumVecEnv(env)
    lanes.reset()
    ended = [info for _ in range(40) for info in lanes.step(act)[3] if info]
    assert any(info["TimeLimit.truncated"] for info in ended) == bootstraps


@pytest.mark.parametrize(("learner", "action"), [(PPO, "scores"), (A2C, "category"), (DQN, "category")])
def test_multi_input_policy_takes_the_item_embeddings(learner: Any, action: str) -> None:
    """stable-baselines3's own MultiInputPolicy on dict observations, with our extractor or with its own."""
    env = shop(action=action)
    scorer = {"items": env.unwrapped.world.items_on(np.inf), **SCORER}
    ours = {"features_extractor_class": CandidateScorer, "features_extractor_kwargs": scorer}
    start = {"learning_starts": 50, "buffer_size": 500} if learner is DQN else {"n_steps": 32}
    for policy in (ours, {}):
        model = learner("MultiInputPolicy", GymnasiumVecEnv(env), policy_kwargs=policy, seed=0, device="cpu", **start)
        model.learn(256)
        assert all(np.isfinite(p.detach().numpy()).all() for p in model.policy.parameters())


def test_the_slate_policy_is_a_policy_of_stock_ppo() -> None:
    """As any user of stable-baselines3 would give it, on the MultiDiscrete slate env."""
    env = shop()
    options = {"items": env.unwrapped.world.items_on(np.inf), **SCORER}
    model = PPO(SlatePolicy, GymnasiumVecEnv(env), n_steps=32, batch_size=64, policy_kwargs=options, device="cpu")
    model.learn(512)
    observation = model.env.reset()
    slates, _ = model.predict(observation, deterministic=True)
    assert slates.shape == (8, 4)
    assert all(len(set(slate)) == 4 for slate in slates.tolist())


class Coded(gym.Env[Any, Any]):
    """A MultiDiscrete inside a Dict observation: what sb3-contrib's recurrent policies stumble over."""

    observation_space = gym.spaces.Dict(
        {"codes": gym.spaces.MultiDiscrete([3, 4]), "x": gym.spaces.Box(-1, 1, (2,), np.float32)}
    )
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return {"codes": np.array([1, 2]), "x": np.zeros(2, np.float32)}, {}

    def step(self, action: Any) -> Any:
        return {"codes": np.array([2, 3]), "x": np.ones(2, np.float32)}, 1.0, False, False, {}


def test_recurrent_policies_run_on_a_multidiscrete_in_a_dict() -> None:
    policy = {"features_extractor_class": WholeCombinedExtractor, "lstm_hidden_size": 8}
    model = RecurrentPPO("MultiInputLstmPolicy", DummyVecEnv([Coded]), n_steps=16, policy_kwargs=policy, device="cpu")
    model.learn(32)
    assert model.num_timesteps == 32
