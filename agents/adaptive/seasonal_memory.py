"""A bank of models, each with the regime it was good in: what comes back is recalled, what is new is begun."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from perennial.agents.adaptive.keeping import State, an_agent, by_category, inside, taken_out
from perennial.agents.adaptive.wrapping import Wrapping
from perennial.agents.base import Agent, Feedback, Items, Spaces, generator_state, set_generator_state
from perennial.agents.validation import number, one_of, saved, whole

Floats = NDArray[np.float64]


@dataclass
class Regime:
    """One regime: `counts` float64 (2, C), clicks and impressions by category; `used`, when it last served (a count of
    decisions); `model`, what the agent knew when it last did (None for the one in service)."""

    counts: Floats
    used: int
    model: State | None = None


class SeasonalMemory(Wrapping):
    """`agent` with a memory of regimes: it goes on with the model that fits the latest feedback.

    A regime is known by which categories attract: the click rate of each relative to the rest, so that neither the
    level of all clicks nor what was shown tells regimes apart. Whenever `min_clicks` new clicks are there, each
    regime's fit is the likelihood of their categories given what was shown, as a divergence from the best possible (the
    mean log-likelihood ratio per click, in nats, less what chance alone brings: (C - 1) / (2 clicks), Wilks 1938)::

        sum_c p_c log(p_c / q_c),   p_c share of clicks,   q_c = shown_c x rate_c of the regime, normed

    While the regime in service diverges by no more than `novelty`, it stays. Else the best fitting one takes over, with
    the model it had; and if none fits, a new regime is begun (see `spawn`). (A bank with
    recall, as in RCD, Goncalves and De Barros 2013, "RCD: A recurring concept drift framework".)

    `fit` with "warm" and `update` teach the model in service; after a change of regime the former gets only the pages
    that told of it, not the old regime's in the window. "cold" forgets all regimes.

    Arguments
    ---------
    agent : what serves and learns, in as many versions as there are regimes
    capacity : regimes that are kept, >= 1; the one not used for longest gives way
    novelty : divergence from which a regime does not fit, in nats a click, > 0
    min_clicks : clicks that are judged together, >= 1
    prior : impressions at the common rate that every category of a regime starts with, > 0
    memory : impressions a regime remembers, >= 1; older ones fade
    spawn : "warm" lets a new regime's model go on from the present one, "cold" from nothing; cold learns a new regime
        faster where regimes have little in common
    """

    def __init__(
        self,
        agent: Agent,
        capacity: int = 6,
        novelty: float = 0.02,
        min_clicks: int = 300,
        prior: float = 50.0,
        memory: int = 50_000,
        spawn: str = "warm",
    ) -> None:
        self.agent = an_agent("agent", agent)
        self.capacity = whole("capacity", capacity, 1)
        self.novelty = number("novelty", novelty, 0.0, above=True)
        self.min_clicks = whole("min_clicks", min_clicks, 1)
        self.prior = number("prior", prior, 0.0, above=True)
        self.memory = whole("memory", memory, 1)
        self.spawn = one_of("spawn", spawn, ("warm", "cold"))

    def begin(self, items: Items, spaces: Spaces, seed: int) -> None:
        super().begin(items, spaces, seed)
        self.agent.begin(items, spaces, seed)
        self._forget()

    def _forget(self) -> None:
        none = np.zeros((2, self.spaces.n_categories))
        self.regimes, self.active, self.decisions = [Regime(none, 0)], 0, 0
        self.evidence = none.copy()
        self.since = np.full(1, -1, dtype=np.int64)  # the newest page that was judged
        self.last_tick = np.full(1, -1, dtype=np.int64)  # the newest page seen

    # -- learning ------------------------------------------------------------------------------------------------------

    def fit(self, window: Feedback, start: str = "warm") -> dict[str, float]:
        if start == "cold":
            self._forget()
        told_from = int(self.since[0])
        change = self._watch(window.take(window.keys.tick > self.last_tick[0]))
        if change != "none":
            window = window.take(window.keys.tick > told_from)
        return self.agent.fit(window, self.spawn if change == "new" else start) | self._figures()

    def update(self, feedback: Feedback) -> dict[str, float]:
        if self._watch(feedback) == "new" and self.spawn == "cold":
            return self.agent.fit(feedback, "cold") | self._figures()
        return self.agent.update(feedback) | self._figures()

    def _figures(self) -> dict[str, float]:
        """Which regime serves, and of how many."""
        return {"regime": float(self.active), "regimes": float(len(self.regimes))}

    def _watch(self, pages: Feedback) -> Literal["none", "recalled", "new"]:
        """Take the pages as evidence; once there is enough, settle which regime it is of, and say what changed."""
        self.last_tick[0] = max(int(self.last_tick[0]), int(pages.keys.tick.max(initial=-1)))
        self.evidence += by_category(pages, self.items["category"], self.spaces.n_categories)
        if self.evidence[0].sum() < self.min_clicks:
            return "none"
        before, regime, known = self.active, self._settle(), len(self.regimes)
        if regime != before:
            self._serve(regime)
        self._remember()
        self.since[0] = self.last_tick[0]
        if regime == before:
            return "none"
        return "recalled" if regime < known else "new"

    def divergence(self, regime: Regime) -> float:
        """How much worse than the best possible the regime explains the evidence, in nats a click; about 0 is a fit."""
        clicks, shown = self.evidence
        total = regime.counts.sum(axis=1)
        common = total[0] / total[1] if total[0] > 0 else 1.0
        rate = (regime.counts[0] / common + self.prior) / (regime.counts[1] + self.prior)
        expected, share = shown * rate / (shown * rate).sum(), clicks / clicks.sum()
        there = share > 0
        seen = int((shown > 0).sum())
        distance = (share[there] * np.log(share[there] / expected[there])).sum()
        return float(distance - (seen - 1) / (2 * clicks.sum()))

    def _settle(self) -> int:
        """The regime the evidence is of; one past the last if it is of none of them."""
        if self.decisions == 0:
            return self.active
        if self.divergence(self.regimes[self.active]) <= self.novelty:
            return self.active
        fits = [self.divergence(regime) for regime in self.regimes]
        best = int(np.argmin(fits))
        return best if fits[best] <= self.novelty else len(self.regimes)

    def _serve(self, regime: int) -> None:
        """Put the model in service away and take out the regime's; a new regime goes on with what the agent holds."""
        self.regimes[self.active].model = {name: array.copy() for name, array in self.agent.state().items()}
        if regime == len(self.regimes):
            self.regimes.append(Regime(np.zeros((2, self.spaces.n_categories)), self.decisions))
            if len(self.regimes) > self.capacity:
                del self.regimes[int(np.argmin([kept.used for kept in self.regimes[:-1]]))]
            self.active = len(self.regimes) - 1
            return
        self.active = regime
        self.agent.restore(self.regimes[regime].model or {})
        self.agent.reseed(self.fresh_seed())
        self.regimes[regime].model = None

    def _remember(self) -> None:
        """The evidence is of the regime in service."""
        regime = self.regimes[self.active]
        regime.counts = regime.counts + self.evidence
        regime.counts *= min(1.0, self.memory / max(1.0, regime.counts[1].sum()))
        self.decisions += 1
        regime.used = self.decisions
        self.evidence = np.zeros_like(self.evidence)

    # -- keeping -------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, NDArray[Any]]:
        put_away = [inside(f"regime{i}", regime.model) for i, regime in enumerate(self.regimes) if regime.model]
        return {
            **inside("agent", self.agent.state()),
            **{name: array.copy() for part in put_away for name, array in part.items()},
            "counts": np.stack([regime.counts for regime in self.regimes]),
            "used": np.array([regime.used for regime in self.regimes], dtype=np.int64),
            "where": np.array([self.active, self.decisions, self.since[0], self.last_tick[0]], dtype=np.int64),
            "evidence": self.evidence.copy(),
            "generator": generator_state(self.rng),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        where, evidence = saved(state, "where", (4,)), saved(state, "evidence", self.evidence.shape)
        n = len(state["used"]) if "used" in state else 1
        counts, used = saved(state, "counts", (n, *evidence.shape)), saved(state, "used", (n,))
        generator = saved(state, "generator", (6,))
        self.agent.restore(taken_out("agent", state))
        self.active, self.decisions, self.evidence = int(where[0]), int(where[1]), evidence
        models = [{name: array.copy() for name, array in taken_out(f"regime{i}", state).items()} for i in range(n)]
        self.regimes = [Regime(counts[i], int(used[i]), None if i == self.active else models[i]) for i in range(n)]
        self.since, self.last_tick = where[2:3].copy(), where[3:4].copy()
        set_generator_state(self.rng, generator)
