# SPDX-License-Identifier: Apache-2.0
"""Identity and Dropout, which do nothing at inference."""

from __future__ import annotations

from undercroft._import.builder import Builder, Unsupported
from undercroft._import.ops._registry import handler
from undercroft._import.source import Node


@handler("Identity", "Dropout")
def passthrough(node: Node, builder: Builder) -> None:
    """The same bytes under another name."""
    if any(builder.reader_count(name) for name in node.outputs[1:] if name):
        raise Unsupported("its mask output is used")
    if node.op_type == "Dropout" and node.input(2):
        training = builder.constant(node.input(2))
        if training is None or bool(training):
            raise Unsupported("it is in training mode")
    builder.bind(node.outputs[0], builder.value(node.input(0)))
