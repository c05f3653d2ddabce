"""Post-mortems: the truth about a change, the answer to it, and a cost that is split without a rest."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from perennial.experiments import execution, incidents, results, run
from perennial.experiments.incidents import PHASES, Incident, Reaction
from perennial.experiments.reproduce import Records

SMALL = [
    "agent=linucb", "strategy=nightly", "strategy.trigger.days=3", "world.n_users=200", "world.n_items=150",
    "world.visits_per_day=120", "experiment.history_days=4", "experiment.history_window_days=3",
    "experiment.scored_days=9", "drift=shock", "drift.start=2010-09-05", "drift.rise_days=0", "drift.rms=2",
]  # fmt: skip


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Records:
    planned = run.compose([*SMALL, f"output={tmp_path_factory.mktemp('shock')}"])
    execution.prepare([planned], lambda days: None)
    execution.execute(planned, lambda days: None)
    return Records(planned.folder)


@pytest.fixture(scope="module")
def incident(records: Records) -> Incident:
    (found,) = incidents.incidents(records)
    return found


def test_the_change_is_the_declared_one(records: Records, incident: Incident) -> None:
    start = records.run.window.start
    assert (incident.change.drift, incident.change.onset) == ("Shock", start + 3)  # 2 September and three days
    assert incident.change.size == pytest.approx(2.0, abs=0.01)


def test_where_nothing_moves_there_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    still = run.compose([*SMALL[:-4], "drift=none", f"output={tmp_path}", "experiment.scored_days=2"])
    execution.prepare([still], lambda days: None)
    execution.execute(still, lambda days: None)
    assert incidents.main([str(still.folder)]) == 0
    assert "None: nothing moved" in capsys.readouterr().out
    assert json.loads((still.folder / "incidents.json").read_text()) == []


def test_the_answer_is_that_of_the_audit_trail(records: Records, incident: Incident) -> None:
    onset = incident.change.onset * 24
    fits = [line["tick"] for line in records.trainings if line["kind"] == "fit" and line["tick"] >= onset]
    assert incident.reaction == Reaction(fits[0], fits[0], fits[0], fits[0])
    assert [line["decision"] for line in incident.decisions] == ["trigger", "training", "rollout"]
    assert incident.decisions[0]["reason"] == "schedule"


def test_the_cost_is_split_without_a_rest(records: Records, incident: Incident) -> None:
    days = results.read(records.run.folder).days
    before, after = days[:3], days[3:]
    usual = sum(day.regret for day in before) / sum(day.pages for day in before)
    assert incident.usual == pytest.approx(usual)
    assert incident.excess == pytest.approx(sum(day.regret - usual * day.pages for day in after))
    assert sum(incident.split.values()) == pytest.approx(incident.excess)
    assert incident.split["detection delay"] > 0
    assert incident.split["label delay"] == incident.split["training"] == 0
    assert incident.split["remaining error"] != 0


def test_each_hour_belongs_to_what_was_waited_for() -> None:
    hours = np.arange(1.0, 25.0)
    assert incidents._split(hours, 100, Reaction(103, 107, 107, 111)) == {
        "detection delay": 1 + 2 + 3 + 4,
        "label delay": 5 + 6 + 7 + 8,
        "training": 0,
        "validation and rollout": 9 + 10 + 11 + 12,
        "remaining error": sum(range(13, 25)),
    }
    never = incidents._split(hours, 100, Reaction())
    assert never == {PHASES[0]: sum(range(1, 25))} | dict.fromkeys(PHASES[1:], 0)
    unserved = incidents._split(hours, 100, Reaction(103, 103, 103))
    assert unserved["validation and rollout"] == sum(range(5, 25))
    assert unserved["remaining error"] == 0


def test_it_is_written_beside_the_run(records: Records, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert incidents.main([str(records.run.folder)]) == 0
    said = capsys.readouterr().out
    assert "## Shock, from 2010-09-05" in said
    assert "| detection delay |" in said
    assert json.loads((records.run.folder / "incidents.json").read_text())[0]["change"]["drift"] == "Shock"
    assert incidents.main([str(tmp_path)]) == 2
    assert "must be the folder of a finished run" in capsys.readouterr().err
