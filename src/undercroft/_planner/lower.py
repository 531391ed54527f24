# SPDX-License-Identifier: Apache-2.0
"""From unrolled steps to the program: tensor records, places, op records."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from undercroft import _spec
from undercroft._format import weights as weights_rules
from undercroft._format.ops import OPS, Shapes, align
from undercroft._format.program import (
    DTYPE_BYTES,
    NOT_QUANTISED,
    OpRecord,
    Program,
    TensorRecord,
    program_bytes,
)
from undercroft._import.graph import NO_CLAMP, Attributes
from undercroft._planner.groups import Segment
from undercroft._planner.lives import Lifetime
from undercroft._planner.network import Box, Network
from undercroft._planner.place import Buffer, Placement, place
from undercroft._planner.steps import Step, Unrolled
from undercroft._planner.weights import Residency
from undercroft._spec import Op, Scheme

__all__ = ["Layout", "laid_out", "program_of"]


@dataclass(frozen=True, slots=True)
class Layout:
    """Everything about a schedule's memory but for weights.

    Attributes:
        steps: The unrolled schedule.
        tensors: Boxes in the order of the tensor table, roots before their views.
        number: Index of each box in the tensor table.
        lives: First and last step of each entry; as in the tensor record.
        offsets: Where each place lies, from the beginning of the tensors.
        placement: How well the buffers were packed.
        scratch_bytes: What the neediest step needs.
        spill_pages: Pages that spills hand out.
        live_bytes: Activations and held weights in each segment.
        buffers: What lies in the arena, for the picture: place, or segment of a
            workspace; offset, size and life in segments.
    """

    steps: Unrolled
    tensors: tuple[Box, ...]
    number: dict[Box, int]
    lives: tuple[tuple[int, int], ...]
    offsets: tuple[int, ...]
    placement: Placement
    scratch_bytes: int
    spill_pages: int
    live_bytes: tuple[int, ...]
    buffers: tuple[tuple[tuple[int, ...] | int, int, Buffer], ...]

    def root_box(self, place: int) -> Box:
        """Return all of a place."""
        return _whole(self.steps, place)

    @property
    def program_bytes(self) -> int:
        """Length of the program."""
        return program_bytes(len(self.tensors), len(self.steps.steps))


def laid_out(
    segments: Sequence[Segment],
    steps: Unrolled,
    page_bytes: int,
    *,
    solve: bool = True,
) -> Layout:
    """Give every root of a schedule its place.

    Args:
        segments: The schedule.
        steps: The same, unrolled.
        page_bytes: Plaintext bytes of a page.
        solve: Whether to use the solver where the greedy packing leaves a gap.
    """
    tensors, number = _table(steps)
    lives = _lives(steps, tensors, number)
    roots = [_whole(steps, index) for index in range(len(steps.places))]
    root_lives = [lives[number[box]] for box in roots]
    owners, buffers = _buffers(segments, steps, root_lives)
    placement = place(buffers, solve=solve)
    offsets = _offsets(segments, steps, owners, placement)
    live = tuple(
        sum(
            part.size
            for part in buffers
            if part.lifetime.first <= index <= part.lifetime.last
        )
        for index in range(len(segments))
    )
    spills = [step for step in steps.steps if step.code is Op.SPILL]
    scratch = max(_scratch(steps, step, page_bytes) for step in steps.steps)
    return Layout(
        steps,
        tensors,
        number,
        tuple(lives),
        tuple(offsets),
        placement,
        scratch,
        sum(_spill_pages(steps, step, page_bytes) for step in spills),
        live,
        tuple(zip(owners, placement.offsets, buffers, strict=True)),
    )


def _whole(steps: Unrolled, index: int) -> Box:
    return Box(index, (0, 0, 0, 0), steps.places[index].dims)


def _boxes(step: Step) -> list[Box]:
    return [*step.reads, *([] if step.writes is None else [step.writes])]


def _table(steps: Unrolled) -> tuple[tuple[Box, ...], dict[Box, int]]:
    """Return all boxes, those of a root together and the root first."""
    boxes: list[dict[Box, None]] = [
        {_whole(steps, index): None} for index in range(len(steps.places))
    ]
    for step in steps.steps:
        for box in _boxes(step):
            boxes[box.root][box] = None
    flat = tuple(box for group in boxes for box in group)
    return flat, {box: index for index, box in enumerate(flat)}


def _lives(
    steps: Unrolled, tensors: Sequence[Box], number: dict[Box, int]
) -> list[tuple[int, int]]:
    roots = [number[_whole(steps, i)] for i in range(len(steps.places))]
    first: dict[int, int] = {roots[i]: _spec.NO_OP for i in steps.inputs}
    last: dict[int, int] = {}
    for index, step in enumerate(steps.steps):
        for box in step.reads:
            last[number[box]] = last[roots[box.root]] = index
        if step.held >= 0:
            last[roots[step.held]] = index
        if step.writes is not None:
            entry, root = number[step.writes], roots[step.writes.root]
            first[entry] = index
            first.setdefault(root, index)
            last[entry] = last[root] = index
    for output in steps.outputs:
        last[roots[output]] = len(steps.steps)
    return [(first.get(i, _spec.NO_OP), last[i]) for i in range(len(tensors))]


def _overwrites(
    steps: Unrolled, step: Step, index: int, lives: Sequence[tuple[int, int]]
) -> int | None:
    """Return the place that a step's result may lie over, if any."""
    if step.writes is None or step.code not in OPS or not OPS[step.code].elementwise:
        return None
    out = _whole(steps, step.writes.root)
    if step.writes != out or steps.places[out.root].segment >= 0:
        return None
    if len({read.root for read in step.reads}) != len(step.reads):
        return None
    for position, read in enumerate(step.reads):
        same_size = position == 0 and (
            steps.places[read.root].size_bytes == steps.places[out.root].size_bytes
        )
        if (
            read == _whole(steps, read.root)
            and steps.places[read.root].segment < 0
            and (same_size or read.dims == out.dims)
            and lives[read.root][1] == index
        ):
            return read.root
    return None


Owner = tuple[int, ...] | int
"""Places that share a buffer, or the segment whose workspace it is."""


def _buffers(
    segments: Sequence[Segment],
    steps: Unrolled,
    lives: Sequence[tuple[int, int]],
) -> tuple[list[Owner], list[Buffer]]:
    """Return whole roots and workspaces, with lives in segments."""
    chain: dict[int, list[int]] = {
        index: [index] for index, entry in enumerate(steps.places) if entry.segment < 0
    }
    for index, step in enumerate(steps.steps):
        operand = _overwrites(steps, step, index, lives)
        if operand is not None and operand in chain and step.writes is not None:
            chain[step.writes.root] = [*chain.pop(operand), step.writes.root]
    count = len(segments)

    def segment_of(step: int) -> int:
        if step == _spec.NO_OP:
            return -1
        return count if step >= len(steps.steps) else steps.steps[step].segment

    owners: list[Owner] = []
    buffers: list[Buffer] = []
    for roots in chain.values():
        size = max(align(steps.places[root].size_bytes) for root in roots)
        first = segment_of(lives[roots[0]][0])
        life = Lifetime(first, max(first, segment_of(lives[roots[-1]][1])))
        owners.append(tuple(roots))
        buffers.append(Buffer(size, life))
    for index, segment in enumerate(segments):
        if segment.workspace_bytes:
            owners.append(index)
            buffers.append(Buffer(segment.workspace_bytes, Lifetime(index, index)))
    return owners, buffers


def _offsets(
    segments: Sequence[Segment],
    steps: Unrolled,
    owners: Sequence[Owner],
    placement: Placement,
) -> list[int]:
    """Return where each place lies."""
    offsets = [0] * len(steps.places)
    workspace: dict[int, int] = {}
    for owner, offset in zip(owners, placement.offsets, strict=True):
        if isinstance(owner, int):
            workspace[owner] = offset
        else:
            for root in owner:
                offsets[root] = offset
    for index, entry in enumerate(steps.places):
        if entry.segment >= 0:
            slots = segments[entry.segment].slots
            offsets[index] = workspace[entry.segment] + slots[entry.slot]
    return offsets


def _spill_pages(steps: Unrolled, step: Step, page_bytes: int) -> int:
    read = step.reads[0]
    element = DTYPE_BYTES[steps.places[read.root].dtype]
    return -(-element * math.prod(read.dims) // page_bytes)


def _scratch(steps: Unrolled, step: Step, page_bytes: int) -> int:
    if step.code in (Op.SPILL, Op.FILL) or step.writes is None:
        return page_bytes
    a, b = (*(box.dims for box in step.reads), None, None)[:2]
    operator = step.operator
    attributes = operator.attributes if operator else Attributes()
    shapes = Shapes(attributes, a, b, step.writes.dims)
    stored = _spec.WEIGHTS_F32
    if operator and operator.weights:
        stored = operator.weights.format
    return weights_rules.scratch_bytes(OPS[step.code], shapes, stored)


# ---- the program


def program_of(
    net: Network,
    layout: Layout,
    residency: Residency,
    page_bytes: int,
) -> Program:
    """Return the program of a layout with its weights divided.

    Args:
        net: The network.
        layout: Where everything lies.
        residency: For each node of the network, which panels are resident.
        page_bytes: Plaintext bytes of a page.
    """
    pages = -(-layout.program_bytes // page_bytes)
    resident_offset = _spec.ENGINE_CONTEXT_BYTES + pages * page_bytes
    window_offset = resident_offset + align(residency.resident_bytes, page_bytes)
    scratch_offset = window_offset + residency.window_bytes
    tensors_offset = scratch_offset + align(layout.scratch_bytes)
    tensors = tuple(_tensors(layout, tensors_offset))
    end = max(align(t.offset + t.size_bytes) for t in tensors if not t.is_view)
    whole = [
        layout.number[_whole(layout.steps, i)] for i in range(len(layout.steps.places))
    ]
    return Program(
        page_bytes=page_bytes,
        arena_bytes=end + _spec.ARENA_SLACK_BYTES,
        resident_offset=resident_offset,
        resident_bytes=residency.resident_bytes,
        window_offset=window_offset,
        window_bytes=residency.window_bytes,
        stream_bytes=residency.stream_bytes,
        scratch_offset=scratch_offset,
        scratch_bytes=layout.scratch_bytes,
        inputs=tuple(whole[i] for i in layout.steps.inputs),
        outputs=tuple(whole[i] for i in layout.steps.outputs),
        tensors=tensors,
        ops=tuple(_ops(net, layout, residency, page_bytes)),
        spill_pages=layout.spill_pages,
    )


def _tensors(layout: Layout, base: int) -> list[TensorRecord]:
    records: list[TensorRecord] = []
    boundary = {*layout.steps.inputs, *layout.steps.outputs}
    for box, (first, last) in zip(layout.tensors, layout.lives, strict=True):
        place_ = layout.steps.places[box.root]
        offset = base + layout.offsets[box.root]
        is_root = box == _whole(layout.steps, box.root)
        if not is_root:
            _, h, w, c = place_.dims
            strides = (h * w * c, w * c, c, 1)
            offset += DTYPE_BYTES[place_.dtype] * sum(
                a * b for a, b in zip(box.origin, strides, strict=True)
            )
        records.append(
            TensorRecord(
                dims=box.dims,
                offset=offset,
                first_op=first,
                last_op=last,
                wire_layout=place_.wire_layout
                if is_root and box.root in boundary
                else _spec.WIRE_AS_STORED,
                parent=_spec.NO_TENSOR
                if is_root
                else layout.number[_whole(layout.steps, box.root)],
                origin=box.origin,
                dtype=place_.dtype,
            )
        )
    return records


def _ops(
    net: Network, layout: Layout, residency: Residency, page_bytes: int
) -> list[OpRecord]:
    offsets: dict[int, int] = {}
    at = 0
    for position, resident in enumerate(residency.resident):
        weights = layout.steps.sources[position]
        if resident and weights is not None:
            offsets[position] = at
            at += align(resident * weights.panel_bytes)
    records: list[OpRecord] = []
    stream = spill = 0
    slots: dict[int, int] = {}
    for step in layout.steps.steps:
        record, streamed = _record(net, layout, residency, step, offsets, stream)
        stream += streamed
        if step.code is Op.SPILL:
            slots[step.spill] = spill
            record = replace(record, spill_page=spill)
            spill += _spill_pages(layout.steps, step, page_bytes)
        elif step.code is Op.FILL:
            record = replace(record, spill_page=slots[step.spill])
        records.append(record)
    return records


def _record(
    net: Network,
    layout: Layout,
    residency: Residency,
    step: Step,
    offsets: dict[int, int],
    stream: int,
) -> tuple[OpRecord, int]:
    """Return an op record and the bytes it takes from the stream."""
    none = _spec.NO_TENSOR
    operands = [layout.number[box] for box in step.reads]
    attributes = step.operator.attributes if step.operator else Attributes()
    clamp = step.operator.clamp if step.operator else NO_CLAMP
    panel_bytes = count = resident = step_panels = 0
    scheme = Scheme.NONE
    held = none
    weights = layout.steps.sources[step.weights] if step.weights >= 0 else None
    if weights is not None:
        panel_bytes, count = weights.panel_bytes, weights.panel_count
        if step.held >= 0:
            held = layout.number[_whole(layout.steps, step.held)]
            scheme = Scheme.HELD
        else:
            resident = residency.resident[step.weights]
            step_panels = residency.steps[step.weights]
            scheme = _scheme(count, resident, step_panels)
    boxes = (*step.reads, None, None)[:2]
    quants = tuple(
        NOT_QUANTISED
        if box is None or step.code in (Op.SPILL, Op.FILL)
        else layout.steps.places[box.root].quantisation
        for box in (*boxes, step.writes)
    )
    streamed = 0 if held != none else (count - resident) * panel_bytes
    record = OpRecord(
        code=step.code,
        input_a=operands[0] if operands else none,
        input_b=operands[1] if len(operands) > 1 else none,
        output=none if step.writes is None else layout.number[step.writes],
        flags=attributes.flags,
        scheme=scheme,
        act_min=clamp[0],
        act_max=clamp[1],
        alpha=attributes.alpha,
        beta=attributes.beta,
        kernel=attributes.kernel,
        stride=attributes.stride,
        dilation=attributes.dilation,
        pads=step.pads,
        groups=attributes.groups,
        permutation=attributes.permutation,
        function=attributes.function,
        panel_bytes=panel_bytes,
        panel_count=count,
        resident_panels=resident,
        resident_offset=offsets.get(step.weights, 0) if resident else 0,
        stream_offset=stream if streamed else 0,
        step_panels=step_panels,
        weights=held,
        weights_format=step.operator.weights.format
        if step.operator and step.operator.weights
        else _spec.WEIGHTS_F32,
        quants=(quants[0], quants[1], quants[2]),
    )
    return record, streamed


def _scheme(count: int, resident: int, step: int) -> Scheme:
    if not count:
        return Scheme.NONE
    if resident == count:
        return Scheme.RESIDENT
    return Scheme.LAYER if step == count - resident else Scheme.SUB_LAYER
