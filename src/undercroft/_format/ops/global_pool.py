# SPDX-License-Identifier: Apache-2.0
"""GLOBAL_AVERAGE_POOL: the mean over h and w."""

from __future__ import annotations

import math
from typing import Final

from undercroft._format.ops._base import (
    Expect,
    OpType,
    Shapes,
    Views,
    align,
)
from undercroft._spec import Op


def _check(s: Shapes, expect: Expect) -> None:
    expect(s.out == (s.input[0], 1, 1, s.input[3]), f"output {s.out}")


OP_TYPES: Final = (
    OpType(
        code=Op.GLOBAL_AVERAGE_POOL,
        input_views=Views.ANY,
        output_views=Views.ANY,
        check=_check,
        scratch=lambda s: 2 * align(4 * s.input[3] + 64),
        instructions=lambda s: 1.5 * math.prod(s.input),
    ),
)
