# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from undercroft._board import state
from undercroft._board.process import ProcessId
from undercroft._board.state import BoardInfo
from undercroft.errors import HarnessError


@pytest.fixture
def info(cache: Path) -> BoardInfo:
    me = ProcessId.of(os.getpid())
    assert me is not None
    folder = state.board_folder("one")
    folder.mkdir(parents=True)
    return BoardInfo(
        name="one",
        pid=me.pid,
        start_ticks=me.start_ticks,
        port=4711,
        clock="real",
        images_key="k",
        folder=folder,
        root_image=Path("/r"),
        payload_image=Path("/p"),
        extra={"lib/x": "/x"},
        ready=True,
        has_agent=True,
        boot_seconds=1.5,
    )


def test_round_trip(info: BoardInfo) -> None:
    state.write_state(info)
    assert state.read_state(info.folder) == info
    assert state.running("one") == info
    assert info.url == "http://127.0.0.1:4711"


def test_record_is_json(info: BoardInfo) -> None:
    record = json.loads(json.dumps(info.record()))
    assert record["url"] == info.url
    assert record["secure_log"] == str(info.secure_log)


def test_stale_process_number_is_not_a_running_board(info: BoardInfo) -> None:
    gone = subprocess.Popen(["true"])
    identity = ProcessId.of(gone.pid)
    gone.wait()
    assert identity is not None
    stale = dataclasses.replace(
        info, pid=identity.pid, start_ticks=identity.start_ticks
    )
    state.write_state(stale)
    assert state.running("one") is None


def test_number_taken_by_another_program_is_not_ours(info: BoardInfo) -> None:
    state.write_state(dataclasses.replace(info, start_ticks=info.start_ticks - 1))
    assert state.running("one") is None


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("{", id="cut off"),
        pytest.param("[]", id="not an object"),
        pytest.param('{"format": 1}', id="fields missing"),
        pytest.param('{"format": 0}', id="another version"),
    ],
)
def test_damaged_state_file_is_no_board(info: BoardInfo, text: str) -> None:
    (info.folder / state.STATE_NAME).write_text(text)
    assert state.read_state(info.folder) is None


def test_copied_folder_does_not_speak_for_the_board(info: BoardInfo) -> None:
    state.write_state(info)
    shutil.copytree(info.folder, info.folder.parent / "two")
    assert state.running("two") is None
    assert state.all_boards() == ["one", "two"]


@pytest.mark.parametrize("name", ["", "..", "a/b", "-x", ".x", "x" * 33, "a b"])
def test_name_that_is_no_folder_name_is_refused(cache: Path, name: str) -> None:
    with pytest.raises(HarnessError, match="name of a board"):
        state.board_folder(name)


def test_zombie_is_not_alive() -> None:
    child = subprocess.Popen(["true"])
    identity = ProcessId.of(child.pid)
    assert identity is not None
    assert identity.wait(5.0)
    assert not identity.is_alive()


def test_program_with_parentheses_in_its_name_is_read(tmp_path: Path) -> None:
    program = tmp_path / "a) S 1 (b"
    program.symlink_to(shutil.which("sleep") or "")
    with subprocess.Popen([program, "60"]) as child:
        identity = ProcessId.of(child.pid)
        assert identity is not None
        assert identity.is_alive()
        identity.kill()
        assert identity.wait(5.0)
