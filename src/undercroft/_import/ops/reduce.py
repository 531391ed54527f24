# SPDX-License-Identifier: Apache-2.0
"""ReduceMean: pooling over whichever axes it names."""

from __future__ import annotations

import math

from undercroft._import.builder import Builder, Unsupported
from undercroft._import.ops._registry import attribute, handler
from undercroft._import.source import Node
from undercroft._spec import Op


@handler("ReduceMean")
def reduce_mean(node: Node, builder: Builder) -> None:
    """GLOBAL_AVERAGE_POOL, with the axes brought to h and w."""
    value = builder.value(node.input(0))
    shape, rank = value.shape, len(value.shape)
    axes = _axes(node, builder, rank)
    # Kept axes outside all reduced ones lie in n, the others in c.
    order = value.order
    last = max(order.index(axis) for axis in axes)
    first = min(order.index(axis) for axis in axes)
    outside = [axis for axis in order[:first] if axis not in axes]
    inside = [axis for axis in order[first:] if axis not in axes]
    reduced = [axis for axis in order[: last + 1] if axis in axes]

    def size(of: list[int]) -> int:
        return math.prod(shape[axis] for axis in of)

    dims = (size(outside), shape[reduced[0]], size(reduced[1:]), size(inside))
    moved = builder.arranged(value, (*outside, *reduced, *inside), dims)
    kept_shape = tuple(1 if axis in axes else shape[axis] for axis in range(rank))
    result = builder.emit(
        Op.GLOBAL_AVERAGE_POOL,
        [moved],
        kept_shape,
        moved.order,
        dims=(dims[0], 1, 1, dims[3]),
    )
    if not attribute(node, "keepdims", 1):
        kept_shape = tuple(shape[axis] for axis in range(rank) if axis not in axes)
    builder.bind(node.outputs[0], builder.viewed(result, kept_shape))


def _axes(node: Node, builder: Builder, rank: int) -> set[int]:
    axes = attribute(node, "axes", None)
    if node.input(1):
        given = builder.constant(node.input(1))
        if given is None:
            raise Unsupported("its axes are not constant")
        axes = given.reshape(-1).tolist()
    if not axes:
        if attribute(node, "noop_with_empty_axes", 0):
            raise Unsupported("it reduces no axis")
        axes = range(rank)
    return {int(axis) % rank for axis in axes}
