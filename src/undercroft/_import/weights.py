# SPDX-License-Identifier: Apache-2.0
"""Weights in the panels that the kernels read (`spec/sealed-model.md`, Weights).

The arrays stay as they came out of the ONNX file; panels are packed when they
are asked for, a few at a time, so that no second copy of a network exists.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from undercroft import _spec
from undercroft._format.ops.convolution import depthwise_slots
from undercroft._format.weights import int8_panel_bytes
from undercroft._spec import PANEL_CHANNELS
from undercroft.errors import ModelError

__all__ = [
    "ConstantWeights",
    "ConvWeights",
    "DenseWeights",
    "DepthwiseWeights",
    "Int8Weights",
    "NormalizeWeights",
    "Weights",
]

Array = npt.NDArray[np.float32]

_LANES = PANEL_CHANNELS
_CHUNK_BYTES = 1 << 20
_CONSTANT_PANEL_BYTES = 4096


class Weights(ABC):
    """The panels of one operator, all of one size."""

    @property
    @abstractmethod
    def panel_bytes(self) -> int:
        """Bytes of one panel, a multiple of 32."""

    @property
    @abstractmethod
    def panel_count(self) -> int:
        """How many panels there are."""

    @property
    def format(self) -> int:
        """How the panels store a weight: `WEIGHTS_F32` or another."""
        return _spec.WEIGHTS_F32

    @property
    def size_bytes(self) -> int:
        """Bytes of all panels."""
        return self.panel_bytes * self.panel_count

    @abstractmethod
    def _pack(self, first: int, last: int) -> Array:
        """Return panels `first` to `last`, exclusive, one a row."""

    def panels(self, first: int, last: int) -> Iterator[memoryview]:
        """Yield the bytes of panels `first` to `last` (exclusive), in chunks."""
        step = max(1, _CHUNK_BYTES // self.panel_bytes)
        for start in range(first, last, step):
            packed = self._pack(start, min(start + step, last))
            packed = np.ascontiguousarray(packed, dtype="<f4")
            yield packed.data.cast("B")


@dataclass(frozen=True, slots=True, eq=False)
class ConvWeights(Weights):
    """CONV_2D.

    Attributes:
        kernel: `(cout, cin / groups, kh, kw)`, as in ONNX.
        bias: `(cout,)`.
        groups: Groups of channels.
    """

    kernel: Array
    bias: Array
    groups: int = 1

    @property
    def _blocks(self) -> int:
        return -(-(len(self.kernel) // self.groups) // _LANES)

    @property
    def panel_bytes(self) -> int:
        return 4 * _LANES * (1 + math.prod(self.kernel.shape[1:]))

    @property
    def panel_count(self) -> int:
        return self.groups * self._blocks

    def _pack(self, first: int, last: int) -> Array:
        cout, cin, kh, kw = self.kernel.shape
        per_group = cout // self.groups
        packed = np.zeros((last - first, 1 + kh * kw * cin, _LANES), np.float32)
        for row, panel in enumerate(range(first, last)):
            group, block = divmod(panel, self._blocks)
            start = group * per_group + block * _LANES
            stop = min(start + _LANES, (group + 1) * per_group)
            lanes = stop - start
            packed[row, 0, :lanes] = self.bias[start:stop]
            packed[row, 1:, :lanes] = (
                self.kernel[start:stop].transpose(2, 3, 1, 0).reshape(-1, lanes)
            )
        return packed.reshape(last - first, -1)


@dataclass(frozen=True, slots=True, eq=False)
class DepthwiseWeights(Weights):
    """DEPTHWISE_CONV_2D.

    Attributes:
        kernel: `(c, kh, kw)`.
        bias: `(c,)`.
    """

    kernel: Array
    bias: Array

    @property
    def _slots(self) -> int:
        return depthwise_slots(math.prod(self.kernel.shape[1:]))

    @property
    def panel_bytes(self) -> int:
        return 4 * _LANES * (1 + self._slots)

    @property
    def panel_count(self) -> int:
        return -(-len(self.kernel) // _LANES)

    def _pack(self, first: int, last: int) -> Array:
        start, stop = first * _LANES, min(last * _LANES, self.kernel.shape[0])
        taps = self.kernel.shape[1] * self.kernel.shape[2]
        lanes = np.zeros((last - first, _LANES, 1 + self._slots), np.float32)
        flat = lanes.reshape(-1, 1 + self._slots)[: stop - start]
        flat[:, 0] = self.bias[start:stop]
        flat[:, 1 : 1 + taps] = self.kernel[start:stop].reshape(stop - start, taps)
        return lanes.transpose(0, 2, 1).reshape(last - first, -1)


@dataclass(frozen=True, slots=True, eq=False)
class DenseWeights(Weights):
    """FULLY_CONNECTED.

    Attributes:
        matrix: `(cin, cout)`.
        bias: `(cout,)`.
        scale: Factor on the matrix (ONNX Gemm's alpha).
    """

    matrix: Array
    bias: Array
    scale: float = 1.0

    @property
    def panel_bytes(self) -> int:
        return 4 * _LANES * (1 + len(self.matrix))

    @property
    def panel_count(self) -> int:
        return -(-len(self.bias) // _LANES)

    def _pack(self, first: int, last: int) -> Array:
        cin, cout = self.matrix.shape
        start, stop = first * _LANES, min(last * _LANES, cout)
        columns = np.zeros((1 + cin, (last - first) * _LANES), np.float32)
        columns[0, : stop - start] = self.bias[start:stop]
        columns[1:, : stop - start] = self.matrix[:, start:stop]
        if self.scale != 1.0:
            columns[1:, : stop - start] *= np.float32(self.scale)
        return (
            columns.reshape(1 + cin, last - first, _LANES)
            .transpose(1, 0, 2)
            .reshape(last - first, -1)
        )


@dataclass(frozen=True, slots=True, eq=False)
class NormalizeWeights(Weights):
    """NORMALIZE.

    Attributes:
        factor: `(c,)`.
        addend: `(c,)`.
    """

    factor: Array
    addend: Array

    @property
    def panel_bytes(self) -> int:
        return 2 * 4 * _LANES * -(-len(self.factor) // _LANES)

    @property
    def panel_count(self) -> int:
        return 1

    def _pack(self, first: int, last: int) -> Array:
        packed = np.zeros((last - first, 2, self.panel_bytes // 8), np.float32)
        packed[:, 0, : len(self.factor)] = self.factor
        packed[:, 1, : len(self.addend)] = self.addend
        return packed.reshape(last - first, -1)


@dataclass(frozen=True, slots=True, eq=False)
class ConstantWeights(Weights):
    """CONSTANT: a tensor's elements in the order of storage."""

    elements: Array

    @property
    def panel_bytes(self) -> int:
        return min(_CONSTANT_PANEL_BYTES, -(-4 * self.elements.size // 32) * 32)

    @property
    def panel_count(self) -> int:
        return -(-4 * self.elements.size // self.panel_bytes)

    def _pack(self, first: int, last: int) -> Array:
        width = self.panel_bytes // 4
        packed = np.zeros((last - first) * width, np.float32)
        part = self.elements.reshape(-1)[first * width : last * width]
        packed[: part.size] = part
        return packed.reshape(last - first, width)


_INT8_MAX = 127
# What int8 weights must save to be worth it: little ones would lose precision
# and cost unpacking for hardly a page less.
_LEAST_SAVING_BYTES = 32 << 10


@dataclass(frozen=True, slots=True, eq=False)
class Int8Weights(Weights):
    """The weights of another operator in 8 bits, with a scale per channel.

    Symmetric: a weight w is stored as the integer nearest to w / scale, ties to
    even, and scale is the largest magnitude of its output channel divided by
    127. Biases stay f32.

    Attributes:
        weights: What is stored; of CONV_2D, DEPTHWISE_CONV_2D or
            FULLY_CONNECTED.

    Packing raises `ModelError` when a weight is no finite number.
    """

    weights: Weights

    @property
    def format(self) -> int:
        return _spec.WEIGHTS_INT8

    @property
    def panel_bytes(self) -> int:
        return int8_panel_bytes(self.weights.panel_bytes)

    @property
    def panel_count(self) -> int:
        return self.weights.panel_count

    @property
    def is_worth_it(self) -> bool:
        """Whether enough bytes are saved."""
        return self.weights.size_bytes - self.size_bytes >= _LEAST_SAVING_BYTES

    def _pack(self, first: int, last: int) -> Array:
        floats = self.weights._pack(first, last)
        panels = floats.reshape(last - first, -1, _LANES)
        if not np.isfinite(floats).all():
            raise ModelError(
                "weights that are infinite or no numbers cannot be stored in 8 bits",
                hint="seal with f32 weights",
            )
        scale, quantised = quantise(panels[:, 1:], axis=1)
        head = 2 * 4 * _LANES
        packed = np.zeros((last - first, self.panel_bytes), np.uint8)
        packed[:, :head].view("<f4")[:, :_LANES] = panels[:, 0]
        packed[:, :head].view("<f4")[:, _LANES:] = scale
        body = quantised.reshape(last - first, -1)
        packed[:, head : head + body.shape[1]] = body.view(np.uint8)
        return packed.view(np.float32)


def quantise(weights: Array, axis: int) -> tuple[Array, npt.NDArray[np.int8]]:
    """Quantise weights to 8 bits, symmetrically, a scale per channel.

    Args:
        weights: Any shape.
        axis: The axis along which all weights share a scale.

    Returns:
        The scales, in the shape without the axis, 0 where all weights are, and
        the integers from -127 to 127 in the shape of the weights.
    """
    scale = np.abs(weights).max(axis=axis) / np.float32(_INT8_MAX)
    divisor = np.expand_dims(np.where(scale > 0, scale, np.float32(1)), axis)
    # A scale below the smallest normal float has lost bits: keep the range.
    integers = np.rint(weights / divisor).clip(-_INT8_MAX, _INT8_MAX)
    return scale.astype(np.float32), integers.astype(np.int8)
