# SPDX-License-Identifier: Apache-2.0
"""Which rows of its operands an operator needs for which rows of its result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from undercroft._format.ops import OPS
from undercroft._import.tables import GatherTables, ResizeTables
from undercroft._planner.network import Network, Node
from undercroft._spec import NormalizeFunction, Op

__all__ = ["Window", "bandable", "input_rows", "some_columns", "window"]

CONVOLUTIONS: Final = frozenset(
    {Op.CONV_2D, Op.DEPTHWISE_CONV_2D, Op.CONV_2D_S8, Op.DEPTHWISE_CONV_2D_S8}
)
POOLS: Final = frozenset(
    {Op.MAX_POOL_2D, Op.AVERAGE_POOL_2D, Op.MAX_POOL_2D_S8, Op.AVERAGE_POOL_2D_S8}
)
Tables = GatherTables | ResizeTables
Ints = npt.NDArray[np.int64]
ROW_BY_ROW: Final = frozenset(
    {Op.FULLY_CONNECTED, Op.ARG_MAX, Op.QUANTIZE, Op.DEQUANTIZE, Op.ADD_S8, Op.MUL_S8}
)
"""Operators, beside elementwise ones, whose rows need the same rows only."""


@dataclass(frozen=True, slots=True)
class Window:
    """Rows of an operand: row r of the result needs `reach` rows from r * stride - pad.

    Attributes:
        reach: Rows from the first to the last that one row of the result needs.
        stride: Rows further for each row of the result.
        pad: Rows of padding on top.
        size: Rows of the operand.
    """

    reach: int
    stride: int
    pad: int
    size: int

    def first(self, row: int) -> int:
        """Return the first row needed for this row of the result."""
        return min(max(0, row * self.stride - self.pad), self.size - 1)

    def end(self, row: int) -> int:
        """Return the end of the rows needed for rows up to `row`, exclusive."""
        if row <= 0:
            return 0
        return max(1, min(self.size, (row - 1) * self.stride - self.pad + self.reach))

    def ends(self, rows: Ints) -> Ints:
        """Return the same for several numbers of rows, none of them 0."""
        last = (rows - 1) * self.stride - self.pad + self.reach
        return np.clip(last, 1, self.size)

    def firsts(self, rows: Ints) -> Ints:
        """Return the first row needed for each of several rows."""
        return np.clip(rows * self.stride - self.pad, 0, self.size - 1)

    def ahead(self, rows: float) -> float:
        """Return what `end` would be if the operand went on for ever."""
        return (rows - 1) * self.stride - self.pad + self.reach

    def pads(self, first: int, last: int) -> tuple[int, int]:
        """Return rows of padding above and below for rows `first` to `last`."""
        top = self.first(first) - (first * self.stride - self.pad)
        below = (last - 1) * self.stride - self.pad + self.reach - self.end(last)
        return max(0, top), max(0, below)


class TableWindow(Window):
    """Rows of an operand as tables name them.

    Args:
        tables: The tables of a GATHER or RESIZE_LINEAR.
        rows: Rows of the result.
        size: Rows of the operand.
    """

    __slots__ = ("_ends", "_firsts", "_scale")
    _ends: Ints
    _firsts: Ints
    _scale: float

    def __init__(self, tables: Tables, rows: int, size: int) -> None:
        super().__init__(1, 1, 0, size)
        spans = [tables.input_rows(row, row + 1) for row in range(rows)]
        first = np.array([span[0] for span in spans], np.int64)
        end = np.array([span[1] for span in spans], np.int64)
        # Later rows never need earlier ones than these, earlier ones no later.
        firsts = np.minimum.accumulate(first[::-1])[::-1]
        object.__setattr__(self, "_firsts", firsts)
        object.__setattr__(self, "_ends", np.maximum.accumulate(end))
        object.__setattr__(self, "_scale", size / rows)

    def first(self, row: int) -> int:
        """Return the first row needed for this row and those after it."""
        return int(self._firsts[min(row, len(self._firsts) - 1)])

    def end(self, row: int) -> int:
        """Return the end of the rows needed for rows up to `row`, exclusive."""
        return int(self._ends[row - 1]) if row > 0 else 0

    def ends(self, rows: Ints) -> Ints:
        """Return the same for several numbers of rows, none of them 0."""
        return np.asarray(self._ends[np.maximum(rows, 1) - 1])

    def firsts(self, rows: Ints) -> Ints:
        """Return the first row needed for each of several rows."""
        return np.asarray(self._firsts[np.minimum(rows, len(self._firsts) - 1)])

    def ahead(self, rows: float) -> float:
        """Return what `end` would be if the operand went on for ever."""
        return rows * self._scale + 1

    def pads(self, first: int, last: int) -> tuple[int, int]:
        """Return no padding: what is filled, the tables say."""
        del first, last
        return 0, 0


def window(node: Node, operand: int) -> Window | None:
    """Return how an operand's rows are needed.

    Returns:
        None when all of it is needed for any row: it is broadcast over rows.
    """
    read = node.reads[operand]
    op, attributes = node.operator, node.operator.attributes
    if op.code in CONVOLUTIONS | POOLS:
        dilation = attributes.dilation[0] if op.code in CONVOLUTIONS else 1
        reach = dilation * (attributes.kernel[0] - 1) + 1
        return Window(reach, attributes.stride[0], attributes.pads[0], read.dims[1])
    if isinstance(op.weights, Tables):
        return TableWindow(op.weights, node.writes.dims[1], read.dims[1])
    if read.dims[1] != node.writes.dims[1]:
        return None
    return Window(1, 1, 0, read.dims[1])


def bandable(net: Network, node: Node) -> bool:
    """Whether an operator can compute some rows of its result at a time.

    A result that is some columns of a tensor only counts where that tensor will
    exist whole (`some_columns`).
    """
    writes = node.writes
    batch, rows, *_ = net.roots[writes.root].dims
    if batch != 1 or rows < 2 or writes.dims[1] != rows:
        return False
    code, attributes = node.operator.code, node.operator.attributes
    if code in CONVOLUTIONS | POOLS:
        reach = attributes.dilation[0] * (attributes.kernel[0] - 1) + 1
        if code in POOLS:
            reach = attributes.kernel[0]
        # A window that lies wholly in padding has no rows to name.
        return max(attributes.pads[0], attributes.pads[2]) < reach
    if isinstance(node.operator.weights, Tables):
        return node.reads[0].dims[0] == 1
    if code in (Op.CLAMP, Op.LOOKUP_S8):
        return node.reads[0].dims == writes.dims
    if code is Op.NORMALIZE:
        return attributes.function == NormalizeFunction.ROWS
    return code in ROW_BY_ROW or (code in OPS and OPS[code].elementwise)


def some_columns(net: Network, node: Node) -> bool:
    """Whether a node writes some columns of a tensor, and others the rest.

    Rows of such a tensor cannot be kept from band to band, which takes columns
    of all rows: it must not be an intermediate tensor of a run in bands.
    """
    return node.writes.dims[2] != net.roots[node.writes.root].dims[2]


def input_rows(node: Node, operand: int, first: int, last: int) -> tuple[int, int]:
    """Return the rows of an operand for rows `first` to `last` of the result."""
    rows = window(node, operand)
    if rows is None:
        return 0, node.reads[operand].dims[1]
    return rows.first(first), rows.end(last)
