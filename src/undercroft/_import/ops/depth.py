# SPDX-License-Identifier: Apache-2.0
"""DepthToSpace and SpaceToDepth: reshape, transpose, reshape."""

from __future__ import annotations

from undercroft._import.builder import Builder, Unsupported
from undercroft._import.ops._registry import attribute, handler
from undercroft._import.source import Node


@handler("DepthToSpace")
def depth_to_space(node: Node, builder: Builder) -> None:
    """Blocks of channels become blocks of pixels."""
    n, c, h, w = _image(node, builder)
    size = _block_size(node)
    if c % (size * size):
        raise Unsupported(f"{c} channels in blocks of {size * size}")
    c //= size * size
    if attribute(node, "mode", "DCR") == "DCR":
        split, order = (n, size, size, c, h, w), (0, 3, 4, 1, 5, 2)
    else:
        split, order = (n, c, size, size, h, w), (0, 1, 4, 2, 5, 3)
    value = builder.reshaped(builder.value(node.input(0)), split)
    value = builder.transposed(value, order)
    builder.bind(node.outputs[0], builder.reshaped(value, (n, c, h * size, w * size)))


@handler("SpaceToDepth")
def space_to_depth(node: Node, builder: Builder) -> None:
    """Blocks of pixels become blocks of channels."""
    n, c, h, w = _image(node, builder)
    size = _block_size(node)
    if h % size or w % size:
        raise Unsupported(f"{h}x{w} pixels in blocks of {size}")
    h, w = h // size, w // size
    value = builder.reshaped(builder.value(node.input(0)), (n, c, h, size, w, size))
    order = (0, 3, 5, 1, 2, 4)
    if attribute(node, "mode", "DCR") == "CRD":
        order = (0, 1, 3, 5, 2, 4)
    value = builder.transposed(value, order)
    builder.bind(node.outputs[0], builder.reshaped(value, (n, c * size * size, h, w)))


def _image(node: Node, builder: Builder) -> tuple[int, int, int, int]:
    shape = builder.shape(node.input(0))
    if len(shape) != 4:
        raise Unsupported(f"its input has shape {shape}; rank 4 is supported")
    return shape[0], shape[1], shape[2], shape[3]


def _block_size(node: Node) -> int:
    return int(attribute(node, "blocksize", 1))
