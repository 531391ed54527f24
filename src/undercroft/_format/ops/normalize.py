# SPDX-License-Identifier: Apache-2.0
"""NORMALIZE: rows, or the channels of an image, to mean 0 and variance 1."""

from __future__ import annotations

import math
from typing import Final

from undercroft import _spec
from undercroft._format.ops._base import (
    PANEL_ROW_BYTES,
    Expect,
    OpType,
    Shapes,
    Views,
    same_shape,
)
from undercroft._spec import NormalizeFunction, Op


def _check(s: Shapes, expect: Expect) -> None:
    same_shape(s, expect)
    expect(math.isfinite(s.op.alpha) and s.op.alpha >= 0, f"alpha {s.op.alpha}")


def _panels(s: Shapes) -> tuple[int, int]:
    return 2 * PANEL_ROW_BYTES * -(-s.input[3] // _spec.PANEL_CHANNELS), 1


OP_TYPES: Final = (
    OpType(
        code=Op.NORMALIZE,
        functions=frozenset(NormalizeFunction),
        elementwise=True,
        input_views=Views.EVEN,
        output_views=Views.EVEN,
        check=_check,
        panels=_panels,
        instructions=lambda s: 5.3 * s.elements,
    ),
)
