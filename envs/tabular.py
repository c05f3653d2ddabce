"""A shop small enough to be solved exactly: the mechanisms of the big one, in a table of a few dozen states."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from perennial.envs.validation import at_least

Floats = NDArray[np.float64]

LOYALTY = 5
"""Levels of loyalty, 0 to 4."""

SATIATION = 3
"""Levels of satiation with each of the two categories, 0 to 2."""

CATEGORIES = 2

# Assumed: two categories, each with clickbait (much appeal, little quality), something middling
# and something good that looks plain. Logits; shares.
CATEGORY = np.array([0, 0, 0, 1, 1, 1])
APPEAL = np.array([1.0, 0.3, -0.2, 1.0, 0.3, -0.2])
QUALITY = np.array([0.1, 0.5, 0.9, 0.1, 0.5, 0.9])


@dataclass(frozen=True)
class TabularShop:
    """A Markov decision process: one step is one potential visit of one page.

    A state is (loyalty, satiation with each category); the last state of all is gone for good. An action is a set of
    `slate_size` of six items. The visit happens with probability ``return_floor`` + (1 - ``return_floor``) x loyalty /
    4. If it does, the visitor clicks at most one item, by a conditional logit of appeal less ``satiation_step`` x
    satiation against "none of them", of weight 1; a click pays 1. A clicked item raises loyalty by a level with
    probability ``loyalty_rate`` x quality and lowers it with ``loyalty_rate`` x (1 - quality); no click lowers it with
    ``loyalty_rate`` / 2. The clicked category's satiation rises by a level, the other's falls; where nothing is clicked
    or no visit happens, both fall. At loyalty 0 a visitor who does not come is gone with probability ``churn``.

    Floor and rate are those assumed in the big world (`Dynamics`). Everything is exact float64: ``transition`` (S, A,
    S), ``reward`` (S, A), ``choice`` (S, A, K + 1) the chances of the slots and of no click, given a visit. Rewards are
    discounted by ``discount`` a step.
    """

    slate_size: int = 2
    return_floor: float = 0.3
    loyalty_rate: float = 0.2
    satiation_step: float = 0.7
    churn: float = 0.1
    discount: float = 0.95

    def __post_init__(self) -> None:
        if not 1 <= at_least("slate_size", self.slate_size, 1) <= len(APPEAL):
            raise ValueError(
                f"'slate_size' must lie in [1, {len(APPEAL)}], the number of items. Got {self.slate_size}."
            )
        for name in ("return_floor", "loyalty_rate", "churn", "discount"):
            if not 0 <= (value := getattr(self, name)) <= 1 or (name == "discount" and value == 1):
                raise ValueError(f"'{name}' must lie in [0, 1{')' if name == 'discount' else ']'}. Got {value!r}.")
        at_least("satiation_step", self.satiation_step, 0.0)

    @cached_property
    def states(self) -> list[tuple[int, ...]]:
        """(loyalty, satiation of each category) of every state but the last, which is gone."""
        return list(product(range(LOYALTY), *[range(SATIATION)] * CATEGORIES))

    @cached_property
    def slates(self) -> NDArray[np.int64]:
        """int64 (A, K): the items of every action."""
        return np.array(list(combinations(range(len(APPEAL)), self.slate_size)))

    @property
    def start(self) -> int:
        """The first state: loyalty 2, no satiation."""
        return self.states.index((2, *[0] * CATEGORIES))

    def happens(self, loyalty: int) -> float:
        """Chance that a potential visit happens."""
        return self.return_floor + (1 - self.return_floor) * loyalty / (LOYALTY - 1)

    @cached_property
    def choice(self) -> Floats:
        """float64 (S, A, K + 1): chances of a click on each slot and of none, given a visit; gone: none."""
        satiation = np.array([state[1:] for state in self.states])
        weight = np.exp(APPEAL - self.satiation_step * satiation[:, CATEGORY])[:, self.slates]
        chances = np.concatenate([weight, np.ones((*weight.shape[:2], 1))], axis=2)
        gone = np.zeros((1, *chances.shape[1:]))
        gone[..., -1] = 1.0
        return np.concatenate([chances / chances.sum(axis=2, keepdims=True), gone])

    @cached_property
    def reward(self) -> Floats:
        """float64 (S, A): expected clicks of a step."""
        happens = np.array([*(self.happens(state[0]) for state in self.states), 0.0])
        return np.asarray(happens[:, None] * (1 - self.choice[..., -1]))

    @cached_property
    def transition(self) -> Floats:
        """float64 (S, A, S): chances of the next state."""
        size = len(self.states) + 1
        table = np.zeros((size, len(self.slates), size))
        table[-1, :, -1] = 1.0
        for s, a in product(range(size - 1), range(len(self.slates))):
            for chance, to in self._ways(s, a):
                table[s, a, to] += chance
        return table

    def _ways(self, s: int, a: int) -> list[tuple[float, int]]:
        """(chance, next state) of everything that can come of action `a` in state `s`."""
        loyalty, *satiation = self.states[s]
        comes, rested = self.happens(loyalty), tuple(max(level - 1, 0) for level in satiation)
        leaves = self.churn if loyalty == 0 else 0.0
        ways = [((1 - comes) * leaves, len(self.states)), ((1 - comes) * (1 - leaves), self._at(loyalty, rested))]
        for slot, chance in enumerate(self.choice[s, a]):
            if slot == self.slate_size:
                up, down, after = 0.0, self.loyalty_rate / 2, rested
            else:
                item = self.slates[a, slot]
                up, down = self.loyalty_rate * QUALITY[item], self.loyalty_rate * (1 - QUALITY[item])
                had = [
                    min(level + 1, SATIATION - 1) if c == CATEGORY[item] else rested[c]
                    for c, level in enumerate(satiation)
                ]
                after = tuple(had)
            for move, part in ((1, up), (-1, down), (0, 1 - up - down)):
                ways.append((comes * chance * part, self._at(loyalty + move, after)))
        return ways

    def _at(self, loyalty: int, satiation: tuple[int, ...]) -> int:
        return self.states.index((min(max(loyalty, 0), LOYALTY - 1), *satiation))

    def evaluate(self, policy: NDArray[np.int64]) -> Floats:
        """float64 (S,): discounted return of the deterministic `policy` int64 (S,), by solving Bellman's equations."""
        rows = np.arange(len(policy))
        kernel = np.eye(len(policy)) - self.discount * self.transition[rows, policy]
        return np.asarray(np.linalg.solve(kernel, self.reward[rows, policy]))

    def solve(self, tolerance: float = 1e-12) -> tuple[Floats, NDArray[np.int64]]:
        """The optimal values float64 (S,) and a policy int64 (S,) that has them, by value iteration (Bellman 1957).

        Stops where no value is further than `tolerance` from the optimum (Puterman 1994, theorem 6.3.1).
        """
        values = np.zeros(len(self.reward))
        while True:
            better = self.action_values(values).max(axis=1)
            moved = np.abs(better - values).max()
            values = better
            if moved * self.discount <= tolerance * (1 - self.discount):
                return values, self.action_values(values).argmax(axis=1)

    def action_values(self, values: Floats) -> Floats:
        """float64 (S, A): reward now and `values` (S,) of the state after."""
        return np.asarray(self.reward + self.discount * np.einsum("sat,t->sa", self.transition, values))

    def myopic(self) -> NDArray[np.int64]:
        """int64 (S,): the policy of the greatest expected reward of the step, as the big world's oracle has it."""
        return self.reward.argmax(axis=1)


class TabularShopEnv(gym.Env[np.int64, np.int64]):
    """A shop of six items and a single visitor, exactly solvable.

    ## Description
    See `TabularShop`, whose tables draw every step; it is ``env.unwrapped.model``.

    ## Action Space
    `Discrete(A)`: which items to show, `model.slates`. Anything else is refused, and changes nothing.

    ## Observation Space
    `Discrete(S)`: loyalty and satiation, `model.states`; the last is gone for good.

    ## Starting State
    Loyalty 2 of 4, no satiation.

    ## Reward
    Expected clicks of the step, `model.reward`.

    ## Episode End
    Terminated when the visitor is gone for good; truncated after `horizon` steps.

    ## Information
    Empty.

    ## Arguments
    ``horizon`` (steps, default 200), and those of `TabularShop`.

    ## References
    Bellman 1957; slates with a conditional logit: Ie et al. 2019, arXiv:1905.12767.

    ## Version History
    v0: first form.
    """

    metadata: dict[str, Any] = {"render_modes": []}

    def __init__(self, horizon: int = 200, render_mode: str | None = None, **model: Any) -> None:
        if render_mode is not None:
            raise ValueError(f"'render_mode' must be None: there is nothing to draw. Got {render_mode!r}.")
        self.horizon, self.render_mode = at_least("horizon", horizon, 1), render_mode
        self.model = TabularShop(**model)
        self.observation_space = spaces.Discrete(len(self.model.reward))
        self.action_space = spaces.Discrete(len(self.model.slates))
        self._state: int | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.int64, dict[str, Any]]:
        super().reset(seed=seed)
        self._state, self._step = self.model.start, 0
        return np.int64(self._state), {}

    def step(self, action: Any) -> tuple[np.int64, float, bool, bool, dict[str, Any]]:
        if self._state is None:
            raise RuntimeError("Call reset() before step().")
        if not self.action_space.contains(action):
            raise ValueError(f"An action is an integer in [0, {len(self.model.slates)}). Got {action!r}.")
        reward = float(self.model.reward[self._state, action])
        chances = self.model.transition[self._state, action]
        self._state = int(self.np_random.choice(len(chances), p=chances))
        self._step += 1
        terminated = self._state == len(chances) - 1
        return np.int64(self._state), reward, terminated, not terminated and self._step >= self.horizon, {}
