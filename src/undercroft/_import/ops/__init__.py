# SPDX-License-Identifier: Apache-2.0
"""The ONNX operators that can be imported, a file for each or for a family.

A new operator is a new module here with a handler::

    @handler("Relu")
    def relu(node: Node, builder: Builder) -> None: ...

and its name in `_MODULES`. A handler reads its operands from the builder, emits
the engine's operators and binds the node's output, or raises `Unsupported`
with what it cannot take.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from typing import Final

from undercroft._import.ops._registry import Handler, registered

__all__ = ["handlers", "onnx_names"]

_MODULES: Final = (
    "arg_max",
    "batch_norm",
    "binary",
    "clamp",
    "concat",
    "conv",
    "conv_transpose",
    "dense",
    "depth",
    "hard_activation",
    "normalize",
    "passthrough",
    "pool",
    "power",
    "quantised",
    "reduce",
    "reshape",
    "resize",
    "slice",
    "softmax",
    "transpose",
    "unary",
)


def handlers() -> Mapping[str, Handler]:
    """Return the handler of every ONNX operator that can be imported."""
    for module in _MODULES:
        importlib.import_module(f"undercroft._import.ops.{module}")
    return registered()


def onnx_names(names: Iterable[str]) -> list[str]:
    """Return the operators that are ONNX's own, without those of patterns."""
    return sorted(name for name in names if "." not in name)
