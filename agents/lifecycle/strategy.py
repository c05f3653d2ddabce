"""A strategy of adaptation: when to learn, from which data, from which start, and how the result is rolled out."""

from __future__ import annotations

from perennial.agents.lifecycle.decisions import TriggerRecord
from perennial.agents.lifecycle.monitors import Monitor
from perennial.agents.lifecycle.rollout import Rollout
from perennial.agents.lifecycle.training import Start, TrainingOrder
from perennial.agents.lifecycle.triggers import Trigger
from perennial.agents.lifecycle.windows import Fresh, Window


class Strategy:
    """Composes the parts that decide; see ``conf/strategy``.

    Arguments:
        trigger: when to fit a candidate.
        window: what a fit sees.
        start: "warm" goes on from the champion, "cold" forgets first.
        update: when the champion learns in place from the pages logged since it last did.
        rollout: how a candidate comes to serve.
    """

    def __init__(
        self, trigger: Trigger, window: Window, update: Trigger, rollout: Rollout, start: Start = "warm"
    ) -> None:
        if start not in ("warm", "cold"):
            raise ValueError(f"'start' must be 'warm' or 'cold'. Got {start!r}.")
        self.trigger, self.window, self.update, self.rollout = trigger, window, update, rollout
        self.start: Start = start
        self.records: list[TriggerRecord] = []
        self._fresh_from = 0

    def decide(self, monitor: Monitor, tick: int) -> list[TrainingOrder]:
        """The trainings due at the end of hour `tick`, updates first; `records` then says on which evidence."""
        update, fit = self.update.evaluate(monitor, tick), self.trigger.evaluate(monitor, tick)
        self.records = [update, fit]
        orders = []
        if update.fired:
            orders.append(TrainingOrder("update", Fresh(self._fresh_from), "warm", update.reason, tick))
            self._fresh_from = tick + 1
            self.update.reset(tick)
        if fit.fired:
            orders.append(TrainingOrder("fit", self.window, self.start, fit.reason, tick))
            self.trigger.reset(tick)
        return orders
