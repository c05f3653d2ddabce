"""A local page where a person accepts, rejects or corrects the recommendations that a run was least sure of."""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from threading import Lock
from typing import Any

from perennial.agents.lifecycle.review_desk import Desk, Sheet
from perennial.experiments import resuming
from perennial.experiments.audit import when
from perennial.experiments.configuration import ConfigurationError
from perennial.experiments.console import script
from perennial.experiments.run import Run, ask_trust, build_world, kept_in
from perennial.experiments.threads import one_thread

LOCALHOST, PORT = "127.0.0.1", 8765
LARGEST = 10_000
"""Bytes of an answer; a real one has some hundred."""

HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class ReviewServer(ThreadingHTTPServer):
    """Serves the page to this machine only.

    Arguments:
        desk: where questions lie and answers go.
        labels: what the page calls each item, by id; ids without one are called by their number.
        port: 0 takes a free one, see `address`.
    """

    daemon_threads = True

    def __init__(self, desk: Desk, labels: Mapping[int, str], port: int = PORT) -> None:
        super().__init__((LOCALHOST, port), Handler)
        self.desk, self.labels, self.writing = desk, labels, Lock()

    @property
    def address(self) -> str:
        return f"http://{LOCALHOST}:{self.server_port}/"

    @cached_property
    def hosts(self) -> set[str]:
        """What a browser on this machine may call the server; any other name is a page that plays tricks with DNS."""
        return {f"{name}:{self.server_port}" for name in (LOCALHOST, "localhost")}

    def told(self, sheet: Sheet) -> dict[str, Any]:
        """A question in the words of the page."""
        return {
            "visit": sheet.visit,
            "page": sheet.page,
            "when": when(sheet.tick),
            "measure": sheet.measure,
            "certainty": f"{sheet.certainty:.3g}",
            "history": [self._label(item) for item in reversed(sheet.history) if item >= 0],
            "candidates": [self._label(item) for item in sheet.candidates],
            "slate": sheet.slate,
        }

    def _label(self, item: int) -> str:
        return self.labels.get(item, f"item {item}")


class Handler(BaseHTTPRequestHandler):
    """Three answers: the page, the open questions, and what became of a posted answer."""

    server: ReviewServer
    server_version, sys_version = "perennial-review", ""
    timeout = 10  # seconds for a request to come in whole

    def do_GET(self) -> None:
        if not self._from_here():
            return
        if self.path == "/":
            nonce = secrets.token_urlsafe(16)
            page = resources.files("perennial.experiments").joinpath("review_page.html").read_text(encoding="utf-8")
            policy = (
                f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; "
                "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            )
            self._send(HTTPStatus.OK, page.replace("NONCE", nonce).encode(), "text/html; charset=utf-8", policy)
        elif self.path == "/questions":
            self._say(HTTPStatus.OK, [self.server.told(sheet) for sheet in self.server.desk.open()])
        else:
            self._say(HTTPStatus.NOT_FOUND, {"error": "There is only / here."})

    def do_POST(self) -> None:
        if not self._from_here():
            return
        if self.path != "/answers":
            return self._say(HTTPStatus.NOT_FOUND, {"error": "Answers go to /answers."})
        if self.headers.get_content_type() != "application/json":
            return self._say(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, {"error": "An answer is application/json."})
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > LARGEST:
            return self._say(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"error": f"At most {LARGEST} bytes, and say so."})
        self._keep(self.rfile.read(int(length)))

    def _keep(self, body: bytes) -> None:
        try:
            given = json.loads(body)
            if not isinstance(given, dict) or not {"visit", "page", "verdict"} <= given.keys():
                raise ValueError("An answer has 'visit', 'page' and 'verdict', and a 'slate' if it corrects.")
            key = given["visit"], given["page"]
            with self.server.writing:
                self.server.desk.answer(key, given["verdict"], given.get("slate", ()))
        except (ValueError, TypeError, RecursionError) as error:
            return self._say(HTTPStatus.BAD_REQUEST, {"error": f"{error}"})
        except KeyError as error:
            return self._say(HTTPStatus.CONFLICT, {"error": f"{error.args[0]}"})
        self._say(HTTPStatus.OK, {"kept": given["verdict"]})

    def _from_here(self) -> bool:
        """Whether the request names this server, and comes from its own page or from no page at all."""
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        site = self.headers.get("Sec-Fetch-Site", "none")
        if host in self.server.hosts and origin in (None, f"http://{host}") and site in ("none", "same-origin"):
            return True
        self.close_connection = True
        self._say(HTTPStatus.FORBIDDEN, {"error": "This page is for the browser on its own machine."})
        return False

    def _say(self, status: HTTPStatus, content: Any) -> None:
        self._send(status, json.dumps(content).encode(), "application/json", "default-src 'none'")

    def _send(self, status: HTTPStatus, body: bytes, kind: str, policy: str) -> None:
        self.send_response(status)
        headers = {**HEADERS, "Content-Type": kind, "Content-Length": str(len(body)), "Content-Security-Policy": policy}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of each request."""


def labels_of(run: Run) -> dict[int, str]:
    """What a person may know of each item of a run's shop: number, department, price."""
    world = build_world(run.settings, run.seed)
    names, items = world.preset.categories, world.items
    kinds, prices = items["category"].tolist(), items["price"].tolist()
    return {
        item: f"item {item}, {names[kind].replace('_', ' ')}, {price:.2f}"
        for item, (kind, price) in enumerate(zip(kinds, prices, strict=True))
    }


def labels(folder: Path, trusted: Sequence[str] = ()) -> dict[int, str]:
    """What the page calls each item of the run in `folder`: what lies on the desk, else what its shop says."""
    kept = folder / resuming.REVIEW / resuming.LABELS
    if kept.is_file():
        return {int(item): str(label) for item, label in json.loads(kept.read_text(encoding="utf-8")).items()}
    run = kept_in(folder, trusted)
    if "review_desk" not in json.dumps(run.strategy):
        raise ConfigurationError(
            f"'run' must be a run that asks a person. Got {folder}. Start one with "
            "perennial-run strategy=nightly_person, and open its page in a second terminal."
        )
    return labels_of(run)


@script("perennial-review")
def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the questions of a run until interrupted."""
    one_thread()
    parser = argparse.ArgumentParser(prog="perennial-review", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a run with strategy=nightly_person, under way")
    parser.add_argument("--port", type=int, default=PORT, help=f"on {LOCALHOST}; 0 takes a free one")
    ask_trust(parser)
    options = parser.parse_args(arguments)
    try:
        desk = Desk(options.run / resuming.REVIEW)
        server = ReviewServer(desk, labels(options.run, options.trust), options.port)
    except (ConfigurationError, OSError, OverflowError) as error:
        print(f"perennial-review: {error}", file=sys.stderr)
        return 2
    with server:
        print(f"{len(server.desk.open())} questions are open at {server.address} (Ctrl+C ends)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
