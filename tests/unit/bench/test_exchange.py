# SPDX-License-Identifier: Apache-2.0
"""Files to the board and answers back, over a loopback HTTP server."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from undercroft import _board
from undercroft._bench import exchange as exchange_module
from undercroft._bench.exchange import HOST_SEEN_BY_GUEST, Exchange, run_on_board
from undercroft._bench.guest import Channel
from undercroft.errors import FormatError, HarnessError


def local_url(exchange: Exchange) -> str:
    return exchange.url.replace(HOST_SEEN_BY_GUEST, "127.0.0.1")


@pytest.fixture
def exchange():
    with Exchange() as running:
        yield running


@pytest.fixture
def channel(exchange):
    return Channel(local_url(exchange))


def test_files_arrive(exchange, channel, tmp_path):
    (tmp_path / "file").write_bytes(b"from a file" * 1000)
    exchange.offer("bytes", b"from memory")
    exchange.offer("file", tmp_path / "file")
    assert channel.fetch("bytes") == b"from memory"
    assert channel.fetch_file("file", tmp_path).read_bytes() == b"from a file" * 1000


def test_answers_come_back(exchange, channel):
    channel.put("answer", b"42")
    assert exchange.answer("answer") == b"42"
    assert exchange.answer("another") is None


def test_questions_are_answered(exchange, channel):
    exchange.on_question("upper", bytes.upper)
    assert channel.ask("upper", b"abc") == b"ABC"


def test_a_failing_answer_carries_its_words(exchange, channel):
    def refuse(_body: bytes) -> bytes:
        raise FormatError("no such key", hint="bring another")

    exchange.on_question("license", refuse)
    with pytest.raises(urllib.error.HTTPError) as caught:
        channel.ask("license", b"")
    with caught.value as error:
        assert error.read() == b"no such key\nbring another"


@pytest.mark.parametrize("name", ["absent", "../absent", ""])
def test_what_is_not_offered_is_not_found(channel, name):
    with pytest.raises(urllib.error.HTTPError) as caught:
        channel.fetch(name)
    with caught.value as error:
        assert error.code == 404


def test_nothing_without_the_word(exchange):
    exchange.offer("secret", b"secret")
    port = local_url(exchange).split(":")[2].split("/")[0]
    for path in ("secret", "/secret", "x/secret", "A" * 32 + "/secret"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}")
        with caught.value as error:
            assert error.code == 404


def test_it_listens_on_loopback_only(exchange):
    assert exchange._server.server_address[0] == "127.0.0.1"


def fake_board(monkeypatch, run):
    monkeypatch.setattr(_board, "run_command", run)


def test_a_program_on_the_board_answers(exchange, monkeypatch):
    def run(board: str, command: str, timeout_seconds: float) -> tuple[int, str]:
        assert board == "bench"
        assert command.endswith(f"-m some.module {exchange.url}")
        channel = Channel(local_url(exchange))
        task = json.loads(channel.fetch("task"))
        channel.put("answer", json.dumps({"double": 2 * task["number"]}).encode())
        return 0, ""

    fake_board(monkeypatch, run)
    answer = run_on_board("bench", "some.module", {"number": 4}, exchange)
    assert answer == {"double": 8}


@pytest.mark.parametrize("code", [0, 1])
def test_a_program_that_does_not_answer_is_an_error(exchange, monkeypatch, code):
    fake_board(monkeypatch, lambda *_, **__: (code, "Traceback\nlast words"))
    with pytest.raises(HarnessError, match="last words"):
        run_on_board("bench", "some.module", {}, exchange)


def test_an_earlier_answer_is_not_taken_for_a_new_one(exchange, monkeypatch):
    Channel(local_url(exchange)).put("answer", b"{}")
    fake_board(monkeypatch, lambda *_, **__: (0, ""))
    with pytest.raises(HarnessError):
        run_on_board("bench", "some.module", {}, exchange)


def test_an_answer_that_is_too_large_is_refused(exchange, channel, monkeypatch):
    monkeypatch.setattr(exchange_module, "MAX_ANSWER_BYTES", 10)
    with pytest.raises(urllib.error.URLError):
        channel.put("answer", bytes(11))
    assert exchange.answer("answer") is None


def test_the_guest_part_needs_little():
    """The board has no onnx, cryptography, click or rich."""
    import subprocess
    import sys

    code = (
        "import sys\n"
        "for name in ('onnx', 'cryptography', 'cwt', 'rich', 'click', 'PIL'):\n"
        "    sys.modules[name] = None\n"
        "import undercroft._bench.guest, undercroft._bench.control\n"
    )
    source = Path(exchange_module.__file__).parents[2]
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(source)}
    )
