# SPDX-License-Identifier: Apache-2.0
"""Graphs as onnxruntime's quantiser writes them, read as 8-bit operators.

Around every operator of such a graph stand DequantizeLinear nodes, at its
operands, and a QuantizeLinear node behind it. Where the engine has the operator
in 8 bits they become one node of the domain `undercroft.q8`, whose operands are
the integers themselves; what is left of the pairs becomes conversions, and the
operator between them is computed in f32. Both are right, one is faster.

Unsigned integers become signed by moving the zero point.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from undercroft._format.program import Quantisation
from undercroft._import.source import Node, Source
from undercroft._spec import MAX_KERNEL_SIZE

__all__ = ["DOMAIN", "Quantised", "fused", "scale_and_zero"]

DOMAIN: Final = "undercroft.q8"

_ELEMENTWISE: Final = frozenset(
    {
        "Clip",
        "Elu",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "Relu",
        "Sigmoid",
        "Tanh",
    }
)
_BOUNDS: Final = frozenset({"Clip", "Relu"})
_MATRIX: Final = frozenset({"Conv", "Gemm", "MatMul"})
_BINARY: Final = frozenset({"Add", "Mul"})
_ARITHMETIC: Final = frozenset({"Add", "Div", "Mul", "Sub"})
_POOLS: Final = frozenset({"AveragePool", "GlobalAveragePool", "MaxPool"})
_MOVES: Final = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze"})

Integers = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Quantised:
    """A constant of 8 bits, signed: real = scale * integers, a scale a channel.

    Attributes:
        integers: From -127 to 127.
        scale: One number, or one for each index along the axis.
        axis: Of the channels; None for one scale.
    """

    integers: Integers
    scale: npt.NDArray[np.float32]
    axis: int | None


def scale_and_zero(
    scale: npt.NDArray[Any] | None, zero: npt.NDArray[Any] | np.uint8 | None
) -> Quantisation | None:
    """Return what 8 bits of one scale mean, in signed integers.

    Args:
        scale: Of a QuantizeLinear or DequantizeLinear node.
        zero: Its zero point, of its integers' type.

    Returns:
        None when it is not one positive f32, or not 8 bits.
    """
    if scale is None or zero is None or scale.size != 1 or np.size(zero) != 1:
        return None
    number = float(np.asarray(scale).reshape(()))
    kind = np.asarray(zero).dtype
    if np.asarray(scale).dtype != np.float32 or not 0 < number < np.inf:
        return None
    if kind not in (np.int8, np.uint8):
        return None
    value = int(np.asarray(zero).reshape(()))
    return Quantisation(number, value - 128 if kind == np.uint8 else value)


class _Graph:
    """The nodes of a model with their writers and readers."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.writers = {
            output: node for node in source.nodes for output in node.outputs
        }
        self.readers = Counter(name for node in source.nodes for name in node.inputs)
        self.readers.update(info.name for info in source.outputs)
        self.by_input: dict[str, list[Node]] = {}
        for node in source.nodes:
            for name in set(node.inputs):
                self.by_input.setdefault(name, []).append(node)

    def constant(self, name: str) -> npt.NDArray[Any] | None:
        array = self.source.constants.get(name)
        return None if array is None else np.asarray(array)

    def quantisation(self, node: Node) -> Quantisation | None:
        """Return what a Q or DQ node of one scale means, in signed integers."""
        return scale_and_zero(
            self.constant(node.input(1)),
            self.constant(node.input(2)) if node.input(2) else np.uint8(0),
        )

    def activation(self, name: str) -> tuple[str, Quantisation] | None:
        """Return the integers behind a dequantised value that is computed."""
        node = self.writers.get(name)
        if node is None or node.op_type != "DequantizeLinear":
            return None
        if node.input(0) in self.source.constants:
            return None
        found = self.quantisation(node)
        return None if found is None else (node.input(0), found)

    def weights(self, name: str) -> Quantised | None:
        """Return a dequantised constant; None when its zero point is not 0."""
        node = self.writers.get(name)
        if node is None or node.op_type != "DequantizeLinear":
            return None
        integers, scale = self.constant(node.input(0)), self.constant(node.input(1))
        zero = self.constant(node.input(2)) if node.input(2) else None
        if integers is None or scale is None or scale.dtype != np.float32:
            return None
        if node.attributes.get("block_size"):
            return None
        if integers.dtype == np.uint8:
            if zero is None or not (zero == 128).all():
                return None
            integers = (integers.astype(np.int16) - 128).astype(np.int8)
        elif integers.dtype != np.int8 or (zero is not None and zero.any()):
            return None
        if integers.size == 0 or integers.min() == -128:
            return None
        axis = None
        if scale.size > 1:
            axis = int(node.attributes.get("axis", 1)) % integers.ndim
            if scale.shape != (integers.shape[axis],):
                return None
        return Quantised(integers, scale.reshape(-1), axis)

    def bias(self, name: str) -> npt.NDArray[np.float64] | None:
        """Return a bias in real numbers: f32, or integers of 32 bits."""
        array = self.constant(name)
        if array is not None:
            return array.astype(np.float64) if array.dtype == np.float32 else None
        node = self.writers.get(name)
        if node is None or node.op_type != "DequantizeLinear":
            return None
        integers, scale = self.constant(node.input(0)), self.constant(node.input(1))
        zero = self.constant(node.input(2)) if node.input(2) else None
        if (
            integers is None
            or scale is None
            or integers.dtype != np.int32
            or (zero is not None and zero.any())
        ):
            return None
        return integers.astype(np.float64) * scale.astype(np.float64)

    def only_reader(self, name: str) -> Node | None:
        readers = self.by_input.get(name, [])
        if self.readers[name] != 1 or len(readers) != 1:
            return None
        return readers[0]


def fused(source: Source) -> Source:
    """Return the model with 8-bit operators where the engine has them."""
    if not any(node.op_type == "QuantizeLinear" for node in source.nodes):
        return source
    graph = _Graph(source)
    replaced: dict[str, Node] = {}
    dropped: set[str] = set()
    for node in source.nodes:
        found = _match(graph, node)
        if found is None:
            continue
        whole, inner = found
        replaced[whole.outputs[0]] = whole
        dropped.update(inner)
    nodes = []
    for node in source.nodes:
        if node.outputs and node.outputs[0] in dropped:
            continue
        nodes.append(replaced.get(node.outputs[0], node) if node.outputs else node)
    return _without_constants(
        graph, replace(source, nodes=tuple(_needed(source, nodes)))
    )


def _needed(source: Source, nodes: list[Node]) -> list[Node]:
    needed = {info.name for info in source.outputs}
    kept = []
    for node in reversed(nodes):
        if needed.intersection(node.outputs):
            needed.update(node.inputs)
            kept.append(node)
    return kept[::-1]


def _without_constants(graph: _Graph, source: Source) -> Source:
    """Dequantise the constants that f32 operators read."""
    constants: dict[str, Any] = dict(source.constants)
    nodes = []
    for node in source.nodes:
        integers = graph.constant(node.input(0)) if node.inputs else None
        if node.op_type == "DequantizeLinear" and integers is not None:
            value = _dequantised(graph, node, integers)
            if value is not None:
                constants[node.outputs[0]] = value
                continue
        nodes.append(node)
    return replace(source, nodes=tuple(nodes), constants=constants)


def _dequantised(
    graph: _Graph, node: Node, integers: npt.NDArray[Any]
) -> npt.NDArray[np.float32] | None:
    scale = graph.constant(node.input(1))
    zero = graph.constant(node.input(2)) if node.input(2) else None
    if scale is None or scale.dtype != np.float32 or node.attributes.get("block_size"):
        return None
    if scale.size > 1:
        shape = [1] * integers.ndim
        shape[int(node.attributes.get("axis", 1)) % integers.ndim] = scale.size
        scale = scale.reshape(shape)
        zero = None if zero is None else zero.reshape(shape)
    wide = integers.astype(np.int64)
    if zero is not None:
        wide = wide - zero.astype(np.int64)
    real: npt.NDArray[np.float32] = wide.astype(np.float32) * scale
    return real.reshape(integers.shape)


def _match(graph: _Graph, node: Node) -> tuple[Node, list[str]] | None:
    """Match an operator with what follows it, up to a QuantizeLinear.

    Returns:
        The node in its place, and the first outputs of the nodes it replaces
        beside the QuantizeLinear.
    """
    known = _ELEMENTWISE | _MATRIX | _ARITHMETIC | _POOLS | _MOVES
    if node.op_type == "DequantizeLinear":
        return _requantised(graph, node)
    if node.op_type not in known or len(node.outputs) != 1:
        return None
    scalar = _scalar(graph, node) if node.op_type in _ARITHMETIC else None
    first = graph.activation(node.input(1 if scalar and scalar[1] else 0))
    if first is None:
        return None
    inner = [node.outputs[0]]
    after = graph.only_reader(node.outputs[0])
    bounds: list[Node] = []
    while after is not None and after.op_type in _BOUNDS:
        if node.op_type in _MOVES | _POOLS | _ELEMENTWISE or scalar is not None:
            return None
        bounds.append(after)
        inner.append(after.outputs[0])
        after = graph.only_reader(after.outputs[0])
    if after is None or after.op_type != "QuantizeLinear":
        return None
    target = graph.quantisation(after)
    if target is None:
        return None
    attributes: dict[str, Any] = {
        **node.attributes,
        "quant_in": first[1],
        "quant_out": target,
    }
    clamp = _clamp(graph, bounds)
    if clamp is None:
        return None
    attributes["clamp"] = clamp
    inputs = [first[0]]
    if node.op_type in {"MaxPool", *_MOVES} and first[1] != target:
        return None
    if node.op_type in _POOLS and not _is_plain_pool(graph.source, node):
        return None
    if node.op_type in _MATRIX:
        more = _matrix(graph, node)
        if more is None:
            return None
        attributes |= more
    elif scalar is not None:
        attributes["scalar"] = scalar
    elif node.op_type in _ARITHMETIC - _BINARY:
        return None
    elif node.op_type in _BINARY:
        second = graph.activation(node.input(1))
        if second is None:
            return None
        if not _rows_or_same(graph.source, first[0], second[0]):
            return None
        inputs.append(second[0])
        attributes["quant_second"] = second[1]
    elif node.op_type in _ELEMENTWISE:
        limits = _clamp(graph, [node]) if node.op_type in _BOUNDS else None
        if node.op_type in _BOUNDS and limits is None:
            return None
        attributes["limits"] = limits
    whole = Node(
        node.name,
        f"{DOMAIN}.{node.op_type}{'' if scalar is None else 'Scalar'}",
        tuple(inputs),
        after.outputs,
        attributes,
        node.opset,
    )
    return whole, inner


def _scalar(graph: _Graph, node: Node) -> tuple[float, bool] | None:
    """Return a constant operand of one element, and whether it is the first."""
    for index in (1, 0):
        array = graph.constant(node.input(index))
        if array is None:
            writer = graph.writers.get(node.input(index))
            if writer is None or writer.op_type != "DequantizeLinear":
                continue
            integers = graph.constant(writer.input(0))
            if integers is None:
                continue
            array = _dequantised(graph, writer, integers)
        if array is None or array.size != 1 or array.dtype != np.float32:
            continue
        shape = graph.source.shapes
        if shape.get(node.input(1 - index)) != shape.get(node.outputs[0]):
            continue
        return float(array.reshape(())), index == 0
    return None


def _rows_or_same(source: Source, first: str, second: str) -> bool:
    one, other = source.shapes.get(first, ()), source.shapes.get(second, ())
    if one == other:
        return True
    if len(one) != 4 or len(other) != 4:
        return False
    small, large = sorted((one, other), key=lambda shape: shape[2] * shape[3])
    return small == (*large[:2], 1, 1)


def _is_plain_pool(source: Source, node: Node) -> bool:
    shape = source.shapes.get(node.input(0), ())
    if len(shape) != 4:
        return False
    if node.op_type == "GlobalAveragePool":
        return max(shape[2:]) <= MAX_KERNEL_SIZE
    dilations = node.attributes.get("dilations", (1, 1))
    kernel, pads = (
        node.attributes["kernel_shape"],
        node.attributes.get("pads", (0,) * 4),
    )
    return (
        tuple(dilations) == (1, 1)
        and not node.attributes.get("ceil_mode", 0)
        and all(pad < size for pad, size in zip(pads, (*kernel, *kernel), strict=True))
    )


def _requantised(graph: _Graph, node: Node) -> tuple[Node, list[str]] | None:
    """Match a DequantizeLinear that only a QuantizeLinear reads."""
    first = graph.activation(node.outputs[0])
    after = graph.only_reader(node.outputs[0])
    if first is None or after is None or after.op_type != "QuantizeLinear":
        return None
    target = graph.quantisation(after)
    if target is None:
        return None
    attributes = {"quant_in": first[1], "quant_out": target, "limits": None}
    whole = Node(
        node.name,
        f"{DOMAIN}.Identity",
        (first[0],),
        after.outputs,
        attributes,
        node.opset,
    )
    return whole, [node.outputs[0]]


def _clamp(graph: _Graph, bounds: list[Node]) -> tuple[float, float] | None:
    """Return the bounds of Relu and Clip nodes; None when not constant."""
    low, high = -np.inf, np.inf
    for node in bounds:
        if node.op_type == "Relu":
            limits = (0.0, np.inf)
        else:
            limits = (
                float(node.attributes.get("min", -np.inf)),
                float(node.attributes.get("max", np.inf)),
            )
            for index in (1, 2):
                if not node.input(index):
                    continue
                array = graph.constant(node.input(index))
                if (
                    array is None
                    and (value := graph.bias(node.input(index))) is not None
                ):
                    array = value
                if array is None or array.size != 1:
                    return None
                number = float(array.reshape(()))
                limits = (number, limits[1]) if index == 1 else (limits[0], number)
        low = min(max(low, limits[0]), limits[1])
        high = min(max(high, limits[0]), limits[1])
    if math.isnan(low) or math.isnan(high):
        return None
    return float(low), float(high)


def _matrix(graph: _Graph, node: Node) -> Mapping[str, Any] | None:
    """Return weights (as of a convolution) and bias of Conv, Gemm or MatMul."""
    found = graph.weights(node.input(1))
    if found is None:
        return None
    integers, scale, axis = found.integers, found.scale, found.axis
    channel = 0
    if node.op_type != "Conv":
        if integers.ndim != 2 or node.attributes.get("transA"):
            return None
        if node.attributes.get("alpha", 1.0) != 1.0:
            return None
        if node.attributes.get("beta", 1.0) != 1.0:
            return None
        if not node.attributes.get("transB"):
            integers = integers.T
            axis = None if axis is None else 1 - axis
    if axis not in (None, channel):
        return None
    count = integers.shape[channel]
    bias = np.zeros(count)
    if node.op_type != "MatMul" and node.input(2):
        given = graph.bias(node.input(2))
        if given is None or given.size not in (1, count):
            return None
        bias = np.broadcast_to(given.reshape(-1), (count,))
    return {
        "integers": integers,
        "scale": np.broadcast_to(scale, (count,)),
        "bias": bias,
    }
