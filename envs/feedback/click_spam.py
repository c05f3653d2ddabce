"""Click spam: clicks in the log that nobody made."""

from __future__ import annotations

from dataclasses import replace

from perennial.envs.feedback.base import Fault
from perennial.envs.feedback.delays import share
from perennial.envs.feedback.reports import Noise, Reports


class ClickSpam(Fault):
    """In a share of the visits a script clicks along: slots that the visitor did not click are reported as clicked.

    The visitor's own clicks and conversions are reported as they are. A slot reported as clicked is not reported as
    "not interested". A script clicks on a page's slots whatever they show, repeats included.

    Arguments:
        visits: share of visits with a script, in [0, 1].
        slots: chance of each slot on their pages that the script clicks it, in [0, 1].
    """

    stream = 4

    def __init__(self, visits: float = 0.02, slots: float = 0.5) -> None:
        self.visits = share("feedback.visits", visits)
        self.slots = share("feedback.slots", slots)

    def apply(self, reports: Reports, noise: Noise) -> Reports:
        scripted = noise.of_visits(self.stream, reports)[:, 0] < self.visits
        clicked = scripted[:, None] & (noise.of_slots(self.stream, reports)[:, :, 0] < self.slots)
        return replace(reports, clicked=reports.clicked | clicked, not_interested=reports.not_interested & ~clicked)
