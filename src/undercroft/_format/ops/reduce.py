# SPDX-License-Identifier: Apache-2.0
"""REDUCE: every channel over h and w."""

from __future__ import annotations

import math
from typing import Final

from undercroft._format.ops._base import Expect, OpType, Shapes
from undercroft._spec import Op, ReduceFunction


def _check(s: Shapes, expect: Expect) -> None:
    expect(s.out == (s.input[0], 1, 1, s.input[3]), f"output {s.out}")


OP_TYPES: Final = (
    OpType(
        code=Op.REDUCE,
        functions=frozenset(ReduceFunction),
        check=_check,
        instructions=lambda s: 0.9 * math.prod(s.input),
    ),
)
