# SPDX-License-Identifier: Apache-2.0
"""The engine with arm64's own kernels, in user-mode emulation.

The kernels are assembly that no sanitizer sees; the tests watch every byte of
the arena around each operator instead.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from undercroft._build import build
from undercroft._debian import packages_dir
from undercroft._host import require_tools

EMULATOR = "qemu-aarch64"


@pytest.fixture(scope="session")
def emulator() -> list[str]:
    """The command that runs an arm64 program with Debian's libraries."""
    require_tools([EMULATOR], purpose="run arm64 programs")
    root = packages_dir("arm64", ["libc6", "libssl3t64"], with_dependencies=True)
    libraries = root / "usr/lib/aarch64-linux-gnu"
    loader = root / "usr/lib/ld-linux-aarch64.so.1"
    command = [EMULATOR, "-cpu", "cortex-a76", loader, "--library-path", libraries]
    return [str(word) for word in command]


@pytest.fixture(scope="session")
def binaries() -> Path:
    return build("armtests")


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.mark.engine
@pytest.mark.parametrize("name", ["test_run", "test_states", "test_io"])
def test_c(emulator: list[str], binaries: Path, name: str) -> None:
    run([*emulator, str(binaries / name)])


@pytest.mark.engine
def test_accepted_programs_stay_in_their_memory(
    emulator: list[str], binaries: Path
) -> None:
    done = run([*emulator, str(binaries / "replay_program"), "--random", "3000", "9"])
    accepted = re.search(r"^deep: (\d+)", done.stderr, re.MULTILINE)
    assert accepted is not None
    assert int(accepted[1]) >= 200
