# SPDX-License-Identifier: Apache-2.0
"""Weights of the operators on 8-bit activations (`spec/sealed-model.md`)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from undercroft._format.ops.quantised import blocks
from undercroft._import.weights import Array, Weights
from undercroft._spec import PANEL_CHANNELS

__all__ = ["ConvS8Weights", "DepthwiseS8Weights", "LookupTable"]

Integers = npt.NDArray[np.int8]

_LANES = PANEL_CHANNELS
_BLOCK = 4
_HEAD_BYTES = 64


def _heads(
    bias: npt.NDArray[np.int32], multiplier: Array, starts: list[int], ends: list[int]
) -> npt.NDArray[np.uint8]:
    """Return biases and multipliers of panels, 64 bytes a row."""
    words = np.zeros((len(starts), 2, _LANES), "<u4")
    for row, (start, end) in enumerate(zip(starts, ends, strict=True)):
        words[row, 0, : end - start] = bias[start:end].astype("<i4").view("<u4")
        words[row, 1, : end - start] = multiplier[start:end].astype("<f4").view("<u4")
    return words.reshape(len(starts), -1).view(np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class ConvS8Weights(Weights):
    """CONV_2D_S8.

    Attributes:
        kernel: `(cout, cin / groups, kh, kw)`, from -127 to 127.
        bias: `(cout,)`, the input's zero point taken off.
        multiplier: `(cout,)`, from a sum of products to the output.
        groups: Groups of channels.
    """

    kernel: Integers
    bias: npt.NDArray[np.int32]
    multiplier: Array
    groups: int = 1

    @property
    def _group_blocks(self) -> int:
        return -(-(len(self.kernel) // self.groups) // _LANES)

    @property
    def _row_blocks(self) -> int:
        _, cin, kh, kw = self.kernel.shape
        return blocks(kh * kw, cin)

    @property
    def panel_bytes(self) -> int:
        return _HEAD_BYTES + self._row_blocks * _LANES * _BLOCK

    @property
    def panel_count(self) -> int:
        return self.groups * self._group_blocks

    def _pack(self, first: int, last: int) -> Array:
        per_group = len(self.kernel) // self.groups
        depth = self.kernel[0].size
        rows = np.zeros((last - first, _LANES, self._row_blocks * _BLOCK), np.int8)
        starts, ends = [], []
        for row, panel in enumerate(range(first, last)):
            group, block = divmod(panel, self._group_blocks)
            start = group * per_group + block * _LANES
            end = min(start + _LANES, (group + 1) * per_group)
            part = self.kernel[start:end].transpose(0, 2, 3, 1)
            rows[row, : end - start, :depth] = part.reshape(end - start, depth)
            starts.append(start)
            ends.append(end)
        parts = rows.reshape(last - first, _LANES, self._row_blocks, _BLOCK)
        body = parts.transpose(0, 2, 1, 3).reshape(last - first, -1)
        heads = _heads(self.bias, self.multiplier, starts, ends)
        return np.concatenate([heads, body.view(np.uint8)], axis=1).view(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class DepthwiseS8Weights(Weights):
    """DEPTHWISE_CONV_2D_S8.

    Attributes:
        kernel: `(c, kh, kw)`, from -127 to 127.
        bias: `(c,)`, the input's zero point taken off.
        multiplier: `(c,)`, from a sum of products to the output.
    """

    kernel: Integers
    bias: npt.NDArray[np.int32]
    multiplier: Array

    @property
    def _taps(self) -> int:
        return math.prod(self.kernel.shape[1:])

    @property
    def panel_bytes(self) -> int:
        return -(-(_HEAD_BYTES + self._taps * _LANES) // 32) * 32

    @property
    def panel_count(self) -> int:
        return -(-len(self.kernel) // _LANES)

    def _pack(self, first: int, last: int) -> Array:
        start, end = first * _LANES, min(last * _LANES, len(self.kernel))
        lanes = np.zeros((last - first, _LANES, self._taps), np.int8)
        flat = lanes.reshape(-1, self._taps)
        flat[: end - start] = self.kernel[start:end].reshape(end - start, -1)
        starts = list(range(start, last * _LANES, _LANES))
        heads = _heads(
            self.bias,
            self.multiplier,
            starts,
            [min(at + _LANES, len(self.kernel)) for at in starts],
        )
        packed = np.zeros((last - first, self.panel_bytes), np.uint8)
        packed[:, :_HEAD_BYTES] = heads
        body = lanes.transpose(0, 2, 1).reshape(last - first, -1)
        packed[:, _HEAD_BYTES : _HEAD_BYTES + body.shape[1]] = body.view(np.uint8)
        return packed.view(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class LookupTable(Weights):
    """LOOKUP_S8.

    Attributes:
        table: `(256,)`: what becomes of an integer, which is read as unsigned.
    """

    table: Integers

    @property
    def panel_bytes(self) -> int:
        return 256

    @property
    def panel_count(self) -> int:
        return 1

    def _pack(self, first: int, last: int) -> Array:
        rows = np.tile(self.table, (last - first, 1)).astype(np.int8)
        return rows.view(np.float32)
