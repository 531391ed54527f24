# SPDX-License-Identifier: Apache-2.0
"""A cache folder of its own and a fake QEMU for every test of the board."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from undercroft import _board
from undercroft._board import lifecycle
from undercroft._board.images import Images

FAKE_QEMU = Path(__file__).with_name("fake_qemu.py")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("UNDERCROFT_CACHE", str(folder))
    return folder


@pytest.fixture
def images(tmp_path: Path) -> Images:
    def part(folder: str, name: str) -> Path:
        path = tmp_path / "images" / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 100)
        return path

    return Images(
        flash=part("flash-1", "flash.bin"),
        kernel=part("kernel-1", "Image"),
        initramfs=part("kernel-1", "initramfs.cpio.gz"),
        root=part("root-1", "root.ext4"),
        payload=part("payload-1", "payload.ext4"),
    )


@pytest.fixture
def fake_qemu(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], None]]:
    """Put the fake on PATH; call the fixture to choose what it plays."""
    programs = tmp_path / "programs"
    programs.mkdir()
    program = programs / "qemu-system-aarch64"
    program.write_text(
        f"#!/bin/sh\nexec {shlex.quote(sys.executable)} "
        f'{shlex.quote(str(FAKE_QEMU))} "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    # A small state disk and short patience: nothing here takes long.
    monkeypatch.setattr(lifecycle, "STATE_BYTES", 8 * 2**20)
    monkeypatch.setattr(lifecycle, "_QUIT_SECONDS", 1.0)
    _board._failed.clear()

    def play(scenario: str) -> None:
        monkeypatch.setenv("FAKE_QEMU", scenario)

    yield play
    for name in _board.names():
        _board.down(name)
