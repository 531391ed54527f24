# SPDX-License-Identifier: Apache-2.0
"""Softmax over any axis."""

from __future__ import annotations

import math

from undercroft import _spec
from undercroft._import.builder import Builder
from undercroft._import.graph import Attributes
from undercroft._import.ops._registry import attribute, handler
from undercroft._import.source import Node
from undercroft._spec import Op

# Until opset 12 Softmax flattened its input to two dimensions at `axis`.
_ONE_AXIS_OPSET = 13


@handler("Softmax", "LogSoftmax")
def softmax(node: Node, builder: Builder) -> None:
    """SOFTMAX, with the axis brought to c."""
    shape = builder.shape(node.input(0))
    value = builder.value(node.input(0))
    if node.opset >= _ONE_AXIS_OPSET:
        axis = int(attribute(node, "axis", -1)) % len(shape)
    else:
        axis = int(attribute(node, "axis", 1)) % len(shape)
        large = [index for index in range(axis, len(shape)) if shape[index] != 1]
        if len(large) > 1:
            value = builder.reshaped(
                value, (math.prod(shape[:axis]), math.prod(shape[axis:]))
            )
            axis = 1
        elif large:
            axis = large[0]
    value = builder.axis_last(value, axis)
    result = builder.emit(
        Op.SOFTMAX,
        [value],
        value.shape,
        value.order,
        dims=builder.dims(value),
        attributes=Attributes(
            function=_spec.SOFTMAX_LOG
            if node.op_type == "LogSoftmax"
            else _spec.SOFTMAX_PLAIN
        ),
    )
    builder.bind(node.outputs[0], builder.reshaped(result, shape))
