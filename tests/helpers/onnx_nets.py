# SPDX-License-Identifier: Apache-2.0
"""Tiny ONNX networks with seeded random weights, for comparing two runtimes.

Each case stresses one thing that engines get wrong: channel counts that are no
multiple of a vector, windows that hang over the edge, broadcasting, the order of
elements when an image becomes a vector, values that live past their neighbours::

    @pytest.mark.parametrize("case", all_cases(), ids=str)
    def test_engine_equals_onnxruntime(case):
        run(case.model, random_inputs(case))

Weights are scaled as trained ones are (variance 2 / fan-in), so that values keep
their size through a network and a relative error means something.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[np.float32]
Shape = tuple[int, ...]
Attribute = int | float | str | list[int]

OPSET: Final = 17
IR_VERSION: Final = 8
MINIMUM_CASES: Final = 60


@dataclass(frozen=True, slots=True)
class Case:
    """A network and the shapes to run it with.

    Attributes:
        name: What is stressed; unique.
        model: A checked model.
        input_shapes: The static shape of each input; the model's own inputs may
            have unknown sizes.
    """

    name: str
    model: onnx.ModelProto = field(repr=False)
    input_shapes: dict[str, Shape]

    def __str__(self) -> str:
        return self.name


class Net:
    """Builds one network; every method adds an operator and returns its output.

    Args:
        name: Name of the graph; also seeds the weights.
        opset: Version of the operator set.
    """

    output_type = TensorProto.FLOAT

    def __init__(self, name: str, *, opset: int = OPSET) -> None:
        self.name = name
        self.opset = opset
        self._rng = np.random.default_rng(zlib.crc32(name.encode()))
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._shapes: dict[str, Shape] = {}

    def input(
        self,
        *shape: int,
        name: str = "x",
        declared: Sequence[int | str | None] | None = None,
    ) -> str:
        """Adds an input, declared with its own shape or a vaguer one."""
        dims = list(shape) if declared is None else list(declared)
        self._inputs.append(
            helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)
        )
        self._shapes[name] = shape
        return name

    def op(
        self, kind: str, inputs: Sequence[str], /, **attributes: Attribute | None
    ) -> str:
        """Adds any operator with one output; attributes of None are left out."""
        result = f"v{len(self._nodes)}"
        given = {key: value for key, value in attributes.items() if value is not None}
        node = helper.make_node(kind, list(inputs), [result], name=f"{kind}_{result}")
        node.attribute.extend(helper.make_attribute(k, v) for k, v in given.items())
        self._nodes.append(node)
        return result

    def constant(self, value: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> str:
        name = f"c{len(self._constants)}"
        array = np.asarray(value, dtype=dtype)
        self._constants.append(numpy_helper.from_array(array, name))
        return name

    def random(self, *shape: int, scale: float = 1.0, offset: float = 0.0) -> str:
        values = self._rng.standard_normal(shape) * scale + offset
        return self.constant(values)

    def weights(self, *shape: int) -> str:
        """Adds a kernel [outputs, inputs, ...] of trained size."""
        return self.random(*shape, scale=(2.0 / max(1, int(np.prod(shape[1:])))) ** 0.5)

    def conv(
        self,
        x: str,
        cin: int,
        cout: int,
        kernel: int | tuple[int, int] = 3,
        *,
        groups: int = 1,
        stride: int | tuple[int, int] = 1,
        pads: int | tuple[int, int, int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        bias: bool = True,
        auto_pad: str | None = None,
    ) -> str:
        """Adds a convolution; `pads` is top, left, bottom, right."""
        kh, kw = _pair(kernel)
        operands = [x, self.weights(cout, cin // groups, kh, kw)]
        if bias:
            operands.append(self.random(cout, scale=0.1))
        return self.op(
            "Conv",
            operands,
            kernel_shape=[kh, kw],
            strides=list(_pair(stride)),
            dilations=list(_pair(dilation)),
            group=groups,
            pads=None if auto_pad else _four(pads),
            auto_pad=auto_pad,
        )

    def depthwise(
        self,
        x: str,
        channels: int,
        kernel: int | tuple[int, int] = 3,
        *,
        multiplier: int = 1,
        stride: int | tuple[int, int] = 1,
        pads: int | tuple[int, int, int, int] = 1,
        dilation: int | tuple[int, int] = 1,
        bias: bool = True,
    ) -> str:
        return self.conv(
            x,
            channels,
            channels * multiplier,
            kernel,
            groups=channels,
            stride=stride,
            pads=pads,
            dilation=dilation,
            bias=bias,
        )

    def batch_norm(self, x: str, channels: int) -> str:
        variance = self.constant(self._rng.uniform(0.5, 2.0, channels))
        scale = self.random(channels, scale=0.2, offset=1.0)
        shift, mean = (self.random(channels, scale=0.1) for _ in range(2))
        return self.op(
            "BatchNormalization", [x, scale, shift, mean, variance], epsilon=1e-3
        )

    def relu(self, x: str) -> str:
        return self.op("Relu", [x])

    def clip(self, x: str, low: float | None = 0.0, high: float | None = 6.0) -> str:
        limits = [
            "" if limit is None else self.constant(limit) for limit in (low, high)
        ]
        while limits and not limits[-1]:
            limits.pop()
        return self.op("Clip", [x, *limits])

    def add(self, a: str, b: str) -> str:
        return self.op("Add", [a, b])

    def mul(self, a: str, b: str) -> str:
        return self.op("Mul", [a, b])

    def pool(
        self,
        kind: str,
        x: str,
        kernel: int | tuple[int, int],
        *,
        stride: int | tuple[int, int] = 1,
        pads: int | tuple[int, int, int, int] = 0,
        ceil_mode: int = 0,
        count_include_pad: int | None = None,
        auto_pad: str | None = None,
    ) -> str:
        """Adds a `MaxPool` or an `AveragePool`."""
        return self.op(
            kind,
            [x],
            kernel_shape=list(_pair(kernel)),
            strides=list(_pair(stride)),
            pads=None if auto_pad else _four(pads),
            ceil_mode=ceil_mode,
            count_include_pad=count_include_pad,
            auto_pad=auto_pad,
        )

    def global_pool(self, x: str) -> str:
        return self.op("GlobalAveragePool", [x])

    def flatten(self, x: str, axis: int = 1) -> str:
        return self.op("Flatten", [x], axis=axis)

    def reshape(self, x: str, *shape: int) -> str:
        return self.op("Reshape", [x, self.constant(shape, np.int64)])

    def gemm(
        self,
        x: str,
        inputs: int,
        outputs: int,
        *,
        bias: bool = True,
        transpose: bool = True,
        alpha: float = 1.0,
        beta: float = 1.0,
    ) -> str:
        kernel = self._rng.standard_normal((outputs, inputs)) * (2.0 / inputs) ** 0.5
        operands = [x, self.constant(kernel if transpose else kernel.T)]
        if bias:
            operands.append(self.random(outputs, scale=0.1))
        return self.op("Gemm", operands, transB=int(transpose), alpha=alpha, beta=beta)

    def matmul(self, x: str, inputs: int, outputs: int) -> str:
        return self.op(
            "MatMul", [x, self.random(inputs, outputs, scale=(2.0 / inputs) ** 0.5)]
        )

    def softmax(self, x: str, axis: int = -1) -> str:
        return self.op("Softmax", [x], axis=axis)

    def case(self, *outputs: str) -> Case:
        """Ends the network at these outputs."""
        graph = helper.make_graph(
            self._nodes,
            self.name,
            self._inputs,
            [
                helper.make_tensor_value_info(name, self.output_type, None)
                for name in outputs
            ],
            self._constants,
        )
        model = helper.make_model(
            graph,
            producer_name="undercroft-tests",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", self.opset)],
        )
        # The checker wants a shape behind every output; inference knows them.
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        onnx.checker.check_model(model, full_check=True)
        return Case(self.name, model, dict(self._shapes))


def random_inputs(case: Case, seed: int = 0) -> dict[str, Array]:
    """Returns normally distributed inputs; the same seed gives the same values."""
    rng = np.random.default_rng([seed, zlib.crc32(case.name.encode())])
    return {
        name: rng.standard_normal(shape).astype(np.float32)
        for name, shape in case.input_shapes.items()
    }


@functools.cache
def all_cases() -> tuple[Case, ...]:
    """Returns every case, in a fixed order."""
    from helpers import onnx_nets_math, onnx_nets_movement

    cases = tuple(
        build(name)
        for builders in (
            *_GROUPS,
            *onnx_nets_math.GROUPS,
            *onnx_nets_movement.GROUPS,
        )
        for name, build in builders().items()
    )
    names = [case.name for case in cases]
    assert len(set(names)) == len(names), "two cases have the same name"
    assert len(cases) >= MINIMUM_CASES, f"only {len(cases)} cases"
    return cases


def case(name: str) -> Case:
    """Returns one case by its name."""
    return next(case for case in all_cases() if case.name == name)


Build = Callable[[str], Case]


def _simple(
    shape: Shape, body: Callable[[Net, str], str], *, opset: int = OPSET
) -> Build:
    """A network of one input and one output."""

    def build(name: str) -> Case:
        net = Net(name, opset=opset)
        return net.case(body(net, net.input(*shape)))

    return build


def _convolutions() -> dict[str, Build]:
    return {
        "conv_1x1": _simple((1, 16, 7, 7), lambda n, x: n.conv(x, 16, 24, 1)),
        "conv_1x1_channels_odd": _simple(
            (1, 13, 5, 7), lambda n, x: n.conv(x, 13, 9, 1)
        ),
        "conv_1x1_stride_2": _simple(
            (1, 8, 9, 11), lambda n, x: n.conv(x, 8, 16, 1, stride=2)
        ),
        "conv_1x1_one_pixel": _simple((1, 37, 1, 1), lambda n, x: n.conv(x, 37, 19, 1)),
        "conv_3x3": _simple((1, 8, 10, 10), lambda n, x: n.conv(x, 8, 16)),
        "conv_3x3_same": _simple((1, 8, 9, 9), lambda n, x: n.conv(x, 8, 8, pads=1)),
        "conv_3x3_channels_odd": _simple(
            (1, 5, 8, 6), lambda n, x: n.conv(x, 5, 11, pads=1)
        ),
        "conv_3x3_rgb_stride_2": _simple(
            (1, 3, 17, 23), lambda n, x: n.conv(x, 3, 32, stride=2, pads=(0, 0, 1, 1))
        ),
        "conv_3x3_no_bias": _simple(
            (1, 4, 6, 6), lambda n, x: n.conv(x, 4, 8, bias=False)
        ),
        "conv_3x3_one_in": _simple((1, 1, 9, 9), lambda n, x: n.conv(x, 1, 8, pads=1)),
        "conv_3x3_one_out": _simple((1, 8, 9, 9), lambda n, x: n.conv(x, 8, 1, pads=1)),
        "conv_3x3_output_one_pixel": _simple(
            (1, 8, 3, 3), lambda n, x: n.conv(x, 8, 10)
        ),
        "conv_3x3_dilation_2": _simple(
            (1, 6, 12, 12), lambda n, x: n.conv(x, 6, 10, dilation=2, pads=2)
        ),
        "conv_3x3_dilation_3_1_stride_2": _simple(
            (1, 4, 15, 14),
            lambda n, x: n.conv(x, 4, 8, dilation=(3, 1), stride=2, pads=(3, 1, 3, 1)),
        ),
        "conv_3x3_stride_3_2": _simple(
            (1, 4, 16, 15), lambda n, x: n.conv(x, 4, 8, stride=(3, 2), pads=1)
        ),
        "conv_3x3_stride_over_kernel": _simple(
            (1, 4, 17, 17), lambda n, x: n.conv(x, 4, 8, 3, stride=5)
        ),
        "conv_3x3_pads_asymmetric": _simple(
            (1, 4, 7, 9), lambda n, x: n.conv(x, 4, 8, pads=(2, 0, 1, 3))
        ),
        "conv_3x3_pads_over_kernel": _simple(
            (1, 4, 5, 5), lambda n, x: n.conv(x, 4, 8, pads=(4, 4, 4, 4))
        ),
        "conv_5x5": _simple((1, 3, 14, 14), lambda n, x: n.conv(x, 3, 12, 5, pads=2)),
        "conv_7x7_stride_2": _simple(
            (1, 3, 32, 32), lambda n, x: n.conv(x, 3, 16, 7, stride=2, pads=3)
        ),
        "conv_1x5": _simple(
            (1, 6, 8, 12), lambda n, x: n.conv(x, 6, 10, (1, 5), pads=(0, 2, 0, 2))
        ),
        "conv_5x1": _simple(
            (1, 6, 12, 8), lambda n, x: n.conv(x, 6, 10, (5, 1), pads=(2, 0, 2, 0))
        ),
        "conv_2x2_stride_2": _simple(
            (1, 4, 9, 9), lambda n, x: n.conv(x, 4, 12, 2, stride=2)
        ),
        "conv_whole_image": _simple(
            (1, 12, 7, 5), lambda n, x: n.conv(x, 12, 20, (7, 5))
        ),
        "conv_groups_2": _simple(
            (1, 8, 7, 7), lambda n, x: n.conv(x, 8, 16, groups=2, pads=1)
        ),
        "conv_groups_4_channels_odd": _simple(
            (1, 12, 6, 7), lambda n, x: n.conv(x, 12, 20, groups=4, pads=1, stride=2)
        ),
        "conv_groups_3_1x1": _simple(
            (1, 15, 6, 5), lambda n, x: n.conv(x, 15, 21, 1, groups=3)
        ),
        "conv_auto_pad_same_upper": _simple(
            (1, 4, 8, 11),
            lambda n, x: n.conv(x, 4, 8, stride=2, auto_pad="SAME_UPPER"),
        ),
        "conv_auto_pad_same_lower": _simple(
            (1, 4, 8, 11),
            lambda n, x: n.conv(x, 4, 8, stride=2, auto_pad="SAME_LOWER"),
        ),
        "conv_many_channels": _simple(
            (1, 130, 5, 5), lambda n, x: n.conv(x, 130, 135, 1)
        ),
        "conv_wide_image": _simple(
            (1, 3, 4, 190), lambda n, x: n.conv(x, 3, 8, pads=1, stride=(2, 1))
        ),
    }


def _depthwise() -> dict[str, Build]:
    return {
        "depthwise_3x3": _simple((1, 16, 9, 9), lambda n, x: n.depthwise(x, 16)),
        "depthwise_3x3_channels_odd": _simple(
            (1, 13, 7, 6), lambda n, x: n.depthwise(x, 13)
        ),
        "depthwise_3x3_one_channel": _simple(
            (1, 1, 7, 6), lambda n, x: n.depthwise(x, 1)
        ),
        "depthwise_3x3_stride_2_same_upper": _simple(
            (1, 24, 14, 14),
            lambda n, x: n.depthwise(x, 24, stride=2, pads=(0, 0, 1, 1)),
        ),
        "depthwise_3x3_no_bias": _simple(
            (1, 8, 7, 7), lambda n, x: n.depthwise(x, 8, bias=False)
        ),
        "depthwise_3x3_dilation_2": _simple(
            (1, 12, 11, 9), lambda n, x: n.depthwise(x, 12, dilation=2, pads=2)
        ),
        "depthwise_5x5": _simple(
            (1, 20, 9, 9), lambda n, x: n.depthwise(x, 20, 5, pads=2)
        ),
        "depthwise_5x5_stride_2_asymmetric": _simple(
            (1, 9, 14, 15),
            lambda n, x: n.depthwise(x, 9, 5, stride=2, pads=(1, 2, 2, 2)),
        ),
        "depthwise_7x7": _simple(
            (1, 8, 9, 9), lambda n, x: n.depthwise(x, 8, 7, pads=3)
        ),
        "depthwise_2x2": _simple(
            (1, 10, 6, 6), lambda n, x: n.depthwise(x, 10, 2, pads=0)
        ),
        "depthwise_1x3": _simple(
            (1, 10, 6, 6), lambda n, x: n.depthwise(x, 10, (1, 3), pads=(0, 1, 0, 1))
        ),
        "depthwise_stride_1_2": _simple(
            (1, 16, 8, 12), lambda n, x: n.depthwise(x, 16, stride=(2, 1))
        ),
        "depthwise_multiplier_2": _simple(
            (1, 6, 8, 8), lambda n, x: n.depthwise(x, 6, multiplier=2)
        ),
        "depthwise_image_under_kernel": _simple(
            (1, 8, 2, 2), lambda n, x: n.depthwise(x, 8, 5, pads=2)
        ),
    }


def _dense() -> dict[str, Build]:
    return {
        "gemm": _simple((1, 32), lambda n, x: n.gemm(x, 32, 16)),
        "gemm_sizes_odd": _simple((1, 37), lambda n, x: n.gemm(x, 37, 11)),
        "gemm_one_output": _simple((1, 20), lambda n, x: n.gemm(x, 20, 1)),
        "gemm_rows_7": _simple((7, 24), lambda n, x: n.gemm(x, 24, 10)),
        "gemm_not_transposed": _simple(
            (1, 18), lambda n, x: n.gemm(x, 18, 12, transpose=False)
        ),
        "gemm_no_bias": _simple((1, 18), lambda n, x: n.gemm(x, 18, 12, bias=False)),
        "gemm_alpha_beta": _simple(
            (1, 18), lambda n, x: n.gemm(x, 18, 12, alpha=0.5, beta=2.0)
        ),
        "gemm_deep": _simple((1, 700), lambda n, x: n.gemm(x, 700, 9)),
        "matmul": _simple((3, 20), lambda n, x: n.matmul(x, 20, 13)),
        "matmul_3d": _simple((1, 6, 20), lambda n, x: n.matmul(x, 20, 16)),
        "matmul_then_add": _simple(
            (1, 20), lambda n, x: n.add(n.matmul(x, 20, 13), n.random(13))
        ),
        "matmul_chain_relu": _simple(
            (2, 16),
            lambda n, x: n.matmul(n.relu(n.matmul(x, 16, 21)), 21, 5),
        ),
    }


def _elementwise() -> dict[str, Build]:
    image = (1, 11, 5, 6)
    return {
        "relu": _simple(image, lambda n, x: n.relu(x)),
        "clip_0_6": _simple(image, lambda n, x: n.clip(n.mul(x, n.constant(5.0)))),
        "clip_negative": _simple(image, lambda n, x: n.clip(x, -0.5, 0.25)),
        "clip_only_low": _simple(image, lambda n, x: n.clip(x, -0.5, None)),
        "clip_only_high": _simple(image, lambda n, x: n.clip(x, None, 0.5)),
        "clip_opset_6": _clip_opset_6,
        "hard_sigmoid": _simple(
            image, lambda n, x: n.op("HardSigmoid", [x], alpha=1 / 6, beta=0.5)
        ),
        "hard_sigmoid_default": _simple(
            image, lambda n, x: n.op("HardSigmoid", [n.mul(x, n.constant(3.0))])
        ),
        "hard_swish": _simple(image, lambda n, x: n.op("HardSwish", [x])),
        "hard_swish_spelled_out": _simple(image, _hard_swish),
        "add_scalar": _simple(image, lambda n, x: n.add(x, n.constant(3.0))),
        "add_scalar_shape_1": _simple(image, lambda n, x: n.add(x, n.constant([3.0]))),
        "add_channel": _simple(image, lambda n, x: n.add(x, n.random(1, 11, 1, 1))),
        "add_channel_rank_3": _simple(image, lambda n, x: n.add(n.random(11, 1, 1), x)),
        "add_column": _simple(image, lambda n, x: n.add(x, n.random(6))),
        "add_row": _simple(image, lambda n, x: n.add(x, n.random(1, 1, 5, 1))),
        "add_image": _simple(image, lambda n, x: n.add(x, n.random(*image))),
        "add_itself": _simple(image, lambda n, x: n.add(x, x)),
        "add_two_inputs": _add_two_inputs,
        "add_inputs_broadcast": _add_inputs_broadcast,
        "mul_scalar": _simple(image, lambda n, x: n.mul(n.constant(-0.7), x)),
        "mul_channel": _simple(image, lambda n, x: n.mul(x, n.random(1, 11, 1, 1))),
        "mul_image": _simple(image, lambda n, x: n.mul(x, n.random(*image))),
        "mul_squeeze_excite": _simple((1, 10, 6, 5), _squeeze_excite),
        "sub_scalar": _simple(image, lambda n, x: n.op("Sub", [x, n.constant(0.3)])),
        "sub_from_scalar": _simple(
            image, lambda n, x: n.op("Sub", [n.constant(1.0), x])
        ),
        "sub_channel": _simple(
            image, lambda n, x: n.op("Sub", [x, n.random(1, 11, 1, 1)])
        ),
        "div_scalar": _simple(image, lambda n, x: n.op("Div", [x, n.constant(6.0)])),
        "div_channel": _simple(
            image,
            lambda n, x: n.op("Div", [x, n.random(1, 11, 1, 1, scale=0.1, offset=2.0)]),
        ),
        "div_of_scalar": _simple(
            image, lambda n, x: n.op("Div", [n.constant(2.0), n.clip(x, 0.5, 3.0)])
        ),
        "add_vectors": _simple((1, 19), lambda n, x: n.add(x, n.random(19))),
    }


def _pools() -> dict[str, Build]:
    image = (1, 13, 9, 11)

    def pool(kind: str, kernel: int | tuple[int, int], **options: object) -> Build:
        return _simple(
            image,
            lambda n, x: n.pool(kind, x, kernel, **options),  # type: ignore[arg-type]
        )

    return {
        "max_pool_2x2": pool("MaxPool", 2, stride=2),
        "max_pool_3x3_same": pool("MaxPool", 3, pads=1),
        "max_pool_3x3_stride_2": pool("MaxPool", 3, stride=2, pads=1),
        "max_pool_pads_asymmetric": pool("MaxPool", 3, stride=2, pads=(0, 1, 2, 0)),
        "max_pool_ceil": pool("MaxPool", 4, stride=2, ceil_mode=1),
        "max_pool_2x3": pool("MaxPool", (2, 3), stride=(2, 1)),
        "max_pool_same_upper": pool("MaxPool", 2, stride=2, auto_pad="SAME_UPPER"),
        "max_pool_negative": _simple(
            image,
            lambda n, x: n.pool(
                "MaxPool", n.add(x, n.constant(-9.0)), 3, stride=2, pads=1
            ),
        ),
        "max_pool_5x5_same": pool("MaxPool", 5, pads=2),
        "average_pool_2x2": pool("AveragePool", 2, stride=2),
        "average_pool_3x3_same": pool("AveragePool", 3, pads=1, count_include_pad=0),
        "average_pool_count_pad": pool("AveragePool", 3, pads=1, count_include_pad=1),
        "average_pool_asymmetric": pool(
            "AveragePool", 3, stride=2, pads=(1, 0, 2, 1), count_include_pad=0
        ),
        "average_pool_asymmetric_count_pad": pool(
            "AveragePool", 3, stride=2, pads=(1, 0, 2, 1), count_include_pad=1
        ),
        "average_pool_ceil": pool("AveragePool", 2, stride=2, ceil_mode=1),
        "average_pool_2x5": pool("AveragePool", (2, 5), stride=(1, 2)),
        "average_pool_whole_image": pool("AveragePool", (9, 11)),
        "global_average_pool": _simple(image, lambda n, x: n.global_pool(x)),
        "global_average_pool_one_pixel": _simple(
            (1, 7, 1, 1), lambda n, x: n.global_pool(x)
        ),
        "global_average_pool_large": _simple(
            (1, 5, 31, 29), lambda n, x: n.global_pool(x)
        ),
        "reduce_mean_spatial": _simple(
            image, lambda n, x: n.op("ReduceMean", [x], axes=[2, 3], keepdims=1)
        ),
    }


def _shapes() -> dict[str, Build]:
    return {
        "softmax": _simple((1, 10), lambda n, x: n.softmax(x)),
        "softmax_two": _simple((1, 2), lambda n, x: n.softmax(x)),
        "softmax_1000": _simple((1, 1000), lambda n, x: n.softmax(x)),
        "softmax_rows": _simple((5, 9), lambda n, x: n.softmax(x)),
        "softmax_large_values": _simple(
            (1, 33), lambda n, x: n.softmax(n.mul(x, n.constant(300.0)))
        ),
        "softmax_image_channels": _simple((1, 6, 4, 3), lambda n, x: n.softmax(x, 1)),
        "softmax_sequence": _simple((1, 7, 12), lambda n, x: n.softmax(x, 2)),
        "flatten_input": _simple(
            (1, 3, 4, 5), lambda n, x: n.gemm(n.flatten(x), 60, 7)
        ),
        "flatten_after_conv": _simple(
            (1, 3, 6, 7),
            lambda n, x: n.gemm(n.flatten(n.conv(x, 3, 5)), 5 * 4 * 5, 9),
        ),
        "flatten_is_output": _simple(
            (1, 3, 6, 7), lambda n, x: n.flatten(n.conv(x, 3, 5))
        ),
        "reshape_after_conv": _simple(
            (1, 3, 6, 7),
            lambda n, x: n.matmul(n.reshape(n.conv(x, 3, 5), 1, -1), 100, 6),
        ),
        "reshape_pooled": _simple(
            (1, 12, 5, 5), lambda n, x: n.reshape(n.global_pool(x), 0, -1)
        ),
        "reshape_to_sequence": _simple(
            (1, 6, 3, 5), lambda n, x: n.reshape(n.conv(x, 6, 7, 1), 1, 7, 15)
        ),
        "reshape_to_image": _simple(
            (1, 48),
            lambda n, x: n.conv(n.reshape(n.gemm(x, 48, 60), 1, 4, 3, 5), 4, 6, pads=1),
        ),
        "transpose_to_nhwc": _simple(
            (1, 6, 4, 5),
            lambda n, x: n.op("Transpose", [n.conv(x, 6, 7, 1)], perm=[0, 2, 3, 1]),
        ),
        "transpose_from_nhwc": _simple(
            (1, 7, 9, 3),
            lambda n, x: n.conv(
                n.op("Transpose", [x], perm=[0, 3, 1, 2]), 3, 8, stride=2, pads=1
            ),
        ),
        "squeeze_unsqueeze": _simple((1, 12, 5, 4), _squeeze_unsqueeze),
        "identity_dropout": _simple(
            (1, 6, 5, 4),
            lambda n, x: n.relu(n.op("Identity", [n.op("Dropout", [n.relu(x)])])),
        ),
        "dynamic_sizes": _dynamic_sizes,
    }


def _networks() -> dict[str, Build]:
    return {
        "conv_relu": _simple(
            (1, 3, 9, 9), lambda n, x: n.relu(n.conv(x, 3, 10, pads=1))
        ),
        "conv_clip": _simple((1, 3, 9, 9), lambda n, x: n.clip(n.conv(x, 3, 10))),
        "conv_batch_norm_relu": _simple(
            (1, 3, 9, 9),
            lambda n, x: n.relu(n.batch_norm(n.conv(x, 3, 10, bias=False), 10)),
        ),
        "batch_norm_alone": _simple((1, 9, 5, 5), lambda n, x: n.batch_norm(x, 9)),
        "conv_hard_swish": _simple(
            (1, 3, 9, 9), lambda n, x: _hard_swish(n, n.conv(x, 3, 10))
        ),
        "conv_add_relu": _simple(
            (1, 8, 7, 7), lambda n, x: n.relu(n.add(n.conv(x, 8, 8, pads=1), x))
        ),
        "conv_used_twice": _simple((1, 3, 8, 8), _conv_used_twice),
        "two_branches": _simple((1, 5, 8, 8), _two_branches),
        "two_outputs": _two_outputs,
        "output_in_the_middle": _output_in_the_middle,
        "gemm_relu_gemm_softmax": _simple(
            (1, 25),
            lambda n, x: n.softmax(n.gemm(n.relu(n.gemm(x, 25, 30)), 30, 10)),
        ),
        "lenet": _simple((1, 1, 28, 28), _lenet),
        "residual_network": _simple((1, 3, 32, 32), _residual_network),
        "mobile_network": _simple((1, 3, 33, 35), _mobile_network),
        "mobile_network_v3": _simple((1, 3, 24, 40), _mobile_network_v3),
        "batch_of_2": _simple(
            (2, 3, 8, 8),
            lambda n, x: n.gemm(
                n.flatten(n.global_pool(n.relu(n.conv(x, 3, 9, pads=1)))), 9, 4
            ),
        ),
    }


_GROUPS: Final = (
    _convolutions,
    _depthwise,
    _dense,
    _elementwise,
    _pools,
    _shapes,
    _networks,
)


def _clip_opset_6(name: str) -> Case:
    """Old exporters wrote the limits as attributes."""
    net = Net(name, opset=10)
    x = net.conv(net.input(1, 3, 7, 7), 3, 9)
    return net.case(net.op("Clip", [x], min=0.0, max=1.5))


def _hard_swish(net: Net, x: str) -> str:
    """As exporters older than the operator write it: x * clip(x + 3, 0, 6) / 6."""
    gate = net.clip(net.add(x, net.constant(3.0)), 0.0, 6.0)
    return net.op("Div", [net.mul(x, gate), net.constant(6.0)])


def _squeeze_excite(net: Net, x: str) -> str:
    y = net.conv(x, 10, 14, 1)
    gate = net.relu(net.conv(net.global_pool(y), 14, 4, 1))
    gate = net.op("HardSigmoid", [net.conv(gate, 4, 14, 1)], alpha=0.2, beta=0.5)
    return net.mul(y, gate)


def _squeeze_unsqueeze(net: Net, x: str) -> str:
    axes = net.constant([2, 3], np.int64)
    y = net.op("Squeeze", [net.global_pool(x), axes])
    y = net.gemm(y, 12, 8)
    return net.conv(net.op("Unsqueeze", [y, axes]), 8, 6, 1)


def _add_two_inputs(name: str) -> Case:
    net = Net(name)
    a, b = net.input(1, 6, 5, 7, name="a"), net.input(1, 6, 5, 7, name="b")
    return net.case(net.relu(net.add(net.conv(a, 6, 6, 1), b)))


def _add_inputs_broadcast(name: str) -> Case:
    net = Net(name)
    a, b = net.input(1, 6, 1, 1, name="a"), net.input(1, 6, 5, 7, name="b")
    return net.case(net.add(a, b))


def _dynamic_sizes(name: str) -> Case:
    net = Net(name)
    x = net.input(1, 3, 12, 20, declared=["batch", 3, "height", "width"])
    x = net.relu(net.conv(x, 3, 8, stride=2, pads=1))
    return net.case(net.gemm(net.flatten(net.global_pool(x)), 8, 5))


def _conv_used_twice(net: Net, x: str) -> str:
    """The first result must outlive the two operators after it."""
    x = net.conv(x, 3, 8, pads=1)
    y = net.conv(net.relu(net.conv(x, 8, 16, 1)), 16, 8, 1)
    return net.add(y, x)


def _two_branches(net: Net, x: str) -> str:
    left = net.relu(net.conv(x, 5, 12, 1, stride=2))
    right = net.pool("MaxPool", net.conv(x, 5, 12, pads=1), 2, stride=2)
    return net.clip(net.add(left, right), -1.0, 1.0)


def _two_outputs(name: str) -> Case:
    net = Net(name)
    x = net.relu(net.conv(net.input(1, 3, 8, 8), 3, 12, stride=2))
    vector = net.flatten(net.global_pool(x))
    return net.case(net.softmax(net.gemm(vector, 12, 5)), net.gemm(vector, 12, 4))


def _output_in_the_middle(name: str) -> Case:
    net = Net(name)
    x = net.relu(net.conv(net.input(1, 3, 8, 8), 3, 9, pads=1))
    return net.case(x, net.conv(x, 9, 4, 1))


def _lenet(net: Net, x: str) -> str:
    x = net.pool("MaxPool", net.relu(net.conv(x, 1, 6, 5, pads=2)), 2, stride=2)
    x = net.pool("MaxPool", net.relu(net.conv(x, 6, 16, 5)), 2, stride=2)
    x = net.relu(net.gemm(net.flatten(x), 400, 120))
    x = net.relu(net.gemm(x, 120, 84))
    return net.softmax(net.gemm(x, 84, 10))


def _residual_network(net: Net, x: str) -> str:
    x = net.relu(net.batch_norm(net.conv(x, 3, 16, pads=1, bias=False), 16))
    channels = 16
    for width, stride in ((16, 1), (24, 2), (40, 2)):
        y = net.conv(x, channels, width, stride=stride, pads=1, bias=False)
        y = net.relu(net.batch_norm(y, width))
        y = net.batch_norm(net.conv(y, width, width, pads=1, bias=False), width)
        if width != channels:
            x = net.conv(x, channels, width, 1, stride=stride, bias=False)
            x = net.batch_norm(x, width)
        x = net.relu(net.add(y, x))
        channels = width
    x = net.flatten(net.global_pool(x))
    return net.softmax(net.gemm(x, channels, 10))


def _mobile_network(net: Net, x: str) -> str:
    """Inverted residuals with ReLU6, odd image sizes throughout."""
    x = net.clip(net.batch_norm(net.conv(x, 3, 16, stride=2, pads=1), 16))
    channels = 16
    for width, kernel, stride in ((16, 3, 1), (20, 5, 2), (20, 3, 1), (36, 3, 2)):
        wide = channels * 4
        y = net.conv(x, channels, wide, 1, bias=False)
        y = net.clip(net.batch_norm(y, wide))
        y = net.depthwise(y, wide, kernel, stride=stride, pads=kernel // 2, bias=False)
        y = net.clip(net.batch_norm(y, wide))
        y = net.batch_norm(net.conv(y, wide, width, 1, bias=False), width)
        x = net.add(y, x) if stride == 1 and width == channels else y
        channels = width
    x = net.clip(net.conv(x, channels, 100, 1))
    return net.gemm(net.flatten(net.global_pool(x)), 100, 17)


def _mobile_network_v3(net: Net, x: str) -> str:
    """Hard-swish and squeeze-and-excitation, as in text recognisers."""
    x = _hard_swish(net, net.conv(x, 3, 8, stride=2, pads=1))
    for kernel, stride in ((3, 1), (5, (2, 1))):
        y = _hard_swish(net, net.conv(x, 8, 24, 1))
        y = net.depthwise(y, 24, kernel, stride=stride, pads=kernel // 2)
        gate = net.relu(net.conv(net.global_pool(y), 24, 6, 1))
        gate = net.op("HardSigmoid", [net.conv(gate, 6, 24, 1)], alpha=0.2, beta=0.5)
        y = net.conv(_hard_swish(net, net.mul(y, gate)), 24, 8, 1)
        x = net.add(y, x) if stride == 1 else y
    x = net.pool("MaxPool", x, 2, stride=2)
    return net.softmax(net.gemm(net.flatten(x), 8 * 3 * 10, 2))


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def _four(value: int | tuple[int, int, int, int]) -> list[int]:
    return [value] * 4 if isinstance(value, int) else list(value)
