# SPDX-License-Identifier: Apache-2.0
"""Products of two activations, for MatMul."""

from __future__ import annotations

import math

import numpy as np

from undercroft import _spec
from undercroft._import import layout
from undercroft._import.builder import Builder, Unsupported, Value
from undercroft._import.graph import Attributes
from undercroft._import.layout import Shape
from undercroft._spec import Op

__all__ = ["product"]


def product(builder: Builder, first: str, second: str) -> Value:
    """Emit MATRIX_MULTIPLY of two values and return its result."""
    a, b = builder.value(first), builder.value(second)
    if not a.shape or not b.shape:
        raise Unsupported(f"it multiplies {a.shape} by {b.shape}")
    # A vector is a row before a matrix, a column after one.
    vectors = len(a.shape) == 1, len(b.shape) == 1
    if vectors[0]:
        a = builder.viewed(a, (1, *a.shape))
    if vectors[1]:
        b = builder.viewed(b, (*b.shape, 1))
    result = _matrices(builder, a, b)
    if any(vectors):
        rows = () if vectors[0] else result.shape[-2:-1]
        columns = () if vectors[1] else result.shape[-1:]
        shape = (*result.shape[:-2], *rows, *columns)
        result = builder.viewed(result, shape)
    return result


def _matrices(builder: Builder, a: Value, b: Value) -> Value:
    rows, inner = a.shape[-2:]
    columns = b.shape[-1]
    if b.shape[-2] != inner:
        raise Unsupported(f"it multiplies {a.shape} by {b.shape}")
    rank = max(len(a.shape), len(b.shape)) - 2
    batches = [(1,) * (rank + 2 - len(x.shape)) + x.shape[:-2] for x in (a, b)]
    try:
        batch = np.broadcast_shapes(*batches)
    except ValueError as error:
        raise Unsupported(f"it multiplies {a.shape} by {b.shape}") from error
    stored = _merged(batch, batches)
    if stored is None:
        raise Unsupported(f"it broadcasts {a.shape} and {b.shape}")
    (n_a, n_b), (h_a, h_b) = stored
    n, h = max(n_a, n_b), max(h_a, h_b)
    a = builder.arranged(a, layout.row_major(len(a.shape)), (n_a, h_a, rows, inner))
    # A second matrix that lies transposed is read so.
    last = len(b.shape) - 1
    turned = (*range(last - 1), last, last - 1)
    flags = 0
    if layout.same_arrangement(
        b.shape, b.order, turned
    ) and not layout.same_arrangement(b.shape, b.order, layout.row_major(last + 1)):
        flags = _spec.OP_FLAG_TRANSPOSED
        b = builder.arranged(b, turned, (n_b, h_b, columns, inner))
    else:
        b = builder.arranged(b, layout.row_major(last + 1), (n_b, h_b, inner, columns))
    return builder.emit(
        Op.MATRIX_MULTIPLY,
        [a, b],
        (*batch, rows, columns),
        layout.row_major(len(batch) + 2),
        dims=(n, h, rows, columns),
        attributes=Attributes(flags=flags),
    )


def _merged(
    batch: Shape, operands: list[Shape]
) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Merge batch axes along which the same operands are broadcast.

    Returns:
        Sizes of both operands along n and along h; None when more are needed.
    """
    groups: list[tuple[tuple[bool, ...], list[int]]] = []
    for axis, size in enumerate(batch):
        if size == 1:
            continue
        pattern = tuple(operand[axis] == 1 for operand in operands)
        if groups and groups[-1][0] == pattern:
            groups[-1][1].append(axis)
        else:
            groups.append((pattern, [axis]))
    if len(groups) > 2:
        return None
    sizes = [(1, 1)] * (2 - len(groups))
    for _, axes in groups:
        one, other = (math.prod(operand[i] for i in axes) for operand in operands)
        sizes.append((one, other))
    return sizes[0], sizes[1]
