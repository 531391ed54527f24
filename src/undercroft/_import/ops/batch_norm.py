# SPDX-License-Identifier: Apache-2.0
"""BatchNormalization that could not be folded into a convolution."""

from __future__ import annotations

import numpy as np

from undercroft._import.builder import Builder, Unsupported
from undercroft._import.graph import Attributes
from undercroft._import.layout import NHWC
from undercroft._import.ops._registry import attribute, handler, refuse_attributes
from undercroft._import.source import Node
from undercroft._import.weights import DepthwiseWeights
from undercroft._spec import Op


@handler(
    "BatchNormalization",
    limits="constant parameters; inference only; rank 2 to 4",
)
def batch_normalization(node: Node, builder: Builder) -> None:
    """A factor and an addend for each channel: a depthwise 1x1 convolution."""
    refuse_attributes(node, training_mode=0, spatial=1)
    if any(node.outputs[1:]):
        raise Unsupported("its training outputs are used")
    names = ("scale", "bias", "mean", "variance")
    scale, bias, mean, variance = (
        builder.floats(node.input(1 + index), name).astype(np.float64)
        for index, name in enumerate(names)
    )
    variance += attribute(node, "epsilon", 1e-5)
    if not (variance > 0).all():
        raise Unsupported("its variance is not positive")
    factor = scale / np.sqrt(variance)
    addend = bias - mean * factor

    value = builder.value(node.input(0))
    shape = value.shape
    if not 2 <= len(shape) <= 4:
        raise Unsupported(f"its input has shape {shape}; rank 2 to 4 is supported")
    image_shape = (*shape, 1, 1) if len(shape) == 2 else shape
    if len(shape) == 3:
        image_shape = (shape[0], shape[1], 1, shape[2])
    image = builder.nhwc(builder.viewed(value, image_shape))
    result = builder.emit(
        Op.DEPTHWISE_CONV_2D,
        [image],
        image_shape,
        NHWC,
        attributes=Attributes(
            kernel=(1, 1), stride=(1, 1), dilation=(1, 1), groups=shape[1]
        ),
        weights=DepthwiseWeights(
            factor.astype(np.float32).reshape(-1, 1, 1), addend.astype(np.float32)
        ),
    )
    builder.bind(node.outputs[0], builder.viewed(result, shape))
