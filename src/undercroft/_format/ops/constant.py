# SPDX-License-Identifier: Apache-2.0
"""CONSTANT: a tensor that comes with the weights."""

from __future__ import annotations

from typing import Final

from undercroft._format.ops._base import PANEL_ROW_BYTES, Expect, OpType, Shapes
from undercroft._spec import Op


def _check(s: Shapes, expect: Expect) -> None:
    expect(s.panel_bytes > 0, "it has no weights")


def _panels(s: Shapes) -> tuple[int, int]:
    size = s.panel_bytes or PANEL_ROW_BYTES
    return size, -(-4 * s.elements // size)


OP_TYPES: Final = (OpType(code=Op.CONSTANT, inputs=0, check=_check, panels=_panels),)
