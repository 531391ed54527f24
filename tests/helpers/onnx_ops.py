# SPDX-License-Identifier: Apache-2.0
"""ONNX models of one operator, run by onnxruntime: what operators must equal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from onnx import TensorProto, helper

Array = npt.NDArray[np.float32]

_OPSET = 20


def run_onnx(
    op_type: str, inputs: list[Array], attributes: Mapping[str, Any] | None = None
) -> Array:
    """Run one operator on NCHW (or any) arrays."""
    names = [f"x{i}" for i in range(len(inputs))]
    node = helper.make_node(op_type, names, ["y"], **(attributes or {}))
    graph = helper.make_graph(
        [node],
        "op",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, x.shape)
            for name, x in zip(names, inputs, strict=True)
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)])
    model.ir_version = 9
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (y,) = session.run(None, dict(zip(names, inputs, strict=True)))
    return np.asarray(y, np.float32)


def nhwc(x: Array) -> Array:
    """NCHW to NHWC."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))


def relative_error(got: Array, want: Array) -> float:
    """Largest difference against the largest magnitude of ``want``."""
    assert got.shape == want.shape, (got.shape, want.shape)
    assert np.isfinite(got).all()
    scale = max(float(np.abs(want).max()), 1e-30)
    return float(np.abs(got.astype(np.float64) - want).max()) / scale
