"""The checkpoint commits a day by one rename; what is beyond it is cut off, what is damaged is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perennial.agents.lifecycle import checkpoint
from perennial.agents.lifecycle.checkpoint import Checkpoint, CheckpointDamagedError
from perennial.agents.lifecycle.damage import DamagedError
from perennial.agents.lifecycle.decisions import Audit
from perennial.agents.lifecycle.feedback import FeedbackLog
from perennial.agents.lifecycle.registry import Registry
from tests.agents.lifecycle.hand import SPACES, wave
from tests.agents.lifecycle.learner import Learner, begun


class Clock:
    """A world that counts days."""

    def __init__(self) -> None:
        self.day = np.zeros(1, np.int64)

    def save(self) -> dict[str, Any]:
        return {"day": self.day.copy()}

    def restore(self, saved: dict[str, Any]) -> None:
        self.day = saved["day"]


def opened(folder: Path) -> tuple[dict[str, Any], Checkpoint]:
    kept: dict[str, Any] = {
        "log": FeedbackLog(folder / "log", SPACES),
        "audit": Audit(folder / "decisions.jsonl"),
        "registry": Registry(folder / "registry", "test", 0),
    }
    return kept, Checkpoint(folder / "checkpoint", kept, identity="this run")


def live(day: int, kept: dict[str, Any], world: Clock, commit: Checkpoint | None) -> None:
    kept["log"].append(wave(day * 24 + 5, [10 * day + 1, 10 * day + 2]))
    kept["log"].close(day * 24 + 23)
    version = kept["registry"].register(begun(SPACES, seed=day), day * 24, "fit").version
    kept["registry"].point("champion", version, day * 24)
    world.day[0] = day
    kept["audit"].end_day(day, day * 24 + 23, {"pages": 2.0}, version)
    kept["log"].commit(day)
    if commit is not None:
        commit.commit(day, {"rates": [0.5, day]}, world)


def agent(items: Any) -> Learner:
    return begun(SPACES)


def test_what_was_not_committed_is_cut_off_everywhere(tmp_path: Path) -> None:
    kept, marker = opened(tmp_path)
    world = Clock()
    live(0, kept, world, marker)
    live(1, kept, world, marker)
    before = (tmp_path / "decisions.jsonl").read_text()
    live(2, kept, world, None)
    kept["registry"].close()
    kept, marker = opened(tmp_path)
    assert checkpoint.identity(tmp_path / "checkpoint") == "this run"
    assert kept["log"].last_day == 2
    world = Clock()
    assert marker.resume(agent, world) == (1, {"rates": [0.5, 1]})
    assert world.day.tolist() == [1]
    assert kept["log"].last_day == 1
    assert len(kept["log"].read(0, 5)) == 4
    assert (tmp_path / "decisions.jsonl").read_text() == before
    assert [record.version for record in kept["registry"].versions()] == [1, 2]
    assert kept["registry"].resolve("champion") == 2
    assert len(list((tmp_path / "registry" / "files").iterdir())) == 2
    live(2, kept, world, marker)  # the same day again, its visits are no duplicates
    assert kept["log"].counts == {"pages": 6, "quarantined": 0, "duplicates": 0}
    assert kept["registry"].resolve("champion") == 3


def test_there_is_no_checkpoint_where_none_was_written(tmp_path: Path) -> None:
    assert checkpoint.identity(tmp_path) is None


@pytest.mark.parametrize("harm", ["torn", "flipped"])
def test_a_damaged_checkpoint_is_said_and_harms_no_row(tmp_path: Path, harm: str) -> None:
    kept, marker = opened(tmp_path)
    live(0, kept, Clock(), marker)
    file = tmp_path / "checkpoint" / checkpoint.FILE
    content = bytearray(file.read_bytes())
    if harm == "torn":
        del content[len(content) // 2 :]
    else:
        content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(CheckpointDamagedError, match=r"day.npz is damaged .* Restore the file from a copy"):
        opened(tmp_path)[1].resume(agent, Clock())
    assert len(FeedbackLog(tmp_path / "log", SPACES).read(0, 0)) == 2


@pytest.mark.parametrize("lost", ["log", "decisions.jsonl", "registry"])
def test_records_that_lack_what_was_committed_are_said(tmp_path: Path, lost: str) -> None:
    import shutil

    kept, marker = opened(tmp_path)
    live(0, kept, Clock(), marker)
    kept["registry"].close()
    if (tmp_path / lost).is_dir():
        shutil.rmtree(tmp_path / lost)
    else:
        (tmp_path / lost).unlink()
    with pytest.raises(DamagedError, match="was committed|what was committed|were committed"):
        opened(tmp_path)[1].resume(agent, Clock())
