# SPDX-License-Identifier: Apache-2.0
"""Each fuzzer for a few seconds, so that none of them rots; see `make fuzz`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from undercroft._build import ROOT

RUN = Path(__file__).with_name("run.py")
RECORD = ROOT / "benchmarks" / "results" / "fuzzing.json"


# What each reads: a challenge; header and license; a program; commands; invocations;
# an update.
FUZZERS = [
    *("fuzz_attest", "fuzz_open", "fuzz_program", "fuzz_service", "fuzz_ta"),
    "fuzz_update",
]


def test_every_fuzzer_is_run() -> None:
    assert sorted(path.stem for path in RUN.parent.glob("fuzz_*.c")) == FUZZERS


def test_the_recorded_long_run_found_nothing() -> None:
    recorded = json.loads(RECORD.read_text())
    assert sorted(recorded) == FUZZERS
    for name, outcome in recorded.items():
        assert outcome["messages"] >= 10_000_000, name
        assert outcome["findings"] == 0, name
        assert outcome["deep"] > 0, name


@pytest.mark.engine
@pytest.mark.parametrize("name", FUZZERS)
def test_fuzzer(name: str) -> None:
    done = subprocess.run(
        [sys.executable, RUN, "--seconds", "8", name],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
