# SPDX-License-Identifier: Apache-2.0
"""Every function of UNARY equals the same function in double precision.

1e-6 of the largest output, and of each output where it is not a difference of
two larger ones; and onnxruntime's, which rounds its own way.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from helpers.onnx_ops import relative_error, run_onnx
from helpers.op_runner import OVER_A, SEPARATE, Dims, Op, RefusedError, Runner
from undercroft import _spec as spec
from undercroft._spec import UnaryFunction

TOLERANCE = 1e-6


@dataclass(frozen=True)
class Function:
    """What a function should be.

    Attributes:
        exact: In double precision.
        onnx: The ONNX operator, where there is one, and its attributes.
        low: The least argument to try.
        high: The greatest.
        alpha: The parameter.
        each: Whether every output is exact by itself.
    """

    exact: Callable[[Any], Any]
    onnx: tuple[str, dict[str, Any]] | None = None
    low: float = -20.0
    high: float = 20.0
    alpha: float = 0.0
    each: bool = True


_erf = np.vectorize(math.erf)


def _softplus(x: Any) -> Any:
    return np.logaddexp(0.0, x)


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def _gelu_tanh(x: Any) -> Any:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


FUNCTIONS = {
    "ABS": Function(np.abs, ("Abs", {})),
    "NEGATE": Function(np.negative, ("Neg", {})),
    "SQUARE": Function(np.square),
    "SQUARE_ROOT": Function(np.sqrt, ("Sqrt", {}), low=0.0, high=1e6),
    "RECIPROCAL": Function(np.reciprocal, ("Reciprocal", {}), low=0.1),
    "RECIPROCAL_SQUARE_ROOT": Function(lambda x: 1 / np.sqrt(x), low=1e-3, high=1e3),
    "FLOOR": Function(np.floor, ("Floor", {})),
    "CEIL": Function(np.ceil, ("Ceil", {})),
    "ROUND": Function(np.round, ("Round", {})),
    "EXP": Function(np.exp, ("Exp", {}), low=-87.0, high=10.0),
    "LOG": Function(np.log, ("Log", {}), low=1e-3, high=1e3),
    "POWER": Function(lambda x: x**1.7, low=1e-3, alpha=np.float32(1.7)),
    "ERF": Function(_erf, ("Erf", {})),
    "SIGMOID": Function(_sigmoid, ("Sigmoid", {})),
    "TANH": Function(np.tanh, ("Tanh", {})),
    "SILU": Function(lambda x: x * _sigmoid(x)),
    "GELU": Function(
        lambda x: 0.5 * x * (1 + _erf(x / math.sqrt(2))), ("Gelu", {}), each=False
    ),
    "GELU_TANH": Function(_gelu_tanh, ("Gelu", {"approximate": "tanh"}), each=False),
    "MISH": Function(lambda x: x * np.tanh(_softplus(x)), ("Mish", {})),
    "SOFTPLUS": Function(_softplus, ("Softplus", {})),
    "LEAKY_RELU": Function(
        lambda x: np.where(x < 0, x * np.float32(0.07), x),
        ("LeakyRelu", {"alpha": 0.07}),
        alpha=0.07,
    ),
    "ELU": Function(
        lambda x: np.where(x < 0, 1.5 * np.expm1(x), x),
        ("Elu", {"alpha": 1.5}),
        alpha=1.5,
    ),
}
SHAPES: list[Dims] = [
    (1, 1, 1, 1),
    (1, 1, 1, 2),
    (1, 1, 1, 3),
    (1, 1, 1, 15),
    (2, 5, 7, 13),
    (1, 37, 41, 9),
]


def test_every_function_is_tried() -> None:
    assert set(FUNCTIONS) == {function.name for function in UnaryFunction}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_equals_double_precision_and_onnxruntime(
    runner: Runner, name: str
) -> None:
    function = FUNCTIONS[name]
    rng = np.random.default_rng(len(name))
    for dims in SHAPES:
        x = rng.uniform(function.low, function.high, dims).astype(np.float32)
        op = Op(
            spec.OP_UNARY,
            dims,
            dims,
            function=UnaryFunction[name],
            alpha=float(function.alpha),
        )
        want = function.exact(x.astype(np.float64))
        for mode in (SEPARATE, OVER_A):
            got = runner.run(op, x, mode=mode)
            assert relative_error(got, want) <= TOLERANCE / 2
            if function.each:
                assert np.allclose(got, want, rtol=TOLERANCE, atol=1e-30)
        if function.onnx is not None:
            want = run_onnx(function.onnx[0], [x], function.onnx[1])
            assert relative_error(got, want) <= TOLERANCE
        clamped = Op(**{**op.__dict__, "act": (-0.25, 0.75)})
        want = np.clip(got, np.float32(-0.25), np.float32(0.75))
        assert np.array_equal(runner.run(clamped, x), want)


@pytest.mark.parametrize(
    "exponent", [2.0, 3.0, 0.5, -0.5, -1.0, 4.0, 0.0, 1.0, -0.75, 2.5, 10.0]
)
def test_power_equals_onnxruntime(runner: Runner, exponent: float) -> None:
    dims = (1, 3, 5, 9)
    x = np.random.default_rng(3).uniform(0.01, 5.0, dims).astype(np.float32)
    if exponent == int(exponent):
        x *= np.where(np.random.default_rng(4).random(dims) < 0.5, -1, 1)
    op = Op(spec.OP_UNARY, dims, dims, function=UnaryFunction.POWER, alpha=exponent)
    want = run_onnx("Pow", [x, np.full((), exponent, np.float32)])
    got = runner.run(op, x)
    assert relative_error(got, want) <= TOLERANCE
    assert np.allclose(got, want, rtol=TOLERANCE)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_of_special_values_is_numpys(runner: Runner, name: str) -> None:
    x = np.array(
        [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 3e38, -3e38, -1, 100, -100],
        np.float32,
    )
    dims = (1, 1, 1, x.size)
    function = FUNCTIONS[name]
    op = Op(
        spec.OP_UNARY,
        dims,
        dims,
        function=UnaryFunction[name],
        alpha=float(function.alpha),
    )
    got = runner.run(op, x.reshape(dims)).ravel()
    with np.errstate(all="ignore"):
        want = function.exact(x.astype(np.float64)).astype(np.float32)
    # The limit of a product of 0 and infinity is anybody's.
    settled = ~((x == -np.inf) & np.isin(name, ["SILU", "GELU", "GELU_TANH", "MISH"]))
    # Some kernels take a number below the normal ones for 0.
    settled &= ~(np.abs(x) == np.float32(1e-40))
    assert np.allclose(
        got[settled], want[settled], rtol=TOLERANCE, atol=1e-37, equal_nan=True
    ), list(zip(x, got, want, strict=True))


def test_exp_reaches_the_ends_of_the_range(runner: Runner) -> None:
    x = np.linspace(-110, 90, 4001, dtype=np.float32).reshape(1, 1, 1, -1)
    op = Op(spec.OP_UNARY, x.shape, x.shape, function=UnaryFunction.EXP)
    with np.errstate(all="ignore"):
        want = np.exp(x.astype(np.float64)).astype(np.float32)
    got = runner.run(op, x)
    # Below the normal numbers the last bit is 1e-45.
    assert np.allclose(got, want, rtol=TOLERANCE, atol=3e-45)


def test_unknown_function_and_infinite_alpha_are_refused(runner: Runner) -> None:
    dims = (1, 1, 1, 4)
    for function, alpha in ((0, 0.0), (len(UnaryFunction) + 1, 0.0), (255, 0.0)):
        with pytest.raises(RefusedError):
            runner.check(Op(spec.OP_UNARY, dims, dims, function=function, alpha=alpha))
    for alpha in (math.inf, math.nan):
        with pytest.raises(RefusedError):
            runner.check(
                Op(
                    spec.OP_UNARY,
                    dims,
                    dims,
                    function=UnaryFunction.ELU,
                    alpha=alpha,
                )
            )
