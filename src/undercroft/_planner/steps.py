# SPDX-License-Identifier: Apache-2.0
"""A schedule unrolled: one step for each op record of the program.

Every band of an operator is a step of its own, on tensors that are bands of
rows; so are the copies that keep rows for the next band and the constants that
hold weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from undercroft import _spec
from undercroft._format.program import DTYPE_BYTES, NOT_QUANTISED, Dims, Quantisation
from undercroft._import.graph import Attributes, Operator
from undercroft._import.weights import Weights
from undercroft._planner.bands import Banded, Kept
from undercroft._planner.groups import Segment, Slot
from undercroft._planner.network import Box, Network, Node
from undercroft._planner.rows import Tables, window
from undercroft._spec import Op

__all__ = ["Place", "Step", "Unrolled", "unrolled"]


@dataclass(frozen=True, slots=True)
class Place:
    """A root of the program and where it will lie.

    Attributes:
        dims: Its dimensions.
        segment: The segment in whose workspace it lies; -1 for a root of the
            network.
        slot: The slot there.
        root: The root of the network that it is, or is a part of; -1 for
            held weights.
        wire_layout: As in the import graph.
        quantisation: As in the import graph.
    """

    dims: Dims
    segment: int
    slot: Slot
    root: int
    wire_layout: int = 0
    quantisation: Quantisation = NOT_QUANTISED

    @property
    def dtype(self) -> int:
        """The type of its elements."""
        return _spec.DTYPE_F32 if self.quantisation == NOT_QUANTISED else _spec.DTYPE_S8

    @property
    def size_bytes(self) -> int:
        """How many bytes it takes."""
        return DTYPE_BYTES[self.dtype] * math.prod(self.dims)


@dataclass(frozen=True, slots=True)
class Step:
    """One op record.

    Attributes:
        code: What it computes.
        operator: Its parameters; None for a copy of rows and for held weights.
        node: Position in the network of the operator it belongs to.
        segment: Index of the segment it belongs to.
        reads: Boxes of places.
        writes: Box of a place; None for a spill.
        pads: Rows and columns of padding, in this band.
        weights: Whose panels it reads, an index of the sources; -1 without.
        held: The place that holds them, -1 when they are resident or streamed.
        spill: What a SPILL and its FILL have in common.
    """

    code: Op
    operator: Operator | None
    node: int
    segment: int
    reads: tuple[Box, ...]
    writes: Box | None
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    weights: int = -1
    held: int = -1
    spill: int = -1


@dataclass(frozen=True, slots=True)
class Unrolled:
    """All steps of a schedule and the roots they work on."""

    places: tuple[Place, ...]
    steps: tuple[Step, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    sources: tuple[Weights | None, ...]
    """Weights that steps name: those of the network's operators, by position, and
    after them the tables of bands."""


def unrolled(net: Network, segments: Sequence[Segment]) -> Unrolled:
    """Unroll a schedule."""
    work = _Unrolling(net)
    for root in net.inputs:
        work.whole(root)
    for index, segment in enumerate(segments):
        if segment.bands is None:
            work.run_whole(segment.start, index)
        else:
            work.run_bands(segment, segment.bands, index)
    return Unrolled(
        tuple(work.places),
        tuple(work.steps),
        tuple(work.whole(root) for root in net.inputs),
        tuple(work.whole(root) for root in net.outputs),
        tuple(work.sources),
    )


_COPY_S8: Final = Operator(
    "copy",
    Op.MAX_POOL_2D_S8,
    (),
    0,
    Attributes(kernel=(1, 1), stride=(1, 1), dilation=(1, 1)),
    clamp=(-128.0, 127.0),
)


class _Unrolling:
    def __init__(self, net: Network) -> None:
        self.net = net
        self.places: list[Place] = []
        self.steps: list[Step] = []
        self.sources = [node.operator.weights for node in net.nodes]
        self._whole: dict[int, int] = {}
        # In bands: the place of the band of a root, and its first row.
        self._band: dict[int, tuple[int, int]] = {}
        self._kept: dict[int, tuple[int, int, tuple[Kept, ...]]] = {}
        self._held: dict[int, int] = {}

    def place(self, place: Place) -> int:
        self.places.append(place)
        return len(self.places) - 1

    def whole(self, root: int) -> int:
        """Return the place of a root that exists whole."""
        if root not in self._whole:
            tensor = self.net.roots[root]
            self._whole[root] = self.place(
                Place(
                    tensor.dims,
                    -1,
                    ("whole", root),
                    root,
                    tensor.wire_layout,
                    tensor.quantisation,
                )
            )
        return self._whole[root]

    def box(self, box: Box) -> Box:
        """Return a box of the network as a box of a place."""
        if box.root in self._band:
            place, first = self._band[box.root]
            n, h, w, c = box.origin
            return Box(place, (n, h - first, w, c), box.dims)
        return replace(box, root=self.whole(box.root))

    def run_whole(self, position: int, index: int) -> None:
        """Run an operator whole."""
        node = self.net.nodes[position]
        code = node.operator.code
        reads = () if code is Op.FILL else node.reads
        # What a SPILL writes and its FILL reads is a ticket: it has no memory.
        ticket = {Op.SPILL: node.writes, Op.FILL: (*node.reads, None)[0]}.get(code)
        self.steps.append(
            Step(
                code=code,
                operator=node.operator,
                node=position,
                segment=index,
                reads=tuple(self.box(read) for read in reads),
                writes=None if code is Op.SPILL else self.box(node.writes),
                spill=-1 if ticket is None else ticket.root,
                pads=node.operator.attributes.pads,
                weights=-1 if node.operator.weights is None else position,
            )
        )

    def run_bands(self, segment: Segment, bands: Banded, index: int) -> None:
        """Run a segment band after band."""
        for position in range(segment.start, segment.stop):
            if position not in bands.nodes:
                self.run_whole(position, index)
        for position in sorted(segment.held):
            self._hold(position, index)
        opens: dict[int, list[int]] = {}
        closes: dict[int, list[int]] = {}
        for root, band in bands.roots.items():
            opens.setdefault(band.first, []).append(root)
            closes.setdefault(band.last, []).append(root)
        for band_index in range(bands.count):
            for k, position in enumerate(bands.nodes):
                for root in opens.get(k, ()):
                    rows = bands.roots[root].rows[band_index]
                    if rows is not None:
                        self._open(root, rows, index, position)
                part = bands.rows[k][band_index]
                if part is not None:
                    self._run_rows(position, part, index)
                for root in closes.get(k, ()):
                    if bands.roots[root].rows[band_index] is not None:
                        kept = bands.roots[root].kept[band_index]
                        self._close(root, kept, index, position)
        self._held.clear()

    def _hold(self, position: int, index: int) -> None:
        size = self.net.nodes[position].weights_bytes
        place = self.place(Place((1, 1, 1, size // 4), index, ("held", position), -1))
        self._held[position] = place
        whole = Box(place, (0, 0, 0, 0), (1, 1, 1, size // 4))
        self.steps.append(
            Step(Op.CONSTANT, None, position, index, (), whole, weights=position)
        )

    def _open(self, root: int, rows: tuple[int, int], index: int, node: int) -> None:
        """Begin a band: make room, and bring back what was kept."""
        w = self.net.roots[root].dims[2]
        place = self.place(self._part_of(root, rows[1] - rows[0], index, "band"))
        self._band[root] = (place, rows[0])
        if root in self._kept:
            source, first, kept = self._kept.pop(root)
            for part in kept:
                self._copy(
                    self._part(source, first, w, part),
                    self._part(place, rows[0], w, part),
                    index,
                    node,
                )

    def _close(self, root: int, kept: tuple[Kept, ...], index: int, node: int) -> None:
        """End a band: keep what the next one needs."""
        place, first = self._band.pop(root)
        if not kept:
            return
        w = self.net.roots[root].dims[2]
        start = min(part.rows[0] for part in kept)
        stop = max(part.rows[1] for part in kept)
        target = self.place(self._part_of(root, stop - start, index, "kept"))
        for part in kept:
            self._copy(
                self._part(place, first, w, part),
                self._part(target, start, w, part),
                index,
                node,
            )
        self._kept[root] = (target, start, kept)

    def _part_of(self, root: int, rows: int, index: int, kind: str) -> Place:
        tensor = self.net.roots[root]
        w, c = tensor.dims[2:]
        return Place(
            (1, rows, w, c),
            index,
            (kind, root),
            root,
            quantisation=tensor.quantisation,
        )

    @staticmethod
    def _part(place: int, first: int, width: int, part: Kept) -> Box:
        rows = part.rows[1] - part.rows[0]
        origin = (0, part.rows[0] - first, 0, part.channel)
        return Box(place, origin, (1, rows, width, part.channels))

    def _copy(self, source: Box, target: Box, index: int, node: int) -> None:
        operator = None
        if self.places[target.root].dtype == _spec.DTYPE_S8:
            # CLAMP is of floats; a window of one element copies as well.
            operator = _COPY_S8
        code = Op.CLAMP if operator is None else operator.code
        self.steps.append(Step(code, operator, node, index, (source,), target))

    def _run_rows(self, position: int, rows: tuple[int, int], index: int) -> None:
        node = self.net.nodes[position]
        first, last = rows
        weights = node.operator.weights
        source = -1 if weights is None else position
        reads = []
        pads = node.operator.attributes.pads
        for operand, read in enumerate(node.reads):
            needs = window(node, operand)
            if needs is None:
                reads.append(self.box(read))
                continue
            part = read.rows(needs.first(first), needs.end(last))
            reads.append(self.box(part))
            if operand == 0:
                pads = _pads(node, needs.pads(first, last))
            if isinstance(weights, Tables):
                self.sources[position] = None
                self.sources.append(weights.band(first, last, needs.first(first)))
                source = len(self.sources) - 1
        self.steps.append(
            Step(
                code=node.operator.code,
                operator=node.operator,
                node=position,
                segment=index,
                reads=tuple(reads),
                writes=self.box(node.writes.rows(first, last)),
                pads=pads,
                weights=source,
                held=self._held.get(position, -1),
            )
        )


def _pads(node: Node, rows: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the padding of a band: that of the operator where it has any.

    What a rounded-up pooling window hangs over beyond the padding is no padding.
    """
    top, left, below, right = node.operator.attributes.pads
    return min(rows[0], top), left, min(rows[1], below), right
