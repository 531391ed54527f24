# SPDX-License-Identifier: Apache-2.0
"""Concat and Split."""

from __future__ import annotations

from undercroft._import.boxes import joined, sliced
from undercroft._import.builder import Builder, Unsupported
from undercroft._import.ops._registry import attribute, handler
from undercroft._import.source import Node


@handler("Concat")
def concat(node: Node, builder: Builder) -> None:
    """Copies into parts of the result, most of which the planner dissolves."""
    rank = len(builder.shape(node.outputs[0]))
    axis = int(attribute(node, "axis", 1)) % rank
    builder.bind(node.outputs[0], joined(builder, node.inputs, axis))


@handler("Split")
def split(node: Node, builder: Builder) -> None:
    """Views, which cost nothing; the sizes of the parts were inferred."""
    value = builder.value(node.input(0))
    axis = int(attribute(node, "axis", 0)) % len(value.shape)
    start = 0
    for name in node.outputs:
        if not name:
            raise Unsupported("one of its outputs has no name")
        stop = start + builder.shape(name)[axis]
        builder.bind(name, sliced(builder, value, axis, start, stop))
        start = stop
    if start != value.shape[axis]:
        raise Unsupported(f"it splits {value.shape} into parts of {start} together")
