# SPDX-License-Identifier: Apache-2.0
"""Names, shapes and types of a model's inputs and outputs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One input or output, as `onnxruntime`'s `NodeArg` shows it.

    Attributes:
        name: its name in the ONNX graph.
        shape: static dimensions in ONNX order (NCHW for images).
        dtype: numpy name of the element type: `float32`, or of an output of
            indices `int64`.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"

    @property
    def type(self) -> str:
        """The type as onnxruntime writes it, for example `tensor(float)`."""
        return {"float32": "tensor(float)", "int64": "tensor(int64)"}[self.dtype]

    @property
    def element_count(self) -> int:
        """How many elements a tensor of this shape has."""
        count = 1
        for dim in self.shape:
            count *= dim
        return count
