# SPDX-License-Identifier: Apache-2.0
"""CLAMP: bounds; between other dimensions a reshape."""

from __future__ import annotations

import math
from typing import Final

from undercroft._format.ops._base import (
    Expect,
    OpType,
    Shapes,
    Views,
)
from undercroft._spec import Op


def _check(s: Shapes, expect: Expect) -> None:
    expect(
        math.prod(s.input) == math.prod(s.out),
        f"output {s.out} of another size than {s.a}",
    )
    expect(s.a == s.out or not s.has_gaps, "a reshape of a view with gaps")


OP_TYPES: Final = (
    OpType(
        code=Op.CLAMP,
        elementwise=True,
        input_views=Views.ANY,
        output_views=Views.ANY,
        check=_check,
    ),
)
