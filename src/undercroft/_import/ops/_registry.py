# SPDX-License-Identifier: Apache-2.0
"""Which handler imports which ONNX operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from undercroft._import.builder import Builder, Unsupported
from undercroft._import.source import Node

__all__ = [
    "Handler",
    "attribute",
    "handler",
    "limits_of",
    "refuse_attributes",
    "registered",
]

Handler = Callable[[Node, Builder], None]

_HANDLERS: Final[dict[str, Handler]] = {}
_LIMITS: Final[dict[str, str]] = {}


def handler(*op_types: str, limits: str = "") -> Callable[[Handler], Handler]:
    """Register a function as the handler of these operators.

    Args:
        op_types: ONNX's names of them.
        limits: What of ONNX's definition it does not take, for the documentation
            (`docs/operators.md`), as the function's first line is.
    """

    def register(function: Handler) -> Handler:
        for op_type in op_types:
            _HANDLERS[op_type] = function
            _LIMITS[op_type] = limits
        return function

    return register


def registered() -> Mapping[str, Handler]:
    """Return what has been registered so far."""
    return MappingProxyType(_HANDLERS)


def limits_of(op_type: str) -> str:
    """Return what is not taken of an operator, empty for nothing."""
    return _LIMITS.get(op_type, "")


def attribute(node: Node, name: str, default: Any) -> Any:  # noqa: ANN401 as in ONNX
    """Return an attribute's value, or ONNX's default for it."""
    return node.attributes.get(name, default)


def refuse_attributes(node: Node, **allowed: object) -> None:
    """Refuse attributes with another value than the one given.

    Raises:
        Unsupported: Naming attribute and value.
    """
    for name, value in allowed.items():
        got = attribute(node, name, value)
        if got != value:
            raise Unsupported(f"attribute {name}={got}")
