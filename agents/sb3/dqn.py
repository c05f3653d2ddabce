"""DQN over pages: a value for each candidate (ranked) or each category, learned from any log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import DQN

from perennial.agents.base import Decision, Feedback, Keys, Observations, top_k
from perennial.agents.sb3.actions import Categories, Picks, kind_of
from perennial.agents.sb3.off_policy import OffPolicy
from perennial.agents.sb3.q_policies import PageDqnPolicy
from perennial.agents.sb3.rollouts import Pages, slot_rewards
from perennial.agents.validation import number, whole


class QLearner(OffPolicy):
    """Serves by action values: with ``action="item"`` the K candidates of the highest values, best first.
    With probability `exploration_final_eps` the first pick, or the category, is any of them.

    A logged slate then is K picks, each with the reward of its own slot and the same page after it: exact for K = 1,
    a heuristic above, which takes slots as independent (as ranking by item-wise values does). `learn` gives a pick the
    reward of its whole page instead: above K = 1 the two teach values on different scales, so keep to one of them. With
    ``action="category"`` a page is one choice, and only pages whose slate a category would show teach anything.
    """

    def _set_values(
        self,
        action: Any,
        target_update_interval: Any,
        exploration_fraction: Any,
        exploration_final_eps: Any,
        max_grad_norm: Any,
    ) -> None:
        self.action_kind = kind_of(action, ("item", "category"))
        self.ranks = self.action_kind is Picks
        self.network["ranks"] = self.ranks
        self.options |= {
            "target_update_interval": whole("target_update_interval", target_update_interval, 1),
            "exploration_fraction": number("exploration_fraction", exploration_fraction, 0.0, 1.0),
            "exploration_final_eps": number("exploration_final_eps", exploration_final_eps, 0.0, 1.0),
            "max_grad_norm": number("max_grad_norm", max_grad_norm, 0.0, above=True),
        }

    @property
    def stored(self) -> tuple[str, ...]:
        return () if self.ranks else ("action",)  # a ranked slate says itself what was chosen

    def values(self, observations: Observations) -> NDArray[np.float32]:
        """float32 (B, M) or (B, C): the value of each action."""
        with torch.inference_mode():
            result: NDArray[np.float32] = self._action_values(self._tensors(observations)).numpy()
        return result

    def _action_values(self, seen: dict[str, torch.Tensor]) -> torch.Tensor:
        values: torch.Tensor = self.model.q_net(seen)
        return values

    def act(self, observations: Observations, keys: Keys) -> Decision:
        """The best action, or with probability `exploration_final_eps` any (of the categories on the page)."""
        values, candidates = self.values(observations), observations["candidates"]
        explored = self.rng.random(len(values)) < self.options["exploration_final_eps"]
        any_action = np.where(self._allowed(candidates), self.rng.random(values.shape), -1.0).argmax(axis=1)
        actions = np.where(explored, any_action, self._best(values, candidates)).astype(np.int32)
        propensity = np.ones((len(values), self.spaces.slate_size))
        propensity[:, 0] = self._chance(values, candidates, actions)
        return Decision(self._slates(values, candidates, actions), propensity, {"action": actions})

    def slate_propensity(
        self, observations: Observations, keys: Keys, slates: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        """Exact: the first slot names the action, the others follow from it."""
        values, candidates = self.values(observations), observations["candidates"]
        actions = self.actions.guess(slates, candidates)
        same = self._slates(values, candidates, actions) == slates
        propensity = np.logical_and.accumulate(same, axis=1).astype(np.float64)
        propensity[:, 0] *= self._chance(values, candidates, actions)
        return propensity

    def _allowed(self, candidates: NDArray[np.int32]) -> NDArray[np.bool_]:
        """bool (B, actions): those that have a candidate on the page."""
        if isinstance(self.actions, Categories):
            return self.actions.masks(candidates)
        return np.ones(candidates.shape, dtype=np.bool_)

    def _best(self, values: NDArray[np.float32], candidates: NDArray[np.int32]) -> NDArray[np.int64]:
        best: NDArray[np.int64] = np.where(self._allowed(candidates), values, -np.inf).argmax(axis=1)
        return best

    def _chance(
        self, values: NDArray[np.float32], candidates: NDArray[np.int32], actions: NDArray[Any]
    ) -> NDArray[np.float64]:
        """float64 (B,): probability of these actions."""
        epsilon, count = self.options["exploration_final_eps"], self._allowed(candidates).sum(axis=1)
        return (1.0 - epsilon) * (self._best(values, candidates) == actions) + epsilon / count

    def _slates(
        self, values: NDArray[np.float32], candidates: NDArray[np.int32], actions: NDArray[Any]
    ) -> NDArray[np.int32]:
        """int32 (B, K): a picked candidate, then the others by value; or what a category shows."""
        if not self.ranks:
            return self.actions.slates(actions, candidates)
        raised = values.copy()
        np.put_along_axis(raised, actions[:, None].astype(np.int64), np.inf, axis=1)
        return top_k(raised, self.spaces.slate_size)

    def _actions_of(self, feedback: Feedback) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        if self.ranks:
            return feedback.slates, np.ones(len(feedback), dtype=np.bool_)
        return super()._actions_of(feedback)

    def _rewards(self, feedback: Feedback) -> NDArray[np.float32]:
        return self.reward_scale * slot_rewards(feedback) if self.ranks else super()._rewards(feedback)

    def _steps(self, pages: Pages, row: int) -> Iterator[tuple[NDArray[Any], Any]]:
        if not self.ranks:
            yield from super()._steps(pages, row)
            return
        for slot in range(self.spaces.slate_size):
            yield pages["action"][row, slot : slot + 1], pages["reward"][row, slot]


class Dqn(QLearner):
    """Deep Q-learning (Mnih et al. 2015, "Human-level control through deep reinforcement learning")."""

    algorithm = DQN
    policy_class = PageDqnPolicy

    def __init__(
        self,
        action: str = "item",
        learning_rate: float = 1e-3,
        buffer_size: int = 20_000,
        learning_starts: int = 500,
        batch_size: int = 128,
        gamma: float = 0.5,
        tau: float = 1.0,
        train_freq: int = 16,
        gradient_steps: int = 1,
        target_update_interval: int = 1000,
        exploration_fraction: float = 0.2,
        exploration_final_eps: float = 0.05,
        max_grad_norm: float = 10.0,
        reward_scale: float = 1.0,
        embedding: int = 16,
        width: int = 64,
        id_scale: float = 0.3,
    ) -> None:
        """Names as in stable-baselines3 (a step is a logged slot with "item", a page with "category"), and:

        action: "item", rank candidates by value; "category", choose one and show its candidates first.
        reward_scale: factor on rewards.
        embedding, width: size of item vectors and of hidden layers.
        id_scale: speed of the free vector of a single item, relative to what items share; 0 = none.
        """
        self._set_network(embedding, width, id_scale, reward_scale)
        self._set_learning(
            learning_rate, buffer_size, learning_starts, batch_size, gamma, tau, train_freq, gradient_steps
        )
        self._set_values(action, target_update_interval, exploration_fraction, exploration_final_eps, max_grad_norm)
