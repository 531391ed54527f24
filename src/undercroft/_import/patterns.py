# SPDX-License-Identifier: Apache-2.0
"""Activations that exporters write as several nodes, put together again."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from undercroft._import.source import Node, Source

__all__ = ["simplified"]


@dataclass(frozen=True, slots=True)
class _Match:
    """`scale` times a function of value `x`, computed by `nodes`."""

    x: str
    scale: float
    nodes: tuple[Node, ...]


class _Matcher:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._writers: Mapping[str, Node] = {
            output: node for node in source.nodes for output in node.outputs
        }

    def constant(self, name: str) -> float | None:
        array = self._source.constants.get(name)
        if array is None or array.size != 1 or array.dtype != np.float32:
            return None
        return float(array.reshape(()))

    def scaled(self, node: Node) -> tuple[str, float] | None:
        """Match a product or quotient with a constant: (value, factor)."""
        if node.op_type == "Mul":
            for name, other in (node.inputs, node.inputs[::-1]):
                factor = self.constant(other)
                if factor is not None:
                    return name, factor
        if node.op_type == "Div":
            divisor = self.constant(node.inputs[1])
            if divisor:
                return node.inputs[0], 1 / divisor
        return None

    def ramp(self, name: str) -> _Match | None:
        """Match `scale * clamp(x + 3, 0, 6)`."""
        node = self._writers.get(name)
        if node is None:
            return None
        if node.op_type == "HardSigmoid":
            alpha = node.attributes.get("alpha", 0.2)
            beta = node.attributes.get("beta", 0.5)
            if _near(alpha, 1 / 6) and _near(beta, 0.5):
                return _Match(node.inputs[0], 1 / 6, (node,))
            return None
        if node.op_type == "Clip":
            shifted = self._writers.get(node.inputs[0])
            if (
                shifted is not None
                and shifted.op_type == "Add"
                and self._bounds(node) == (0.0, 6.0)
            ):
                for x, addend in (shifted.inputs, shifted.inputs[::-1]):
                    if self.constant(addend) == 3.0:
                        return _Match(x, 1.0, (shifted, node))
            return None
        return self._through_scale(node, self.ramp)

    def swish(self, name: str) -> _Match | None:
        """Match `scale * x * clamp(x + 3, 0, 6)`."""
        node = self._writers.get(name)
        if node is None:
            return None
        if node.op_type == "Mul":
            for x, ramp in (node.inputs, node.inputs[::-1]):
                found = self.ramp(ramp)
                if found is not None and found.x == x:
                    return replace(found, nodes=(*found.nodes, node))
        return self._through_scale(node, self.swish)

    def _through_scale(
        self, node: Node, inner: Callable[[str], _Match | None]
    ) -> _Match | None:
        scaled = self.scaled(node)
        found = inner(scaled[0]) if scaled else None
        if scaled is None or found is None:
            return None
        return _Match(found.x, found.scale * scaled[1], (*found.nodes, node))

    def _bounds(self, node: Node) -> tuple[float | None, float | None]:
        if len(node.inputs) > 1:
            low = self.constant(node.input(1))
            return low, self.constant(node.input(2))
        return node.attributes.get("min"), node.attributes.get("max")


def simplified(source: Source) -> Source:
    """Return the model with HardSwish and HardSigmoid as single nodes."""
    matcher = _Matcher(source)
    readers = Counter(name for node in source.nodes for name in node.inputs)
    outputs = {info.name for info in source.outputs}
    replaced: dict[str, Node] = {}
    dropped: set[str] = set()
    for node in reversed(source.nodes):
        if len(node.outputs) != 1 or node.outputs[0] in dropped:
            continue
        for op_type, found in (
            ("HardSwish", matcher.swish(node.outputs[0])),
            ("HardSigmoid", matcher.ramp(node.outputs[0])),
        ):
            if found is None or not _near(found.scale, 1 / 6):
                continue
            inner = [part.outputs[0] for part in found.nodes[:-1]]
            if not inner or any(
                readers[name] != 1 or name in outputs for name in inner
            ):
                continue
            attributes = {} if op_type == "HardSwish" else {"alpha": 1 / 6, "beta": 0.5}
            replaced[node.outputs[0]] = Node(
                node.name, op_type, (found.x,), node.outputs, attributes, node.opset
            )
            dropped.update(inner)
            break
    nodes = tuple(
        replaced.get(node.outputs[0], node)
        for node in source.nodes
        if not node.outputs or node.outputs[0] not in dropped
    )
    return replace(source, nodes=nodes)


def _near(value: float, target: float) -> bool:
    return math.isclose(value, target, rel_tol=1e-6)
