"""Explanations: which groups of features moved a segment's recommendations from one model version to the next."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import Agent, Feedback, Keys, Observations
from perennial.agents.lifecycle.off_policy import Floats
from perennial.agents.validation import whole

GROUPS: dict[str, tuple[str, ...]] = {
    "visitor": ("user",),
    "past clicks": ("history",),
    "this visit": ("page",),
    "calendar": ("calendar",),
    "notice": ("notice",),
}
"""Name of a group: the parts of an observation in it. What is on offer is no feature: it stays as it was."""


Marked = Sequence[tuple[Agent, dict[str, NDArray[np.generic]]]]
"""Two agents, each with the state that it is put back to before it is asked."""


@dataclass(frozen=True)
class Explanation:
    """Of a segment of `pages`: how far apart two versions' slates are, and each group's part in it.

    ``change``: share of the slots' items that differ, in [0, 1]. ``base``: the same where each group is another
    page's, as far apart as the versions are on pages they are told nothing true about. ``parts``: what each group
    adds, its Shapley value averaged over the segment's pages; base and parts add up to the change. ``weights``: the
    same averaged without its sign. A group that drives the versions apart on some pages and keeps them together on
    as many others has no part in how much changed, and all the weight in where. ``items_in``, ``items_out``: item id ->
    change of the share of pages that show it, of those that gained and lost most.
    """

    segment: str
    pages: int
    change: float
    base: float
    parts: dict[str, float]
    weights: dict[str, float]
    items_in: dict[int, float]
    items_out: dict[int, float]


def shapley(value: Callable[[frozenset[int]], Floats], players: int) -> tuple[Floats, Floats, Floats]:
    """Exact Shapley values, by all 2^players coalitions, each valued once: (parts (players, ...), v(none), v(all)).

    `value` gives one number, or one for each page.

    ``phi_i = sum over S without i of |S|! (n - |S| - 1)! / n! (v(S + i) - v(S))`` (Shapley 1953; Strumbelj and
    Kononenko 2014, "Explaining prediction models and individual predictions with feature contributions", equation 4).
    """
    everyone = range(players)
    coalitions = [frozenset(c) for size in range(players + 1) for c in combinations(everyone, size)]
    worth = {coalition: np.asarray(value(coalition), np.float64) for coalition in coalitions}
    parts = np.zeros((players, *worth[frozenset()].shape))
    for coalition in coalitions:
        for player in set(everyone) - coalition:
            weight = 1.0 / (players * math.comb(players - 1, len(coalition)))
            parts[player] += weight * (worth[coalition | {player}] - worth[coalition])
    return parts, worth[frozenset()], worth[frozenset(everyone)]


def changed(first: NDArray[np.int32], second: NDArray[np.int32]) -> Floats:
    """float64 (B,): the share of a page's items in one slate that are not in the other, wherever they stand."""
    missing = ~(first[:, :, None] == second[:, None, :]).any(axis=2)
    return missing.mean(axis=1)


class Explainer:
    """Explains by removal: a group of features is taken away by giving each page another page's, each group its own
    other (Covert, Lundberg and Lee 2021, "Explaining by removing", product of marginals), and Shapley's rule shares
    out, page by page, what that does to the distance of two versions.

    Nothing is asked of the models but slates, so any two agents can be compared. Both are asked on the same pages; an
    agent that draws lots is put back to the same point of its generator before each question, so that its lots explain
    nothing.

    Arguments:
        groups: name of each group: the parts of the observations in it; at most ten.
        draws: how many others stand in for each page, one after the other; more are steadier.
        seed: which ones.
    """

    def __init__(self, groups: Mapping[str, Sequence[str]] = GROUPS, draws: int = 4, seed: int = 0) -> None:
        if not 1 <= len(groups) <= 10:
            raise ValueError(
                f"'groups' must be 1 to 10, for all their subsets are asked. Got {len(groups)}. Join some of them."
            )
        self.groups, self.draws, self.seed = dict(groups), whole("draws", draws, 1), seed

    def explain(
        self,
        before: Agent,
        after: Agent,
        pages: Feedback,
        rows: NDArray[np.bool_] | None = None,
        segment: str = "all",
    ) -> Explanation:
        """Why `after` shows other items than `before` on the segment `rows` bool (P,) of `pages`; None: on all.

        All `pages` stand in for each other, so a segment is held against everybody.
        """
        chosen = np.flatnonzero(np.ones(len(pages), np.bool_) if rows is None else rows)
        if len(pages) < 2 or not len(chosen):
            raise ValueError(
                f"'pages' must be two or more, to stand in for each other, and the segment one or more. "
                f"Got {len(pages)} and {len(chosen)}."
            )
        names, inside = list(self.groups), pages.take(chosen)
        agents = [(agent, _mark(agent)) for agent in (before, after)]
        strangers = self._strangers(len(pages))[:, :, chosen]

        def distance(told: frozenset[int]) -> Floats:
            hidden = [n for n in range(len(names)) if n not in told]
            draws = [
                self._distance(agents, inside, self._told(pages, inside, rows, hidden))
                for rows in (strangers if hidden else strangers[:1])
            ]
            return np.mean(draws, axis=0)

        parts, base, change = shapley(distance, len(names))
        came, left = self._moved(agents, inside)
        return Explanation(
            segment=segment,
            pages=len(inside),
            change=float(change.mean()),
            base=float(base.mean()),
            parts=dict(zip(names, parts.mean(axis=1).tolist(), strict=True)),
            weights=dict(zip(names, np.abs(parts).mean(axis=1).tolist(), strict=True)),
            items_in=came,
            items_out=left,
        )

    def by_segment(
        self, before: Agent, after: Agent, pages: Feedback, segments: Mapping[str, NDArray[np.bool_]]
    ) -> list[Explanation]:
        """One explanation for each segment, bool (P,), that has a page."""
        return [self.explain(before, after, pages, rows, name) for name, rows in segments.items() if rows.any()]

    def _strangers(self, pages: int) -> NDArray[np.int64]:
        """int64 (draws, groups, pages): who stands in for each page, never itself; for each group another's lot."""
        rng = np.random.default_rng(self.seed)
        rows = np.empty((self.draws, len(self.groups), pages), np.int64)
        for draw, group in np.ndindex(rows.shape[:2]):
            order = rng.permutation(pages)
            rows[draw, group, order] = np.roll(order, int(rng.integers(1, pages)))
        return rows

    def _told(
        self, pages: Feedback, inside: Feedback, strangers: NDArray[np.int64], hidden: Sequence[int]
    ) -> Observations:
        """The segment's observations, with the `hidden` groups of others."""
        told, names = dict(inside.observations), list(self.groups)
        for group in hidden:
            told |= {part: pages.observations[part][strangers[group]] for part in self.groups[names[group]]}
        return told

    @staticmethod
    def _distance(agents: Marked, inside: Feedback, told: Observations) -> Floats:
        first, second = (_slates(agent, mark, told, inside.keys) for agent, mark in agents)
        return changed(first, second)

    @staticmethod
    def _moved(agents: Marked, pages: Feedback) -> tuple[dict[int, float], dict[int, float]]:
        """The five items that gained, and lost, the most pages: item id -> change of the share of pages showing it."""
        candidates = pages.observations["candidates"]
        shown = [
            np.take_along_axis(candidates, _slates(agent, mark, pages.observations, pages.keys), axis=1)
            for agent, mark in agents
        ]
        size = int(candidates.max()) + 1
        old, new = (np.bincount(items.ravel(), minlength=size) / len(pages) for items in shown)
        shift = new - old
        order = np.argsort(-shift, kind="stable")
        came = {int(item): float(shift[item]) for item in order[:5] if shift[item] > 0}
        left = {int(item): float(shift[item]) for item in order[::-1][:5] if shift[item] < 0}
        return came, left


def _mark(agent: Agent) -> dict[str, NDArray[np.generic]]:
    return {name: array.copy() for name, array in agent.state().items()}


def _slates(
    agent: Agent, mark: dict[str, NDArray[np.generic]], observations: Observations, keys: Keys
) -> NDArray[np.int32]:
    slates = agent.act(observations, keys).slates
    agent.restore(mark)
    return slates
