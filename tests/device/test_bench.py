# SPDX-License-Identifier: Apache-2.0
"""The bench measures on the board's instruction clock.

On a small network: what is shown is that the figures hang together. That the
promised ones hold is shown by the recorded results (`tests/unit/bench`).
"""

from __future__ import annotations

import pytest

from undercroft import _board
from undercroft._bench.report import Row
from undercroft._bench.run import measure
from undercroft._bench.subject import known_subject

pytestmark = [pytest.mark.board, pytest.mark.models, pytest.mark.timeout(1500)]

BOARD = "test-bench"
BUDGET_BYTES = 704 << 10


@pytest.fixture(scope="module")
def row() -> Row:
    try:
        report = measure([known_subject("ppocr-cls")], [BUDGET_BYTES], board=BOARD)
    finally:
        _board.down(BOARD, wipe=True)
    assert report.environment["optee"] == "4.5"
    (row,) = report.rows
    return row


def test_steady_inferences_repeat(row):
    assert row.spread_instructions <= row.secure_steady_instructions // 50


def test_the_budget_holds(row):
    assert 0 < row.secure_peak_bytes <= BUDGET_BYTES
    assert row.decrypted_bytes > 0


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
    assert row.computing_instructions < row.plain_instructions
    assert row.plain_instructions < row.secure_steady_instructions
