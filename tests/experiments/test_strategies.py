"""The closed loop under every strategy's YAML, from configuration to result, and what some of them are for."""

from __future__ import annotations

from pathlib import Path

import pytest

from perennial import conf
from perennial.agents.lifecycle.decisions import read_lines
from perennial.experiments import run
from perennial.experiments.workers import in_this_process

STRATEGIES = sorted(path.stem for path in (Path(next(iter(conf.__path__))) / "strategy").glob("*.yaml"))
SMALL = ["world.n_users=200", "world.n_items=200", "world.visits_per_day=40"]
SMALL += ["experiment.first_day=2010-09-02", "experiment.history_days=2", "experiment.history_window_days=2"]
LADDER = "++world.ladder={_target_:perennial.envs.notice.Ladder,level:%d,false_alarms:0.0,latency:2.0}"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all runs of this module are written: they share the days before."""
    return tmp_path_factory.mktemp("strategies")


def decisions(words: list[str], folder: Path) -> list[dict[str, object]]:
    """What is decided in a run; its scores are looked at on the way."""
    planned = run.compose([*words, *SMALL, f"output={folder}"])
    scores = in_this_process(planned, print).scores
    assert 0 < scores.ctr < 1
    return read_lines(planned.folder / "decisions.jsonl")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_run_under_every_strategy(shared: Path, strategy: str) -> None:
    words = ["agent=linucb", f"strategy={strategy}", "experiment.scored_days=2", f"name={strategy}"]
    lines = decisions([*words, *NOBODY_WAITS.get(strategy, [])], shared)
    trainings = [line for line in lines if line["decision"] == "training"]
    assert {line["verdict"] for line in trainings} <= {"trained", "no data"}  # some hours of the night have no page
    assert [line["kind"] for line in trainings].count("fit") == FITS.get(strategy, 0)
    assert [line["kind"] for line in trainings].count("update") == UPDATES.get(strategy, 0)


NOBODY_WAITS = {"nightly_person": ["strategy.review.reviewer.patience_s=0"]}
EVERY_NIGHT = (
    "always", "nightly", "nightly_blue_green", "nightly_canary", "nightly_hourly", "nightly_hourly_canary",
    "nightly_person", "nightly_review", "nightly_shadow", "seasonal_recall", "sliding_window",
)  # fmt: skip
FITS = dict.fromkeys(EVERY_NIGHT, 2) | dict.fromkeys(("calendar", "weekly", "weekly_ab_test"), 1)
"""The second of the two days ends a week."""
UPDATES = {"daily_update": 2, "hourly": 48, "nightly_hourly": 48, "nightly_hourly_canary": 48}


def test_a_run_that_a_detector_with_draws_of_its_own_watches(shared: Path) -> None:
    """KSWIN keeps a generator of Python's own, which every night's checkpoint must hold."""
    watched = ["strategy=page_hinkley", "detector@strategy.trigger.detector=kswin"]
    lines = decisions(["agent=linucb", *watched, "experiment.scored_days=2", "name=kswin"], shared)
    assert [line["decision"] for line in lines].count("day") == 2


def test_the_clairvoyant_fits_when_it_is_told_of_a_change_and_not_where_nothing_is_told(shared: Path) -> None:
    """A shock on the second scored day is told two days later, and again a week after that."""
    shock = ["drift=shock", "drift.start=2010-09-03", "drift.rise_days=0", "drift.sizes={bags:1.0}"]
    words = ["agent=popular", "strategy=clairvoyant", *shock, "experiment.scored_days=12"]
    for level, fits in ((3, [3, 10]), (1, [])):
        lines = decisions([*words, LADDER % level, f"name=told{level}"], shared)
        first = next(line["tick"] for line in lines if line["decision"] == "day") // 24
        found = [line["tick"] // 24 - first for line in lines if line["decision"] == "training"]
        assert found == fits
