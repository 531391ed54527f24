# SPDX-License-Identifier: Apache-2.0
"""ReduceMean, ReduceSum and others, over whichever axes they name."""

from __future__ import annotations

import math
from typing import Final

from undercroft._import.builder import Builder, Unsupported, Value
from undercroft._import.graph import Attributes
from undercroft._import.ops._registry import attribute, handler
from undercroft._import.ops.unary import unary_result
from undercroft._import.source import Node
from undercroft._spec import Op, ReduceFunction, UnaryFunction

_FUNCTIONS: Final = {
    "ReduceL1": ReduceFunction.SUM,
    "ReduceL2": ReduceFunction.SUM_OF_SQUARES,
    "ReduceMax": ReduceFunction.MAX,
    "ReduceMean": ReduceFunction.MEAN,
    "ReduceMin": ReduceFunction.MIN,
    "ReduceSum": ReduceFunction.SUM,
    "ReduceSumSquare": ReduceFunction.SUM_OF_SQUARES,
}


@handler(*_FUNCTIONS, limits="constant axes")
def reduce(node: Node, builder: Builder) -> None:
    """REDUCE, or GLOBAL_AVERAGE_POOL, with the axes brought to h and w."""
    value = builder.value(node.input(0))
    if node.op_type == "ReduceL1":
        value = unary_result(builder, value, UnaryFunction.ABS)
    axes = _axes(node, builder, len(value.shape))
    result = value
    if axes:
        result = _reduced(builder, value, axes, _FUNCTIONS[node.op_type])
    elif node.op_type in {"ReduceL2", "ReduceSumSquare"}:
        result = unary_result(builder, value, UnaryFunction.SQUARE)
    if node.op_type == "ReduceL2":
        result = unary_result(builder, result, UnaryFunction.SQUARE_ROOT)
    builder.bind(
        node.outputs[0], builder.viewed(result, _kept_shape(node, value, axes))
    )


def _kept_shape(node: Node, value: Value, axes: set[int]) -> tuple[int, ...]:
    if attribute(node, "keepdims", 1):
        return tuple(1 if i in axes else size for i, size in enumerate(value.shape))
    return tuple(size for i, size in enumerate(value.shape) if i not in axes)


def _reduced(
    builder: Builder, value: Value, axes: set[int], function: ReduceFunction
) -> Value:
    shape, order = value.shape, value.order
    # Kept axes outside all reduced ones lie in n, the others in c.
    last = max(order.index(axis) for axis in axes)
    first = min(order.index(axis) for axis in axes)
    outside = [axis for axis in order[:first] if axis not in axes]
    inside = [axis for axis in order[first:] if axis not in axes]
    reduced = [axis for axis in order[: last + 1] if axis in axes]

    def size(of: list[int]) -> int:
        return math.prod(shape[axis] for axis in of)

    dims = (size(outside), shape[reduced[0]], size(reduced[1:]), size(inside))
    moved = builder.arranged(value, (*outside, *reduced, *inside), dims)
    pooled = function is ReduceFunction.MEAN and dims[3] > 1
    return builder.emit(
        Op.GLOBAL_AVERAGE_POOL if pooled else Op.REDUCE,
        [moved],
        tuple(1 if axis in axes else size for axis, size in enumerate(shape)),
        moved.order,
        dims=(dims[0], 1, 1, dims[3]),
        attributes=Attributes(function=0 if pooled else function),
    )


def _axes(node: Node, builder: Builder, rank: int) -> set[int]:
    axes = attribute(node, "axes", None)
    if node.input(1):
        given = builder.constant(node.input(1))
        if given is None:
            raise Unsupported("its axes are not constant")
        axes = given.reshape(-1).tolist()
    if not axes:
        if attribute(node, "noop_with_empty_axes", 0):
            return set()
        axes = range(rank)
    return {int(axis) % rank for axis in axes}
