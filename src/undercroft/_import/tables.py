# SPDX-License-Identifier: Apache-2.0
"""Tables of GATHER and RESIZE_LINEAR, which travel as weights of one panel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from undercroft._import.weights import Array, Weights

__all__ = ["MISSING", "GatherTables", "Indices", "ResizeTables", "Taps"]

Indices = npt.NDArray[np.uint32]

MISSING = 0xFFFF_FFFF
"""The index of an element that is filled."""


class _Tables(Weights):
    """32-bit words in one panel."""

    def _words(self) -> npt.NDArray[np.uint32]:
        raise NotImplementedError

    @property
    def panel_bytes(self) -> int:
        return -(-4 * self._words().size // 32) * 32

    @property
    def panel_count(self) -> int:
        return 1

    def _pack(self, first: int, last: int) -> Array:
        words = self._words()
        packed = np.zeros((last - first, self.panel_bytes // 4), np.uint32)
        packed[:, : words.size] = words
        return packed.view(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class GatherTables(_Tables):
    """GATHER.

    Attributes:
        n, h, w, c: For each index along a stored axis of the output the index
            of the input, or `MISSING`.
    """

    n: Indices
    h: Indices
    w: Indices
    c: Indices

    def _words(self) -> npt.NDArray[np.uint32]:
        return np.concatenate([self.n, self.h, self.w, self.c]).astype(np.uint32)

    def band(self, first: int, last: int, input_first: int = 0) -> GatherTables:
        """Return the tables of rows `first` to `last` (exclusive) of the output.

        Args:
            first: First row of the output.
            last: The row after the last.
            input_first: The row of the input at which the input's band begins.
        """
        rows = self.h[first:last]
        moved = np.where(rows == MISSING, MISSING, rows - np.uint32(input_first))
        return GatherTables(self.n, moved.astype(np.uint32), self.w, self.c)

    def input_rows(self, first: int, last: int) -> tuple[int, int]:
        """Return which rows of the input rows of the output read, end exclusive."""
        return _span(self.h[first:last])


@dataclass(frozen=True, slots=True, eq=False)
class Taps:
    """Where the elements of an axis lie: between `low` and `high` of the input.

    Attributes:
        low, high: Indices of the input, `MISSING` for an element that is filled.
        weight: How far towards `high`, 0 to 1.
    """

    low: Indices
    high: Indices
    weight: Array

    def words(self) -> npt.NDArray[np.uint32]:
        """Return the table's words."""
        weight = np.ascontiguousarray(self.weight, np.float32)
        return np.concatenate([self.low, self.high, weight.view(np.uint32)])


@dataclass(frozen=True, slots=True, eq=False)
class ResizeTables(_Tables):
    """RESIZE_LINEAR.

    Attributes:
        h: Rows of the output.
        w: Columns of the output.
    """

    h: Taps
    w: Taps

    def _words(self) -> npt.NDArray[np.uint32]:
        return np.concatenate([self.h.words(), self.w.words()])

    def band(self, first: int, last: int, input_first: int = 0) -> ResizeTables:
        """Return the tables of rows `first` to `last`, as `GatherTables.band`."""
        low, high = (
            np.where(rows == MISSING, MISSING, rows - np.uint32(input_first)).astype(
                np.uint32
            )
            for rows in (self.h.low[first:last], self.h.high[first:last])
        )
        return ResizeTables(Taps(low, high, self.h.weight[first:last]), self.w)

    def input_rows(self, first: int, last: int) -> tuple[int, int]:
        """Return which rows of the input rows of the output read, end exclusive."""
        rows = np.concatenate([self.h.low[first:last], self.h.high[first:last]])
        return _span(rows)


def _span(rows: Indices) -> tuple[int, int]:
    real = rows[rows != MISSING]
    return (int(real.min()), int(real.max()) + 1) if real.size else (0, 1)
