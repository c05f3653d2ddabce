"""A run's digest of its code covers all that decides the run."""

from __future__ import annotations

from pathlib import Path

from perennial.experiments import execution, results
from tests.test_structure import imports_of

HERE = Path(str(execution.__file__)).parent
SHOWS = {
    "console": "says how a command ended",
    "progress": "draws the progress bar",
    "tensorboard": "draws what is finished",
    "threads": "settles the threads of libraries before they are imported",
    "workers": "hands runs to processes",
}
"""What `execution` reaches that decides nothing, and why."""


def reached(module: str, found: set[str]) -> set[str]:
    """The modules of the folder that `module` imports anywhere, and those that they import."""
    if module in found or not (HERE / f"{module}.py").exists():
        return found
    found.add(module)
    for name in imports_of((HERE / f"{module}.py").read_text(), f"perennial.experiments.{module}", False):
        if name.startswith("perennial.experiments."):
            reached(name.split(".")[2], found)
    return found


def test_the_digest_covers_all_that_execution_imports_and_that_decides_a_run() -> None:
    assert reached("execution", set()) == {*results.DECIDES, *SHOWS}
    assert set(results.DECIDES).isdisjoint(SHOWS)


def test_environments_agents_and_presets_count_and_their_calibration_does_not() -> None:
    names = {"/".join(path.parts[-2:]) for path in results.code_files()}
    assert {"experiments/reviewers.py", "envs/world.py", "agents/linucb.py", "lifecycle/snapshot.py"} <= names
    assert any(name.endswith(".json") for name in names)
    assert not any(name.startswith("calibration/") for name in names)
