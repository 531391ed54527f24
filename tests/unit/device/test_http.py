# SPDX-License-Identifier: Apache-2.0
"""The HTTP client against servers that are not what it expects."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from undercroft._device import connection as http_module
from undercroft._device import open_device
from undercroft._device.http import HttpDevice
from undercroft.errors import DeviceError, DeviceLostError


@contextmanager
def server(*answers: bytes | None) -> Iterator[str]:
    """Answer one request after the other with raw bytes, then hang up."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for answer in answers:
            with suppress(OSError):
                peer, _ = listener.accept()
                with peer:
                    peer.recv(65536)
                    if answer is not None:
                        peer.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        # Closing alone does not wake accept().
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(timeout=5)
        assert not thread.is_alive()


def reply(body: bytes, status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize(
    "uri",
    [
        "http:",
        "http://",
        "http://host/path",
        "http://host:port",
        "http://host:99999",
        "http://user@host",
        "http://host?x=1",
        "https://host",
        "ftp://host",
        "",
        "tea:",
        "board",
        "host:12",
        "host:?arena=x",
        "host:?arena=9GiB",
        "host:?colour=red",
        "board:a/b",
        "board:?colour=red",
    ],
)
def test_uris_that_name_no_device(uri: str) -> None:
    with pytest.raises(DeviceError, match=r"no such device|not|size|arena"):
        open_device(uri)


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    device = HttpDevice(f"http://127.0.0.1:{port}")
    with pytest.raises(DeviceLostError, match="does not answer") as error:
        device.info()
    assert "undercroft board up" in error.value.hint


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort",
    ],
)
def test_no_http_server(answer: bytes | None) -> None:
    with server(answer, answer) as url, pytest.raises(DeviceLostError):
        HttpDevice(url).info()


@pytest.mark.parametrize(
    "body", [b"<html>", b"[]", b"7", b"{}", b'{"device": {}}', b'{"device": 7}']
)
def test_no_agent(body: bytes) -> None:
    with (
        server(reply(body)) as url,
        pytest.raises(DeviceError, match=r"JSON|does not say"),
    ):
        HttpDevice(url).info()


def test_an_endless_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_module, "MAX_CONTROL_BYTES", 1000)
    with (
        server(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(5000)) as url,
        pytest.raises(DeviceError, match="more than"),
    ):
        HttpDevice(url)._connection.ask("GET", "/", max_bytes=1000)


def test_a_connection_that_the_agent_closed_meanwhile_is_opened_again() -> None:
    with server(reply(b"{}"), reply(b'{"x": 1}')) as url:
        connection = HttpDevice(url)._connection
        assert connection.json("GET", "/") == {}
        # The server has hung up after its answer, without a word.
        assert connection.json("GET", "/") == {"x": 1}


def test_timeout_is_a_lost_device() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        device = HttpDevice(url, timeout_seconds=0.2)
        with pytest.raises(DeviceLostError, match="timed out"):
            device.info()
    finally:
        listener.close()


def test_the_port_is_8080_when_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, int]] = []

    def refuse(address: tuple[str, int], *_: object) -> None:
        seen.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", refuse)
    device = HttpDevice("http://example.test")
    device._connection._connection._create_connection = refuse  # type: ignore[attr-defined]
    with pytest.raises(DeviceLostError):
        device.info()
    assert seen == [("example.test", 8080)]
