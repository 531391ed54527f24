# SPDX-License-Identifier: Apache-2.0
"""Builds networks with random weights whose activations behave like trained ones.

A deep network with plain random weights gives nearly the same answer whatever it
is shown, so comparing answers would show nothing. Here every operator is computed
on a small batch while the network is built. Weights start as He has it (variance
2 / fan-in); batch norms get the statistics of what reaches them, and convolutions
without one get a scale and a bias that do the same. So every layer sees values of
mean 0 and variance 1 before its activation, and different inputs give different
answers::

    net = Net(seed=1)
    x = net.relu(net.batch_norm(net.conv(net.input(), 64, 7, stride=2)))
    net.save(path, net.dense(net.global_pool(x), 1000))
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8
INPUT_SHAPE = (1, 3, 224, 224)
_BATCH = 8

Attribute = int | float | str | list[int]


class Net:
    """One network; every method adds operators and returns their output's name."""

    def __init__(self, seed: int, *, input_shape: Sequence[int] = INPUT_SHAPE) -> None:
        self._random = np.random.default_rng(seed)
        self._input_shape = tuple(input_shape)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._seen: dict[str, np.ndarray[Any, Any]] = {}
        self.parameters = 0

    def input(self) -> str:
        """The input, called `x`: an image [1, 3, height, width]."""
        batch = (_BATCH, *self._input_shape[1:])
        self._seen["x"] = self._random.standard_normal(batch, dtype=np.float32)
        return "x"

    def channels(self, x: str) -> int:
        """How many channels a value has."""
        return self._seen[x].shape[1]

    # ---- operators with weights

    def conv(
        self,
        x: str,
        channels: int,
        kernel: int,
        *,
        stride: int = 1,
        pad: int | None = None,
        groups: int = 1,
        bias: bool = False,
    ) -> str:
        """A convolution, by default padded to keep the size."""
        edge = kernel // 2 if pad is None else pad
        shape = (channels, self.channels(x) // groups, kernel, kernel)
        return self._weighted(
            "Conv",
            x,
            self._he(shape, fan_in=int(np.prod(shape[1:]))),
            bias=bias,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[edge] * 4,
            group=groups,
        )

    def dense(self, x: str, features: int) -> str:
        """A fully connected layer on [n, features], with a bias."""
        fan_in = self._seen[x].shape[1]
        matrix = self._he((features, fan_in), fan_in=fan_in)
        return self._weighted("Gemm", x, matrix, bias=True, transB=1)

    def batch_norm(self, x: str, *, gain: float = 1.0, epsilon: float = 1e-5) -> str:
        """A batch norm with the statistics of what reaches it.

        Args:
            x: an image.
            gain: about the standard deviation of what it gives.
            epsilon: added to the variance.
        """
        value = self._seen[x]
        count = value.shape[1]
        mean, var = value.mean((0, 2, 3)), value.var((0, 2, 3))
        scale = gain * self._random.uniform(0.8, 1.2, count)
        shift = gain * self._random.normal(0, 0.1, count)
        self.parameters += 2 * count
        names = [
            self._constant(array) for array in (scale, shift, mean, var + 1e-3 * gain)
        ]
        return self.op("BatchNormalization", [x, *names], epsilon=epsilon)

    def _weighted(
        self, kind: str, x: str, weight: Any, *, bias: bool, **attributes: Attribute
    ) -> str:
        node = helper.make_node(kind, ["x", "w"], ["y"], **attributes)
        plain = _compute(node, {"x": self._seen[x], "w": weight})
        inputs = [x]
        if bias:
            # Data-dependent: what a batch norm would do, put into the weights.
            axes = (0, *range(2, plain.ndim))
            deviation = max(float(plain.std()), 1e-6)
            weight /= np.float32(deviation)
            shift = -plain.mean(axes) / deviation
            shift += self._random.normal(0, 0.1, len(shift))
            inputs += [self._parameter(weight), self._parameter(shift)]
            ending = (1,) * (plain.ndim - 2)
            plain /= np.float32(deviation)
            plain += shift.astype(np.float32).reshape(-1, *ending)
        else:
            inputs.append(self._parameter(weight))
        return self._add(kind, inputs, plain, attributes)

    def _he(self, shape: tuple[int, ...], *, fan_in: int) -> Any:
        weight = self._random.standard_normal(shape, dtype=np.float32)
        weight *= np.float32((2.0 / fan_in) ** 0.5)
        return weight

    # ---- operators without

    def op(self, kind: str, inputs: Sequence[str], **attributes: Attribute) -> str:
        """Any operator with one output."""
        inputs = list(inputs)
        constants = {
            tensor.name: numpy_helper.to_array(tensor)
            for tensor in self._weights
            if tensor.name in inputs
        }
        node = helper.make_node(kind, inputs, ["y"], **attributes)
        feeds = {
            name: constants[name] if name in constants else self._seen[name]
            for name in dict.fromkeys(inputs)
        }
        return self._add(kind, inputs, _compute(node, feeds), attributes)

    def relu(self, x: str) -> str:
        """max(x, 0)."""
        return self.op("Relu", [x])

    def relu6(self, x: str) -> str:
        """min(max(x, 0), 6), as Clip."""
        bounds = [self._constant(np.float32(value)) for value in (0, 6)]
        return self.op("Clip", [x, *bounds])

    def add(self, a: str, b: str) -> str:
        """The sum of two values."""
        return self.op("Add", [a, b])

    def concat(self, parts: Sequence[str]) -> str:
        """Channels one after the other."""
        return self.op("Concat", parts, axis=1)

    def pool(
        self,
        kind: str,
        x: str,
        kernel: int,
        stride: int,
        *,
        pad: int = 0,
        ceil: bool = False,
    ) -> str:
        """A `MaxPool` or `AveragePool`."""
        return self.op(
            kind,
            [x],
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[pad] * 4,
            ceil_mode=int(ceil),
        )

    def max_pool(
        self, x: str, kernel: int, stride: int, *, pad: int = 0, ceil: bool = False
    ) -> str:
        """The largest of each window."""
        return self.pool("MaxPool", x, kernel, stride, pad=pad, ceil=ceil)

    def global_pool(self, x: str) -> str:
        """The mean of each channel: [n, c]."""
        return self.flatten(self.op("GlobalAveragePool", [x]))

    def flatten(self, x: str) -> str:
        """[n, everything else]."""
        return self.op("Flatten", [x])

    # ---- the model

    def save(self, path: Path, output: str) -> None:
        """Write the network as an ONNX file with one output, called `logits`."""
        self._nodes[-1].output[0] = "logits"
        shape = [1, *self._seen[output].shape[1:]]
        graph = helper.make_graph(
            self._nodes,
            path.stem,
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, self._input_shape)],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)],
        )
        graph.initializer.extend(self._weights)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
        )
        onnx.save(model, path)

    def _add(
        self, kind: str, inputs: list[str], value: Any, attributes: dict[str, Attribute]
    ) -> str:
        name = f"{kind.lower()}_{len(self._nodes)}"
        self._nodes.append(
            helper.make_node(kind, inputs, [name], name=name, **attributes)
        )
        self._seen[name] = value
        return name

    def _parameter(self, value: Any) -> str:
        self.parameters += value.size
        return self._constant(value)

    def _constant(self, value: Any) -> str:
        name = f"w{len(self._weights)}"
        array = np.asarray(value, dtype=np.float32)
        self._weights.append(numpy_helper.from_array(array, name))
        return name


def _compute(node: onnx.NodeProto, feeds: dict[str, Any]) -> Any:
    """Run one operator in onnxruntime, weights as inputs so that none is copied."""
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape)
        for name, array in feeds.items()
    ]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    model = helper.make_model(
        helper.make_graph([node], "one", inputs, [output]),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, feeds)[0]
