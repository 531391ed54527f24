# SPDX-License-Identifier: Apache-2.0
"""MaxPool, AveragePool and GlobalAveragePool."""

from __future__ import annotations

import math
from typing import Final

from undercroft import _spec
from undercroft._import.builder import Builder, Unsupported
from undercroft._import.graph import Attributes
from undercroft._import.layout import NHWC
from undercroft._import.ops._registry import attribute, handler
from undercroft._import.ops._spatial import Spatial, bind_lowered, lifted
from undercroft._import.source import Node
from undercroft._spec import Op

_WINDOW: Final = min(_spec.MAX_KERNEL_SIZE, _spec.MAX_STRIDE)


@handler(
    "MaxPool",
    "AveragePool",
    limits="one or two spatial dimensions; dilations of 1; no output of indices",
)
def pool(node: Node, builder: Builder) -> None:
    """MAX_POOL_2D and AVERAGE_POOL_2D."""
    if any(builder.reader_count(name) for name in node.outputs[1:] if name):
        raise Unsupported("its output Indices is used")
    rank = len(builder.shape(node.input(0)))
    image = lifted(builder, node.input(0))
    n, channels, height, width = image.shape
    size = (height, width)
    kernel = tuple(attribute(node, "kernel_shape", ()))
    average = node.op_type == "AveragePool"
    if average and kernel == size[4 - rank :] and not any(attribute(node, "pads", ())):
        result = builder.emit(
            Op.GLOBAL_AVERAGE_POOL, [image], (n, channels, 1, 1), NHWC
        )
        bind_lowered(builder, node, result, rank)
        return
    spatial = Spatial.of(node, kernel, size)
    if spatial.dilation != (1, 1):
        raise Unsupported(f"dilations {spatial.dilation}")
    top, left, bottom, right = spatial.pads
    if max(top, bottom) >= spatial.kernel[0] or max(left, right) >= spatial.kernel[1]:
        raise Unsupported(f"pads {spatial.pads} as large as the kernel")
    shape = builder.shape(node.outputs[0])
    out = (1, shape[2]) if rank == 3 else (shape[2], shape[3])
    if any(
        (out[axis] - 1) * spatial.stride[axis] - spatial.pads[axis] >= size[axis]
        for axis in (0, 1)
    ):
        raise Unsupported("a window lies wholly in the padding")
    flags = 0
    if average and attribute(node, "count_include_pad", 0):
        # Whether a window that reaches beyond the padding counts what is not
        # there is answered differently by the versions of ONNX.
        if out != spatial.output_size(size):
            raise Unsupported("count_include_pad with windows beyond the padding")
        flags = _spec.OP_FLAG_COUNT_INCLUDE_PAD
    result = builder.emit(
        Op.AVERAGE_POOL_2D if average else Op.MAX_POOL_2D,
        [image],
        (n, channels, *out),
        NHWC,
        attributes=Attributes(
            flags=flags,
            kernel=spatial.kernel,
            stride=spatial.stride,
            dilation=(1, 1),
            pads=spatial.pads,
        ),
    )
    bind_lowered(builder, node, result, rank)


@handler("GlobalAveragePool")
def global_average_pool(node: Node, builder: Builder) -> None:
    """GLOBAL_AVERAGE_POOL over all axes but batch and channels."""
    value = builder.value(node.input(0))
    shape = value.shape
    if len(shape) < 3:
        raise Unsupported(f"its input has shape {shape}")
    image_shape = (shape[0], shape[1], 1, math.prod(shape[2:]))
    if len(shape) == 4:
        image_shape = (shape[0], shape[1], shape[2], shape[3])
    image = builder.nhwc(builder.reshaped(value, image_shape))
    result = builder.emit(Op.GLOBAL_AVERAGE_POOL, [image], (*shape[:2], 1, 1), NHWC)
    ones = (1,) * (len(shape) - 2)
    builder.bind(node.outputs[0], builder.viewed(result, (*shape[:2], *ones)))


@handler("GlobalMaxPool")
def global_max_pool(node: Node, builder: Builder) -> None:
    """MAX_POOL_2D with a window of all; several where it is beyond the largest."""
    value = builder.value(node.input(0))
    shape = value.shape
    if len(shape) < 3:
        raise Unsupported(f"its input has shape {shape}")
    size = (shape[2], math.prod(shape[3:]))
    image = builder.nhwc(builder.reshaped(value, (*shape[:2], *size)))
    while max(size) > 1:
        kernel = (min(size[0], _WINDOW), min(size[1], _WINDOW))
        size = (-(-size[0] // kernel[0]), -(-size[1] // kernel[1]))
        image = builder.emit(
            Op.MAX_POOL_2D,
            [image],
            (*shape[:2], *size),
            NHWC,
            attributes=Attributes(kernel=kernel, stride=kernel, dilation=(1, 1)),
        )
    ones = (1,) * (len(shape) - 2)
    builder.bind(node.outputs[0], builder.viewed(image, (*shape[:2], *ones)))
