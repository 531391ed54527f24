# SPDX-License-Identifier: Apache-2.0
"""The engine's C tests, under AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from undercroft._build import build

SOURCES = sorted(Path(__file__).parent.glob("test_*.c"))


@pytest.fixture(scope="session")
def binaries() -> Path:
    return build("tests")


def test_there_are_tests() -> None:
    assert len(SOURCES) >= 4


@pytest.mark.engine
@pytest.mark.parametrize("name", [source.stem for source in SOURCES])
def test_c(binaries: Path, name: str) -> None:
    done = subprocess.run(
        [binaries / name], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
