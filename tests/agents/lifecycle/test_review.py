from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from perennial.agents.base import Decision
from perennial.agents.lifecycle.feedback import FeedbackLog
from perennial.agents.lifecycle.labels import BY_NOBODY, concatenate, lessons
from perennial.agents.lifecycle.review import Answer, NoReview, Question, Review, certainty, judged
from perennial.agents.lifecycle.rollout import Served
from perennial.agents.lifecycle.training import TrainingJob, TrainingOrder
from perennial.agents.lifecycle.windows import Fresh, LastDays
from perennial.agents.linucb import LinUCB
from perennial.agents.popular import Popular
from tests.agents.lifecycle.hand import SPACES, Desk, assert_equal, wave
from tests.agents.lifecycle.learner import Learner, begun


class Scorer(Learner):
    """Scores its candidates 0, 1, 2, ... but for the third best, which comes within `gap` of the second."""

    def scores(self, observations):
        self.rng.random()
        scores = np.tile(np.arange(6.0), (len(observations["user"]), 1))
        scores[:, 3] = 4.0 - observations["user"][:, 0]
        return scores


def pages_with_gaps(tick, gaps):
    pages = wave(tick, list(range(100 * tick, 100 * tick + len(gaps))), explored=np.zeros(len(gaps), np.bool_))
    pages.observations["user"][:, 0] = gaps
    return pages


def offer(review, pages, agent, kept=0.0, version=1):
    decision = Decision(pages.slates, pages.slot_propensity)
    served = Served(decision, pages.version, pages.explored)
    return review.choose(agent, pages.observations, pages.keys, served, version, kept)


def scorer():
    agent = Scorer()
    agent.begin({}, SPACES, 0)
    return agent


def test_the_days_least_certain_decisions_are_asked_about_within_the_weeks_capacity():
    desk = Desk(capacity=14)
    review, agent = Review(desk, pool=1.0), scorer()
    assert offer(review, pages_with_gaps(0, [0.5, 0.9, 0.1]), agent).tolist() == [2, 0]
    assert offer(review, pages_with_gaps(1, [0.7, 0.3]), agent).tolist() == [1]
    review.end_day(23)
    assert [question.key for question in desk.asked] == [(2, 0), (101, 0)]
    assert [question.certainty for question in desk.asked] == pytest.approx([0.1, 0.3])
    assert {question.asked for question in desk.asked} == {23}
    for day in range(1, 7):
        offer(review, pages_with_gaps(24 * day, [0.5] * 5), agent)
        review.end_day(24 * day + 23)
    assert len(desk.asked) == 14
    quotas = [Review(Desk(capacity=9)).quota(day) for day in range(14)]
    assert sum(quotas[:7]) == sum(quotas[7:]) == 9
    assert set(quotas) == {1, 2}


def test_what_is_explored_or_a_candidates_or_held_out_is_not_asked_about():
    agent, pages = scorer(), pages_with_gaps(0, [0.1, 0.2, 0.3, 0.4])
    pages = replace(pages, explored=np.array([True, False, False, False]), version=np.array([1, 2, 1, 1], np.int32))
    assert offer(Review(Desk(), pool=1.0), pages, agent).tolist() == [2, 3]
    assert offer(Review(Desk(), pool=1.0), pages, agent, kept=1.0).tolist() == []
    assert len(offer(Review(Desk(capacity=7000), pool=0.1), pages_with_gaps(0, [0.5] * 1000), agent)) in range(70, 131)


def test_asking_draws_nothing_from_the_agent():
    agent = scorer()
    before = agent.rng.bit_generator.state
    offer(Review(Desk(), pool=1.0), pages_with_gaps(0, [0.1]), agent)
    assert agent.rng.bit_generator.state == before


def test_the_measure_is_the_best_that_an_agent_gives():
    pages = wave(3, list(range(40)))
    seen, keys = pages.observations, pages.keys
    known = np.full(pages.slates.shape, 0.25)

    class Lots(Learner):
        def slate_propensity(self, observations, keys, slates):
            return known

    values, name = certainty(Lots(), seen, keys, Decision(pages.slates, known))
    assert (name, values.tolist()) == ("propensity", pytest.approx([0.25] * 40))
    items = {"category": np.zeros(SPACES.n_items, np.int32)}
    popular = Popular()
    popular.begin(items, SPACES, 0)
    popular.fit(pages)
    decision = popular.act(seen, keys)
    values, name = certainty(popular, seen, keys, decision)
    shown = decision.extras["predicted_clicks"]
    assert (name, values.tolist()) == ("prediction", pytest.approx((shown[:, 0] - shown[:, 1]).tolist()))
    values, name = certainty(begun(SPACES), seen, keys, Decision(pages.slates, pages.slot_propensity))
    assert name == "chance"
    assert len(set(values.tolist())) > 30
    again, _ = certainty(begun(SPACES, seed=5), seen, keys, Decision(pages.slates, pages.slot_propensity))
    assert again.tolist() == values.tolist()


def test_an_answer_becomes_a_page_to_learn_from():
    page = wave(5, [7]).take(np.array([0]))
    question = Question(page, 0.1, "margin", 23)
    accepted, rejected = (judged(question, Answer((7, 0), word), 0.5) for word in ("accept", "reject"))
    assert (accepted.clicked.all(), accepted.reward.tolist()) == (True, [1.0])
    assert (rejected.clicked.any(), rejected.reward.tolist()) == (False, [0.0])
    corrected = judged(question, Answer((7, 0), "correct", (5, 0)), 1.0)
    candidates = page.observations["candidates"][0]
    assert corrected.slate_items[0].tolist() == [candidates[5], candidates[0]]
    assert corrected.clicked.all()
    for slate in [(1,), (1, 1), (0, 6), (-1, 2), (True, 0), ("0", 1), None]:
        with pytest.raises(ValueError, match="'slate' must hold 2 different places, each from 0 to 5"):
            judged(question, Answer((7, 0), "correct", slate), 1.0)
    with pytest.raises(ValueError, match="'verdict' must be one of 'accept', 'reject', 'correct'"):
        judged(question, Answer((7, 0), "maybe"), 1.0)


def labelled_log(folder, verdict="accept"):
    """Three days of pages, two labels each; the log, and the labels."""
    log, review, agent, told = FeedbackLog(folder, SPACES), Review(Desk(verdict, capacity=14), pool=1.0), scorer(), []
    for day in range(3):
        pages = pages_with_gaps(24 * day, [0.4, 0.2, 0.6])
        offer(review, pages, agent)
        log.append(pages)
        log.close(24 * day + 23)
        labels, records = review.end_day(24 * day + 23)
        assert [record.verdict for record in records] == [verdict] * 2
        log.label(labels)
        told.append(labels)
        if day < 2:
            log.commit(day)
    return log, told


def test_labels_are_kept_with_their_source_and_apart_from_the_pages(tmp_path):
    log, told = labelled_log(tmp_path)
    found = log.labels(0, 71)
    assert found.digest() == concatenate(told).digest()
    assert (found.by_source, found.told.tolist()) == ({"hand": 6}, [23, 23, 47, 47, 71, 71])
    assert log.labels(24, 47).digest() == told[1].digest()
    assert len(log.between(0, 71)) == 9
    log.commit(2)
    assert FeedbackLog(tmp_path, SPACES).labels(0, 71).digest() == found.digest()
    log.return_to(0)
    assert log.labels(0, 71).digest() == told[0].digest()


def test_a_page_keeps_its_first_label_and_no_label_is_told_outside_the_open_day(tmp_path):
    log, told = labelled_log(tmp_path)
    log.label(replace(told[2], source=("again",) * 2))
    assert log.labels(48, 71).by_source == {"hand": 2}
    with pytest.raises(ValueError, match="'labels' must be told in the closed hours of the open day, 48 to 71"):
        log.label(told[0])


@pytest.mark.parametrize(("verdict", "clicks"), [("accept", 2), ("reject", 0)])
def test_a_fit_learns_from_the_labels_beside_the_pages_and_says_so(tmp_path, verdict, clicks):
    log, told = labelled_log(tmp_path, verdict)
    job, champion = TrainingJob(Learner, {}, SPACES), begun(SPACES)
    trained = job.run(TrainingOrder("fit", LastDays(3), "cold", "test", 71), log, champion)
    expected = np.zeros(SPACES.n_items)
    for pages in (log.between(0, 71), concatenate(told).pages):
        np.add.at(expected, pages.slate_items, pages.clicked)
    assert trained.agent.clicks.tolist() == expected.tolist()
    assert concatenate(told).pages.clicked.sum() == 6 * clicks
    assert (trained.record.labels, trained.record.rows) == ({"hand": 6}, 15)
    assert trained.record.data_version != log.version_of(log.between(0, 71))
    earlier = job.run(TrainingOrder("fit", LastDays(2), "cold", "test", 47), log, champion)
    assert earlier.record.labels == {"hand": 4}
    assert champion.clicks.sum() == 0  # so far, candidates have learned
    unseen = job.run(TrainingOrder("fit", LastDays(3), "cold", "test", 71, held_out=1.0), log, champion)
    assert unseen.record.verdict == "no data" or unseen.record.labels == {}


def test_an_update_learns_once_from_what_was_told_since_the_last_one(tmp_path):
    log, told = labelled_log(tmp_path)
    job, champion = TrainingJob(Learner, {}, SPACES), begun(SPACES)
    found = job.run(TrainingOrder("update", Fresh(48), "warm", "test", 71), log, champion).record
    expected = np.zeros(SPACES.n_items)
    for pages in (log.between(48, 71), told[2].pages):
        np.add.at(expected, pages.slate_items, pages.clicked)
    assert champion.clicks.tolist() == expected.tolist()
    assert (found.labels, found.rows) == ({"hand": 2}, 5)
    assert found.data_version != log.version_of(log.between(48, 71))
    log.commit(2)
    assert job.run(TrainingOrder("update", Fresh(72), "warm", "test", 80), log, champion).record.verdict == "no data"
    # no page has come since, but labels have: those told after the last update, whatever the day
    late = job.run(TrainingOrder("update", Fresh(30), "warm", "test", 80), log, champion).record
    assert (late.verdict, late.labels, late.rows) == ("trained", {"hand": 4}, 4)
    unseen = job.run(TrainingOrder("update", Fresh(30), "warm", "test", 80, held_out=1.0), log, champion).record
    assert unseen.verdict == "no data"


def test_lessons_leave_the_notes_on_the_pages_and_never_reach_an_on_policy_learner(tmp_path):
    seen = []

    class Noting(Learner):
        on_policy = False

        def update(self, feedback):
            seen.append(feedback)
            return super().update(feedback)

    log, _ = labelled_log(tmp_path)
    job, champion, order = TrainingJob(Noting, {}, SPACES), Noting(), TrainingOrder("update", Fresh(48), "warm", "", 71)
    champion.begin({}, SPACES, 0)
    job.run(order, log, champion)
    lessons_at = seen[0].version == BY_NOBODY
    assert lessons_at.sum() == 2
    assert (seen[0].extras["log_prob"][lessons_at] == 0).all()
    assert seen[0].extras["log_prob"][~lessons_at].tolist() == log.since(48).extras["log_prob"].tolist()
    champion.on_policy = True
    assert job.run(order, log, champion).record.labels == {}
    assert len(seen[1]) == 3


def test_a_lesson_continues_no_visit_and_is_new_to_an_agent_that_learned_the_page(tmp_path):
    log, told = labelled_log(tmp_path)
    pages = lessons(told[2])
    assert (pages.keys.visit < 0).all()
    assert pages.terminated.all()
    assert pages.keys.tick.tolist() == [71, 71]
    assert set(pages.version.tolist()) == {BY_NOBODY}
    assert np.isnan(pages.slot_propensity).all()
    rng = np.random.default_rng(0)
    items = {
        "category": rng.integers(0, 3, SPACES.n_items).astype(np.int32),
        "price": np.ones(SPACES.n_items, np.float32),
        "features": rng.normal(size=(SPACES.n_items, 3)).astype(np.float32),
    }
    agents = []
    for window in (log.between(48, 70), log.between(48, 70)):
        agent = LinUCB(rank=2)
        agent.begin(items, SPACES, 0)
        agent.fit(window)
        agents.append(agent)
    agents[1].fit(pages)
    states = [agent.state() for agent in agents]
    assert any((states[0][name] != states[1][name]).any() for name in states[0])


def test_no_review_asks_nobody():
    pages = pages_with_gaps(0, [0.1])
    assert len(offer(NoReview(), pages, scorer())) == 0
    assert NoReview().end_day(23) == (None, [])


def test_pages_are_not_changed_by_their_review():
    pages = pages_with_gaps(0, [0.1, 0.2])
    before = pages.take(np.arange(2))
    review = Review(Desk("reject"), pool=1.0)
    offer(review, pages, scorer())
    review.end_day(23)
    assert_equal(pages, before)


def test_of_equally_certain_pages_the_lot_decides_not_the_hour():
    desk = Desk(capacity=70)
    review, agent = Review(desk, pool=1.0), scorer()
    for hour in range(24):
        offer(review, pages_with_gaps(hour, [0.5] * 20), agent)
    review.end_day(23)
    hours = [int(question.page.keys.tick[0]) for question in desk.asked]
    assert len(hours) == 10
    assert len(set(hours)) > 4
