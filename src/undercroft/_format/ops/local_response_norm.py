# SPDX-License-Identifier: Apache-2.0
"""LOCAL_RESPONSE_NORM: over neighbouring channels."""

from __future__ import annotations

import math
from typing import Final

from undercroft import _spec
from undercroft._format.ops._base import (
    Expect,
    OpType,
    Shapes,
    Views,
    align,
    same_shape,
)
from undercroft._spec import Op


def _check(s: Shapes, expect: Expect) -> None:
    same_shape(s, expect)
    height, width = s.op.kernel
    expect(
        height == 1 and 1 <= width <= _spec.MAX_KERNEL_SIZE,
        f"a kernel of {s.op.kernel}",
    )
    expect(
        math.isfinite(s.op.alpha) and s.op.alpha >= 0 and math.isfinite(s.op.beta),
        f"alpha {s.op.alpha} and beta {s.op.beta}",
    )


OP_TYPES: Final = (
    OpType(
        code=Op.LOCAL_RESPONSE_NORM,
        elementwise=True,
        input_views=Views.EVEN,
        output_views=Views.EVEN,
        check=_check,
        scratch=lambda s: align(4 * (s.input[3] + s.op.kernel[1]) + 64),
        instructions=lambda s: (9.0 + s.op.kernel[1]) * s.elements,
    ),
)
