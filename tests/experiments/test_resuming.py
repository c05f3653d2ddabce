"""A run that is killed, at any moment, goes on from the last committed day to the bits of one that was not."""

from __future__ import annotations

import multiprocessing
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perennial.agents.lifecycle.feedback import FeedbackLog
from perennial.agents.lifecycle.registry import Registry
from perennial.experiments import execution, resuming, run
from tests.experiments import killed

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.experiments.killed", "river.drift", "torch.utils.tensorboard"])


def start(folder: Path, *points: str) -> Any:
    """The run in a process of its own, under way."""
    begun = CONTEXT.Event()
    process = CONTEXT.Process(target=killed.main, args=(folder, *points), kwargs={"begun": begun})
    process.start()
    assert begun.wait(60)
    return process


def end(process: Any) -> int | None:
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode


def hashes(folder: Path) -> dict[str, Any]:
    """All that a run leaves for good: what it measured, decided, logged and trained."""
    small = killed.small(folder)
    log = FeedbackLog(small.folder / "log", execution.build(small).training.spaces)
    registry = Registry(small.folder / "registry", "read", 0)
    found = {
        "result": (small.folder / "result.json").read_text(),
        "decisions": (small.folder / "decisions.jsonl").read_text(),
        "log": log.data_version(small.window.history_start, small.window.start + small.window.scored_days - 1),
        "rows": log.counts,
        "versions": registry.versions(),
        "champions": registry.history("champion"),
        "files": sorted(file.name for file in (small.folder / "registry" / "files").iterdir()),
        "history": (small.history / "decisions.jsonl").read_text(),
    }
    registry.close()
    return found


def test_the_run_that_is_killed_has_everything_in_it(whole: Path) -> None:
    found = hashes(whole)
    assert '"reason": "drift of first_page_ctr"' in found["decisions"]
    assert {version.origin for version in found["versions"]} == {"initial", "fit", "update"}
    assert len(found["versions"]) > 6
    assert not (killed.small(whole).folder / "checkpoint").exists()


FEW = ["training before 2", "logging after 2", "promotion after 2", "rename before 2"]
MANY = [
    "history before 2", "rename before 2", "registration before 3", "training after 1", "training before 2",
    "registration after 1", "promotion before 1", "update after 3", "logging after 1", "logging before 2",
    "merging before 1", "merging after 1", "listing after 1",
    "audit after 1", "commit before 1", "pruning before 2", "pruning after 1", "tensorboard after 1",
    "result before 1", "result after 2",
]  # fmt: skip


def check_chain(points: list[str], whole: Path, folder: Path) -> None:
    """One run, killed at each of the points in turn."""
    for point in points:
        assert end(start(folder, point)) == -signal.SIGKILL, point
    assert end(start(folder)) == 0
    assert hashes(folder) == hashes(whole)


@pytest.mark.timeout(300)
def test_killed_while_it_trains_logs_promotes_and_commits_it_ends_in_the_same_bits(whole: Path, tmp_path: Path) -> None:
    check_chain(FEW, whole, tmp_path)


@pytest.mark.slow
def test_killed_at_every_kind_of_moment_it_ends_in_the_same_bits(whole: Path, tmp_path: Path) -> None:
    check_chain(MANY, whole, tmp_path)


def live_until(folder: Path, moment: int, delay: float) -> int | None:
    """The run, killed `delay` seconds after its call number `moment`; how many calls it made if it ended before."""
    receiver, sender = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=killed.main_until, args=(folder, moment, sender))
    process.start()
    sender.close()
    word = receiver.recv()
    if word == "here":
        time.sleep(delay)
        process.kill()
    return None if end(process) == -signal.SIGKILL else receiver.recv() if word == "here" else word


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_at_fifty_random_moments_it_ends_in_the_same_bits(whole: Path, tmp_path: Path) -> None:
    """Each at a random call of a whole life and up to 20 ms after it, in its midst, however busy the machine is.

    Each run is killed five times unless it ends before, and then left to its end.
    """
    expected, rng, kills, lives = hashes(whole), np.random.default_rng(50), 0, 0
    calls = live_until(tmp_path / "whole", -1, 0.0)
    assert calls is not None
    while kills < 50:
        folder, lives = tmp_path / str(lives), lives + 1
        for _ in range(5):
            kills += live_until(folder, int(rng.integers(calls)), rng.uniform(0, 0.02)) is None
        assert end(start(folder)) == 0
        assert hashes(folder) == expected
        shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.parametrize("room", [200, 9_000])
def test_a_full_disk_is_one_clear_error_and_loses_no_committed_row(whole: Path, tmp_path: Path, room: int) -> None:
    """So little room that nothing can be written, and enough for small files but not for the checkpoint."""
    check_full_disk(killed.with_small_files, tmp_path, room)
    assert end(start(tmp_path)) == 0
    assert hashes(tmp_path) == hashes(whole)


@pytest.mark.slow
def test_a_disk_that_is_really_full_is_one_clear_error_and_loses_no_committed_row(whole: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", disk], capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        check_full_disk(killed.on_a_full_disk, disk, 20_000)
        (disk / "ballast").unlink()
        assert end(start(disk)) == 0
        assert hashes(disk) == hashes(whole)
    finally:
        subprocess.run(["umount", disk], check=True)


def check_full_disk(main: Any, folder: Path, room: int) -> None:
    said = CONTEXT.Queue()
    process = CONTEXT.Process(target=main, args=(folder, room, said))
    process.start()
    message = said.get(timeout=100)
    process.join()
    assert message.startswith("RunStoppedError: The run in "), message
    assert "Every committed day is kept" in message
    assert "start the same command again" in message
    small = killed.small(folder)
    log = FeedbackLog(small.folder / "log", execution.build(small).training.spaces)
    assert log.last_day >= small.window.start


@pytest.fixture
def begun(tmp_path: Path) -> run.Run:
    """A run with two scored days behind it, killed."""
    assert end(start(tmp_path, "pruning after 5")) == -signal.SIGKILL
    return killed.small(tmp_path)


HARMS: list[tuple[str, Callable[[bytes], bytes], str]] = [
    ("checkpoint/day.npz", lambda whole: whole[:1000], "day.npz is damaged"),
    ("decisions.jsonl", lambda whole: whole[:100], "decisions.jsonl end before what was committed"),
    ("decisions.jsonl", lambda whole: b"\xff" * 20 + whole[20:], "decisions.jsonl is damaged"),
    ("registry/registry.sqlite", lambda whole: b"no database" * 500, "registry.sqlite is damaged"),
    ("registry/registry.sqlite", lambda whole: b"", "registry lacks versions that were committed"),
    ("log/days.jsonl", lambda whole: b"}" + whole[1:], "days.jsonl cannot be read"),
]


@pytest.mark.timeout(300)
def test_damage_is_said_in_one_sentence_on_the_command_line(begun: run.Run, capsys: pytest.CaptureFixture[str]) -> None:
    command = [*killed.TINY, f"output={begun.output}", "name=small"]
    assert resuming.interrupted(begun.folder, execution.identity(begun))
    assert not resuming.interrupted(begun.folder, execution.identity(begun.at_seed(1)))
    with resuming.alone(begun.folder):
        assert run.main(command) == 1
    assert "Another process is at work in" in capsys.readouterr().err
    Registry(begun.folder / "registry", "read", 0).close()  # what a killed process left in SQLite's journal
    copy = shutil.copytree(begun.folder, Path(begun.output) / "copy")
    for name, harm, message in HARMS:
        file = begun.folder / name
        file.write_bytes(harm(file.read_bytes()))
        assert run.main(command) == 1, message
        said = capsys.readouterr().err
        assert message in said
        assert "Restore" in said
        assert len(said.splitlines()) == 1
        shutil.rmtree(begun.folder)
        shutil.copytree(copy, begun.folder)
    shutil.rmtree(begun.folder)
    begun.first_version.write_bytes(begun.first_version.read_bytes()[:100])
    assert run.main(command) == 1
    assert "Delete the file and start again: it is fitted anew" in capsys.readouterr().err
