# SPDX-License-Identifier: Apache-2.0
"""Operators of two values with broadcasting."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from undercroft import _spec
from undercroft._format.program import Dims
from undercroft._import import layout
from undercroft._import.builder import Builder, Unsupported, Value
from undercroft._import.graph import Attributes
from undercroft._import.layout import Shape
from undercroft._import.ops._registry import handler
from undercroft._import.source import Node
from undercroft._spec import Op

_CODES: Final = {
    "Add": Op.ADD,
    "Sub": Op.SUB,
    "Mul": Op.MUL,
    "Div": Op.DIV,
    "PRelu": Op.PRELU,
}
_ORDERED: Final = (Op.SUB, Op.DIV, Op.PRELU, Op.POWER)


@handler(*_CODES)
def binary(node: Node, builder: Builder) -> None:
    """ADD, SUB, MUL, DIV, PRELU; a constant number goes into the record."""
    result = binary_result(builder, _CODES[node.op_type], node.input(0), node.input(1))
    builder.bind(node.outputs[0], result)


@handler("Min", "Max")
def extremum(node: Node, builder: Builder) -> None:
    """MINIMUM and MAXIMUM of any number of values; of a number, a clamp."""
    least = node.op_type == "Min"
    result: str | Value = node.input(0)
    for name in node.inputs[1:]:
        bound, other = builder.constant(name), result
        if bound is None and isinstance(result, str):
            bound, other = builder.constant(result), name
        if bound is not None and bound.size == 1 and isinstance(other, str):
            number = float(bound.reshape(()))
            shape = _broadcast(builder.shape(other), bound.shape)
            if not math.isnan(number) and shape == builder.shape(other):
                low, high = (-math.inf, number) if least else (number, math.inf)
                result = builder.clamped(other, low, high)
                continue
        code = Op.MINIMUM if least else Op.MAXIMUM
        result = binary_result(builder, code, result, name)
    if isinstance(result, str):
        result = builder.value(result)
    builder.bind(node.outputs[0], result)


def binary_result(
    builder: Builder, code: Op, first: str | Value, second: str | Value
) -> Value:
    """Emit an operator of two values, or names of values; return its result."""
    shape = _broadcast(_shape(builder, first), _shape(builder, second))
    for name, other, reversed_ in ((second, first, False), (first, second, True)):
        constant = _constant(builder, name)
        if (
            isinstance(name, str)
            and constant is not None
            and constant.size == 1
            and _shape(builder, other) == shape
        ):
            scalar = float(builder.floats(name, "operand").reshape(()))
            return _with_scalar(
                builder, code, other, scalar, shape=shape, reversed_=reversed_
            )

    shapes = [_padded(_shape(builder, x), len(shape)) for x in (first, second)]

    # The operand that is not broadcast decides how the result lies in memory;
    # a constant never does, since it can be written in any order.
    def weight(operand: str | Value) -> tuple[bool, int]:
        constant = _constant(builder, operand) is not None
        return not constant, math.prod(_shape(builder, operand))

    leader = 0 if weight(first) >= weight(second) else 1
    lead = _value(builder, (first, second)[leader], shapes[leader])
    order = lead.order
    dims = _dims(builder, lead, shape, shapes)
    operands = []
    for name, padded in zip((first, second), shapes, strict=True):
        own = layout.broadcast_dims(shape, order, dims, padded)
        if own is None:
            raise Unsupported(f"it broadcasts {shapes[0]} and {shapes[1]}")
        if isinstance(name, str) and builder.constant(name) is not None:
            array = builder.floats(name, "operand").reshape(padded)
            operands.append(builder.constant_value(array, order, own))
        else:
            value = _value(builder, name, padded)
            operands.append(builder.arranged(value, order, own))
    return builder.emit(code, operands, shape, order, dims=dims)


def _with_scalar(
    builder: Builder,
    code: Op,
    operand: str | Value,
    scalar: float,
    *,
    shape: Shape,
    reversed_: bool,
) -> Value:
    if math.isnan(scalar):
        raise Unsupported("its constant operand is NaN")
    value = _value(builder, operand, shape)
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


def _shape(builder: Builder, operand: str | Value) -> Shape:
    return builder.shape(operand) if isinstance(operand, str) else operand.shape


def _constant(builder: Builder, operand: str | Value) -> npt.NDArray[Any] | None:
    return builder.constant(operand) if isinstance(operand, str) else None


def _value(builder: Builder, operand: str | Value, shape: Shape) -> Value:
    value = builder.value(operand) if isinstance(operand, str) else operand
    return value if value.shape == shape else builder.viewed(value, shape)


def _padded(shape: Shape, rank: int) -> Shape:
    return (1,) * (rank - len(shape)) + shape


def _broadcast(one: Shape, other: Shape) -> Shape:
    try:
        return np.broadcast_shapes(one, other)
    except ValueError as error:
        raise Unsupported(f"it cannot broadcast {one} and {other}") from error
