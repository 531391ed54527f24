# SPDX-License-Identifier: Apache-2.0
"""Import graphs built by hand, for what the planner makes of them.

Branches that meet again, concatenations as views, strides, pools and depthwise
convolutions with seeded random weights, without the way through ONNX::

    net = GraphNet(3, 24, 16)
    x = net.conv(0, 8, 3)
    plan = net.plan(net.concat(x, net.conv(x, 8, 1)), budget="64KiB")
"""

from __future__ import annotations

import math

import numpy as np

from undercroft._import.graph import NO_CLAMP, Attributes, Graph, Operator, Tensor
from undercroft._import.tables import GatherTables
from undercroft._import.weights import (
    ConvWeights,
    DenseWeights,
    DepthwiseWeights,
    Weights,
)
from undercroft._planner import planned
from undercroft._spec import SUITE_AES_256_GCM, WIRE_NCHW, Op
from undercroft.plan import Plan, parse_budget, plan_of
from undercroft.tensor import TensorInfo

_NO_ATTRIBUTES = Attributes()


class GraphNet:
    """Builds one graph; every method adds an operator and returns its tensor.

    Args:
        channels: Channels of the input, which is tensor 0.
        height: Its rows.
        width: Its columns.
        seed: Seeds the weights.
    """

    def __init__(self, channels: int, height: int, width: int, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.tensors = [Tensor("x", (1, height, width, channels), WIRE_NCHW)]
        self.operators: list[Operator] = []

    def dims(self, x: int) -> tuple[int, int, int, int]:
        return self.tensors[x].dims

    def _weights(self, *shape: int):
        scale = math.sqrt(2 / math.prod(shape[1:]))
        return (self.random.standard_normal(shape) * scale).astype(np.float32)

    def emit(
        self,
        code: Op,
        inputs: tuple[int, ...],
        dims: tuple[int, int, int, int],
        attributes: Attributes = _NO_ATTRIBUTES,
        weights: Weights | None = None,
        clamp: tuple[float, float] = NO_CLAMP,
    ) -> int:
        self.tensors.append(Tensor(f"t{len(self.tensors)}", dims))
        self.add_operator(
            code, inputs, len(self.tensors) - 1, attributes, weights, clamp
        )
        return len(self.tensors) - 1

    def add_operator(
        self,
        code,
        inputs,
        output,
        attributes=_NO_ATTRIBUTES,
        weights=None,
        clamp=NO_CLAMP,
    ) -> None:
        name = f"{code.name.lower()}{len(self.operators)}"
        self.operators.append(
            Operator(name, code, inputs, output, attributes, clamp, weights)
        )

    def conv(
        self,
        x: int,
        channels: int,
        kernel: int = 3,
        stride: int = 1,
        dilation: int = 1,
        clamp: tuple[float, float] = (0.0, 6.0),
    ) -> int:
        pad = dilation * (kernel // 2)
        dims, attributes = self._window(x, kernel, stride, pad, dilation)
        kernels = self._weights(channels, self.dims(x)[3], kernel, kernel)
        return self.emit(
            Op.CONV_2D,
            (x,),
            (*dims, channels),
            attributes,
            ConvWeights(kernels, self._weights(channels, 1)[:, 0]),
            clamp,
        )

    def depthwise(self, x: int, kernel: int = 3, stride: int = 1) -> int:
        channels = self.dims(x)[3]
        dims, attributes = self._window(x, kernel, stride, kernel // 2, groups=channels)
        kernels = self._weights(channels, kernel, kernel)
        return self.emit(
            Op.DEPTHWISE_CONV_2D,
            (x,),
            (*dims, channels),
            attributes,
            DepthwiseWeights(kernels, self._weights(channels, 1)[:, 0]),
        )

    def pool(self, x: int, kernel: int = 2, stride: int = 2, pad: int = 0) -> int:
        dims, attributes = self._window(x, kernel, stride, pad, groups=0)
        return self.emit(Op.MAX_POOL_2D, (x,), (*dims, self.dims(x)[3]), attributes)

    def average(self, x: int, kernel: int = 3, stride: int = 1, pad: int = 1) -> int:
        dims, attributes = self._window(x, kernel, stride, pad, groups=0)
        return self.emit(Op.AVERAGE_POOL_2D, (x,), (*dims, self.dims(x)[3]), attributes)

    def _window(self, x, kernel, stride, pad, dilation=1, groups=1):
        _, height, width, _ = self.dims(x)
        reach = dilation * (kernel - 1) + 1
        rows = (height + 2 * pad - reach) // stride + 1
        columns = (width + 2 * pad - reach) // stride + 1
        attributes = Attributes(
            kernel=(kernel, kernel),
            stride=(stride, stride),
            dilation=(dilation, dilation),
            pads=(pad, pad, pad, pad),
            groups=groups,
        )
        return (1, rows, columns), attributes

    def add(self, a: int, b: int) -> int:
        return self.emit(Op.ADD, (a, b), self.dims(a))

    def mul(self, a: int, b: int) -> int:
        return self.emit(Op.MUL, (a, b), self.dims(a))

    def hard_swish(self, x: int) -> int:
        return self.emit(Op.HARD_SWISH, (x,), self.dims(x))

    def global_pool(self, x: int) -> int:
        return self.emit(Op.GLOBAL_AVERAGE_POOL, (x,), (1, 1, 1, self.dims(x)[3]))

    def enlarge(self, x: int) -> int:
        """Every row and column twice, by tables."""
        n, h, w, c = self.dims(x)
        axes = [np.arange(size, dtype=np.uint32) for size in (n, h, w, c)]
        tables = GatherTables(
            axes[0], np.repeat(axes[1], 2), np.repeat(axes[2], 2), axes[3]
        )
        return self.emit(Op.GATHER, (x,), (n, 2 * h, 2 * w, c), weights=tables)

    def dense(self, x: int, outputs: int) -> int:
        n, h, w, c = self.dims(x)
        return self.emit(
            Op.FULLY_CONNECTED,
            (x,),
            (n, h, w, outputs),
            weights=DenseWeights(
                self._weights(outputs, c).T, self._weights(outputs, 1)[:, 0]
            ),
        )

    def transpose(self, x: int) -> int:
        n, h, w, c = self.dims(x)
        return self.emit(
            Op.TRANSPOSE, (x,), (n, w, h, c), Attributes(permutation=(0, 2, 1, 3))
        )

    def phases(self, *parts: int) -> int:
        """Rows of the parts one after the other, as ConvTranspose puts them."""
        n, h, w, c = self.dims(parts[0])
        self.tensors.append(Tensor(f"t{len(self.tensors)}", (n, h, len(parts) * w, c)))
        whole = len(self.tensors) - 1
        for index, part in enumerate(parts):
            place = Tensor(f"{index}", (n, h, w, c), 0, whole, (0, 0, index * w, 0))
            self.tensors.append(place)
            self.add_operator(Op.CLAMP, (part,), len(self.tensors) - 1)
        return self.emit(Op.CLAMP, (whole,), (n, len(parts) * h, w, c))

    def view(self, x: int, first: int, last: int) -> int:
        """Channels first to last of a tensor, without moving anything."""
        n, h, w, _ = self.dims(x)
        root = self.tensors[x]
        parent = x if root.parent is None else root.parent
        origin = (*root.origin[:3], root.origin[3] + first)
        self.tensors.append(
            Tensor(f"t{len(self.tensors)}", (n, h, w, last - first), 0, parent, origin)
        )
        return len(self.tensors) - 1

    def concat(self, *parts: int) -> int:
        n, h, w, _ = self.dims(parts[0])
        channels = sum(self.dims(part)[3] for part in parts)
        self.tensors.append(Tensor(f"t{len(self.tensors)}", (n, h, w, channels)))
        result = len(self.tensors) - 1
        at = 0
        for part in parts:
            view = self.view(result, at, at + self.dims(part)[3])
            at += self.dims(part)[3]
            self.add_operator(Op.CLAMP, (part,), view)
        return result

    def graph(self, *outputs: int) -> Graph:
        def info(tensor: int) -> TensorInfo:
            n, h, w, c = self.dims(tensor)
            crosses = self.tensors[tensor].wire_layout == WIRE_NCHW
            shape = (n, c, h, w) if crosses else (n, h, w, c)
            return TensorInfo(self.tensors[tensor].name, shape)

        return Graph(
            tuple(self.tensors),
            tuple(self.operators),
            (0,),
            outputs,
            (info(0),),
            tuple(info(output) for output in outputs),
        )

    def input(self) -> dict[str, np.ndarray]:
        n, h, w, c = self.dims(0)
        x = np.random.default_rng(1).standard_normal((n, c, h, w))
        return {"x": x.astype(np.float32)}

    def plan(
        self, *outputs: int, budget: int | str | None = None, page_bytes: int = 4096
    ) -> Plan:
        limit = parse_budget(budget)
        made = planned(self.graph(*outputs), limit, page_bytes, SUITE_AES_256_GCM)
        return plan_of(made, limit, "aes-256-gcm")
