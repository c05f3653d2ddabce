"""Rebuilds models from their records alone, and compares them bit for bit: `perennial-reproduce RUN VERSION`.

What a learner noted on its own pages (`Agent.stored`) comes from the log as well. Of pages that were lost on their way
to the log, or that a candidate served before it was promoted, the log tells no such thing: where a model rests on what
serving them left in it (recurrent learners), it differs, and is said to.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.agents.base import Agent
from perennial.agents.lifecycle.decisions import read_lines
from perennial.agents.lifecycle.feedback import FeedbackLog
from perennial.agents.lifecycle.registry import Registry, content_hash
from perennial.agents.lifecycle.shelves import Version
from perennial.agents.lifecycle.training import TrainingOrder, chosen, data_version, reviewed, state_hash, with_labels
from perennial.agents.lifecycle.windows import AllDays, Fresh, Past, Window
from perennial.experiments import execution, results, resuming
from perennial.experiments import run as runs
from perennial.experiments.configuration import ConfigurationError
from perennial.experiments.console import script
from perennial.experiments.metrics import HOURS
from perennial.experiments.threads import one_thread

State = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Rebuilt:
    """One model made again: the recorded hash of its state right after training, and the one found now.

    ``artifact``: whether the file it would be kept in has the registered hash; None where none was registered, as for
    the updates of a day but the last. ``data``: whether the log still gives the recorded data version.
    """

    version: int
    revision: int
    tick: int
    recorded: str
    found: str
    artifact: bool | None
    data: bool

    @property
    def equal(self) -> bool:
        return self.recorded == self.found and self.artifact is not False


class Records:
    """What a run left to rebuild its models from: settings, decisions, log and the registry's rows, but no model."""

    def __init__(self, folder: Path, trusted: Sequence[str] = ()) -> None:
        self.run = runs.kept_in(folder, trusted)
        self.lines = read_lines(folder / resuming.DECISIONS)
        parts = execution.build(self.run)
        self.training, self.window = parts.training, parts.strategy.window
        self.log = FeedbackLog(folder / resuming.LOG, self.training.spaces)

    @cached_property
    def versions(self) -> list[Version]:
        """The registry's rows."""
        registry: Registry = execution.open_registry(self.run)
        try:
            return registry.versions()
        finally:
            registry.close()

    def fresh_before(self, tick: int) -> Fresh:
        """What was new to an update of hour `tick`: what came since one that did not fail, see `settle`."""
        trainings = (line for line in self.lines if line["decision"] == "training" and line["kind"] == "update")
        first, owed = 0, None
        for line in (line for line in trainings if line["tick"] < tick):
            if line["verdict"] != "failed":
                first, owed = int(line["tick"]) + 1, None
            elif owed is None:
                owed = max(first, int(line["tick"]) // HOURS * HOURS)
        return Fresh(first, owed)

    def window_of(self, told: dict[str, Any]) -> Window:
        """What the training that `told` tells of was offered: that of the strategy, or what was new to an update."""
        if told["kind"] == "update":
            return self.fresh_before(told["tick"])
        return self.window if told["tick"] >= self.run.window.start * HOURS else AllDays()  # the first version

    @property
    def trainings(self) -> list[dict[str, Any]]:
        """The records of all trainings that left a model, in their order."""
        return [line for line in self.lines if line["decision"] == "training" and line["verdict"] == "trained"]


def rebuild(records: Records, last: int | None = None) -> Iterator[Rebuilt]:
    """Every model of a run up to version `last`, each from its own record and the model it went on from."""
    first = records.versions[0]
    agent = records.training.fresh(first.tick)
    told = first.training or {}
    agent, data = _train(records, told, agent)
    states = {(1, 0): (agent.state(), int(told["tick"]))}
    yield _compared(records, told, agent, data, 1, 0)
    candidates = iter([row for row in records.versions if row.origin == "fit"])
    for line in records.trainings:
        version, revision = int(line["model_version"]), int(line["model_revision"])
        states = {key: state for key, state in states.items() if key[0] >= version}
        if last is not None and version > last:
            return
        champion = records.training.fresh(line["tick"])
        state, since = states[version, revision]
        champion.restore({name: array.copy() for name, array in state.items()})
        _recollect(records, champion, version, since, int(line["tick"]))
        agent, data = _train(records, line, champion)
        made = (next(candidates).version, 0) if line["kind"] == "fit" else (version, revision + 1)
        states[made] = agent.state(), int(line["tick"])
        if last is None or made[0] <= last:
            yield _compared(records, line, agent, data, *made)


def _recollect(records: Records, champion: Agent, version: int, since: int, tick: int) -> None:
    """Let the champion, as it was after hour `since`, note what it served as `version` up to hour `tick`."""
    if champion.stored and since < tick:
        pages = records.log.between(since + 1, tick)
        champion.recollect(records.log.with_extras(pages.take(pages.version == version)))


def _train(records: Records, told: dict[str, Any], champion: Agent) -> tuple[Agent, bool]:
    """The training once more, as it is told; whether its data are what they were."""
    tick = min(told["tick"], records.log.last_day * HOURS + HOURS - 1)
    window = records.window_of(told)
    offered = window.select(Past(records.log, tick), tick)
    ticks = offered.keys.tick
    offered = offered.take(np.flatnonzero((ticks >= told["first_tick"]) & (ticks <= told["last_tick"])))
    words = ("kind", "start", "reason", "tick", "budget", "held_out", "held_out_explored")
    order = TrainingOrder(window=window, **{word: told[word] for word in words})
    labels = reviewed(order, offered, records.log, champion)
    pages = with_labels(chosen(order, offered, told["seed"]), labels)
    agent, _ = records.training.learn(order, pages, champion)
    return agent, data_version(records.log.version_of(offered, tick), labels) == told["data_version"]


def _compared(records: Records, told: dict[str, Any], agent: Agent, data: bool, version: int, revision: int) -> Rebuilt:
    rows = [row for row in records.versions if (row.version, row.revision) == (version, revision)]
    # an update's file was written at the end of its day, after it had served: its generator may have moved on
    artifact = _file_hash(agent) == rows[0].artifact if rows and revision == 0 else None
    return Rebuilt(version, revision, told["tick"], told["result"], state_hash(agent.state()), artifact, data)


def _file_hash(agent: Agent) -> str:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model"
        agent.save(file)
        return content_hash(file)


@script("perennial-reproduce")
def main(arguments: Sequence[str] | None = None) -> int:
    """Rebuild one version, or all of them, and say whether the bits are the recorded ones."""
    one_thread()
    parser = argparse.ArgumentParser(prog="perennial-reproduce", description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a run, such as runs/gift_shop/nightly-seasonal-seed0")
    parser.add_argument("version", type=int, nargs="?", help="version to rebuild; none: all of them")
    runs.ask_trust(parser)
    options = parser.parse_args(arguments)
    return _report(Records(options.run, options.trust), options.version)


def _report(records: Records, version: int | None) -> int:
    known = {row.version for row in records.versions}
    if version is not None and version not in known:
        raise ConfigurationError(f"'version' must be a registered one, 1 to {max(known)}. Got {version}.")
    if records.versions[0].code != results.code_digest():
        print(f"These models were trained by code {records.versions[0].code}, this is {results.code_digest()}.")
    found = [model for model in rebuild(records, version) if version in (None, model.version)]
    for model in found:
        name = f"version {model.version}" + (f" after update {model.revision}" if model.revision else "")
        words = "the same bits" if model.equal else f"DIFFERS: recorded {model.recorded}, found {model.found}"
        print(f"{name:24s} hour {model.tick:6d}  {words}" + ("" if model.data else "  (its data have changed)"))
    equal = sum(model.equal for model in found)
    print(f"{equal} of {len(found)} models rebuilt bit for bit.")
    return 0 if equal == len(found) else 1


if __name__ == "__main__":
    sys.exit(main())
