"""Training jobs: an order becomes a candidate, or a record of why not; the champion serves on either way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import Agent, Feedback, Items, Spaces
from perennial.agents.lifecycle.decisions import TrainingRecord
from perennial.agents.lifecycle.feedback import FeedbackLog
from perennial.agents.lifecycle.hashing import held_out_pages
from perennial.agents.lifecycle.labels import Labels, lessons, none
from perennial.agents.lifecycle.open_day import in_order
from perennial.agents.lifecycle.windows import Window

Kind = Literal["fit", "update"]
Start = Literal["warm", "cold"]


@dataclass(frozen=True)
class TrainingOrder:
    """Learn from `window` as of hour `tick`: "fit" a candidate, or "update" the champion in place.

    ``budget``: the most pages to learn from, drawn evenly from the window; None: all of them.
    ``held_out``: share of the visits that are kept from it, for the validation; ``held_out_explored``: of those
    whose explored pages are.
    """

    kind: Kind
    window: Window
    start: Start
    reason: str
    tick: int
    budget: int | None = None
    held_out: float = 0.0
    held_out_explored: float = 0.0


@dataclass(frozen=True)
class Trained:
    """What a job left: `agent` is a fit's candidate, the champion itself after an update, None if there is none."""

    agent: Agent | None
    record: TrainingRecord


class TrainingJob:
    """Carries out training orders.

    Arguments:
        build: makes an agent like the champion, before `begin`.
        items, spaces: what the agent is begun with; where items come and go, `items` gives the table of an hour.
        seed: of all trainings; each draws from a generator of its own, made of this seed and its hour.
        rate: declared price of one row in one pass; a fit's figures may name their ``passes`` (1 if they do not).
    """

    def __init__(
        self,
        build: Callable[[], Agent],
        items: Items | Callable[[int], Items],
        spaces: Spaces,
        seed: int = 0,
        rate: float = 1e-6,
    ) -> None:
        if rate < 0:
            raise ValueError(f"'rate' must be 0 or more. Got {rate}.")
        self.build, self.items, self.spaces, self.seed, self.rate = build, items, spaces, seed, rate

    def fresh(self, tick: int = 0) -> Agent:
        """An agent of the champion's kind that has learned nothing, and knows the items of hour `tick`."""
        return self.knowing(self.items(tick) if callable(self.items) else self.items)

    def knowing(self, items: Items) -> Agent:
        """An agent of the champion's kind that has learned nothing, and knows `items`."""
        agent = self.build()
        agent.begin(items, self.spaces, self.seed)
        return agent

    def run(self, order: TrainingOrder, log: FeedbackLog, champion: Agent, version: int = 0) -> Trained:
        """Train as ordered. Whatever the agent raises is recorded, and the champion is as it was before."""
        offered = order.window.select(log, order.tick)
        labels = reviewed(order, offered, log, champion)
        pages = with_labels(chosen(order, offered, self.seed_of(order)), labels)
        named = data_version(log.version_of(offered), labels)
        note = partial(self._record, order, named, offered, len(pages), version, labels)
        if len(pages) == 0:
            return Trained(None, note("no data"))
        try:
            agent, figures = self.learn(order, pages, champion)
        except Exception as error:
            return Trained(None, note("failed", error=f"{type(error).__name__}: {error}"))
        return Trained(agent, note("trained", figures, result=state_hash(agent.state())))

    def seed_of(self, order: TrainingOrder) -> int:
        """The seed of all that this training draws."""
        words = [self.seed, order.tick, ("fit", "update").index(order.kind)]
        return int(np.random.SeedSequence(words).generate_state(1)[0])

    def learn(self, order: TrainingOrder, pages: Feedback, champion: Agent) -> tuple[Agent, dict[str, float]]:
        """The agent that learned, a candidate or the champion itself, and its figures."""
        return (self._fit if order.kind == "fit" else self._update)(order, pages, champion)

    def _fit(self, order: TrainingOrder, pages: Feedback, champion: Agent) -> tuple[Agent, dict[str, float]]:
        """A copy of the champion learns; the champion is only read."""
        candidate = self.fresh(order.tick)
        candidate.restore({name: array.copy() for name, array in champion.state().items()})
        candidate.reseed(self.seed_of(order))
        return candidate, candidate.fit(pages, order.start)

    def _update(self, order: TrainingOrder, pages: Feedback, champion: Agent) -> tuple[Agent, dict[str, float]]:
        """The champion learns in place, and is taken back to where it was if that fails."""
        before = {name: array.copy() for name, array in champion.state().items()}
        try:
            champion.reseed(self.seed_of(order))
            return champion, champion.update(pages)
        except Exception:
            champion.restore(before)
            raise

    def _record(
        self,
        order: TrainingOrder,
        data_version: str,
        offered: Feedback,
        rows: int,
        version: int,
        labels: Labels,
        verdict: str,
        figures: dict[str, float] | None = None,
        error: str = "",
        result: str = "",
    ) -> TrainingRecord:
        ticks, figures = offered.keys.tick, figures or {}
        return TrainingRecord(
            tick=order.tick,
            kind=order.kind,
            start=order.start,
            reason=order.reason,
            window=str(order.window),
            first_tick=int(ticks[0]) if len(ticks) else order.tick,
            last_tick=int(ticks[-1]) if len(ticks) else order.tick,
            rows=rows,
            data_version=data_version,
            parent=version,
            verdict=verdict,
            price=rows * float(figures.get("passes", 1.0)) * self.rate,
            figures={name: float(value) for name, value in figures.items()},
            error=error,
            budget=order.budget,
            held_out=order.held_out,
            held_out_explored=order.held_out_explored,
            seed=self.seed_of(order),
            result=result,
            labels=labels.by_source,
        )


def chosen(order: TrainingOrder, offered: Feedback, seed: int) -> Feedback:
    """What an order learns from of the pages `offered` by its window, in their order.

    Without the pages held out; at most its budget, each page as likely as any other.
    """
    pages, budget = offered, order.budget
    shares = order.held_out, order.held_out_explored
    if any(shares):
        pages = pages.take(~held_out_pages(pages.keys.visit, pages.explored, *shares))
    if budget is None or len(pages) <= budget:
        return pages
    rows = np.random.default_rng([seed, budget]).choice(len(pages), budget, replace=False)
    return pages.take(np.sort(rows))


def reviewed(order: TrainingOrder, offered: Feedback, log: FeedbackLog, champion: Agent) -> Labels:
    """The labels that are learned from beside the pages `offered`: by a fit all told since the first of them.

    By an update those told since the last one; none if the champion learns from its own pages only. Visits held out
    stay unseen here too.
    """
    first = order.window.labelled_from(offered)
    if first is None or (order.kind == "update" and champion.on_policy):
        return none(log.spaces)
    return log.labels(first, order.tick).without_held_out(order.held_out)


def with_labels(pages: Feedback, labels: Labels) -> Feedback:
    """The pages and, few and dear, all the labels. Where the pages have extras, those of a label are 0: nobody's."""
    if len(labels) == 0:
        return pages
    extras = {name: np.zeros((len(labels), *noted.shape[1:]), noted.dtype) for name, noted in pages.extras.items()}
    both = Feedback.concatenate([pages, replace(lessons(labels), extras=extras)])
    return both.take(in_order(both))


def data_version(pages: str, labels: Labels) -> str:
    """16 hex digits naming all that a training was offered: the version of its pages, and the labels if there are."""
    return blake2b(f"{pages} {labels.digest()}".encode(), digest_size=8).hexdigest() if len(labels) else pages


def state_hash(state: Mapping[str, NDArray[Any]]) -> str:
    """32 hex digits naming an agent's state: equal exactly when all its arrays are, bit for bit."""
    digest = blake2b(digest_size=16)
    for name, array in sorted(state.items()):
        digest.update(f"{name}{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
