"""The main job in its tiny form: the same first table whatever the workers, taken up where it was cut off."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import threading
import time
from pathlib import Path

import pytest

from perennial.experiments import demo, study

STUDY = [
    "study.arms={incumbent:['agent=linucb','strategy=static'],nightly:['agent=linucb','strategy=nightly']}",
    "~study.arms.drift_triggered", "~study.arms.nightly_hourly", "~study.arms.linucb", "~study.arms.ppo",
    "study.twin_arms=[incumbent,nightly]", "study.quick_seeds=[0]",
]  # fmt: skip
ARMS = ["incumbent", "nightly", "popular", "random"]


def run(folder: Path, *more: str) -> dict[str, object]:
    assert demo.main(["--quick", "--output", str(folder), *more, *STUDY]) == 0
    found: dict[str, object] = json.loads((folder / "gift_shop_quick" / "tables.json").read_text())
    return found


@pytest.mark.timeout(240)
def test_tables_do_not_depend_on_workers_or_interruption(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = run(tmp_path / "two", "--workers", "2")
    kept = tmp_path / "two" / "gift_shop_quick"
    assert [row["arm"] for row in tables["uplift"]] == ARMS
    assert all((kept / name).stat().st_size for name in ("tables.md", "timings.json", "season.svg", "season.png"))
    parts = {path.name for path in (kept / "nightly-seasonal-seed0").iterdir()}
    expected = {"config.yaml", "result.json", "timings.json", "decisions.jsonl", "log", "registry", "tensorboard"}
    assert parts == expected

    shutil.copytree(tmp_path / "two", tmp_path / "one")
    (tmp_path / "one" / "gift_shop_quick" / "nightly-seasonal-seed0" / "result.json").unlink()
    (tmp_path / "one" / "gift_shop_quick" / "tables.json").unlink()
    capsys.readouterr()
    assert run(tmp_path / "one", "--workers", "1") == tables
    assert "5 runs were finished before" in capsys.readouterr().out


def test_an_unknown_study_is_refused_with_nothing_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main(["--output", str(tmp_path / "runs"), "study=gift_shp"]) == 2
    assert "Did you mean 'gift_shop'?" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("study.incumbent=oldd", "'oldd' is not one of the arms"),
        ("study.seeds=[0,0]", "'seeds' must be different"),
        ("study.seedz=[0]", "Did you mean 'seeds'?"),
        ("study.arms.nightly=['agent=linucbb']", "Arm 'nightly' in the world 'seasonal': 'agent' must be one of"),
    ],
)
def test_a_wrong_study_is_refused(
    override: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo.main(["--output", str(tmp_path / "runs"), override]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def said_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> str:
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


@pytest.mark.timeout(240)
def test_what_the_disk_does_to_a_worker_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file where the days before belong: no worker can make their folder."""
    kept = tmp_path / "gift_shop_quick"
    kept.mkdir()
    (kept / "history").write_text("in the way")
    assert demo.main(["--quick", "--output", str(tmp_path), "--workers", "1", *STUDY]) == 1
    said = said_in_one_sentence(capsys)
    assert said.startswith("perennial-demo: The run in ")
    assert "Not a directory" in said
    assert "start the same command again" in said


@pytest.mark.timeout(240)
def test_a_damaged_result_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, asked = study.load(STUDY)
    (first, *_) = asked.tiny().runs("gift_shop_quick", str(tmp_path))
    first.folder.mkdir(parents=True)
    (first.folder / "result.json").write_text('{"days": [')
    assert demo.main(["--quick", "--output", str(tmp_path), "--workers", "1", *STUDY]) == 1
    said = said_in_one_sentence(capsys)
    assert "result.json is damaged" in said
    assert "Restore it from a copy, or delete the run's folder" in said


@pytest.mark.timeout(240)
def test_a_worker_that_is_killed_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def kill() -> None:
        while not (children := multiprocessing.active_children()):
            time.sleep(0.05)
        children[0].kill()

    threading.Thread(target=kill, daemon=True).start()
    assert demo.main(["--quick", "--output", str(tmp_path), "--workers", "1", *STUDY]) == 1
    assert "A worker process was ended from outside" in said_in_one_sentence(capsys)
