# SPDX-License-Identifier: Apache-2.0
"""SOFTMAX over c."""

from __future__ import annotations

from typing import Final

from undercroft import _spec
from undercroft._format.ops._base import (
    OpType,
    Views,
)
from undercroft._spec import Op

OP_TYPES: Final = (
    OpType(
        code=Op.SOFTMAX,
        functions=frozenset({_spec.SOFTMAX_PLAIN, _spec.SOFTMAX_LOG}),
        elementwise=True,
        input_views=Views.EVEN,
        output_views=Views.EVEN,
    ),
)
