# SPDX-License-Identifier: Apache-2.0
"""Turns ONNX values into the engine's tensors and operators.

A handler (`undercroft._import.ops`) asks the builder for its operands in the
arrangement that the engine's operator needs; the builder adds the transposes,
and only where bytes really have to move.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from undercroft import _spec
from undercroft._format.program import NOT_QUANTISED, Dims, Quantisation
from undercroft._import import layout
from undercroft._import.graph import NO_CLAMP, Attributes, Graph, Operator, Tensor
from undercroft._import.layout import Order, Shape
from undercroft._import.source import Node, Source
from undercroft._import.weights import ConstantWeights, Weights
from undercroft._spec import Op

__all__ = ["Builder", "Unsupported", "Value"]


class Unsupported(Exception):  # noqa: N818
    """A node that cannot be imported; becomes one line of the final error."""


@dataclass(frozen=True, slots=True)
class Value:
    """An ONNX value in memory: a tensor, a shape, and the order of its axes."""

    tensor: int
    shape: Shape
    order: Order


@dataclass(frozen=True, slots=True)
class Reshaped:
    """A reshape that would move bytes; done only for a reader that needs it."""

    source: Value
    shape: Shape


class Builder:
    """Collects tensors and operators while the nodes are walked in order."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.node: Node | None = None
        self._tensors: list[Tensor] = []
        self._operators: list[Operator] = []
        self._writer: dict[int, int] = {}
        self._values: dict[str, Value | Reshaped] = {}
        self._names: dict[int, list[str]] = {}
        self._outputs = {info.name for info in source.outputs}
        # Tensors whose stored dimensions somebody relies on.
        self._settled: set[int] = set()
        # Tensors that several operators write, and who bounds what they hold.
        self._joined: dict[int, tuple[int, ...]] = {}
        # Tensors of which there are boxes.
        self._boxed: set[int] = set()
        self._moves: dict[tuple[Value, Order, Dims | None], Value] = {}
        self._readers: Counter[str] = Counter(
            name for node in source.nodes for name in node.inputs
        )

    # ---- operands

    def constant(self, name: str) -> npt.NDArray[Any] | None:
        """Return a value that is known in advance, or None."""
        return self.source.constants.get(name)

    def floats(self, name: str, what: str) -> npt.NDArray[np.float32]:
        """Return a constant of float32 elements.

        Raises:
            Unsupported: It is computed at run time, or of another type.
        """
        array = self.constant(name)
        if array is None:
            raise Unsupported(f"{what} {name!r} is not a constant")
        if array.dtype != np.float32:
            raise Unsupported(f"{what} {name!r} is {array.dtype.name}, not float32")
        return array

    def shape(self, name: str) -> Shape:
        """Return the static shape of a value."""
        try:
            return self.source.shapes[name]
        except KeyError:
            raise Unsupported(f"the shape of {name!r} is not static") from None

    def check_sizes(self, node: Node) -> None:
        """Refuse a node whose operands or results have no elements."""
        for name in (*node.inputs, *node.outputs):
            shape = self.source.shapes.get(name, ())
            if name not in self.source.constants and min(shape, default=1) < 1:
                raise Unsupported(f"{name!r} has the shape {shape}")

    def reader_count(self, name: str) -> int:
        """Return how many nodes read a value; an output has one reader more."""
        return self._readers[name] + (name in self._outputs)

    def value(self, name: str) -> Value:
        """Return a value in memory; a constant becomes a CONSTANT operator."""
        found = self._values.get(name)
        if found is None:
            array = self.floats(name, "operand")
            found = self.constant_value(array, layout.row_major(array.ndim))
        elif isinstance(found, Reshaped):
            found = self.reshaped(found.source, found.shape)
        if self._values.get(name) is not found:
            self._values[name] = found
            self._names.setdefault(found.tensor, []).append(name)
        return found

    def deferred(self, name: str) -> Reshaped | None:
        """Return a reshape that was put off, for a reader that can do without."""
        found = self._values.get(name)
        return found if isinstance(found, Reshaped) else None

    def dims(self, value: Value) -> Dims:
        """Return the stored dimensions of the tensor of a value."""
        return self._tensors[value.tensor].dims

    # ---- results

    def bind(self, name: str, value: Value) -> None:
        """Give an ONNX name to a value."""
        expected = self.source.shapes.get(name)
        if expected is not None and expected != value.shape:
            raise Unsupported(f"its output is {value.shape}, not {expected}")
        self._values[name] = value
        self._names.setdefault(value.tensor, []).append(name)

    def defer(self, name: str, value: Value, shape: Shape) -> None:
        """Give a name to a value that is reshaped when somebody needs it."""
        self._values[name] = Reshaped(value, shape)
        self._names.setdefault(value.tensor, []).append(name)

    def assume(self, name: str) -> None:
        """Stand in for the output of a node that could not be imported."""
        shape = self.source.shapes.get(name, ())
        order = layout.row_major(len(shape))
        self._values[name] = Value(
            self._tensor(name, layout.canonical_dims(shape, order)), shape, order
        )

    def add_input(self, name: str, shape: Shape, order: Order) -> int:
        """Add an input of the network."""
        dims = layout.canonical_dims(shape, order)
        self._check_dims(dims)
        row_major = layout.row_major(len(shape))
        stored = layout.same_arrangement(shape, order, row_major)
        wire = _spec.WIRE_AS_STORED if stored else _spec.WIRE_NCHW
        tensor = self._tensor(name, dims, wire)
        self.bind(name, Value(tensor, shape, order))
        return tensor

    def emit(
        self,
        code: Op,
        operands: Iterable[Value],
        shape: Shape,
        order: Order,
        *,
        dims: Dims | None = None,
        attributes: Attributes | None = None,
        clamp: tuple[float, float] = NO_CLAMP,
        weights: Weights | None = None,
        into: Value | None = None,
        quantisation: Quantisation = NOT_QUANTISED,
    ) -> Value:
        """Add an operator and return what it computes.

        Args:
            code: The engine's operator.
            operands: What it reads, arranged as it needs them.
            shape: Shape of the result.
            order: Order of the axes of the result.
            dims: Stored dimensions of the result, by default those of its
                order.
            attributes: Parameters.
            clamp: Bounds of the result.
            weights: Weights.
            into: What it writes, of these dimensions; None for a new tensor.
            quantisation: What the result's integers mean, of 8 bits.
        """
        if into is not None:
            dims = self.dims(into)
        elif dims is None:
            dims = layout.canonical_dims(shape, order)
        self._check_dims(dims)
        name = self.node.outputs[0] if self.node else ""
        inputs = tuple(value.tensor for value in operands)
        self._settled.update(inputs)
        output = (
            self._tensor(name, dims, quantisation=quantisation)
            if into is None
            else into.tensor
        )
        self._writer[output] = len(self._operators)
        self._operators.append(
            Operator(
                name=self.node.name if self.node else "",
                code=code,
                inputs=inputs,
                output=output,
                attributes=attributes or Attributes(),
                clamp=clamp,
                weights=weights,
            )
        )
        return Value(output, shape, order)

    def clamped(self, name: str, low: float, high: float) -> Value:
        """Bound a value, in the operator that computes it if nobody else reads it."""
        value = self.value(name)
        low = min(low, high)
        index = self._writer.get(value.tensor)
        writers = self._joined.get(value.tensor, ()) if index is None else (index,)
        alone = value.tensor not in self._boxed and all(
            self.reader_count(alias) == 1 for alias in self._names.get(value.tensor, ())
        )
        if writers and alone:
            for index in writers:
                operator = self._operators[index]
                bounds = (
                    min(max(operator.clamp[0], low), high),
                    min(max(operator.clamp[1], low), high),
                )
                self._operators[index] = replace(operator, clamp=bounds)
            return value
        return self.emit(
            Op.CLAMP,
            [value],
            value.shape,
            value.order,
            dims=self.dims(value),
            clamp=(low, high),
        )

    def constant_value(
        self, array: npt.NDArray[np.float32], order: Order, dims: Dims | None = None
    ) -> Value:
        """Add a CONSTANT operator that writes an array in the given order."""
        stored = array.transpose(order)
        return self.emit(
            Op.CONSTANT,
            [],
            array.shape,
            order,
            dims=dims,
            weights=ConstantWeights(stored),
        )

    # ---- boxes

    def empty(self, shape: Shape, order: Order, dims: Dims) -> Value:
        """Add a tensor that several operators will write, each a box of it."""
        self._check_dims(dims)
        tensor = self._tensor(self.node.outputs[0] if self.node else "", dims)
        self._settled.add(tensor)
        self._joined[tensor] = ()
        return Value(tensor, shape, order)

    def bounded_by(self, value: Value, writers: Iterable[Value]) -> None:
        """Say that bounding what these hold is bounding a value of several."""
        self._joined[value.tensor] = tuple(
            self._writer[writer.tensor] for writer in writers
        )

    def box(
        self, value: Value, origin: Dims, dims: Dims, shape: Shape, order: Order
    ) -> Value:
        """Return a box of a value; it has no memory of its own.

        Args:
            value: What it is a box of.
            origin: Where it begins, in stored dimensions.
            dims: Its stored dimensions.
            shape: Its shape.
            order: The order of its axes.
        """
        tensor = self._tensors[value.tensor]
        if dims == tensor.dims:
            return Value(value.tensor, shape, order)
        parent = value.tensor
        if tensor.parent is not None:
            parent = tensor.parent
            n, h, w, c = (
                own + of for own, of in zip(origin, tensor.origin, strict=True)
            )
            origin = (n, h, w, c)
        self._settled.update((value.tensor, parent))
        self._boxed.add(parent)
        self._tensors.append(Tensor(tensor.name, dims, 0, parent, origin))
        self._settled.add(len(self._tensors) - 1)
        return Value(len(self._tensors) - 1, shape, order)

    def adjoining(
        self, one: Value, other: Value, dim: int, shape: Shape
    ) -> Value | None:
        """Return two boxes as one, if the second follows the first.

        Args:
            one: A value, perhaps a box.
            other: A value of the same order.
            dim: The stored dimension along which they would follow.
            shape: The shape of both together.
        """
        first, second = self._tensors[one.tensor], self._tensors[other.tensor]
        if first.parent is None or first.parent != second.parent:
            return None
        end = list(first.origin)
        end[dim] += first.dims[dim]
        sizes = list(first.dims)
        sizes[dim] += second.dims[dim]
        if tuple(end) != second.origin or one.order != other.order:
            return None
        dims = (sizes[0], sizes[1], sizes[2], sizes[3])
        whole = Value(first.parent, shape, one.order)
        return self.box(whole, first.origin, dims, shape, one.order)

    # ---- arrangement

    def viewed(self, value: Value, shape: Shape) -> Value:
        """Return the same bytes with another shape.

        Raises:
            Unsupported: Bytes would have to move; `reshaped` moves them.
        """
        order = layout.reshaped_order(value.shape, value.order, shape)
        if order is None:
            raise Unsupported(f"it reshapes {value.shape} to {shape}")
        return Value(value.tensor, shape, order)

    def reshaped(self, value: Value, shape: Shape) -> Value:
        """Return a value with another shape, moving bytes if needed."""
        if layout.reshaped_order(value.shape, value.order, shape) is None:
            order = layout.gathered(value.shape, value.order, shape)
            value = self.arranged(value, order)
        return self.viewed(value, shape)

    def transposed(self, value: Value, permutation: Order) -> Value:
        """Return the same bytes with the axes of the shape permuted."""
        shape = tuple(value.shape[axis] for axis in permutation)
        order = tuple(permutation.index(axis) for axis in value.order)
        return Value(value.tensor, shape, order)

    def arranged(self, value: Value, order: Order, dims: Dims | None = None) -> Value:
        """Return a value with its axes in this order, moving bytes if needed.

        Args:
            value: Any value.
            order: The order it should lie in.
            dims: The stored dimensions it should have; None for any.
        """
        key = (value, order, dims)
        if key in self._moves:
            return self._moves[key]
        if not layout.same_arrangement(value.shape, value.order, order):
            value = self._moved(value, order, dims)
        value = Value(value.tensor, value.shape, order)
        if dims is not None and self.dims(value) != dims:
            value = self._with_dims(value, dims)
        self._moves[key] = value
        self._settled.add(value.tensor)
        return value

    def nhwc(self, value: Value) -> Value:
        """Return an image (rank 4, NCHW) as the engine's NHWC."""
        dims = layout.canonical_dims(value.shape, layout.NHWC)
        return self.arranged(value, layout.NHWC, dims)

    def axis_last(self, value: Value, axis: int) -> Value:
        """Return a value with one axis innermost, and that axis alone in c."""
        order = value.order
        if value.shape[axis] != 1 and layout.trace(value.shape, order)[-1] != axis:
            order = (*(other for other in order if other != axis), axis)
        if self.dims(value)[3] == value.shape[axis] and order == value.order:
            return value
        size = value.shape[axis]
        rest = math.prod(value.shape) // size
        target = layout.canonical_dims(value.shape, order)
        return self.arranged(
            value, order, target if target[3] == size else (1, 1, rest, size)
        )

    def dequantised(self, value: Value) -> Value:
        """Return the numbers that 8-bit integers stand for."""
        return self.emit(
            Op.DEQUANTIZE, [value], value.shape, value.order, dims=self.dims(value)
        )

    def quantised(self, value: Value, quantisation: Quantisation) -> Value:
        """Return a value in integers of 8 bits."""
        return self.emit(
            Op.QUANTIZE,
            [value],
            value.shape,
            value.order,
            dims=self.dims(value),
            clamp=(-128.0, 127.0),
            quantisation=quantisation,
        )

    def _moved(self, value: Value, order: Order, dims: Dims | None) -> Value:
        quantisation = self._tensors[value.tensor].quantisation
        if quantisation != NOT_QUANTISED:
            # What moves bytes does so with f32.
            moved = self._moved(self.dequantised(value), order, dims)
            return self.quantised(moved, quantisation)
        stored = self.dims(value)
        fine, target = self._split(value, order)
        found = layout.arrangement(stored, fine.shape, fine.order, target)
        if found is None:
            runs = layout.runs(value.shape, value.order, order)
            if len(runs) > 4:
                between = layout.one_step(value.shape, value.order, order)
                return self._moved(self._moved(value, between, None), order, dims)
            sizes = [math.prod(value.shape[axis] for axis in run) for run in runs]
            sizes = [1] * (4 - len(sizes)) + sizes
            stored = (sizes[0], sizes[1], sizes[2], sizes[3])
            value = self._with_dims(value, stored)
            found = layout.arrangement(stored, value.shape, value.order, order)
            if found is None:
                raise Unsupported("it rearranges its axes in a way that is not known")
        wanted = dims or layout.canonical_dims(value.shape, order)
        permutation = next(
            (p for p in found if tuple(stored[axis] for axis in p) == wanted), found[0]
        )
        result = tuple(stored[axis] for axis in permutation)
        return self.emit(
            Op.TRANSPOSE,
            [value],
            value.shape,
            order,
            dims=(result[0], result[1], result[2], result[3]),
            attributes=Attributes(permutation=permutation),
        )

    def _split(self, value: Value, order: Order) -> tuple[Value, Order]:
        """Return a value whose axes end where its stored dimensions end.

        And an order of its axes that is the given order of the value's.
        """
        parts = layout.split(self.dims(value), value.shape, value.order)
        if parts is None:
            return value, order
        fine = self.viewed(value, tuple(size for part in parts for size in part))
        starts = [sum(map(len, parts[:axis])) for axis in range(len(parts))]
        target = [
            starts[axis] + index for axis in order for index in range(len(parts[axis]))
        ]
        return fine, tuple(target)

    def _with_dims(self, value: Value, dims: Dims) -> Value:
        """Return the same bytes in a tensor of other stored dimensions."""
        self._check_dims(dims)
        tensor = self._tensors[value.tensor]
        writer = self._writer.get(value.tensor)
        free = (
            tensor.wire_layout == _spec.WIRE_AS_STORED
            if writer is None
            else self._operators[writer].code is Op.CONSTANT
        )
        if free and value.tensor not in self._settled:
            self._tensors[value.tensor] = replace(tensor, dims=dims)
            return value
        if tensor.quantisation != NOT_QUANTISED:
            whole = self._with_dims(self.dequantised(value), dims)
            return self.quantised(whole, tensor.quantisation)
        return self.emit(Op.CLAMP, [value], value.shape, value.order, dims=dims)

    # ---- the whole

    def graph(self) -> Graph:
        """Return the network, without what no output depends on.

        Raises:
            Unsupported: An output cannot be brought out.
        """
        outputs: list[int] = []
        for info in self.source.outputs:
            self.node = Node(info.name, "output", (), (info.name,), {}, 0)
            value = self.value(info.name)
            if value.tensor in outputs:
                # Before it is decided how the first one crosses.
                value = self._copy(value)
            value = self._crossing(value)
            if not self._may_be_output(value.tensor) or value.tensor in outputs:
                value = self._crossing(self._copy(value))
            outputs.append(value.tensor)
        self.node = None
        inputs = [self._values[info.name] for info in self.source.inputs]
        graph = _without_dead_code(
            Graph(
                tensors=tuple(self._tensors),
                operators=tuple(self._operators),
                inputs=tuple(v.tensor for v in inputs if isinstance(v, Value)),
                outputs=tuple(outputs),
                input_infos=self.source.inputs,
                output_infos=self.source.outputs,
            )
        )
        read = {
            graph.root(tensor)
            for operator in graph.operators
            for tensor in operator.inputs
        }
        for info, tensor in zip(graph.input_infos, graph.inputs, strict=True):
            if tensor not in read:
                raise Unsupported(f"no output depends on input {info.name!r}")
        return graph

    def _copy(self, value: Value) -> Value:
        return self.emit(
            Op.CLAMP, [value], value.shape, value.order, dims=self.dims(value)
        )

    def _crossing(self, value: Value) -> Value:
        """Bring a value into an order in which it can cross the boundary."""
        row_major = layout.row_major(len(value.shape))
        if layout.same_arrangement(value.shape, value.order, row_major):
            return value
        # WIRE_NCHW reads n, c, h, w out of storage: right when the axes that
        # lie in them, in that order, are in row-major order.
        fine, _ = self._split(value, row_major)
        spans = layout.spread(self.dims(value), fine.shape, fine.order)
        if spans is not None and self._may_be_output(value.tensor):
            crossing = [axis for dim in (0, 3, 1, 2) for axis in spans[dim]]
            if crossing == sorted(crossing):
                tensor = self._tensors[value.tensor]
                self._tensors[value.tensor] = replace(
                    tensor, wire_layout=_spec.WIRE_NCHW
                )
                return value
        return self.arranged(value, row_major)

    def _may_be_output(self, tensor: int) -> bool:
        """Whether a tensor is computed and is no box of another."""
        return (tensor in self._writer or tensor in self._joined) and (
            self._tensors[tensor].parent is None
        )

    def _tensor(
        self,
        name: str,
        dims: Dims,
        wire_layout: int = 0,
        quantisation: Quantisation = NOT_QUANTISED,
    ) -> int:
        self._tensors.append(Tensor(name, dims, wire_layout, quantisation=quantisation))
        return len(self._tensors) - 1

    def _check_dims(self, dims: Dims) -> None:
        if not all(1 <= dim <= _spec.MAX_DIM for dim in dims):
            raise Unsupported(f"a tensor of dimensions {dims}")


def _without_dead_code(graph: Graph) -> Graph:
    """Leave out what no output depends on; a tensor is needed with all its boxes."""
    needed = set(graph.outputs)
    operators = []
    for operator in reversed(graph.operators):
        if graph.root(operator.output) in needed:
            needed.update(graph.root(tensor) for tensor in operator.inputs)
            operators.append(operator)
    operators.reverse()
    used = needed.union(graph.inputs)
    for operator in operators:
        used.update(operator.inputs, (operator.output,))
    kept = sorted(used)
    number = {tensor: index for index, tensor in enumerate(kept)}

    def renumbered(tensor: Tensor) -> Tensor:
        if tensor.parent is None:
            return tensor
        return replace(tensor, parent=number[tensor.parent])

    return replace(
        graph,
        tensors=tuple(renumbered(graph.tensors[tensor]) for tensor in kept),
        operators=tuple(
            replace(
                operator,
                inputs=tuple(number[tensor] for tensor in operator.inputs),
                output=number[operator.output],
            )
            for operator in operators
        ),
        inputs=tuple(number[tensor] for tensor in graph.inputs),
        outputs=tuple(number[tensor] for tensor in graph.outputs),
    )
