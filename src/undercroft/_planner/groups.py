# SPDX-License-Identifier: Apache-2.0
"""Segments of a schedule: an operator run whole, or a run of them in bands.

A segment in bands has a workspace of its own: a slot for the band of each
intermediate tensor, one for the rows of it that are kept for the next band, and
one for every operator whose weights are held. All bands use the same slots, so
the workspace is packed once, over the positions in a band.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from undercroft._format.ops import OPS, align
from undercroft._format.program import DTYPE_BYTES
from undercroft._planner import cost
from undercroft._planner.bands import Banded, BandRoot, banded
from undercroft._planner.lives import Lifetime
from undercroft._planner.network import Network
from undercroft._planner.place import place_masks
from undercroft._planner.rows import Tables
from undercroft._spec import MAX_DIM, Op

__all__ = ["Segment", "band_segment", "can_hold", "internal_roots", "whole_segment"]

Slot = tuple[str, int]
"""("band" | "kept", root) or ("held", position of an operator)."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One step of a schedule.

    Attributes:
        start: Position of its first operator in the network.
        stop: Position after its last.
        bands: How it runs in bands; None for one operator that runs whole.
        held: Operators whose weights are held while it runs.
        slots: Offset of each slot in the workspace.
        workspace_bytes: Length of the workspace.
        copied_bytes: What is copied to keep rows for the next band.
    """

    start: int
    stop: int
    bands: Banded | None = None
    held: frozenset[int] = frozenset()
    slots: dict[Slot, int] = field(default_factory=dict)
    workspace_bytes: int = 0
    copied_bytes: int = 0

    def repeats(self, position: int) -> int:
        """Return how often an operator's weights are needed from the stream."""
        return 1 if position in self.held else self.band_count(position)

    def band_count(self, position: int) -> int:
        """Return in how many bands an operator runs; 1 when it runs whole."""
        if self.bands is None or position not in self.bands.nodes:
            return 1
        index = self.bands.nodes.index(position)
        return sum(rows is not None for rows in self.bands.rows[index])


def whole_segment(position: int) -> Segment:
    """Return the segment of an operator that runs whole."""
    return Segment(position, position + 1)


def internal_roots(
    net: Network, lives: Sequence[Lifetime], start: int, stop: int
) -> frozenset[int]:
    """Return the roots that only operators from start to stop write and read."""
    roots = {
        net.nodes[p].writes.root
        for p in range(start, stop)
        if net.nodes[p].operator.code is not Op.CONSTANT
    }
    return frozenset(
        root for root in roots if start <= lives[root].first and lives[root].last < stop
    )


def can_hold(net: Network, position: int) -> bool:
    """Whether an operator's weights fit into one tensor."""
    # Tables differ from band to band.
    weights = net.nodes[position].operator.weights
    return not isinstance(weights, Tables) and (
        0 < net.nodes[position].weights_bytes <= 4 * MAX_DIM
    )


def band_segment(
    net: Network,
    lives: Sequence[Lifetime],
    start: int,
    stop: int,
    height: int,
    *,
    hold_bytes: int = 0,
    recompute: bool = True,
) -> Segment:
    """Return a run of operators in bands.

    Args:
        net: The network.
        lives: Lifetimes of its roots.
        start: Position of the first operator.
        stop: Position after the last; constants in between are written first.
        height: Rows of the last result in each band.
        hold_bytes: How large the workspace may grow to hold weights that would
            otherwise be streamed again for every band.
        recompute: Whether rows may be computed again where that is cheaper than
            keeping them.
    """
    nodes = [
        p for p in range(start, stop) if net.nodes[p].operator.code is not Op.CONSTANT
    ]
    internal = internal_roots(net, lives, start, stop)
    bands = banded(net, nodes, internal, height)
    if recompute:
        again = frozenset(
            root for root in internal if _cheaper_again(net, bands, bands.roots[root])
        )
        if again:
            bands = banded(net, nodes, internal, height, again)
    slots, sizes, masks = _slots(net, bands)
    placed = place_masks(sizes, masks, solve=False)
    offsets = dict(zip(slots, placed.offsets, strict=True))
    workspace = placed.size
    held: set[int] = set()
    candidates = sorted(
        (p for p in nodes if can_hold(net, p)),
        key=lambda p: -net.nodes[p].weights_bytes,
    )
    for position in candidates if bands.count > 1 else ():
        size = align(net.nodes[position].weights_bytes)
        if workspace + size <= hold_bytes:
            offsets["held", position] = workspace
            workspace += size
            held.add(position)
    groups = _shared(net, bands)
    for root, other in groups.items():
        offsets["band", root] = offsets["band", other]
    return Segment(
        start,
        stop,
        bands,
        frozenset(held),
        offsets,
        workspace,
        _copied_bytes(net, bands),
    )


def row_bytes(net: Network, root: int) -> int:
    """Return the bytes of one row of a root."""
    return DTYPE_BYTES[net.roots[root].dtype] * math.prod(net.roots[root].dims[2:])


def _slots(net: Network, bands: Banded) -> tuple[list[Slot], list[int], list[int]]:
    """Return slots, their sizes, and the positions at which each is in use."""
    slots: list[Slot] = []
    sizes: list[int] = []
    masks: list[int] = []
    everything = (1 << len(bands.nodes)) - 1
    shared = _shared(net, bands)
    masks_of = {
        root: (2 << band.last) - (1 << band.first) for root, band in bands.roots.items()
    }
    for root, other in shared.items():
        masks_of[other] |= masks_of[root]
    for root, band in bands.roots.items():
        if root in shared:
            continue
        slots.append(("band", root))
        sizes.append(align(band.most_rows * row_bytes(net, root)))
        masks.append(masks_of[root])
        if band.most_kept_rows:
            slots.append(("kept", root))
            sizes.append(align(band.most_kept_rows * row_bytes(net, root)))
            inner = max(0, band.last - band.first - 1)
            masks.append(everything & ~(((1 << inner) - 1) << (band.first + 1)))
    return slots, sizes, masks


def _shared(net: Network, bands: Banded) -> dict[int, int]:
    """Return intermediate tensors that overwrite another one's band."""
    found: dict[int, int] = {}
    for k, position in enumerate(bands.nodes):
        node = net.nodes[position]
        out = bands.roots.get(node.writes.root)
        if not OPS[node.operator.code].elementwise or out is None:
            continue
        if node.writes != net.whole(out.root) or any(out.kept):
            continue
        if len({read.root for read in node.reads}) != len(node.reads):
            continue
        for read in node.reads:
            band = bands.roots.get(read.root)
            if (
                band is not None
                and band.last == k
                and not any(band.kept)
                and read == net.whole(read.root)
                and read.dims == node.writes.dims
                and band.rows == out.rows == bands.rows[k]
            ):
                found[out.root] = found.get(read.root, read.root)
                break
    return found


def _copied_bytes(net: Network, bands: Banded) -> int:
    total = 0
    for root, band in bands.roots.items():
        channel = row_bytes(net, root) // net.roots[root].dims[3]
        for kept in band.kept:
            total += sum(
                2 * channel * part.channels * (part.rows[1] - part.rows[0])
                for part in kept
            )
    return total


def _cheaper_again(net: Network, bands: Banded, band: BandRoot) -> bool:
    """Whether computing a root's rows again costs less than keeping them."""
    rows = sum(part.rows[1] - part.rows[0] for kept in band.kept for part in kept[:1])
    if not rows:
        return False
    copies = sum(len(kept) for kept in band.kept)
    keeping = 2 * (
        rows * row_bytes(net, band.root) * cost.MOVE_INSTRUCTIONS_PER_BYTE
        + copies * cost.RECORD_INSTRUCTIONS
    )
    again = 0.0
    for position in bands.nodes:
        node = net.nodes[position]
        if node.writes.root == band.root:
            if any(box.root in bands.roots for box in node.reads):
                # Its operands would have to be kept or computed again as well.
                return False
            again += cost.compute_instructions(node, rows / node.writes.dims[1])
    return again < keeping
