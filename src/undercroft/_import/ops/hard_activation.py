# SPDX-License-Identifier: Apache-2.0
"""HardSigmoid and HardSwish."""

from __future__ import annotations

import math

from undercroft._import.builder import Builder, Unsupported
from undercroft._import.graph import Attributes
from undercroft._import.ops._registry import attribute, handler
from undercroft._import.source import Node
from undercroft._spec import Op


@handler("HardSigmoid")
def hard_sigmoid(node: Node, builder: Builder) -> None:
    """HARD_SIGMOID."""
    attributes = Attributes(
        alpha=float(attribute(node, "alpha", 0.2)),
        beta=float(attribute(node, "beta", 0.5)),
    )
    if not (math.isfinite(attributes.alpha) and math.isfinite(attributes.beta)):
        raise Unsupported(f"alpha={attributes.alpha}, beta={attributes.beta}")
    _elementwise(node, builder, Op.HARD_SIGMOID, attributes)


@handler("HardSwish")
def hard_swish(node: Node, builder: Builder) -> None:
    """HARD_SWISH."""
    _elementwise(node, builder, Op.HARD_SWISH, Attributes())


def _elementwise(
    node: Node, builder: Builder, code: Op, attributes: Attributes
) -> None:
    value = builder.value(node.input(0))
    result = builder.emit(
        code,
        [value],
        value.shape,
        value.order,
        dims=builder.dims(value),
        attributes=attributes,
    )
    builder.bind(node.outputs[0], result)
