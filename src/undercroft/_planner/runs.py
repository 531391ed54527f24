# SPDX-License-Identifier: Apache-2.0
"""Every run of operators that could be executed in bands, with what it needs.

For each pair of a last and a first operator, and each height of the bands, the
peak and the cost are estimated from one band in the middle of the image, for
all heights at once. `bands` follows the rows exactly for those that are chosen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from undercroft import _spec
from undercroft._planner import cost
from undercroft._planner.groups import can_hold, row_bytes
from undercroft._planner.lives import Lifetime, overwritten
from undercroft._planner.network import Network, readers_of, writers_of
from undercroft._planner.rows import Window, bandable, some_columns, window
from undercroft._spec import Op

__all__ = ["Run", "Runs", "runs"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MOST_OPERATORS: Final = 72
_HEIGHTS: Final = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 56, 80)
_RECORD_BYTES: Final = _spec.OP_RECORD_BYTES + 2 * _spec.TENSOR_RECORD_BYTES


@dataclass(frozen=True, slots=True)
class Run:
    """Operators from `start` to `stop`, run in bands of one of several heights.

    Attributes:
        start: Position of the first operator.
        stop: Position after the last.
        heights: Rows of the last result in each band.
        counts: How many bands that are.
        peak_bytes: Activations that live at once, for each height.
        cost: Instructions beyond those of whole operators, for each height.
        record_bytes: Length of its records in the program.
        weights_bytes: Weights of its operators that could be held.
        unheld_bytes: Weights that could not.
    """

    start: int
    stop: int
    heights: Ints
    counts: Ints
    peak_bytes: Ints
    cost: Floats
    record_bytes: Ints
    weights_bytes: int
    unheld_bytes: int


@dataclass(frozen=True, slots=True)
class Runs:
    """All candidates.

    Attributes:
        whole_bytes: Activations that live while each operator runs whole.
        by_stop: Runs in bands, by the position after their last operator.
    """

    whole_bytes: tuple[int, ...]
    by_stop: tuple[tuple[Run, ...], ...]


class _Facts:
    """What does not depend on the run: lifetimes, readers, rows."""

    def __init__(self, net: Network, lives: Sequence[Lifetime]) -> None:
        self.net, self.lives = net, lives
        self.readers = readers_of(net)
        self.writers = writers_of(net)
        self.bandable = [bandable(net, node) for node in net.nodes]
        for position, node in enumerate(net.nodes):
            if some_columns(net, node):
                readers = self.readers.get(node.writes.root, ())
                self.bandable[position] &= not any(self.bandable[r] for r in readers)
        self.constant = [node.operator.code is Op.CONSTANT for node in net.nodes]
        self.by_last: dict[int, list[int]] = {}
        for root, life in enumerate(lives):
            self.by_last.setdefault(min(life.last, len(net.nodes) - 1), []).append(root)
        self.uses: list[list[tuple[int, Window]]] = [
            [
                (reader, rows)
                for reader in self.readers.get(node.writes.root, ())
                for index, read in enumerate(net.nodes[reader].reads)
                if read.meets(node.writes)
                and (rows := window(net.nodes[reader], index)) is not None
            ]
            for node in net.nodes
        ]
        self.stays = {*net.inputs, *net.outputs}

    def alive(self, position: int) -> list[int]:
        """Return the roots that live while a node runs."""
        return [
            root
            for root, life in enumerate(self.lives)
            if life.first <= position <= life.last
        ]


def runs(
    net: Network, lives: Sequence[Lifetime], worth_bytes: int, limit_bytes: int
) -> Runs:
    """Return all candidates.

    Args:
        net: The network, in its order of execution.
        lives: Lifetimes of its roots.
        worth_bytes: Operators that need no more than this run whole; a run in
            bands has at least one that needs more.
        limit_bytes: Runs that need more than this are left out.
    """
    facts = _Facts(net, lives)
    whole = _whole_bytes(net, lives, facts)
    by_stop: list[tuple[Run, ...]] = [()]
    for stop in range(1, len(net.nodes) + 1):
        by_stop.append(
            tuple(
                run
                for run in _ending(facts, stop)
                if max(whole[run.start : run.stop]) > worth_bytes
                and run.peak_bytes.min() <= limit_bytes
            )
        )
    return Runs(tuple(whole), tuple(by_stop))


def _whole_bytes(net: Network, lives: Sequence[Lifetime], facts: _Facts) -> list[int]:
    found: list[int] = []
    for position, node in enumerate(net.nodes):
        total = sum(net.size(root) for root in facts.alive(position))
        if overwritten(net, lives, position) is not None:
            total -= net.size(node.writes.root)
        found.append(total)
    return found


def _heights(size: int) -> Ints:
    some = {h for h in _HEIGHTS if h < size} | {-(-size // 2), -(-size // 3)}
    return np.array(sorted(h for h in some if 1 <= h < size), np.int64)


def _ending(facts: _Facts, stop: int) -> Iterator[Run]:
    """Yield the runs whose last operator is the one before `stop`."""
    net, lives = facts.net, facts.lives
    last = net.nodes[stop - 1]
    root = last.writes.root
    if not facts.bandable[stop - 1]:
        return
    if lives[root].last < stop and root not in facts.stays:
        return
    size = last.writes.dims[1]
    heights = _heights(size)
    if not len(heights):
        return
    sweep = _Sweep(facts, stop, size, heights)
    for start in range(stop - 1, max(-1, stop - 1 - MOST_OPERATORS), -1):
        if facts.constant[start]:
            sweep.add_outside(start)
            continue
        if not facts.bandable[start]:
            return
        sweep.add(start)
        yield sweep.run(start)


class _Sweep:
    """Goes from the last operator of a run towards earlier ones."""

    def __init__(self, facts: _Facts, stop: int, size: int, heights: Ints) -> None:
        self.facts, self.stop = facts, stop
        self.size, self.heights = size, heights
        middle = np.maximum(1, (size - heights) // 2)
        # Rows of the last result before and after a band in the middle.
        self.sink = np.stack([middle, np.minimum(size, middle + heights)])
        self.ends: dict[int, Ints] = {}
        self.starts: dict[int, Ints] = {}
        # Rows of each operator for the first row of the last result, which no
        # band is too low for.
        self.first: dict[int, int] = {}
        self.reach: dict[int, float] = {}
        self.lead = 0.0
        count = len(heights)
        self.live = np.zeros((0, count), np.int64)
        self.kept = np.zeros(count, np.int64)
        self.copied = np.zeros(count, np.float64)
        self.records = np.zeros(count, np.int64)
        self.weights = self.unheld = 0
        self.unpack = 0.0
        self.internal: set[int] = set()
        self.outside = sum(facts.net.size(root) for root in facts.alive(stop - 1))

    def add_outside(self, position: int) -> None:
        """Add an operator that runs whole before the bands begin."""
        self._enter(position)
        self.live = np.concatenate([self.kept[None], self.live])

    def _enter(self, position: int) -> None:
        if position == self.stop - 1:
            return
        net = self.facts.net
        self.outside += sum(
            net.size(root) for root in self.facts.by_last.get(position, ())
        )

    def add(self, position: int) -> None:
        """Add the operator before those that are there."""
        facts, net = self.facts, self.facts.net
        self._enter(position)
        node = net.nodes[position]
        root = node.writes.root
        uses = [(r, w) for r, w in facts.uses[position] if r < self.stop]
        own = node.writes.dims[1]
        if uses:
            ends = np.max([w.ends(self.ends[r]) for r, w in uses], axis=0)
            starts = np.min([w.firsts(self.ends[r][0]) for r, w in uses], axis=0)
            first = max(w.end(self.first[r]) for r, w in uses)
            reach = max(w.ahead(self.reach[r]) for r, w in uses)
        else:
            ends = -(-self.sink * own // self.size)
            starts = ends[0]
            first = -(-own // self.size)
            reach = float(own)
        self.ends[position], self.starts[position] = ends, starts
        self.first[position], self.reach[position] = first, reach
        self.lead = max(self.lead, reach * self.size / own - self.size)
        self.live = np.concatenate([self.kept[None], self.live])
        self.records += 1
        self.unpack += cost.unpack_instructions(node)
        if node.weights_bytes:
            if can_hold(net, position):
                self.weights += node.weights_bytes
            else:
                self.unheld += node.weights_bytes
        if (
            root not in facts.stays
            and facts.lives[root].first == position
            and facts.lives[root].last < self.stop
        ):
            self._close(root, position)

    def _close(self, root: int, position: int) -> None:
        """All of a root's writers and readers are there: only bands of it exist."""
        net = self.facts.net
        pieces = [p for p in self.facts.writers[root] if p >= position]
        row = row_bytes(net, root)
        low = np.min([np.minimum(self.starts[p], self.ends[p][0]) for p in pieces], 0)
        high = np.max([self.ends[p][1] for p in pieces], axis=0)
        first = max(self.first[p] for p in pieces)
        size = np.maximum(high - low, first) * row
        kept = np.maximum(0, np.max([self.ends[p][0] for p in pieces], 0) - low) * row
        last = self.facts.readers[root][-1] - position
        self.live[: last + 1] += size
        self.live[0] += kept
        self.live[last:] += kept
        self.kept += kept
        self.copied += 2 * kept
        self.records += 2 * (kept > 0)
        self.internal.add(root)
        self.outside -= net.size(root)

    def run(self, start: int) -> Run:
        """Return the run as it stands."""
        counts = np.minimum(self.size, -(-(self.size + int(self.lead)) // self.heights))
        records = self.records * counts
        extra = self.copied * (counts - 1) * cost.MOVE_INSTRUCTIONS_PER_BYTE
        extra += records * cost.RECORD_INSTRUCTIONS + (counts - 1) * self.unpack
        return Run(
            start,
            self.stop,
            self.heights,
            counts,
            self.outside + self.live.max(axis=0),
            extra,
            records * _RECORD_BYTES,
            self.weights,
            self.unheld,
        )
