# SPDX-License-Identifier: Apache-2.0
"""Runs commands on the board over a console of their own.

Every command travels as base64 and its output comes back between two lines
that bear a fresh random word, so neither its echo nor its output can be taken
for the frame.
"""

from __future__ import annotations

import base64
import re
import secrets
import shlex
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from undercroft._board.failures import GuestCommandError
from undercroft._board.qemu import CONTROL_SOCKET
from undercroft._board.sockets import connect
from undercroft._host import last_lines

# A terminal line of Linux holds 4095 bytes.
_CHUNK_CHARACTERS = 1024
_LIMIT_BYTES = 64 * 1024 * 1024


def frame(command: str, word: str) -> list[str]:
    """Return the shell lines that run a command between two marks.

    Args:
        command: Any text for ``sh``, of several lines if need be.
        word: A random word.
    """
    encoded = base64.b64encode(command.encode()).decode()
    pieces = [
        encoded[start : start + _CHUNK_CHARACTERS]
        for start in range(0, len(encoded), _CHUNK_CHARACTERS)
    ]
    return [
        "uc=",
        *(f"uc=${{uc}}{piece}" for piece in pieces),
        # The mark is put together on the board, so that an echo is no mark.
        f"printf '\\n%s%s\\n' begin- {word}; "
        'sh -c "$(echo $uc | base64 -d)" </dev/null 2>&1; '
        f"printf '\\n%s%s:%d\\n' end- {word} $?",
    ]


def parse(received: bytes, word: str) -> tuple[int, str] | None:
    """Return a framed command's exit code and output, or None when incomplete."""
    pattern = rb"(?s)\nbegin-%b\r?\n(.*)\r?\nend-%b:(\d+)\r?\n"
    match = re.search(pattern % (word.encode(), word.encode()), received)
    if match is None:
        return None
    return int(match[2]), match[1].decode("utf-8", "replace")


def run(
    folder: Path,
    command: str | Sequence[str],
    *,
    timeout_seconds: float,
    is_alive: Callable[[], bool],
) -> tuple[int, str]:
    """Run a command as root on the board in ``folder``.

    Args:
        folder: The board's folder.
        command: Shell text, or a list of words.
        timeout_seconds: Deadline for the whole exchange.
        is_alive: Tells whether the board's process runs.

    Returns:
        The exit code, and stdout with stderr in the order printed.

    Raises:
        GuestCommandError: No answer in time, or the board went away.
    """
    text = command if isinstance(command, str) else shlex.join(command)
    word = secrets.token_hex(12)
    deadline = time.monotonic() + timeout_seconds
    received = bytearray()
    try:
        with connect(folder, CONTROL_SOCKET) as connection:
            connection.settimeout(max(timeout_seconds, 0.1))
            for line in frame(text, word):
                connection.sendall(line.encode() + b"\n")
            while True:
                result = _receive(connection, received, word, deadline)
                if result is not None:
                    return result
                if not is_alive():
                    raise GuestCommandError(
                        f"the board went away while running: {text[:200]}",
                        hint="see how it ended with: undercroft board log",
                    )
                if time.monotonic() > deadline:
                    tail = last_lines(received.decode("utf-8", "replace"), 10)
                    raise GuestCommandError(
                        f"no end of this command after {timeout_seconds:.0f} s: "
                        f"{text[:200]}\n{tail}",
                        hint="allow more time, or restart the board",
                    )
    except OSError as error:
        raise GuestCommandError(
            f"the board's command console: {error}",
            hint="is the board up? ask with: undercroft board status",
        ) from error


def _receive(
    connection: socket.socket, received: bytearray, word: str, deadline: float
) -> tuple[int, str] | None:
    """Read what there is for up to a second; return the result when complete."""
    remaining = deadline - time.monotonic()
    connection.settimeout(min(max(remaining, 0.01), 1.0))
    try:
        data = connection.recv(1 << 20)
    except TimeoutError:
        return None
    if not data:
        raise ConnectionResetError("closed by QEMU")
    received += data
    if len(received) > _LIMIT_BYTES:
        raise GuestCommandError(
            f"a command on the board printed more than {_LIMIT_BYTES} bytes"
        )
    if b"end-" + word.encode() not in received[-len(data) - 4096 :]:
        return None
    return parse(bytes(received), word)
