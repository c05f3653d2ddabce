"""What befalls reports between the shop's pages and its log; the world itself and its rewards stay untouched."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from perennial.envs.feedback.reports import Noise, Reports
from perennial.envs.validation import one_of_type


class Fault(ABC):
    """One way in which the log comes to differ from what happened, or to hear of it later.

    What it draws is keyed by the visit, the page and the slot: two policies that serve the same page lose the same
    report, whatever the batch.
    """

    stream: ClassVar[int]
    """Keeps its draws apart from those of other faults: a number of its own below 256."""

    @abstractmethod
    def apply(self, reports: Reports, noise: Noise) -> Reports:
        """The reports as they are after it."""


class ComposedFaults(Fault):
    """Several faults, one after the other in the order of `parts`: what the first loses, the second cannot copy.

    At most one of each class, since their draws are the same.
    """

    stream = 0

    def __init__(self, parts: Sequence[Fault]) -> None:
        for part in parts:
            one_of_type("feedback.parts", part, Fault)  # type: ignore[type-abstract]
        names = [type(part).__name__ for part in parts]
        twice = sorted({name for name in names if names.count(name) > 1})
        if not parts or twice:
            got = f"{twice[0]} twice: merge them into one" if twice else "none: use NoFaults"
            raise ValueError(f"'feedback.parts' must hold at least one fault, and each class once. Got {got}.")
        self.parts = tuple(parts)

    def apply(self, reports: Reports, noise: Noise) -> Reports:
        for part in self.parts:
            reports = part.apply(reports, noise)
        return reports
