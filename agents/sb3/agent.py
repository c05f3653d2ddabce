"""What all stable-baselines3 learners share as agents: building, `learn` on an environment, keeping, refusing."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces as gym_spaces
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import Logger

from perennial.agents.base import (
    Agent,
    Items,
    Observations,
    Spaces,
    generator_state,
    set_generator_state,
)
from perennial.agents.sb3 import checkpoint
from perennial.agents.sb3.actions import Actions, Slates
from perennial.agents.sb3.generators import OwnGenerators
from perennial.agents.sb3.spaces import page_space
from perennial.agents.sb3.vec_env import PageVecEnv
from perennial.agents.validation import number, saved, whole


class Sb3Agent(Agent):
    """A learner of stable-baselines3 or sb3-contrib, its own code untouched.

    Two ways to teach it, which may follow each other: `learn` runs the algorithm's own loop on an environment;
    `update` and `fit` feed it logged pages. Whatever draws from the global generators does so from the agent's own
    position in them (`OwnGenerators`), so agents in one process do not disturb each other; serving draws from `rng`.
    """

    algorithm: ClassVar[type[BaseAlgorithm]]
    policy_class: ClassVar[type[Any]]
    action_kind: type[Actions] = Slates

    options: dict[str, Any]  # of the algorithm
    network: dict[str, Any]  # of the policy
    reward_scale: float

    def _set_network(self, embedding: Any, width: Any, id_scale: Any, reward_scale: Any) -> None:
        self.network = {
            "embedding": whole("embedding", embedding, 1),
            "width": whole("width", width, 1),
            "id_scale": number("id_scale", id_scale, 0.0),
        }
        self.reward_scale = number("reward_scale", reward_scale, 0.0, above=True)

    def begin(self, items: Items, spaces: Spaces, seed: int) -> None:
        super().begin(items, spaces, seed)
        self.actions = self.action_kind(items, spaces)
        self.generators = OwnGenerators(seed)
        self.version = 1  # of the policy; 0 is nobody's, so that zero-filled extras match nothing
        self._forget()

    def reseed(self, seed: int) -> None:
        super().reseed(seed)
        self.generators = OwnGenerators(seed)

    def _forget(self) -> None:
        """A fresh network, nothing waiting."""
        with self.generators.swapped_in():
            self.model = self._build()
        self.names = list(self.space().spaces)
        self._settle()

    def space(self) -> gym_spaces.Dict:
        """What the learner sees of a page."""
        return page_space(self.spaces)

    def _settle(self) -> None:
        """Ready to serve: evaluation mode, nothing waiting."""
        self.model.policy.set_training_mode(False)

    def _build(self, lanes: PageVecEnv | None = None) -> Any:
        """The learner, for `lanes` or to be fed from a log: the same steps as in `BaseAlgorithm.load`."""
        model = self.algorithm(
            self.policy_class,
            None,  # type: ignore[arg-type]
            device="cpu",
            policy_kwargs={"items": self.items, **self.network},
            _init_setup_model=False,  # type: ignore[call-arg]
            **(self.options if lanes is None else self._learn_options(lanes)),
        )
        model.observation_space, model.action_space = self.space(), self.actions.space()
        model.n_envs = 1 if lanes is None else lanes.num_envs
        model._setup_model()
        model.set_logger(Logger(folder=None, output_formats=[]))
        if lanes is not None:
            model.set_env(lanes)
            model.action_space.seed(int(np.random.randint(2**31)))  # noqa: NPY002 - the agent's own; see `swapped_in`
        return model

    def _learn_options(self, lanes: PageVecEnv) -> dict[str, Any]:
        """The algorithm's options for its own loop on `lanes`."""
        return self.options

    def _lanes(self, env: VectorEnv[Any, Any, Any]) -> PageVecEnv:
        return PageVecEnv(env, self.actions, self.space(), self.reward_scale)

    def learn(self, env: VectorEnv[Any, Any, Any], steps: int, callback: Any = None) -> dict[str, float]:
        """Run the algorithm's own `learn` for `steps` pages on a Gymnasium vector env that takes slates.

        It starts from the agent's policy and optimiser and leaves its own there; a replay buffer begins empty and is
        not kept. `env` needs same-step autoreset and observations as in `Observations`.
        """
        whole("steps", steps, 1)
        with self.generators.swapped_in():
            learner = self._build(self._lanes(env))
            checkpoint.restore_learner(learner, checkpoint.learner_arrays(self.model))
            learner.learn(steps, callback=callback)
            checkpoint.restore_learner(self.model, checkpoint.learner_arrays(learner))
        self.model._n_updates += learner._n_updates
        self.version += 1
        self._settle()
        recent = [episode["r"] for episode in learner.ep_info_buffer or ()]
        return {"pages_learned": float(learner.num_timesteps), "return": float(np.mean(recent)) if recent else np.nan}

    def _tensors(self, observations: Observations) -> dict[str, torch.Tensor]:
        return {name: torch.as_tensor(observations[name]) for name in self.names}

    def _recorded(self) -> dict[str, float]:
        """What the algorithm recorded since the last call."""
        figures = {name: float(value) for name, value in self.model.logger.name_to_value.items()}
        self.model.logger.dump()
        return figures

    @abstractmethod
    def _learned(self) -> dict[str, NDArray[Any]]:
        """What `state` holds beside learner, counters and generators."""

    def state(self) -> dict[str, NDArray[Any]]:
        counters = [self.version, self.model._n_updates, self.model.num_timesteps, getattr(self.model, "_n_calls", 0)]
        return {
            "counters": np.array(counters, dtype=np.int64),
            "rng": generator_state(self.rng),
            **checkpoint.learner_arrays(self.model),
            **checkpoint.prefixed("generators", self.generators.positions),
            **self._learned(),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        counters, position = saved(state, "counters", (4,)), saved(state, "rng", (6,))
        checkpoint.restore_learner(self.model, state)
        self.version, self.model._n_updates, self.model.num_timesteps, calls = (int(n) for n in counters)
        if hasattr(self.model, "_n_calls"):
            self.model._n_calls = calls
        set_generator_state(self.rng, position)
        self.generators.positions = checkpoint.part("generators", state)
        self._settle()
