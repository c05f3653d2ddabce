"""A person as reviewer: questions and answers lie in two files of a folder, the desk, that a page shows them from."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from perennial.agents.lifecycle.labels import VERDICTS
from perennial.agents.lifecycle.review import Answer, Key, NoReview, Question, Reviewer, check_slate
from perennial.agents.validation import number, one_of

QUESTIONS, ANSWERS = "questions.jsonl", "answers.jsonl"
LOOKS_PER_S = 5


@dataclass(frozen=True)
class Sheet:
    """A question as it lies on the desk, in plain values: ``slate`` places in ``candidates``, which are item ids."""

    visit: int
    page: int
    tick: int
    asked: int
    certainty: float
    measure: str
    history: list[int]
    candidates: list[int]
    slate: list[int]

    @property
    def key(self) -> Key:
        return self.visit, self.page


class Desk:
    """The two files; each line is whole once it ends, and stays. A page that is asked about twice lies there once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, questions: list[Question]) -> None:
        """Lay down what is not there yet."""
        known = {sheet.key for sheet in self.sheets()}
        self._append(QUESTIONS, [asdict(_sheet(q)) for q in questions if q.key not in known])

    def sheets(self) -> list[Sheet]:
        """All questions, in order."""
        return [Sheet(**line) for line in self._lines(QUESTIONS)]

    def answers(self) -> list[Answer]:
        """All answers, in order."""
        return [
            Answer((line["visit"], line["page"]), line["verdict"], tuple(line["slate"]))
            for line in self._lines(ANSWERS)
        ]

    def open(self) -> list[Sheet]:
        """The questions that nobody has answered."""
        done = {answer.key for answer in self.answers()}
        return [sheet for sheet in self.sheets() if sheet.key not in done]

    def answer(self, key: Key, verdict: str, slate: Any = ()) -> None:
        """Keep a person's answer to an open question; one that cannot be is refused with a ValueError."""
        found = next((sheet for sheet in self.open() if sheet.key == key), None)
        if found is None:
            raise KeyError(f"Page {key[1]} of visit {key[0]} is not open for review: nobody asked, or it is answered.")
        one_of("verdict", verdict, VERDICTS)
        places = check_slate(slate, len(found.slate), len(found.candidates)) if verdict == "correct" else ()
        self._append(ANSWERS, [{"visit": found.visit, "page": found.page, "verdict": verdict, "slate": places}])

    def _lines(self, name: str) -> list[dict[str, Any]]:
        path = self.folder / name
        whole, _, _ = (path.read_text(encoding="utf-8") if path.exists() else "").rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    def _append(self, name: str, lines: list[dict[str, Any]]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / name).open("ab+") as file:
            _cut_torn(file)
            file.write("".join(json.dumps(line) + "\n" for line in lines).encode())
            file.flush()
            os.fsync(file.fileno())


def _cut_torn(file: Any) -> None:
    """Take off a last line that a process began and never ended."""
    file.seek(0)
    content = file.read()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        file.truncate(whole)


def _sheet(question: Question) -> Sheet:
    page = question.page
    return Sheet(
        *question.key,
        tick=int(page.keys.tick[0]),
        asked=question.asked,
        certainty=question.certainty,
        measure=question.measure,
        history=page.observations["history"][0].tolist(),
        candidates=page.observations["candidates"][0].tolist(),
        slate=page.slates[0].tolist(),
    )


class PersonReviewer(Reviewer):
    """Whoever sits at the desk, in practice through ``perennial-review RUN``.

    A person answers when they answer, so a run that asks one cannot be repeated; its models can, for the labels are in
    its log.

    Arguments:
        capacity, price: see `Reviewer`.
        patience_s: seconds that a run stands still at the end of each day while a question is open; 0: not at all.
    """

    source = "person"

    def __init__(self, capacity: int = 50, price: float = 1.0, patience_s: float = 0.0) -> None:
        super().__init__(capacity, price)
        self.patience_s = number("patience_s", patience_s, 0.0)
        self.folder = ""
        self._taken: list[Key] = []

    @property
    def desk(self) -> Desk:
        if not self.folder:
            raise RuntimeError("A person needs a desk. Call give_desk(review, folder) before the run.")
        return Desk(Path(self.folder))

    def ask(self, questions: list[Question], tick: int) -> None:
        self.desk.put(questions)

    def answers(self, tick: int) -> list[Answer]:
        until = time.monotonic() + self.patience_s
        while self.desk.open() and time.monotonic() < until:
            time.sleep(1 / LOOKS_PER_S)
        taken = set(self._taken)
        fresh = [answer for answer in self.desk.answers() if answer.key not in taken]
        self._taken += [answer.key for answer in fresh]
        return fresh


def give_desk(review: NoReview, folder: Path) -> None:
    """Let a person who reviews work in `folder`; nothing for other reviewers."""
    if isinstance(review.reviewer, PersonReviewer):
        review.reviewer.folder = str(folder)
