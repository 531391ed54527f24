# SPDX-License-Identifier: Apache-2.0
"""The documents about trust name files that are there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("docs", "engine", "spec", "src", "ta", "tests", "tools", "vectors")


def named_files(document: Path) -> set[str]:
    """Every `folder/name` of this repository that stands between backticks."""
    quoted = re.findall(r"`([\w./-]+)`", document.read_text())
    return {name for name in quoted if name.partition("/")[0] in FOLDERS}


@pytest.mark.parametrize("name", ["security-model", "porting", "provisioning"])
def test_the_files_that_are_named_exist(name):
    named = named_files(ROOT / "docs" / f"{name}.md")
    assert named
    assert {path for path in named if not (ROOT / path).exists()} == set()


def test_every_invariant_is_shown_by_something_that_runs():
    text = (ROOT / "docs" / "security-model.md").read_text()
    promised = text[text.index("## What holds") : text.index("| | shown by |")]
    numbers = re.findall(r"^(\d+)\. ", promised, re.MULTILINE)
    shown = dict(re.findall(r"^\| (\d+) \| (.*) \|$", text, re.MULTILINE))
    assert list(shown) == numbers
    for tests in shown.values():
        assert re.search(r"`(tests|vectors)/", tests)


def test_what_a_license_costs_is_within_its_limits_and_said():
    recorded = json.loads((ROOT / "benchmarks/results/license.json").read_text())
    most = max(row["open_instructions_most"] for row in recorded["rows"].values())
    assert most <= recorded["open_limit_instructions"] == 40_000_000
    share = recorded["check_share"]
    assert 0 < share <= recorded["check_share_limit"] == 0.01
    text = (ROOT / "docs" / "benchmarks.md").read_text()
    said = text[text.index("## What a license costs") : text.index("## Results")]
    assert f"the most {most / 1e6:.1f}" in said
    assert f"{100 * share:.2f} %" in said


def test_what_private_inputs_and_outputs_cost_is_said():
    recorded = json.loads((ROOT / "benchmarks/results/private_io.json").read_text())
    text = (ROOT / "docs" / "benchmarks.md").read_text()
    said = text[text.index("## What private inputs") : text.index("## Results")]
    assert len(recorded["rows"]) == 2
    for row in recorded["rows"]:
        plain, private = row["plain_instructions"], row["private_instructions"]
        pages = row["private_decrypt_instructions"] - row["plain_decrypt_instructions"]
        cells = (plain, private, private - plain, pages)
        shown = " | ".join(f"{value / 1e6:.1f}" for value in cells)
        assert f"| {row['suite']} | {shown} |" in said
        assert row["plain_world_switches"] == row["private_world_switches"] == 7


def test_how_much_of_the_secure_code_the_tests_run_is_said():
    recorded = json.loads((ROOT / "benchmarks/results/coverage.json").read_text())
    text = (ROOT / "docs" / "security-model.md").read_text()
    for part in (recorded["engine"], recorded["ta"]):
        assert part["percent"] >= 95
        assert f"{part['percent']:.1f} % of {part['lines']} lines" in text
    assert all(recorded["not_measured"].values())
