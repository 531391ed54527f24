# SPDX-License-Identifier: Apache-2.0
"""A run of operators executed a band of rows at a time, depth first.

`banded` follows the rows through the operators of a run: which rows each one
computes in each band, which rows of what lies between them are needed again by
the next band and are therefore kept, and how many rows a buffer holds at most.
Intermediate tensors then never exist whole; what enters or leaves the run does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from undercroft._planner.network import Network
from undercroft._planner.rows import Window, window

__all__ = ["BandRoot", "Banded", "Kept", "banded"]

Rows = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Kept:
    """Rows of some channels that a later band needs again.

    Attributes:
        channel: First channel.
        channels: How many.
        rows: First row and end, of the whole tensor.
    """

    channel: int
    channels: int
    rows: Rows


@dataclass(frozen=True, slots=True)
class BandRoot:
    """A tensor of which only a band exists at a time.

    Attributes:
        root: The tensor.
        first: Position of its first writer in the run.
        last: Position of its last reader in the run.
        rows: For each band the rows that its buffer holds; None without one.
        kept: For each band the rows kept for the next band that has a buffer.
    """

    root: int
    first: int
    last: int
    rows: tuple[Rows | None, ...]
    kept: tuple[tuple[Kept, ...], ...]

    @property
    def most_rows(self) -> int:
        """Rows of the largest buffer."""
        return max(rows[1] - rows[0] for rows in self.rows if rows)

    @property
    def most_kept_rows(self) -> int:
        """Rows of the largest stretch that is kept."""
        return max((hull(kept) for kept in self.kept if kept), default=0)


@dataclass(frozen=True, slots=True)
class Banded:
    """A run of operators and what each band of it computes.

    Attributes:
        nodes: Positions of the operators in the network, in order.
        count: How many bands there are.
        rows: For each operator and band the rows it computes; None for none.
        roots: The tensors of which only bands exist, by root.
    """

    nodes: tuple[int, ...]
    count: int
    rows: tuple[tuple[Rows | None, ...], ...]
    roots: dict[int, BandRoot]


def hull(kept: Sequence[Kept]) -> int:
    """Return the rows between the first and the last that is kept."""
    return max(k.rows[1] for k in kept) - min(k.rows[0] for k in kept)


Uses = list[tuple[int, Window]]


def banded(
    net: Network,
    nodes: Sequence[int],
    internal: frozenset[int],
    height: int,
    recomputed: frozenset[int] = frozenset(),
) -> Banded:
    """Follow the rows through a run of operators.

    Args:
        net: The network.
        nodes: Positions of the operators, in order; all of them bandable.
        internal: Roots that only these operators write and read.
        height: Rows of the last result in each band.
        recomputed: Internal roots of which no rows are kept: what a band needs
            again is computed again.
    """
    uses: list[Uses] = [_uses(net, nodes, k) for k in range(len(nodes))]
    whole = [net.nodes[p].writes.root not in internal for p in nodes]
    last_sink = max(k for k in range(len(nodes)) if whole[k])
    size = _height(net, nodes[last_sink])
    lead = _lead(net, nodes, uses, last_sink)
    count = max(1, -(-(size + lead) // height))
    count = min(count, size)
    ends = [
        max(t + 1, min(size - (count - 1 - t), height * (t + 1) - lead))
        for t in range(count)
    ]
    ends[-1] = size

    done: list[list[int]] = [[] for _ in nodes]
    needed: list[list[int | None]] = [[] for _ in nodes]
    rows: list[tuple[Rows | None, ...]] = [() for _ in nodes]
    for k in range(len(nodes) - 1, -1, -1):
        own = _height(net, nodes[k])
        done[k] = _ends(done, uses[k], ends, size, own, whole=whole[k])
        needed[k] = [
            min(
                (
                    rows_of.first(part[0])
                    for reader, rows_of in uses[k]
                    if (part := rows[reader][t])
                ),
                default=None,
            )
            for t in range(count)
        ]
        root = net.nodes[nodes[k]].writes.root
        rows[k] = tuple(
            _new_rows(
                done[k][t - 1] if t else 0,
                done[k][t],
                needed[k][t],
                skips=not whole[k],
                again=root in recomputed,
            )
            for t in range(count)
        )
    roots = {
        root: _root(net, nodes, root, count, done, needed, rows, uses, recomputed)
        for root in sorted(internal)
    }
    return Banded(tuple(nodes), count, tuple(rows), roots)


def _height(net: Network, position: int) -> int:
    return net.nodes[position].writes.dims[1]


def _uses(net: Network, nodes: Sequence[int], k: int) -> Uses:
    """Return who in the run reads what operator k writes, and how."""
    writes = net.nodes[nodes[k]].writes
    found: Uses = []
    for other in range(k + 1, len(nodes)):
        node = net.nodes[nodes[other]]
        for index, read in enumerate(node.reads):
            if read.root == writes.root and read.meets(writes):
                rows_of = window(node, index)
                if rows_of is not None:
                    found.append((other, rows_of))
    return found


def _lead(net: Network, nodes: Sequence[int], uses: list[Uses], sink: int) -> int:
    """Return how far the first operators run ahead, in rows of the last result."""
    size = _height(net, nodes[sink])
    reach: list[float] = [0.0] * len(nodes)
    lead = 0.0
    for k in range(len(nodes) - 1, -1, -1):
        ends = [rows_of.ahead(reach[reader]) for reader, rows_of in uses[k]]
        reach[k] = max(ends, default=_height(net, nodes[k]))
        lead = max(lead, reach[k] * size / _height(net, nodes[k]) - size)
    return int(lead)


def _ends(
    done: list[list[int]],
    uses: Uses,
    ends: list[int],
    size: int,
    own: int,
    *,
    whole: bool,
) -> list[int]:
    """Return for each band how many rows an operator has computed after it."""
    if uses:
        result = [
            max(rows_of.end(done[reader][t]) for reader, rows_of in uses)
            for t in range(len(ends))
        ]
    else:
        result = [-(-end * own // size) for end in ends]
    if whole:
        result[-1] = own
    return result


def _new_rows(
    before: int, end: int, needed: int | None, *, skips: bool, again: bool
) -> Rows | None:
    first = before
    if needed is not None and (again or (skips and needed > before)):
        first = needed
    return (first, end) if first < end else None


def _root(
    net: Network,
    nodes: Sequence[int],
    root: int,
    count: int,
    done: list[list[int]],
    needed: list[list[int | None]],
    rows: list[tuple[Rows | None, ...]],
    uses: list[Uses],
    recomputed: frozenset[int],
) -> BandRoot:
    pieces = [k for k, p in enumerate(nodes) if net.nodes[p].writes.root == root]
    last = max(reader for k in pieces for reader, _ in uses[k])
    active = [
        t
        for t in range(count)
        if any(rows[k][t] or needed[k][t] is not None for k in pieces)
    ]
    # The first row that any band from t on still needs.
    future: dict[int, list[int]] = {}
    for k in pieces:
        least = 1 << 30
        ahead = [0] * count
        for t in range(count - 1, -1, -1):
            at = needed[k][t]
            least = least if at is None else min(least, at)
            ahead[t] = least
        future[k] = ahead
    holds: list[Rows | None] = [None] * count
    kept: list[tuple[Kept, ...]] = [()] * count
    before: tuple[Kept, ...] = ()
    for index, t in enumerate(active):
        parts = [part for k in pieces if (part := rows[k][t])]
        parts += [k.rows for k in before]
        parts += [
            (at, min(done[k][t], at + 1))
            for k in pieces
            if (at := needed[k][t]) is not None
        ]
        holds[t] = (min(p[0] for p in parts), max(p[1] for p in parts))
        before = ()
        if index + 1 < len(active) and root not in recomputed:
            following = active[index + 1]
            before = _merged(
                [
                    Kept(
                        net.nodes[nodes[k]].writes.origin[3],
                        net.nodes[nodes[k]].writes.dims[3],
                        (future[k][following], done[k][t]),
                    )
                    for k in pieces
                    if future[k][following] < done[k][t]
                ]
            )
        kept[t] = before
    return BandRoot(root, min(pieces), last, tuple(holds), tuple(kept))


def _merged(parts: list[Kept]) -> tuple[Kept, ...]:
    """Join slices of channels that are neighbours and keep the same rows."""
    result: list[Kept] = []
    for part in sorted(parts, key=lambda kept: kept.channel):
        if (
            result
            and result[-1].rows == part.rows
            and result[-1].channel + result[-1].channels == part.channel
        ):
            before = result.pop()
            width = before.channels + part.channels
            result.append(Kept(before.channel, width, part.rows))
        else:
            result.append(part)
    return tuple(result)
