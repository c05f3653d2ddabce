"""The simulated reviewer, alone on a shop and in a run."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from perennial.agents.base import Keys
from perennial.agents.lifecycle.review import Question, Review
from perennial.agents.lifecycle.review_desk import Desk
from perennial.envs import World
from perennial.envs.oracle import Oracle
from perennial.experiments import audit, execution, reproduce, resuming, run
from perennial.experiments.review_page import ReviewServer, labels_of
from perennial.experiments.reviewers import SimulatedReviewer, hand_truth
from tests.agents.lifecycle.hand import wave

SMALL = [
    "agent=linucb", "strategy=nightly_review", "world.n_users=200", "world.n_items=150", "world.visits_per_day=60",
    "experiment.history_days=2", "experiment.history_window_days=2", "experiment.scored_days=5",
    "strategy.review.pool=0.5", "strategy.review.reviewer.capacity=28",
]  # fmt: skip


def asked(reviewer: SimulatedReviewer, best: bool) -> tuple[list[str], list[tuple[int, ...]], np.ndarray]:
    """Verdicts and slates on the first pages of a day, shown the best slate or the worst of some."""
    world = World(seed=3, n_users=800, n_items=150, visits_per_day=600)
    oracle, visits = Oracle(world), world.arrivals(0, 23)
    keys = Keys(**world.keys(visits))
    slates = oracle.best_slates(visits).astype(np.int32)
    if not best:
        others = [(slates + shift) % world.sizes["n_candidates"] for shift in range(1, 6)]
        worth = np.array([oracle.expected_reward(visits, other) for other in others])
        slates = np.stack(others)[worth.argmin(axis=0), np.arange(len(slates))].astype(np.int32)
    reviewer.truth = oracle
    reviewer.see(visits, keys, slates, np.arange(len(visits)))
    pages = wave(0, keys.visit.tolist())
    reviewer.ask([Question(pages.take(np.array([n])), 0.0, "margin", 23) for n in range(len(pages))], 23)
    assert reviewer.answers(23 + reviewer.delay_hours - 1) == []
    answers = reviewer.answers(23 + reviewer.delay_hours)
    assert reviewer.answers(10**6) == []
    return [answer.verdict for answer in answers], [answer.slate for answer in answers], oracle.best_slates(visits)


def test_it_is_right_about_a_page_as_often_as_its_accuracy_says() -> None:
    for best in (True, False):
        said, _, _ = asked(SimulatedReviewer(accuracy=0.8), best)
        right = np.array([(verdict == "accept") == best for verdict in said])
        assert len(right) > 200
        assert abs(right.mean() - 0.8) < 3 * np.sqrt(0.8 * 0.2 / len(right))


def test_a_perfect_reviewer_corrects_to_the_best_slate() -> None:
    said, slates, best = asked(SimulatedReviewer(accuracy=1.0, corrects=1.0), False)
    assert set(said) <= {"correct", "reject"}  # rejected where only repeats are best
    corrected = [n for n, verdict in enumerate(said) if verdict == "correct"]
    assert len(corrected) > 0.9 * len(said)
    assert all(slates[n] == tuple(best[n].tolist()) for n in corrected)
    assert set(asked(SimulatedReviewer(accuracy=1.0), True)[0]) == {"accept"}


def test_without_the_truth_it_says_what_to_do() -> None:
    review = Review(SimulatedReviewer())
    with pytest.raises(RuntimeError, match=r"Call hand_truth\(review, oracle\)"):
        review.reviewer.see(None, None, None, np.zeros(1, np.int64))
    oracle = Oracle(World(n_users=50, n_items=100))
    hand_truth(review, oracle)
    assert isinstance(review.reviewer, SimulatedReviewer)
    assert review.reviewer.truth is oracle


class Stopped(Exception):  # noqa: N818
    pass


def decisions(planned: run.Run) -> list[dict]:
    return [json.loads(line) for line in (planned.folder / "decisions.jsonl").read_text().splitlines()]


def test_a_run_buys_labels_learns_from_them_and_is_rebuilt_bit_for_bit(tmp_path: Path) -> None:
    planned = run.compose([*SMALL, f"output={tmp_path}", "name=reviewed"])
    execution.prepare([planned], lambda days: None)
    days: list[int] = []

    def stop_once(n: int) -> None:
        days.append(n)
        if len(days) == 3:
            raise Stopped

    with pytest.raises(Stopped):
        execution.execute(planned, stop_once)
    execution.execute(planned, lambda n: None)
    lines = decisions(planned)
    reviews = [line for line in lines if line["decision"] == "review"]
    assert len(reviews) == 12  # four a day, told a day later; on the third, a Saturday, the shop is shut
    assert {line["tick"] - line["asked"] for line in reviews} == {24}
    assert {(line["source"], line["measure"]) for line in reviews} == {("simulated", "margin")}
    fits = [line for line in lines if line["decision"] == "training" and line["kind"] == "fit"]
    assert [line["labels"].get("simulated", 0) for line in fits] == [0, 4, 8, 8, 12]
    result = json.loads((planned.folder / "result.json").read_text())
    assert json.dumps(result).count("labels_price") == 1
    found = list(reproduce.rebuild(reproduce.Records(planned.folder)))
    assert len(found) > 4
    assert all(model.equal and model.data for model in found)

    said = "\n".join(audit.sentences(audit.account(reproduce.Records(planned.folder), 6)))
    assert "labels       12 by source 'simulated'" in said

    other = replace(planned, name="again")
    execution.execute(other, lambda n: None)
    assert decisions(other) == lines  # the run that was cut off is the run that was not


def test_a_person_answers_over_the_page_and_the_next_night_learns_it(tmp_path: Path) -> None:
    """The run stands still at each day's end; somebody posts to the page; the labels are in the night's training."""
    person = [word for word in SMALL if "review" not in word]
    options = ["strategy=nightly_person", "strategy.review.pool=0.5", "strategy.review.reviewer.patience_s=30"]
    planned = run.compose([*person, *options, "experiment.scored_days=2", f"output={tmp_path}", "name=asked"])
    execution.prepare([planned], lambda days: None)
    running = threading.Thread(target=execution.execute, args=(planned, lambda days: None), daemon=True)
    with ReviewServer(Desk(planned.folder / resuming.REVIEW), labels_of(planned), port=0) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        serving.start()
        running.start()
        while running.is_alive():
            for question in json.load(urllib.request.urlopen(server.address + "questions")):
                slate = question["slate"][::-1]
                body = {"visit": question["visit"], "page": question["page"], "verdict": "correct", "slate": slate}
                kind = {"Content-Type": "application/json"}
                asking = urllib.request.Request(server.address + "answers", json.dumps(body).encode(), kind)
                urllib.request.urlopen(asking).close()
            time.sleep(0.05)
        server.shutdown()
        serving.join()
    lines = decisions(planned)
    reviews = [line for line in lines if line["decision"] == "review"]
    assert [(line["tick"] - line["asked"], line["source"], line["verdict"]) for line in reviews] == [
        (0, "person", "correct")
    ] * 4
    assert all(line["right"] == line["shown"][::-1] for line in reviews)
    fits = [line for line in lines if line["decision"] == "training" and line["kind"] == "fit"]
    assert [line["labels"] for line in fits] == [{"person": 2}, {"person": 4}]
    assert all(model.equal and model.data for model in reproduce.rebuild(reproduce.Records(planned.folder)))
