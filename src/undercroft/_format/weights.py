# SPDX-License-Identifier: Apache-2.0
"""What the format of an operator's weights changes about its rules.

An operator computes with f32 panels. Those that are stored in less are unpacked
a few at a time, into scratch memory; the engine has the same in
`engine/src/ops/op_weights.c`.
"""

from __future__ import annotations

from undercroft import _spec
from undercroft._format.ops import OpType, Shapes, align

__all__ = ["allows", "int8_panel_bytes", "panels", "scratch_bytes"]


def allows(op_type: OpType, weights_format: int) -> bool:
    """Whether an operator may have weights of this format."""
    return weights_format == _spec.WEIGHTS_F32 or (
        weights_format == _spec.WEIGHTS_INT8 and op_type.int8_weights
    )


def int8_panel_bytes(f32_panel_bytes: int) -> int:
    """Return the bytes of an int8 panel that stands for an f32 panel."""
    lanes = _spec.PANEL_CHANNELS
    rows = f32_panel_bytes // (4 * lanes) - 1
    return align(2 * 4 * lanes + rows * lanes, 32)


def panels(op_type: OpType, s: Shapes, weights_format: int) -> tuple[int, int]:
    """Return `(panel_bytes, panel_count)` of an operator's weights as stored."""
    panel_bytes, panel_count = op_type.panels(s)
    if weights_format == _spec.WEIGHTS_INT8:
        panel_bytes = int8_panel_bytes(panel_bytes)
    return panel_bytes, panel_count


def scratch_bytes(op_type: OpType, s: Shapes, weights_format: int) -> int:
    """Return what an operator needs of the scratch region, to unpack included."""
    size = align(op_type.scratch(s))
    if weights_format != _spec.WEIGHTS_F32:
        panel_bytes, panel_count = op_type.panels(s)
        fit = max(1, _spec.UNPACK_BYTES // panel_bytes)
        size += align(min(fit, panel_count) * panel_bytes)
    return size
