"""A strategy of adaptation: when to learn, from which data, from which start, and how the result is rolled out."""

from __future__ import annotations

from perennial.agents.lifecycle.decisions import TriggerRecord
from perennial.agents.lifecycle.monitors import Monitor
from perennial.agents.lifecycle.review import NoReview, Review
from perennial.agents.lifecycle.rollout import Rollout
from perennial.agents.lifecycle.tables import HOURS
from perennial.agents.lifecycle.training import Kind, Start, TrainingOrder
from perennial.agents.lifecycle.triggers import Standing, Trigger
from perennial.agents.lifecycle.validation import NoValidation, Validation
from perennial.agents.lifecycle.windows import Fresh, Window
from perennial.agents.validation import whole


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
        retry_hours: after an order that came to nothing, hours until it is given again.

    An order has come to something once its training has, and for a fit the validation has let the candidate into its
    rollout; only then does its trigger begin anew. Until then what fired it stands (see `triggers.Standing`), and the
    pages of a failed update go to the next one.
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
        retry_hours: int = HOURS,
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
        whole("retry_hours", retry_hours, 1)
        self._standing = {"update": Standing(update, retry_hours), "fit": Standing(trigger, retry_hours)}
        self._fresh_from = 0
        self._owed_from: int | None = None

    def decide(self, monitor: Monitor, tick: int) -> list[TrainingOrder]:
        """The trainings due at the end of the step that ends with hour `tick`, updates first.

        `records` then says on which evidence. Whoever carries them out tells `settle` what came of each.
        """
        update, fit = (self._standing[kind].evaluate(monitor, tick) for kind in ("update", "fit"))
        self.records = [update, fit]
        orders = []
        if update.fired:
            window = Fresh(self._fresh_from, self._owed_from)
            orders.append(self._order("update", window, "warm", update.reason, tick))
        if fit.fired:
            orders.append(self._order("fit", self.window, self.start, fit.reason, tick, self.budget))
        return orders

    def settle(self, order: TrainingOrder, outcome: str) -> None:
        """Hear what came of an order: the verdict on its training, or "refused" where the validation did so.

        An update without data has learned all there was; a fit without is still to be had.
        """
        done = outcome == "trained" or (order.kind == "update" and outcome == "no data")
        self._standing[order.kind].settle(order.tick, order.reason, done)
        if order.kind == "update" and done:
            self._fresh_from, self._owed_from = order.tick + 1, None
        elif order.kind == "update" and self._owed_from is None:
            self._owed_from = max(self._fresh_from, order.tick // HOURS * HOURS)

    def _order(
        self, kind: Kind, window: Window, start: Start, reason: str, tick: int, budget: int | None = None
    ) -> TrainingOrder:
        shares = self.validation.held_out, self.validation.held_out_explored
        return TrainingOrder(kind, window, start, reason, tick, budget, *shares)
