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
        dtype: numpy name of the element type, `float32`.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"

    @property
    def type(self) -> str:
        """The type as onnxruntime writes it: `tensor(float)`."""
        return {"float32": "tensor(float)"}[self.dtype]

    @property
    def element_count(self) -> int:
        """How many elements a tensor of this shape has."""
        count = 1
        for dim in self.shape:
            count *= dim
        return count
