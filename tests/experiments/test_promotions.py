import json

import numpy as np
import pytest

from perennial.agents.base import Spaces
from perennial.agents.popular import Popular
from perennial.agents.random_slates import RandomSlates
from perennial.envs import World
from perennial.experiments import promotions, run
from perennial.experiments.promotions import replay
from perennial.experiments.workers import in_this_process

SMALL = {"n_users": 150, "n_items": 120, "visits_per_day": 80}


def shop() -> World:
    return World("gift_shop", seed=4, **SMALL)


def begun(agent):
    agent.begin(shop().items, Spaces(**shop().sizes), seed=0)
    return agent


def test_a_model_is_worth_as_much_as_itself_exactly():
    """Common random numbers: the same slates to the same visitors leave no difference and no doubt."""
    found = replay(shop, begun(Popular()), begun(Popular()), 250, days=3)
    assert (found.lift.mean, found.lift.low, found.lift.high) == (0.0, 0.0, 0.0)
    assert found.candidate == found.champion > 0


def test_the_better_of_two_is_found():
    popular = begun(Popular())
    quality = shop().catalogue.appeal.argsort()
    popular.clicks[quality], popular.impressions[:] = np.arange(len(quality)), len(quality)
    popular._rank()
    found = replay(shop, popular, begun(RandomSlates()), 250, days=6)
    assert found.lift.low > 0.1
    back = replay(shop, begun(RandomSlates()), popular, 250, days=6)
    assert back.lift.high < -0.05
    assert (back.candidate, back.champion) == pytest.approx((found.champion, found.candidate))


def test_the_rollouts_of_a_run_are_scored(tmp_path, capsys):
    small = [f"world.{name}={value}" for name, value in SMALL.items()]
    words = [
        "agent=linucb", "strategy=nightly_canary", *small, f"output={tmp_path}", "name=it",
        "experiment.history_days=3", "experiment.history_window_days=2", "experiment.scored_days=6",
        "strategy.rollout.shares=[0.5]", "strategy.rollout.tolerances=[0.9]",
        "strategy.rollout.sequence.horizon=300", "strategy.rollout.sequence.min_users=10",
    ]  # fmt: skip
    done = run.compose(words)
    in_this_process(done, lambda days: None)
    ended = promotions.judged(done.folder)
    assert ended
    lines = [json.loads(line) for line in (done.folder / "decisions.jsonl").read_text().splitlines()]
    assert {"validation", "rollout", "training"} <= {line["decision"] for line in lines}
    rows = promotions.score(done, days=2).rows
    assert [row["version"] for row in rows] == [line["version"] for line in ended]
    assert any(row["lift"] is not None for row in rows)
    assert {row["right"] for row in rows} <= {"yes", "no", "open", None}
    assert promotions.main([*words, "--days", "1"]) == 0
    assert "true lift" in " ".join(capsys.readouterr().out.split())
    assert promotions.main([*words, "name=another"]) == 2
    assert "must be a finished run" in capsys.readouterr().err
