"""Triggers: when to learn. Every evaluation, fired or not, is a typed record."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import gcd

from perennial.agents.lifecycle.decisions import TriggerRecord
from perennial.agents.lifecycle.detectors import Detector
from perennial.agents.lifecycle.monitors import STREAMS, Monitor
from perennial.agents.lifecycle.tables import HOURS


class Trigger(ABC):
    """Asked once at the end of each of the strategy's steps.

    ``every_hours``: it can only fire at the end of a multiple of so many hours; 0 = at any.
    """

    every_hours: int = 0

    @property
    def name(self) -> str:
        """What the records call it."""
        return type(self).__name__

    @abstractmethod
    def evaluate(self, monitor: Monitor, tick: int) -> TriggerRecord:
        """Whether to learn at the end of the step that ends with hour `tick`, and on which evidence."""

    def reset(self, tick: int) -> None:  # noqa: B027 (most triggers remember nothing)
        """A new model was ordered at hour `tick`; what was seen of the old one no longer counts."""


class Never(Trigger):
    """The null object."""

    def evaluate(self, monitor: Monitor, tick: int) -> TriggerRecord:
        return TriggerRecord(tick, self.name, fired=False)


class Schedule(Trigger):
    """Every so many days and hours, at the end of the hour, counted from the epoch: `days=1` fires after hour 23.

    >>> [tick for tick in range(72) if Schedule(days=1).evaluate(Monitor(), tick).fired]
    [23, 47, 71]
    """

    def __init__(self, days: int = 0, hours: int = 0) -> None:
        self.every_hours = days * HOURS + hours
        if days < 0 or hours < 0 or self.every_hours < 1:
            raise ValueError(f"'days' and 'hours' must be 0 or more and not both 0. Got days={days}, hours={hours}.")

    def evaluate(self, monitor: Monitor, tick: int) -> TriggerRecord:
        passed = (tick + 1) % self.every_hours
        inputs = {"every_hours": float(self.every_hours)}
        return TriggerRecord(tick, self.name, passed == 0, inputs=inputs, reason="schedule")


class Drift(Trigger):
    """Fires when a detector sees the deployed policy's own figures change.

    The detector runs on through the cool-down, but its alarms then only count in the record; it starts afresh with
    each new model.

    Arguments:
        detector: what decides that the stream changed.
        metric: the stream, one of `monitors.STREAMS`.
        cooldown_days: days after an order in which no other is given.
    """

    def __init__(self, detector: Detector, metric: str = "first_page_ctr", cooldown_days: float = 7) -> None:
        if metric not in STREAMS:
            raise ValueError(f"'metric' must be one of {', '.join(STREAMS)}. Got {metric!r}.")
        if cooldown_days < 0:
            raise ValueError(f"'cooldown_days' must be 0 or more. Got {cooldown_days}.")
        self.detector, self.metric, self.cooldown_days = detector, metric, cooldown_days
        self._quiet_until = -1.0

    @property
    def name(self) -> str:
        return f"Drift({type(self.detector).__name__})"

    def evaluate(self, monitor: Monitor, tick: int) -> TriggerRecord:
        alarms, score, values = 0, 0.0, monitor.stream(self.metric).tolist()
        for value in values:
            self.detector.update(value)
            alarms += self.detector.drift_detected
            score = max(score, self.detector.score)
        quiet = tick <= self._quiet_until
        inputs = {"values": len(values), "alarms": alarms, "cooling_down": int(quiet), self.metric: _mean(values)}
        threshold = self.detector.threshold
        return TriggerRecord(
            tick, self.name, alarms > 0 and not quiet, score, threshold, inputs, f"drift of {self.metric}"
        )

    def reset(self, tick: int) -> None:
        self.detector.reset()
        self._quiet_until = tick + self.cooldown_days * HOURS


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


class AnyOf(Trigger):
    """Fires when at least one of its parts does; every part is asked every time."""

    def __init__(self, triggers: Sequence[Trigger]) -> None:
        if not triggers:
            raise ValueError("'triggers' must list at least one trigger. Got none; for no trigger at all use Never.")
        self.triggers = list(triggers)
        self.every_hours = gcd(*(trigger.every_hours for trigger in triggers))

    def evaluate(self, monitor: Monitor, tick: int) -> TriggerRecord:
        records = [trigger.evaluate(monitor, tick) for trigger in self.triggers]
        fired = [record for record in records if record.fired]
        inputs = {f"{i} {record.trigger}": float(record.fired) for i, record in enumerate(records)}
        strongest = (fired or records)[0]
        reason = " and ".join(record.reason for record in fired)
        return TriggerRecord(tick, self.name, bool(fired), strongest.score, strongest.threshold, inputs, reason)

    def reset(self, tick: int) -> None:
        for trigger in self.triggers:
            trigger.reset(tick)
