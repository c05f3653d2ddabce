import numpy as np
import pytest

from perennial.agents.lifecycle.decisions import TrainingRecord
from perennial.agents.lifecycle.registry import Registry
from perennial.agents.lifecycle.rollout import Deployment, ImmediateRollout, Rollout
from perennial.agents.lifecycle.training import Trained
from tests.agents.lifecycle.hand import SPACES, wave
from tests.agents.lifecycle.learner import begun


def record(verdict="trained"):
    return TrainingRecord(23, "fit", "warm", "schedule", "last 7 days", 0, 23, 9, "abc", 1, verdict, 0.0)


def deployed(tmp_path, rollout=None, epsilon=0.02):
    registry = Registry(tmp_path, code="0.1.0", seed=0)
    return Deployment(begun(SPACES), rollout or ImmediateRollout(), registry, epsilon, seed=1)


def test_a_candidate_serves_everybody_from_the_next_hour_on(tmp_path):
    deployment, candidate = deployed(tmp_path), begun(SPACES, seed=5)
    first = deployment.champion
    deployment.propose(Trained(candidate, record()))
    assert deployment.champion is first
    assert deployment.registry.resolve("challenger") == 2
    (step,) = deployment.advance(wave(23, [1]), 23)
    assert (step.verdict, step.version, step.parent, step.data_version) == ("promote", 2, 1, "abc")
    assert deployment.champion is candidate
    assert deployment.version == 2
    assert deployment.registry.resolve("champion") == 2
    assert deployment.advance(wave(24, [2]), 24) == []
    pages = wave(25, [3, 4])
    assert deployment.act(pages.observations, pages.keys).version.tolist() == [2, 2]


class AfterThreeHours(Rollout):
    """Waits, then gives the verdict it was told."""

    def __init__(self, verdict):
        self.hours, self.verdict = 0, verdict

    def judge(self, pages, tick):
        self.hours += 1
        return ("continue" if self.hours < 3 else self.verdict), {"hours": float(self.hours)}


@pytest.mark.parametrize(("verdict", "version"), [("promote", 2), ("rollback", 1)])
def test_a_rollout_may_take_its_time_and_may_refuse(tmp_path, verdict, version):
    deployment = deployed(tmp_path, AfterThreeHours(verdict))
    deployment.propose(Trained(begun(SPACES, seed=5), record()))
    steps = [step for tick in range(23, 30) for step in deployment.advance(wave(tick, [1]), tick)]
    assert [step.verdict for step in steps] == ["continue", "continue", verdict]
    assert deployment.version == version == deployment.registry.resolve("champion")


def test_a_failed_training_changes_nothing(tmp_path):
    deployment = deployed(tmp_path)
    first = deployment.champion
    deployment.propose(Trained(None, record("failed")))
    assert deployment.advance(wave(23, [1]), 23) == []
    assert deployment.champion is first
    assert len(deployment.registry.versions()) == 1


def test_updates_count_as_revisions_and_are_registered_once_a_day(tmp_path):
    deployment = deployed(tmp_path)
    for _ in range(3):
        deployment.champion.clicks += 1
        deployment.propose(Trained(deployment.champion, record()))
    assert (deployment.version, deployment.revision) == (1, 3)
    deployment.end_day(23)
    deployment.end_day(47)  # nothing new
    rows = deployment.registry.versions()
    assert [(row.version, row.revision, row.origin) for row in rows] == [(1, 0, "initial"), (1, 3, "update")]
    deployment.propose(Trained(begun(SPACES, seed=5), record()))
    deployment.advance(wave(23, [1]), 23)
    assert (deployment.version, deployment.revision) == (2, 0)


def test_an_updated_champion_is_registered_before_another_takes_its_place(tmp_path):
    deployment = deployed(tmp_path)
    registry = deployment.registry
    deployment.champion.clicks += 7
    deployment.propose(Trained(deployment.champion, record()))
    deployment.propose(Trained(begun(SPACES, seed=5), record()))
    deployment.advance(wave(23, [1]), 23)
    deployment.end_day(23)
    rows = registry.versions()
    assert [(row.version, row.revision, row.origin) for row in rows] == [
        (1, 0, "initial"), (1, 1, "update"), (2, 0, "fit"),
    ]  # fmt: skip
    assert (rows[1].training["tick"], rows[1].data_version) == (23, "abc")
    back = begun(SPACES)
    assert registry.rollback("champion", 24) == 1
    assert registry.load(back, 1).revision == 1
    assert back.clicks.tolist() == [7] * SPACES.n_items


def test_the_challenger_is_nobody_once_its_rollout_has_ended(tmp_path):
    deployment = deployed(tmp_path, AfterThreeHours("rollback"))
    deployment.registry.keep = 1
    deployment.propose(Trained(begun(SPACES, seed=5), record()))
    for tick in range(23, 26):
        assert deployment.registry.resolve("challenger") == 2
        deployment.advance(wave(tick, [1]), tick)
    assert deployment.registry.resolve("challenger") is None
    deployment.propose(Trained(begun(SPACES, seed=6), record()))
    deployment.registry.prune()
    with pytest.raises(FileNotFoundError, match="The parameters of version 2 were not kept"):
        deployment.registry.load(begun(SPACES), 2)
    deployment.registry.load(begun(SPACES), 1)


def test_the_floor_explores_with_a_generator_of_its_own(tmp_path):
    deployment = deployed(tmp_path, epsilon=0.5)
    pages = wave(0, list(range(400)))
    served = deployment.act(pages.observations, pages.keys)
    assert 150 < served.explored.sum() < 250
    assert "explored" not in served.decision.extras
    assert served.decision.extras["noise"].shape == (400,)
    same = deployed(tmp_path / "same", epsilon=0.5).act(pages.observations, pages.keys)
    np.testing.assert_array_equal(served.decision.slates, same.decision.slates)
