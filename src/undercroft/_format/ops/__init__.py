# SPDX-License-Identifier: Apache-2.0
"""The rules of every operator of a program, a file for each or for a family.

A new operator is its code in `spec/constants.toml`, a module here that defines
`OP_TYPES`, and the module's row in `_MODULES`; the engine has the same as C in
`engine/src/ops/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from undercroft._format.ops import (
    arg_max,
    binary,
    clamp,
    constant,
    convolution,
    fully_connected,
    gather,
    global_pool,
    hard_activation,
    local_response_norm,
    matrix_multiply,
    normalize,
    pool,
    quantised,
    reduce,
    resize,
    softmax,
    transpose,
    unary,
)
from undercroft._format.ops._base import OpType, Shapes, Views, align
from undercroft._spec import Op

__all__ = ["OPS", "OpType", "Shapes", "Views", "align"]

_MODULES: Final = (
    arg_max,
    binary,
    clamp,
    constant,
    convolution,
    fully_connected,
    gather,
    global_pool,
    hard_activation,
    local_response_norm,
    matrix_multiply,
    normalize,
    pool,
    quantised,
    reduce,
    resize,
    softmax,
    transpose,
    unary,
)

OPS: Final[Mapping[Op, OpType]] = MappingProxyType(
    {op_type.code: op_type for module in _MODULES for op_type in module.OP_TYPES}
)
"""The operators that a program can have, by code."""
