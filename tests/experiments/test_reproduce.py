"""Models are rebuilt from their records alone, bit for bit; what was changed is noticed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from perennial.experiments import execution, reproduce, run
from perennial.experiments.reproduce import Records
from tests.experiments import killed


def test_every_model_of_a_run_is_rebuilt_bit_for_bit(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = killed.small(whole).folder
    found = list(reproduce.rebuild(Records(small)))
    assert {model.revision > 0 for model in found} == {True, False}
    assert all(model.equal and model.data for model in found)
    versions = [model.version for model in found if model.revision == 0]
    assert versions == list(range(1, len(versions) + 1))
    assert all(model.artifact for model in found if model.revision == 0)
    assert len({model.found for model in found}) > len(versions)  # they are not all one
    kept = list((small / "registry" / "files").iterdir())
    assert len(kept) < len(versions)  # most were rebuilt although their parameters are gone
    assert reproduce.main([str(small), "2"]) == 0
    said = capsys.readouterr().out
    assert "version 2 " in said
    assert "version 1 " not in said


def test_another_record_gives_another_model(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "single" / "small"
    shutil.copytree(killed.small(whole).folder, folder)
    decisions = folder / "decisions.jsonl"
    lines = [json.loads(line) for line in decisions.read_text().splitlines()]
    changed = next(
        line for line in lines if line["decision"] == "training" and line["last_tick"] >= line["first_tick"] + 3
    )
    changed["last_tick"] -= 3
    decisions.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert reproduce.main([str(folder)]) == 1
    said = capsys.readouterr().out
    assert "DIFFERS" in said
    assert "its data have changed" in said


def test_what_is_no_run_or_no_version_is_said(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reproduce.main([str(whole), "1"]) == 2
    assert "'run' must be the folder of a run" in capsys.readouterr().err
    assert reproduce.main([str(killed.small(whole).folder), "99"]) == 2
    assert "'version' must be a registered one" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("agent", ["linucb", "mf_transformer"])
def test_every_model_of_ninety_days_is_rebuilt_bit_for_bit(tmp_path: Path, agent: str) -> None:
    small = ["world.n_users=200", "world.n_items=150", "world.visits_per_day=40", "experiment.history_days=4"]
    more = ["experiment.history_window_days=3", "experiment.scored_days=90", f"agent={agent}", "strategy=nightly"]
    planned = run.compose([*small, *more, f"output={tmp_path}"])
    execution.prepare([planned], lambda days: None)
    execution.execute(planned, lambda days: None)
    found = list(reproduce.rebuild(Records(planned.folder)))
    assert len(found) == 91
    assert all(model.equal and model.data for model in found)
