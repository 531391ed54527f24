# SPDX-License-Identifier: Apache-2.0
"""Conv: grouped, depthwise, strided, dilated, padded; images and sequences."""

from __future__ import annotations

import numpy as np

from undercroft._format.ops.convolution import MOST_DEPTHWISE_TAPS
from undercroft._import.builder import Builder, Unsupported
from undercroft._import.graph import Attributes
from undercroft._import.layout import NHWC
from undercroft._import.ops._registry import attribute, handler
from undercroft._import.ops._spatial import Spatial, bind_lowered, lifted
from undercroft._import.source import Node
from undercroft._import.weights import ConvWeights, DepthwiseWeights, Weights
from undercroft._spec import Op


@handler("Conv", limits="constant weights; one or two spatial dimensions")
def conv(node: Node, builder: Builder) -> None:
    """CONV_2D, or DEPTHWISE_CONV_2D when every channel is a group of its own."""
    kernel = builder.floats(node.input(1), "weights")
    if kernel.ndim not in (3, 4):
        raise Unsupported(f"weights of shape {kernel.shape}; 1-D and 2-D are supported")
    rank = kernel.ndim
    image = lifted(builder, node.input(0))
    n, cin, height, width = image.shape
    groups = int(attribute(node, "group", 1))
    cout = kernel.shape[0]
    if cin != kernel.shape[1] * groups or cout % groups:
        raise Unsupported(
            f"weights of shape {kernel.shape} in {groups} groups for {cin} channels"
        )
    spatial = Spatial.of(node, kernel.shape[2:], (height, width))
    if rank == 3:
        kernel = kernel[:, :, np.newaxis, :]
    bias = (
        builder.floats(node.input(2), "bias")
        if node.input(2)
        else np.zeros(cout, np.float32)
    )
    depthwise = (
        groups == cin == cout
        and spatial.kernel[0] * spatial.kernel[1] <= MOST_DEPTHWISE_TAPS
        and groups > 1
    )
    weights: Weights = (
        DepthwiseWeights(kernel[:, 0], bias)
        if depthwise
        else ConvWeights(kernel, bias, groups)
    )
    result = builder.emit(
        Op.DEPTHWISE_CONV_2D if depthwise else Op.CONV_2D,
        [image],
        (n, cout, *spatial.output_size((height, width))),
        NHWC,
        attributes=Attributes(
            kernel=spatial.kernel,
            stride=spatial.stride,
            dilation=spatial.dilation,
            pads=spatial.pads,
            groups=groups,
        ),
        weights=weights,
    )
    bind_lowered(builder, node, result, rank)
