"""Duplication: reports that arrive a second time, as when a sender tries again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from perennial.envs.feedback.base import Fault
from perennial.envs.feedback.delays import Delay, Exponential, share
from perennial.envs.feedback.reports import Noise, Reports
from perennial.envs.validation import one_of_type


class Duplication(Fault):
    """A share of the reports is sent again, the copy some time after the first.

    Arguments:
        pages: share of page reports sent twice, in [0, 1].
        conversions: share of the conversions told by themselves, in [0, 1].
        delay: how much later the copy arrives; default a mean of an hour.
    """

    stream = 2

    def __init__(self, pages: float = 0.02, conversions: float = 0.0, delay: Delay | None = None) -> None:
        self.pages = share("feedback.pages", pages)
        self.conversions = share("feedback.conversions", conversions)
        default = Exponential(1 / 24)
        self.delay = one_of_type("feedback.delay", default if delay is None else delay, Delay)  # type: ignore[type-abstract]

    def apply(self, reports: Reports, noise: Noise) -> Reports:
        drawn, told_drawn = noise.of_pages(self.stream, reports), noise.of_told(self.stream, reports)
        again, told_again = drawn[:, 0] < self.pages, told_drawn[:, 0] < self.conversions
        copies, told = reports.take(again), reports.told.take(told_again)
        hours, told_hours = self.delay.hours(drawn[again]), self.delay.hours(told_drawn[told_again])
        told = replace(told, copy=told.copy + 1, due=told.due + told_hours)
        return reports + replace(copies, copy=copies.copy + np.int64(1), due=copies.due + hours, told=told)
