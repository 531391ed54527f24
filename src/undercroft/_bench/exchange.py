# SPDX-License-Identifier: Apache-2.0
"""Files for a program on the board, and its answers, over the loopback interface.

The emulated network lets the board reach the host's loopback interface. A
short-lived HTTP server listens there for as long as one measurement takes; a
random word in each path keeps other users of the host out. Files that the
board fetches go into its memory (a tmpfs), so that no disk takes part in what
is measured, and nothing stays behind on the board's own disk.
"""

from __future__ import annotations

import json
import secrets
import shutil
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from undercroft._host import last_lines
from undercroft.errors import Error, HarnessError

HOST_SEEN_BY_GUEST: Final = "10.0.2.2"
"""The host's loopback interface, in the emulator's user-mode network."""

MAX_ANSWER_BYTES: Final = 256 << 20
GUEST_PYTHON: Final = "PYTHONPATH=/opt/undercroft/python python3"


class Exchange:
    """Serves named contents and takes named answers. Use as a context manager."""

    def __init__(self) -> None:
        self._contents: dict[str, bytes | Path] = {}
        self._answers: dict[str, bytes] = {}
        self._questions: dict[str, Callable[[bytes], bytes]] = {}
        self._word = secrets.token_urlsafe(24)
        exchange = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                exchange._send(self)

            def do_POST(self) -> None:
                exchange._reply(self)

            def do_PUT(self) -> None:
                exchange._take(self)

            def log_message(self, *_: object) -> None:
                """Say nothing: a library does not print."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="undercroft-exchange", daemon=True
        )

    @property
    def url(self) -> str:
        """Where the board finds it; ends in `/`, a name follows."""
        port = self._server.server_address[1]
        return f"http://{HOST_SEEN_BY_GUEST}:{port}/{self._word}/"

    def offer(self, name: str, content: bytes | Path) -> None:
        """Have a file ready under a name."""
        self._contents[name] = content

    def on_question(self, name: str, reply: Callable[[bytes], bytes]) -> None:
        """Answer what the board asks under a name, from a thread of its own."""
        self._questions[name] = reply

    def answer(self, name: str) -> bytes | None:
        """What the board sent under a name, or None."""
        return self._answers.get(name)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    # ---- the server's side ----

    def _name(self, request: BaseHTTPRequestHandler) -> str | None:
        prefix = f"/{self._word}/"
        if not secrets.compare_digest(request.path[: len(prefix)], prefix):
            return None
        return request.path[len(prefix) :]

    def _send(self, request: BaseHTTPRequestHandler) -> None:
        content = self._contents.get(self._name(request) or "")
        if content is None:
            request.send_error(HTTPStatus.NOT_FOUND)
        elif isinstance(content, bytes):
            _respond(request, content)
        else:
            request.send_response(HTTPStatus.OK)
            request.send_header("Content-Length", str(content.stat().st_size))
            request.end_headers()
            with content.open("rb") as file:
                shutil.copyfileobj(file, request.wfile, 1 << 20)

    def _take(self, request: BaseHTTPRequestHandler) -> None:
        name, body = self._name(request), _body(request)
        if not name or body is None:
            request.send_error(HTTPStatus.BAD_REQUEST)
            return
        self._answers[name] = body
        request.send_response(HTTPStatus.NO_CONTENT)
        request.end_headers()

    def _reply(self, request: BaseHTTPRequestHandler) -> None:
        reply = self._questions.get(self._name(request) or "")
        body = _body(request)
        if reply is None or body is None:
            request.send_error(HTTPStatus.BAD_REQUEST)
            return
        try:
            _respond(request, reply(body))
        except Error as error:
            _respond(request, error.diagnostics().encode(), HTTPStatus.CONFLICT)


def _body(request: BaseHTTPRequestHandler) -> bytes | None:
    try:
        size = int(request.headers.get("Content-Length", "-1"))
    except ValueError:
        return None
    return request.rfile.read(size) if 0 <= size <= MAX_ANSWER_BYTES else None


def _respond(
    request: BaseHTTPRequestHandler, body: bytes, status: HTTPStatus = HTTPStatus.OK
) -> None:
    request.send_response(status)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


def run_on_board(
    board: str,
    module: str,
    task: Mapping[str, Any],
    exchange: Exchange,
    *,
    timeout_seconds: float = 300.0,
) -> dict[str, Any]:
    """Run one of our modules on a board and return the JSON document it answers.

    Args:
        board: The board's name; it is up.
        module: Run as `python3 -m MODULE URL`; it gets `task` from the
            exchange and puts its answer there (`guest.main` does both).
        task: What it is told.
        exchange: Running; with the files that the task names.
        timeout_seconds: Deadline.

    Raises:
        HarnessError: The program failed; carries its last words.
    """
    from undercroft import _board

    exchange.offer("task", json.dumps(task).encode())
    exchange._answers.pop("answer", None)
    code, words = _board.run_command(
        board,
        f"{GUEST_PYTHON} -m {module} {exchange.url}",
        timeout_seconds=timeout_seconds,
    )
    answer = exchange.answer("answer")
    if code != 0 or answer is None:
        raise HarnessError(
            f"{module} on the board '{board}' ended with code {code}:\n"
            + last_lines(words, 15),
            hint="see what the board says with: undercroft board log",
        )
    document = json.loads(answer)
    if not isinstance(document, dict):
        raise HarnessError(f"{module} on the board answered with no JSON object")
    return document
