"""Windows: which part of the log a training sees."""

from __future__ import annotations

from abc import ABC, abstractmethod

from perennial.agents.base import Feedback
from perennial.agents.lifecycle.feedback import FeedbackLog
from perennial.agents.lifecycle.open_day import in_order
from perennial.agents.lifecycle.tables import HOURS


class Window(ABC):
    """Chooses logged pages, as of the end of an hour."""

    @abstractmethod
    def select(self, log: FeedbackLog, tick: int) -> Feedback:
        """The pages to learn from at the end of hour `tick`."""

    def labelled_from(self, offered: Feedback) -> int | None:
        """The hour from which on labels belong to the pages `offered` by this window; None: none does."""
        return int(offered.keys.tick[0]) if len(offered) else None

    @abstractmethod
    def __str__(self) -> str:
        """The window in words, for the audit trail."""


class LastDays(Window):
    """The last `days` x 24 hours, the one that just ended included."""

    def __init__(self, days: int) -> None:
        if days < 1:
            raise ValueError(f"'days' must be at least 1. Got {days}.")
        self.days = days

    def select(self, log: FeedbackLog, tick: int) -> Feedback:
        return log.between(tick - self.days * HOURS + 1, tick)

    def __str__(self) -> str:
        return f"last {self.days} days"


class AllDays(Window):
    """Everything logged so far."""

    def select(self, log: FeedbackLog, tick: int) -> Feedback:
        return log.between(0, tick)

    def __str__(self) -> str:
        return "all days"


class RecentAndLastYear(Window):
    """The last `days` days, and the same season a year before: from as long before this hour to as long after it."""

    def __init__(self, days: int, lag_days: int = 364) -> None:
        if not 1 <= days <= lag_days // 2:
            raise ValueError(f"'days' must lie in [1, {lag_days // 2}], half of 'lag_days'. Got {days}.")
        self.days, self.lag_days = days, lag_days

    def select(self, log: FeedbackLog, tick: int) -> Feedback:
        span, then = self.days * HOURS, tick - self.lag_days * HOURS
        recent = log.between(tick - span + 1, tick)
        if then + span < 0:
            return recent
        return Feedback.concatenate([log.between(max(0, then - span + 1), then + span), recent])

    def __str__(self) -> str:
        return f"last {self.days} days, and as many on either side of {self.lag_days} days ago"


class Fresh(Window):
    """The open day's pages from hour `first_tick` on, with the extras their agent stored; what `update` is fed with.

    ``owed_from``: the pages of committed days from this hour on come before them, as an update failed to learn them;
    None: none does.
    """

    def __init__(self, first_tick: int, owed_from: int | None = None) -> None:
        self.first_tick, self.owed_from = first_tick, owed_from

    def select(self, log: FeedbackLog, tick: int) -> Feedback:
        opened = tick // HOURS * HOURS
        if self.owed_from is None or self.owed_from >= opened:
            return log.since(self.first_tick)
        owed = log.with_extras(log.between(self.owed_from, opened - 1))
        both = Feedback.concatenate([owed, log.since(self.first_tick)])
        return both.take(in_order(both))

    def labelled_from(self, offered: Feedback) -> int:
        """The window's first hour: a label told since the last update is handed over once, whatever pages there are."""
        return self.first_tick

    def __str__(self) -> str:
        return f"from hour {self.first_tick}"
