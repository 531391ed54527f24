# SPDX-License-Identifier: Apache-2.0
"""Functions that exporters write as several nodes, put together again.

What is put together reads only its argument from outside; every value in
between has one reader, so nothing else misses it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from undercroft._import.source import Node, Source

__all__ = ["simplified"]


@dataclass(frozen=True, slots=True)
class _Product:
    """A constant times some values, computed by `nodes`."""

    scale: float
    factors: tuple[str, ...]
    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class _Found:
    """A function of `inputs` that `nodes` compute, all but the last inside.

    Operators that are not ONNX's have the domain `undercroft`.
    """

    op_type: str
    inputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    attributes: Mapping[str, Any]


# A gate is a function of x by which x is multiplied: its nodes, or None, and
# the constant that must be in the product with it.
_Gate = tuple[tuple[Node, ...], str, float]


class _Matcher:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._writers: Mapping[str, Node] = {
            output: node for node in source.nodes for output in node.outputs
        }
        self._readers = Counter(name for node in source.nodes for name in node.inputs)
        self._outputs = {info.name for info in source.outputs}

    # ---- parts

    def constant(self, name: str) -> float | None:
        array = self._source.constants.get(name)
        if array is None or array.size != 1 or array.dtype != np.float32:
            return None
        return float(array.reshape(()))

    def inner(self, name: str, *op_types: str) -> Node | None:
        """Return the node that computes a value for one reader only."""
        node = self._writers.get(name)
        if node is None or node.op_type not in op_types or len(node.outputs) != 1:
            return None
        if self._readers[name] != 1 or name in self._outputs:
            return None
        return node

    def product(self, name: str) -> _Product:
        """Take a value apart into factors, as far as it has no other reader."""
        node = self.inner(name, "Mul", "Div")
        return _Product(1.0, (name,), ()) if node is None else self.factors(node)

    def factors(self, node: Node) -> _Product:
        """Take a product or quotient apart."""
        if node.op_type == "Div":
            divisor = self.constant(node.inputs[1])
            if not divisor:
                return _Product(1.0, (node.outputs[0],), ())
            part = self.product(node.inputs[0])
            return replace(part, scale=part.scale / divisor, nodes=(*part.nodes, node))
        scale = 1.0
        factors: list[str] = []
        nodes: list[Node] = []
        for operand in node.inputs:
            constant = self.constant(operand)
            if constant is not None:
                scale *= constant
            elif node.inputs.count(operand) > 1:
                factors.append(operand)
            else:
                part = self.product(operand)
                scale *= part.scale
                factors += part.factors
                nodes += part.nodes
        return _Product(scale, tuple(factors), (*nodes, node))

    def added(self, name: str, addend: float) -> tuple[str, Node] | None:
        """Match a value plus a constant that nobody else reads."""
        node = self.inner(name, "Add")
        if node is not None:
            for other, constant in (node.inputs, node.inputs[::-1]):
                found = self.constant(constant)
                if found is not None and _near(found, addend):
                    return other, node
        return None

    # ---- activations

    def ramp(self, name: str) -> tuple[str, tuple[Node, ...]] | None:
        """Match `clamp(x + 3, 0, 6)`."""
        node = self.inner(name, "Clip")
        if node is None or self._bounds(node) != (0.0, 6.0):
            return None
        shifted = self.added(node.inputs[0], 3.0)
        return (shifted[0], (shifted[1], node)) if shifted else None

    def _gates(self, gate: str, x: str) -> Iterator[_Gate]:
        ramp = self.ramp(gate)
        if ramp is not None and ramp[0] == x:
            yield ramp[1], "HardSwish", 1 / 6
        node = self.inner(gate, "HardSigmoid", "Sigmoid", "Tanh")
        if node is not None:
            hard = node.op_type == "HardSigmoid"
            if hard and node.inputs[0] == x and _is_sixth(node):
                yield (node,), "HardSwish", 1.0
            if node.op_type == "Sigmoid" and node.inputs[0] == x:
                yield (node,), "undercroft.Silu", 1.0
            if node.op_type == "Tanh":
                softplus = self.inner(node.inputs[0], "Softplus")
                if softplus is not None and softplus.inputs[0] == x:
                    yield (softplus, node), "Mish", 1.0
        one_more = self.added(gate, 1.0)
        if one_more is not None:
            yield from self._gelu_gates(*one_more, x)

    def _gelu_gates(self, name: str, add: Node, x: str) -> Iterator[_Gate]:
        node = self.inner(name, "Erf", "Tanh")
        if node is None:
            return
        inside = self.product(node.inputs[0])
        nodes = (*inside.nodes, node, add)
        if node.op_type == "Erf":
            if inside.factors == (x,) and _near(inside.scale, math.sqrt(0.5)):
                yield nodes, "Gelu", 0.5
        elif _near(inside.scale, math.sqrt(2 / math.pi)):
            cubic = self._cubic(inside.factors, x)
            if cubic is not None:
                yield (*cubic, *nodes), "undercroft.GeluTanh", 0.5

    def _cubic(self, factors: tuple[str, ...], x: str) -> tuple[Node, ...] | None:
        """Match `x + 0.044715 x³`, or `x (1 + 0.044715 x²)`."""
        if len(factors) == 1:
            node = self.inner(factors[0], "Add")
            if node is not None and x in node.inputs:
                other = node.inputs[1 - node.inputs.index(x)]
                powers = self._powers(other, x)
                if powers is not None and powers[0] == 3:
                    return (*powers[1], node)
        elif len(factors) == 2 and x in factors:
            found = self.added(factors[1 - factors.index(x)], 1.0)
            powers = self._powers(found[0], x) if found else None
            if found is not None and powers is not None and powers[0] == 2:
                return (*powers[1], found[1])
        return None

    def _powers(self, name: str, x: str) -> tuple[int, tuple[Node, ...]] | None:
        """Match `0.044715` times a power of x: the exponent."""
        product = self.product(name)
        if not math.isclose(product.scale, 0.044715, rel_tol=1e-4):
            return None
        exponent, nodes = 0, list(product.nodes)
        for factor in product.factors:
            node = self.inner(factor, "Pow")
            if node is not None and node.inputs[0] == x:
                exponent += int(self.constant(node.inputs[1]) or 0)
                nodes.append(node)
            elif factor == x:
                exponent += 1
            else:
                square = self.inner(factor, "Mul")
                if square is None or square.inputs != (x, x):
                    return None
                exponent += 2
                nodes.append(square)
        return exponent, tuple(nodes)

    def activation(self, node: Node) -> _Found | None:
        """Match a product of x and a function of x."""
        if node.op_type not in {"Mul", "Div"}:
            return None
        product = self.factors(node)
        if len(product.factors) == 1:
            ramp = self.ramp(product.factors[0])
            if ramp is not None and _near(product.scale, 1 / 6):
                attributes = {"alpha": 1 / 6, "beta": 0.5}
                nodes = (*ramp[1], *product.nodes)
                return _Found("HardSigmoid", (ramp[0],), nodes, attributes)
        if len(product.factors) != 2:
            return None
        for x, gate in (product.factors, product.factors[::-1]):
            for nodes, op_type, scale in self._gates(gate, x):
                if _near(product.scale, scale):
                    return _Found(op_type, (x,), (*nodes, *product.nodes), {})
        return None

    # ---- normalisations

    def layer_norm(self, node: Node) -> _Found | None:
        """Match `(x - mean) / sqrt(variance + epsilon)`, times gamma, plus beta."""
        if node.op_type == "Add":
            for name, beta in (node.inputs, node.inputs[::-1]):
                scaled = self.inner(name, "Mul")
                found = self.scaled_norm(scaled) if scaled else None
                if found is not None and self._is_affine(beta, found):
                    inputs = (*found.inputs, beta)
                    return replace(found, inputs=inputs, nodes=(*found.nodes, node))
        return self.scaled_norm(node) or self.plain_norm(node)

    def scaled_norm(self, node: Node) -> _Found | None:
        if node.op_type != "Mul":
            return None
        for name, gamma in (node.inputs, node.inputs[::-1]):
            divided = self.inner(name, "Div", "Mul")
            found = self.plain_norm(divided) if divided else None
            if found is not None and self._is_affine(gamma, found):
                inputs = (*found.inputs, gamma)
                return replace(found, inputs=inputs, nodes=(*found.nodes, node))
        return None

    def plain_norm(self, node: Node) -> _Found | None:
        """Match `d / sqrt(mean(d²) + epsilon)` with `d = x - mean(x)`."""
        if node.op_type != "Div":
            return None
        root = self.inner(node.inputs[1], "Sqrt")
        shifted = self.inner(root.inputs[0], "Add") if root else None
        if root is None or shifted is None:
            return None
        for name, addend in (shifted.inputs, shifted.inputs[::-1]):
            epsilon = self.constant(addend)
            variance = self.inner(name, "ReduceMean")
            if epsilon is None or variance is None or epsilon < 0:
                continue
            centred = self._centred(node.inputs[0], variance)
            if centred is None:
                continue
            x, axis, nodes = centred
            return _Found(
                "LayerNormalization",
                (x,),
                (*nodes, variance, shifted, root, node),
                {"axis": axis, "epsilon": epsilon},
            )
        return None

    def _centred(
        self, name: str, variance: Node
    ) -> tuple[str, int, tuple[Node, ...]] | None:
        """Match x minus its mean, whose squares `variance` is the mean of."""
        square = self.inner(variance.inputs[0], "Pow", "Mul")
        if square is None or (
            square.op_type == "Pow" and self.constant(square.inputs[1]) != 2.0
        ):
            return None
        # Some exporters compute the difference twice.
        names = dict.fromkeys((name, *square.inputs[: 1 + (square.op_type == "Mul")]))
        nodes: list[Node] = [square]
        found: set[tuple[str, int]] = set()
        for difference in names:
            node = self._writers.get(difference)
            if node is None or node.op_type != "Sub" or difference in self._outputs:
                return None
            readers = {name: 1, **Counter(square.inputs)}
            if len(names) == 1:
                readers = {difference: 1 + Counter(square.inputs)[difference]}
            mean = self._writers.get(node.inputs[1])
            if (
                mean is None
                or mean.op_type != "ReduceMean"
                or self._readers[difference] != readers[difference]
                or self._readers[node.inputs[1]] > len(names)
                or node.inputs[1] in self._outputs
                or mean.inputs[0] != node.inputs[0]
            ):
                return None
            axis = self._last_axes(mean)
            if axis is None or axis != self._last_axes(variance):
                return None
            found.add((node.inputs[0], axis))
            nodes += [node] if mean in nodes else [mean, node]
        if len(found) != 1:
            return None
        x, axis = found.pop()
        return x, axis, tuple(nodes)

    def _last_axes(self, node: Node) -> int | None:
        """Return the first of the axes that are reduced, if they are the last."""
        shape = self._source.shapes.get(node.inputs[0])
        axes = node.attributes.get("axes")
        if node.input(1):
            given = self._source.constants.get(node.input(1))
            axes = None if given is None else given.reshape(-1).tolist()
        if shape is None or not axes or not node.attributes.get("keepdims", 1):
            return None
        rank = len(shape)
        named = sorted(int(axis) % rank for axis in axes)
        first = named[0]
        return first if named == list(range(first, rank)) else None

    def _is_affine(self, name: str, found: _Found) -> bool:
        """Whether a constant has a value for each element of a row, at most."""
        array = self._source.constants.get(name)
        shape = self._source.shapes.get(found.inputs[0])
        if array is None or array.dtype != np.float32 or shape is None:
            return False
        row = shape[found.attributes["axis"] :]
        try:
            return np.broadcast_shapes(array.shape, row) == row
        except ValueError:
            return False

    def _bounds(self, node: Node) -> tuple[float | None, float | None]:
        if len(node.inputs) > 1:
            low = self.constant(node.input(1))
            return low, self.constant(node.input(2))
        return node.attributes.get("min"), node.attributes.get("max")


def simplified(source: Source) -> Source:
    """Return the model with activations and normalisations as single nodes."""
    matcher = _Matcher(source)
    patterns: tuple[Callable[[Node], _Found | None], ...] = (
        matcher.activation,
        matcher.layer_norm,
    )
    replaced: dict[str, Node] = {}
    dropped: set[str] = set()
    for node in reversed(source.nodes):
        if len(node.outputs) != 1 or node.outputs[0] in dropped:
            continue
        for pattern in patterns:
            found = pattern(node)
            if found is None:
                continue
            replaced[node.outputs[0]] = Node(
                node.name,
                found.op_type,
                found.inputs,
                node.outputs,
                found.attributes,
                node.opset,
            )
            dropped.update(part.outputs[0] for part in found.nodes if part is not node)
            break
    nodes = tuple(
        replaced.get(node.outputs[0], node)
        for node in source.nodes
        if not node.outputs or node.outputs[0] not in dropped
    )
    return replace(source, nodes=nodes)


def _is_sixth(node: Node) -> bool:
    alpha = node.attributes.get("alpha", 0.2)
    return _near(alpha, 1 / 6) and _near(node.attributes.get("beta", 0.5), 0.5)


def _near(value: float, target: float) -> bool:
    return math.isclose(value, target, rel_tol=1e-6)
