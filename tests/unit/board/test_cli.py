# SPDX-License-Identifier: Apache-2.0
"""`undercroft board`, with fakes below the library."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from undercroft import _board
from undercroft._board.images import Images
from undercroft._cli.board import command

Play = Callable[[str], None]


def invoke(*words: str) -> Result:
    return CliRunner().invoke(command, list(words), catch_exceptions=False)


@pytest.fixture
def built(images: Images, monkeypatch: pytest.MonkeyPatch) -> Images:
    monkeypatch.setattr(_board, "build_images", lambda **_options: images)
    return images


@pytest.mark.parametrize("verb", ["build", "up", "down", "status", "shell", "log"])
def test_help_has_an_example(verb: str) -> None:
    result = invoke(verb, "--help")
    assert result.exit_code == 0
    assert "Example: undercroft board" in result.output


def test_every_verb_is_in_the_help() -> None:
    output = invoke("--help").output
    for verb in ("build", "up", "down", "status", "shell", "log"):
        assert verb in output


def test_up_status_shell_log_down(fake_qemu: Play, built: Images) -> None:
    fake_qemu("up")
    up = json.loads(invoke("up", "--name", "one", "--json").stdout)
    assert up["url"].startswith("http://127.0.0.1:")

    (row,) = json.loads(invoke("status", "--json").stdout)["boards"]
    assert (row["name"], row["state"], row["answers"]) == ("one", "up", True)
    assert up["url"] in invoke("status").stdout

    shell = invoke("shell", "--name", "one", "-c", "echo hi; exit 4", "--json")
    assert shell.exit_code == 4
    assert json.loads(shell.stdout) == {"exit_code": 4, "output": "hi\n"}

    log = invoke("log", "--name", "one", "-n", "1")
    assert "agent-starting" in log.output

    down = json.loads(invoke("down", "--all", "--json").stdout)
    assert down == {"stopped": ["one"], "wiped": []}
    assert "no board was up" in invoke("down", "--name", "one").stdout


def test_up_says_where(fake_qemu: Play, built: Images) -> None:
    fake_qemu("up")
    result = invoke("up", "--name", "one")
    assert "board 'one' is up: http://127.0.0.1:" in result.stdout
    assert "the agent is starting" in result.stderr


def test_build_prints_what_went_in(cache: object, built: Images) -> None:
    report = json.loads(invoke("build", "--json").stdout)
    assert report["key"] == built.key
    assert len(report["images"]) == 5


def test_shell_on_a_terminal_until_ctrl_bracket(fake_qemu: Play, built: Images) -> None:
    fake_qemu("up")
    _board.ensure_up("one")
    ours, theirs = os.openpty()
    words = [sys.executable, "-m", "undercroft", "board", "shell", "--name", "one"]
    with subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs) as shell:
        os.close(theirs)
        seen = b""
        while b"board heard \n" not in seen:
            seen += os.read(ours, 4096)
        os.write(ours, b"ls\x03")
        while b"board heard ls\x03" not in seen:
            seen += os.read(ours, 4096)
        os.write(ours, b"\x1d")
        assert shell.wait(30) == 0
    os.close(ours)
    assert b"Ctrl-] leaves" in seen


def test_shell_without_terminal_asks_for_a_command(cache: object) -> None:
    result = invoke("shell")
    assert result.exit_code == 2
    assert "-c" in result.output


def test_log_of_a_board_never_started(cache: object) -> None:
    result = invoke("log", "--name", "never")
    assert result.exit_code == 1
    assert "not been started" in result.output


def test_unknown_clock_is_a_usage_error(cache: object) -> None:
    assert invoke("up", "--clock", "sundial").exit_code == 2
