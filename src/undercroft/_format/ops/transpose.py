# SPDX-License-Identifier: Apache-2.0
"""TRANSPOSE: the four stored axes in another order."""

from __future__ import annotations

from typing import Final

from undercroft._format.ops._base import Expect, OpType, Shapes
from undercroft._spec import Op


def _check(s: Shapes, expect: Expect) -> None:
    permutation = s.op.permutation
    expect(sorted(permutation) == [0, 1, 2, 3], f"permutation {permutation}")
    needed = tuple(s.input[axis] for axis in permutation)
    expect(s.out == needed, f"output {s.out} where {needed} is needed")


OP_TYPES: Final = (OpType(code=Op.TRANSPOSE, check=_check),)
