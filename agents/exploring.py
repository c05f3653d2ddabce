"""The exploration floor: a wrapper that now and then shows a uniform slate and still knows every propensity exactly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import (
    Agent,
    Decision,
    Feedback,
    Items,
    Keys,
    Observations,
    Spaces,
    generator_state,
    set_generator_state,
)
from perennial.agents.random_slates import uniform_propensity, uniform_slates
from perennial.agents.validation import number, saved

STREAM = 0x6578706C  # sets this wrapper's generator apart from the policy's, which has the same seed
PREFIX = "policy."


class Exploring(Agent):
    """With probability `epsilon` a page shows a uniform slate, else what `policy` chooses.

    The slate's distribution is the mixture (1 - e) pi + e uniform of whole slates. With A_k and B_k the probabilities
    of the first k slots under pi and under the uniform slate, the propensity of slot k given those before it is
    ``((1 - e) A_k + e B_k) / ((1 - e) A_{k-1} + e B_{k-1})``; it is never 0, which is what off-policy estimates need.

    ``extras["explored"]`` bool (B,) marks the pages shown by exploration. The policy's own extras tell of the slate
    it *would* have shown: learners that need their own slates drop the explored pages.

    Arguments
    ---------
    policy : the agent that is explored around; this wrapper begins, teaches and saves it
    epsilon : share of pages that show a uniform slate, in [0, 1]
    """

    def __init__(self, policy: Agent, epsilon: float = 0.02) -> None:
        if not isinstance(policy, Agent):
            raise TypeError(f"'policy' must be an Agent. Got {type(policy).__name__}: {policy!r}.")
        self.policy = policy
        self.epsilon = number("epsilon", epsilon, 0.0, 1.0)

    def begin(self, items: Items, spaces: Spaces, seed: int) -> None:
        super().begin(items, spaces, seed)
        self.rng = np.random.default_rng([STREAM, seed])
        self.policy.begin(items, spaces, seed)

    @property
    def stored(self) -> tuple[str, ...]:
        return self.policy.stored

    @property
    def on_policy(self) -> bool:
        return self.policy.on_policy

    def recollect(self, pages: Feedback) -> None:
        self.policy.recollect(pages)

    def reseed(self, seed: int) -> None:
        self.rng = np.random.default_rng([STREAM, seed])
        self.policy.reseed(seed)

    def act(self, observations: Observations, keys: Keys) -> Decision:
        choice = self.policy.act(observations, keys)
        explored = self.rng.random(len(choice.slates)) < self.epsilon
        slates, policy_propensity = choice.slates, choice.slot_propensity
        if explored.any():
            slates, policy_propensity = self._explore(observations, keys, choice, np.flatnonzero(explored))
        propensity = self._mixture(policy_propensity, slates, observations["candidates"].shape[1])
        return Decision(slates, propensity, {**choice.extras, "explored": explored})

    def _explore(
        self, observations: Observations, keys: Keys, choice: Decision, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """The slates with uniform ones in `rows`, and their propensities under the policy."""
        candidates = observations["candidates"].shape[1]
        slates, propensity = choice.slates.copy(), choice.slot_propensity.copy()
        slates[rows] = uniform_slates(self.rng, len(rows), candidates, slates.shape[1])
        # A policy sure of its own slate gives any other none from the first slot that departs: no need to ask it.
        propensity[rows] = np.logical_and.accumulate(slates[rows] == choice.slates[rows], axis=1)
        unsure = rows[(choice.slot_propensity[rows] != 1.0).any(axis=1)]
        if unsure.size:
            seen = {name: array[unsure] for name, array in observations.items()}
            propensity[unsure] = self.policy.slate_propensity(seen, keys.take(unsure), slates[unsure])
        return slates, propensity

    def _mixture(
        self, policy_propensity: NDArray[np.float64], slates: NDArray[np.int32], candidates: int
    ) -> NDArray[np.float64]:
        """float64 (B, K): slot propensities of the mixture, from the policy's."""
        uniform = np.cumprod(uniform_propensity(slates, candidates), axis=1)
        joint = (1.0 - self.epsilon) * np.cumprod(policy_propensity, axis=1) + self.epsilon * uniform
        before = np.concatenate([np.ones((len(joint), 1)), joint[:, :-1]], axis=1)
        return np.divide(joint, before, out=np.zeros_like(joint), where=before != 0.0)

    def slate_propensity(
        self, observations: Observations, keys: Keys, slates: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        policy_propensity = self.policy.slate_propensity(observations, keys, slates)
        return self._mixture(policy_propensity, slates, observations["candidates"].shape[1])

    def fit(self, window: Feedback, start: str = "warm") -> dict[str, float]:
        return self.policy.fit(window, start)

    def update(self, feedback: Feedback) -> dict[str, float]:
        return self.policy.update(feedback)

    def state(self) -> dict[str, NDArray[Any]]:
        inner = {PREFIX + name: array for name, array in self.policy.state().items()}
        return {"generator": generator_state(self.rng), **inner}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        set_generator_state(self.rng, saved(state, "generator", (6,)))
        self.policy.restore({name[len(PREFIX) :]: v for name, v in state.items() if name.startswith(PREFIX)})
