"""What is asked of a finished run, asked of one whose models lie on another shelf and were updated in place."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from perennial.agents.lifecycle.decisions import read_lines
from perennial.agents.lifecycle.registry import Registry
from perennial.agents.lifecycle.shelves import SqliteShelf
from perennial.agents.lifecycle.training import state_hash
from perennial.experiments import audit, execution, explaining, fairness, promotions, run
from perennial.experiments.configuration import ConfigurationError
from perennial.experiments.reproduce import Records

SMALL = [
    "world.n_users=150", "world.n_items=120", "world.visits_per_day=40", "experiment.history_days=3",
    "experiment.history_window_days=2", "experiment.scored_days=2", "agent=linucb", "strategy=nightly_hourly",
]  # fmt: skip


class Elsewhere(SqliteShelf):
    """Keeps everything in another folder than the registry's own."""

    def __init__(self, place: Path) -> None:
        (place.parent / "elsewhere").mkdir(exist_ok=True)
        super().__init__(place.parent / "elsewhere")


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> run.Run:
    planned = run.compose([*SMALL, f"output={tmp_path_factory.mktemp('shelved')}"])
    planned = replace(planned, registry={"_target_": f"{__name__}.{Elsewhere.__name__}"})
    execution.prepare([planned], lambda days: None)
    execution.execute(planned, lambda days: None)
    return planned


def trained(lived: run.Run, kind: str) -> list[dict]:
    lines = read_lines(lived.folder / "decisions.jsonl")
    done = [line for line in lines if line["decision"] == "training" and line["verdict"] == "trained"]
    return [line for line in done if line["kind"] == kind]


def test_the_models_of_a_verdict_are_those_that_it_was_about(lived: run.Run) -> None:
    """The champion was updated in place since it was promoted, last on the day of the verdict."""
    registry = execution.open_registry(lived)
    verdicts = promotions.judged(lived.folder)
    assert [line["verdict"] for line in verdicts] == ["promote"] * 2
    fresh = partial(execution.build(lived).training.fresh, verdicts[-1]["tick"])
    candidate, champion = promotions.models(registry, fresh, verdicts[-1])
    assert candidate is not None
    assert champion is not None
    fit, update = trained(lived, "fit")[-1], trained(lived, "update")[-1]
    assert state_hash(candidate.state()) == fit["result"]
    assert state_hash(champion.state()) == update["result"] != fit["result"]
    assert promotions.models(registry, fresh, verdicts[0])[1] is None  # let go of since
    registry.close()


def test_every_model_that_gave_way_is_registered_as_it_was(lived: run.Run) -> None:
    registry: Registry = execution.open_registry(lived)
    rows = {(row.version, row.revision): row for row in registry.versions()}
    named = {(move.version, move.revision) for move in registry.history("champion")}
    for line in promotions.judged(lived.folder):
        gone = line["parent"], line["model_revision"]
        assert gone[1] > 3
        assert gone in named
        last = [told for told in trained(lived, "update") if told["parent"] == line["parent"]][-1]
        told = rows[gone].training or {}
        assert {name: last[name] for name in told} == told
        assert rows[gone].data_version == last["data_version"]
    assert registry.resolve("champion") == 3
    assert registry.resolve("challenger") is None
    registry.close()
    updates = [audit.account(Records(lived.folder, ("tests",)), version).updates for version in range(1, 4)]
    assert updates == [line["model_revision"] for line in promotions.judged(lived.folder)] + [0]
    assert sum(updates) == len(trained(lived, "update"))


def test_the_tools_find_the_models_where_the_run_keeps_them(lived: run.Run) -> None:
    table = promotions.score(lived, days=2)
    assert [row["lift"] is not None for row in table.rows] == [False, True]
    assert fairness.of_run(lived, 1)["provider"].relevant.sum() > 0
    assert explaining.of_run(lived, days=1, pages=10)[0].pages == 10
    assert not (lived.folder / "registry" / "registry.sqlite").exists()


@pytest.mark.slow
def test_a_run_does_not_empty_a_shelf_that_is_anothers(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    shelf = f"registry.uri=sqlite:///{tmp_path / 'shared.sqlite'}"
    words = [*SMALL, "experiment.scored_days=1", "registry=mlflow", shelf, "registry.model=ours"]
    mine, theirs = (run.compose([*words, f"output={tmp_path}", f"name={name}"]) for name in ("mine", "theirs"))
    execution.prepare([mine], lambda days: None)
    execution.execute(mine, lambda days: None)
    kept = Records(mine.folder).versions
    assert len(kept) > 1
    with pytest.raises(ConfigurationError, match="'ours' in MLflow is not this run's"):
        execution.execute(theirs, lambda days: None)
    assert Records(mine.folder).versions == kept
    execution.execute(mine, lambda days: None)  # anew, in the same folder
    assert Records(mine.folder).versions == kept
