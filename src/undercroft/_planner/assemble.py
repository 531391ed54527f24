# SPDX-License-Identifier: Apache-2.0
"""One schedule made exact: places, resident weights, the program, its cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from undercroft import _spec
from undercroft._format.ops import align
from undercroft._format.program import Program, program_bytes
from undercroft._import.weights import Weights
from undercroft._planner import cost
from undercroft._planner.groups import (
    Segment,
    band_segment,
    internal_roots,
    whole_segment,
)
from undercroft._planner.lives import Lifetime
from undercroft._planner.lower import Layout, laid_out, program_of
from undercroft._planner.network import Network
from undercroft._planner.search import Schedule
from undercroft._planner.steps import unrolled
from undercroft._planner.weights import Panels, Residency, choose, smallest

__all__ = [
    "Assembled",
    "assembled",
    "least_fixed_bytes",
    "outside_bytes",
    "whole_schedule",
]


@dataclass(frozen=True, slots=True)
class Assembled:
    """A schedule with everything in its place.

    Attributes:
        net: The network it is for.
        segments: The schedule.
        layout: Where everything lies.
        residency: Which weights stay decrypted.
        program: What the device executes.
        cost: Expected instructions of an inference.
    """

    net: Network
    segments: tuple[Segment, ...]
    layout: Layout
    residency: Residency
    program: Program
    cost: float


def whole_schedule(net: Network) -> Schedule:
    """Return the schedule in which every operator runs whole."""
    return Schedule(tuple((p, p + 1, 0) for p in range(len(net.nodes))), 1 << 62, 0.0)


def least_fixed_bytes(net: Network, page_bytes: int) -> int:
    """Return what is needed beside activations in any case."""
    size = program_bytes(len(net.roots), len(net.nodes))
    window = smallest([_panels(n.operator.weights) for n in net.nodes], page_bytes)
    return (
        _spec.ENGINE_CONTEXT_BYTES
        + align(size, page_bytes)
        + window
        + _spec.ARENA_SLACK_BYTES
    )


def outside_bytes(
    net: Network, lives: Sequence[Lifetime], start: int, stop: int
) -> int:
    """Return the bytes of what exists whole while a segment runs."""
    internal = internal_roots(net, lives, start, stop)
    return sum(
        net.size(root)
        for root, life in enumerate(lives)
        if root not in internal and life.first < stop and life.last >= start
    )


def _panels(weights: Weights | None, repeats: int = 1) -> Panels:
    if weights is None:
        return Panels(0, 0)
    return Panels(weights.panel_bytes, weights.panel_count, repeats)


def assembled(
    net: Network,
    lives: Sequence[Lifetime],
    schedule: Schedule,
    budget: int | None,
    page_bytes: int,
    suite: int,
    *,
    tight: bool = False,
) -> Assembled | None:
    """Return a schedule made exact.

    Args:
        net: The network.
        lives: Lifetimes of its roots.
        schedule: Which operators run in bands.
        budget: The most secure memory; None for any amount.
        page_bytes: Plaintext bytes of a page.
        suite: The cipher suite.
        tight: Use as little memory as possible, whatever the budget.

    Returns:
        None when it does not fit.
    """
    segments: list[Segment] = []
    for start, stop, height in schedule.choices:
        if not height:
            segments.append(whole_segment(start))
            continue
        hold = schedule.limit_bytes - outside_bytes(net, lives, start, stop)
        if tight:
            hold = 0
        segments.append(band_segment(net, lives, start, stop, height, hold_bytes=hold))
    made = _complete(net, segments, budget, page_bytes, suite, tight=tight)
    if made is None:
        return None
    # Weights that turned out to be resident need not be held.
    useless = {
        p
        for segment in segments
        for p in segment.held
        if made.residency.resident[p] == _panels(net.nodes[p].operator.weights).count
    }
    if useless:
        segments = [
            replace(segment, held=segment.held - useless) for segment in segments
        ]
        made = _complete(net, segments, budget, page_bytes, suite, tight=tight)
    return made


def _complete(
    net: Network,
    segments: Sequence[Segment],
    budget: int | None,
    page_bytes: int,
    suite: int,
    *,
    tight: bool,
) -> Assembled | None:
    steps = unrolled(net, segments)
    if len(steps.steps) > _spec.MAX_OPS:
        return None
    layout = laid_out(segments, steps, page_bytes)
    pages = -(-layout.program_bytes // page_bytes)
    if len(layout.tensors) > _spec.MAX_TENSORS or pages > _spec.MAX_PROGRAM_PAGES:
        return None
    fixed = (
        _spec.ENGINE_CONTEXT_BYTES
        + pages * page_bytes
        + align(layout.scratch_bytes)
        + layout.placement.size
        + _spec.ARENA_SLACK_BYTES
    )
    repeats = [1] * len(net.nodes)
    held: set[int] = set()
    for segment in segments:
        held |= segment.held
        for position in range(segment.start, segment.stop):
            repeats[position] = segment.repeats(position)
    weights = [
        _panels(source, repeats[p] if p < len(net.nodes) else 1)
        for p, source in enumerate(steps.sources)
    ]
    if tight:
        spare: int | None = smallest(weights, page_bytes)
    else:
        spare = None if budget is None else budget - fixed
    if spare is not None and spare < 0:
        return None
    residency = choose(weights, spare, page_bytes, frozenset(held))
    if residency is None:
        return None
    program = program_of(net, layout, residency, page_bytes)
    if budget is not None and not tight and program.arena_bytes > budget:
        return None
    return Assembled(
        net,
        tuple(segments),
        layout,
        residency,
        program,
        _cost(net, segments, program, suite),
    )


def _cost(
    net: Network, segments: Sequence[Segment], program: Program, suite: int
) -> float:
    decrypted = program.streamed_pages * program.page_bytes
    total = decrypted * cost.decrypt_instructions(suite)
    total += program.streamed_pages * cost.PAGE_INSTRUCTIONS
    total += len(program.ops) * cost.RECORD_INSTRUCTIONS
    spilled = program.spill_pages * program.page_bytes
    # Encrypting costs what decrypting does; each page goes out and comes back.
    total += 2 * spilled * cost.decrypt_instructions(suite)
    total += 2 * program.spill_pages * cost.PAGE_INSTRUCTIONS
    total += cost.switches(net, decrypted, spilled) * cost.SWITCH_INSTRUCTIONS
    for segment in segments:
        for position in range(segment.start, segment.stop):
            total += cost.compute_instructions(
                net.nodes[position],
                share(net, segment, position),
                segment.band_count(position),
            )
        total += segment.copied_bytes * cost.MOVE_INSTRUCTIONS_PER_BYTE
        total += sum(
            net.nodes[p].weights_bytes * cost.MOVE_INSTRUCTIONS_PER_BYTE
            for p in segment.held
        )
    return total


def least_cost(net: Network) -> float:
    """Return the instructions of whole operators with all weights resident."""
    work = sum(cost.compute_instructions(node) for node in net.nodes)
    work += len(net.nodes) * cost.RECORD_INSTRUCTIONS
    return work + cost.switches(net, 0) * cost.SWITCH_INSTRUCTIONS


def share(net: Network, segment: Segment, position: int) -> float:
    """Return the part of an operator's result that a segment computes."""
    if segment.bands is None or position not in segment.bands.nodes:
        return 1.0
    rows = segment.bands.rows[segment.bands.nodes.index(position)]
    return (
        sum(b - a for a, b in filter(None, rows)) / net.nodes[position].writes.dims[1]
    )


def bottleneck(
    net: Network, lives: Sequence[Lifetime], made: Assembled
) -> tuple[Segment, int]:
    """Return the segment that needs most activations, and how many bytes."""
    found = max(
        (
            outside_bytes(net, lives, segment.start, segment.stop)
            + segment.workspace_bytes
            if segment.bands is not None
            else made.layout.live_bytes[index],
            -index,
        )
        for index, segment in enumerate(made.segments)
    )
    return made.segments[-found[1]], found[0]


def where(net: Network, lives: Sequence[Lifetime], made: Assembled) -> str:
    """Return which operator decides how much memory a schedule needs."""
    segment, needed = bottleneck(net, lives, made)
    internal = internal_roots(net, lives, segment.start, segment.stop)
    if segment.bands is None:
        internal = frozenset()
    position = max(
        range(segment.start, segment.stop),
        key=lambda p: sum(
            net.size(box.root)
            for box in {*net.nodes[p].reads, net.nodes[p].writes}
            if box.root not in internal
        ),
    )
    alive = sorted(
        (
            root
            for root, life in enumerate(lives)
            if root not in internal
            and life.first < segment.stop
            and life.last >= segment.start
        ),
        key=lambda root: -net.size(root),
    )
    shown = ", ".join(
        f"{net.roots[root].name} {'x'.join(map(str, net.roots[root].dims))} "
        f"({net.roots[root].size_bytes} bytes)"
        for root in alive[:3]
    )
    operator = net.nodes[position].operator
    bands = "" if segment.bands is None else f" in {segment.bands.count} bands of rows"
    return (
        f"operator {operator.name!r} ({operator.code.name}){bands}: {needed} bytes of "
        f"activations live at once, among them {shown}; program and weights take at "
        f"least {made.program.arena_bytes - needed} bytes beside them"
    )
