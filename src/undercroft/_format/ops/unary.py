# SPDX-License-Identifier: Apache-2.0
"""UNARY: a function of every element."""

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
from undercroft._spec import Op, UnaryFunction

# Instructions for an element, counted in emulation (docs/kernels.md).
_INSTRUCTIONS: Final[dict[int, float]] = {
    UnaryFunction.ABS: 0.75,
    UnaryFunction.NEGATE: 0.75,
    UnaryFunction.SQUARE: 0.75,
    UnaryFunction.SQUARE_ROOT: 1.1,
    UnaryFunction.RECIPROCAL: 1.1,
    UnaryFunction.RECIPROCAL_SQUARE_ROOT: 1.4,
    UnaryFunction.FLOOR: 0.75,
    UnaryFunction.CEIL: 0.75,
    UnaryFunction.ROUND: 0.75,
    UnaryFunction.EXP: 7.6,
    UnaryFunction.LOG: 12.3,
    UnaryFunction.POWER: 55.3,
    UnaryFunction.ERF: 18.1,
    UnaryFunction.SIGMOID: 6.6,
    UnaryFunction.TANH: 5.8,
    UnaryFunction.SILU: 6.6,
    UnaryFunction.GELU: 8.6,
    UnaryFunction.GELU_TANH: 7.6,
    UnaryFunction.MISH: 7.9,
    UnaryFunction.SOFTPLUS: 24.4,
    UnaryFunction.LEAKY_RELU: 1.3,
    UnaryFunction.ELU: 6.5,
}


def _check(s: Shapes, expect: Expect) -> None:
    same_shape(s, expect)
    expect(math.isfinite(s.op.alpha), f"alpha {s.op.alpha}")


def _instructions(s: Shapes) -> float:
    return s.elements * _INSTRUCTIONS[s.op.function]


OP_TYPES: Final = (
    OpType(
        code=Op.UNARY,
        functions=frozenset(UnaryFunction),
        elementwise=True,
        input_views=Views.ANY,
        output_views=Views.ANY,
        check=_check,
        instructions=_instructions,
    ),
)
