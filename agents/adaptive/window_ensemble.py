"""One agent at several window lengths: who has earned more lately serves more, by fixed share."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.agents.adaptive.keeping import an_agent, inside, taken_out
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
from perennial.agents.scores import Scorer, scorer
from perennial.agents.validation import number, saved, whole

HOURS = 24
STREAM = 0x656E73  # sets the ensemble's generator apart from its copies', which have the same seed
Floats = NDArray[np.float64]


class WindowEnsemble(Agent):
    """Copies of `agent`, each fitted on a window of its own length; every page is served by one of them.

    Who serves is drawn by weights that follow Herbster and Warmuth 1998, "Tracking the best expert" (fixed share): each
    page is a trial, multiplies a weight by ``exp(rate x gain)``, and gives the part `share` of it to the others. What a
    copy would have earned is known of the served one only, so gains are estimated, as in Exp3.S (Auer, Cesa-Bianchi,
    Freund and Schapire 2002, section 8): a copy's gain on a page is the sum over shown items that it would have shown
    of ``(click - mean click rate) / P(item is shown)``, over the size of the slate. Items that all copies would show
    count for all alike. Pages of the exploration floor are left out; pages are judged before they are learned from.

    The propensity of a slate is the mixture of the copies', exact; NaN if a copy does not know its own.

    `fit` refits every copy from nothing on the end of the window handed over, as long as the copy's own: the strategy's
    window must be as long as the longest. `update` teaches all copies. Copies learn from each other's pages: an agent
    that learns from its own alone, or from what it stored with them, is refused.

    Arguments
    ---------
    agent : what is copied
    days : length of each copy's window, in days, >= 1, at least one
    rate : learning rate of the weights (eta), > 0
    share : part of a weight given away each page (alpha), in [0, 1]; 0 never forgives
    uniform : share of pages served by a copy drawn without regard to weights, in (0, 1]; it bounds the estimates
    """

    def __init__(
        self,
        agent: Agent,
        days: Sequence[int] = (3, 14, 56),
        rate: float = 0.1,
        share: float = 0.001,
        uniform: float = 0.1,
    ) -> None:
        an_agent("agent", agent)
        if agent.on_policy or agent.stored:
            raise ValueError(
                f"'agent' must learn from any log. Got {type(agent).__name__}, which learns from its own pages or from "
                "what it stores with them: its copies could not learn from each other's."
            )
        if len(days) == 0:
            raise ValueError("'days' must name at least one window. Got an empty list.")
        self.days = [whole("days", length, 1) for length in days]
        self.members = [copy.deepcopy(agent) for _ in self.days]
        self.rate = number("rate", rate, 0.0, above=True)
        self.share = number("share", share, 0.0, 1.0)
        self.uniform = number("uniform", uniform, 0.0, 1.0, above=True)

    def begin(self, items: Items, spaces: Spaces, seed: int) -> None:
        super().begin(items, spaces, seed)
        self.rng = np.random.default_rng([STREAM, seed])
        for member in self.members:
            member.begin(items, spaces, seed)
        self._level()

    def reseed(self, seed: int) -> None:
        self.rng = np.random.default_rng([STREAM, seed])
        for member in self.members:
            member.reseed(seed)

    def _level(self) -> None:
        """Trust all alike."""
        self.weights = np.full(len(self.members), 1.0 / len(self.members))
        self.last_tick = np.full(1, -1, dtype=np.int64)  # the newest page that was judged

    @property
    def chances(self) -> Floats:
        """float64 (n,): chance of each copy to serve a page."""
        return np.asarray((1.0 - self.uniform) * self.weights + self.uniform / len(self.members))

    def act(self, observations: Observations, keys: Keys) -> Decision:
        choices = [member.act(observations, keys) for member in self.members]
        served_by = self.rng.choice(len(choices), size=len(keys), p=self.chances)
        rows = np.arange(len(keys))
        slates = np.stack([choice.slates for choice in choices])[served_by, rows]
        foretold = [choice.extras["predicted_clicks"] for choice in choices if "predicted_clicks" in choice.extras]
        extras = {"predicted_clicks": np.stack(foretold)[served_by, rows]} if len(foretold) == len(choices) else {}
        each = [
            _propensity(member, choice, observations, keys, slates)
            for member, choice in zip(self.members, choices, strict=True)
        ]
        return Decision(slates, self._mixture(each), extras)

    def slate_propensity(
        self, observations: Observations, keys: Keys, slates: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        return self._mixture([member.slate_propensity(observations, keys, slates) for member in self.members])

    @property
    def scores(self) -> Scorer | None:
        """The copies' scores, weighted by their chances to serve, for who asks how certain a decision is."""
        each = [found for member in self.members if (found := scorer(member)) is not None]
        if len(each) < len(self.members):
            return None

        def mean(observations: Observations, keys: Keys) -> Floats:
            found = [np.asarray(scores(observations, keys), np.float64) for scores in each]
            return np.asarray(np.tensordot(self.chances, np.stack(found), axes=1))

        return mean

    def _mixture(self, each: list[Floats]) -> Floats:
        """float64 (B, K): slot propensities of the mixture of whole slates, from those of every copy."""
        joint = np.asarray(sum(weight * np.cumprod(part, axis=1) for weight, part in zip(self.chances, each)))
        before = np.concatenate([np.ones((len(joint), 1)), joint[:, :-1]], axis=1)
        return np.divide(joint, before, out=np.zeros_like(joint), where=before != 0.0)

    def fit(self, window: Feedback, start: str = "warm") -> dict[str, float]:
        if len(window) == 0:
            return self._figures()
        if start == "cold":
            self._level()
        else:
            self._judge(window.take(window.keys.tick > self.last_tick[0]))
        newest = window.keys.tick.max(initial=-1)
        self.last_tick[0] = max(int(self.last_tick[0]), int(newest))
        for member, days in zip(self.members, self.days, strict=True):
            member.fit(window.take(window.keys.tick > newest - days * HOURS), "cold")
        return self._figures()

    def update(self, feedback: Feedback) -> dict[str, float]:
        self._judge(feedback)
        self.last_tick[0] = max(int(self.last_tick[0]), int(feedback.keys.tick.max(initial=-1)))
        for member in self.members:
            member.update(feedback)
        return self._figures()

    def _figures(self) -> dict[str, float]:
        """The weight of each window length."""
        return {f"weight_{days}_days": float(w) for days, w in zip(self.days, self.weights, strict=True)}

    def _judge(self, pages: Feedback) -> None:
        """Move the weights by what the copies would have earned on these pages, one after the other."""
        pages = pages.take(~pages.explored)
        if len(pages) == 0:
            return
        own = [member.act(pages.observations, pages.keys).slates for member in self.members]
        wanted = np.stack([(pages.slates[:, :, None] == slates[:, None, :]).any(axis=2) for slates in own], axis=1)
        for gain in gains(wanted, pages.clicked, self.chances):
            self.weights = fixed_share(self.weights, gain, self.rate, self.share)

    def state(self) -> dict[str, NDArray[Any]]:
        members = {
            k: v for i, member in enumerate(self.members) for k, v in inside(f"member{i}", member.state()).items()
        }
        own = {"weights": self.weights.copy(), "last_tick": self.last_tick.copy()}
        return {**own, "generator": generator_state(self.rng), **members}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        weights, last_tick = saved(state, "weights", self.weights.shape), saved(state, "last_tick", (1,))
        set_generator_state(self.rng, saved(state, "generator", (6,)))
        for i, member in enumerate(self.members):
            member.restore(taken_out(f"member{i}", state))
        self.weights, self.last_tick = weights, last_tick


def gains(wanted: NDArray[np.bool_], clicked: NDArray[np.bool_], chances: Floats) -> Floats:
    """float64 (P, n): what each of n copies is estimated to have earned per slot on P pages, above the mean click rate.

    `wanted` (P, n, K): the copy would have shown the item of this slot too. `clicked` (P, K). `chances` (n,) to serve.
    """
    shown = np.einsum("n,pnk->pk", chances, wanted)
    surplus = (clicked - clicked.mean()) / np.where(shown > 0, shown, np.inf)
    return np.asarray(np.einsum("pnk,pk->pn", wanted, surplus) / clicked.shape[1])


def fixed_share(weights: Floats, gain: Floats, rate: float, share: float) -> Floats:
    """float64 (n,): the weights after one trial, for `weights` and `gain` (n,).

    >>> fixed_share(np.array([0.5, 0.5]), np.array([1.0, 0.0]), rate=np.log(3.0), share=0.1).round(3).tolist()
    [0.7, 0.3]
    """
    after = weights * np.exp(rate * gain)
    after = after / after.sum()
    if len(weights) > 1:
        after = (1.0 - share) * after + share * (1.0 - after) / (len(weights) - 1)
    return np.asarray(after)


def _propensity(
    member: Agent, choice: Decision, observations: Observations, keys: Keys, slates: NDArray[np.int32]
) -> Floats:
    """float64 (B, K): of given `slates` under a member that would have made `choice`."""
    if (
        choice.slot_propensity == 1.0
    ).all():  # sure of its own: another slate has none from the first slot on that differs
        return np.logical_and.accumulate(slates == choice.slates, axis=1).astype(np.float64)
    return member.slate_propensity(observations, keys, slates)
