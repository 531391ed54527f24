# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from undercroft._board.qmp import Qmp, QmpClosedError
from undercroft.errors import HarnessError

GREETING = {"QMP": {"version": {}, "capabilities": []}}


class FakeMonitor:
    """Plays QEMU's side: sends the given bytes, then an answer per request."""

    def __init__(self, greeting: bytes, *answers: bytes) -> None:
        self.ours, self._theirs = socket.socketpair()
        self.requests: list[dict[str, object]] = []
        self._answers = list(answers)
        self._theirs.sendall(greeting)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with self._theirs, self._theirs.makefile("rb") as stream:
            for answer in self._answers:
                self.requests.append(json.loads(stream.readline()))
                self._theirs.sendall(answer)


def line(value: object) -> bytes:
    return json.dumps(value).encode() + b"\r\n"


OK = line({"return": {}})


def test_greeting_and_command() -> None:
    fake = FakeMonitor(line(GREETING), OK, line({"return": {"status": "paused"}}))
    with Qmp(fake.ours) as qmp:
        assert qmp.command("query-status", {"a": 1}) == {"status": "paused"}
    assert fake.requests == [
        {"execute": "qmp_capabilities"},
        {"execute": "query-status", "arguments": {"a": 1}},
    ]


def test_events_between_request_and_answer_are_passed_over() -> None:
    fake = FakeMonitor(line(GREETING), OK, line({"event": "RESUME"}) + OK)
    with Qmp(fake.ours) as qmp:
        assert qmp.command("cont") == {}


def test_refused_command_carries_qemus_words() -> None:
    refusal = line({"error": {"class": "GenericError", "desc": "no such thing"}})
    fake = FakeMonitor(line(GREETING), OK, refusal)
    with Qmp(fake.ours) as qmp, pytest.raises(HarnessError, match="no such thing"):
        qmp.command("cont")


def test_end_of_qemu_is_an_error_of_its_own() -> None:
    fake = FakeMonitor(line(GREETING), OK)
    with Qmp(fake.ours) as qmp, pytest.raises(QmpClosedError):
        qmp.command("cont")


@pytest.mark.parametrize(
    "greeting",
    [
        pytest.param(b"SSH-2.0-something\r\n", id="another protocol"),
        pytest.param(line([1, 2]), id="no object"),
        pytest.param(line({"hello": 1}), id="another object"),
    ],
)
def test_other_greeting_is_refused(greeting: bytes) -> None:
    fake = FakeMonitor(greeting)
    with pytest.raises(HarnessError, match="said"):
        Qmp(fake.ours)


def test_silence_ends_at_the_deadline() -> None:
    ours, _theirs = socket.socketpair()
    with pytest.raises(HarnessError, match="in time"):
        Qmp(ours, timeout_seconds=0.2)


def test_no_socket_is_a_closed_connection(tmp_path: Path) -> None:
    with pytest.raises(QmpClosedError):
        Qmp.open(tmp_path, "qmp.sock")


def test_socket_below_a_long_path_is_reached(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 120)
    folder.mkdir()
    serve: Callable[[], None]

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.sendall(line(GREETING))
            connection.recv(4096)
            connection.sendall(OK)

    with socket.socket(socket.AF_UNIX) as server, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        server.bind("qmp.sock")
        server.listen()
        threading.Thread(target=serve, daemon=True).start()
        with Qmp.open(folder, "qmp.sock"):
            pass
