# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess

import pytest

from undercroft._board import control

WORD = "0123abcd"


def shell(command: str) -> bytes:
    """What a shell prints that is given the framed command."""
    script = "\n".join(control.frame(command, WORD)) + "\n"
    return subprocess.run(
        ["sh"], input=script.encode(), capture_output=True, check=True
    ).stdout


@pytest.mark.parametrize(
    ("command", "code", "output"),
    [
        pytest.param("true", 0, "", id="silent"),
        pytest.param("echo one; echo two >&2", 0, "one\ntwo\n", id="both streams"),
        pytest.param("exit 3", 3, "", id="exit code"),
        pytest.param("printf 'no newline'", 0, "no newline", id="no newline"),
        pytest.param("echo 'it'\"'\"'s \"$HOME\" `x`' #", 0, None, id="quotes"),
        pytest.param("cat", 0, "", id="reads nothing from our script"),
        pytest.param("for i in 1 2\ndo echo $i\ndone", 0, "1\n2\n", id="lines"),
        pytest.param(f"echo end-{WORD}x", 0, f"end-{WORD}x\n", id="near mark"),
        pytest.param(": " + "x" * 20000, 0, "", id="long command"),
    ],
)
def test_frame_gives_back_code_and_output(
    command: str, code: int, output: str | None
) -> None:
    result = control.parse(shell(command), WORD)
    assert result is not None
    assert result[0] == code
    if output is not None:
        assert result[1] == output


def test_frame_fits_a_terminal_line() -> None:
    for line in control.frame("x" * 100_000, WORD):
        assert len(line) < 4095


def test_echoed_command_is_not_taken_for_its_answer() -> None:
    echo = "\n".join(control.frame("true", WORD)).encode() + b"\n"
    assert control.parse(echo, WORD) is None


def test_answer_of_another_command_is_not_taken() -> None:
    assert control.parse(shell("true"), "ffff") is None


def test_incomplete_answer_is_none() -> None:
    whole = shell("echo hello")
    for end in range(len(whole) - 1):
        assert control.parse(whole[:end], WORD) is None
    assert control.parse(whole, WORD) == (0, "hello\n")
