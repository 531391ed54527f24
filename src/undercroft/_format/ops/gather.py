# SPDX-License-Identifier: Apache-2.0
"""GATHER: a table for each axis says which element of the input an element is."""

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

# Runs of channels are copied; what is left are the loops around the copies.
_INSTRUCTIONS_PER_ELEMENT: Final = 0.75
_INSTRUCTIONS_PER_PIXEL: Final = 20


def _check(_: Shapes, __: Expect) -> None:
    """Any shape: the tables say what lies where."""


def _panels(s: Shapes) -> tuple[int, int]:
    return align(4 * sum(s.out), PANEL_ROW_BYTES), 1


def _instructions(s: Shapes) -> float:
    return (
        s.elements * _INSTRUCTIONS_PER_ELEMENT
        + s.elements // s.out[3] * _INSTRUCTIONS_PER_PIXEL
    )


OP_TYPES: Final = (
    OpType(
        code=Op.GATHER,
        input_views=Views.ANY,
        output_views=Views.ANY,
        check=_check,
        panels=_panels,
        instructions=_instructions,
    ),
)
