# SPDX-License-Identifier: Apache-2.0
"""Networks of functions, normalisations and reductions, for `onnx_nets`."""

from __future__ import annotations

import math

import numpy as np
from onnx import TensorProto

from helpers.onnx_nets import Build, Case, Net
from helpers.onnx_nets import _simple as simple

_IMAGE = (1, 11, 5, 6)
_ROWS = (2, 7, 13)


def functions() -> dict[str, Build]:
    """Functions of single elements, as one node and spelled out."""

    def one(kind: str, opset: int = 17, **attributes: object) -> Build:
        return simple(
            _IMAGE,
            lambda n, x: n.op(kind, [x], **attributes),  # type: ignore[arg-type]
            opset=opset,
        )

    def positive(kind: str) -> Build:
        return simple(_IMAGE, lambda n, x: n.op(kind, [_positive(n, x)]))

    def power(exponent: float) -> Build:
        return simple(
            _IMAGE,
            lambda n, x: n.op("Pow", [_positive(n, x), n.constant(exponent)]),
        )

    return {
        "abs": one("Abs"),
        "neg": one("Neg"),
        "floor": one("Floor"),
        "ceil": one("Ceil"),
        "exp": one("Exp"),
        "erf": one("Erf"),
        "sigmoid": one("Sigmoid"),
        "tanh": one("Tanh"),
        "softplus": one("Softplus"),
        "mish": one("Mish", 18),
        "gelu": one("Gelu", 20),
        "gelu_approximate": one("Gelu", 20, approximate="tanh"),
        "leaky_relu": one("LeakyRelu", alpha=0.1),
        "elu": one("Elu", alpha=0.7),
        "selu": one("Selu"),
        "sqrt": positive("Sqrt"),
        "log": positive("Log"),
        "reciprocal": positive("Reciprocal"),
        "pow_2": power(2.0),
        "pow_3": power(3.0),
        "pow_half": power(0.5),
        "pow_minus_half": power(-0.5),
        "pow_1_7": power(1.7),
        "rsqrt": simple(
            _IMAGE,
            lambda n, x: n.op("Reciprocal", [n.op("Sqrt", [_positive(n, x)])]),
        ),
        "silu": simple(_IMAGE, _silu),
        "silu_of_conv": simple((1, 3, 6, 7), lambda n, x: _silu(n, n.conv(x, 3, 9))),
        "silu_in_the_middle": simple(
            (1, 3, 6, 7), lambda n, x: n.conv(_silu(n, n.conv(x, 3, 9)), 9, 4)
        ),
        "sigmoid_of_another": _sigmoid_of_another,
        "sigmoid_read_twice": simple(_IMAGE, _sigmoid_read_twice),
        "gelu_spelled_out": simple(_ROWS, _gelu),
        "gelu_halved_first": simple(_ROWS, _gelu_halved_first),
        "gelu_divided": simple(_ROWS, _gelu_divided),
        "gelu_tanh_spelled_out": simple(_ROWS, _gelu_tanh),
        "gelu_tanh_powers": simple(_ROWS, _gelu_tanh_powers),
        "mish_spelled_out": simple(_IMAGE, _mish),
        "hard_swish_of_hard_sigmoid": simple(
            _IMAGE,
            lambda n, x: n.mul(x, n.op("HardSigmoid", [x], alpha=1 / 6, beta=0.5)),
        ),
        "hard_sigmoid_spelled_out": simple(
            _IMAGE,
            lambda n, x: n.op(
                "Div",
                [n.clip(n.add(x, n.constant(3.0)), 0.0, 6.0), n.constant(6.0)],
            ),
        ),
        "function_then_clip": simple(
            _IMAGE, lambda n, x: n.clip(n.op("Tanh", [x]), -0.3, 0.6)
        ),
    }


def _positive(net: Net, x: str) -> str:
    return net.add(net.op("Abs", [x]), net.constant(0.1))


def _silu(net: Net, x: str) -> str:
    return net.mul(x, net.op("Sigmoid", [x]))


def _sigmoid_of_another(name: str) -> Case:
    """A gate of something else is not SiLU."""
    net = Net(name)
    x, y = net.input(*_IMAGE), net.input(*_IMAGE, name="y")
    return net.case(net.mul(x, net.op("Sigmoid", [y])))


def _sigmoid_read_twice(net: Net, x: str) -> str:
    gate = net.op("Sigmoid", [x])
    return net.add(net.mul(x, gate), gate)


def _erf_gate(net: Net, x: str) -> str:
    inside = net.op("Div", [x, net.constant(math.sqrt(2))])
    return net.add(net.op("Erf", [inside]), net.constant(1.0))


def _gelu(net: Net, x: str) -> str:
    return net.mul(net.mul(x, _erf_gate(net, x)), net.constant(0.5))


def _gelu_halved_first(net: Net, x: str) -> str:
    return net.mul(net.mul(net.constant(0.5), x), _erf_gate(net, x))


def _gelu_divided(net: Net, x: str) -> str:
    inside = net.mul(x, net.constant(math.sqrt(0.5)))
    gate = net.add(net.constant(1.0), net.op("Erf", [inside]))
    return net.op("Div", [net.mul(gate, x), net.constant(2.0)])


def _gelu_tanh(net: Net, x: str) -> str:
    cube = net.mul(net.mul(x, x), x)
    inside = net.add(x, net.mul(cube, net.constant(0.044715)))
    inside = net.mul(inside, net.constant(math.sqrt(2 / math.pi)))
    gate = net.add(net.op("Tanh", [inside]), net.constant(1.0))
    return net.mul(net.mul(x, net.constant(0.5)), gate)


def _gelu_tanh_powers(net: Net, x: str) -> str:
    cube = net.op("Pow", [x, net.constant(3.0)])
    inside = net.add(net.mul(net.constant(0.044715), cube), x)
    inside = net.mul(net.constant(math.sqrt(2 / math.pi)), inside)
    gate = net.add(net.constant(1.0), net.op("Tanh", [inside]))
    return net.mul(net.constant(0.5), net.mul(x, gate))


def _mish(net: Net, x: str) -> str:
    return net.mul(x, net.op("Tanh", [net.op("Softplus", [x])]))


def reductions() -> dict[str, Build]:
    """Reductions and normalisations, over any axes."""

    def over(kind: str, *axes: int, keepdims: int = 1, opset: int = 17) -> Build:
        def body(net: Net, x: str) -> str:
            if kind == "ReduceSum" or opset >= 18:
                inputs = [x, net.constant(list(axes), np.int64)] if axes else [x]
                return net.op(kind, inputs, keepdims=keepdims)
            return net.op(kind, [x], axes=list(axes) or None, keepdims=keepdims)

        return simple((2, 5, 6, 7), body, opset=opset)

    def norm(kind: str, opset: int = 17, **attributes: object) -> Build:
        def body(net: Net, x: str) -> str:
            x = net.conv(x, 3, 9)
            scale, bias = net.random(9, offset=1.0), net.random(9)
            return net.op(kind, [x, scale, bias], **attributes)  # type: ignore[arg-type]

        return simple((2, 3, 6, 7), body, opset=opset)

    return {
        "reduce_mean_channels": over("ReduceMean", 1),
        "reduce_mean_columns": over("ReduceMean", 3, keepdims=0),
        "reduce_mean_all": over("ReduceMean"),
        "reduce_mean_opset_18": over("ReduceMean", -1, opset=18),
        "reduce_sum_spatial": over("ReduceSum", 2, 3),
        "reduce_sum_batch": over("ReduceSum", 0),
        "reduce_sum_scattered": over("ReduceSum", 1, 3, keepdims=0),
        "reduce_max_spatial": over("ReduceMax", 2, 3),
        "reduce_max_channels": over("ReduceMax", 1, keepdims=0),
        "reduce_min_last": over("ReduceMin", -1),
        "reduce_l1": over("ReduceL1", 1),
        "reduce_l2": over("ReduceL2", -1),
        "reduce_sum_square": over("ReduceSumSquare", 2),
        "reduce_after_conv": simple(
            (1, 3, 7, 6), lambda n, x: n.op("ReduceMax", [n.conv(x, 3, 9)], axes=[2])
        ),
        "instance_norm": norm("InstanceNormalization"),
        "instance_norm_epsilon": norm("InstanceNormalization", epsilon=0.1),
        "instance_norm_sequence": simple(
            (2, 5, 11),
            lambda n, x: n.op(
                "InstanceNormalization", [x, n.random(5, offset=1.0), n.random(5)]
            ),
        ),
        "layer_norm": simple(
            _ROWS,
            lambda n, x: n.op(
                "LayerNormalization", [x, n.random(13, offset=1.0), n.random(13)]
            ),
        ),
        "layer_norm_no_bias": simple(
            _ROWS, lambda n, x: n.op("LayerNormalization", [x, n.random(13)])
        ),
        "layer_norm_two_axes": simple(
            (1, 4, 5, 6),
            lambda n, x: n.op(
                "LayerNormalization", [x, n.random(5, 6), n.random(6)], axis=2
            ),
        ),
        "layer_norm_image_channels": simple((1, 3, 6, 7), _layer_norm_of_image),
        "layer_norm_spelled_out": simple(_ROWS, _layer_norm),
        "layer_norm_spelled_out_twice": simple(_ROWS, _layer_norm_two_differences),
        "layer_norm_spelled_out_plain": simple(
            _ROWS, lambda n, x: _normalized(n, x, n.op("Sub", [x, _mean(n, x)]))
        ),
        "lrn": simple((1, 13, 4, 5), lambda n, x: n.op("LRN", [x], size=5, alpha=0.1)),
        "lrn_bias": simple(
            (1, 6, 4, 5),
            lambda n, x: n.op("LRN", [x], size=3, alpha=0.5, beta=0.6, bias=2.0),
        ),
        "arg_max": simple((2, 5, 6, 7), lambda n, x: _index(n, x, "ArgMax", 1)),
        "arg_min_last": simple((2, 5, 6, 7), lambda n, x: _index(n, x, "ArgMin", -1)),
        "arg_max_of_conv": _index_of_conv,
        "batch_norm_sequence": simple((2, 9, 5), lambda n, x: n.batch_norm(x, 9)),
        "log_softmax": simple(_ROWS, lambda n, x: n.op("LogSoftmax", [x], axis=-1)),
        "log_softmax_channels": simple(
            (1, 6, 4, 3), lambda n, x: n.op("LogSoftmax", [x], axis=1)
        ),
    }


def _index(net: Net, x: str, kind: str, axis: int) -> str:
    return net.op("Cast", [net.op(kind, [x], axis=axis)], to=1)


def _index_of_conv(name: str) -> Case:
    """As segmentation ends: an output of int64."""
    net = Net(name)
    net.output_type = TensorProto.INT64
    x = net.conv(net.input(1, 3, 6, 7), 3, 9)
    return net.case(net.op("ArgMax", [x], axis=1, keepdims=0))


def _mean(net: Net, x: str) -> str:
    return net.op("ReduceMean", [x], axes=[-1])


def _normalized(net: Net, x: str, difference: str, other: str = "") -> str:
    square = net.op("Pow", [other or difference, net.constant(2.0)])
    variance = net.add(_mean(net, square), net.constant(1e-5))
    return net.op("Div", [difference, net.op("Sqrt", [variance])])


def _layer_norm(net: Net, x: str) -> str:
    y = _normalized(net, x, net.op("Sub", [x, _mean(net, x)]))
    return net.add(net.mul(y, net.random(13, offset=1.0)), net.random(13))


def _layer_norm_two_differences(net: Net, x: str) -> str:
    mean = _mean(net, x)
    y = _normalized(net, x, net.op("Sub", [x, mean]), net.op("Sub", [x, mean]))
    return net.add(net.random(13), net.mul(net.random(13, offset=1.0), y))


def _layer_norm_of_image(net: Net, x: str) -> str:
    """As in ConvNeXt: over the channels, between two transposes."""
    x = net.op("Transpose", [net.conv(x, 3, 9)], perm=[0, 2, 3, 1])
    x = net.op("LayerNormalization", [x, net.random(9, offset=1.0), net.random(9)])
    return net.conv(net.op("Transpose", [x], perm=[0, 3, 1, 2]), 9, 4, 1)


def pairs() -> dict[str, Build]:
    """Functions of two values and products of two activations."""

    def two(kind: str, a: tuple[int, ...], b: tuple[int, ...]) -> Build:
        def build(name: str) -> Case:
            net = Net(name)
            x, y = net.input(*a, name="x"), net.input(*b, name="y")
            return net.case(net.op(kind, [x, y]))

        return build

    return {
        "minimum": two("Min", (1, 3, 4, 5), (1, 3, 4, 5)),
        "maximum_broadcast": two("Max", (1, 3, 4, 5), (3, 1, 1)),
        "maximum_of_constant": simple(
            _IMAGE, lambda n, x: n.op("Max", [x, n.random(1, 11, 1, 1)])
        ),
        "maximum_of_number": simple(
            _IMAGE, lambda n, x: n.op("Max", [n.constant(0.1), x])
        ),
        "minimum_of_three": simple(
            _IMAGE,
            lambda n, x: n.op("Min", [x, n.random(6), n.op("Neg", [x])]),
        ),
        "prelu": simple(_IMAGE, lambda n, x: n.op("PRelu", [x, n.random(11, 1, 1)])),
        "prelu_number": simple(
            _IMAGE, lambda n, x: n.op("PRelu", [x, n.constant([0.25])])
        ),
        "pow_of_two": simple(
            _IMAGE,
            lambda n, x: n.op("Pow", [_positive(n, x), n.op("Tanh", [x])]),
        ),
        "pow_channels": simple(
            _IMAGE, lambda n, x: n.op("Pow", [_positive(n, x), n.random(11, 1, 1)])
        ),
        "matmul_of_two": two("MatMul", (1, 5, 7), (1, 7, 3)),
        "matmul_batches": two("MatMul", (2, 3, 5, 7), (2, 3, 7, 9)),
        "matmul_shared": two("MatMul", (2, 3, 5, 7), (7, 9)),
        "matmul_broadcast": two("MatMul", (2, 1, 5, 7), (1, 3, 7, 4)),
        "matmul_constant_batches": simple(
            (2, 5, 7), lambda n, x: n.op("MatMul", [x, n.random(2, 7, 4)])
        ),
        "attention": simple((1, 10, 24), _attention),
        "attention_of_image": simple((1, 3, 5, 4), _attention_of_image),
    }


def _attention(net: Net, x: str) -> str:
    """Three heads of eight."""

    def heads(perm: list[int]) -> str:
        y = net.add(net.matmul(x, 24, 24), net.random(24, scale=0.1))
        return net.op("Transpose", [net.reshape(y, 1, 10, 3, 8)], perm=perm)

    query, key = heads([0, 2, 1, 3]), heads([0, 2, 3, 1])
    scores = net.op("Div", [net.op("MatMul", [query, key]), net.constant(8**0.5)])
    y = net.op("MatMul", [net.softmax(scores), heads([0, 2, 1, 3])])
    y = net.reshape(net.op("Transpose", [y], perm=[0, 2, 1, 3]), 1, 10, 24)
    return net.add(x, net.matmul(y, 24, 24))


def _attention_of_image(net: Net, x: str) -> str:
    """As in detectors: key and query are images, flattened."""
    x = net.conv(x, 3, 12, 1)
    query = net.reshape(net.conv(x, 12, 6, 1), 1, 6, 20)
    key = net.reshape(net.conv(x, 12, 6, 1), 1, 6, 20)
    value = net.reshape(net.conv(x, 12, 12, 1), 1, 12, 20)
    scores = net.op("MatMul", [net.op("Transpose", [query], perm=[0, 2, 1]), key])
    weights = net.op("Transpose", [net.softmax(scores)], perm=[0, 2, 1])
    y = net.reshape(net.op("MatMul", [value, weights]), 1, 12, 5, 4)
    return net.conv(net.add(y, x), 12, 5, 1)


GROUPS = (functions, reductions, pairs)

__all__ = ["GROUPS"]
