"""A strategy of adaptation: when to learn, from which data, from which start, and how the result is rolled out."""

from __future__ import annotations

from perennial.agents.lifecycle.decisions import TriggerRecord
from perennial.agents.lifecycle.monitors import Monitor
from perennial.agents.lifecycle.review import NoReview, Review
from perennial.agents.lifecycle.rollout import Rollout
from perennial.agents.lifecycle.tables import HOURS
from perennial.agents.lifecycle.training import Kind, Start, TrainingOrder
from perennial.agents.lifecycle.triggers import Trigger
from perennial.agents.lifecycle.validation import NoValidation, Validation
from perennial.agents.lifecycle.windows import Fresh, Window


class Strategy:
    """Composes the parts that decide; see ``conf/strategy``.

    Arguments:
        trigger: when to fit a candidate.
        window: what a fit sees.
        start: "warm" goes on from the champion, "cold" forgets first.
        update: when the champion learns in place from the pages logged since it last did.
        rollout: how a candidate comes to serve.
        validation: what judges a candidate before its rollout, and which visits are kept from training for it.
        step_hours: how often it looks and may order something, a divisor of 24. What serves stays as it is in between.
        budget: the most pages a fit learns from, drawn evenly from its window; None: all of them.
        review: who is asked about which decisions; None: nobody.
    """

    def __init__(
        self,
        trigger: Trigger,
        window: Window,
        update: Trigger,
        rollout: Rollout,
        start: Start = "warm",
        step_hours: int = 1,
        budget: int | None = None,
        validation: Validation | None = None,
        review: Review | None = None,
    ) -> None:
        if start not in ("warm", "cold"):
            raise ValueError(f"'start' must be 'warm' or 'cold'. Got {start!r}.")
        if step_hours < 1 or HOURS % step_hours:
            raise ValueError(f"'step_hours' must divide 24. Got {step_hours}.")
        for name, part in (("trigger", trigger), ("update", update)):
            if part.every_hours % step_hours:
                raise ValueError(
                    f"'step_hours' must divide the hours between two firings of '{name}', {part.every_hours}. "
                    f"Got {step_hours}."
                )
        self.trigger, self.window, self.update, self.rollout = trigger, window, update, rollout
        if budget is not None and budget < 1:
            raise ValueError(f"'budget' must be at least 1 page, or None for all. Got {budget}.")
        self.validation = NoValidation() if validation is None else validation
        self.review: NoReview = NoReview() if review is None else review
        self.step_hours, self.budget = step_hours, budget
        self.start: Start = start
        self.records: list[TriggerRecord] = []
        self._fresh_from = 0

    def decide(self, monitor: Monitor, tick: int) -> list[TrainingOrder]:
        """The trainings due at the end of the step that ends with hour `tick`, updates first.

        `records` then says on which evidence.
        """
        update, fit = self.update.evaluate(monitor, tick), self.trigger.evaluate(monitor, tick)
        self.records = [update, fit]
        orders = []
        if update.fired:
            orders.append(self._order("update", Fresh(self._fresh_from), "warm", update.reason, tick))
            self._fresh_from = tick + 1
            self.update.reset(tick)
        if fit.fired:
            orders.append(self._order("fit", self.window, self.start, fit.reason, tick, self.budget))
            self.trigger.reset(tick)
        return orders

    def _order(
        self, kind: Kind, window: Window, start: Start, reason: str, tick: int, budget: int | None = None
    ) -> TrainingOrder:
        shares = self.validation.held_out, self.validation.held_out_explored
        return TrainingOrder(kind, window, start, reason, tick, budget, *shares)
