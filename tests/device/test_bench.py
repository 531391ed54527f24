# SPDX-License-Identifier: Apache-2.0
"""The promised figures, by the board's instruction clock."""

from __future__ import annotations

import pytest

from undercroft import _board
from undercroft._bench.report import (
    TARGET_PLAIN_TO_ONNXRUNTIME,
    TARGET_SECURE_TO_PLAIN,
    Row,
)
from undercroft._bench.run import known_subject, measure

pytestmark = [pytest.mark.board, pytest.mark.models, pytest.mark.timeout(1500)]

BOARD = "test-bench"
BUDGET_BYTES = 12 << 20


@pytest.fixture(scope="module")
def row() -> Row:
    try:
        report = measure(
            [known_subject("efficientnet-lite0")], [BUDGET_BYTES], board=BOARD
        )
    finally:
        _board.down(BOARD, wipe=True)
    assert report.environment["optee"] == "4.5"
    (row,) = report.rows
    return row


def test_steady_inferences_repeat(row):
    assert row.spread_instructions <= row.secure_steady_instructions // 500


def test_the_budget_holds(row):
    assert 0 < row.secure_peak_bytes <= BUDGET_BYTES
    assert row.weights_bytes > BUDGET_BYTES
    assert row.decrypted_bytes >= row.weights_bytes - BUDGET_BYTES


def test_the_split_adds_up(row):
    parts = (
        row.decrypting_instructions,
        row.computing_instructions,
        row.moving_instructions,
        row.switching_instructions,
    )
    assert all(part > 0 for part in parts)
    assert sum(parts) == row.secure_steady_instructions
    # The same kernels on the same numbers, in either world.
    assert row.computing_instructions == pytest.approx(row.plain_instructions, rel=0.03)


def test_protection_costs_what_was_promised(row):
    assert row.secure_to_plain <= TARGET_SECURE_TO_PLAIN
    assert row.plain_to_onnxruntime <= TARGET_PLAIN_TO_ONNXRUNTIME


def test_the_answer_is_right(row):
    assert row.max_rel_error <= 1e-4
