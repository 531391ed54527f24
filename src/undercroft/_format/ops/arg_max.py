# SPDX-License-Identifier: Apache-2.0
"""ARG_MAX over c."""

from __future__ import annotations

import math
from typing import Final

from undercroft._format.ops._base import Expect, OpType, Shapes, Views
from undercroft._spec import Op


def _check(s: Shapes, expect: Expect) -> None:
    needed = (*s.input[:3], 1)
    expect(s.out == needed, f"output {s.out} where {needed} is needed")


OP_TYPES: Final = (
    OpType(
        code=Op.ARG_MAX,
        input_views=Views.EVEN,
        output_views=Views.EVEN,
        check=_check,
        instructions=lambda s: 1.5 * math.prod(s.input),
    ),
)
