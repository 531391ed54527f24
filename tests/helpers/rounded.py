# SPDX-License-Identifier: Apache-2.0
"""What a model computes whose weights were stored in 8 bits, said in ONNX.

Weights are quantised and dequantised in NumPy, in the axes of ONNX: nothing
here knows panels. onnxruntime runs the result, the engine must equal it.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

Array = npt.NDArray[np.float32]


def rounded_model(model: onnx.ModelProto, names: Collection[str]) -> onnx.ModelProto:
    """Return a model with the weights of the named nodes rounded to 8 bits.

    Args:
        model: A model whose Conv, Gemm and MatMul have initialisers as weights.
        names: Nodes to round, every one of which must be there.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    tensors = {tensor.name: tensor for tensor in result.graph.initializer}
    left = set(names)
    for node in result.graph.node:
        if node.name not in left:
            continue
        left.remove(node.name)
        tensor = tensors[node.input[1]]
        weights = numpy_helper.to_array(tensor)
        changed = round_channels(weights, _channel_axis(node))
        tensor.CopyFrom(numpy_helper.from_array(changed, tensor.name))
    assert not left, f"the model has no nodes {sorted(left)}"
    return result


def round_channels(weights: Array, axis: int) -> Array:
    """Round weights to integers of 8 bits times a scale for each channel.

    Args:
        weights: Any shape.
        axis: The axis of the channels.
    """
    others = tuple(other for other in range(weights.ndim) if other != axis)
    scale = np.abs(weights).max(axis=others, keepdims=True) / np.float32(127)
    integers = np.rint(weights / np.where(scale == 0, np.float32(1), scale))
    return (integers.astype(np.float32) * scale).astype(np.float32)


def _channel_axis(node: onnx.NodeProto) -> int:
    if node.op_type == "Conv":
        return 0
    if node.op_type == "Gemm":
        transposed = any(a.name == "transB" and a.i for a in node.attribute)
        return 0 if transposed else 1
    assert node.op_type == "MatMul", node.op_type
    return 1
