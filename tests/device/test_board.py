# SPDX-License-Identifier: Apache-2.0
"""The real board: assembled, booted, looked at, broken on purpose."""

from __future__ import annotations

import dataclasses
import re
import shutil
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from undercroft import _board
from undercroft._board import lifecycle
from undercroft._board.images import Images, build_images
from undercroft._board.qemu import Clock
from undercroft._board.state import BoardInfo

pytestmark = [pytest.mark.board, pytest.mark.timeout(600)]

# An agent of a few lines, so that these tests ask about the board alone.
AGENT = """
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")


ThreadingHTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
"""
ONE, TWO = "test-board-one", "test-board-two"


@pytest.fixture(scope="module")
def extra(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    agent = tmp_path_factory.mktemp("agent") / "agent.py"
    agent.write_text(AGENT)
    return {"python/undercroft/_device/agent.py": agent}


@pytest.fixture(scope="module")
def images(extra: dict[str, Path]) -> Images:
    return build_images(extra=extra)


@pytest.fixture(scope="module")
def board(extra: dict[str, Path]) -> Iterator[BoardInfo]:
    yield _board.ensure_up(ONE, extra=extra)
    _board.down(ONE, wipe=True)


@pytest.fixture
def start(extra: dict[str, Path]) -> Iterator[Callable[..., BoardInfo]]:
    """Start a second board from any images."""

    def run(images: Images, **options: object) -> BoardInfo:
        settings = {
            "clock": Clock.REAL,
            "host_port": 0,
            "extra": extra,
            "timeout_seconds": None,
            "progress": lambda _message: None,
        }
        return lifecycle.start(TWO, images, **(settings | options))  # type: ignore[arg-type]

    yield run
    _board.down(TWO, wipe=True)


def with_file(images: Images, part: str, path: Path) -> Images:
    return dataclasses.replace(images, **{part: path})


def test_assembling_again_is_a_cache_hit(extra: dict[str, Path]) -> None:
    first = build_images(extra=extra)
    told: list[str] = []
    before = time.monotonic()
    assert build_images(extra=extra, progress=told.append) == first
    assert time.monotonic() - before < 5
    assert told == []


def test_manifests_record_versions(images: Images) -> None:
    parts = images.manifests()
    packages = {
        record["package"]: record
        for part in parts.values()
        for record in part.get("packages", [])
    }
    for name in ("optee-os", "tee-supplicant", "libteec2", "python3-onnxruntime"):
        assert packages[name]["version"]
        assert len(packages[name]["sha256"]) == 64


def test_secure_world_is_there(board: BoardInfo) -> None:
    code, output = _board.run_command(ONE, "ls -l /dev/tee0 /dev/teepriv0")
    assert code == 0, output
    code, output = _board.run_command(ONE, "pidof tee-supplicant")
    assert code == 0, output


def test_both_worlds_write_their_logs(board: BoardInfo) -> None:
    assert "Booting Linux" in board.console_log.read_text()
    assert "OP-TEE version" in board.secure_log.read_text()


def test_agent_answers_on_loopback(board: BoardInfo) -> None:
    with urllib.request.urlopen(board.url, timeout=20) as answer:
        assert answer.read() == b"hello"


def test_python_finds_its_modules(board: BoardInfo) -> None:
    modules = "numpy, cbor2, starlette, uvicorn, onnxruntime, undercroft._spec"
    code, output = _board.run_command(ONE, ["python3", "-c", f"import {modules}"], 300)
    assert code == 0, output


def test_modules_come_as_byte_code(board: BoardInfo) -> None:
    code, output = _board.run_command(
        ONE, "python3 -v -c 'import json, undercroft._spec' 2>&1", 120
    )
    assert code == 0, output
    assert re.search(r"code object from '[^']*\.pyc'", output)
    assert not re.search(r"code object from '[^']*\.py'", output)


def test_system_disks_are_read_only_and_var_is_not(board: BoardInfo) -> None:
    for path in ("/usr/x", "/opt/undercroft/x"):
        code, output = _board.run_command(ONE, ["touch", path])
        assert code != 0
        assert "Read-only" in output
    assert _board.run_command(ONE, "touch /var/x /tmp/x && rm /var/x /tmp/x")[0] == 0


def test_time_of_day_is_the_hosts(board: BoardInfo) -> None:
    _, output = _board.run_command(ONE, "date +%s")
    assert abs(int(output) - time.time()) < 60


def test_large_output_arrives_whole(board: BoardInfo) -> None:
    code, output = _board.run_command(ONE, "seq 1 5000", 120)
    assert code == 0
    assert [int(line) for line in output.split()] == list(range(1, 5001))


def test_memory_of_the_normal_world_is_seen_from_outside(board: BoardInfo) -> None:
    # Put together on the board, so that the text is in no command line; /tmp is
    # memory there.
    needle = b"undercroft-needle-0451"
    assert (
        _board.run_command(ONE, "printf %s-%s undercroft needle-0451 >/tmp/n")[0] == 0
    )
    tail, found = b"", False
    with board.ram_path.open("rb") as ram:
        while not found and (block := ram.read(1 << 24)):
            found = needle in tail + block
            tail = block[-len(needle) :]
    assert found


def test_second_board_beside_the_first_and_its_disk_after_a_restart(
    board: BoardInfo, images: Images, start: Callable[..., BoardInfo]
) -> None:
    second = start(images, clock=Clock.INSTRUCTIONS)
    assert second.port != board.port
    assert _board.status(ONE).answers
    assert _board.run_command(TWO, "nproc") == (0, "1\n")
    assert _board.run_command(TWO, "echo kept > /var/lib/kept")[0] == 0
    assert _board.down(TWO)
    assert not second.ram_path.exists()
    third = start(images)
    assert _board.run_command(TWO, "cat /var/lib/kept; nproc") == (0, "kept\n2\n")
    assert third.pid != second.pid
    assert board.process.is_alive()


def test_missing_flash_is_reported_in_qemus_words(
    images: Images, start: Callable[..., BoardInfo], tmp_path: Path
) -> None:
    with pytest.raises(_board.BoardDiedError, match=r"none\.bin"):
        start(with_file(images, "flash", tmp_path / "none.bin"))


def test_flash_without_firmware_runs_into_the_deadline(
    images: Images, start: Callable[..., BoardInfo], tmp_path: Path
) -> None:
    flash = tmp_path / "flash.bin"
    with flash.open("wb") as stream:
        stream.truncate(images.flash.stat().st_size)
    with pytest.raises(_board.BootTimeoutError, match="firmware and OP-TEE"):
        start(with_file(images, "flash", flash), timeout_seconds=4.0)


def test_initramfs_that_is_none_is_a_kernel_panic(
    images: Images, start: Callable[..., BoardInfo], tmp_path: Path
) -> None:
    initramfs = tmp_path / "initramfs"
    initramfs.write_bytes(b"\xaa" * 4096)
    with pytest.raises(_board.KernelPanicError, match="not syncing"):
        start(with_file(images, "initramfs", initramfs))


def test_damaged_root_disk_is_named(
    images: Images, start: Callable[..., BoardInfo], tmp_path: Path
) -> None:
    root = tmp_path / "root.ext4"
    shutil.copyfile(images.root, root)
    with root.open("r+b") as stream:
        stream.write(bytes(65536))
    with pytest.raises(_board.HarnessError, match="root disk"):
        start(with_file(images, "root", root))
