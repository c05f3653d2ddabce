"""SlateQ's decomposition where a visitor chooses one item, against exact values over whole slates."""

from __future__ import annotations

from functools import partial
from itertools import combinations

import numpy as np

from perennial.agents.slateq.slates import exact_slates, slate_value
from perennial.envs.tabular import SATIATION, TabularShop
from perennial.experiments.published.entry import Entry, Floats

ROUNDS = 400  # of value iteration; 0.8^400 is nothing
LEVELS: list[tuple[int, ...]] = [(a, b) for a in range(SATIATION) for b in range(SATIATION)]


def iterate(weight: Floats, reward: Floats, after: Floats, size: int, discount: float) -> Floats:
    """float64 (S,): values by SlateQ's backup, item by item, with its own slate optimisation.

    `weight` (S, N) of the logit; `reward` (S, N + 1) and `after` (S, N + 1, S) of each choice, nothing last.
    """
    values, alike = np.zeros(len(weight)), np.ones(size)
    for _ in range(ROUNDS):
        worth = reward + discount * after @ values
        slates = exact_slates(weight, worth[:, :-1], worth[:, -1], alike).astype(np.int64)
        shown = [np.take_along_axis(part, slates, axis=1) for part in (weight, worth[:, :-1])]
        values = np.asarray(slate_value(shown[0], shown[1], worth[:, -1], alike), dtype=np.float64)
    return values


def over_slates(weight: Floats, reward: Floats, after: Floats, size: int, discount: float) -> Floats:
    """float64 (S,): the same process solved by plain value iteration over all slates."""
    states, items = weight.shape
    slates = list(combinations(range(items), size))
    values = np.zeros(states)
    for _ in range(ROUNDS):
        worth, best = reward + discount * after @ values, np.full(states, -np.inf)
        for slate in slates:
            w = weight[:, slate]
            best = np.maximum(best, ((w * worth[:, slate]).sum(axis=1) + worth[:, -1]) / (1 + w.sum(axis=1)))
        values = best
    return values


def drawn(seed: int) -> tuple[Floats, Floats, Floats, int, float]:
    """A random process of six states, eight items and slates of three, in which some choices lead far."""
    rng = np.random.default_rng(seed)
    reward = np.hstack([rng.uniform(0.0, 1.5, (6, 8)), np.zeros((6, 1))])
    return np.exp(rng.normal(0.0, 0.7, (6, 8))), reward, rng.dirichlet(np.full(6, 0.2), (6, 9)), 3, 0.8


def shop() -> TabularShop:
    """The tabular shop whose visitor always comes, so that what follows depends on the choice alone."""
    return TabularShop(return_floor=1.0, discount=0.8)


def of_shop() -> tuple[Floats, Floats, Floats, int, float]:
    """That shop, item by item, over its levels of satiation (loyalty then moves nothing)."""
    model, weight, after = shop(), np.zeros((9, 6)), np.zeros((9, 7, 9))
    for row, levels in enumerate(LEVELS):
        state = model.states.index((2, *levels))
        for action, slate in enumerate(model.slates.tolist()):
            weight[row, slate] = model.choice[state, action, :-1] / model.choice[state, action, -1]
            for slot, choice in enumerate([*slate, 6]):
                ways = model._ways(state, action)[2 + 3 * slot : 5 + 3 * slot]  # two of not coming, then three a slot
                after[row, choice] = 0.0
                for chance, to in ways:
                    after[row, choice, LEVELS.index(model.states[to][1:])] += chance
                after[row, choice] /= after[row, choice].sum()
    return weight, np.tile([1.0] * 6 + [0.0], (9, 1)), after, model.slate_size, model.discount


def entries() -> list[Entry]:
    exact = "value iteration over all slates (Bellman 1957), computed here"
    setting = "mean value, 6 states, 8 items, slates of 3"
    found = [
        Entry(
            "SlateQ", f"random process {seed}: {setting}", partial(_exact, seed), exact, partial(_ours, seed), fast=True
        )
        for seed in range(2)
    ]
    tabular = Entry(
        "SlateQ",
        "TabularShop, visitor always comes: value of the start",
        expected=lambda: float(shop().solve()[0][shop().start]),
        source="TabularShop.solve: value iteration over its 15 slates",
        measure=lambda rng: iterate(*of_shop())[:1],
        fast=True,
    )
    return [*found, tabular]


def _exact(seed: int) -> float:
    return float(over_slates(*drawn(seed)).mean())


def _ours(seed: int, rng: np.random.Generator) -> Floats:
    return np.array([iterate(*drawn(seed)).mean()])
