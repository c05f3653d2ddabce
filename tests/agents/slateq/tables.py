"""Markov decision processes with a single choice in tables, so that SlateQ has exact values to meet."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from perennial.envs.tabular import TabularShop

PAIRS = [(a, b) for a in range(3) for b in range(3)]  # levels of satiation with the shop's two categories


class ChoiceTable:
    """S states, N items, slates of K of them; the next state depends on the item chosen (column N: nothing) alone.

    ``weight`` (S, N): of the logit, nothing having 1. ``reward`` (S, N + 1). ``after`` (S, N + 1, S): chances.
    """

    def __init__(self, weight: np.ndarray, reward: np.ndarray, after: np.ndarray, size: int, discount: float) -> None:
        self.weight, self.reward, self.after, self.size, self.discount = weight, reward, after, size, discount
        self.n_states, self.n_items = weight.shape
        self.slates = np.array(list(combinations(range(self.n_items), size)))

    def chances(self) -> np.ndarray:
        """(S, A, N + 1): chance of each choice, given a slate."""
        shown = np.zeros((len(self.slates), self.n_items + 1))
        shown[np.arange(len(self.slates))[:, None], self.slates] = 1.0
        shown[:, -1] = 1.0
        weight = np.hstack([self.weight, np.ones((self.n_states, 1))])[:, None] * shown
        return weight / weight.sum(axis=2, keepdims=True)

    def worth(self, values: np.ndarray) -> np.ndarray:
        """(S, N + 1): what a choice brings, now and by the value of the state after."""
        return self.reward + self.discount * self.after @ values

    def solve(self) -> np.ndarray:
        """Exact values (S,) by value iteration over all slates (Bellman 1957)."""
        values, chances = np.zeros(self.n_states), self.chances()
        for _ in range(1000):
            values = np.einsum("san,sn->sa", chances, self.worth(values)).max(axis=1)
        return values

    def value_of(self, policy: np.ndarray) -> np.ndarray:
        """Exact values (S,) of showing slate `policy` (S,)."""
        states = np.arange(self.n_states)
        chances = self.chances()[states, policy]
        kernel = np.einsum("sn,snt->st", chances, self.after)
        earned = (chances * self.reward).sum(axis=1)
        return np.linalg.solve(np.eye(self.n_states) - self.discount * kernel, earned)


def drawn(seed: int = 0, states: int = 5, items: int = 6) -> ChoiceTable:
    """A random process in which some choices lead to much better states than others."""
    rng = np.random.default_rng(seed)
    reward = rng.uniform(0.5, 1.5, (states, items + 1)) * np.linspace(0.2, 1.0, states)[:, None]
    reward[:, -1] = 0.0
    after = rng.dirichlet(np.full(states, 0.2), (states, items + 1))
    return ChoiceTable(np.exp(rng.normal(0.0, 0.7, (states, items))), reward, after, 2, 0.8)


def of_shop(shop: TabularShop) -> ChoiceTable:
    """`TabularShop` with a visitor who always comes, so that all hangs on the choice; loyalty then moves nothing."""
    states = [shop.states.index((2, *pair)) for pair in PAIRS]
    weight, after = np.zeros((9, 6)), np.zeros((9, 7, 9))
    for row, state in enumerate(states):
        for action, slate in enumerate(shop.slates.tolist()):
            for slot, choice in enumerate([*slate, 6]):
                after[row, choice] = _leads(shop, state, action, slot)
            weight[row, slate] = shop.choice[state, action, :-1] / shop.choice[state, action, -1]
    return ChoiceTable(weight, np.tile([1.0] * 6 + [0.0], (9, 1)), after, shop.slate_size, shop.discount)


def _leads(shop: TabularShop, state: int, action: int, slot: int) -> np.ndarray:
    """(9,): levels of satiation after the choice of `slot`; the shop lists 2 ways of not coming, then 3 per slot."""
    after = np.zeros(9)
    for chance, to in shop._ways(state, action)[2 + 3 * slot : 5 + 3 * slot]:
        after[PAIRS.index(shop.states[to][1:])] += chance
    return after / after.sum()
