# SPDX-License-Identifier: Apache-2.0
"""Import: an ONNX model becomes a small graph of the engine's operators."""

from __future__ import annotations

import os

import onnx

from undercroft._import import layout, patterns, quantised, source
from undercroft._import.builder import Builder, Unsupported
from undercroft._import.graph import Graph
from undercroft._import.ops import handlers, onnx_names
from undercroft._import.source import InputShapes, Source, operator_problem
from undercroft.errors import UnsupportedModelError

__all__ = ["import_model"]


def import_model(
    model: str | os.PathLike[str] | onnx.ModelProto,
    input_shapes: InputShapes | None = None,
) -> Graph:
    """Import a model.

    Args:
        model: An ONNX file, or a model in memory (which is not changed).
        input_shapes: Shapes of the inputs that have dynamic ones, in ONNX
            order.

    Raises:
        NotAModelError: Not ONNX, damaged, incomplete or not valid.
        UnsupportedModelError: Operators, types, attributes or shapes that the
            engine does not have, all of them named.
        ModelError: `input_shapes` does not go with the model.
    """
    known = handlers()
    hint = f"supported, in float32: {', '.join(onnx_names(known))}"
    folded = source.load(model, input_shapes, frozenset(known))
    problems = list(folded.type_problems)
    folded = quantised.fused(patterns.simplified(folded))
    builder = Builder(folded)
    for info in folded.inputs:
        builder.add_input(info.name, info.shape, _input_order(folded, info.name))
    for node in folded.nodes:
        builder.node = node
        try:
            if node.op_type not in known:
                problems.append(operator_problem(node))
                raise Unsupported("named above")
            builder.check_sizes(node)
            known[node.op_type](node, builder)
        except Unsupported as reason:
            if node.op_type in known:
                problems.append(f"{operator_problem(node)}: {reason}")
            for name in filter(None, node.outputs):
                builder.assume(name)
    if problems:
        raise UnsupportedModelError(list(dict.fromkeys(problems)), hint=hint)
    try:
        return builder.graph()
    except Unsupported as reason:
        raise UnsupportedModelError([str(reason)], hint=hint) from reason


def _input_order(folded: Source, name: str) -> layout.Order:
    """Choose how an input lies in memory.

    An image lies as NHWC, unless all that reads it looks at it in ONNX's own
    order, as networks do that come with NHWC inputs and transpose them.
    """
    rank = len(folded.shapes[name])
    readers = [node.op_type for node in folded.nodes if name in node.inputs]
    plain = {"Transpose", "Reshape", "Flatten", "MatMul", "Gemm"}
    if rank == 4 and not set(readers) <= plain:
        return layout.NHWC
    return layout.row_major(rank)
