# SPDX-License-Identifier: Apache-2.0
"""In which order operators run, how long tensors live, what is overwritten."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from undercroft._format.ops import OPS, align
from undercroft._import.graph import Graph, Operator
from undercroft._spec import Op

__all__ = ["Buffer", "Lifetime", "buffers", "lifetimes", "live_bytes", "scheduled"]

BEFORE_ALL: Final = -1
"""First op of an input: it is written before op 0 runs."""


@dataclass(frozen=True, slots=True)
class Lifetime:
    """First and last op during which a tensor's bytes must stay."""

    first: int
    last: int

    def meets(self, other: Lifetime) -> bool:
        """Whether both live during the same op."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True, slots=True)
class Buffer:
    """Bytes in the arena for a tensor, or for several that overwrite each other.

    Attributes:
        size: Bytes, a multiple of the arena's alignment.
        lifetime: From the first tensor's writing to the last one's last read.
        tensors: Indices of the tensors that lie in it.
    """

    size: int
    lifetime: Lifetime
    tensors: tuple[int, ...]


def lifetimes(graph: Graph) -> list[Lifetime]:
    """Return the lifetime of every tensor."""
    first = dict.fromkeys(graph.inputs, BEFORE_ALL)
    last: dict[int, int] = {}
    for index, operator in enumerate(graph.operators):
        first[operator.output] = index
        for tensor in operator.inputs:
            last[tensor] = index
    last.update(dict.fromkeys(graph.outputs, len(graph.operators)))
    return [Lifetime(first[i], last[i]) for i in range(len(graph.tensors))]


def buffers(graph: Graph) -> list[Buffer]:
    """Return the buffers, with outputs written over inputs wherever allowed."""
    lives = lifetimes(graph)
    chain: dict[int, list[int]] = {i: [i] for i in range(len(graph.tensors))}
    for index, operator in enumerate(graph.operators):
        operand = _overwritten(graph, lives, index, operator)
        if operand is not None:
            chain[operator.output] = [*chain.pop(operand), operator.output]
    return [
        Buffer(
            size=align(graph.tensors[tensors[0]].size_bytes),
            lifetime=Lifetime(lives[tensors[0]].first, lives[tensors[-1]].last),
            tensors=tuple(tensors),
        )
        for tensors in chain.values()
    ]


def live_bytes(parts: Sequence[Buffer], op_count: int) -> list[int]:
    """Return the bytes of all buffers that live during each op."""
    change = [0] * (op_count + 2)
    for part in parts:
        # Inputs are all there before op 0 and outputs still after the last.
        change[max(part.lifetime.first, 0)] += part.size
        change[min(part.lifetime.last, op_count - 1) + 1] -= part.size
    live = []
    total = 0
    for index in range(op_count):
        total += change[index]
        live.append(total)
    return live


def scheduled(graph: Graph) -> Graph:
    """Return the graph in the order, of those tried, with the lowest peak.

    Tried are the order of the ONNX file and a greedy one that always runs the
    operator which leaves the least alive; branches are then run one after the
    other.
    """
    best = graph
    best_peak = _peak(graph)
    other = replace(graph, operators=tuple(_greedy(graph)))
    if _peak(other) < best_peak:
        best = other
    return best


def _peak(graph: Graph) -> int:
    return max(live_bytes(buffers(graph), len(graph.operators)))


def _greedy(graph: Graph) -> list[Operator]:
    operators = graph.operators
    writer = {operator.output: i for i, operator in enumerate(operators)}
    readers = Counter(t for operator in operators for t in set(operator.inputs))
    readers.update(graph.outputs)
    waiting = [
        sum(tensor in writer for tensor in set(operator.inputs))
        for operator in operators
    ]
    followers: dict[int, list[int]] = {}
    for index, operator in enumerate(operators):
        for tensor in set(operator.inputs):
            followers.setdefault(tensor, []).append(index)
    # A constant is written just before its reader: it is not worth a step.
    constant = {
        i for i, operator in enumerate(operators) if operator.code is Op.CONSTANT
    }
    for index in constant:
        for follower in followers[operators[index].output]:
            waiting[follower] -= 1
    ready = [i for i, count in enumerate(waiting) if count == 0 and i not in constant]
    done: set[int] = set()
    order: list[Operator] = []

    def growth(index: int) -> tuple[int, int]:
        operator = operators[index]
        freed = sum(
            graph.tensors[tensor].size_bytes
            for tensor in set(operator.inputs)
            if readers[tensor] == 1
        )
        return graph.tensors[operator.output].size_bytes - freed, index

    while ready:
        index = min(ready, key=growth)
        ready.remove(index)
        operator = operators[index]
        for tensor in set(operator.inputs):
            readers[tensor] -= 1
            source = writer.get(tensor)
            if source in constant and source not in done:
                order.append(operators[source])
                done.add(source)
        order.append(operator)
        for follower in followers.get(operator.output, ()):
            waiting[follower] -= 1
            if waiting[follower] == 0:
                ready.append(follower)
    # A constant that is an output of the network has no reader.
    order += [operators[i] for i in sorted(constant) if operators[i] not in order]
    return order


def _overwritten(
    graph: Graph, lives: list[Lifetime], index: int, operator: Operator
) -> int | None:
    """Return the operand that the output may lie over, if any."""
    if not OPS[operator.code].elementwise:
        return None
    out = graph.tensors[operator.output]
    if len(set(operator.inputs)) != len(operator.inputs):
        return None
    for position, tensor in enumerate(operator.inputs):
        operand = graph.tensors[tensor]
        fits = (
            operand.size_bytes == out.size_bytes
            if position == 0
            else operand.dims == out.dims
        )
        if fits and lives[tensor].last == index:
            return tensor
    return None
