# SPDX-License-Identifier: Apache-2.0
"""Transpose: only the meaning of the axes changes; who needs them moved moves them."""

from __future__ import annotations

from undercroft._import.builder import Builder, Unsupported
from undercroft._import.ops._registry import attribute, handler
from undercroft._import.source import Node


@handler("Transpose")
def transpose(node: Node, builder: Builder) -> None:
    """The same bytes with the axes in another order."""
    value = builder.value(node.input(0))
    default = tuple(reversed(range(len(value.shape))))
    permutation = tuple(attribute(node, "perm", default))
    if sorted(permutation) != sorted(default):
        raise Unsupported(f"perm={permutation} for shape {value.shape}")
    builder.bind(node.outputs[0], builder.transposed(value, permutation))
