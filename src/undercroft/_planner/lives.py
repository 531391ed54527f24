# SPDX-License-Identifier: Apache-2.0
"""How long roots live, and what is overwritten, when operators run whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from undercroft._format.ops import OPS
from undercroft._planner.network import Network

__all__ = ["Lifetime", "chains", "lifetimes", "live_bytes", "overwritten"]


@dataclass(frozen=True, slots=True)
class Lifetime:
    """First and last step during which a tensor's bytes must stay."""

    first: int
    last: int

    def meets(self, other: Lifetime) -> bool:
        """Whether both live during the same step."""
        return self.first <= other.last and other.first <= self.last


def lifetimes(net: Network) -> list[Lifetime]:
    """Return the lifetime of every root; -1 and the number of nodes are outside."""
    first: dict[int, int] = dict.fromkeys(net.inputs, -1)
    last: dict[int, int] = {}
    for position, node in enumerate(net.nodes):
        first.setdefault(node.writes.root, position)
        for box in (*node.reads, node.writes):
            last[box.root] = position
    last.update(dict.fromkeys(net.outputs, len(net.nodes)))
    return [Lifetime(first[root], last[root]) for root in range(len(net.roots))]


def overwritten(net: Network, lives: Sequence[Lifetime], position: int) -> int | None:
    """Return the root that the result of a node may lie over, if any."""
    node = net.nodes[position]
    if node.operator.code not in OPS or not OPS[node.operator.code].elementwise:
        return None
    out = node.writes
    roots = [box.root for box in node.reads]
    if out != net.whole(out.root) or len(set(roots)) != len(roots):
        return None
    for index, box in enumerate(node.reads):
        fits = (
            box.dims == out.dims
            or (
                index == 0
                and net.roots[box.root].size_bytes == net.roots[out.root].size_bytes
            )
        ) and box == net.whole(box.root)
        if fits and lives[box.root].last == position:
            return box.root
    return None


def chains(net: Network, lives: Sequence[Lifetime]) -> dict[int, list[int]]:
    """Return the roots that share a buffer because each overwrites the last.

    Returns:
        For the last root of each buffer all of its roots, in order.
    """
    chain: dict[int, list[int]] = {root: [root] for root in range(len(net.roots))}
    for position, node in enumerate(net.nodes):
        operand = overwritten(net, lives, position)
        if operand is not None and operand in chain:
            chain[node.writes.root] = [*chain.pop(operand), node.writes.root]
    return chain


def live_bytes(net: Network) -> list[int]:
    """Return the bytes that live during each node when all run whole."""
    lives = lifetimes(net)
    count = len(net.nodes)
    change = [0] * (count + 2)
    for roots in chains(net, lives).values():
        size = max(net.size(root) for root in roots)
        change[max(lives[roots[0]].first, 0)] += size
        change[min(lives[roots[-1]].last, count - 1) + 1] -= size
    live: list[int] = []
    total = 0
    for position in range(count):
        total += change[position]
        live.append(total)
    return live
