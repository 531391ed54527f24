# SPDX-License-Identifier: Apache-2.0
"""The imported network: what the planner places and the device executes.

Operators are those of the engine (`undercroft._spec.Op`), tensors have the four
dimensions in which they lie in the arena, in the order of storage.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from undercroft import _spec
from undercroft._format.ops import OPS
from undercroft._format.program import DTYPE_BYTES, NOT_QUANTISED, Dims, Quantisation
from undercroft._import.weights import Int8Weights, Weights
from undercroft._spec import Op
from undercroft.tensor import TensorInfo

__all__ = ["NO_CLAMP", "Attributes", "Graph", "Operator", "Tensor", "with_int8_weights"]

NO_CLAMP = (-math.inf, math.inf)


@dataclass(frozen=True, slots=True)
class Tensor:
    """An activation.

    Attributes:
        name: The ONNX value it was made for.
        dims: Elements along n, h, w, c as stored.
        wire_layout: For an input or output, how it crosses the boundary.
        parent: For a view, the tensor of which it is a box; never a view itself.
        origin: Where in its parent the box begins: n, h, w, c as stored.
        quantisation: What its integers stand for; `NOT_QUANTISED` for f32.
    """

    name: str
    dims: Dims
    wire_layout: int = 0
    parent: int | None = None
    origin: Dims = (0, 0, 0, 0)
    quantisation: Quantisation = NOT_QUANTISED

    @property
    def dtype(self) -> int:
        """The type of its elements."""
        return _spec.DTYPE_F32 if self.quantisation == NOT_QUANTISED else _spec.DTYPE_S8

    @property
    def size_bytes(self) -> int:
        """How many bytes it takes."""
        return DTYPE_BYTES[self.dtype] * math.prod(self.dims)


@dataclass(frozen=True, slots=True)
class Attributes:
    """What an operator has beyond its operands; as in the op record."""

    flags: int = 0
    alpha: float = 0.0
    beta: float = 0.0
    kernel: tuple[int, int] = (0, 0)
    stride: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (0, 0)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 0
    permutation: tuple[int, int, int, int] = (0, 0, 0, 0)
    function: int = 0


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator of the engine.

    Attributes:
        name: The ONNX node it comes from.
        code: What it computes.
        inputs: None, one or two tensors, by index.
        output: The tensor it writes.
        attributes: Its parameters.
        clamp: Bounds applied to what it computes.
        weights: Its panels, or None.
    """

    name: str
    code: Op
    inputs: tuple[int, ...]
    output: int
    attributes: Attributes = Attributes()
    clamp: tuple[float, float] = NO_CLAMP
    weights: Weights | None = None


@dataclass(frozen=True, slots=True)
class Graph:
    """A network with static shapes, its operators in an order of execution."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    input_infos: tuple[TensorInfo, ...]
    output_infos: tuple[TensorInfo, ...]

    def root(self, tensor: int) -> int:
        """Return the tensor whose memory a tensor lies in: itself or its parent."""
        parent = self.tensors[tensor].parent
        return tensor if parent is None else parent

    @property
    def weights_bytes(self) -> int:
        """Bytes of all weight panels."""
        return sum(
            operator.weights.size_bytes
            for operator in self.operators
            if operator.weights is not None
        )


def with_int8_weights(graph: Graph) -> Graph:
    """Return the network with weights in 8 bits wherever that saves enough."""
    return replace(graph, operators=tuple(map(_with_int8, graph.operators)))


def _with_int8(operator: Operator) -> Operator:
    if operator.weights is None or not OPS[operator.code].int8_weights:
        return operator
    weights = Int8Weights(operator.weights)
    return replace(operator, weights=weights) if weights.is_worth_it else operator
