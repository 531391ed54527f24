# SPDX-License-Identifier: Apache-2.0
"""Add, Sub, Mul and Div with broadcasting."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from undercroft import _spec
from undercroft._format.program import Dims
from undercroft._import import layout
from undercroft._import.builder import Builder, Unsupported, Value
from undercroft._import.graph import Attributes
from undercroft._import.layout import Shape
from undercroft._import.ops._registry import handler
from undercroft._import.source import Node
from undercroft._spec import Op

_CODES: Final = {"Add": Op.ADD, "Sub": Op.SUB, "Mul": Op.MUL, "Div": Op.DIV}
_ORDERED: Final = (Op.SUB, Op.DIV)


@handler(*_CODES)
def binary(node: Node, builder: Builder) -> None:
    """ADD, SUB, MUL, DIV; a constant of one element goes into the record."""
    result = binary_result(builder, _CODES[node.op_type], node.input(0), node.input(1))
    builder.bind(node.outputs[0], result)


def binary_result(builder: Builder, code: Op, first: str, second: str) -> Value:
    """Emit an operator of two values and return its result."""
    shape = _broadcast(builder.shape(first), builder.shape(second))
    for name, other, reversed_ in ((second, first, False), (first, second, True)):
        constant = builder.constant(name)
        if constant is not None and constant.size == 1:
            scalar = float(builder.floats(name, "operand").reshape(()))
            return _with_scalar(
                builder, code, other, scalar, shape=shape, reversed_=reversed_
            )

    shapes = [_padded(builder.shape(name), len(shape)) for name in (first, second)]

    # The operand that is not broadcast decides how the result lies in memory;
    # a constant never does, since it can be written in any order.
    def weight(name: str) -> tuple[bool, int]:
        constant = builder.constant(name) is not None
        return not constant, math.prod(builder.shape(name))

    leader = 0 if weight(first) >= weight(second) else 1
    lead = _value(builder, (first, second)[leader], shapes[leader])
    order = lead.order
    dims = _dims(builder, lead, shape, shapes)
    operands = []
    for name, padded in zip((first, second), shapes, strict=True):
        own = layout.broadcast_dims(shape, order, dims, padded)
        if own is None:
            raise Unsupported(f"it broadcasts {shapes[0]} and {shapes[1]}")
        constant = builder.constant(name)
        if constant is not None:
            array = builder.floats(name, "operand").reshape(padded)
            operands.append(builder.constant_value(array, order, own))
        else:
            value = _value(builder, name, padded)
            operands.append(builder.arranged(value, order, own))
    return builder.emit(code, operands, shape, order, dims=dims)


def _with_scalar(
    builder: Builder,
    code: Op,
    name: str,
    scalar: float,
    *,
    shape: Shape,
    reversed_: bool,
) -> Value:
    if math.isnan(scalar):
        raise Unsupported("its constant operand is NaN")
    value = _value(builder, name, shape)
    flags = _spec.OP_FLAG_SCALAR_OPERAND
    if reversed_ and code in _ORDERED:
        flags |= _spec.OP_FLAG_REVERSED
    return builder.emit(
        code,
        [value],
        shape,
        value.order,
        dims=builder.dims(value),
        attributes=Attributes(flags=flags, alpha=scalar),
    )


def _dims(builder: Builder, lead: Value, shape: Shape, operands: list[Shape]) -> Dims:
    """Choose stored dimensions on which no operand is broadcast in part."""
    candidates: list[Dims | None] = []
    if lead.shape == shape:
        candidates.append(builder.dims(lead))
    candidates.append(layout.canonical_dims(shape, lead.order))
    candidates.append(layout.merged_dims(shape, lead.order, operands))
    for dims in candidates:
        if dims is not None and all(
            layout.broadcast_dims(shape, lead.order, dims, operand) is not None
            for operand in operands
        ):
            return dims
    raise Unsupported(f"it broadcasts {operands[0]} and {operands[1]}")


def _value(builder: Builder, name: str, shape: Shape) -> Value:
    value = builder.value(name)
    return value if value.shape == shape else builder.viewed(value, shape)


def _padded(shape: Shape, rank: int) -> Shape:
    return (1,) * (rank - len(shape)) + shape


def _broadcast(one: Shape, other: Shape) -> Shape:
    try:
        return np.broadcast_shapes(one, other)
    except ValueError as error:
        raise Unsupported(f"it cannot broadcast {one} and {other}") from error
