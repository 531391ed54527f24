# SPDX-License-Identifier: Apache-2.0
"""Networks of functions, normalisations and reductions, for `onnx_nets`."""

from __future__ import annotations

import math

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


GROUPS = (functions,)

__all__ = ["GROUPS"]
