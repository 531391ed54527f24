# SPDX-License-Identifier: Apache-2.0
"""LayerNormalization, InstanceNormalization and LRN."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from undercroft._import.builder import Builder, Unsupported, Value
from undercroft._import.graph import Attributes
from undercroft._import.layout import NHWC
from undercroft._import.ops._registry import attribute, handler, refuse_attributes
from undercroft._import.ops.unary import scaled
from undercroft._import.source import Node
from undercroft._import.weights import NormalizeWeights
from undercroft._spec import NormalizeFunction, Op

Array = npt.NDArray[np.float32]


@handler(
    "LayerNormalization", limits="constant scale and bias; one output; stash_type=1"
)
def layer_normalization(node: Node, builder: Builder) -> None:
    """NORMALIZE over the last axes, brought to c."""
    refuse_attributes(node, stash_type=1)
    if any(builder.reader_count(name) for name in node.outputs[1:] if name):
        raise Unsupported("its output Mean or InvStdDev is used")
    value = builder.value(node.input(0))
    rank = len(value.shape)
    axis = int(attribute(node, "axis", -1)) % rank
    inner = value.shape[axis:]
    if axis == rank - 1:
        rows = builder.axis_last(value, axis)
    else:
        outer = tuple(one for one in value.order if one < axis)
        size = math.prod(inner)
        rest = math.prod(value.shape) // size
        order = (*outer, *range(axis, rank))
        rows = builder.arranged(value, order, (1, 1, rest, size))
    result = _normalized(
        builder,
        rows,
        NormalizeFunction.ROWS,
        float(attribute(node, "epsilon", 1e-5)),
        _affine(builder, node, inner),
    )
    builder.bind(node.outputs[0], result)


def _affine(builder: Builder, node: Node, shape: tuple[int, ...]) -> list[Array]:
    found = []
    for index, what in ((1, "scale"), (2, "bias")):
        if node.input(index):
            array = builder.floats(node.input(index), what)
        else:
            array = np.array(float(index == 1), np.float32)
        try:
            found.append(np.broadcast_to(array, shape).reshape(-1))
        except ValueError as error:
            raise Unsupported(f"{what} of shape {array.shape} for {shape}") from error
    return found


def _normalized(
    builder: Builder,
    value: Value,
    function: NormalizeFunction,
    epsilon: float,
    affine: list[Array],
) -> Value:
    if not (math.isfinite(epsilon) and epsilon >= 0):
        raise Unsupported(f"attribute epsilon={epsilon}")
    return builder.emit(
        Op.NORMALIZE,
        [value],
        value.shape,
        value.order,
        dims=builder.dims(value),
        attributes=Attributes(function=function, alpha=epsilon),
        weights=NormalizeWeights(affine[0], affine[1]),
    )


@handler("InstanceNormalization", limits="constant scale and bias")
def instance_normalization(node: Node, builder: Builder) -> None:
    """NORMALIZE of every channel over all axes but batch and channels."""
    value = builder.value(node.input(0))
    shape = value.shape
    if len(shape) < 3:
        raise Unsupported(f"its input has shape {shape}")
    image_shape = (shape[0], shape[1], 1, math.prod(shape[2:]))
    if len(shape) == 4:
        image_shape = (shape[0], shape[1], shape[2], shape[3])
    image = builder.nhwc(builder.reshaped(value, image_shape))
    result = _normalized(
        builder,
        image,
        NormalizeFunction.CHANNELS,
        float(attribute(node, "epsilon", 1e-5)),
        _affine(builder, node, shape[1:2]),
    )
    builder.bind(node.outputs[0], builder.reshaped(result, shape))


@handler("LRN", limits="rank 3 or 4; alpha not negative, bias positive")
def local_response_norm(node: Node, builder: Builder) -> None:
    """LOCAL_RESPONSE_NORM; a bias other than 1 is taken out as a factor."""
    value = builder.value(node.input(0))
    shape = value.shape
    if len(shape) not in {3, 4}:
        raise Unsupported(f"its input has shape {shape}; rank 3 or 4 is supported")
    image_shape = shape if len(shape) == 4 else (shape[0], shape[1], 1, shape[2])
    image = builder.nhwc(builder.viewed(value, image_shape))
    size = int(attribute(node, "size", 1))
    alpha = float(attribute(node, "alpha", 1e-4))
    beta = float(attribute(node, "beta", 0.75))
    bias = float(attribute(node, "bias", 1.0))
    if not (bias > 0 and alpha >= 0 and all(map(math.isfinite, (alpha, beta, bias)))):
        raise Unsupported(f"alpha={alpha}, beta={beta}, bias={bias}")
    result = builder.emit(
        Op.LOCAL_RESPONSE_NORM,
        [image],
        image_shape,
        NHWC,
        dims=builder.dims(image),
        attributes=Attributes(kernel=(1, size), alpha=alpha / (size * bias), beta=beta),
    )
    result = scaled(builder, result, bias**-beta)
    builder.bind(node.outputs[0], builder.viewed(result, shape))
