# SPDX-License-Identifier: Apache-2.0
"""Every rule that `spec/sealed-model.md` states about a program.

The engine checks the same rules in C before it runs anything; here they keep
the planner honest and let the provider's machine judge any program. What an
operator needs (weights, scratch, shapes) stands in one place, `rules_of`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from undercroft import _spec
from undercroft._format.program import Dims, OpRecord, Program, TensorRecord
from undercroft._spec import Op, Scheme
from undercroft.errors import FormatError

__all__ = [
    "BINARY_OPS",
    "ELEMENTWISE_OPS",
    "align",
    "check",
    "depthwise_slots",
    "panel_shape",
    "scratch_bytes",
]

BINARY_OPS: Final = frozenset({Op.ADD, Op.SUB, Op.MUL, Op.DIV})
ELEMENTWISE_OPS: Final = BINARY_OPS | {
    Op.CLAMP,
    Op.HARD_SIGMOID,
    Op.HARD_SWISH,
    Op.SOFTMAX,
}
CONVOLUTIONS: Final = frozenset({Op.CONV_2D, Op.DEPTHWISE_CONV_2D})
POOLS: Final = frozenset({Op.MAX_POOL_2D, Op.AVERAGE_POOL_2D})

_DEPTHWISE_SLOTS: Final = (3, 4, 9, 25)
_FLAGS: Final = {
    Op.ADD: _spec.OP_FLAG_SCALAR_OPERAND,
    Op.MUL: _spec.OP_FLAG_SCALAR_OPERAND,
    Op.SUB: _spec.OP_FLAG_SCALAR_OPERAND | _spec.OP_FLAG_REVERSED,
    Op.DIV: _spec.OP_FLAG_SCALAR_OPERAND | _spec.OP_FLAG_REVERSED,
    Op.AVERAGE_POOL_2D: _spec.OP_FLAG_COUNT_INCLUDE_PAD,
}


def align(size: int, to: int = _spec.ARENA_ALIGN_BYTES) -> int:
    """Round up to a multiple."""
    return -(-size // to) * to


def depthwise_slots(taps: int) -> int:
    """Return how many weight slots a depthwise kernel of so many taps has."""
    return next(slots for slots in _DEPTHWISE_SLOTS if taps <= slots)


def panel_shape(op: OpRecord, a: Dims | None, out: Dims) -> tuple[int, int]:
    """Return `(panel_bytes, panel_count)` that an operator must have.

    For CONSTANT the size of a panel is free: it is taken from the record.
    """
    lanes = _spec.PANEL_CHANNELS
    row = 4 * lanes
    if op.code is Op.CONSTANT:
        if op.panel_bytes == 0:
            return row, -(-4 * math.prod(out) // row)
        return op.panel_bytes, -(-4 * math.prod(out) // op.panel_bytes)
    if a is None:
        return 0, 0
    taps = op.kernel[0] * op.kernel[1]
    if op.code is Op.CONV_2D:
        cin_g, cout_g = a[3] // op.groups, out[3] // op.groups
        return row * (1 + taps * cin_g), op.groups * -(-cout_g // lanes)
    if op.code is Op.DEPTHWISE_CONV_2D:
        return row * (1 + depthwise_slots(taps)), -(-out[3] // lanes)
    if op.code is Op.FULLY_CONNECTED:
        return row * (1 + a[3]), -(-out[3] // lanes)
    return 0, 0


def scratch_bytes(op: OpRecord, a: Dims | None, out: Dims) -> int:
    """Return what an operator needs of the scratch region."""
    if a is None:
        return 0
    taps, c, out_w = op.kernel[0] * op.kernel[1], a[3], out[2]
    if op.code is Op.CONV_2D:
        cin_g = c // op.groups
        size = align(8 * 8 * taps) + align(4 * cin_g + 64)
        if cin_g <= 8:
            size += align(8 * 4 * (taps * cin_g + 4) + 64)
        return size
    if op.code is Op.DEPTHWISE_CONV_2D:
        return align(8 * depthwise_slots(taps) * out_w) + align(4 * c + 64)
    if op.code in POOLS:
        return (
            align(8 * max(taps, 9) * out_w)
            + align(8 * (c + 16))
            + align(4 * c + 64)
            + align(4 * out_w)
        )
    if op.code is Op.GLOBAL_AVERAGE_POOL:
        return 2 * align(4 * c + 64)
    return 0


def check(program: Program) -> None:
    """Check a program against every rule.

    Raises:
        FormatError: It breaks one; the message says which and where.
    """
    _check_sizes(program)
    _check_tensors(program)
    for index in range(len(program.ops)):
        _OpCheck(program, index).run()
    _check_lifetimes(program)
    _check_weights(program)
    _check_regions(program)
    _check_sharing(program)


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
        _expect(tensor.dtype == _spec.DTYPE_F32, f"{where}: dtype {tensor.dtype}")
        _expect(
            tensor.wire_layout in (_spec.WIRE_AS_STORED, _spec.WIRE_NCHW),
            f"{where}: wire layout {tensor.wire_layout}",
        )
        _expect(
            index in at_boundary or tensor.wire_layout == _spec.WIRE_AS_STORED,
            f"{where}: a wire layout for neither input nor output",
        )
        _expect(
            tensor.offset % _spec.ARENA_ALIGN_BYTES == 0,
            f"{where}: offset {tensor.offset} is not aligned",
        )
        _expect(
            tensor.offset + tensor.size_bytes <= end,
            f"{where}: it ends beyond the arena",
        )


def _check_lifetimes(program: Program) -> None:
    ops = program.ops
    first: dict[int, int] = dict.fromkeys(program.inputs, _spec.NO_OP)
    last: dict[int, int] = {}
    for index, op in enumerate(ops):
        for operand in (op.input_a, op.input_b):
            if operand != _spec.NO_TENSOR:
                _expect(
                    operand in first,
                    f"operator {index}: it reads tensor {operand} before it is written",
                )
                last[operand] = index
        _expect(
            op.output not in first,
            f"operator {index}: tensor {op.output} is written twice",
        )
        first[op.output] = index
    for output in program.outputs:
        last[output] = len(ops)
    for index, tensor in enumerate(program.tensors):
        where = f"tensor {index}"
        _expect(index in first, f"{where}: nothing writes it")
        _expect(index in last, f"{where}: nothing reads it")
        _expect(tensor.first_op == first[index], f"{where}: first_op is wrong")
        _expect(tensor.last_op == last[index], f"{where}: last_op is wrong")


def _check_weights(program: Program) -> None:
    stream = 0
    largest_step = 0
    resident: list[tuple[int, int, int]] = []
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
            resident.append((op.resident_offset, end, index))
        if op.streamed_panels:
            _expect(
                op.stream_offset == stream,
                f"{where}: its weights do not follow those before in the stream",
            )
            stream += op.streamed_bytes
            largest_step = max(largest_step, op.step_panels * op.panel_bytes)
    resident.sort()
    for (_, end, one), (start, _, other) in pairwise(resident):
        _expect(end <= start, f"operators {one} and {other} share resident weights")
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


def _check_regions(program: Program) -> None:
    needed = max(
        scratch_bytes(op, _dims(program, op.input_a), program.tensors[op.output].dims)
        for op in program.ops
    )
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
        for offset, size, name in used:
            _expect(
                tensor.offset >= offset + size
                or tensor.offset + tensor.size_bytes <= offset,
                f"tensor {index} and {name} overlap",
            )


def _check_sharing(program: Program) -> None:
    in_place = {
        (op.output, operand)
        for index, op in enumerate(program.ops)
        for operand in in_place_operands(op, index, program.tensors)
    }
    spans = [
        (tensor.offset, tensor.offset + tensor.size_bytes, index)
        for index, tensor in enumerate(program.tensors)
    ]
    spans.sort()
    for position, (_, end, one) in enumerate(spans):
        for start, _, other in spans[position + 1 :]:
            if start >= end:
                break
            if not _meet(program.tensors[one], program.tensors[other]):
                continue
            same_offset = program.tensors[one].offset == program.tensors[other].offset
            _expect(
                same_offset and ((one, other) in in_place or (other, one) in in_place),
                f"tensors {one} and {other} share bytes while both live",
            )


def in_place_operands(
    op: OpRecord, index: int, tensors: tuple[TensorRecord, ...]
) -> list[int]:
    """Return the operands that an op may overwrite with its output."""
    if op.code not in ELEMENTWISE_OPS:
        return []
    out = tensors[op.output]
    found = []
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
    return found


def _meet(one: TensorRecord, other: TensorRecord) -> bool:
    def first(tensor: TensorRecord) -> int:
        return -1 if tensor.first_op == _spec.NO_OP else tensor.first_op

    return first(one) <= other.last_op and first(other) <= one.last_op


def _dims(program: Program, tensor: int) -> Dims | None:
    return None if tensor == _spec.NO_TENSOR else program.tensors[tensor].dims


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
        scalar = bool(op.flags & _spec.OP_FLAG_SCALAR_OPERAND)
        self.expect(op.flags & ~_FLAGS.get(op.code, 0) == 0, f"flags 0x{op.flags:04x}")
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
        if op.code is Op.CONSTANT:
            self.expect(op.input_a == _spec.NO_TENSOR, "it has an input")
        else:
            self.expect(op.input_a < count, "it has no input tensor")
        if op.code in BINARY_OPS and not scalar:
            self.expect(op.input_b < count, "it has no second input tensor")
        else:
            self.expect(op.input_b == _spec.NO_TENSOR, "it has a second input")
        out = self.program.tensors[op.output].dims
        a = _dims(self.program, op.input_a)
        if a is not None:
            _SHAPE_RULES.get(op.code, _same_shape)(self, a, out)
        self.check_panels(a, out)

    def check_panels(self, a: Dims | None, out: Dims) -> None:
        op = self.op
        if op.code is Op.CONSTANT:
            self.expect(op.panel_bytes > 0, "it has no weights")
        self.expect(op.panel_bytes % 32 == 0, f"panels of {op.panel_bytes} bytes")
        panels = panel_shape(op, a, out)
        self.expect(
            (op.panel_bytes, op.panel_count) == panels,
            f"{op.panel_count} panels of {op.panel_bytes} bytes where {panels[1]} "
            f"of {panels[0]} are needed",
        )
        self.expect(op.resident_panels <= op.panel_count, "too many resident panels")
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
        elif not streamed:
            scheme = Scheme.RESIDENT
        elif op.step_panels == streamed:
            scheme = Scheme.LAYER
        else:
            scheme = Scheme.SUB_LAYER
        self.expect(op.scheme is scheme, f"scheme {op.scheme.name}, not {scheme.name}")

    def spatial(self) -> None:
        op = self.op
        self.expect(
            all(1 <= size <= _spec.MAX_KERNEL_SIZE for size in op.kernel),
            f"a kernel of {op.kernel}",
        )
        self.expect(
            all(1 <= stride <= _spec.MAX_STRIDE for stride in op.stride),
            f"strides of {op.stride}",
        )
        self.expect(
            all(dilation >= 1 for dilation in op.dilation),
            f"dilations of {op.dilation}",
        )


def _same_shape(check: _OpCheck, a: Dims, out: Dims) -> None:
    check.expect(a == out, f"output {out} where {a} is needed")


def _same_size(check: _OpCheck, a: Dims, out: Dims) -> None:
    check.expect(
        math.prod(a) == math.prod(out), f"output {out} of another size than {a}"
    )


def _convolution(check: _OpCheck, a: Dims, out: Dims) -> None:
    op = check.op
    check.spatial()
    check.expect(a[0] == out[0], "the batch changes")
    if op.code is Op.DEPTHWISE_CONV_2D:
        check.expect(
            op.groups == a[3] == out[3], f"{op.groups} groups for {a[3]} channels"
        )
        check.expect(op.kernel[0] * op.kernel[1] <= 25, f"a kernel of {op.kernel}")
    check.expect(
        op.groups >= 1 and a[3] % op.groups == 0 and out[3] % op.groups == 0,
        f"{op.groups} groups for {a[3]} and {out[3]} channels",
    )
    for axis in (0, 1):
        reach = op.dilation[axis] * (op.kernel[axis] - 1) + 1
        room = a[1 + axis] + op.pads[axis] + op.pads[axis + 2] - reach
        size = room // op.stride[axis] + 1
        check.expect(
            room >= 0 and out[1 + axis] == size,
            f"output size {out[1 + axis]} where {size} is needed",
        )


def _fully_connected(check: _OpCheck, a: Dims, out: Dims) -> None:
    check.expect(a[:3] == out[:3], f"output rows {out[:3]} where {a[:3]} are needed")


def _binary(check: _OpCheck, a: Dims, out: Dims) -> None:
    if check.op.input_b == _spec.NO_TENSOR:
        _same_shape(check, a, out)
        return
    b = check.program.tensors[check.op.input_b].dims
    needed = tuple(map(max, a, b))
    check.expect(
        all(1 in (i, j) or i == j for i, j in zip(a, b, strict=True)),
        f"inputs of shapes {a} and {b}",
    )
    check.expect(out == needed, f"output {out} where {needed} is needed")


def _pool(check: _OpCheck, a: Dims, out: Dims) -> None:
    op = check.op
    check.spatial()
    check.expect((a[0], a[3]) == (out[0], out[3]), "batch or channels change")
    check.expect(op.dilation == (1, 1), f"dilations of {op.dilation}")
    for axis in (0, 1):
        begin, end = op.pads[axis], op.pads[axis + 2]
        kernel, stride, size = op.kernel[axis], op.stride[axis], a[1 + axis]
        check.expect(max(begin, end) < kernel, f"padding {op.pads}")
        most = -(-max(0, size + begin + end - kernel) // stride) + 1
        got = out[1 + axis]
        check.expect(got <= most, f"output size {got}, at most {most}")
        # The last window must start inside the input; the first ends in it
        # because padding is smaller than the kernel.
        check.expect(
            (got - 1) * stride - begin < size, "a window without an input element"
        )


def _global_pool(check: _OpCheck, a: Dims, out: Dims) -> None:
    check.expect(out == (a[0], 1, 1, a[3]), f"output {out}")


def _transpose(check: _OpCheck, a: Dims, out: Dims) -> None:
    permutation = check.op.permutation
    check.expect(sorted(permutation) == [0, 1, 2, 3], f"permutation {permutation}")
    needed = tuple(a[axis] for axis in permutation)
    check.expect(out == needed, f"output {out} where {needed} is needed")


_ShapeRule = Callable[[_OpCheck, Dims, Dims], None]

_SHAPE_RULES: Final[dict[Op, _ShapeRule]] = {
    Op.CONV_2D: _convolution,
    Op.DEPTHWISE_CONV_2D: _convolution,
    Op.FULLY_CONNECTED: _fully_connected,
    Op.ADD: _binary,
    Op.SUB: _binary,
    Op.MUL: _binary,
    Op.DIV: _binary,
    Op.CLAMP: _same_size,
    Op.MAX_POOL_2D: _pool,
    Op.AVERAGE_POOL_2D: _pool,
    Op.GLOBAL_AVERAGE_POOL: _global_pool,
    Op.TRANSPOSE: _transpose,
}
