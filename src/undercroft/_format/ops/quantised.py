# SPDX-License-Identifier: Apache-2.0
"""The operators on 8-bit activations, and those to and from them."""

from __future__ import annotations

from typing import Final

from undercroft import _spec
from undercroft._format.ops._base import Expect, OpType, Shapes, align, same_shape
from undercroft._format.ops.convolution import check_convolution
from undercroft._format.ops.pool import check_pool
from undercroft._spec import Op

__all__ = ["OP_TYPES", "blocks"]

_BLOCK: Final = 4
_LANES: Final = _spec.PANEL_CHANNELS
_TILE_ROWS: Final = 8
_MOST_TAPS: Final = 25
# Counted in user-mode emulation, with dot products: 8 to 11; without: 3 to 4.
_MACS_PER_INSTRUCTION: Final = 6.0
_DEPTHWISE_MACS_PER_INSTRUCTION: Final = 1.4


def blocks(taps: int, channels: int) -> int:
    """Return the blocks of 4 weights that a window of so many has."""
    return -(-taps * channels // _BLOCK)


def _group_channels(s: Shapes) -> int:
    return s.input[3] // s.op.groups


def _panels(s: Shapes) -> tuple[int, int]:
    size = 64 + blocks(s.taps, _group_channels(s)) * _LANES * _BLOCK
    return size, s.op.groups * -(-(s.out[3] // s.op.groups) // _LANES)


def _scratch(s: Shapes) -> int:
    channels = _group_channels(s)
    size = align(8 * _TILE_ROWS * s.taps) + align(channels + 64)
    if channels % _BLOCK or (channels <= 8 and s.taps > 1):
        size += align(_TILE_ROWS * _BLOCK * blocks(s.taps, channels))
    return size


def _macs(s: Shapes) -> int:
    return s.elements * s.taps * s.input[3] // s.op.groups


def _check_depthwise(s: Shapes, expect: Expect) -> None:
    channels = s.input[3]
    expect(s.op.groups == channels == s.out[3], f"{s.op.groups} groups")
    expect(s.taps <= _MOST_TAPS, f"a kernel of {s.op.kernel}")
    check_convolution(s, expect)


def _depthwise_panels(s: Shapes) -> tuple[int, int]:
    return align(64 + s.taps * _LANES, 32), -(-s.out[3] // _LANES)


def _depthwise_scratch(s: Shapes) -> int:
    return align(8 * s.taps * s.out[2]) + align(s.input[3] + 64)


def _check_same_size(s: Shapes, expect: Expect) -> None:
    a = s.input
    expect(a[0] * a[1] * a[2] * a[3] == s.elements, f"output {s.out} of another size")


def _check_binary(s: Shapes, expect: Expect) -> None:
    expect(s.a == s.out, f"output {s.out} where {s.a} is needed")
    row = (s.out[0], 1, 1, s.out[3])
    expect(s.b in (s.out, row), f"a second input {s.b}")


OP_TYPES: Final = (
    OpType(
        code=Op.QUANTIZE,
        output_dtype=_spec.DTYPE_S8,
        check=same_shape,
        instructions=lambda s: s.elements * 4.0,
    ),
    OpType(
        code=Op.DEQUANTIZE,
        input_dtype=_spec.DTYPE_S8,
        check=same_shape,
        instructions=lambda s: s.elements * 2.0,
    ),
    OpType(
        code=Op.LOOKUP_S8,
        input_dtype=_spec.DTYPE_S8,
        output_dtype=_spec.DTYPE_S8,
        check=_check_same_size,
        panels=lambda _: (256, 1),
        instructions=lambda s: s.elements * 4.0,
    ),
    OpType(
        code=Op.CONV_2D_S8,
        input_dtype=_spec.DTYPE_S8,
        output_dtype=_spec.DTYPE_S8,
        check=check_convolution,
        panels=_panels,
        scratch=_scratch,
        macs=_macs,
        instructions=lambda s: _macs(s) / _MACS_PER_INSTRUCTION,
    ),
    OpType(
        code=Op.DEPTHWISE_CONV_2D_S8,
        input_dtype=_spec.DTYPE_S8,
        output_dtype=_spec.DTYPE_S8,
        check=_check_depthwise,
        panels=_depthwise_panels,
        scratch=_depthwise_scratch,
        macs=lambda s: s.elements * s.taps,
        instructions=lambda s: s.elements * s.taps / _DEPTHWISE_MACS_PER_INSTRUCTION,
    ),
    *(
        OpType(
            code=code,
            inputs=2,
            input_dtype=_spec.DTYPE_S8,
            output_dtype=_spec.DTYPE_S8,
            check=_check_binary,
            instructions=lambda s: s.elements * 5.0,
        )
        for code in (Op.ADD_S8, Op.MUL_S8)
    ),
    OpType(
        code=Op.MAX_POOL_2D_S8,
        input_dtype=_spec.DTYPE_S8,
        output_dtype=_spec.DTYPE_S8,
        same_scale=True,
        check=check_pool,
        instructions=lambda s: s.elements * s.taps / 2,
    ),
    OpType(
        code=Op.AVERAGE_POOL_2D_S8,
        flags=_spec.OP_FLAG_COUNT_INCLUDE_PAD,
        input_dtype=_spec.DTYPE_S8,
        output_dtype=_spec.DTYPE_S8,
        check=check_pool,
        scratch=lambda s: align(4 * s.input[3]),
        instructions=lambda s: s.elements * s.taps,
    ),
)
