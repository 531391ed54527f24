# SPDX-License-Identifier: Apache-2.0
"""Defects of a graph that other checkers name badly, or one at a time."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Final

import onnx

from undercroft.errors import NotAModelError, UnsupportedModelError

__all__ = ["check_links", "check_sizes"]

MAX_VALUE_BYTES: Final = (1 << 32) - 1
"""The sealed format counts a tensor's bytes in 32 bits."""

_SHOWN: Final = 20


def check_links(proto: onnx.ModelProto) -> None:
    """Refuse values that nothing makes, and nodes that wait for each other.

    Raises:
        NotAModelError: Names every such value or node.
    """
    graph = proto.graph
    known = {value.name for value in graph.input}
    known.update(tensor.name for tensor in graph.initializer)
    known.update(tensor.values.name for tensor in graph.sparse_initializer)
    made = {name for node in graph.node for name in node.output}
    missing = [
        f"{name!r}, read by {_name(node)}"
        for node in graph.node
        for name in node.input
        if name and name not in known and name not in made
    ]
    missing += [
        f"{value.name!r}, an output of the graph"
        for value in graph.output
        if value.name not in known and value.name not in made
    ]
    if missing:
        raise NotAModelError(
            f"the model is incomplete: nothing makes {_listed(missing)}",
            hint="an initializer or a node is missing; export the network again",
        )
    waiting = _in_cycles(graph, known)
    if waiting:
        raise NotAModelError(
            "the graph has a cycle, nodes that wait for each other: "
            f"{_listed([_name(node) for node in waiting])}",
            hint="a network with loops has to be unrolled before it is exported",
        )


def check_sizes(proto: onnx.ModelProto, skip: Collection[str] = ()) -> None:
    """Refuse values that are empty, or larger than the format can say.

    Args:
        proto: A model with inferred shapes.
        skip: Names of values that are not looked at.

    Raises:
        UnsupportedModelError: Names every such value.
    """
    problems = []
    graph = proto.graph
    maker = {name: _name(node) for node in graph.node for name in node.output}
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        dims = [dim.dim_value for dim in tensor.shape.dim if dim.HasField("dim_value")]
        if value.name in skip or len(dims) != len(tensor.shape.dim):
            continue
        where = f"{value.name!r}"
        if value.name in maker:
            where += f", made by {maker[value.name]},"
        if min(dims, default=1) < 0 or 4 * math.prod(dims) > MAX_VALUE_BYTES:
            problems.append(f"{where} has the shape {dims}, too large to address")
    if problems:
        raise UnsupportedModelError(list(dict.fromkeys(problems)))


def _in_cycles(graph: onnx.GraphProto, known: set[str]) -> list[onnx.NodeProto]:
    """Return the nodes that cannot be reached by running what is ready."""
    readers: dict[str, list[int]] = {}
    missing: list[int] = []
    for index, node in enumerate(graph.node):
        needed = {name for name in node.input if name and name not in known}
        missing.append(len(needed))
        for name in needed:
            readers.setdefault(name, []).append(index)
    ready = [index for index, count in enumerate(missing) if not count]
    done = set(known)
    while ready:
        for name in set(graph.node[ready.pop()].output) - done:
            done.add(name)
            for reader in readers.get(name, ()):
                missing[reader] -= 1
                if not missing[reader]:
                    ready.append(reader)
    stuck = [node for node, count in zip(graph.node, missing, strict=True) if count]
    # What only comes after a cycle is not part of it.
    while True:
        used = {name for node in stuck for name in node.input}
        kept = [node for node in stuck if used.intersection(node.output)]
        if len(kept) == len(stuck):
            return stuck
        stuck = kept


def _name(node: onnx.NodeProto) -> str:
    return f"node {node.name or ', '.join(node.output)!r} ({node.op_type})"


def _listed(items: list[str]) -> str:
    more = [f"and {len(items) - _SHOWN} more"] if len(items) > _SHOWN else []
    return "; ".join([*items[:_SHOWN], *more])
