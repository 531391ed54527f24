# SPDX-License-Identifier: Apache-2.0
"""The engine's C tests, under AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from helpers.vectors import VECTORS, load
from undercroft._build import build
from undercroft._spec import Status

SOURCES = sorted(Path(__file__).parent.glob("test_*.c"))

pytestmark = pytest.mark.engine


class Runs:
    """Each test is run once, whoever asks first; the codes it saw are kept."""

    def __init__(self, statuses: Path) -> None:
        self._folder = build("tests")
        self._statuses = statuses
        self._done: dict[str, subprocess.CompletedProcess[str]] = {}

    def of(self, name: str) -> subprocess.CompletedProcess[str]:
        if name not in self._done:
            self._done[name] = subprocess.run(
                [self._folder / name],
                capture_output=True,
                text=True,
                timeout=240,
                check=False,
                env={**os.environ, "HELP_STATUSES": str(self._statuses)},
            )
        return self._done[name]

    def answered(self) -> set[Status]:
        """Every status code that a command answered in any of them."""
        for source in SOURCES:
            self.of(source.stem)
        return {Status(int(line)) for line in self._statuses.read_text().split()}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("c") / "statuses")


def test_there_are_tests() -> None:
    assert len(SOURCES) >= 4


@pytest.mark.parametrize("name", [source.stem for source in SOURCES])
def test_c(runs: Runs, name: str) -> None:
    done = runs.of(name)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_status_code_is_answered_by_a_test(runs: Runs) -> None:
    """By a C test's command, or expected by a vector, which test_vectors.py runs."""
    vectors = {load(path).get("expect") for path in (VECTORS / "data").iterdir()}
    expected = {status for status in Status if status.name in vectors}
    assert set(Status) - runs.answered() - expected == set()
