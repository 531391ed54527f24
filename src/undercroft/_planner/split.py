# SPDX-License-Identifier: Apache-2.0
"""Operators whose single panel of weights is too large for the budget.

A panel holds all weights of eight output channels and is the least that the
window must take. Where that is much, the operator is computed as a sum: each
part sees some rows or channels of the input, and has panels of that size only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from undercroft._import.graph import NO_CLAMP, Operator, Tensor
from undercroft._import.weights import ConvWeights, DenseWeights, Weights
from undercroft._planner.network import Box, Network, Node
from undercroft._spec import Op

__all__ = ["with_small_panels"]


def with_small_panels(net: Network, most_bytes: int) -> Network:
    """Return the network with larger panels divided, where that is possible.

    Args:
        net: The network.
        most_bytes: What a panel should not exceed.
    """
    roots = list(net.roots)
    nodes: list[Node] = []
    for node in net.nodes:
        weights = node.operator.weights
        if weights is None or weights.panel_bytes <= most_bytes:
            nodes.append(node)
            continue
        parts = _parts(node, weights, most_bytes)
        nodes += _sum(roots, node, parts) if len(parts) > 1 else [node]
    return replace(net, roots=tuple(roots), nodes=tuple(nodes))


Part = tuple[Box, tuple[int, int], Weights]
"""What a part reads, its kernel, its weights."""


def _parts(node: Node, weights: Weights, most_bytes: int) -> list[Part]:
    count = -(-weights.panel_bytes // most_bytes)
    read, kernel = node.reads[0], node.operator.attributes.kernel
    if type(weights) is DenseWeights:
        return [
            (
                _channels(read, first, last),
                kernel,
                DenseWeights(
                    weights.matrix[first:last],
                    _bias(weights.bias, first),
                    weights.scale,
                ),
            )
            for first, last in _ranges(read.dims[3], count)
        ]
    if type(weights) is not ConvWeights or weights.groups != 1:
        return []
    if node.writes.dims[1:3] == (1, 1) and kernel == read.dims[1:3]:
        # As large as the image: its rows lie one after the other.
        return [
            (
                read.rows(first, last),
                (last - first, kernel[1]),
                ConvWeights(
                    weights.kernel[:, :, first:last], _bias(weights.bias, first)
                ),
            )
            for first, last in _ranges(kernel[0], count)
        ]
    return [
        (
            _channels(read, first, last),
            kernel,
            ConvWeights(weights.kernel[:, first:last], _bias(weights.bias, first)),
        )
        for first, last in _ranges(read.dims[3], count)
    ]


def _bias(
    bias: np.ndarray[tuple[int, ...], np.dtype[np.float32]], first: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return bias if first == 0 else np.zeros_like(bias)


def _channels(box: Box, first: int, last: int) -> Box:
    n, h, w, c = box.origin
    return Box(box.root, (n, h, w, c + first), (*box.dims[:3], last - first))


def _ranges(size: int, count: int) -> list[tuple[int, int]]:
    """Divide so many rows or channels; channels in multiples of four."""
    unit = 4 if size >= 4 * count and size % 4 == 0 else 1
    step = -(-size // (unit * count)) * unit
    return [(at, min(size, at + step)) for at in range(0, size, step)]


def _sum(roots: list[Tensor], node: Node, parts: Sequence[Part]) -> list[Node]:
    operator = node.operator
    result: list[Node] = []
    total: Box | None = None
    for index, (read, kernel, weights) in enumerate(parts):
        name = f"{operator.name}.{index + 1}"
        partial = _fresh(roots, name, node.writes)
        attributes = replace(operator.attributes, kernel=kernel)
        if operator.code is Op.CONV_2D:
            attributes = replace(attributes, groups=1)
        result.append(
            Node(
                replace(
                    operator,
                    name=name,
                    attributes=attributes,
                    clamp=NO_CLAMP,
                    weights=weights,
                ),
                (read,),
                partial,
            )
        )
        if total is None:
            total = partial
            continue
        last = index == len(parts) - 1
        add = Operator(
            f"{operator.name}.sum",
            Op.ADD,
            (),
            0,
            clamp=operator.clamp if last else NO_CLAMP,
        )
        out = node.writes if last else _fresh(roots, f"{name}.sum", node.writes)
        result.append(Node(add, (total, partial), out, added=True))
        total = out
    return result


def _fresh(roots: list[Tensor], name: str, box: Box) -> Box:
    roots.append(Tensor(name, box.dims))
    return Box(len(roots) - 1, (0, 0, 0, 0), box.dims)


def largest_panel(net: Network) -> int:
    """Return the bytes of the largest panel of a network."""
    return max(
        (
            node.operator.weights.panel_bytes
            for node in net.nodes
            if node.operator.weights is not None
        ),
        default=0,
    )
