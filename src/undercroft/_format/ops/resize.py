# SPDX-License-Identifier: Apache-2.0
"""RESIZE_LINEAR: between two rows and two columns that tables name."""

from __future__ import annotations

from typing import Final

from undercroft._format.ops._base import (
    PANEL_ROW_BYTES,
    Expect,
    OpType,
    Shapes,
    Views,
    align,
)
from undercroft._spec import Op

_TILE: Final = 64
_INSTRUCTIONS_PER_ELEMENT: Final = 3.2
_INSTRUCTIONS_PER_PIXEL: Final = 60


def _check(s: Shapes, expect: Expect) -> None:
    a, out = s.input, s.out
    expect((a[0], a[3]) == (out[0], out[3]), "batch or channels change")


def _panels(s: Shapes) -> tuple[int, int]:
    return align(12 * (s.out[1] + s.out[2]), PANEL_ROW_BYTES), 1


def _scratch(_: Shapes) -> int:
    return align(8 * 4 * _TILE) + align(4 * 2 * _TILE + 64)


def _instructions(s: Shapes) -> float:
    return (
        s.elements * _INSTRUCTIONS_PER_ELEMENT
        + s.elements // s.out[3] * _INSTRUCTIONS_PER_PIXEL
    )


OP_TYPES: Final = (
    OpType(
        code=Op.RESIZE_LINEAR,
        input_views=Views.ANY,
        output_views=Views.ANY,
        check=_check,
        panels=_panels,
        scratch=_scratch,
        instructions=_instructions,
    ),
)
