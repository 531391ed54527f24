# SPDX-License-Identifier: Apache-2.0
"""The bytes of the program: what the device executes.

`encode` writes what `decode` reads; both refuse whatever
`spec/sealed-model.md` forbids, in the order in which the specification
states it (`undercroft._format.program_check`). Whatever decodes encodes to the
same bytes.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Final

from undercroft import _spec
from undercroft._spec import Op, Scheme
from undercroft.errors import FormatError

__all__ = [
    "DTYPE_BYTES",
    "NOT_QUANTISED",
    "Dims",
    "OpRecord",
    "Program",
    "Quantisation",
    "TensorRecord",
    "decode",
    "encode",
]

Dims = tuple[int, int, int, int]

IO_TABLE_BYTES: Final = 2 * 2 * _spec.MAX_IO

_HEADER: Final = struct.Struct("<IHHHHBBHIIQQQQQQQQI36s")
_TENSOR: Final = struct.Struct("<IIIIQQHHBBH4I8s")
_OP: Final = struct.Struct("<HHHHHHffff10HIIIIQQI4HHBBI3f3b13s")
_IO: Final = struct.Struct(f"<{2 * _spec.MAX_IO}H")


DTYPE_BYTES: Final = {_spec.DTYPE_F32: 4, _spec.DTYPE_S8: 1}
"""Bytes of an element of each type."""


@dataclass(frozen=True, slots=True)
class Quantisation:
    """What an 8-bit integer stands for: scale * (integer - zero).

    Attributes:
        scale: Positive; 0 for a tensor of f32.
        zero: From -128 to 127; 0 for a tensor of f32.
    """

    scale: float = 0.0
    zero: int = 0


NOT_QUANTISED: Final = Quantisation()


@dataclass(frozen=True, slots=True)
class TensorRecord:
    """One tensor in the arena: a root with memory of its own, or a view of one.

    Attributes:
        dims: Elements along n, h, w and c, in the order of storage.
        offset: First byte in the arena.
        first_op: Index of the op that writes it; of a root, of the first op
            that writes it or a view of it. `NO_OP` for an input, and for a view
            that is only read.
        last_op: Index of the last op that reads it; of a root, or reads a view
            of it; the number of ops for an output. Of a view that is only
            written, the op that writes it.
        wire_layout: How an input or output crosses the boundary.
        dtype: Element type.
        parent: The root that a view is a box of; `NO_TENSOR` for a root.
        origin: n, h, w, c of a view's first element in its root.
    """

    dims: Dims
    offset: int
    first_op: int
    last_op: int
    wire_layout: int = _spec.WIRE_AS_STORED
    dtype: int = _spec.DTYPE_F32
    parent: int = _spec.NO_TENSOR
    origin: Dims = (0, 0, 0, 0)

    @property
    def is_view(self) -> bool:
        """Whether it has no memory of its own."""
        return self.parent != _spec.NO_TENSOR

    @property
    def element_count(self) -> int:
        """How many elements it has."""
        return math.prod(self.dims)

    @property
    def size_bytes(self) -> int:
        """How many bytes it takes."""
        return DTYPE_BYTES.get(self.dtype, 4) * self.element_count


@dataclass(frozen=True, slots=True)
class OpRecord:
    """One operator; the fields are those of the op record in the specification."""

    code: Op
    input_a: int = _spec.NO_TENSOR
    input_b: int = _spec.NO_TENSOR
    output: int = _spec.NO_TENSOR
    flags: int = 0
    scheme: Scheme = Scheme.NONE
    act_min: float = -math.inf
    act_max: float = math.inf
    alpha: float = 0.0
    beta: float = 0.0
    kernel: tuple[int, int] = (0, 0)
    stride: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (0, 0)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Rows on top, columns left, rows below, columns right."""
    groups: int = 0
    panel_bytes: int = 0
    panel_count: int = 0
    resident_panels: int = 0
    resident_offset: int = 0
    stream_offset: int = 0
    step_panels: int = 0
    permutation: tuple[int, int, int, int] = (0, 0, 0, 0)
    weights: int = _spec.NO_TENSOR
    """The tensor that holds all panels, written by a CONSTANT."""
    function: int = 0
    """Which one, of an operator that has several."""
    spill_page: int = 0
    """SPILL, FILL: the first page of the slot."""
    weights_format: int = _spec.WEIGHTS_F32
    quants: tuple[Quantisation, Quantisation, Quantisation] = (NOT_QUANTISED,) * 3
    """Of input_a, input_b and output."""

    @property
    def streamed_panels(self) -> int:
        """Panels that come out of the stream at each inference."""
        if self.weights != _spec.NO_TENSOR:
            return 0
        return self.panel_count - self.resident_panels

    @property
    def weights_bytes(self) -> int:
        """Bytes of all its panels."""
        return self.panel_count * self.panel_bytes

    @property
    def streamed_bytes(self) -> int:
        """Bytes of its panels that are decrypted again at each inference."""
        return self.streamed_panels * self.panel_bytes


@dataclass(frozen=True, slots=True)
class Program:
    """A whole program: header fields, io table, tensors and ops."""

    page_bytes: int
    arena_bytes: int
    resident_offset: int
    resident_bytes: int
    window_offset: int
    window_bytes: int
    stream_bytes: int
    scratch_offset: int
    scratch_bytes: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    tensors: tuple[TensorRecord, ...]
    ops: tuple[OpRecord, ...]
    spill_pages: int = 0

    @property
    def program_bytes(self) -> int:
        """Length of the encoded program."""
        return program_bytes(len(self.tensors), len(self.ops))

    @property
    def program_pages(self) -> int:
        """Pages that the program takes."""
        return -(-self.program_bytes // self.page_bytes)

    @property
    def resident_pages(self) -> int:
        """Pages that the resident blob takes."""
        return -(-self.resident_bytes // self.page_bytes)

    @property
    def streamed_pages(self) -> int:
        """Pages that the stream takes."""
        return -(-self.stream_bytes // self.page_bytes)


def program_bytes(tensor_count: int, op_count: int) -> int:
    """Return the length of a program with so many tensors and ops."""
    return (
        _spec.PROGRAM_HEADER_BYTES
        + IO_TABLE_BYTES
        + _spec.TENSOR_RECORD_BYTES * tensor_count
        + _spec.OP_RECORD_BYTES * op_count
    )


def encode(program: Program) -> bytes:
    """Encode a program.

    Args:
        program: A program that keeps every rule of the specification.

    Returns:
        Exactly `program.program_bytes` bytes.

    Raises:
        FormatError: It breaks a rule; the message says which and where.
    """
    from undercroft._format import program_check

    program_check.check(program)
    out = bytearray(
        _HEADER.pack(
            _spec.PROGRAM_MAGIC,
            _spec.PROGRAM_VERSION,
            _spec.PROGRAM_HEADER_BYTES,
            len(program.tensors),
            len(program.ops),
            len(program.inputs),
            len(program.outputs),
            0,
            program.program_bytes,
            program.page_bytes,
            program.arena_bytes,
            program.resident_offset,
            program.resident_bytes,
            program.window_offset,
            program.window_bytes,
            program.stream_bytes,
            program.scratch_offset,
            program.scratch_bytes,
            program.spill_pages,
            bytes(36),
        )
    )
    out += _IO.pack(*_io_half(program.inputs), *_io_half(program.outputs))
    for tensor in program.tensors:
        out += _TENSOR.pack(
            *tensor.dims,
            tensor.offset,
            tensor.size_bytes,
            tensor.first_op,
            tensor.last_op,
            tensor.dtype,
            tensor.wire_layout,
            tensor.parent,
            *tensor.origin,
            bytes(8),
        )
    for op in program.ops:
        out += _OP.pack(
            op.code,
            op.flags,
            op.input_a,
            op.input_b,
            op.output,
            op.scheme,
            op.act_min,
            op.act_max,
            op.alpha,
            op.beta,
            *op.kernel,
            *op.stride,
            *op.dilation,
            *op.pads,
            op.groups,
            op.panel_bytes,
            op.panel_count,
            op.resident_panels,
            op.resident_offset,
            op.stream_offset,
            op.step_panels,
            *op.permutation,
            op.weights,
            op.weights_format,
            op.function,
            op.spill_page,
            *(quant.scale for quant in op.quants),
            *(quant.zero for quant in op.quants),
            bytes(13),
        )
    return bytes(out)


def decode(data: bytes | memoryview) -> Program:
    """Decode a program and check every rule of the specification.

    Args:
        data: The program, with or without the zero padding of its last page.

    Raises:
        FormatError: It is not a program of this version, or breaks a rule.
    """
    from undercroft._format import program_check

    data = memoryview(data)
    start = _spec.PROGRAM_HEADER_BYTES
    if len(data) < start + IO_TABLE_BYTES:
        raise FormatError(f"the program is cut off: it has {len(data)} bytes")
    head = _HEADER.unpack_from(data)
    _expect(head[0] == _spec.PROGRAM_MAGIC, "it does not start with the magic")
    _expect(head[1] == _spec.PROGRAM_VERSION, f"version {head[1]} is unknown")
    _expect(head[2] == start, f"a header of {head[2]} bytes")
    tensor_count, op_count, input_count, output_count = head[3:7]
    _expect(head[7] == 0 and not any(head[19]), "reserved header bytes are not zero")
    _expect(1 <= tensor_count <= _spec.MAX_TENSORS, f"{tensor_count} tensors")
    _expect(1 <= op_count <= _spec.MAX_OPS, f"{op_count} operators")
    _expect(1 <= input_count <= _spec.MAX_IO, f"{input_count} inputs")
    _expect(1 <= output_count <= _spec.MAX_IO, f"{output_count} outputs")
    length = program_bytes(tensor_count, op_count)
    _expect(head[8] == length, f"program_bytes is {head[8]}, not {length}")
    _expect(len(data) >= length, f"it is cut off: {len(data)} of {length} bytes")
    _expect(not any(data[length:]), "bytes after its end are not zero")

    table = _IO.unpack_from(data, start)
    inputs = _io_entries(table[: _spec.MAX_IO], input_count, "inputs")
    outputs = _io_entries(table[_spec.MAX_IO :], output_count, "outputs")
    first = start + IO_TABLE_BYTES
    tensors = tuple(
        _decode_tensor(data, first + i * _TENSOR.size, i) for i in range(tensor_count)
    )
    first += tensor_count * _TENSOR.size
    ops = tuple(_decode_op(data, first + i * _OP.size, i) for i in range(op_count))
    program = Program(
        page_bytes=head[9],
        arena_bytes=head[10],
        resident_offset=head[11],
        resident_bytes=head[12],
        window_offset=head[13],
        window_bytes=head[14],
        stream_bytes=head[15],
        scratch_offset=head[16],
        scratch_bytes=head[17],
        inputs=inputs,
        outputs=outputs,
        tensors=tensors,
        ops=ops,
        spill_pages=head[18],
    )
    program_check.check(program)
    return program


def _io_half(ids: tuple[int, ...]) -> tuple[int, ...]:
    return ids + (_spec.NO_TENSOR,) * (_spec.MAX_IO - len(ids))


def _io_entries(half: tuple[int, ...], count: int, which: str) -> tuple[int, ...]:
    _expect(
        all(entry == _spec.NO_TENSOR for entry in half[count:]),
        f"unused entries of the table of {which} are not 0xFFFF",
    )
    return half[:count]


def _decode_tensor(data: memoryview, offset: int, index: int) -> TensorRecord:
    n, h, w, c, at, size_bytes, first_op, last_op, dtype, wire, parent, *more = (
        _TENSOR.unpack_from(data, offset)
    )
    *origin, rest = more
    tensor = TensorRecord(
        dims=(n, h, w, c),
        offset=at,
        first_op=first_op,
        last_op=last_op,
        wire_layout=wire,
        dtype=dtype,
        parent=parent,
        origin=(origin[0], origin[1], origin[2], origin[3]),
    )
    where = f"tensor {index}"
    _expect(not any(rest), f"{where}: reserved bytes are not zero")
    _expect(
        size_bytes == tensor.size_bytes, f"{where}: bytes are not those of its elements"
    )
    return tensor


def _decode_op(data: memoryview, offset: int, index: int) -> OpRecord:
    fields = _OP.unpack_from(data, offset)
    where = f"operator {index}"
    _expect(
        not any(fields[-1]),
        f"{where}: reserved bytes are not zero",
    )
    try:
        code, scheme = Op(fields[0]), Scheme(fields[5])
    except ValueError as error:
        raise FormatError(f"the program is not valid: {where}: {error}") from error
    return OpRecord(
        code=code,
        flags=fields[1],
        input_a=fields[2],
        input_b=fields[3],
        output=fields[4],
        scheme=scheme,
        act_min=fields[6],
        act_max=fields[7],
        alpha=fields[8],
        beta=fields[9],
        kernel=fields[10:12],
        stride=fields[12:14],
        dilation=fields[14:16],
        pads=fields[16:20],
        groups=fields[20],
        panel_bytes=fields[21],
        panel_count=fields[22],
        resident_panels=fields[23],
        resident_offset=fields[24],
        stream_offset=fields[25],
        step_panels=fields[26],
        permutation=fields[27:31],
        weights=fields[31],
        function=fields[33],
        spill_page=fields[34],
        weights_format=fields[32],
        quants=(
            Quantisation(fields[35], fields[38]),
            Quantisation(fields[36], fields[39]),
            Quantisation(fields[37], fields[40]),
        ),
    )


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise FormatError(f"the program is not valid: {otherwise}")
