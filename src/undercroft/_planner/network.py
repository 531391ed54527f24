# SPDX-License-Identifier: Apache-2.0
"""The network as the planner sees it: operators on boxes of tensors.

The import graph becomes a list of nodes that read and write boxes of *roots*,
tensors with memory of their own. What the import expressed as copies into a
concatenated tensor is dissolved where it pays: the producer then writes
straight into its slice (`dissolved`). Where an operator cannot read or write a
box with gaps, a copy is put in between (`network`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from undercroft._format.ops import OPS, Views, align
from undercroft._format.program import Dims
from undercroft._import.graph import NO_CLAMP, Graph, Operator, Tensor
from undercroft._spec import Op

__all__ = ["Box", "Network", "Node", "compact", "dissolved", "network"]

_ORIGIN: Final[Dims] = (0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Box:
    """A box of a root.

    Attributes:
        root: Index of the root.
        origin: n, h, w, c of its first element.
        dims: Its extent.
    """

    root: int
    origin: Dims
    dims: Dims

    def meets(self, other: Box) -> bool:
        """Whether both have an element in common."""
        return self.root == other.root and all(
            a < b + m and b < a + n
            for a, n, b, m in zip(
                self.origin, self.dims, other.origin, other.dims, strict=True
            )
        )

    def inside(self, outer: Box) -> Box:
        """Return the same box of what is itself a box of another root."""
        a, b = self.origin, outer.origin
        origin = (a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3])
        return Box(outer.root, origin, self.dims)

    def rows(self, first: int, last: int) -> Box:
        """Return rows `first` to `last`, exclusive, of the box."""
        n, h, w, c = self.origin
        dims = (self.dims[0], last - first, self.dims[2], self.dims[3])
        return Box(self.root, (n, h + first, w, c), dims)


@dataclass(frozen=True, slots=True)
class Node:
    """One operator.

    Attributes:
        operator: What it computes; its operand indices are those of the graph.
        reads: Its operands.
        writes: Its result.
        added: Put in by the planner; not an operator of the network.
    """

    operator: Operator
    reads: tuple[Box, ...]
    writes: Box
    added: bool = False

    @property
    def weights_bytes(self) -> int:
        """Bytes of its panels."""
        weights = self.operator.weights
        return 0 if weights is None else weights.size_bytes


@dataclass(frozen=True, slots=True)
class Network:
    """Nodes in an order of execution, and the roots that they work on.

    Attributes:
        roots: Tensors with memory of their own; none of them is a view.
        nodes: Operators, in order.
        inputs: Roots that are there before the first operator.
        outputs: Roots that stay after the last one.
    """

    roots: tuple[Tensor, ...]
    nodes: tuple[Node, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def whole(self, root: int) -> Box:
        """Return all of a root."""
        return Box(root, _ORIGIN, self.roots[root].dims)

    def size(self, root: int) -> int:
        """Return the bytes a root takes in the arena."""
        return align(self.roots[root].size_bytes)

    def gaps(self, box: Box) -> Views:
        """Return what an operator must support to have a box as operand."""
        return gaps(self.roots[box.root].dims, box)


def gaps(root: Dims, box: Box) -> Views:
    """Return what an operator must support to have a box of a root as operand."""
    n, h, w, c = box.dims
    pixel = root[3]
    row = root[2] * pixel
    if (h > 1 and row != w * pixel) or (n > 1 and root[1] * row != h * w * pixel):
        return Views.ANY
    return Views.EVEN if n * h * w > 1 and pixel != c else Views.DENSE


def _may_read(
    operator: Operator, reads: Sequence[Box], writes: Box, has: Views
) -> bool:
    if has is Views.DENSE:
        return True
    if operator.code is Op.CLAMP and reads[0].dims != writes.dims:
        return False
    return operator.code in OPS and has <= OPS[operator.code].input_views


def _may_write(
    operator: Operator, reads: Sequence[Box], writes: Box, has: Views
) -> bool:
    if has is Views.DENSE:
        return True
    if operator.code is Op.CLAMP and reads[0].dims != writes.dims:
        return False
    return operator.code in OPS and has <= OPS[operator.code].output_views


def is_plain_copy(node: Node) -> bool:
    """Whether a node moves elements and does nothing else."""
    return (
        node.operator.code is Op.CLAMP
        and node.operator.clamp == NO_CLAMP
        and node.reads[0].dims == node.writes.dims
    )


def network(graph: Graph) -> Network:
    """Return the network of a graph, with copies where views cannot be used."""
    number: dict[int, int] = {}
    roots: list[Tensor] = []
    for index, tensor in enumerate(graph.tensors):
        if tensor.parent is None:
            number[index] = len(roots)
            roots.append(tensor)

    def box(index: int) -> Box:
        tensor = graph.tensors[index]
        return Box(number[graph.root(index)], tensor.origin, tensor.dims)

    nodes: list[Node] = []
    for operator in graph.operators:
        reads = [box(tensor) for tensor in operator.inputs]
        writes = box(operator.output)
        after: Node | None = None
        for i, read in enumerate(reads):
            has = gaps(roots[read.root].dims, read)
            if not _may_read(operator, reads, writes, has):
                copied = _fresh(roots, read)
                nodes.append(_copy(operator.name, read, copied))
                reads[i] = copied
        has = gaps(roots[writes.root].dims, writes)
        if not _may_write(operator, reads, writes, has):
            inner = _fresh(roots, writes)
            after = _copy(operator.name, inner, writes)
            writes = inner
        nodes.append(Node(operator, tuple(reads), writes))
        if after is not None:
            nodes.append(after)
    return Network(
        tuple(roots),
        tuple(nodes),
        tuple(number[i] for i in graph.inputs),
        tuple(number[i] for i in graph.outputs),
    )


def _fresh(roots: list[Tensor], box: Box) -> Box:
    source = roots[box.root]
    roots.append(
        Tensor(f"{source.name}.copy", box.dims, quantisation=source.quantisation)
    )
    return Box(len(roots) - 1, _ORIGIN, box.dims)


def _copy(name: str, source: Box, target: Box) -> Node:
    operator = Operator(f"{name}.copy", Op.CLAMP, (), 0)
    return Node(operator, (source,), target, added=True)


# ---- dissolving copies


def dissolved(net: Network) -> Network:
    """Let producers write straight into what their result is copied to.

    A copy stays where the tensor is an input, feeds a second copy, is written
    or read by an operator that needs it dense, or where the larger tensor
    would have to live so early that more memory is needed at once than with
    the copy.
    """
    for index in range(len(net.nodes) - 1, -1, -1):
        # From the last to the first, so that slices of slices find their place.
        if index < len(net.nodes) and is_plain_copy(net.nodes[index]):
            other = _without_copy(net, index)
            if other is not None and _no_worse(net, other, index):
                net = other
    return compact(net)


def _without_copy(net: Network, index: int) -> Network | None:
    copy = net.nodes[index]
    source, target = copy.reads[0], copy.writes
    inner = source.root
    if (
        source != net.whole(inner)
        or inner == target.root
        or inner in net.inputs
        or inner in net.outputs
    ):
        return None
    whole = net.roots[target.root].dims
    nodes: list[Node] = []
    for position, node in enumerate(net.nodes):
        if position == index:
            continue
        # Whoever reads after the copy reads the slice, which is the same.
        for box in node.reads:
            if box.root == inner and not _may_read(
                node.operator, node.reads, node.writes, gaps(whole, box.inside(target))
            ):
                return None
        if node.writes.root == inner and not _may_write(
            node.operator,
            node.reads,
            node.writes,
            gaps(whole, node.writes.inside(target)),
        ):
            return None
        nodes.append(
            replace(
                node,
                reads=tuple(
                    box.inside(target) if box.root == inner else box
                    for box in node.reads
                ),
                writes=node.writes.inside(target)
                if node.writes.root == inner
                else node.writes,
            )
        )
    return replace(net, nodes=tuple(nodes))


def _no_worse(net: Network, other: Network, index: int) -> bool:
    """Whether memory at once does not grow where the tensor lives."""
    before, after = _profile(net), _profile(other)
    start = min(
        position
        for position, node in enumerate(net.nodes)
        if node.writes.root == net.nodes[index].reads[0].root
    )
    return max(after[start:index], default=0) <= max(before[start : index + 1])


def _profile(net: Network) -> list[int]:
    first: dict[int, int] = dict.fromkeys(net.inputs, 0)
    last: dict[int, int] = {}
    for position, node in enumerate(net.nodes):
        first.setdefault(node.writes.root, position)
        for box in (*node.reads, node.writes):
            last[box.root] = position
    last.update(dict.fromkeys(net.outputs, len(net.nodes) - 1))
    change = [0] * (len(net.nodes) + 1)
    for root, start in first.items():
        change[start] += net.size(root)
        change[last.get(root, start) + 1] -= net.size(root)
    profile: list[int] = []
    total = 0
    for position in range(len(net.nodes)):
        total += change[position]
        profile.append(total)
    return profile


def compact(net: Network) -> Network:
    """Drop roots that nothing uses."""
    used = {box.root for node in net.nodes for box in (*node.reads, node.writes)}
    used.update(net.inputs, net.outputs)
    number = {root: index for index, root in enumerate(sorted(used))}

    def moved(box: Box) -> Box:
        return replace(box, root=number[box.root])

    return Network(
        tuple(net.roots[root] for root in sorted(used)),
        tuple(
            replace(
                node,
                reads=tuple(moved(box) for box in node.reads),
                writes=moved(node.writes),
            )
            for node in net.nodes
        ),
        tuple(number[root] for root in net.inputs),
        tuple(number[root] for root in net.outputs),
    )


def readers_of(net: Network) -> dict[int, list[int]]:
    """Return for each root the nodes that read it, in order."""
    found: dict[int, list[int]] = defaultdict(list)
    for position, node in enumerate(net.nodes):
        for root in dict.fromkeys(box.root for box in node.reads):
            found[root].append(position)
    return found


def writers_of(net: Network) -> dict[int, list[int]]:
    """Return for each root the nodes that write it, in order."""
    found: dict[int, list[int]] = defaultdict(list)
    for position, node in enumerate(net.nodes):
        found[node.writes.root].append(position)
    return found
