# SPDX-License-Identifier: Apache-2.0
"""Random networks of operators that move elements, for comparing two runtimes.

Every order of axes, every rank from 3 to 5, values that several operators
read, concatenations of slices of concatenations: what nobody would write down::

    case = random_net(17)
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from onnx import TensorProto, helper

from helpers.onnx_nets import IR_VERSION, Case, Net, Shape

_OPSET = 18
_MOST_ELEMENTS = 4000
_MODES = ("asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners")
_ROUNDING = ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")


def random_net(seed: int) -> Case:
    """Return a network and its inputs' shapes; the same for the same seed."""
    return _Maker(seed).case()


class _Maker:
    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.net = Net(f"random {seed}", opset=_OPSET)
        self.values: list[tuple[str, Shape]] = []

    def case(self) -> Case:
        rank = self.upto(3, 5) if self.chance(0.4) else 4
        for index in range(self.upto(1, 2)):
            shape = tuple(self.upto(1, 5) for _ in range(rank))
            shape = (1, *shape[1:]) if self.chance(0.6) else shape
            self.values.append((self.net.input(*shape, name=f"x{index}"), shape))
        steps: list[Callable[[str, Shape], tuple[str, Shape] | None]] = [
            self.activation,
            self.conv,
            self.conv_transpose,
            self.transpose,
            self.concat,
            self.split,
            self.slice,
            self.pad,
            self.reshape,
            self.gather,
            self.expand,
            self.tile,
            self.nearest,
            self.linear,
            self.add,
            self.depth,
            self.global_max,
        ]
        for _ in range(self.upto(2, 8)):
            name, shape = self.pick()
            made = steps[self.upto(0, len(steps) - 1)](name, shape)
            if made is not None and math.prod(made[1]) <= _MOST_ELEMENTS:
                self.values.append((made[0], tuple(int(size) for size in made[1])))
        outputs = dict(self.values[-2:] if self.chance(0.4) else self.values[-1:])
        for name in list(outputs):
            if name in self.net._shapes:
                shape = outputs.pop(name)
                outputs[self.net.relu(name)] = shape
        return self.ended(outputs)

    def ended(self, outputs: dict[str, Shape]) -> Case:
        """End the network, without what no output depends on."""
        net, needed, nodes = self.net, set(outputs), []
        for node in reversed(net._nodes):
            if needed.intersection(node.output):
                needed.update(node.input)
                nodes.append(node)
        graph = helper.make_graph(
            nodes[::-1],
            net.name,
            [value for value in net._inputs if value.name in needed],
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
                for name, shape in outputs.items()
            ],
            [constant for constant in net._constants if constant.name in needed],
        )
        model = helper.make_model(
            graph,
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", _OPSET)],
        )
        shapes = {name: net._shapes[name] for name in net._shapes if name in needed}
        return Case(net.name, model, shapes)

    # ---- choosing

    def upto(self, least: int, most: int) -> int:
        return int(self.rng.integers(least, most + 1))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def pick(self) -> tuple[str, Shape]:
        return self.values[-1 - self.upto(0, min(3, len(self.values)) - 1)]

    def axis(self, shape: Shape) -> int:
        return self.upto(0, len(shape) - 1)

    def integers(self, *values: int) -> str:
        return self.net.constant(values, np.int64)

    # ---- operators: the new value, or None where it does not fit

    def activation(self, x: str, shape: Shape) -> tuple[str, Shape]:
        if self.chance(0.5):
            return self.net.relu(x), shape
        return self.net.clip(x, -0.5, 0.7), shape

    def conv(self, x: str, shape: Shape) -> tuple[str, Shape] | None:
        if len(shape) != 4:
            return None
        outputs = self.upto(1, 9)
        return self.net.conv(x, shape[1], outputs, 1), (shape[0], outputs, *shape[2:])

    def conv_transpose(self, x: str, shape: Shape) -> tuple[str, Shape] | None:
        if len(shape) != 4:
            return None
        groups = shape[1] if self.chance(0.3) else 1
        outputs = groups * self.upto(1, 3)
        kernel, stride, holes = (
            [self.upto(1, most) for _ in range(2)] for most in (4, 3, 2)
        )
        pads = [self.upto(0, 1) for _ in range(4)]
        extra = [self.upto(0, size - 1) for size in stride]
        size = [
            stride[i] * (shape[2 + i] - 1)
            + extra[i]
            + (kernel[i] - 1) * holes[i]
            + 1
            - pads[i]
            - pads[i + 2]
            for i in range(2)
        ]
        if min(size) < 1:
            return None
        weights = self.net.random(shape[1], outputs // groups, *kernel, scale=0.3)
        result = self.net.op(
            "ConvTranspose",
            [x, weights, self.net.random(outputs)],
            strides=stride,
            pads=pads,
            dilations=holes,
            group=groups,
            output_padding=extra,
        )
        return result, (shape[0], outputs, *size)

    def transpose(self, x: str, shape: Shape) -> tuple[str, Shape]:
        order = [int(axis) for axis in self.rng.permutation(len(shape))]
        result = self.net.op("Transpose", [x], perm=order)
        return result, tuple(shape[axis] for axis in order)

    def concat(self, x: str, shape: Shape) -> tuple[str, Shape]:
        axis = self.axis(shape)
        rest = (*shape[:axis], *shape[axis + 1 :])
        parts = [(x, shape)]
        for name, other in self.values:
            same = len(other) == len(shape) and (
                (*other[:axis], *other[axis + 1 :]) == rest
            )
            if same and self.chance(0.7):
                parts.append((name, other))
        if self.chance(0.3):
            own = (*shape[:axis], self.upto(1, 3), *shape[axis + 1 :])
            parts.append((self.net.random(*own), own))
        order = self.rng.permutation(len(parts))
        result = self.net.op(
            "Concat",
            [parts[i][0] for i in order],
            axis=axis - len(shape) if self.chance(0.5) else axis,
        )
        total = sum(part[axis] for _, part in parts)
        return result, (*shape[:axis], total, *shape[axis + 1 :])

    def split(self, x: str, shape: Shape) -> None:
        axis = self.axis(shape)
        if shape[axis] == 1:
            return
        first = self.upto(1, shape[axis] - 1)
        sizes = (first, shape[axis] - first)
        names = [f"{x}_{len(self.values)}_{index}" for index in range(2)]
        inputs = [x, self.integers(*sizes)]
        self.net._nodes.append(helper.make_node("Split", inputs, names, axis=axis))
        for name, size in zip(names, sizes, strict=True):
            self.values.append((name, (*shape[:axis], size, *shape[axis + 1 :])))

    def slice(self, x: str, shape: Shape) -> tuple[str, Shape] | None:
        axis = self.axis(shape)
        step = int(self.rng.choice([1, 1, 1, 2, -1, -2]))
        start, end = sorted((self.upto(0, shape[axis] - 1), self.upto(0, shape[axis])))
        if step < 0:
            start, end = end - 1, start - 1 if start else -(1 << 30)
        size = len(range(shape[axis])[start : end if end > -9 else None : step])
        if not size or start < 0:
            return None
        places = [self.integers(value) for value in (start, end, axis, step)]
        result = self.net.op("Slice", [x, *places])
        return result, (*shape[:axis], size, *shape[axis + 1 :])

    def pad(self, x: str, shape: Shape) -> tuple[str, Shape]:
        rank = len(shape)
        mode = str(self.rng.choice(["constant", "edge", "reflect"]))
        pads = [self.upto(0, 2) if self.chance(0.5) else 0 for _ in range(2 * rank)]
        if mode == "reflect":
            pads = [min(pad, shape[i % rank] - 1) for i, pad in enumerate(pads)]
        if mode == "constant" and self.chance(0.3):
            pads = [
                -1 if pad == 0 and shape[i % rank] > 3 else pad
                for i, pad in enumerate(pads)
            ]
        inputs = [x, self.integers(*pads)]
        if mode == "constant":
            inputs.append(self.net.constant(self.rng.standard_normal()))
        size = tuple(
            size + pads[axis] + pads[axis + rank] for axis, size in enumerate(shape)
        )
        return self.net.op("Pad", inputs, mode=mode), size

    def reshape(self, x: str, shape: Shape) -> tuple[str, Shape]:
        left = math.prod(shape)
        sizes = []
        for _ in range(self.upto(1, 4)):
            divisors = [size for size in range(1, left + 1) if left % size == 0]
            sizes.append(int(self.rng.choice(divisors)))
            left //= sizes[-1]
        return self.net.reshape(x, *sizes, left), (*sizes, left)

    def gather(self, x: str, shape: Shape) -> tuple[str, Shape]:
        axis = self.axis(shape)
        size = () if self.chance(0.3) else (self.upto(1, 4),)
        indices = self.rng.integers(-shape[axis], shape[axis], size)
        inputs = [x, self.net.constant(indices, np.int64)]
        result = self.net.op("Gather", inputs, axis=axis)
        return result, (*shape[:axis], *size, *shape[axis + 1 :])

    def expand(self, x: str, shape: Shape) -> tuple[str, Shape]:
        wide = tuple(self.upto(2, 3) if size == 1 else size for size in shape)
        return self.net.op("Expand", [x, self.integers(*wide)]), wide

    def tile(self, x: str, shape: Shape) -> tuple[str, Shape]:
        times = [self.upto(1, 2) for _ in shape]
        result = self.net.op("Tile", [x, self.integers(*times)])
        return result, tuple(a * b for a, b in zip(shape, times, strict=True))

    def nearest(self, x: str, shape: Shape) -> tuple[str, Shape] | None:
        if len(shape) not in (3, 4):
            return None
        scales = [float(self.rng.choice([0.5, 1, 1.5, 2, 3])) for _ in shape[2:]]
        size = [int(a * b) for a, b in zip(shape[2:], scales, strict=True)]
        if min(size) < 1:
            return None
        result = self.net.op(
            "Resize",
            [x, "", self.net.constant([1.0, 1.0, *scales])],
            mode="nearest",
            nearest_mode=str(self.rng.choice(_ROUNDING)),
            coordinate_transformation_mode=str(self.rng.choice(_MODES)),
        )
        return result, (*shape[:2], *size)

    def linear(self, x: str, shape: Shape) -> tuple[str, Shape] | None:
        if len(shape) != 4:
            return None
        size = (*shape[:2], self.upto(1, 8), self.upto(1, 8))
        result = self.net.op(
            "Resize",
            [x, "", "", self.integers(*size)],
            mode="linear",
            coordinate_transformation_mode=str(self.rng.choice(_MODES)),
        )
        return result, size

    def add(self, x: str, shape: Shape) -> tuple[str, Shape] | None:
        other, its_shape = self.pick()
        try:
            both = np.broadcast_shapes(shape, its_shape)
        except ValueError:
            return None
        return self.net.add(x, other), both

    def depth(self, x: str, shape: Shape) -> tuple[str, Shape] | None:
        if len(shape) != 4:
            return None
        n, c, h, w = shape
        if c % 4 == 0:
            mode = str(self.rng.choice(["DCR", "CRD"]))
            result = self.net.op("DepthToSpace", [x], blocksize=2, mode=mode)
            return result, (n, c // 4, h * 2, w * 2)
        if h % 2 or w % 2:
            return None
        result = self.net.op("SpaceToDepth", [x], blocksize=2)
        return result, (n, c * 4, h // 2, w // 2)

    def global_max(self, x: str, shape: Shape) -> tuple[str, Shape] | None:
        if len(shape) < 3:
            return None
        return self.net.op("GlobalMaxPool", [x]), (*shape[:2], *(1 for _ in shape[2:]))
