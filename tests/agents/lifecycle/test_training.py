import numpy as np
import pytest

from perennial.agents.lifecycle.feedback import FeedbackLog
from perennial.agents.lifecycle.training import TrainingJob, TrainingOrder
from perennial.agents.lifecycle.windows import AllDays, Fresh, LastDays
from tests.agents.lifecycle.hand import SPACES, wave
from tests.agents.lifecycle.learner import Learner, begun


@pytest.fixture
def log(tmp_path):
    log = FeedbackLog(tmp_path / "log", SPACES)
    for day in range(3):
        log.append(wave(day * 24 + 5, [10 * day, 10 * day + 1]))
        log.close(day * 24 + 5)
        log.commit(day)
    log.append(wave(75, [50, 51, 52]))
    log.close(75)
    return log


def same(left, right):
    return all(np.array_equal(left[name], right[name]) for name in left)


def copied(agent):
    return {name: array.copy() for name, array in agent.state().items()}


def test_windows_select_what_they_say(log):
    assert LastDays(1).select(log, 76).keys.visit.tolist() == [20, 21, 50, 51, 52]  # hours 53 and 75
    assert LastDays(1).select(log, 77).keys.visit.tolist() == [50, 51, 52]
    assert LastDays(2).select(log, 77).keys.visit.tolist() == [20, 21, 50, 51, 52]
    assert len(AllDays().select(log, 75)) == 9
    assert len(LastDays(28).select(log, 75)) == 9  # reaches back before the first page
    assert Fresh(72).select(log, 75).extras["log_prob"].shape == (3,)
    with pytest.raises(ValueError, match="'days' must be at least 1. Got 0"):
        LastDays(0)


def test_a_fit_makes_a_candidate_and_only_reads_the_champion(log):
    champion = begun(SPACES, seed=4)
    before = copied(champion)
    job = TrainingJob(Learner, {}, SPACES, rate=0.5)
    trained = job.run(TrainingOrder("fit", LastDays(2), "warm", "schedule", 77), log, champion, version=7)
    assert trained.agent is not champion
    assert same(before, champion.state())
    assert trained.agent.clicks.sum() == LastDays(2).select(log, 77).clicked.sum()
    record = trained.record
    assert (record.verdict, record.rows, record.first_tick, record.last_tick, record.parent) == (
        "trained",
        5,
        53,
        75,
        7,
    )
    assert record.window == "last 2 days"
    assert record.price == 5 * 3 * 0.5
    assert record.data_version == log.version_of(LastDays(2).select(log, 77))


def test_warm_goes_on_and_cold_forgets(log):
    champion = begun(SPACES)
    champion.clicks += 100
    job = TrainingJob(Learner, {}, SPACES)
    warm = job.run(TrainingOrder("fit", AllDays(), "warm", "", 75), log, champion).agent
    cold = job.run(TrainingOrder("fit", AllDays(), "cold", "", 75), log, champion).agent
    assert warm.clicks.min() >= 100
    assert cold.clicks.max() < 100


def test_an_update_teaches_the_champion_in_place(log):
    champion = begun(SPACES)
    trained = TrainingJob(Learner, {}, SPACES).run(TrainingOrder("update", Fresh(72), "warm", "", 75), log, champion)
    assert trained.agent is champion
    assert trained.record.rows == 3
    assert champion.clicks.sum() == log.tick().clicked.sum()


@pytest.mark.parametrize("kind", ["fit", "update"])
def test_a_failing_training_leaves_the_champion_exactly_as_it_was(log, kind):
    champion = begun(SPACES, broken=("update",))
    before = copied(champion)
    job = TrainingJob(lambda: Learner(("fit",)), {}, SPACES)
    trained = job.run(TrainingOrder(kind, Fresh(72), "warm", "schedule", 75), log, champion)
    assert trained.agent is None
    assert same(before, champion.state())
    assert trained.record.verdict == "failed"
    assert trained.record.error == f"RuntimeError: {kind} went wrong half-way"
    assert trained.record.rows == 3
    assert trained.record.figures == {}


def test_no_pages_no_training(log):
    trained = TrainingJob(Learner, {}, SPACES).run(TrainingOrder("fit", Fresh(76), "warm", "", 76), log, begun(SPACES))
    assert trained.agent is None
    assert trained.record.verdict == "no data"
