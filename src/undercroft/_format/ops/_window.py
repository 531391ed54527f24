# SPDX-License-Identifier: Apache-2.0
"""Windows over rows and columns: what convolution and pooling share."""

from __future__ import annotations

from undercroft import _spec
from undercroft._format.ops._base import Expect, Shapes

__all__ = ["check_window"]


def check_window(s: Shapes, expect: Expect) -> None:
    """Kernel, strides and dilations are within the limits."""
    op = s.op
    expect(
        all(1 <= size <= _spec.MAX_KERNEL_SIZE for size in op.kernel),
        f"a kernel of {op.kernel}",
    )
    expect(
        all(1 <= stride <= _spec.MAX_STRIDE for stride in op.stride),
        f"strides of {op.stride}",
    )
    expect(
        all(dilation >= 1 for dilation in op.dilation),
        f"dilations of {op.dilation}",
    )
