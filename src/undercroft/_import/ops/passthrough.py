# SPDX-License-Identifier: Apache-2.0
"""Identity, Dropout and Cast, where they do nothing at inference."""

from __future__ import annotations

import onnx

from undercroft._import.builder import Builder, Unsupported
from undercroft._import.ops._registry import attribute, handler
from undercroft._import.source import Node


@handler("Cast")
def cast(node: Node, builder: Builder) -> None:
    """To float32, which everything already is."""
    if attribute(node, "to", 0) != onnx.TensorProto.FLOAT:
        raise Unsupported("it casts to another type than float32")
    builder.bind(node.outputs[0], builder.value(node.input(0)))


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
