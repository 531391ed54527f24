# SPDX-License-Identifier: Apache-2.0
"""The program's bytes: what is written is read again, and every rule holds."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.onnx_nets import Net
from undercroft import _spec
from undercroft._format.program import (
    NOT_QUANTISED,
    OpRecord,
    Program,
    Quantisation,
    TensorRecord,
    decode,
    encode,
)
from undercroft._spec import Op, Scheme
from undercroft.errors import FormatError
from undercroft.plan import plan

PAGE = 4096
START = _spec.ENGINE_CONTEXT_BYTES + PAGE


def small() -> Program:
    """A convolution, partly resident, a pooling and an addition in place."""
    tensors = (
        TensorRecord((1, 4, 4, 8), START + 9216, _spec.NO_OP, 0, _spec.WIRE_NCHW),
        TensorRecord((1, 2, 2, 16), START + 9728, 0, 2),
        TensorRecord((1, 1, 1, 16), START + 9984, 1, 2),
        TensorRecord((1, 2, 2, 16), START + 9728, 2, 3, _spec.WIRE_NCHW),
    )
    conv = OpRecord(
        Op.CONV_2D,
        input_a=0,
        output=1,
        scheme=Scheme.LAYER,
        act_min=0.0,
        kernel=(1, 1),
        stride=(2, 2),
        dilation=(1, 1),
        groups=1,
        panel_bytes=288,
        panel_count=2,
        resident_panels=1,
        step_panels=1,
    )
    pool = OpRecord(Op.GLOBAL_AVERAGE_POOL, input_a=1, output=2)
    add = OpRecord(Op.ADD, input_a=1, input_b=2, output=3)
    return Program(
        page_bytes=PAGE,
        arena_bytes=START + 10048 + _spec.ARENA_SLACK_BYTES,
        resident_offset=START,
        resident_bytes=288,
        window_offset=START + PAGE,
        window_bytes=4480,
        stream_bytes=288,
        scratch_offset=START + PAGE + 4480,
        scratch_bytes=640,
        inputs=(0,),
        outputs=(3,),
        tensors=tensors,
        ops=(conv, pool, add),
    )


def test_records_have_the_specified_sizes() -> None:
    encoded = encode(small())
    assert len(encoded) == 192 + 4 * 64 + 3 * 128
    assert encoded[:4] == b"UCPG"
    assert struct.unpack_from("<4I", encoded, 192) == (1, 4, 4, 8)
    first_op = 192 + 4 * 64
    assert struct.unpack_from("<HHHHH", encoded, first_op) == (1, 0, 0, 0xFFFF, 1)
    assert struct.unpack_from("<ff", encoded, first_op + 12) == (0.0, math.inf)
    assert struct.unpack_from("<II", encoded, first_op + 52) == (288, 2)


def test_round_trip() -> None:
    program = small()
    encoded = encode(program)
    assert decode(encoded) == program
    assert decode(encoded + bytes(PAGE - len(encoded))) == program
    assert encode(decode(encoded)) == encoded


def change(**fields: Any) -> Callable[[Program], Program]:
    return lambda program: replace(program, **fields)


def tensor(index: int, **fields: Any) -> Callable[[Program], Program]:
    def edit(program: Program) -> Program:
        tensors = list(program.tensors)
        tensors[index] = replace(tensors[index], **fields)
        return replace(program, tensors=tuple(tensors))

    return edit


def op(index: int, **fields: Any) -> Callable[[Program], Program]:
    def edit(program: Program) -> Program:
        ops = list(program.ops)
        ops[index] = replace(ops[index], **fields)
        return replace(program, ops=tuple(ops))

    return edit


BROKEN = {
    "page below the least": change(page_bytes=2048),
    "page no multiple": change(page_bytes=4100),
    "arena beyond 32 bits": change(arena_bytes=1 << 32),
    "arena too small": change(arena_bytes=START + 9984),
    "input is no tensor": change(inputs=(4,)),
    "output is no tensor": change(outputs=(9,)),
    "output named twice": change(outputs=(3, 3)),
    "no input": change(inputs=()),
    "no op": change(ops=()),
    "resident region not aligned": change(resident_offset=START + 32),
    "resident region over the program": change(resident_offset=START - 64),
    "window over the resident region": change(window_offset=START + 64),
    "window too small": change(window_bytes=4416),
    "window beyond the arena": change(window_bytes=1 << 20),
    "scratch too small": change(scratch_bytes=576),
    "scratch over the window": change(scratch_offset=START + PAGE + 4416),
    "scratch not aligned": change(scratch_offset=START + PAGE + 4490),
    "stream longer than read": change(stream_bytes=320),
    "stream shorter than read": change(stream_bytes=256),
    "resident blob too short": change(resident_bytes=256),
    "zero dimension": tensor(0, dims=(0, 4, 4, 8)),
    "huge dimension": tensor(2, dims=(1, 1, 1, _spec.MAX_DIM + 1)),
    "tensor not aligned": tensor(0, offset=START + 9217),
    "tensor over the scratch": tensor(0, offset=START + 9152),
    "tensor beyond the arena": tensor(0, offset=1 << 30),
    "tensor of unknown type": tensor(1, dtype=3),
    "input of 8 bits": tensor(0, dtype=_spec.DTYPE_S8),
    "tensor of 8 bits for an operator of f32": tensor(1, dtype=_spec.DTYPE_S8),
    "scale of f32": op(0, quants=(Quantisation(1.0),) + (NOT_QUANTISED,) * 2),
    "unknown wire layout": tensor(0, wire_layout=2),
    "wire layout inside": tensor(1, wire_layout=_spec.WIRE_NCHW),
    "first op wrong": tensor(1, first_op=1),
    "last op wrong": tensor(1, last_op=1),
    "input written": tensor(0, first_op=0),
    "output not kept": tensor(3, last_op=2),
    "tensors overlap": tensor(2, offset=START + 9728),
    "in place at another offset": tensor(3, offset=START + 9792),
    "unknown flag": op(0, flags=8),
    "flag of another op": op(1, flags=_spec.OP_FLAG_COUNT_INCLUDE_PAD),
    "reads what is not there": op(0, input_a=7),
    "reads before written": op(0, input_a=2),
    "second input of a convolution": op(0, input_b=1),
    "no second input": op(2, input_b=_spec.NO_TENSOR),
    "scalar and second input": op(2, flags=_spec.OP_FLAG_SCALAR_OPERAND),
    "no output": op(1, output=_spec.NO_TENSOR),
    "written twice": op(1, output=1),
    "clamp is NaN": op(0, act_max=math.nan),
    "clamp upside down": op(0, act_min=1.0, act_max=0.0),
    "alpha is NaN": op(0, alpha=math.nan),
    "no kernel": op(0, kernel=(0, 1)),
    "kernel over the limit": op(0, kernel=(65, 1)),
    "no stride": op(0, stride=(0, 2)),
    "no dilation": op(0, dilation=(0, 1)),
    "no groups": op(0, groups=0),
    "groups do not divide": op(0, groups=3),
    "output of another size": op(0, stride=(1, 1)),
    "panels of another size": op(0, panel_bytes=320),
    "panels of odd size": op(0, panel_bytes=289),
    "too few panels": op(0, panel_count=1),
    "too many resident": op(0, resident_panels=3),
    "resident not aligned": op(0, resident_offset=32),
    "resident beyond the blob": op(0, resident_offset=64),
    "hole in the stream": op(0, stream_offset=32),
    "stream offset not aligned": op(0, stream_offset=4),
    "no step": op(0, step_panels=0),
    "step longer than the stream": op(0, step_panels=2),
    "weights without weights": op(1, panel_bytes=32, panel_count=1),
    "scheme none": op(0, scheme=Scheme.NONE),
    "scheme resident": op(0, scheme=Scheme.RESIDENT),
    "scheme sub-layer": op(0, scheme=Scheme.SUB_LAYER),
    "scheme without weights": op(1, scheme=Scheme.LAYER),
    "pooling to more than a pixel": tensor(2, dims=(1, 1, 2, 8)),
    "addition of shapes that do not go": tensor(2, dims=(1, 1, 1, 8)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_every_rule_is_refused(name: str) -> None:
    broken = BROKEN[name](small())
    assert broken != small()
    with pytest.raises(FormatError, match="program is not valid"):
        encode(broken)


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (0, 0),  # magic
        (4, 1),  # an older version
        (4, 3),  # a later version
        (6, 64),  # header bytes
        (8, 0),  # no tensors
        (8, 5),  # a tensor more
        (10, 4),  # an op more
        (12, 0),  # no inputs
        (13, 17),  # too many outputs
        (14, 1),  # reserved
        (16, 1),  # program bytes
        (88, 1),  # a spilled page that no operator hands out
        (92, 1),  # reserved
        (127, 1),  # reserved
        (130, 0),  # unused input entry
        (190, 0),  # unused output entry
        (192 + 24, 4),  # tensor bytes
        (192 + 38, 0),  # a view of itself
        (192 + 40, 1),  # a root with an origin
        (192 + 56, 1),  # reserved
        (192 + 63, 1),  # reserved
        (448 + 100, 1),  # a scale
        (448 + 113, 1),  # a zero point
        (448 + 115, 1),  # reserved
        (448, 250),  # operator
        (448 + 10, 9),  # scheme
        (448 + 92, 1),  # held weights
        (448 + 94, 1),  # reserved
        (448 + 96, 1),  # a spill page without a spill
        (448 + 127, 1),  # reserved
    ],
)
def test_bytes_that_are_refused(offset: int, value: int) -> None:
    data = bytearray(encode(small()))
    assert data[offset] != value
    data[offset] = value
    with pytest.raises(FormatError):
        decode(bytes(data))


def test_truncated_and_extended() -> None:
    encoded = encode(small())
    for length in range(len(encoded)):
        with pytest.raises(FormatError):
            decode(encoded[:length])
    with pytest.raises(FormatError):
        decode(encoded + bytes(20) + b"\x01")


@settings(deadline=None)
@given(st.integers(0), st.integers(1, 255))
def test_what_decodes_encodes_to_the_same_bytes(place: int, flip: int) -> None:
    data = bytearray(encode(small()))
    data[place % len(data)] ^= flip
    try:
        program = decode(bytes(data))
    except FormatError:
        return
    assert encode(program) == bytes(data)


@settings(deadline=None)
@given(st.binary(max_size=2000))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        decode(data)


def test_operators_may_share_resident_weights() -> None:
    net = Net("shared")
    x = net.conv(net.conv(net.input(1, 8, 5, 5), 8, 8), 8, 8)
    program = decode(plan(net.case(x).model, None).program())
    assert [record.resident_panels for record in program.ops] == [1, 1]
    shared = op(1, resident_offset=0)(program)
    assert decode(encode(shared)) == shared


def test_a_window_without_an_input_element() -> None:
    net = Net("window")
    x = net.pool("MaxPool", net.input(1, 8, 4, 4), 2, stride=3, ceil_mode=1)
    program = decode(plan(net.case(x).model, None).program())
    assert program.tensors[program.outputs[0]].dims == (1, 2, 2, 8)
    with pytest.raises(FormatError, match="without an input element"):
        encode(op(0, stride=(4, 4), kernel=(1, 1))(program))
    with pytest.raises(FormatError, match="padding"):
        encode(op(0, pads=(2, 0, 0, 0))(program))
