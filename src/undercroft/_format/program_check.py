# SPDX-License-Identifier: Apache-2.0
"""Every rule that `spec/sealed-model.md` states about a program.

The engine checks the same rules in C before it runs anything; here they keep
the planner honest and let the provider's machine judge any program. What one
operator needs (shapes, weights, scratch) stands in `undercroft._format.ops`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from undercroft import _spec
from undercroft._format import weights
from undercroft._format.ops import OPS, OpType, Shapes, Views
from undercroft._format.program import (
    NOT_QUANTISED,
    Dims,
    OpRecord,
    Program,
    TensorRecord,
)
from undercroft._format.program_life import (
    check_lives,
    check_sharing,
    check_views,
    operands,
    strides,
)
from undercroft._spec import Op, Scheme
from undercroft.errors import FormatError

__all__ = ["check"]

SPILLS: Final = frozenset({Op.SPILL, Op.FILL})


def check(program: Program) -> None:
    """Check a program against every rule.

    Raises:
        FormatError: It breaks one; the message says which and where.
    """
    _check_sizes(program)
    _check_tensors(program)
    check_views(program)
    for index in range(len(program.ops)):
        _OpCheck(program, index).run()
    check_lives(program)
    _check_weights(program)
    _check_spills(program)
    _check_regions(program)
    in_place = {
        (op.output, operand)
        for index, op in enumerate(program.ops)
        for operand in in_place_operands(op, index, program.tensors)
    }
    check_sharing(program, in_place)


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise FormatError(f"the program is not valid: {otherwise}")


def _check_sizes(program: Program) -> None:
    page = program.page_bytes
    _expect(
        _spec.MIN_PAGE_BYTES <= page <= _spec.MAX_PAGE_BYTES
        and page % _spec.MIN_PAGE_BYTES == 0,
        f"pages of {page} bytes",
    )
    for what, count, most in (
        ("tensors", len(program.tensors), _spec.MAX_TENSORS),
        ("operators", len(program.ops), _spec.MAX_OPS),
        ("inputs", len(program.inputs), _spec.MAX_IO),
        ("outputs", len(program.outputs), _spec.MAX_IO),
        ("program pages", program.program_pages, _spec.MAX_PROGRAM_PAGES),
    ):
        _expect(1 <= count <= most, f"{count} {what}; 1 to {most} are allowed")
    pages = program.program_pages + program.resident_pages + program.streamed_pages
    _expect(pages <= _spec.MAX_PAGES, f"{pages} pages")
    _expect(program.arena_bytes < 1 << 32, f"an arena of {program.arena_bytes} bytes")


def _check_tensors(program: Program) -> None:
    count = len(program.tensors)
    for which in (program.inputs, program.outputs):
        _expect(all(0 <= i < count for i in which), "the io table names no tensor")
        _expect(len(set(which)) == len(which), "the io table names a tensor twice")
    end = program.arena_bytes - _spec.ARENA_SLACK_BYTES
    at_boundary = {*program.inputs, *program.outputs}
    for index, tensor in enumerate(program.tensors):
        where = f"tensor {index}"
        _expect(
            all(1 <= dim <= _spec.MAX_DIM for dim in tensor.dims),
            f"{where}: dimensions {tensor.dims}",
        )
        _expect(
            tensor.dtype == _spec.DTYPE_F32
            or (tensor.dtype == _spec.DTYPE_S8 and index not in at_boundary),
            f"{where}: dtype {tensor.dtype}",
        )
        _expect(
            tensor.wire_layout in (_spec.WIRE_AS_STORED, _spec.WIRE_NCHW),
            f"{where}: wire layout {tensor.wire_layout}",
        )
        _expect(
            index in at_boundary or tensor.wire_layout == _spec.WIRE_AS_STORED,
            f"{where}: a wire layout for neither input nor output",
        )
        _expect(
            tensor.is_view or tensor.offset % _spec.ARENA_ALIGN_BYTES == 0,
            f"{where}: offset {tensor.offset} is not aligned",
        )
        _expect(
            tensor.offset + tensor.size_bytes <= end,
            f"{where}: it ends beyond the arena",
        )


def _check_weights(program: Program) -> None:
    stream = 0
    largest_step = 0
    for index, op in enumerate(program.ops):
        where = f"operator {index}"
        if op.resident_panels:
            _expect(
                op.resident_offset % _spec.ARENA_ALIGN_BYTES == 0,
                f"{where}: its offset in the resident blob is not aligned",
            )
            end = op.resident_offset + op.resident_panels * op.panel_bytes
            _expect(
                end <= program.resident_bytes,
                f"{where}: its weights end beyond the resident blob",
            )
        if op.streamed_panels:
            _expect(
                op.stream_offset == stream,
                f"{where}: its weights do not follow those before in the stream",
            )
            stream += op.streamed_bytes
            largest_step = max(largest_step, op.step_panels * op.panel_bytes)
    _expect(
        stream == program.stream_bytes,
        f"the stream has {program.stream_bytes} bytes, the operators read {stream}",
    )
    if stream:
        needed = largest_step + program.page_bytes + 64
        _expect(
            program.window_bytes >= needed,
            f"a window of {program.window_bytes} bytes; {needed} are needed",
        )


def _check_spills(program: Program) -> None:
    """Check that slots follow one another and that each FILL has its SPILL."""
    slots: dict[int, int] = {}
    pages = 0
    for index, op in enumerate(program.ops):
        where = f"operator {index} ({op.code.name})"
        if op.code is Op.SPILL:
            size = program.tensors[op.input_a].size_bytes
            _expect(op.spill_page == pages, f"{where}: spill page {op.spill_page}")
            slots[pages] = size
            pages += -(-size // program.page_bytes)
        elif op.code is Op.FILL:
            size = program.tensors[op.output].size_bytes
            _expect(
                slots.get(op.spill_page) == size,
                f"{where}: nothing of {size} bytes was spilled to its slot before",
            )
        else:
            _expect(op.spill_page == 0, f"{where}: it spills nothing")
    _expect(
        program.spill_pages == pages <= _spec.MAX_PAGES,
        f"{program.spill_pages} spill pages where the operators hand out {pages}",
    )


def _scratch_bytes(program: Program, op: OpRecord) -> int:
    if op.code in SPILLS:
        return program.page_bytes
    return weights.scratch_bytes(OPS[op.code], _shapes(program, op), op.weights_format)


def _check_regions(program: Program) -> None:
    needed = max(_scratch_bytes(program, op) for op in program.ops)
    _expect(
        program.scratch_bytes >= needed,
        f"a scratch region of {program.scratch_bytes} bytes; {needed} are needed",
    )
    program_end = (
        _spec.ENGINE_CONTEXT_BYTES + program.program_pages * program.page_bytes
    )
    regions = [
        (0, program_end, "the program"),
        (
            program.resident_offset,
            program.resident_pages * program.page_bytes,
            "the resident region",
        ),
        (program.window_offset, program.window_bytes, "the window"),
        (program.scratch_offset, program.scratch_bytes, "the scratch region"),
    ]
    end = program.arena_bytes - _spec.ARENA_SLACK_BYTES
    for offset, size, name in regions:
        _expect(offset % _spec.ARENA_ALIGN_BYTES == 0, f"{name} is not on a boundary")
        _expect(offset + size <= end, f"{name} ends beyond the arena")
    used = sorted(region for region in regions if region[1])
    for (offset, size, name), (following, _, other) in pairwise(used):
        _expect(offset + size <= following, f"{name} and {other} overlap")
    for index, tensor in enumerate(program.tensors):
        if tensor.is_view:
            continue
        for offset, size, name in used:
            _expect(
                tensor.offset >= offset + size
                or tensor.offset + tensor.size_bytes <= offset,
                f"tensor {index} and {name} overlap",
            )


def in_place_operands(
    op: OpRecord, index: int, tensors: tuple[TensorRecord, ...]
) -> list[int]:
    """Return the operands that an op may overwrite with its output."""
    if op.code in SPILLS or not OPS[op.code].elementwise:
        return []
    out = tensors[op.output]
    found: list[int] = []
    if tensors[op.input_a].last_op == index and (
        tensors[op.input_a].size_bytes == out.size_bytes
    ):
        found.append(op.input_a)
    if (
        op.input_b != _spec.NO_TENSOR
        and tensors[op.input_b].last_op == index
        and tensors[op.input_b].dims == out.dims
    ):
        found.append(op.input_b)
    # A view may read elsewhere in what is overwritten.
    parents = {tensors[operand].parent for operand in operands(op)}
    return [
        operand for operand in found if operand not in parents and operand != op.weights
    ]


def _gaps(program: Program, index: int) -> Views:
    """Return what an operator must support to have the tensor as operand."""
    tensor = program.tensors[index]
    root = program.tensors[tensor.parent] if tensor.is_view else tensor
    n, h, w, c = tensor.dims
    image, row, pixel, _ = strides(root.dims)
    if (h > 1 and row != w * pixel) or (n > 1 and image != h * w * pixel):
        return Views.ANY
    return Views.EVEN if n * h * w > 1 and pixel != c else Views.DENSE


def _shapes(program: Program, op: OpRecord) -> Shapes:
    def dims(tensor: int) -> Dims | None:
        return None if tensor == _spec.NO_TENSOR else program.tensors[tensor].dims

    return Shapes(
        op=op,
        a=dims(op.input_a),
        b=dims(op.input_b),
        out=program.tensors[op.output].dims,
        panel_bytes=op.panel_bytes,
        has_gaps=any(
            _gaps(program, tensor) is not Views.DENSE
            for tensor in (op.input_a, op.input_b, op.output)
            if tensor != _spec.NO_TENSOR
        ),
    )


@dataclass(frozen=True, slots=True)
class _OpCheck:
    """The rules of one operator: operands, shapes, attributes, weights."""

    program: Program
    index: int

    @property
    def op(self) -> OpRecord:
        return self.program.ops[self.index]

    def expect(self, holds: bool, otherwise: str) -> None:
        _expect(holds, f"operator {self.index} ({self.op.code.name}): {otherwise}")

    def run(self) -> None:
        op, count = self.op, len(self.program.tensors)
        if op.code in SPILLS:
            self.spill()
            return
        op_type = OPS.get(op.code)
        if op_type is None:
            raise FormatError(
                f"the program is not valid: operator {self.index} has the code "
                f"{op.code.name}, which has no rules"
            )
        inputs = op_type.input_count(op.flags)
        self.expect(
            op.function in (op_type.functions or {0}), f"function {op.function}"
        )
        self.expect(op.flags & ~op_type.flags == 0, f"flags 0x{op.flags:04x}")
        self.expect(
            not math.isnan(op.act_min)
            and not math.isnan(op.act_max)
            and op.act_min <= op.act_max,
            f"a clamp from {op.act_min} to {op.act_max}",
        )
        self.expect(
            not math.isnan(op.alpha) and not math.isnan(op.beta), "NaN as parameter"
        )
        self.expect(op.output < count, "it has no output tensor")
        if inputs:
            self.expect(op.input_a < count, "it has no input tensor")
        else:
            self.expect(op.input_a == _spec.NO_TENSOR, "it has an input")
        if inputs == 2:
            self.expect(op.input_b < count, "it has no second input tensor")
        else:
            self.expect(op.input_b == _spec.NO_TENSOR, "it has a second input")
        for tensor, views in (
            (op.input_a, op_type.input_views),
            (op.input_b, op_type.input_views),
            (op.output, op_type.output_views),
        ):
            self.expect(
                tensor == _spec.NO_TENSOR or _gaps(self.program, tensor) <= views,
                f"tensor {tensor} has gaps that it cannot step over",
            )
        self.check_types(op_type)
        shapes = _shapes(self.program, op)
        op_type.check(shapes, self.expect)
        self.expect(
            weights.allows(op_type, op.weights_format),
            f"weights of format {op.weights_format}",
        )
        self.check_panels(weights.panels(op_type, shapes, op.weights_format))

    def check_types(self, op_type: OpType) -> None:
        """Every operand has the operator's type, and a scale if that is s8."""
        op = self.op
        for tensor, dtype, quant in (
            (op.input_a, op_type.input_dtype, op.quants[0]),
            (op.input_b, op_type.input_dtype, op.quants[1]),
            (op.output, op_type.output_dtype, op.quants[2]),
        ):
            if tensor == _spec.NO_TENSOR or dtype == _spec.DTYPE_F32:
                self.expect(quant == NOT_QUANTISED, "a scale where nothing is s8")
            else:
                self.expect(
                    0 < quant.scale < math.inf and -128 <= quant.zero <= 127,
                    f"scale {quant.scale}, zero point {quant.zero}",
                )
            if tensor != _spec.NO_TENSOR:
                got = self.program.tensors[tensor].dtype
                self.expect(got == dtype, f"tensor {tensor} of dtype {got}")
        self.expect(
            not op_type.same_scale or op.quants[0] == op.quants[2],
            "it cannot change the scale",
        )
        if op_type.output_dtype == _spec.DTYPE_S8:
            low, high = op.act_min, op.act_max
            self.expect(
                -128 <= low <= high <= 127 and low == int(low) and high == int(high),
                f"bounds {low} and {high} of 8 bits",
            )

    def spill(self) -> None:
        """SPILL reads a tensor, FILL writes one; neither has anything else."""
        op, none = self.op, _spec.NO_TENSOR
        tensor, other = op.input_a, op.output
        if op.code is Op.FILL:
            tensor, other = other, tensor
        self.expect(tensor < len(self.program.tensors), "it has no tensor")
        self.expect((other, op.input_b, op.weights) == (none,) * 3, "operands")
        self.expect(op.quants == (NOT_QUANTISED,) * 3, "it has scales")
        self.expect(not op.weights_format, "it has a weights format")
        self.expect(
            not op.flags
            and not op.function
            and op.scheme is Scheme.NONE
            and not op.panel_count,
            "it has flags, a function or weights",
        )
        self.expect(
            not op.resident_panels and not op.step_panels, "it has flags or weights"
        )
        self.expect(_gaps(self.program, tensor) is Views.DENSE, "a view with gaps")

    def held(self) -> None:
        """All panels lie in a root of just their size."""
        op = self.op
        self.expect(op.weights < len(self.program.tensors), "nothing holds its weights")
        held = self.program.tensors[op.weights]
        self.expect(
            not held.is_view and held.size_bytes == op.weights_bytes > 0,
            f"tensor {op.weights} cannot hold {op.weights_bytes} bytes of weights",
        )
        self.expect(
            op.code is not Op.CONSTANT and not op.resident_panels,
            "its weights are held, and somewhere else",
        )

    def check_panels(self, panels: tuple[int, int]) -> None:
        op = self.op
        self.expect(op.panel_bytes % 32 == 0, f"panels of {op.panel_bytes} bytes")
        self.expect(
            (op.panel_bytes, op.panel_count) == panels,
            f"{op.panel_count} panels of {op.panel_bytes} bytes where {panels[1]} "
            f"of {panels[0]} are needed",
        )
        self.expect(op.resident_panels <= op.panel_count, "too many resident panels")
        if op.weights != _spec.NO_TENSOR:
            self.held()
        streamed = op.streamed_panels
        self.expect(
            (1 <= op.step_panels <= streamed) if streamed else op.step_panels == 0,
            f"{op.step_panels} panels a step, {streamed} streamed",
        )
        self.expect(
            op.stream_offset % 32 == 0, f"offset {op.stream_offset} in the stream"
        )
        if not op.panel_count:
            scheme = Scheme.NONE
        elif op.weights != _spec.NO_TENSOR:
            scheme = Scheme.HELD
        elif not streamed:
            scheme = Scheme.RESIDENT
        elif op.step_panels == streamed:
            scheme = Scheme.LAYER
        else:
            scheme = Scheme.SUB_LAYER
        self.expect(op.scheme is scheme, f"scheme {op.scheme.name}, not {scheme.name}")
