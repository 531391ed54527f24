# SPDX-License-Identifier: Apache-2.0
"""How the axes of an ONNX value lie in memory.

A value has an ONNX shape and an `order`: its axes from the outermost to the
innermost in memory. `(0, 2, 3, 1)` is NHWC for an image, `(0, 1, 2, 3)` is
row-major. Transposing, and reshaping that only merges or splits axes which are
neighbours in memory, changes shape and order but moves no byte; everything
else needs the axes to be arranged first.

Axes of size 1 have no place in memory, so two orders that differ only in them
are the same arrangement (`trace`).
"""

from __future__ import annotations

import math
from itertools import permutations

from undercroft._format.program import Dims

__all__ = [
    "arrangement",
    "canonical_dims",
    "gathered",
    "groups_of",
    "one_step",
    "reshaped_order",
    "row_major",
    "same_arrangement",
    "split",
    "spread",
    "trace",
]

Shape = tuple[int, ...]
Order = tuple[int, ...]

NHWC: Order = (0, 2, 3, 1)


def row_major(rank: int) -> Order:
    """Return the order in which ONNX itself stores a value."""
    return tuple(range(rank))


def trace(shape: Shape, order: Order) -> Order:
    """Return the axes that have a place in memory, outermost first."""
    return tuple(axis for axis in order if shape[axis] != 1)


def same_arrangement(shape: Shape, one: Order, other: Order) -> bool:
    """Whether two orders of a shape are the same bytes."""
    return trace(shape, one) == trace(shape, other)


def canonical_dims(shape: Shape, order: Order) -> Dims:
    """Return the n, h, w, c that a new tensor of this arrangement gets."""
    sizes = [shape[axis] for axis in order]
    if len(sizes) > 4:
        sizes = [size for size in sizes if size != 1]
    if len(sizes) > 4:
        sizes = [math.prod(sizes[:-3]), *sizes[-3:]]
    if len(sizes) == 4:
        return (sizes[0], sizes[1], sizes[2], sizes[3])
    if len(sizes) == 3:
        return (sizes[0], 1, sizes[1], sizes[2])
    if len(sizes) == 2:
        return (sizes[0], 1, 1, sizes[1])
    return (1, 1, 1, sizes[0] if sizes else 1)


def groups_of(old: Shape, new: Shape) -> list[tuple[list[int], list[int]]] | None:
    """Split a reshape into the smallest groups of axes with equal products.

    Returns:
        Pairs (axes of the old shape, axes of the new one), axes of size 1 left
        out, or None when a size is not positive or the products differ.
    """
    if min((*old, *new, 1)) < 1 or math.prod(old) != math.prod(new):
        return None
    left = [axis for axis, size in enumerate(old) if size != 1]
    right = [axis for axis, size in enumerate(new) if size != 1]
    groups = []
    i = j = 0
    while i < len(left):
        one, other = [left[i]], [right[j]]
        size, target = old[left[i]], new[right[j]]
        i, j = i + 1, j + 1
        while size != target:
            if size < target:
                one.append(left[i])
                size *= old[left[i]]
                i += 1
            else:
                other.append(right[j])
                target *= new[right[j]]
                j += 1
        groups.append((one, other))
    return groups


def gathered(old: Shape, order: Order, new: Shape) -> Order:
    """Return the nearest order of `old` from which a reshape moves no byte.

    Axes that the reshape merges are collected, ascending, where the last of
    them lies now.
    """
    groups = groups_of(old, new) or []
    group_of = {axis: group for group, _ in groups for axis in group}
    result: list[int] = []
    for position, axis in enumerate(order):
        group = group_of.get(axis, [axis])
        if all(other in order[: position + 1] for other in group):
            result += group
    return tuple(result)


def reshaped_order(old: Shape, order: Order, new: Shape) -> Order | None:
    """Return the order of the new shape over the same bytes.

    Returns:
        None when the bytes would have to move.
    """
    groups = groups_of(old, new)
    if groups is None:
        return None
    memory = trace(old, order)
    first = {group[0]: (group, axes) for group, axes in groups}
    result: list[int] = []
    position = 0
    while position < len(memory):
        if memory[position] not in first:
            return None
        group, axes = first[memory[position]]
        if list(memory[position : position + len(group)]) != group:
            return None
        result += axes
        position += len(group)
    return _with_unit_axes(new, result)


def _with_unit_axes(shape: Shape, order: list[int]) -> Order:
    """Put axes of size 1 where row-major order has them, nearly."""
    result = list(order)
    for axis, size in enumerate(shape):
        if size == 1:
            before = [result.index(other) for other in result if other < axis]
            result.insert(max(before) + 1 if before else 0, axis)
    return tuple(result)


def arrangement(
    dims: Dims, shape: Shape, order: Order, target: Order
) -> list[tuple[int, int, int, int]] | None:
    """Return the permutations of stored dims that lead to another order.

    Args:
        dims: The stored dimensions of the tensor.
        shape: The shape of the value in it.
        order: How the value lies in the tensor.
        target: How it should lie.

    Returns:
        All of them (axes of size 1 can go anywhere), or None when no
        permutation of these dims does it.
    """
    spans = spread(dims, shape, order)
    if spans is None:
        return None
    wanted = trace(shape, target)
    found = []
    for permutation in permutations(range(4)):
        axes = [axis for dim in permutation for axis in spans[dim]]
        if tuple(axes) == wanted:
            found.append(
                (permutation[0], permutation[1], permutation[2], permutation[3])
            )
    return found or None


def spread(dims: Dims, shape: Shape, order: Order) -> list[list[int]] | None:
    """Return for each stored dimension the axes that lie in it.

    Returns:
        None when an axis lies across two dimensions.
    """
    memory = list(trace(shape, order))
    spans: list[list[int]] = []
    for dim in dims:
        span: list[int] = []
        size = 1
        while size < dim and memory:
            size *= shape[memory[0]]
            span.append(memory.pop(0))
        if size != dim:
            return None
        spans.append(span)
    return None if memory else spans


def split(dims: Dims, shape: Shape, order: Order) -> list[list[int]] | None:
    """Split axes that lie across two stored dimensions.

    Returns:
        For each axis the sizes of its parts, most often one, or None when an
        axis ends in the middle of a dimension and cannot be divided there.
    """
    parts: list[list[int]] = [[] for _ in shape]
    memory = [(axis, shape[axis]) for axis in trace(shape, order)]
    for dim in dims:
        room = dim
        while room > 1 and memory:
            axis, size = memory.pop(0)
            if room % size == 0:
                part = size
            elif size % room == 0:
                part = room
                memory.insert(0, (axis, size // room))
            else:
                return None
            parts[axis].append(part)
            room //= part
    return [part or [1] for part in parts]


def runs(shape: Shape, order: Order, target: Order) -> list[list[int]]:
    """Return runs of axes that are neighbours in both orders, in `order`."""
    memory, wanted = trace(shape, order), trace(shape, target)
    result: list[list[int]] = []
    for axis in memory:
        if result:
            previous = wanted.index(result[-1][-1])
            if previous + 1 < len(wanted) and wanted[previous + 1] == axis:
                result[-1].append(axis)
                continue
        result.append([axis])
    return result


def one_step(shape: Shape, order: Order, target: Order) -> Order:
    """Return an order nearer to the target that four runs of axes lead to.

    The first axes that are not in their place are brought there, past all
    that lie between.
    """
    memory, wanted = trace(shape, order), trace(shape, target)
    placed = next(
        index
        for index, (axis, other) in enumerate(zip(memory, wanted, strict=True))
        if axis != other
    )
    start = memory.index(wanted[placed])
    stop = start + 1
    while stop < len(memory) and memory[stop] == wanted[placed + stop - start]:
        stop += 1
    moved = memory[:placed] + memory[start:stop] + memory[placed:start] + memory[stop:]
    rest = tuple(axis for axis in order if shape[axis] == 1)
    return rest + moved


def broadcast_dims(
    shape: Shape, order: Order, dims: Dims, operand: Shape
) -> Dims | None:
    """Return the stored dims of an operand that is broadcast to a result.

    Args:
        shape: The result's shape.
        order: The result's order.
        dims: The result's stored dimensions.
        operand: The operand's shape, of the same rank.

    Returns:
        None when the operand is broadcast along a part of a stored dimension.
    """
    spans = spread(dims, shape, order)
    if spans is None:
        return None
    result = []
    for span, dim in zip(spans, dims, strict=True):
        size = math.prod(operand[axis] for axis in span)
        if size not in (1, dim):
            return None
        result.append(size)
    return (result[0], result[1], result[2], result[3])


def merged_dims(shape: Shape, order: Order, operands: list[Shape]) -> Dims | None:
    """Return stored dims on which every operand is broadcast as a whole.

    Neighbouring axes along which the same operands are broadcast become one
    dimension.

    Returns:
        None when more than four are left.
    """
    sizes: list[int] = []
    before: list[bool] | None = None
    for axis in trace(shape, order):
        pattern = [operand[axis] == 1 for operand in operands]
        if pattern == before:
            sizes[-1] *= shape[axis]
        else:
            sizes.append(shape[axis])
        before = pattern
    if len(sizes) > 4:
        return None
    padded = [1] * (4 - len(sizes)) + sizes
    return (padded[0], padded[1], padded[2], padded[3])
