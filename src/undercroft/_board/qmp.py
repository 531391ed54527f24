# SPDX-License-Identifier: Apache-2.0
"""QEMU's control protocol (QMP): one JSON object a line over a Unix socket."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from undercroft._board.sockets import connect
from undercroft.errors import HarnessError


class QmpClosedError(HarnessError):
    """QEMU closed the control connection."""


class Qmp:
    """A control connection, past its greeting.

    Use as a context manager.

    Args:
        connection: A connected stream socket.
        timeout_seconds: Deadline of each exchange.

    Raises:
        QmpClosedError: QEMU ended instead of greeting.
        HarnessError: The greeting is not QMP's.
    """

    def __init__(
        self, connection: socket.socket, *, timeout_seconds: float = 10.0
    ) -> None:
        self._socket = connection
        self._buffer = b""
        self._timeout_seconds = timeout_seconds
        greeting = self._receive(self._deadline())
        if "QMP" not in greeting:
            raise HarnessError(f"QEMU's control socket said {greeting!r}")
        self.command("qmp_capabilities")

    @classmethod
    def open(cls, folder: Path, name: str, *, timeout_seconds: float = 10.0) -> Qmp:
        """Connect to the control socket of a running board.

        Raises:
            QmpClosedError: Nobody listens there.
        """
        try:
            connection = connect(folder, name)
        except OSError as error:
            raise QmpClosedError(
                f"QEMU's control socket does not answer: {error}"
            ) from error
        return cls(connection, timeout_seconds=timeout_seconds)

    def __enter__(self) -> Qmp:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._socket.close()

    def command(self, name: str, arguments: Mapping[str, Any] | None = None) -> object:
        """Run one command and return what it returns.

        Raises:
            QmpClosedError: QEMU ended.
            HarnessError: QEMU refused the command, or did not answer in time.
        """
        message: dict[str, Any] = {"execute": name}
        if arguments:
            message["arguments"] = dict(arguments)
        deadline = self._deadline()
        try:
            self._socket.settimeout(self._timeout_seconds)
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            raise QmpClosedError(f"QEMU's control connection: {error}") from error
        while True:
            answer = self._receive(deadline)
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                words = answer["error"].get("desc", answer["error"])
                raise HarnessError(f"QEMU refused '{name}': {words}")
            # Anything else is an event, which nobody here waits for.

    def _deadline(self) -> float:
        return time.monotonic() + self._timeout_seconds

    def _receive(self, deadline: float) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise HarnessError("QEMU's control socket did not answer in time")
            self._socket.settimeout(remaining)
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                continue
            except OSError as error:
                raise QmpClosedError(f"QEMU's control connection: {error}") from error
            if not data:
                raise QmpClosedError("QEMU closed its control connection")
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        try:
            answer = json.loads(line)
        except ValueError as error:
            raise HarnessError(f"QEMU's control socket said {line!r}") from error
        if not isinstance(answer, dict):
            raise HarnessError(f"QEMU's control socket said {line!r}")
        return answer
