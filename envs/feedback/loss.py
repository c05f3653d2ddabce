"""Loss: reports that never arrive."""

from __future__ import annotations

from dataclasses import replace

from perennial.envs.feedback.base import Fault
from perennial.envs.feedback.delays import share
from perennial.envs.feedback.reports import Noise, Reports


class Loss(Fault):
    """Each report is lost by itself, at random.

    Arguments:
        pages: share of page reports lost, in [0, 1].
        conversions: share lost of the conversions that are told by themselves, in [0, 1].
    """

    stream = 1

    def __init__(self, pages: float = 0.02, conversions: float = 0.0) -> None:
        self.pages = share("feedback.pages", pages)
        self.conversions = share("feedback.conversions", conversions)

    def apply(self, reports: Reports, noise: Noise) -> Reports:
        kept = reports.take(noise.of_pages(self.stream, reports)[:, 0] >= self.pages)
        heard = noise.of_told(self.stream, reports)[:, 0] >= self.conversions
        return replace(kept, told=reports.told.take(heard))
