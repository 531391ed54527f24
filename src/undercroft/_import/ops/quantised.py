# SPDX-License-Identifier: Apache-2.0
"""QuantizeLinear, DequantizeLinear, and the operators on 8-bit activations.

The latter are the nodes that `undercroft._import.quantised` puts together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from undercroft import _spec
from undercroft._format.program import Quantisation
from undercroft._import import layout
from undercroft._import.builder import Builder, Unsupported, Value
from undercroft._import.graph import Attributes
from undercroft._import.layout import NHWC
from undercroft._import.ops._registry import attribute, handler
from undercroft._import.ops._spatial import Spatial, bind_lowered, lifted
from undercroft._import.ops.dense import is_whole_image
from undercroft._import.quantised import DOMAIN, scale_and_zero
from undercroft._import.source import Node
from undercroft._import.weights import Weights
from undercroft._import.weights_s8 import (
    ConvS8Weights,
    DepthwiseS8Weights,
    LookupTable,
)
from undercroft._spec import Op

Array = npt.NDArray[np.float32]

_LOW: Final = -128
_HIGH: Final = 127
_MOST_DEPTHWISE_TAPS: Final = 25


@handler("QuantizeLinear")
def quantize(node: Node, builder: Builder) -> None:
    """QUANTIZE, with one scale."""
    value = builder.value(node.input(0))
    quantisation = _quantisation(node, builder)
    builder.bind(node.outputs[0], builder.quantised(value, quantisation))


@handler("DequantizeLinear")
def dequantize(node: Node, builder: Builder) -> None:
    """DEQUANTIZE, with one scale."""
    _quantisation(node, builder)
    value = builder.value(node.input(0))
    builder.bind(node.outputs[0], builder.dequantised(value))


def _quantisation(node: Node, builder: Builder) -> Quantisation:
    found = scale_and_zero(
        builder.constant(node.input(1)),
        builder.constant(node.input(2)) if node.input(2) else np.uint8(0),
    )
    if found is None:
        raise Unsupported("its scale is not one number, or its type not of 8 bits")
    return found


@handler(f"{DOMAIN}.Conv")
def conv(node: Node, builder: Builder) -> None:
    """CONV_2D_S8 or DEPTHWISE_CONV_2D_S8."""
    kernel = node.attributes["integers"]
    rank = kernel.ndim
    image = lifted(builder, node.input(0))
    n, cin, height, width = image.shape
    groups = int(attribute(node, "group", 1))
    cout = kernel.shape[0]
    spatial = Spatial.of(node, kernel.shape[2:], (height, width))
    if rank == 3:
        kernel = kernel[:, :, np.newaxis, :]
    bias, multiplier = _sums(node, kernel.reshape(cout, -1))
    depthwise = (
        groups == cin == cout
        and groups > 1
        and math.prod(spatial.kernel) <= _MOST_DEPTHWISE_TAPS
    )
    weights: Weights = (
        DepthwiseS8Weights(kernel[:, 0], bias, multiplier)
        if depthwise
        else ConvS8Weights(kernel, bias, multiplier, groups)
    )
    result = builder.emit(
        Op.DEPTHWISE_CONV_2D_S8 if depthwise else Op.CONV_2D_S8,
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
        clamp=_bounds(node),
        weights=weights,
        quantisation=node.attributes["quant_out"],
    )
    bind_lowered(builder, node, result, rank)


@handler(f"{DOMAIN}.Gemm", f"{DOMAIN}.MatMul")
def dense(node: Node, builder: Builder) -> None:
    """CONV_2D_S8 of one tap: a matrix over the last axis.

    A matrix over all of an image is a convolution as large as the image, so that
    nothing moves but the provider's weights.
    """
    matrix = node.attributes["integers"]
    deferred = builder.deferred(node.input(0))
    if deferred is not None and is_whole_image(builder, deferred, matrix.shape[1]):
        shape = deferred.source.shape
        kernel = matrix.reshape(len(matrix), *shape[1:])
        image = Value(deferred.source.tensor, shape, NHWC)
        bias, multiplier = _sums(node, matrix)
        result = builder.emit(
            Op.CONV_2D_S8,
            [image],
            (shape[0], len(matrix), 1, 1),
            NHWC,
            attributes=Attributes(
                kernel=(shape[2], shape[3]), stride=(1, 1), dilation=(1, 1), groups=1
            ),
            clamp=_bounds(node),
            weights=ConvS8Weights(kernel, bias, multiplier),
            quantisation=node.attributes["quant_out"],
        )
        result = builder.viewed(result, (shape[0], len(matrix)))
        builder.bind(node.outputs[0], result)
        return
    value = builder.value(node.input(0))
    last = len(value.shape) - 1
    if last < 0 or value.shape[last] != matrix.shape[1]:
        raise Unsupported(f"it multiplies {value.shape} by {matrix.T.shape}")
    rows = builder.axis_last(value, last)
    dims = builder.dims(rows)
    bias, multiplier = _sums(node, matrix)
    result = builder.emit(
        Op.CONV_2D_S8,
        [rows],
        (*value.shape[:last], len(matrix)),
        rows.order,
        dims=(dims[0], dims[1], dims[2], len(matrix)),
        attributes=Attributes(kernel=(1, 1), stride=(1, 1), dilation=(1, 1), groups=1),
        clamp=_bounds(node),
        weights=ConvS8Weights(matrix[:, :, np.newaxis, np.newaxis], bias, multiplier),
        quantisation=node.attributes["quant_out"],
    )
    builder.bind(node.outputs[0], result)


def _sums(
    node: Node, rows: npt.NDArray[np.int8]
) -> tuple[npt.NDArray[np.int32], Array]:
    """Return biases, the zero point taken off, and multipliers of the rows."""
    given, target = node.attributes["quant_in"], node.attributes["quant_out"]
    scale = np.float32(given.scale) * node.attributes["scale"].astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        bias = np.rint(node.attributes["bias"] / scale.astype(np.float64))
    bias = bias - given.zero * rows.astype(np.int64).sum(axis=1)
    if not (np.abs(bias) < 2**31).all():
        raise Unsupported("its biases do not fit 32 bits")
    return bias.astype(np.int32), (scale / np.float32(target.scale)).astype(np.float32)


def _bounds(node: Node) -> tuple[float, float]:
    """Return the node's bounds in integers of its output."""
    quantisation = node.attributes["quant_out"]
    low, high = (
        min(max(bound / quantisation.scale, -1e6), 1e6)
        for bound in node.attributes["clamp"]
    )
    return (
        float(min(max(round(low) + quantisation.zero, _LOW), _HIGH)),
        float(min(max(round(high) + quantisation.zero, _LOW), _HIGH)),
    )


@handler(f"{DOMAIN}.Add", f"{DOMAIN}.Mul")
def binary(node: Node, builder: Builder) -> None:
    """ADD_S8 and MUL_S8; of equal shapes, or with one row of channels."""
    first, second = (builder.value(name) for name in node.inputs)
    if math.prod(first.shape) < math.prod(second.shape):
        first, second = second, first
    if first.shape == second.shape:
        second = builder.arranged(second, first.order, builder.dims(first))
    else:
        first, second = builder.nhwc(first), builder.nhwc(second)
    result = builder.emit(
        Op.ADD_S8 if node.op_type == f"{DOMAIN}.Add" else Op.MUL_S8,
        [first, second],
        first.shape,
        first.order,
        dims=builder.dims(first),
        clamp=_bounds(node),
        quantisation=node.attributes["quant_out"],
    )
    builder.bind(node.outputs[0], result)


@handler(f"{DOMAIN}.MaxPool", f"{DOMAIN}.AveragePool")
def pool(node: Node, builder: Builder) -> None:
    """MAX_POOL_2D_S8 and AVERAGE_POOL_2D_S8."""
    image = builder.nhwc(builder.value(node.input(0)))
    size = (image.shape[2], image.shape[3])
    spatial = Spatial.of(node, tuple(attribute(node, "kernel_shape", ())), size)
    out = builder.shape(node.outputs[0])[2:]
    flags = 0
    if attribute(node, "count_include_pad", 0):
        if out != spatial.output_size(size):
            raise Unsupported("count_include_pad with windows beyond the padding")
        flags = _spec.OP_FLAG_COUNT_INCLUDE_PAD
    _pool(
        node,
        builder,
        image,
        out,
        Attributes(
            flags=flags,
            kernel=spatial.kernel,
            stride=spatial.stride,
            dilation=(1, 1),
            pads=spatial.pads,
        ),
    )


@handler(f"{DOMAIN}.GlobalAveragePool")
def global_average_pool(node: Node, builder: Builder) -> None:
    """AVERAGE_POOL_2D_S8 over the whole image."""
    image = builder.nhwc(builder.value(node.input(0)))
    _pool(
        node,
        builder,
        image,
        (1, 1),
        Attributes(
            kernel=(image.shape[2], image.shape[3]), stride=(1, 1), dilation=(1, 1)
        ),
    )


def _pool(
    node: Node,
    builder: Builder,
    image: Value,
    size: tuple[int, ...],
    attributes: Attributes,
) -> None:
    largest = node.op_type == f"{DOMAIN}.MaxPool"
    result = builder.emit(
        Op.MAX_POOL_2D_S8 if largest else Op.AVERAGE_POOL_2D_S8,
        [image],
        (*image.shape[:2], *size),
        NHWC,
        attributes=attributes,
        clamp=(_LOW, _HIGH),
        quantisation=node.attributes["quant_out"],
    )
    builder.bind(node.outputs[0], result)


@handler(
    *(f"{DOMAIN}.{name}" for name in ("Flatten", "Reshape", "Squeeze", "Unsqueeze"))
)
def move(node: Node, builder: Builder) -> None:
    """Another shape of the same integers."""
    value = builder.value(node.input(0))
    shape = builder.shape(node.outputs[0])
    if layout.reshaped_order(value.shape, value.order, shape) is None:
        builder.defer(node.outputs[0], value, shape)
    else:
        builder.bind(node.outputs[0], builder.viewed(value, shape))


def _hard_sigmoid(x: Array, alpha: float, beta: float) -> Array:
    ramp: Array = np.clip(np.float32(alpha) * x + np.float32(beta), 0, 1)
    return ramp


def _with_scalar(function: np.ufunc, x: Array, node: Node) -> npt.NDArray[Any]:
    number, is_first = node.attributes["scalar"]
    operands = (np.float32(number), x) if is_first else (x, np.float32(number))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        result: npt.NDArray[Any] = np.nan_to_num(function(*operands))
    return result


_FUNCTIONS: Final[Mapping[str, Callable[[Array, Node], npt.NDArray[Any]]]] = {
    "Identity": lambda x, node: x,
    "Relu": lambda x, node: np.clip(x, *node.attributes["limits"]),
    "Clip": lambda x, node: np.clip(x, *node.attributes["limits"]),
    "Elu": lambda x, node: np.where(
        x < 0, np.float32(attribute(node, "alpha", 1.0)) * np.expm1(np.minimum(x, 0)), x
    ),
    "HardSigmoid": lambda x, node: _hard_sigmoid(
        x, attribute(node, "alpha", 0.2), attribute(node, "beta", 0.5)
    ),
    "HardSwish": lambda x, node: x * _hard_sigmoid(x, 1 / 6, 0.5),
    "LeakyRelu": lambda x, node: np.where(
        x < 0, np.float32(attribute(node, "alpha", 0.01)) * x, x
    ),
    "Sigmoid": lambda x, node: 1 / (1 + np.exp(-x.astype(np.float64))),
    "Tanh": lambda x, node: np.tanh(x),
    "AddScalar": lambda x, node: _with_scalar(np.add, x, node),
    "DivScalar": lambda x, node: _with_scalar(np.divide, x, node),
    "MulScalar": lambda x, node: _with_scalar(np.multiply, x, node),
    "SubScalar": lambda x, node: _with_scalar(np.subtract, x, node),
}


@handler(*(f"{DOMAIN}.{name}" for name in _FUNCTIONS))
def lookup(node: Node, builder: Builder) -> None:
    """LOOKUP_S8: what any function of one element makes of 256 integers."""
    given, target = node.attributes["quant_in"], node.attributes["quant_out"]
    integers = np.arange(256).astype(np.uint8).view(np.int8)
    real = (integers.astype(np.float32) - given.zero) * np.float32(given.scale)
    result = _FUNCTIONS[node.op_type.removeprefix(f"{DOMAIN}.")](real, node)
    stored = np.rint(result.astype(np.float32) / np.float32(target.scale)) + target.zero
    value = builder.value(node.input(0))
    emitted = builder.emit(
        Op.LOOKUP_S8,
        [value],
        value.shape,
        value.order,
        dims=builder.dims(value),
        clamp=(_LOW, _HIGH),
        weights=LookupTable(np.clip(stored, _LOW, _HIGH).astype(np.int8)),
        quantisation=target,
    )
    builder.bind(node.outputs[0], emitted)
