# SPDX-License-Identifier: Apache-2.0
"""HARD_SIGMOID and HARD_SWISH."""

from __future__ import annotations

import math
from typing import Final

from undercroft._format.ops._base import (
    Expect,
    OpType,
    Shapes,
    Views,
    same_shape,
)
from undercroft._spec import Op


def _check(s: Shapes, expect: Expect) -> None:
    same_shape(s, expect)
    expect(
        math.isfinite(s.op.alpha) and math.isfinite(s.op.beta),
        f"alpha {s.op.alpha} and beta {s.op.beta}",
    )


OP_TYPES: Final = (
    OpType(
        code=Op.HARD_SIGMOID,
        elementwise=True,
        input_views=Views.ANY,
        output_views=Views.ANY,
        check=_check,
    ),
    OpType(
        code=Op.HARD_SWISH,
        elementwise=True,
        input_views=Views.ANY,
        output_views=Views.ANY,
    ),
)
