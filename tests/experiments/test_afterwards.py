"""What is asked of a finished run: were its promotions right, is its champion fair, what moved its recommendations?"""

import json

import pytest

from perennial.agents.lifecycle.registry import Registry
from perennial.experiments import explaining, fairness, promotions, run
from perennial.experiments.workers import in_this_process

WORDS = [
    "agent=linucb", "strategy=nightly_canary", "name=it", "world.n_users=150", "world.n_items=120",
    "world.visits_per_day=80", "experiment.history_days=3", "experiment.history_window_days=2",
    "experiment.scored_days=7", "strategy.rollout.shares=[0.5]", "strategy.rollout.tolerances=[0.9]",
    "strategy.rollout.sequence.horizon=300", "strategy.rollout.sequence.min_users=10",
]  # fmt: skip


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    given = [*WORDS, f"output={tmp_path_factory.mktemp('runs')}"]
    in_this_process(run.compose(given), lambda days: None)
    return given


def decisions(words, kind):
    lines = (run.compose(words).folder / "decisions.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, lines) if line["decision"] == kind]


def test_the_trail_holds_every_kind_of_decision(words):
    (weekly,) = decisions(words, "fairness")
    assert weekly["tick"] - weekly["first_tick"] == 7 * 24 - 1
    assert 0 < weekly["figures"]["group_disparate_impact"] <= 1
    validated = {line["version"]: line["verdict"] for line in decisions(words, "validation")}
    entered = {line["version"] for line in decisions(words, "rollout")}
    assert entered
    assert all(validated[version] != "fail" for version in entered)
    assert any(line["share"] == 0.5 for line in decisions(words, "rollout"))


def test_its_promotions_are_scored(words, capsys):
    done = run.compose(words)
    ended = promotions.judged(done.folder)
    assert ended
    rows = promotions.score(done, days=2).rows
    assert [row["version"] for row in rows] == [line["version"] for line in ended]
    assert all(row["lift"] is not None for row in rows)
    assert {row["right"] for row in rows} <= {"yes", "no", "open", None}
    assert promotions.main([*words, "--days", "1"]) == 0
    assert "true lift" in " ".join(capsys.readouterr().out.split())


def test_its_champion_is_measured(words, capsys):
    assert fairness.main([*words, "--days", "2"]) == 0
    assert "equalised" in capsys.readouterr().out


def test_its_versions_are_explained(words, capsys):
    found = explaining.of_run(run.compose(words), pages=40)
    assert found[0].segment == "all"
    for one in found:
        assert one.base + sum(one.parts.values()) == pytest.approx(one.change)
    assert explaining.main([*words, "--versions", "1", "999"]) == 2
    assert "'version' must be a registered one" in capsys.readouterr().err


@pytest.mark.parametrize("main", [promotions.main, fairness.main, explaining.main])
def test_the_folder_of_a_run_says_as_much_as_its_words(words, main, capsys):
    said = []
    for given in (words, [str(run.compose(words).folder)]):
        assert main([*given, "--days", "1"]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]


def test_a_damaged_model_is_one_sentence(words, capsys):
    folder = run.compose(words).folder
    registry = Registry(folder / "registry", "read", 0)
    champion = registry.shelf.file(registry.get(registry.resolve("champion")))
    registry.close()
    whole = champion.read_bytes()
    champion.write_bytes(whole[:-1])
    try:
        assert fairness.main([str(folder), "--days", "1"]) == 1
        (said,) = capsys.readouterr().err.splitlines()
    finally:
        champion.write_bytes(whole)
    assert said.startswith("perennial-fairness: The parameters of version")
    assert f"{champion} does not hold what its name says" in said
    assert "roll back" in said


@pytest.mark.parametrize("main", [promotions.main, fairness.main, explaining.main])
def test_a_run_that_is_not_there_is_refused(words, main, capsys):
    assert main([*words, "name=another"]) == 2
    assert "must be a finished run" in " ".join(capsys.readouterr().err.split())
