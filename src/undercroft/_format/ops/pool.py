# SPDX-License-Identifier: Apache-2.0
"""MAX_POOL_2D and AVERAGE_POOL_2D."""

from __future__ import annotations

from typing import Final

from undercroft import _spec
from undercroft._format.ops._base import (
    Expect,
    OpType,
    Shapes,
    Views,
    align,
)
from undercroft._format.ops._window import check_window
from undercroft._spec import Op


def check_pool(s: Shapes, expect: Expect) -> None:
    op, a, out = s.op, s.input, s.out
    check_window(s, expect)
    expect((a[0], a[3]) == (out[0], out[3]), "batch or channels change")
    expect(op.dilation == (1, 1), f"dilations of {op.dilation}")
    for axis in (0, 1):
        begin, end = op.pads[axis], op.pads[axis + 2]
        kernel, stride, size = op.kernel[axis], op.stride[axis], a[1 + axis]
        expect(max(begin, end) < kernel, f"padding {op.pads}")
        most = -(-max(0, size + begin + end - kernel) // stride) + 1
        got = out[1 + axis]
        expect(got <= most, f"output size {got}, at most {most}")
        # The last window must start inside the input; the first ends in it
        # because padding is smaller than the kernel.
        expect((got - 1) * stride - begin < size, "a window without an input element")


def _scratch(s: Shapes) -> int:
    c, out_w = s.input[3], s.out[2]
    return (
        align(8 * max(s.taps, 9) * out_w)
        + align(8 * (c + 16))
        + align(4 * c + 64)
        + align(4 * out_w)
    )


def _instructions(s: Shapes) -> float:
    return s.elements * (1.5 + (s.taps - 1) / 4)


OP_TYPES: Final = (
    OpType(
        code=Op.MAX_POOL_2D,
        input_views=Views.ANY,
        output_views=Views.ANY,
        check=check_pool,
        scratch=_scratch,
        instructions=_instructions,
    ),
    OpType(
        code=Op.AVERAGE_POOL_2D,
        flags=_spec.OP_FLAG_COUNT_INCLUDE_PAD,
        input_views=Views.ANY,
        output_views=Views.ANY,
        check=check_pool,
        scratch=_scratch,
        instructions=_instructions,
    ),
)
