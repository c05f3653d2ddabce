"""No fault: what visitors do is in the log at once."""

from __future__ import annotations

from perennial.envs.feedback.base import Fault
from perennial.envs.feedback.reports import Noise, Reports


class NoFaults(Fault):
    """Everything arrives at once, once, as it was."""

    stream = 0

    def apply(self, reports: Reports, noise: Noise) -> Reports:
        return reports
