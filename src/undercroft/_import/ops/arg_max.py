# SPDX-License-Identifier: Apache-2.0
"""ArgMax and ArgMin over any axis."""

from __future__ import annotations

from undercroft._import.builder import Builder
from undercroft._import.ops._registry import attribute, handler, refuse_attributes
from undercroft._import.ops.unary import unary_result
from undercroft._import.source import Node
from undercroft._spec import Op, UnaryFunction


@handler(
    "ArgMax",
    "ArgMin",
    limits="select_last_index=0; read by Cast to float, or an output of the network",
)
def arg_max(node: Node, builder: Builder) -> None:
    """ARG_MAX, with the axis brought to c; of the negated for ArgMin."""
    refuse_attributes(node, select_last_index=0)
    value = builder.value(node.input(0))
    axis = int(attribute(node, "axis", 0)) % len(value.shape)
    rows = builder.axis_last(value, axis)
    if node.op_type == "ArgMin":
        rows = unary_result(builder, rows, UnaryFunction.NEGATE)
    n, h, w, _ = builder.dims(rows)
    shape = list(value.shape)
    shape[axis] = 1
    result = builder.emit(
        Op.ARG_MAX, [rows], tuple(shape), rows.order, dims=(n, h, w, 1)
    )
    if not attribute(node, "keepdims", 1):
        del shape[axis]
    builder.bind(node.outputs[0], builder.viewed(result, tuple(shape)))
