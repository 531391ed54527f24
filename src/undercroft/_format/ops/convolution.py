# SPDX-License-Identifier: Apache-2.0
"""CONV_2D and DEPTHWISE_CONV_2D."""

from __future__ import annotations

from typing import Final

from undercroft import _spec
from undercroft._format.ops._base import (
    PANEL_ROW_BYTES,
    Expect,
    OpType,
    Shapes,
    Views,
    align,
)
from undercroft._format.ops._window import check_window
from undercroft._spec import Op

_DEPTHWISE_SLOTS: Final = (3, 4, 9, 25, 49)
MOST_DEPTHWISE_TAPS: Final = _DEPTHWISE_SLOTS[-1]
# Multiply-accumulates an instruction, of the kernels with 4-lane fused
# multiply-add, counted in user-mode emulation over all layers of a network
# (benchmarks/results/operators-arm64.json): 3.2 to 3.4 in the mobile networks, 3.5
# in ResNets and VGG-16.
MACS_PER_INSTRUCTION: Final = 3.3
# The same: 2.1 to 2.3.
_DEPTHWISE_MACS_PER_INSTRUCTION: Final = 2.2


def depthwise_slots(taps: int) -> int:
    """Return how many weight slots a depthwise kernel of so many taps has."""
    return next(slots for slots in _DEPTHWISE_SLOTS if taps <= slots)


def check_convolution(s: Shapes, expect: Expect) -> None:
    op, a, out = s.op, s.input, s.out
    check_window(s, expect)
    expect(a[0] == out[0], "the batch changes")
    expect(
        op.groups >= 1 and a[3] % op.groups == 0 and out[3] % op.groups == 0,
        f"{op.groups} groups for {a[3]} and {out[3]} channels",
    )
    for axis in (0, 1):
        reach = op.dilation[axis] * (op.kernel[axis] - 1) + 1
        room = a[1 + axis] + op.pads[axis] + op.pads[axis + 2] - reach
        size = room // op.stride[axis] + 1
        expect(
            room >= 0 and out[1 + axis] == size,
            f"output size {out[1 + axis]} where {size} is needed",
        )


def _check_depthwise(s: Shapes, expect: Expect) -> None:
    groups, channels = s.op.groups, s.input[3]
    expect(groups == channels == s.out[3], f"{groups} groups for {channels} channels")
    expect(s.taps <= MOST_DEPTHWISE_TAPS, f"a kernel of {s.op.kernel}")
    check_convolution(s, expect)


def _panels(s: Shapes) -> tuple[int, int]:
    cin_g, cout_g = s.input[3] // s.op.groups, s.out[3] // s.op.groups
    blocks = -(-cout_g // _spec.PANEL_CHANNELS)
    return PANEL_ROW_BYTES * (1 + s.taps * cin_g), s.op.groups * blocks


def _depthwise_panels(s: Shapes) -> tuple[int, int]:
    size = PANEL_ROW_BYTES * (1 + depthwise_slots(s.taps))
    return size, -(-s.out[3] // _spec.PANEL_CHANNELS)


def _scratch(s: Shapes) -> int:
    cin_g = s.input[3] // s.op.groups
    size = align(8 * 8 * s.taps) + align(4 * cin_g + 64)
    if cin_g <= 8:
        size += align(8 * 4 * (s.taps * cin_g + 4) + 64)
    return size


def _depthwise_scratch(s: Shapes) -> int:
    slots = depthwise_slots(s.taps)
    return align(8 * slots * s.out[2]) + align(4 * s.input[3] + 64)


def _macs(s: Shapes) -> int:
    return s.elements * s.taps * s.input[3] // s.op.groups


def _depthwise_macs(s: Shapes) -> int:
    return s.elements * s.taps


OP_TYPES: Final = (
    OpType(
        code=Op.CONV_2D,
        input_views=Views.ANY,
        output_views=Views.EVEN,
        int8_weights=True,
        check=check_convolution,
        panels=_panels,
        scratch=_scratch,
        macs=_macs,
        instructions=lambda s: _macs(s) / MACS_PER_INSTRUCTION,
    ),
    OpType(
        code=Op.DEPTHWISE_CONV_2D,
        input_views=Views.ANY,
        output_views=Views.ANY,
        int8_weights=True,
        check=_check_depthwise,
        panels=_depthwise_panels,
        scratch=_depthwise_scratch,
        macs=_depthwise_macs,
        instructions=lambda s: _depthwise_macs(s) / _DEPTHWISE_MACS_PER_INSTRUCTION,
    ),
)
