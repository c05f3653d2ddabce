"""Training jobs: an order becomes a candidate, or a record of why not; the champion serves on either way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from perennial.agents.base import Agent, Feedback, Items, Spaces
from perennial.agents.lifecycle.decisions import TrainingRecord
from perennial.agents.lifecycle.feedback import FeedbackLog
from perennial.agents.lifecycle.hashing import held_out
from perennial.agents.lifecycle.windows import Window

Kind = Literal["fit", "update"]
Start = Literal["warm", "cold"]


@dataclass(frozen=True)
class TrainingOrder:
    """Learn from `window` as of hour `tick`: "fit" a candidate, or "update" the champion in place.

    ``held_out``: share of the visits that are kept from it, for the validation.
    """

    kind: Kind
    window: Window
    start: Start
    reason: str
    tick: int
    held_out: float = 0.0


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
        seed: for `begin` of candidates; what they draw afterwards goes on from the champion's generator.
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
        agent = self.build()
        agent.begin(self.items(tick) if callable(self.items) else self.items, self.spaces, self.seed)
        return agent

    def run(self, order: TrainingOrder, log: FeedbackLog, champion: Agent, version: int = 0) -> Trained:
        """Train as ordered. Whatever the agent raises is recorded, and the champion is as it was before."""
        pages = order.window.select(log, order.tick)
        if order.held_out:
            pages = pages.take(~held_out(pages.keys.visit, order.held_out))
        if len(pages) == 0:
            return Trained(None, self._record(order, log, pages, version, "no data", {}))
        learn = self._fit if order.kind == "fit" else self._update
        try:
            agent, figures = learn(order, pages, champion)
        except Exception as error:
            message = f"{type(error).__name__}: {error}"
            return Trained(None, self._record(order, log, pages, version, "failed", {}, message))
        return Trained(agent, self._record(order, log, pages, version, "trained", figures))

    def _fit(self, order: TrainingOrder, pages: Feedback, champion: Agent) -> tuple[Agent, dict[str, float]]:
        """A copy of the champion learns; the champion is only read."""
        candidate = self.fresh(order.tick)
        candidate.restore({name: array.copy() for name, array in champion.state().items()})
        return candidate, candidate.fit(pages, order.start)

    def _update(self, order: TrainingOrder, pages: Feedback, champion: Agent) -> tuple[Agent, dict[str, float]]:
        """The champion learns in place, and is taken back to where it was if that fails."""
        before = {name: array.copy() for name, array in champion.state().items()}
        try:
            return champion, champion.update(pages)
        except Exception:
            champion.restore(before)
            raise

    def _record(
        self,
        order: TrainingOrder,
        log: FeedbackLog,
        pages: Feedback,
        version: int,
        verdict: str,
        figures: dict[str, float],
        error: str = "",
    ) -> TrainingRecord:
        ticks = pages.keys.tick
        return TrainingRecord(
            tick=order.tick,
            kind=order.kind,
            start=order.start,
            reason=order.reason,
            window=f"{order.window}, {order.held_out:.0%} held out" if order.held_out else str(order.window),
            first_tick=int(ticks[0]) if len(ticks) else order.tick,
            last_tick=int(ticks[-1]) if len(ticks) else order.tick,
            rows=len(pages),
            data_version=log.version_of(pages),
            parent=version,
            verdict=verdict,
            price=len(pages) * float(figures.get("passes", 1.0)) * self.rate,
            figures={name: float(value) for name, value in figures.items()},
            error=error,
        )
