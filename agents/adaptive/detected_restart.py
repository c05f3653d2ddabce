"""An agent that starts afresh when a detector says that the world has changed."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.agents.adaptive.keeping import an_agent, inside, taken_out
from perennial.agents.adaptive.wrapping import Wrapping
from perennial.agents.base import Agent, Feedback, Items, Spaces, generator_state, set_generator_state
from perennial.agents.lifecycle import snapshot
from perennial.agents.lifecycle.detectors import Detector
from perennial.agents.validation import saved, whole


class DetectedRestart(Wrapping):
    """`agent` for a world that stands still, made fit for one that jumps: at each alarm it begins anew.

    Detection-augmented learning (Gerogiannis, Huang, Bose and Veeravalli 2025, "DAL: A practical prior-free black-box
    framework for non-stationary bandits"; GLR-klUCB of Besson, Kaufmann, Maillard and Seznec 2022 is its best known
    case): a stationary learner, a detector on what each arm pays, some forced exploration so that no arm's change goes
    unseen, and a restart of everything at an alarm. Arms are the shop's categories here: each has a detector of its own
    that takes the click rate of every `block` impressions of it; the exploration is the floor every deployed agent has
    (`Exploring`).

    After an alarm `agent` is begun anew and learns from the pages on which the alarm was raised; nothing older reaches
    it again, whatever window `fit` is handed, warm or cold. All detectors start over too. What they are by now is part
    of the state, not what they have heard: it is as long after a year as after a day.

    Arguments
    ---------
    agent : the learner that is restarted
    detector : copied for each category; anything with `update`, `reset` and `drift_detected`
    block : impressions of a category that make one value, >= 1
    """

    def __init__(self, agent: Agent, detector: Detector, block: int = 100) -> None:
        self.agent = an_agent("agent", agent)
        if not isinstance(detector, Detector):
            raise TypeError(f"'detector' must be a Detector. Got {type(detector).__name__}: {detector!r}.")
        self.detector = detector
        self.block = whole("block", block, 1)

    def begin(self, items: Items, spaces: Spaces, seed: int) -> None:
        super().begin(items, spaces, seed)
        self.agent.begin(items, spaces, seed)
        self.last_tick, self.first_tick, self.alarms = -1, 0, 0  # newest page watched, oldest that counts, restarts
        self._listen()

    def _listen(self) -> None:
        """New detectors, one for each category, that have heard nothing."""
        self.detectors = [copy.deepcopy(self.detector) for _ in range(self.spaces.n_categories)]
        for detector in self.detectors:
            detector.reset()
        self.open = np.zeros((2, self.spaces.n_categories), dtype=np.int64)

    # -- learning ------------------------------------------------------------------------------------------------------

    def fit(self, window: Feedback, start: str = "warm") -> dict[str, float]:
        if start == "cold":
            self.last_tick = -1
            self._listen()
        new = window.take(window.keys.tick >= max(self.first_tick, self.last_tick + 1))
        restarted = self._watch(new) < len(new)
        kept = window.take(window.keys.tick >= self.first_tick)
        return self.agent.fit(kept, "cold" if restarted else start) | self._figures(restarted)

    def update(self, feedback: Feedback) -> dict[str, float]:
        since = self._watch(feedback)
        restarted = since < len(feedback)
        rest = feedback.take(np.arange(since, len(feedback))) if restarted else feedback
        return self.agent.update(rest) | self._figures(restarted)

    def _figures(self, restarted: bool) -> dict[str, float]:
        return {"restarted": float(restarted), "restarts": float(self.alarms)}

    def _watch(self, pages: Feedback) -> int:
        """Tell the detectors of the pages, and restart at each alarm; the first page since, or `len(pages)`."""
        since, told = len(pages), 0
        while (alarm := self._tell(pages, told)) is not None:
            self._restart(int(pages.keys.tick[alarm]))
            since, told = alarm, alarm + 1
        self.last_tick = max(self.last_tick, int(pages.keys.tick.max(initial=-1)))
        return since

    def _tell(self, pages: Feedback, first: int) -> int | None:
        """Hand over the values that the pages from `first` on complete, as they do; the page that raises an alarm."""
        category, clicked = self.items["category"][pages.slate_items[first:]], pages.clicked[first:]
        values = [value for c in range(self.spaces.n_categories) for value in self._values(c, category == c, clicked)]
        for page, c, value in sorted(values, key=lambda found: found[:2]):
            self.detectors[c].update(value)
            if self.detectors[c].drift_detected:
                return first + page
        return None

    def _values(self, c: int, shown: NDArray[np.bool_], clicked: NDArray[np.bool_]) -> list[tuple[int, int, float]]:
        """(page, c, click rate) of each block of category `c` that is completed; the rest of the last stays open."""
        page, slot = np.nonzero(shown)
        clicks = np.concatenate([[0], self.open[0, c] + np.cumsum(clicked[page, slot])])
        count = self.open[1, c] + len(page)
        ends = np.arange(self.block, count + 1, self.block) - self.open[1, c]  # impressions that complete a block
        rates = np.diff(clicks[ends], prepend=0) / self.block
        last = clicks[ends[-1]] if len(ends) else 0
        if len(page):
            self.open[:, c] = clicks[-1] - last, count % self.block
        return [(int(page[end - 1]), c, float(rate)) for end, rate in zip(ends, rates, strict=True)]

    def _restart(self, tick: int) -> None:
        """Everything begins anew with the pages of hour `tick`."""
        self.agent.begin(self.items, self.spaces, self.fresh_seed())
        self._listen()
        self.first_tick = tick
        self.alarms += 1

    # -- keeping -------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, NDArray[Any]]:
        return {
            **inside("agent", self.agent.state()),
            **inside("detectors", _copied(snapshot.take({"all": self.detectors}, {}))),
            "open": self.open.copy(),
            "where": np.array([self.last_tick, self.first_tick, self.alarms], dtype=np.int64),
            "generator": generator_state(self.rng),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        where, still_open = saved(state, "where", (3,)), saved(state, "open", self.open.shape)
        detectors, generator = self._detectors(taken_out("detectors", state)), saved(state, "generator", (6,))
        self.agent.restore(taken_out("agent", state))
        self.detectors, self.open = detectors, still_open
        set_generator_state(self.rng, generator)
        self.last_tick, self.first_tick, self.alarms = (int(number) for number in where)

    def _detectors(self, arrays: Mapping[str, NDArray[Any]]) -> list[Detector]:
        """The detectors that `snapshot.take` wrote down, one of this agent's kind for each category."""
        if snapshot.TREE not in arrays:
            raise ValueError(
                f"The state must hold 'detectors/{snapshot.TREE}'. Got none: was it saved by another kind of agent?"
            )
        found = snapshot.give_back(_copied(arrays), {}, no_agent)["all"]
        kind = type(self.detector)
        if len(found) != self.spaces.n_categories or any(type(detector) is not kind for detector in found):
            kinds = ", ".join(sorted({type(detector).__name__ for detector in found}))
            raise ValueError(
                f"A saved state must hold a {kind.__name__} for each of the {self.spaces.n_categories} categories. "
                f"Got {len(found)} of {kinds or 'nothing'}."
            )
        return list(found)


def _copied(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Arrays of their own: detectors count in theirs in place."""
    return {name: array.copy() for name, array in arrays.items()}


def no_agent(items: Items) -> Agent:
    """No detector has an agent in it."""
    raise ValueError("A saved detector must not hold an agent. Got one.")
