# SPDX-License-Identifier: Apache-2.0
"""Starting and stopping, with a fake QEMU that opens the real sockets."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from undercroft import _board
from undercroft._board import lifecycle, state
from undercroft._board.failures import (
    AgentFailedError,
    BoardDiedError,
    BootTimeoutError,
    KernelPanicError,
    PortInUseError,
    SecureWorldMissingError,
)
from undercroft._board.images import Images
from undercroft._board.qemu import Clock
from undercroft._board.state import BoardInfo
from undercroft.errors import EnvironmentMissingError, HarnessError

Play = Callable[[str], None]


def start(
    images: Images, name: str = "one", port: int = 0, timeout: float = 20
) -> BoardInfo:
    return lifecycle.start(
        name,
        images,
        clock=Clock.REAL,
        host_port=port,
        extra={},
        timeout_seconds=timeout,
        progress=lambda _message: None,
    )


def test_board_comes_up_and_its_agent_answers(fake_qemu: Play, images: Images) -> None:
    fake_qemu("up")
    info = start(images)
    assert info.ready
    assert info.has_agent
    assert info.boot_seconds > 0
    assert state.running("one") == info
    assert lifecycle.answers(info.port)


def test_memory_is_read_from_outside(fake_qemu: Play, images: Images) -> None:
    fake_qemu("up")
    info = start(images)
    assert info.ram_path.read_bytes() == b"the machine's memory"
    lifecycle.stop(info)
    assert not info.ram_path.is_symlink()


def test_folder_is_private(fake_qemu: Play, images: Images) -> None:
    fake_qemu("up")
    folder = start(images).folder
    assert folder.stat().st_mode & 0o777 == 0o700
    assert folder.parent.stat().st_mode & 0o077 == 0


def test_board_without_agent_comes_up(fake_qemu: Play, images: Images) -> None:
    fake_qemu("no-agent")
    info = start(images)
    assert info.ready
    assert not info.has_agent


def test_two_boards_run_side_by_side(fake_qemu: Play, images: Images) -> None:
    fake_qemu("up")
    one, two = start(images, "one"), start(images, "two")
    assert one.port != two.port
    assert one.folder != two.folder
    assert one.process.is_alive()
    assert two.process.is_alive()


@pytest.mark.parametrize(
    ("scenario", "kind", "words"),
    [
        ("die-early", BoardDiedError, "could not load firmware 'flash.bin'"),
        ("die-booting", BoardDiedError, "terminating on a fault"),
        ("panic", KernelPanicError, "VFS: no root"),
        ("no-tee", SecureWorldMissingError, "no OP-TEE"),
        ("agent-ends", AgentFailedError, "no module named 'x'"),
    ],
)
def test_failure_is_named_and_leaves_nothing_running(
    fake_qemu: Play,
    images: Images,
    scenario: str,
    kind: type[HarnessError],
    words: str,
) -> None:
    fake_qemu(scenario)
    with pytest.raises(kind, match=words):
        start(images)
    assert state.running("one") is None
    folder = state.board_folder("one")
    assert not (folder / "ram").exists()
    assert not (folder / "qmp.sock").exists()


def test_death_while_booting_shows_the_console(fake_qemu: Play, images: Images) -> None:
    fake_qemu("die-booting")
    with pytest.raises(BoardDiedError, match="the last words of the console"):
        start(images)


def test_deadline_tells_how_far_it_came(fake_qemu: Play, images: Images) -> None:
    fake_qemu("hang")
    before = time.monotonic()
    with pytest.raises(BootTimeoutError, match="Linux is starting") as caught:
        start(images, timeout=1.0)
    assert time.monotonic() - before < 10
    assert "still thinking" in caught.value.message


def test_port_in_use_is_said_before_anything_starts(
    fake_qemu: Play, images: Images
) -> None:
    fake_qemu("up")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortInUseError, match=str(port)):
            start(images, port=port)
    assert not (state.board_folder("one") / "arguments.json").exists()


def test_wanted_port_is_used(fake_qemu: Play, images: Images) -> None:
    fake_qemu("up")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
    assert start(images, port=port).port == port


def test_stop_asks_before_it_kills(fake_qemu: Play, images: Images) -> None:
    fake_qemu("up")
    info = start(images)
    lifecycle.stop(info)
    assert not info.process.is_alive()
    assert (info.folder / "quit").exists()
    assert not (info.folder / "ram").exists()
    assert (info.folder / "console.log").read_text()
    assert (info.folder / "state.ext4").exists()


def test_stop_kills_what_ignores_the_question(fake_qemu: Play, images: Images) -> None:
    fake_qemu("stubborn")
    info = start(images)
    lifecycle.stop(info)
    assert not info.process.is_alive()
    assert not (info.folder / "quit").exists()


def test_stop_of_a_board_that_died_only_cleans_up(
    fake_qemu: Play, images: Images
) -> None:
    fake_qemu("up")
    info = start(images)
    info.process.kill()
    assert info.process.wait(5)
    lifecycle.stop(info)
    assert state.running("one") is None


def test_state_disk_survives_a_restart(fake_qemu: Play, images: Images) -> None:
    fake_qemu("up")
    info = start(images)
    disk = info.state_image
    with disk.open("r+b") as stream:
        stream.write(b"mark")
    lifecycle.stop(info)
    start(images)
    assert disk.read_bytes()[:4] == b"mark"


def test_interrupt_while_starting_ends_qemu(
    fake_qemu: Play, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_qemu("hang")
    seen: list[BoardInfo] = []

    def interrupted(info: BoardInfo, *_rest: object) -> None:
        seen.append(info)
        raise KeyboardInterrupt

    monkeypatch.setattr(lifecycle, "_watch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        start(images)
    assert not seen[0].process.is_alive()


def test_missing_qemu_names_the_package(
    cache: Path, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("undercroft._host.find_tool", lambda _name: None)
    with pytest.raises(EnvironmentMissingError) as caught:
        start(images)
    assert "qemu-system-arm" in caught.value.hint


def test_command_on_the_board(fake_qemu: Play, images: Images) -> None:
    fake_qemu("up")
    start(images)
    assert _board.run_command("one", "echo $((6 * 7)); exit 5", 10) == (5, "42\n")
    assert _board.run_command("one", ["echo", "a b", "$HOME"], 10) == (0, "a b $HOME\n")


def test_command_that_takes_too_long(fake_qemu: Play, images: Images) -> None:
    fake_qemu("up")
    start(images)
    with pytest.raises(_board.GuestCommandError, match="after 1 s") as caught:
        _board.run_command("one", "echo begun; sleep 3", 1)
    assert "begun" in caught.value.message


def test_board_that_dies_under_a_command(fake_qemu: Play, images: Images) -> None:
    fake_qemu("die-up")
    start(images)
    with pytest.raises(_board.GuestCommandError):
        _board.run_command("one", "sleep 20", 15)


def test_arguments_reach_qemu(fake_qemu: Play, images: Images) -> None:
    fake_qemu("up")
    info = start(images)
    argv = json.loads((info.folder / "arguments.json").read_text())
    assert str(images.flash) in argv
