# SPDX-License-Identifier: Apache-2.0
"""Gemm and MatMul."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from undercroft import _spec
from undercroft._import import layout
from undercroft._import.builder import Builder, Reshaped, Unsupported, Value
from undercroft._import.graph import Attributes
from undercroft._import.layout import NHWC
from undercroft._import.ops._registry import attribute, handler, refuse_attributes
from undercroft._import.ops.matrix_multiply import product
from undercroft._import.source import Node
from undercroft._import.weights import ConvWeights, DenseWeights
from undercroft._spec import Op

Array = npt.NDArray[np.float32]


@handler("Gemm", limits="constant B and C, C a row; transA=0")
def gemm(node: Node, builder: Builder) -> None:
    """FULLY_CONNECTED; alpha and beta go into weights and bias."""
    refuse_attributes(node, transA=0)
    matrix = builder.floats(node.input(1), "matrix B")
    if attribute(node, "transB", 0):
        matrix = matrix.T
    cout = matrix.shape[1]
    bias = np.zeros(cout, np.float32)
    if node.input(2):
        given = builder.floats(node.input(2), "bias C")
        if given.size not in (1, cout) or (
            given.ndim and given.shape[-1] != given.size
        ):
            raise Unsupported(f"bias C of shape {given.shape} for {cout} columns")
        beta = np.float32(attribute(node, "beta", 1.0))
        bias = np.broadcast_to(given.reshape(-1) * beta, (cout,))
    scale = float(attribute(node, "alpha", 1.0))
    result = dense(builder, node.input(0), matrix, bias, scale)
    builder.bind(node.outputs[0], result)


@handler("MatMul", limits="batches broadcast along at most two runs of axes")
def matmul(node: Node, builder: Builder) -> None:
    """FULLY_CONNECTED over the last axis; of two activations MATRIX_MULTIPLY."""
    constant = builder.constant(node.input(1))
    if constant is None or constant.ndim != 2:
        builder.bind(node.outputs[0], product(builder, node.input(0), node.input(1)))
        return
    matrix = builder.floats(node.input(1), "matrix B")
    bias = np.zeros(matrix.shape[1], np.float32)
    builder.bind(node.outputs[0], dense(builder, node.input(0), matrix, bias))


def dense(
    builder: Builder, name: str, matrix: Array, bias: Array, scale: float = 1.0
) -> Value:
    """Multiply the last axis of a value by a matrix and return the result."""
    deferred = builder.deferred(name)
    if deferred is not None:
        result = _over_image(builder, deferred, matrix, bias, scale)
        if result is not None:
            return result
    value = builder.value(name)
    last = len(value.shape) - 1
    if last < 0 or value.shape[last] != matrix.shape[0]:
        raise Unsupported(f"it multiplies {value.shape} by {matrix.shape}")
    rows = builder.axis_last(value, last)
    dims = builder.dims(rows)
    return builder.emit(
        Op.FULLY_CONNECTED,
        [rows],
        (*value.shape[:last], matrix.shape[1]),
        rows.order,
        dims=(dims[0], dims[1], dims[2], matrix.shape[1]),
        weights=DenseWeights(matrix, bias, scale),
    )


def is_whole_image(builder: Builder, deferred: Reshaped, rows: int) -> bool:
    """Whether a matrix of so many rows multiplies all of a flattened image."""
    image = deferred.source
    flat = (image.shape[0], math.prod(image.shape[1:]))
    return (
        len(image.shape) == 4
        and deferred.shape == flat
        and flat[1] == rows
        and max(image.shape[2:]) <= _spec.MAX_KERNEL_SIZE
        and layout.same_arrangement(image.shape, image.order, NHWC)
        and builder.dims(image) == layout.canonical_dims(image.shape, NHWC)
    )


def _over_image(
    builder: Builder, deferred: Reshaped, matrix: Array, bias: Array, scale: float
) -> Value | None:
    """Multiply a flattened image without flattening it.

    A matrix over all of an image is a convolution whose kernel is as large as
    the image, so the weights are brought into the order of the image instead
    of the image into the order of the weights, at every inference.
    """
    if not is_whole_image(builder, deferred, len(matrix)):
        return None
    image = deferred.source
    n, cin, height, width = image.shape
    cout = matrix.shape[1]
    kernel = matrix.T.reshape(cout, cin, height, width)
    if scale != 1.0:
        kernel = kernel * np.float32(scale)
    result = builder.emit(
        Op.CONV_2D,
        [Value(image.tensor, image.shape, NHWC)],
        (n, cout, 1, 1),
        NHWC,
        attributes=Attributes(
            kernel=(height, width), stride=(1, 1), dilation=(1, 1), groups=1
        ),
        weights=ConvWeights(kernel, bias),
    )
    return builder.viewed(result, (n, cout))


def multiplied(builder: Builder, value: Value, axis: int, matrix: Array) -> Value:
    """Multiply one axis of a value by a constant matrix.

    Args:
        builder: The builder.
        value: Any value.
        axis: Which axis.
        matrix: `(size of the axis, size after)`.
    """
    rows = builder.axis_last(value, axis)
    dims = builder.dims(rows)
    shape = (*value.shape[:axis], matrix.shape[1], *value.shape[axis + 1 :])
    return builder.emit(
        Op.FULLY_CONNECTED,
        [rows],
        shape,
        rows.order,
        dims=(dims[0], dims[1], dims[2], matrix.shape[1]),
        weights=DenseWeights(matrix, np.zeros(matrix.shape[1], np.float32)),
    )
