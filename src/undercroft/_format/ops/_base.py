# SPDX-License-Identifier: Apache-2.0
"""What the rules of one operator are made of."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Protocol

from undercroft import _spec
from undercroft._format.program import Dims
from undercroft._spec import Op

__all__ = [
    "PANEL_ROW_BYTES",
    "Expect",
    "OpType",
    "Parameters",
    "Shapes",
    "Views",
    "align",
    "no_panels",
    "no_scratch",
    "per_element",
    "same_shape",
]

PANEL_ROW_BYTES: Final = 4 * _spec.PANEL_CHANNELS
"""Bytes of one weight (or bias) of each channel of a panel."""

# Loads, arithmetic and stores of 4 elements at a time.
_INSTRUCTIONS_PER_ELEMENT: Final = 1.5


class Views(IntEnum):
    """The gaps that an operand may have; a view of a root can have them."""

    DENSE = 0
    """None: every element follows the one before."""
    EVEN = 1
    """The same between any two pixels, as in a slice of channels."""
    ANY = 2
    """Others between rows and between images."""


class Parameters(Protocol):
    """What an operator has beyond its operands: an op record, or an import's."""

    @property
    def flags(self) -> int: ...
    @property
    def alpha(self) -> float: ...
    @property
    def beta(self) -> float: ...
    @property
    def kernel(self) -> tuple[int, int]: ...
    @property
    def stride(self) -> tuple[int, int]: ...
    @property
    def dilation(self) -> tuple[int, int]: ...
    @property
    def pads(self) -> tuple[int, int, int, int]: ...
    @property
    def groups(self) -> int: ...
    @property
    def permutation(self) -> tuple[int, int, int, int]: ...
    @property
    def function(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Shapes:
    """An operator with the dimensions of its tensors, n, h, w, c as stored.

    Attributes:
        op: Its parameters.
        a: Dimensions of input_a, None where there is none.
        b: Dimensions of input_b, None where there is none.
        out: Dimensions of the output.
        panel_bytes: Bytes of a panel where the planner is free to choose them
            (CONSTANT); 0 for the smallest.
        has_gaps: Whether an operand is a view with gaps between its elements.
    """

    op: Parameters
    a: Dims | None
    b: Dims | None
    out: Dims
    panel_bytes: int = 0
    has_gaps: bool = False

    @property
    def input(self) -> Dims:
        """Dimensions of input_a, of an operator that has one."""
        assert self.a is not None  # noqa: S101 (checked before: `OpType.inputs`)
        return self.a

    @property
    def taps(self) -> int:
        """Elements of the kernel."""
        return self.op.kernel[0] * self.op.kernel[1]

    @property
    def elements(self) -> int:
        """Elements of the output."""
        return math.prod(self.out)


Expect = Callable[[bool, str], None]
"""Called with a condition and what is wrong when it does not hold; may raise."""


def align(size: int, to: int = _spec.ARENA_ALIGN_BYTES) -> int:
    """Round up to a multiple."""
    return -(-size // to) * to


def same_shape(s: Shapes, expect: Expect) -> None:
    """The output has the dimensions of input_a."""
    expect(s.a == s.out, f"output {s.out} where {s.a} is needed")


def no_panels(_: Shapes) -> tuple[int, int]:
    """No weights."""
    return 0, 0


def no_scratch(_: Shapes) -> int:
    """No scratch memory."""
    return 0


def no_macs(_: Shapes) -> int:
    """No multiply-accumulates."""
    return 0


def per_element(s: Shapes) -> float:
    """Instructions of a pass over the elements of the output."""
    return s.elements * _INSTRUCTIONS_PER_ELEMENT


@dataclass(frozen=True, slots=True, kw_only=True)
class OpType:
    """The rules of one operator; the counterpart of C's `struct uc_op_type`.

    Attributes:
        code: Its code.
        inputs: How many input tensors it has: 0, 1 or 2. With
            OP_FLAG_SCALAR_OPERAND, where it is allowed, one fewer.
        flags: The flags that it may have.
        functions: The functions that it may have; none where it has but one,
            whose record says 0.
        elementwise: Whether the output may lie over an input of its size.
        input_views: Which gaps the inputs may have.
        output_views: Which gaps the output may have.
        int8_weights: Whether its weights may be stored in 8 bits.
        same_scale: Whether output and input_a have the same scale.
        input_dtype: Element type of its inputs.
        output_dtype: Element type of its output.
        check: States the rules of its shapes and parameters.
        panels: Returns (bytes of a panel, number of panels); (0, 0) for none.
        scratch: Returns the bytes that it needs of the scratch region.
        macs: Returns the multiply-accumulates.
        instructions: Returns the instructions expected of the device, without
            decryption; measured, not derived.
    """

    code: Op
    inputs: int = 1
    flags: int = 0
    functions: frozenset[int] = frozenset()
    elementwise: bool = False
    input_views: Views = Views.DENSE
    output_views: Views = Views.DENSE
    int8_weights: bool = False
    same_scale: bool = False
    input_dtype: int = _spec.DTYPE_F32
    output_dtype: int = _spec.DTYPE_F32
    check: Callable[[Shapes, Expect], None] = same_shape
    panels: Callable[[Shapes], tuple[int, int]] = no_panels
    scratch: Callable[[Shapes], int] = no_scratch
    macs: Callable[[Shapes], int] = no_macs
    instructions: Callable[[Shapes], float] = per_element

    def input_count(self, flags: int) -> int:
        """Return how many input tensors the operator has with these flags."""
        return self.inputs - bool(flags & self.flags & _spec.OP_FLAG_SCALAR_OPERAND)
