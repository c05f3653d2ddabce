"""Late arrival: page reports that come out of order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from perennial.envs.feedback.base import Fault
from perennial.envs.feedback.delays import Delay, Exponential, share
from perennial.envs.feedback.reports import Noise, Reports
from perennial.envs.validation import one_of_type


class LateArrival(Fault):
    """A share of the page reports takes its time, so that later pages overtake them.

    Arguments:
        pages: share that is late, in [0, 1].
        delay: how late; default a mean of six hours.
    """

    stream = 3

    def __init__(self, pages: float = 0.05, delay: Delay | None = None) -> None:
        self.pages = share("feedback.pages", pages)
        default = Exponential(0.25)
        self.delay = one_of_type("feedback.delay", default if delay is None else delay, Delay)  # type: ignore[type-abstract]

    def apply(self, reports: Reports, noise: Noise) -> Reports:
        drawn = noise.of_pages(self.stream, reports)
        hours = np.where(drawn[:, 0] < self.pages, self.delay.hours(drawn), 0)
        return replace(reports, due=reports.due + hours)
