# SPDX-License-Identifier: Apache-2.0
"""Parts of values: slices, and values put together, along any axis.

Both cost nothing where the part is a box of the stored dimensions. A slice is
then a view; the operands of a concatenation are copied into views of the
result, which the planner turns into operators that write there directly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from undercroft import _spec
from undercroft._format.program import Dims
from undercroft._import import layout
from undercroft._import.builder import Builder, Unsupported, Value
from undercroft._import.graph import Attributes
from undercroft._import.layout import Order, Shape
from undercroft._import.tables import MISSING, GatherTables
from undercroft._spec import Op

__all__ = ["gathered", "joined", "sliced"]


def sliced(builder: Builder, value: Value, axis: int, start: int, stop: int) -> Value:
    """Return elements `start` to `stop` (exclusive) along an axis, as a view."""
    if (start, stop) == (0, value.shape[axis]):
        return value
    shape = (*value.shape[:axis], stop - start, *value.shape[axis + 1 :])
    value = _axis_in_a_box(builder, value, axis)
    dims = builder.dims(value)
    dim, inner = _box_of(dims, value.shape, value.order, axis, shape)
    origin = _with(dims=(0, 0, 0, 0), at=dim, size=start * inner)
    box = _with(dims, dim, (stop - start) * inner)
    return builder.box(value, origin, box, shape, value.order)


def joined(builder: Builder, names: Sequence[str], axis: int) -> Value:
    """Put values together along an axis and return the result."""
    shapes = [builder.shape(name) for name in names]
    total = sum(shape[axis] for shape in shapes)
    result_shape = (*shapes[0][:axis], total, *shapes[0][axis + 1 :])
    # The largest operand that is computed decides how the result lies.
    computed = [name for name in names if builder.constant(name) is None]
    lead = builder.value(
        max(computed or names, key=lambda name: math.prod(builder.shape(name)))
    )
    lead = _axis_in_a_box(builder, lead, axis)
    order, lead_dims = lead.order, builder.dims(lead)
    dim, inner = _box_of(lead_dims, lead.shape, order, axis, result_shape)
    parts: list[Value] = []
    for name, shape in zip(names, shapes, strict=True):
        dims = _with(lead_dims, dim, shape[axis] * inner)
        if builder.constant(name) is not None:
            array = builder.floats(name, "operand")
            part = builder.constant_value(array, order, dims)
        else:
            part = builder.arranged(builder.value(name), order, dims)
        # Halves of a value that are put together again are the value.
        if parts:
            size = parts[-1].shape[axis] + shape[axis]
            both = (*shape[:axis], size, *shape[axis + 1 :])
            again = builder.adjoining(parts[-1], part, dim, both)
            if again is not None:
                parts[-1] = again
                continue
        parts.append(part)
    if len(parts) == 1:
        return parts[0]
    result = builder.empty(result_shape, order, _with(lead_dims, dim, total * inner))
    position = 0
    for part in parts:
        origin = _with((0, 0, 0, 0), dim, position * inner)
        place = builder.box(result, origin, builder.dims(part), part.shape, order)
        builder.emit(Op.CLAMP, [part], part.shape, order, into=place)
        position += part.shape[axis]
    return result


def gathered(
    builder: Builder,
    value: Value,
    indices: Mapping[int, npt.NDArray[np.int64]],
    fill: float = 0.0,
) -> Value:
    """Pick elements along some axes, in any order and any number of times.

    Args:
        builder: The builder.
        value: What to pick from.
        indices: For an axis, the index of each element of the result; -1 for
            an element that is filled.
        fill: What those are filled with.

    Raises:
        Unsupported: A size beyond the engine's limits.
    """
    moving = {
        axis: table
        for axis, table in indices.items()
        if not np.array_equal(table, np.arange(value.shape[axis]))
    }
    if not moving:
        return value
    if len(moving) == 1:
        ((axis, table),) = moving.items()
        run = np.arange(table[0], table[0] + len(table))
        if table[0] >= 0 and np.array_equal(table, run):
            return sliced(builder, value, axis, int(table[0]), int(run[-1]) + 1)
    shape = tuple(
        len(moving[axis]) if axis in moving else size
        for axis, size in enumerate(value.shape)
    )
    if math.isnan(fill):
        raise Unsupported("it fills with NaN")
    spans = layout.spread(builder.dims(value), value.shape, value.order)
    if spans is None or any(value.shape[axis] == 1 for axis in moving):
        spans = _spans(value, moving)
        sizes = [math.prod(value.shape[axis] for axis in span) for span in spans]
        dims = (sizes[0], sizes[1], sizes[2], sizes[3])
        value = builder.arranged(value, value.order, dims)
    tables = [_table(value.shape, span, moving) for span in spans]
    sizes = [len(table) for table in tables]
    words = [np.where(table < 0, MISSING, table).astype(np.uint32) for table in tables]
    return builder.emit(
        Op.GATHER,
        [value],
        shape,
        value.order,
        dims=(sizes[0], sizes[1], sizes[2], sizes[3]),
        attributes=Attributes(alpha=fill),
        weights=GatherTables(words[0], words[1], words[2], words[3]),
    )


def _table(
    shape: Shape, span: list[int], moving: Mapping[int, npt.NDArray[np.int64]]
) -> npt.NDArray[np.int64]:
    """Return the table of a stored dimension from those of the axes in it."""
    table = np.zeros(1, np.int64)
    for axis in span:
        own = moving.get(axis, np.arange(shape[axis]))
        if len(table) * len(own) > _spec.MAX_DIM:
            raise Unsupported("a tensor beyond the largest dimension")
        missing = (table[:, None] < 0) | (own < 0)
        table = np.where(missing, -1, table[:, None] * shape[axis] + own).reshape(-1)
    return table


def _spans(value: Value, moving: Mapping[int, object]) -> list[list[int]]:
    """Choose which axes lie in which stored dimension, axes of size 1 as well."""
    axes = list(value.order)
    if len(axes) > 4:
        axes = [axis for axis in axes if value.shape[axis] != 1 or axis in moving]
    alone = [[axis] for axis in axes[-3:]]
    if len(axes) > 3:
        return [axes[:-3], *alone]
    # As `layout.canonical_dims` has it: n first, c last.
    between: list[list[int]] = [[] for _ in range(4 - len(axes))]
    return [*alone[:-1][:1], *between, *alone[:-1][1:], *alone[-1:]]


def _axis_in_a_box(builder: Builder, value: Value, axis: int) -> Value:
    """Return a value of which slices along the axis are boxes."""
    if _boxes(builder.dims(value), value.shape, value.order, axis):
        return value
    outer, inner = _around(value.shape, value.order, axis)
    canonical = layout.canonical_dims(value.shape, value.order)
    if _boxes(canonical, value.shape, value.order, axis):
        return builder.arranged(value, value.order, canonical)
    return builder.arranged(
        value, value.order, (1, 1, outer, value.shape[axis] * inner)
    )


def _around(shape: Shape, order: Order, axis: int) -> tuple[int, int]:
    """Return how many elements lie outside and inside of an axis."""
    position = order.index(axis)
    return (
        math.prod(shape[other] for other in order[:position]),
        math.prod(shape[other] for other in order[position + 1 :]),
    )


def _boxes(dims: Dims, shape: Shape, order: Order, axis: int) -> list[tuple[int, int]]:
    """Return the dimensions of which the axis is the outermost part.

    Returns:
        Pairs (dimension, elements of the dimension to one of the axis).
    """
    outer, inner = _around(shape, order, axis)
    found = []
    for dim in range(4):
        rest = math.prod(dims[dim + 1 :])
        if math.prod(dims[:dim]) == outer and inner % rest == 0:
            found.append((dim, inner // rest))
    return found


def _box_of(
    dims: Dims, shape: Shape, order: Order, axis: int, result: Shape
) -> tuple[int, int]:
    """Choose the dimension to cut, so that the result has its usual dimensions."""
    found = _boxes(dims, shape, order, axis)
    canonical = layout.canonical_dims(result, order)
    for dim, inner in found:
        if _with(dims, dim, result[axis] * inner) == canonical:
            return dim, inner
    return found[-1]


def _with(dims: Dims, at: int, size: int) -> Dims:
    sizes = list(dims)
    sizes[at] = size
    return (sizes[0], sizes[1], sizes[2], sizes[3])
