# SPDX-License-Identifier: Apache-2.0
"""The planner: everything that the device then only checks and obeys.

In this order: the order of execution and the lifetimes (`schedule`), the
place of every tensor (`place`), and with the memory that is left over which
weights stay decrypted and how large the window for the others is
(`residency`). `planned` puts them together into a program.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from undercroft import _spec
from undercroft._format import program_check
from undercroft._format import weights as weights_rules
from undercroft._format.ops import OPS, align
from undercroft._format.program import (
    OpRecord,
    Program,
    TensorRecord,
    program_bytes,
)
from undercroft._import.graph import Graph, Operator
from undercroft._planner.cost import shapes_of
from undercroft._planner.place import Placement, place
from undercroft._planner.residency import Panels, Residency, choose, smallest
from undercroft._planner.schedule import (
    BEFORE_ALL,
    buffers,
    lifetimes,
    live_bytes,
    scheduled,
)
from undercroft._spec import Scheme
from undercroft.errors import BudgetExceededError, UnsupportedModelError

__all__ = ["Planned", "planned"]

MOST_ARENA_BYTES = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Planned:
    """A graph in its order of execution, and the program that runs it.

    Attributes:
        graph: Operators in the order of the program.
        program: What the device executes.
        live_bytes: Bytes of activations that live during each operator.
        placement: How well the tensors were packed.
    """

    graph: Graph
    program: Program
    live_bytes: tuple[int, ...]
    placement: Placement


def planned(graph: Graph, budget_bytes: int | None, page_bytes: int) -> Planned:
    """Plan a network for a budget of secure memory.

    Args:
        graph: The network.
        budget_bytes: The most secure memory that may be used; None for as much
            as keeps all weights decrypted.
        page_bytes: Plaintext bytes of a page.

    Raises:
        BudgetExceededError: It does not fit, whatever is done.
        UnsupportedModelError: It has more operators or tensors than a program
            can.
    """
    _check_limits(graph, page_bytes)
    graph = scheduled(graph)
    parts = buffers(graph)
    live = live_bytes(parts, len(graph.operators))
    placement = place(parts, max(live))
    scratch = max(_scratch(graph, operator) for operator in graph.operators)
    pages = -(-program_bytes(len(graph.tensors), len(graph.operators)) // page_bytes)
    fixed = (
        _spec.ENGINE_CONTEXT_BYTES
        + pages * page_bytes
        + align(scratch)
        + placement.size
        + _spec.ARENA_SLACK_BYTES
    )
    weights = [
        Panels(0, 0)
        if operator.weights is None
        else Panels(operator.weights.panel_bytes, operator.weights.panel_count)
        for operator in graph.operators
    ]
    spare = None if budget_bytes is None else budget_bytes - fixed
    residency = choose(weights, spare, page_bytes) if (spare or 0) >= 0 else None
    least = fixed + smallest(weights, page_bytes)
    if residency is None or least > MOST_ARENA_BYTES:
        raise BudgetExceededError(
            needed_bytes=least,
            allowed_bytes=budget_bytes or MOST_ARENA_BYTES,
            where=_where(graph, live, least - fixed),
        )
    offsets = [0] * len(graph.tensors)
    for part, offset in zip(parts, placement.offsets, strict=True):
        for tensor in part.tensors:
            offsets[tensor] = offset
    program = _program(
        graph,
        residency,
        weights,
        offsets=offsets,
        scratch=scratch,
        page_bytes=page_bytes,
        pages=pages,
    )
    if program.arena_bytes > (budget_bytes or MOST_ARENA_BYTES):
        # Only without a budget: with one, the residency was chosen to fit.
        raise BudgetExceededError(
            needed_bytes=program.arena_bytes,
            allowed_bytes=MOST_ARENA_BYTES,
            where="all weights of the network, kept decrypted",
            hint=f"plan with a budget of at least {least} bytes",
        )
    program_check.check(program)
    return Planned(graph, program, tuple(live), placement)


def _check_limits(graph: Graph, page_bytes: int) -> None:
    problems = []
    limits = (
        ("operators", len(graph.operators), _spec.MAX_OPS),
        ("tensors", len(graph.tensors), _spec.MAX_TENSORS),
        ("inputs", len(graph.inputs), _spec.MAX_IO),
        ("outputs", len(graph.outputs), _spec.MAX_IO),
    )
    for what, count, most in limits:
        if count > most:
            problems.append(f"{count} {what}; at most {most} are supported")
    size = program_bytes(len(graph.tensors), len(graph.operators))
    if size > page_bytes * _spec.MAX_PROGRAM_PAGES:
        problems.append(
            f"{len(graph.operators)} operators need more than "
            f"{_spec.MAX_PROGRAM_PAGES} pages of {page_bytes} bytes"
        )
    if problems:
        raise UnsupportedModelError(problems)


def _record(operator: Operator) -> OpRecord:
    """Return the record of an operator, but for where its weights lie."""
    first, second = (*operator.inputs, _spec.NO_TENSOR, _spec.NO_TENSOR)[:2]
    attributes = operator.attributes
    weights = operator.weights
    return OpRecord(
        code=operator.code,
        input_a=first,
        input_b=second,
        output=operator.output,
        flags=attributes.flags,
        act_min=operator.clamp[0],
        act_max=operator.clamp[1],
        alpha=attributes.alpha,
        beta=attributes.beta,
        kernel=attributes.kernel,
        stride=attributes.stride,
        dilation=attributes.dilation,
        pads=attributes.pads,
        groups=attributes.groups,
        permutation=attributes.permutation,
        function=attributes.function,
        panel_bytes=weights.panel_bytes if weights else 0,
        panel_count=weights.panel_count if weights else 0,
        weights_format=weights.format if weights else _spec.WEIGHTS_F32,
    )


def _scratch(graph: Graph, operator: Operator) -> int:
    weights_format = operator.weights.format if operator.weights else _spec.WEIGHTS_F32
    shapes = shapes_of(graph, operator)
    return weights_rules.scratch_bytes(OPS[operator.code], shapes, weights_format)


def _scheme(panels: Panels, resident: int, step: int) -> Scheme:
    if not panels.count:
        return Scheme.NONE
    if resident == panels.count:
        return Scheme.RESIDENT
    return Scheme.LAYER if step == panels.count - resident else Scheme.SUB_LAYER


def _program(
    graph: Graph,
    residency: Residency,
    weights: list[Panels],
    *,
    offsets: list[int],
    scratch: int,
    page_bytes: int,
    pages: int,
) -> Program:
    resident_offset = _spec.ENGINE_CONTEXT_BYTES + pages * page_bytes
    window_offset = resident_offset + align(residency.resident_bytes, page_bytes)
    scratch_offset = window_offset + residency.window_bytes
    tensors_offset = scratch_offset + align(scratch)
    records = []
    resident_at = stream_at = 0
    for operator, panels, resident, step in zip(
        graph.operators, weights, residency.resident, residency.steps, strict=True
    ):
        streamed = panels.count - resident
        records.append(
            replace(
                _record(operator),
                scheme=_scheme(panels, resident, step),
                resident_panels=resident,
                resident_offset=resident_at if resident else 0,
                stream_offset=stream_at if streamed else 0,
                step_panels=step,
            )
        )
        resident_at += align(resident * panels.panel_bytes)
        stream_at += streamed * panels.panel_bytes
    lives = lifetimes(graph)
    tensors = tuple(
        TensorRecord(
            dims=tensor.dims,
            offset=tensors_offset + offset,
            first_op=_spec.NO_OP if life.first == BEFORE_ALL else life.first,
            last_op=life.last,
            wire_layout=tensor.wire_layout,
        )
        for tensor, offset, life in zip(graph.tensors, offsets, lives, strict=True)
    )
    end = max(align(tensor.offset + tensor.size_bytes) for tensor in tensors)
    return Program(
        page_bytes=page_bytes,
        arena_bytes=end + _spec.ARENA_SLACK_BYTES,
        resident_offset=resident_offset,
        resident_bytes=residency.resident_bytes,
        window_offset=window_offset,
        window_bytes=residency.window_bytes,
        stream_bytes=residency.stream_bytes,
        scratch_offset=scratch_offset,
        scratch_bytes=scratch,
        inputs=graph.inputs,
        outputs=graph.outputs,
        tensors=tensors,
        ops=tuple(records),
    )


def _where(graph: Graph, live: list[int], weights_bytes: int) -> str:
    peak = max(range(len(live)), key=live.__getitem__)
    operator = graph.operators[peak]
    shown = sorted(
        {*operator.inputs, operator.output},
        key=lambda tensor: -graph.tensors[tensor].size_bytes,
    )
    tensors = ", ".join(
        f"{graph.tensors[t].name} {'x'.join(map(str, graph.tensors[t].dims))} "
        f"({graph.tensors[t].size_bytes} bytes)"
        for t in shown
    )
    return (
        f"operator {operator.name!r} ({operator.code.name}): {live[peak]} bytes of "
        f"activations live at once, among them {tensors}; weights take at least "
        f"{weights_bytes} bytes beside them"
    )
