# SPDX-License-Identifier: Apache-2.0
"""`ensure_up`, `down`, `status`: when a board is kept and when restarted."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from undercroft import _board
from undercroft._board import lifecycle, state
from undercroft._board.images import Images
from undercroft.errors import HarnessError

Play = Callable[[str], None]


@pytest.fixture
def built(images: Images, monkeypatch: pytest.MonkeyPatch) -> list[Images]:
    """Stands in for the cache: the last element is what is built now."""
    now = [images]
    monkeypatch.setattr(_board, "build_images", lambda **_options: now[-1])
    return now


def changed(images: Images) -> Images:
    path = images.payload.parents[1] / "payload-2" / "payload.ext4"
    path.parent.mkdir(exist_ok=True)
    path.touch()
    return dataclasses.replace(images, payload=path)


def test_running_board_is_kept(fake_qemu: Play, built: list[Images]) -> None:
    fake_qemu("up")
    first = _board.ensure_up("one")
    assert _board.ensure_up("one") == first
    assert _board.ensure_up("one", clock="real", port=first.port) == first


def test_changed_programs_restart_it(fake_qemu: Play, built: list[Images]) -> None:
    fake_qemu("up")
    first = _board.ensure_up("one")
    built.append(changed(built[0]))
    told: list[str] = []
    second = _board.ensure_up("one", progress=told.append)
    assert second.pid != first.pid
    assert not first.process.is_alive()
    assert any("restarting" in message for message in told)


def test_other_clock_restarts_it_and_then_stays(
    fake_qemu: Play, built: list[Images]
) -> None:
    fake_qemu("up")
    first = _board.ensure_up("one")
    second = _board.ensure_up("one", clock="instructions")
    assert (first.clock, second.clock) == ("real", "instructions")
    assert _board.ensure_up("one") == second


def test_unknown_clock_is_refused(cache: Path) -> None:
    with pytest.raises(HarnessError, match="real, instructions"):
        _board.ensure_up("one", clock="sundial")


def test_dead_board_is_started_again(fake_qemu: Play, built: list[Images]) -> None:
    fake_qemu("up")
    first = _board.ensure_up("one")
    first.process.kill()
    assert first.process.wait(5)
    assert _board.status("one").state == "down"
    assert _board.ensure_up("one").pid != first.pid


def test_half_started_board_is_ended_and_started_again(
    fake_qemu: Play, built: list[Images]
) -> None:
    fake_qemu("up")
    first = _board.ensure_up("one")
    state.write_state(dataclasses.replace(first, ready=False))
    assert _board.status("one").state == "starting"
    assert _board.running("one") is None
    second = _board.ensure_up("one")
    assert not first.process.is_alive()
    assert second.ready


def test_first_failure_is_raised_again_until_something_changes(
    fake_qemu: Play, built: list[Images]
) -> None:
    fake_qemu("die-early")
    with pytest.raises(HarnessError) as first:
        _board.ensure_up("one")
    fake_qemu("panic")
    with pytest.raises(HarnessError) as second:
        _board.ensure_up("one")
    assert second.value is first.value
    _board.down("one")
    fake_qemu("up")
    assert _board.ensure_up("one").ready


def test_changed_images_get_a_new_chance(fake_qemu: Play, built: list[Images]) -> None:
    fake_qemu("die-early")
    with pytest.raises(HarnessError):
        _board.ensure_up("one")
    built.append(changed(built[0]))
    fake_qemu("up")
    assert _board.ensure_up("one").ready


def test_down_says_whether_it_was_up(fake_qemu: Play, built: list[Images]) -> None:
    fake_qemu("up")
    info = _board.ensure_up("one")
    assert _board.down("one")
    assert not _board.down("one")
    assert info.state_image.exists()
    assert _board.log_path("one").read_text()


def test_wipe_deletes_the_folder(fake_qemu: Play, built: list[Images]) -> None:
    fake_qemu("up")
    info = _board.ensure_up("one")
    assert _board.down("one", wipe=True)
    assert not info.folder.exists()
    assert _board.names() == []


def test_status_of_a_board_that_is_up(fake_qemu: Play, built: list[Images]) -> None:
    fake_qemu("up")
    info = _board.ensure_up("one")
    status = _board.status("one")
    assert (status.state, status.answers, status.info) == ("up", True, info)
    assert status.record()["pid"] == info.pid


def test_command_for_a_board_that_is_down_says_how_to_start_it(cache: Path) -> None:
    with pytest.raises(_board.BoardNotRunningError) as caught:
        _board.run_command("two", "true")
    assert "board up --name two" in caught.value.hint


def test_unknown_log_is_refused(cache: Path) -> None:
    with pytest.raises(HarnessError, match="console, secure, agent, qemu"):
        _board.log_path("one", "ship")


def test_nothing_is_inherited_by_qemu(fake_qemu: Play, built: list[Images]) -> None:
    fake_qemu("up")
    with Path(__file__).open() as stream:
        os.set_inheritable(stream.fileno(), True)
        info = _board.ensure_up("one")
        links = set()
        for link in Path(f"/proc/{info.pid}/fd").iterdir():
            # The process opens and closes files while we look.
            with suppress(FileNotFoundError):
                links.add(str(link.readlink()))
    assert str(Path(__file__)) not in links


def test_large_board_has_memory_and_disk(fake_qemu: Play, built: list[Images]) -> None:
    fake_qemu("up")
    usual = _board.ensure_up("one")
    assert not usual.large
    assert usual.state_image.stat().st_size == lifecycle.STATE_BYTES
    large = _board.ensure_up("one", large=True)
    assert large.pid != usual.pid
    assert large.large
    assert large.state_image.stat().st_size == lifecycle.LARGE_STATE_BYTES
    assert _board.ensure_up("one") == large
    small = _board.ensure_up("one", large=False)
    assert not small.large
    assert small.state_image.stat().st_size == lifecycle.LARGE_STATE_BYTES
