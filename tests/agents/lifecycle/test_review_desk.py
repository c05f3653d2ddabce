from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from perennial.agents.lifecycle import snapshot
from perennial.agents.lifecycle.review import Answer, Question, Review
from perennial.agents.lifecycle.review_desk import ANSWERS, Desk, PersonReviewer, give_desk
from tests.agents.lifecycle.hand import wave


def questions(tick: int, visits: list[int]) -> list[Question]:
    pages = wave(tick, visits)
    return [Question(pages.take(np.array([n])), 0.1, "margin", tick) for n in range(len(pages))]


def test_a_question_lies_there_once_until_it_is_answered(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "review")
    desk.put(questions(3, [1, 2]))
    desk.put(questions(3, [2, 4]))
    assert [sheet.key for sheet in desk.open()] == [(1, 0), (2, 0), (4, 0)]
    page = questions(3, [1, 2])[0].page
    assert desk.open()[0].candidates == page.observations["candidates"][0].tolist()
    desk.answer((2, 0), "correct", [5, 1])
    desk.answer((1, 0), "reject")
    assert [sheet.key for sheet in desk.open()] == [(4, 0)]
    assert desk.answers() == [Answer((2, 0), "correct", (5, 1)), Answer((1, 0), "reject")]
    with pytest.raises(KeyError, match="Page 0 of visit 2 is not open for review"):
        desk.answer((2, 0), "accept")
    with pytest.raises(ValueError, match="'verdict' must be one of"):
        desk.answer((4, 0), "perhaps")
    with pytest.raises(ValueError, match="'slate' must hold 2 different places"):
        desk.answer((4, 0), "correct", [1, 1])


def test_a_torn_line_is_no_answer_and_harms_no_later_one(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.put(questions(3, [1, 2]))
    desk.answer((1, 0), "accept")
    with (tmp_path / ANSWERS).open("a") as file:
        file.write('{"visit": 2, "pa')
    assert [sheet.key for sheet in desk.open()] == [(2, 0)]
    desk.answer((2, 0), "reject")
    assert [answer.verdict for answer in desk.answers()] == ["accept", "reject"]


def test_each_answer_is_taken_once_and_a_checkpoint_knows_which(tmp_path: Path) -> None:
    review = Review(PersonReviewer())
    give_desk(review, tmp_path)
    person = review.reviewer
    person.ask(questions(3, [1, 2, 4]), 23)
    assert person.answers(23) == []
    Desk(tmp_path).answer((2, 0), "accept")
    arrays = snapshot.take({"review": review}, {})
    assert [answer.key for answer in person.answers(47)] == [(2, 0)]
    assert person.answers(71) == []
    again = snapshot.give_back(arrays, {}, lambda items: None)["review"].reviewer
    assert [answer.key for answer in again.answers(47)] == [(2, 0)]
    Desk(tmp_path).answer((4, 0), "reject")
    assert [answer.key for answer in again.answers(71)] == [(4, 0)]


def test_a_run_stands_still_until_all_is_answered(tmp_path: Path) -> None:
    person = PersonReviewer(patience_s=60)
    with pytest.raises(RuntimeError, match="A person needs a desk"):
        person.answers(23)
    give_desk(Review(person), tmp_path)
    person.ask(questions(3, [1]), 23)
    answering = threading.Timer(0.3, lambda: Desk(tmp_path).answer((1, 0), "accept"))
    answering.start()
    begun = time.monotonic()
    assert [answer.verdict for answer in person.answers(23)] == ["accept"]
    assert time.monotonic() - begun >= 0.3
    answering.join()
