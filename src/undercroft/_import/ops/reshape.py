# SPDX-License-Identifier: Apache-2.0
"""Flatten, Reshape, Squeeze and Unsqueeze: another shape for the same elements."""

from __future__ import annotations

from undercroft._import import layout
from undercroft._import.builder import Builder
from undercroft._import.ops._registry import handler
from undercroft._import.source import Node


@handler("Flatten", "Reshape", "Squeeze", "Unsqueeze")
def reshape(node: Node, builder: Builder) -> None:
    """Free where the elements already lie in the new order.

    The new shape was inferred with all others, so attributes and inputs that
    state it need no reading here.
    """
    shape = builder.shape(node.outputs[0])
    value = builder.value(node.input(0))
    if layout.reshaped_order(value.shape, value.order, shape) is None:
        builder.defer(node.outputs[0], value, shape)
    else:
        builder.bind(node.outputs[0], builder.viewed(value, shape))
