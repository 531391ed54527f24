# SPDX-License-Identifier: Apache-2.0
"""Relu and Clip: bounds of the operator before, or a CLAMP of their own."""

from __future__ import annotations

import math

from undercroft._import.builder import Builder, Unsupported
from undercroft._import.ops._registry import attribute, handler
from undercroft._import.source import Node


@handler("Relu")
def relu(node: Node, builder: Builder) -> None:
    """Bounds 0 and infinity."""
    result = builder.clamped(node.input(0), 0.0, math.inf)
    builder.bind(node.outputs[0], result)


@handler("Clip", limits="constant bounds")
def clip(node: Node, builder: Builder) -> None:
    """Bounds from attributes (before opset 11) or constant inputs."""
    low = _bound(node, builder, 1, "min", -math.inf)
    high = _bound(node, builder, 2, "max", math.inf)
    if math.isnan(low) or math.isnan(high):
        raise Unsupported("a bound is NaN")
    result = builder.clamped(node.input(0), low, high)
    builder.bind(node.outputs[0], result)


def _bound(
    node: Node, builder: Builder, index: int, name: str, default: float
) -> float:
    if node.input(index):
        array = builder.floats(node.input(index), f"bound {name}")
        if array.size != 1:
            raise Unsupported(f"bound {name} has shape {array.shape}")
        return float(array.reshape(()))
    return float(attribute(node, name, default))
