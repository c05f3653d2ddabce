"""Decisions as typed records, and the audit trail that keeps them."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from perennial.agents.lifecycle.damage import DamagedError


@dataclass(frozen=True)
class TriggerRecord:
    """One evaluation of a trigger: it fired iff its rule found `score` past `threshold` (NaN where it has none)."""

    tick: int
    trigger: str
    fired: bool
    score: float = math.nan
    threshold: float = math.nan
    inputs: dict[str, float] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class TrainingRecord:
    """One training: ordered why, on which data, from which model, with what outcome and at which declared price.

    ``price`` = rows x passes x rate. ``verdict`` is "trained", "no data" or "failed"; the champion serves on in each.
    ``rows``: pages learned from, at most ``budget`` (None: all) of the window's. ``seed``: all that it drew came from
    it. ``result``: hash of all that the model is right afterwards, before it serves. ``labels``: how many of the rows
    are reviewers' labels, by source.
    """

    tick: int
    kind: str
    start: str
    reason: str
    window: str
    first_tick: int
    last_tick: int
    rows: int
    data_version: str
    parent: int
    verdict: str
    price: float
    figures: dict[str, float] = field(default_factory=dict)
    error: str = ""
    budget: int | None = None
    held_out: float = 0.0
    seed: int = 0
    result: str = ""
    labels: dict[str, int] = field(default_factory=dict)
    held_out_explored: float = 0.0


@dataclass(frozen=True)
class ValidationRecord:
    """One judgement of the candidate `version` against its `parent` before anybody sees it.

    ``verdict`` is "pass", "fail" or "insufficient evidence". ``figures``: candidate less champion per page by every
    estimator, with intervals; ``slices``: the same for each stress slice. ``rows``: the held-out pages it rests on.
    """

    tick: int
    validation: str
    version: int
    parent: int
    verdict: str
    reason: str
    rows: int
    first_tick: int
    last_tick: int
    data_version: str
    margin: float
    figures: dict[str, float] = field(default_factory=dict)
    slices: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class ReviewRecord:
    """One page that a reviewer was asked about in hour `asked`, and the answer, which came in hour `tick`.

    ``shown``: the item ids, as served by version `served_by`; ``right``: those of the answer, the same unless
    ``verdict`` is "correct" ("accept": they are right, "reject": they are not). ``certainty`` of the decision by
    `measure`: the pages with the lowest are asked about. ``price``: declared, of this answer.
    """

    tick: int
    source: str
    visit: int
    page: int
    asked: int
    verdict: str
    shown: list[int]
    right: list[int]
    certainty: float
    measure: str
    price: float
    served_by: int


@dataclass(frozen=True)
class RolloutRecord:
    """One judgement of a rollout: what becomes of the candidate `version` that would follow `parent`.

    ``verdict`` is "continue", "promote", "rollback" or "superseded" (it waited, and a newer one came). ``step`` and
    ``share``: what the rollout was doing, and which share of the users the candidate served when it was judged.
    """

    tick: int
    rollout: str
    version: int
    parent: int
    verdict: str
    data_version: str
    evidence: dict[str, float] = field(default_factory=dict)
    step: str = ""
    share: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class FairnessRecord:
    """What all arms showed since hour `first_tick`, by audit attributes that no agent sees.

    ``exposure_by_provider``: share of exposure over share of what was on offer; ``merit_by_provider``: over share of
    clicks; ``ctr_by_group``: clicks per slot of each protected group. ``figures``: the worst of each.
    """

    tick: int
    first_tick: int
    figures: dict[str, float]
    exposure_by_provider: list[float]
    merit_by_provider: list[float]
    ctr_by_group: list[float]
    pages_by_group: list[float]


@dataclass(frozen=True)
class AlertRecord:
    """A watched figure left its reference: `reference` and `current` are its values over the two spans of days.

    Raised iff `p_value` < `alpha`, the level of this test. `score` is the test's (t, index or distance). It rests on
    `reference_values` and `current_values`, and `smallest` is the smallest drift that it sees with 80 % power.
    """

    tick: int
    metric: str
    test: str
    reference: float
    current: float
    score: float
    p_value: float
    alpha: float
    reference_values: int
    current_values: int
    smallest: float


@dataclass(frozen=True)
class DayRecord:
    """The end of a day: the monitor's figures, and how often each trigger was asked and fired.

    ``unwatched``: figures that the pages tell nothing of, as calibration where the agent foretells no clicks; that they
    raise no alert says nothing about them.
    """

    tick: int
    day: int
    figures: dict[str, float]
    evaluated: dict[str, int]
    fired: dict[str, int]
    unwatched: list[str] = field(default_factory=list)


Record = (
    TriggerRecord
    | TrainingRecord
    | ValidationRecord
    | ReviewRecord
    | RolloutRecord
    | FairnessRecord
    | AlertRecord
    | DayRecord
)


class Audit:
    """The decisions of a run, in order, in one file of JSON lines; no measured time and no path is in it.

    A trigger's evaluation is written out when it fired; the others are counted in the day's record.

    Arguments:
        path: where the lines go, appended at each day's end; None keeps them in memory only.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._kept: list[dict[str, Any]] = []
        self._evaluated: Counter[str] = Counter()
        self._fired: Counter[str] = Counter()

    def write(self, record: Record, version: int, revision: int = 0) -> None:
        """Keep a decision taken while model `version`, updated in place `revision` times, was the champion."""
        if isinstance(record, TriggerRecord):
            self._evaluated[record.trigger] += 1
            self._fired[record.trigger] += record.fired
            if not record.fired:
                return
        kind = type(record).__name__.removesuffix("Record").lower()
        content = {"decision": kind, **asdict(record), "model_version": version, "model_revision": revision}
        self._kept.append(_finite(content))

    @property
    def lines(self) -> list[dict[str, Any]]:
        """All decisions so far, those of the days on disk included."""
        return [*(read_lines(self.path) if self.path is not None and self.path.exists() else []), *self._kept]

    def end_day(
        self,
        day: int,
        tick: int,
        figures: dict[str, float],
        version: int,
        revision: int = 0,
        unwatched: Sequence[str] = (),
    ) -> None:
        """Close the day's account and write everything out."""
        evaluated, fired = dict(sorted(self._evaluated.items())), dict(sorted(self._fired.items()))
        self.write(DayRecord(tick, day, figures, evaluated, fired, list(unwatched)), version, revision)
        self._evaluated.clear()
        self._fired.clear()
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(line, allow_nan=False) + "\n" for line in self._kept)
                file.flush()
                os.fsync(file.fileno())
            self._kept.clear()

    def mark(self) -> int:
        """Where the file stands, for `return_to`: its size in bytes."""
        return self.path.stat().st_size if self.path is not None and self.path.exists() else 0

    def return_to(self, mark: int) -> None:
        """Forget what was written after `mark`."""
        if self.path is None or self.mark() < mark:
            raise DamagedError(
                f"The decisions in {self.path} end before what was committed. Restore the file from a copy, or run "
                "again from the start."
            )
        if self.path.exists():
            os.truncate(self.path, mark)
            read_lines(self.path)  # damage shows now, not after the last day
        self._kept.clear()
        self._evaluated.clear()
        self._fired.clear()


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The decisions in the file at `path`."""
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (FileNotFoundError, ValueError) as error:
        raise DamagedError(
            f"{path} is damaged ({type(error).__name__}: {error}). Restore it from a copy, or delete the run's "
            "folder and start again."
        ) from error


def _finite(value: Any) -> Any:
    """The same with NaN and infinities as None, which JSON can hold."""
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
