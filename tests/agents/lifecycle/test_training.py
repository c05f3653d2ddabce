import numpy as np
import pytest

from perennial.agents.base import Feedback
from perennial.agents.lifecycle.feedback import FeedbackLog
from perennial.agents.lifecycle.hashing import held_out
from perennial.agents.lifecycle.training import TrainingJob, TrainingOrder, chosen, state_hash
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


def test_what_a_failed_update_owes_comes_before_the_open_days_pages(tmp_path):
    log = FeedbackLog(tmp_path, SPACES, stored=("log_prob",))
    for tick in (5, 20, 30, 47):
        log.append(wave(tick, [tick]))
        log.close(tick)
        if tick % 24 > 12:
            log.commit(tick // 24)
    log.append(wave(50, [50]))
    log.close(50)
    taken = {window: window.select(log, 50) for window in (Fresh(20), Fresh(20, 20), Fresh(20, 30), Fresh(48, 48))}
    assert [pages.keys.visit.tolist() for pages in taken.values()] == [[50], [20, 30, 47, 50], [30, 47, 50], [50]]
    for pages in taken.values():  # with what its agent noted, bit for bit
        noted = [wave(tick, [tick]).extras["log_prob"][0] for tick in pages.keys.tick.tolist()]
        np.testing.assert_array_equal(pages.extras["log_prob"], noted)


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


def test_a_budget_draws_evenly_and_the_same_again(log):
    job = TrainingJob(Learner, {}, SPACES, seed=5)
    order = TrainingOrder("fit", AllDays(), "cold", "", 75, budget=2)
    first, again = (job.run(order, log, begun(SPACES)) for _ in range(2))
    assert (first.record.rows, first.record.budget) == (2, 2)
    assert first.record.result == again.record.result == state_hash(first.agent.state())
    assert first.record.price == 2 * 3 * 1e-6
    offered = AllDays().select(log, 75)
    assert first.record.data_version == log.version_of(offered)
    counts = np.zeros(len(offered), int)
    for seed in range(400):
        kept = chosen(order, offered, seed)
        counts += np.isin(offered.keys.visit, kept.keys.visit)
    expected = 400 * 2 / len(offered)
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)


def test_what_a_training_draws_does_not_depend_on_what_was_served(log):
    job, champions = TrainingJob(Learner, {}, SPACES, seed=5), [begun(SPACES, seed=1), begun(SPACES, seed=1)]
    champions[1].rng.random(100)  # it served a hundred pages more
    order = TrainingOrder("fit", AllDays(), "warm", "", 75)
    one, other = (job.run(order, log, champion).record for champion in champions)
    assert one.result == other.result
    assert (
        one.seed
        == other.seed
        != job.run(TrainingOrder("fit", AllDays(), "warm", "", 76), log, begun(SPACES)).record.seed
    )


def test_explored_pages_may_be_kept_from_training_by_a_share_of_their_own():
    pages = Feedback.concatenate([wave(tick, list(range(100 * tick, 100 * tick + 100))) for tick in range(10)])
    order = TrainingOrder("fit", AllDays(), "cold", "test", 9, held_out=0.1, held_out_explored=0.5)
    left, explored = chosen(order, pages, seed=0), pages.explored
    assert left.explored.sum() / explored.sum() == pytest.approx(0.5, abs=0.15)
    assert (~left.explored).sum() / (~explored).sum() == pytest.approx(0.9, abs=0.03)
    assert not np.isin(left.keys.visit, pages.keys.visit[held_out(pages.keys.visit, 0.1)]).any()
