# SPDX-License-Identifier: Apache-2.0
"""Pow."""

from __future__ import annotations

import math
from typing import Final

from undercroft._import.builder import Builder, Unsupported
from undercroft._import.ops._registry import handler
from undercroft._import.ops.binary import binary_result
from undercroft._import.ops.unary import unary_result
from undercroft._import.source import Node
from undercroft._spec import Op, UnaryFunction

_FUNCTIONS: Final = {
    2.0: UnaryFunction.SQUARE,
    0.5: UnaryFunction.SQUARE_ROOT,
    -0.5: UnaryFunction.RECIPROCAL_SQUARE_ROOT,
    -1.0: UnaryFunction.RECIPROCAL,
}


@handler("Pow", limits="exponents of other types only as a constant number")
def power(node: Node, builder: Builder) -> None:
    """POWER; of a constant number a function of its own, or UNARY POWER."""
    exponents = builder.constant(node.input(1))
    if exponents is None or exponents.size != 1:
        result = binary_result(builder, Op.POWER, node.input(0), node.input(1))
        builder.bind(node.outputs[0], result)
        return
    exponent = float(exponents.reshape(()))
    if not math.isfinite(exponent):
        raise Unsupported(f"its exponent is {exponent}")
    value = builder.value(node.input(0))
    function = _FUNCTIONS.get(exponent)
    if function is None:
        result = unary_result(builder, value, UnaryFunction.POWER, exponent)
    else:
        result = unary_result(builder, value, function)
    shape = builder.shape(node.outputs[0])
    builder.bind(node.outputs[0], builder.viewed(result, shape))
