"""Triggers: when to learn. Every evaluation, fired or not, is a typed record."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from math import gcd, inf, isnan

from scipy import stats

from perennial.agents.lifecycle.daily import Days, Estimate, ends_day, estimate
from perennial.agents.lifecycle.decisions import TriggerRecord
from perennial.agents.lifecycle.detectors import Detector
from perennial.agents.lifecycle.monitors import STREAMS, Monitor
from perennial.agents.lifecycle.tables import HOURS
from perennial.agents.validation import number, whole

AGAIN = ", again"
"""Ends the reason of an order that is given once more."""


class Trigger(ABC):
    """Asked once at the end of each of the strategy's steps.

    ``every_hours``: it can only fire at the end of a multiple of so many hours; 0 = at any. ``repeats``: if an order
    comes to nothing it fires again of itself, in its own time, as nothing that it goes by has changed.
    """

    every_hours: int = 0
    repeats: bool = False

    @property
    def name(self) -> str:
        """What the records call it."""
        return type(self).__name__

    @abstractmethod
    def evaluate(self, monitor: Monitor, tick: int) -> TriggerRecord:
        """Whether to learn at the end of the step that ends with hour `tick`, and on which evidence."""

    def reset(self, tick: int) -> None:  # noqa: B027 (most triggers remember nothing)
        """What was ordered at hour `tick` has come about; what was seen before no longer counts."""


class Standing:
    """A trigger whose order stands until something comes of it.

    After an order that came to nothing the same one is given again `retry_hours` later, whatever the trigger sees by
    then: a detector has taken the drifted stream for its new reference long before. In between the trigger is asked as
    ever, but does not fire. One that `repeats` of itself is left to do so.

    Arguments:
        trigger: what is asked.
        retry_hours: hours from an order that came to nothing to the next.
    """

    def __init__(self, trigger: Trigger, retry_hours: int) -> None:
        self.trigger, self.retry_hours = trigger, retry_hours
        self._refused: int | None = None
        self._reason = ""

    def evaluate(self, monitor: Monitor, tick: int) -> TriggerRecord:
        """What the trigger says, or the order that stands."""
        record = self.trigger.evaluate(monitor, tick)
        if self._refused is None:
            return record
        waited = tick - self._refused
        inputs = {**record.inputs, "hours_since_refused": float(waited)}
        return replace(record, fired=waited >= self.retry_hours, inputs=inputs, reason=self._reason)

    def settle(self, tick: int, reason: str, done: bool) -> None:
        """The order given at hour `tick` for `reason` came to something, or to nothing."""
        if done:
            self.trigger.reset(tick)
            self._refused = None
        elif not self.trigger.repeats:
            self._refused, self._reason = tick, reason if reason.endswith(AGAIN) else reason + AGAIN


class Never(Trigger):
    """The null object."""

    repeats = True

    def evaluate(self, monitor: Monitor, tick: int) -> TriggerRecord:
        return TriggerRecord(tick, self.name, fired=False)


class Schedule(Trigger):
    """Every so many days and hours, at the end of the hour, counted from the epoch: `days=1` fires after hour 23.

    >>> [tick for tick in range(72) if Schedule(days=1).evaluate(Monitor(), tick).fired]
    [23, 47, 71]
    """

    repeats = True

    def __init__(self, days: int = 0, hours: int = 0) -> None:
        self.every_hours = days * HOURS + hours
        if days < 0 or hours < 0 or self.every_hours < 1:
            raise ValueError(f"'days' and 'hours' must be 0 or more and not both 0. Got days={days}, hours={hours}.")

    def evaluate(self, monitor: Monitor, tick: int) -> TriggerRecord:
        passed = (tick + 1) % self.every_hours
        inputs = {"every_hours": float(self.every_hours)}
        return TriggerRecord(tick, self.name, passed == 0, inputs=inputs, reason="schedule")


class Volume(Trigger):
    """Every so many pages logged since the last order that came to something.

    >>> Volume(pages=10_000).name
    'Volume'
    """

    def __init__(self, pages: int) -> None:
        self.pages = whole("pages", pages, 1)
        self._since = 0

    def evaluate(self, monitor: Monitor, tick: int) -> TriggerRecord:
        self._since += monitor.step.pages
        inputs = {"pages_since": float(self._since)}
        return TriggerRecord(
            tick, self.name, self._since >= self.pages, float(self._since), float(self.pages), inputs, "volume"
        )

    def reset(self, tick: int) -> None:
        self._since = 0


class Drift(Trigger):
    """Fires when a detector sees the deployed policy's own figures change.

    The detector runs on through the cool-down, but its alarms then only count in the record. It starts afresh after
    its own alarms, and with each order that came to something: a candidate that goes to visitors at once, or sets out
    on a rollout, during which the old model still serves and whose end the detector does not hear of.

    Arguments:
        detector: what decides that the stream changed.
        metric: the stream, one of `monitors.STREAMS`.
        cooldown_days: days after an order that came to something in which no other is given.
    """

    def __init__(self, detector: Detector, metric: str = "first_page_ctr", cooldown_days: float = 7) -> None:
        _check_metric(metric)
        if cooldown_days < 0:
            raise ValueError(f"'cooldown_days' must be 0 or more. Got {cooldown_days}.")
        self.detector, self.metric, self.cooldown_days = detector, metric, cooldown_days
        self._quiet_until, self._since = -1.0, 0

    @property
    def name(self) -> str:
        return f"Drift({type(self.detector).__name__})"

    def evaluate(self, monitor: Monitor, tick: int) -> TriggerRecord:
        values = monitor.stream(self.metric)
        self.detector.at(tick)
        alarms, score, start = 0, 0.0, 0
        while (found := self.detector.first_alarm(values[start:])) is not None:
            alarms, score, start = alarms + 1, max(score, self.detector.score), start + found + 1
        self._since += len(values)
        quiet = tick <= self._quiet_until
        inputs = {
            "values": len(values),
            "values_since_order": self._since,
            "alarms": alarms,
            "cooling_down": int(quiet),
            self.metric: float(values.mean()) if len(values) else float("nan"),
        }
        score, threshold = score if alarms else self.detector.score, self.detector.threshold
        return TriggerRecord(
            tick, self.name, alarms > 0 and not quiet, score, threshold, inputs, f"drift of {self.metric}"
        )

    def reset(self, tick: int) -> None:
        self.detector.reset()
        self._quiet_until, self._since = tick + self.cooldown_days * HOURS, 0


class Notice(Trigger):
    """Fires when the shop is told of a change that it was not told of before.

    What it is told stands on the pages as ``notice``: whether anything changed, and at the higher levels of information
    in which category (see `Monitor.told`). Where nothing is ever told it never fires. Pages without a notice of their
    own, as in a step without pages, leave what was told last standing.

    Arguments:
        repeat_days: while a change goes on being told, another order follows so many days after the last; 0: none does.
    """

    def __init__(self, repeat_days: float = 0.0) -> None:
        self.repeat_days = number("repeat_days", repeat_days, 0.0)
        self._told: frozenset[int] = frozenset()
        self._ordered = -inf

    def evaluate(self, monitor: Monitor, tick: int) -> TriggerRecord:
        told, before = self._told, self._told
        if monitor.step.pages:
            told = self._told = frozenset(monitor.told().nonzero()[0].tolist())
        new = len(told - before)
        again = bool(told) and 0 < self.repeat_days * HOURS <= tick - self._ordered
        inputs = {"changed": float(0 in told), "categories": float(len(told - {0}))}
        reason = "told of a change" if new else "told of a change still"
        return TriggerRecord(tick, self.name, new > 0 or again, float(new), 1.0, inputs, reason)

    def reset(self, tick: int) -> None:
        self._ordered = tick


class Compared(Trigger):
    """Holds the newest days against the first ones after the last order that came to something, at each day's end.

    Where candidates serve at once, those are the first days of the model that serves; under a staged rollout they begin
    with it, while the old model still does. Until an order comes to something the figures stay, and the finding too.
    """

    repeats = True

    def __init__(self, metric: str, reference_days: int, current_days: int) -> None:
        _check_metric(metric)
        self.metric = metric
        self.reference_days, self.current_days = whole("reference_days", reference_days, 2), current_days
        whole("current_days", current_days, 2)
        self._reference, self._current = Days(reference_days), Days(current_days)

    def evaluate(self, monitor: Monitor, tick: int) -> TriggerRecord:
        values = monitor.stream(self.metric)
        filling = len(self._reference.closed) < self.reference_days
        part = self._reference if filling else self._current
        part.add(len(values), float(values.sum()))
        if not ends_day(tick):
            return TriggerRecord(tick, self.name, fired=False)
        part.close()
        before, after = estimate(self._reference.closed), estimate(self._current.closed)
        if len(self._current.closed) < self.current_days or isnan(before.error) or isnan(after.error):
            return TriggerRecord(tick, self.name, fired=False, inputs={"days": float(after.days)})
        return self._judge(before, after, tick)

    @abstractmethod
    def _judge(self, before: Estimate, after: Estimate, tick: int) -> TriggerRecord:
        """The record of the comparison."""

    def reset(self, tick: int) -> None:
        self._reference.clear()
        self._current.clear()

    def _inputs(self, before: Estimate, after: Estimate) -> dict[str, float]:
        return {
            "reference": before.mean,
            "current": after.mean,
            "reference_values": before.values,
            "current_values": after.values,
        }


class Performance(Compared):
    """Fires when a figure has fallen by more than a margin below what it was when the model came, beyond chance.

    A one-sided Welch test (1947) on days, level `alpha`, of: current >= (1 - margin) x reference. Both grow from the
    days after an order on; the score is the test's t, the threshold its bar.

    Arguments:
        metric: the figure, one of `monitors.STREAMS`, of which less is worse.
        margin: share of the reference that may be lost.
        alpha: level of each day's test.
        reference_days: first days of a model, which set the reference.
        current_days: newest days, held against it.
    """

    def __init__(
        self,
        metric: str = "first_page_ctr",
        margin: float = 0.05,
        alpha: float = 0.01,
        reference_days: int = 14,
        current_days: int = 7,
    ) -> None:
        super().__init__(metric, reference_days, current_days)
        self.margin, self.alpha = number("margin", margin, 0.0, 1.0), number("alpha", alpha, 0.0, 0.5, above=True)

    def _judge(self, before: Estimate, after: Estimate, tick: int) -> TriggerRecord:
        kept = 1.0 - self.margin
        parts = (kept * before.error) ** 2, after.error**2
        error = max(sum(parts), 1e-300) ** 0.5
        score = (kept * before.mean - after.mean) / error
        freedom = error**4 / max(parts[0] ** 2 / (before.days - 1) + parts[1] ** 2 / (after.days - 1), 1e-300)
        bar = float(stats.t.isf(self.alpha, max(freedom, 1.0)))
        inputs = self._inputs(before, after) | {"margin": self.margin}
        return TriggerRecord(tick, self.name, score > bar, score, bar, inputs, f"{self.metric} fell")


class CostAware(Compared):
    """Fires when what a new model would win back is worth more than its declared price.

    Forecast gain = (reference - current - caution x standard error) x values a day x `horizon_days`: what has been lost
    since the model came, for as long as the next one will serve. (If models lose steadily with age, the old one goes on
    losing just as fast as the new one will, and their gap stays what it is now.) Price = `rate` x the pages of the
    `training_days` a training learns from, in units of the metric: cost-sensitive adaptation, Zliobaite, Budka and
    Stahl (2015). An order clears the account: reference and loss begin anew with the next model.

    Arguments:
        metric: what is earned, one of `monitors.STREAMS`, of which more is better.
        rate: price of one page in training, in units of the metric.
        training_days: days a training learns from.
        horizon_days: days the next model is expected to serve.
        caution: standard errors taken off the loss, so that chance alone is not worth a price.
        reference_days: first days of a model, which set the reference.
        current_days: newest days, held against it.
    """

    def __init__(
        self,
        metric: str = "reward",
        rate: float = 0.01,
        training_days: int = 7,
        horizon_days: float = 28,
        caution: float = 1.0,
        reference_days: int = 7,
        current_days: int = 7,
    ) -> None:
        super().__init__(metric, reference_days, current_days)
        self.rate, self.training_days = number("rate", rate, 0.0), whole("training_days", training_days, 1)
        self.horizon_days = number("horizon_days", horizon_days, 0.0, above=True)
        self.caution = number("caution", caution, 0.0)
        self._pages = Days(training_days)

    def evaluate(self, monitor: Monitor, tick: int) -> TriggerRecord:
        self._pages.add(monitor.step.pages, 0.0)
        if ends_day(tick):
            self._pages.close()
        return super().evaluate(monitor, tick)

    def _judge(self, before: Estimate, after: Estimate, tick: int) -> TriggerRecord:
        loss = before.mean - after.mean - self.caution * (before.error**2 + after.error**2) ** 0.5
        gain = max(0.0, loss) * after.values / self.current_days * self.horizon_days
        price = self.rate * sum(pages for pages, _ in self._pages.closed)
        inputs = self._inputs(before, after) | {"loss": loss}
        return TriggerRecord(tick, self.name, gain > price, gain, price, inputs, "gain exceeds price")


def _check_metric(metric: str) -> None:
    if metric not in STREAMS:
        raise ValueError(f"'metric' must be one of {', '.join(STREAMS)}. Got {metric!r}.")


class AtLeast(Trigger):
    """Fires when at least `n` of its parts do; every part is asked every time.

    Arguments:
        n: parts that must fire.
        triggers: the parts.
        within_hours: a part that fired counts for so many hours more, so that alarms need not fall in the same one.
    """

    def __init__(self, n: int, triggers: Sequence[Trigger], within_hours: int = 0) -> None:
        if not triggers:
            raise ValueError("'triggers' must list at least one trigger. Got none; for no trigger at all use Never.")
        if not 1 <= n <= len(triggers):
            raise ValueError(f"'n' must lie between 1 and the number of triggers, {len(triggers)}. Got {n}.")
        self.n, self.triggers, self.within_hours = n, list(triggers), whole("within_hours", within_hours, 0)
        self.every_hours = gcd(*(trigger.every_hours for trigger in triggers))
        self.repeats = all(trigger.repeats for trigger in triggers)
        self._fired: dict[int, TriggerRecord] = {}

    def evaluate(self, monitor: Monitor, tick: int) -> TriggerRecord:
        records = [trigger.evaluate(monitor, tick) for trigger in self.triggers]
        self._fired |= {i: record for i, record in enumerate(records) if record.fired}
        self._fired = {i: record for i, record in self._fired.items() if tick - record.tick <= self.within_hours}
        fired = [self._fired[i] for i in sorted(self._fired)]
        inputs = {f"{i} {record.trigger}": float(i in self._fired) for i, record in enumerate(records)}
        strongest = (fired or records)[0]
        reason = " and ".join(record.reason for record in fired)
        return TriggerRecord(
            tick, self.name, len(fired) >= self.n, strongest.score, strongest.threshold, inputs, reason
        )

    def reset(self, tick: int) -> None:
        self._fired.clear()
        for trigger in self.triggers:
            trigger.reset(tick)


class AnyOf(AtLeast):
    """Fires when at least one of its parts does."""

    def __init__(self, triggers: Sequence[Trigger]) -> None:
        super().__init__(1, triggers)


class AllOf(AtLeast):
    """Fires when all of its parts do, each within so many hours of the last."""

    def __init__(self, triggers: Sequence[Trigger], within_hours: int = 0) -> None:
        super().__init__(len(triggers), triggers, within_hours)
