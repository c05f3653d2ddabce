"""The review page over HTTP, and in a real browser where there is one."""

from __future__ import annotations

import http.client
import json
import shutil
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perennial.agents.lifecycle.review import Question
from perennial.agents.lifecycle.review_desk import Desk
from perennial.experiments import review_page, run
from perennial.experiments.review_page import ReviewServer, labels_of
from perennial.experiments.run import CONFIG
from tests.agents.lifecycle.hand import SPACES, wave

EVIL = '<img src=x onerror="document.title=1"><script>document.title=2</script>'
VISITS = [11, 12, 13, 14]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ReviewServer]:
    pages = wave(5, VISITS)
    desk = Desk(tmp_path / "review")
    desk.put([Question(pages.take(np.array([n])), 0.01 * n, "margin", 23) for n in range(len(pages))])
    labels = {item: f"item {item} {EVIL}" for item in range(0, SPACES.n_items, 2)}
    server = ReviewServer(desk, labels, port=0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def ask(server: ReviewServer, method: str, path: str, body: str = "", **headers: str) -> tuple[int, Any]:
    """Status and content of a request whose headers are all our own."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    given = {"Host": f"127.0.0.1:{server.server_port}", "Content-Type": "application/json"}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body or None, given)
    reply = connection.getresponse()
    content = json.loads(reply.read())
    connection.close()
    return reply.status, content


def post(server: ReviewServer, visit: int = 11, verdict: str = "accept", **headers: str) -> int:
    return ask(server, "POST", "/answers", json.dumps({"visit": visit, "page": 0, "verdict": verdict}), **headers)[0]


def test_the_page_asks_for_nothing_from_outside_and_says_so_to_the_browser(server: ReviewServer) -> None:
    with urllib.request.urlopen(server.address) as reply:
        page, policy = reply.read().decode(), reply.headers["Content-Security-Policy"]
        assert reply.headers["X-Frame-Options"] == "DENY"
    assert "http" not in page.replace("https://www.w3.org", "")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    nonce = policy.split("'nonce-")[1].split("'")[0]
    assert page.count(f'nonce="{nonce}"') == 2
    assert "innerHTML" not in page
    with urllib.request.urlopen(server.address) as again:
        assert nonce not in again.read().decode()


def test_an_answer_is_kept_and_its_question_goes(server: ReviewServer) -> None:
    with urllib.request.urlopen(server.address + "questions") as reply:
        questions = json.load(reply)
    assert [question["visit"] for question in questions] == VISITS
    shown = wave(5, VISITS).observations["candidates"][0].tolist()
    assert [label.split()[1] for label in questions[0]["candidates"]] == [str(item) for item in shown]
    assert post(server, 12, "reject") == 200
    body = json.dumps({"visit": 11, "page": 0, "verdict": "correct", "slate": [4, 0]})
    assert ask(server, "POST", "/answers", body) == (200, {"kept": "correct"})
    assert [(a.key, a.verdict, a.slate) for a in server.desk.answers()] == [
        ((12, 0), "reject", ()),
        ((11, 0), "correct", (4, 0)),
    ]
    assert post(server, 12) == 409
    assert post(server, 99) == 409
    assert [q["visit"] for q in ask(server, "GET", "/questions")[1]] == [13, 14]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Host": "evil.example"},
        {"Host": "127.0.0.1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_other_pages_and_other_names_are_refused(server: ReviewServer, headers: dict[str, str]) -> None:
    assert post(server, **headers) == 403
    assert ask(server, "GET", "/questions", **headers)[0] == 403
    assert server.desk.answers() == []


def test_its_own_page_is_let_in_by_either_name(server: ReviewServer) -> None:
    host = f"localhost:{server.server_port}"
    assert post(server, Host=host, Origin=f"http://{host}", Sec_Fetch_Site="same-origin") == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("{", 400),
        ("[]", 400),
        ("[" * 9000, 400),
        ('{"visit": 11, "page": 0}', 400),
        ('{"visit": 11, "page": 0, "verdict": "maybe"}', 400),
        ('{"visit": 11, "page": 0, "verdict": ["accept"]}', 400),
        ('{"visit": 11, "page": 0, "verdict": "correct", "slate": [0, 6]}', 400),
        ('{"visit": 11, "page": 0, "verdict": "correct", "slate": "01"}', 400),
        ('{"visit": [11], "page": 0, "verdict": "accept"}', 409),
        (" " * 10_001, 413),
    ],
)
def test_what_is_no_answer_is_refused(server: ReviewServer, body: str, status: int) -> None:
    found, content = ask(server, "POST", "/answers", body)
    assert found == status
    assert content["error"]
    assert server.desk.answers() == []


def test_forms_and_other_paths_are_refused(server: ReviewServer) -> None:
    assert post(server, Content_Type="text/plain") == 415
    assert ask(server, "POST", "/", "{}")[0] == 404
    assert ask(server, "GET", "/../etc/passwd")[0] == 404


def test_it_listens_on_this_machine_only(server: ReviewServer) -> None:
    assert server.server_address[0] == "127.0.0.1"


def test_labels_are_what_the_shop_knows_of_its_items() -> None:
    planned = run.compose(["strategy=nightly_person", "world.n_users=50", "world.n_items=100"])
    labels = labels_of(planned)
    assert len(labels) == 100
    assert labels[7].startswith("item 7, ")


def test_a_run_that_asks_nobody_is_told_how_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert review_page.main([str(tmp_path)]) == 2
    assert "'run' must be the folder of a run" in capsys.readouterr().err
    (tmp_path / CONFIG).write_text("world: {}\ndrift: {}\nreward: {}\nfeedback: {}\nagent: {}\nstrategy: {}\n")
    with (tmp_path / CONFIG).open("a") as file:
        file.write("experiment: {}\nregistry: {}\n")
    assert review_page.main([str(tmp_path)]) == 2
    assert "perennial-run strategy=nightly_person" in capsys.readouterr().err


@pytest.fixture
def page(server: ReviewServer) -> Iterator[Any]:
    """The page in Chromium, with everything noted that it asks for and complains about."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install perennial[browser]")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs a browser: apt-get install chromium")
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page()
        tab.asked, tab.complaints = [], []
        tab.on("request", lambda request: tab.asked.append(request.url))
        tab.on("console", lambda message: tab.complaints.append(message.text))
        tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
        tab.goto(server.address)
        tab.wait_for_selector("#question:not([hidden])")
        yield tab
        browser.close()


@pytest.mark.browser
def test_a_person_answers_by_keys_alone_in_a_browser(server: ReviewServer, page: Any) -> None:
    assert EVIL in page.inner_text("main")  # shown as it is, not run
    assert page.title() == "Perennial review"
    assert page.locator("main img").count() == 0
    page.keyboard.press("n")
    assert "visit 12" in page.inner_text("#where")
    page.keyboard.press("a")
    page.locator("#status", has_text="Kept: accept").wait_for()
    assert page.evaluate("document.activeElement.id") == "title"
    assert "visit 13" in page.inner_text("#where")
    page.keyboard.press("r")
    page.locator("#status", has_text="Kept: reject").wait_for()
    page.keyboard.press("c")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Slot 1"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "correct"
    page.keyboard.press("c")
    shown = [int(value) for value in page.eval_on_selector_all("#slate select", "all => all.map(s => s.value)")]
    other = next(place for place in range(SPACES.n_candidates) if place not in shown)
    page.select_option("#slate select >> nth=1", str(shown[0]))
    page.keyboard.press("Control+Enter")
    assert "two slots" in page.inner_text("#status")
    page.select_option("#slate select >> nth=1", str(other))
    page.keyboard.press("Control+Enter")
    page.locator("#status", has_text="Kept: correct").wait_for()
    given = {answer.key[0]: (answer.verdict, answer.slate) for answer in server.desk.answers()}
    assert given[12] == ("accept", ())
    assert given[13] == ("reject", ())
    assert given[14] == ("correct", (shown[0], other))
    page.focus("#accept")
    page.keyboard.press("Enter")
    page.wait_for_selector("#question", state="hidden")
    assert server.desk.open() == []
    assert all(url.startswith(server.address) for url in page.asked)
    assert [text for text in page.complaints if "favicon" not in text] == []
