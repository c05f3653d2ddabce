"""Models are rebuilt from their records alone, bit for bit; what was changed is noticed."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from perennial.agents.lifecycle.decisions import read_lines
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


SMALL = [
    "world.n_users=200", "world.n_items=150", "world.visits_per_day=40", "experiment.history_days=4",
    "experiment.history_window_days=3",
]  # fmt: skip
ROUNDS = ["agent.n_steps=64", "agent.batch_size=32"]  # so small that a round of training comes every day


def lived(folder: Path, *words: str) -> Path:
    """A small run, alive for the first time; runs in one folder share its history."""
    planned = run.compose([*SMALL, *words, f"output={folder}"])
    execution.prepare([planned], lambda days: None)
    execution.execute(planned, lambda days: None)
    return planned.folder


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


def learned(run: Path) -> float:
    """Pages that the updates of a run say they learned from."""
    trainings = [line for line in read_lines(run / "decisions.jsonl") if line["decision"] == "training"]
    return float(sum(line["figures"].get("pages_learned", 0.0) for line in trainings))


UPDATED = [("ppo", ROUNDS), ("recurrent_ppo", ROUNDS), ("dqn", ["agent.train_freq=64"])]
MORE = [
    ("a2c", ROUNDS[:1]), ("maskable_ppo", ROUNDS), ("meta_rl", ROUNDS), ("qr_dqn", []), ("td3", []),
    ("sac", ["agent.learning_starts=50"]), ("slateq", []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("agent", "words"), [*UPDATED, *(pytest.param(*more, marks=pytest.mark.slow) for more in MORE)]
)
def test_the_updates_of_a_learner_are_rebuilt_from_what_it_noted(shared: Path, agent: str, words: list[str]) -> None:
    folder = lived(shared, f"agent={agent}", *words, "strategy=daily_update", "experiment.scored_days=3")
    found = list(reproduce.rebuild(Records(folder)))
    assert [model.revision for model in found] == list(range(len(found)))
    assert len(found) > 2
    assert all(model.equal and model.data for model in found)
    assert len({model.found for model in found}) == len(found)
    assert learned(folder) > 100
    assert (folder / "log" / "extras").exists() == (agent not in ("dqn", "qr_dqn", "slateq"))


def test_an_update_goes_back_to_the_last_one_that_did_not_fail() -> None:
    """The pages and the labels of a failed one are left to the next; one without data had none to leave."""
    told = {(5, "update"): "trained", (11, "update"): "no data", (17, "update"): "failed", (18, "fit"): "trained"}
    lines = [{"decision": "training", "tick": t, "kind": kind, "verdict": said} for (t, kind), said in told.items()]
    before = partial(Records.updated_before, SimpleNamespace(lines=lines))
    assert [before(tick) for tick in (5, 11, 17, 23)] == [-1, 5, 11, 11]


def test_an_update_is_rebuilt_with_the_labels_it_took(shared: Path) -> None:
    update = "strategy.update={_target_:perennial.agents.lifecycle.triggers.Schedule,days:1}"
    review = ["strategy=nightly_review", update, "strategy.review.pool=1.0", "name=labelled"]
    folder = lived(shared, "agent=linucb", *review, "experiment.scored_days=4")
    records = Records(folder)
    for kind in ("fit", "update"):
        assert sum(sum(line["labels"].values()) for line in records.trainings if line["kind"] == kind) > 10
    found = list(reproduce.rebuild(records))
    assert len(found) > 3
    assert all(model.equal and model.data for model in found)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("agent", "words", "least"),
    [
        ("linucb", ["strategy=nightly"], 91),
        ("mf_transformer", ["strategy=nightly"], 91),
        ("ppo", [*ROUNDS, "strategy=daily_update"], 75),  # the shop is closed on Saturdays: no page, no update
    ],
)
def test_every_model_of_ninety_days_is_rebuilt_bit_for_bit(
    tmp_path: Path, agent: str, words: list[str], least: int
) -> None:
    folder = lived(tmp_path, f"agent={agent}", *words, "experiment.scored_days=90")
    records = Records(folder)
    found = list(reproduce.rebuild(records))
    assert len(found) == 1 + len(records.trainings) >= least
    assert all(model.equal and model.data for model in found)
