# SPDX-License-Identifier: Apache-2.0
"""ADD and the like: numpy's broadcasting, or one operand out of the record."""

from __future__ import annotations

from typing import Final

from undercroft import _spec
from undercroft._format.ops._base import (
    Expect,
    OpType,
    Shapes,
    Views,
    same_shape,
)
from undercroft._spec import Op

_SCALAR: Final = _spec.OP_FLAG_SCALAR_OPERAND


def _check(s: Shapes, expect: Expect) -> None:
    if s.b is None:
        same_shape(s, expect)
        return
    a, b = s.input, s.b
    needed = tuple(map(max, a, b))
    expect(
        all(1 in (i, j) or i == j for i, j in zip(a, b, strict=True)),
        f"inputs of shapes {a} and {b}",
    )
    expect(s.out == needed, f"output {s.out} where {needed} is needed")


def _binary(code: Op, flags: int = _SCALAR) -> OpType:
    return OpType(
        code=code,
        inputs=2,
        flags=flags,
        elementwise=True,
        input_views=Views.ANY,
        output_views=Views.ANY,
        check=_check,
    )


OP_TYPES: Final = (
    _binary(Op.ADD),
    _binary(Op.SUB, _SCALAR | _spec.OP_FLAG_REVERSED),
    _binary(Op.MUL),
    _binary(Op.DIV, _SCALAR | _spec.OP_FLAG_REVERSED),
    _binary(Op.MINIMUM),
    _binary(Op.MAXIMUM),
    _binary(Op.PRELU, _SCALAR | _spec.OP_FLAG_REVERSED),
    _binary(Op.POWER, _SCALAR | _spec.OP_FLAG_REVERSED),
)
