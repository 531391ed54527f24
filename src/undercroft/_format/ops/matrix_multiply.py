# SPDX-License-Identifier: Apache-2.0
"""MATRIX_MULTIPLY: matrices of w and c, of two activations."""

from __future__ import annotations

from typing import Final

from undercroft import _spec
from undercroft._format.ops._base import (
    PANEL_ROW_BYTES,
    Expect,
    OpType,
    Shapes,
    align,
)
from undercroft._format.ops.convolution import MACS_PER_INSTRUCTION
from undercroft._spec import Op


def _check(s: Shapes, expect: Expect) -> None:
    a, b = s.input, s.b or s.input
    rows, columns = b[2:]
    if s.op.flags & _spec.OP_FLAG_TRANSPOSED:
        rows, columns = columns, rows
    expect(a[3] == rows, f"matrices of shapes {a} and {b}")
    expect(
        all(1 in (i, j) or i == j for i, j in zip(a[:2], b[:2], strict=True)),
        f"matrices of shapes {a} and {b}",
    )
    needed = (max(a[0], b[0]), max(a[1], b[1]), a[2], columns)
    expect(s.out == needed, f"output {s.out} where {needed} is needed")


def _macs(s: Shapes) -> int:
    return s.elements * s.input[3]


OP_TYPES: Final = (
    OpType(
        code=Op.MATRIX_MULTIPLY,
        inputs=2,
        flags=_spec.OP_FLAG_TRANSPOSED,
        check=_check,
        scratch=lambda s: align(PANEL_ROW_BYTES * (1 + s.input[3])),
        macs=_macs,
        # And the packing of b, for every matrix.
        instructions=lambda s: (
            _macs(s) / MACS_PER_INSTRUCTION
            + s.out[0] * s.out[1] * s.out[3] * s.input[3]
        ),
    ),
)
