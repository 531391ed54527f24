# SPDX-License-Identifier: Apache-2.0
"""FULLY_CONNECTED: rows times a matrix of weights."""

from __future__ import annotations

from typing import Final

from undercroft import _spec
from undercroft._format.ops._base import (
    PANEL_ROW_BYTES,
    Expect,
    OpType,
    Shapes,
    Views,
)
from undercroft._spec import Op

# Of one row, which reads every weight for one multiplication: counted in user-mode
# emulation (benchmarks/results/operators-arm64.json), 2.9 to 3.0; of many rows 3.4.
_MACS_PER_INSTRUCTION: Final = 2.95


def _check(s: Shapes, expect: Expect) -> None:
    rows, needed = s.out[:3], s.input[:3]
    expect(rows == needed, f"output rows {rows} where {needed} are needed")


def _panels(s: Shapes) -> tuple[int, int]:
    size = PANEL_ROW_BYTES * (1 + s.input[3])
    return size, -(-s.out[3] // _spec.PANEL_CHANNELS)


def _macs(s: Shapes) -> int:
    return s.elements * s.input[3]


OP_TYPES: Final = (
    OpType(
        code=Op.FULLY_CONNECTED,
        input_views=Views.EVEN,
        output_views=Views.EVEN,
        int8_weights=True,
        check=_check,
        panels=_panels,
        macs=_macs,
        instructions=lambda s: _macs(s) / _MACS_PER_INSTRUCTION,
    ),
)
