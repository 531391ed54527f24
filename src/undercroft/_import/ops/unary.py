# SPDX-License-Identifier: Apache-2.0
"""Functions of one value, element by element."""

from __future__ import annotations

import math
from typing import Final

from undercroft import _spec
from undercroft._import.builder import Builder, Unsupported, Value
from undercroft._import.graph import Attributes
from undercroft._import.ops._registry import attribute, handler, refuse_attributes
from undercroft._import.source import Node
from undercroft._spec import Op, UnaryFunction

__all__ = ["unary_result"]

# What is not ONNX's `undercroft._import.patterns` has made.
_PLAIN: Final = {
    "Abs": UnaryFunction.ABS,
    "Ceil": UnaryFunction.CEIL,
    "Erf": UnaryFunction.ERF,
    "Exp": UnaryFunction.EXP,
    "Floor": UnaryFunction.FLOOR,
    "undercroft.GeluTanh": UnaryFunction.GELU_TANH,
    "Log": UnaryFunction.LOG,
    "Mish": UnaryFunction.MISH,
    "Neg": UnaryFunction.NEGATE,
    "Reciprocal": UnaryFunction.RECIPROCAL,
    "Round": UnaryFunction.ROUND,
    "Sigmoid": UnaryFunction.SIGMOID,
    "undercroft.Silu": UnaryFunction.SILU,
    "Softplus": UnaryFunction.SOFTPLUS,
    "Sqrt": UnaryFunction.SQUARE_ROOT,
    "Tanh": UnaryFunction.TANH,
}


def unary_result(
    builder: Builder, value: Value, function: UnaryFunction, alpha: float = 0.0
) -> Value:
    """Emit a function of a value and return its result."""
    if not math.isfinite(alpha):
        raise Unsupported(f"its parameter is {alpha}")
    return builder.emit(
        Op.UNARY,
        [value],
        value.shape,
        value.order,
        dims=builder.dims(value),
        attributes=Attributes(function=function, alpha=alpha),
    )


def scaled(builder: Builder, value: Value, factor: float) -> Value:
    """Emit a product with a constant, where it is not 1."""
    if factor == 1.0:
        return value
    return builder.emit(
        Op.MUL,
        [value],
        value.shape,
        value.order,
        dims=builder.dims(value),
        attributes=Attributes(flags=_spec.OP_FLAG_SCALAR_OPERAND, alpha=factor),
    )


@handler(*_PLAIN)
def plain(node: Node, builder: Builder) -> None:
    """UNARY with a function that has no parameter."""
    result = unary_result(builder, builder.value(node.input(0)), _PLAIN[node.op_type])
    builder.bind(node.outputs[0], result)


@handler("Gelu")
def gelu(node: Node, builder: Builder) -> None:
    """UNARY GELU, or GELU_TANH."""
    kind = attribute(node, "approximate", "none")
    if kind not in {"none", "tanh"}:
        raise Unsupported(f"attribute approximate={kind}")
    function = UnaryFunction.GELU if kind == "none" else UnaryFunction.GELU_TANH
    result = unary_result(builder, builder.value(node.input(0)), function)
    builder.bind(node.outputs[0], result)


@handler("Swish", limits="alpha=1")
def swish(node: Node, builder: Builder) -> None:
    """UNARY SILU."""
    refuse_attributes(node, alpha=1.0)
    value = builder.value(node.input(0))
    builder.bind(node.outputs[0], unary_result(builder, value, UnaryFunction.SILU))


@handler("LeakyRelu")
def leaky_relu(node: Node, builder: Builder) -> None:
    """UNARY LEAKY_RELU."""
    result = unary_result(
        builder,
        builder.value(node.input(0)),
        UnaryFunction.LEAKY_RELU,
        float(attribute(node, "alpha", 0.01)),
    )
    builder.bind(node.outputs[0], result)


@handler("Elu", "Selu")
def elu(node: Node, builder: Builder) -> None:
    """UNARY ELU; for Selu times its gamma."""
    selu = node.op_type == "Selu"
    alpha = float(attribute(node, "alpha", 1.6732632 if selu else 1.0))
    value = builder.value(node.input(0))
    result = unary_result(builder, value, UnaryFunction.ELU, alpha)
    if selu:
        result = scaled(builder, result, float(attribute(node, "gamma", 1.050701)))
    builder.bind(node.outputs[0], result)
