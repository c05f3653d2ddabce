"""The way from the shop to the log: what visitors did is reported, at once or late, twice or never, as faults say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import Feedback
from perennial.agents.lifecycle import conversions, tables
from perennial.agents.lifecycle.conversions import Conversions
from perennial.agents.lifecycle.feedback import FeedbackLog
from perennial.agents.lifecycle.tables import ARMS
from perennial.envs.feedback import Fault, NoFaults, Noise, Reports
from perennial.envs.random_numbers import key_of
from perennial.envs.rewards import Reward


@dataclass
class Parcel:
    """Page reports under way: ``due`` int64 (P,), the hour each arrives; the arm and the revision that served them."""

    due: NDArray[np.int64]
    pages: Feedback
    arm: str
    revision: int

    def split(self, tick: int) -> tuple[Parcel, Parcel]:
        """What is due by hour `tick`, and what is not."""
        ready = self.due <= tick
        parts = (Parcel(self.due[m], self.pages.take(m), self.arm, self.revision) for m in (ready, ~ready))
        first, second = parts
        return first, second


class Delivery:
    """Brings pages to the log through `faults`; what is late waits here.

    Arguments:
        faults: what befalls reports; default nothing.
        seed: the world's, which keys what is drawn.
        reward: what the shop counts: the log's reward is that of the outcomes it knows, never more.
    """

    def __init__(self, faults: Fault | None = None, seed: int = 0, reward: Reward | None = None) -> None:
        self.faults = NoFaults() if faults is None else faults
        self.noise = Noise(key_of(seed))
        self.weights = (Reward() if reward is None else reward).weights()
        self._parcels: list[Parcel] = []
        self._told = conversions.none()

    def send(self, log: FeedbackLog, pages: Feedback, arm: str, revision: int) -> None:
        """Report a wave of served pages; what arrives in their own hour is appended to `log`."""
        sent = Reports.of(vars(pages.keys), pages)
        reports = self.faults.apply(sent, self.noise)
        if reports is sent:  # nothing befell them
            log.append(pages, arm, revision)
            return
        now, later = Parcel(reports.due, self._as_told(pages, reports), arm, revision).split(int(sent.tick.max()))
        if len(now.pages):
            log.append(now.pages, arm, revision)
        if len(later.pages):
            self._parcels.append(later)
        if len(reports.told):
            self._told = Conversions.concatenate([self._told, self._conversions(pages, reports)])

    def _as_told(self, pages: Feedback, reports: Reports) -> Feedback:
        """The pages as `reports` have them."""
        told = pages.take(reports.row)
        names = ("clicked", "carted", "purchased", "not_interested")
        outcomes = {name: getattr(reports, name) for name in names}
        changed = np.any([(flags != getattr(told, name)).any(axis=1) for name, flags in outcomes.items()], axis=0)
        reward = np.where(changed, reports.reward(self.weights), told.reward)
        return replace(told, **outcomes, reward=reward)

    def _conversions(self, pages: Feedback, reports: Reports) -> Conversions:
        told, row = reports.told, reports.told.row
        return Conversions(
            tick=told.due,
            visit=reports.visit[row],
            page=pages.keys.page[row],
            slot=told.slot.astype(np.int32),
            kind=told.kind.astype(np.int32),
            item=pages.slate_items[row, told.slot],
            page_tick=reports.tick[row],
            value=self.weights[1 + told.kind].astype(np.float32),
        )

    def deliver(self, log: FeedbackLog, first: int, last: int) -> None:
        """Bring to `log` what is due by hour `last`, the hours `first` to `last` being about to close."""
        split = [parcel.split(last) for parcel in self._parcels]
        for ready, _ in split:
            if len(ready.pages):
                log.append(ready.pages, ready.arm, ready.revision)
        self._parcels = [later for _, later in split if len(later.pages)]
        due = self._told.tick <= last
        if due.any():
            ready_told = self._told.take(due)
            log.convert(replace(ready_told, tick=np.maximum(ready_told.tick, first)))
            self._told = self._told.take(~due)

    @property
    def waiting(self) -> tuple[int, int]:
        """How many page reports and how many conversions are under way."""
        return sum(len(parcel.pages) for parcel in self._parcels), len(self._told)

    def save(self) -> dict[str, NDArray[Any]]:
        """What is under way, as arrays, without extras; `restore` goes on with it."""
        saved: dict[str, NDArray[Any]] = {f"told.{name}": array for name, array in vars(self._told).items()}
        for n, parcel in enumerate(self._parcels):
            saved |= {f"{n}.{name}": array for name, array in tables.arrays(parcel.pages).items()}
            served = np.array([ARMS.index(parcel.arm), parcel.revision])
            saved |= {f"{n}.due": parcel.due, f"{n}.served": served}
        return saved

    def restore(self, saved: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `save` gave."""
        self._told = Conversions(**_part(saved, "told"))
        self._parcels = []
        while f"{len(self._parcels)}.due" in saved:
            part = _part(saved, str(len(self._parcels)))
            arm, revision = part.pop("served").tolist()
            due = part.pop("due")
            self._parcels.append(Parcel(due, tables.from_arrays(part), ARMS[arm], revision))


def _part(saved: Mapping[str, NDArray[Any]], name: str) -> dict[str, NDArray[Any]]:
    return {key.removeprefix(f"{name}."): array for key, array in saved.items() if key.startswith(f"{name}.")}
