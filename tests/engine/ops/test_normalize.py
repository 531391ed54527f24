# SPDX-License-Identifier: Apache-2.0
"""Reductions, normalisations and matrix products equal the exact ones.

Compared in double precision, 1e-6 of the largest output (1e-5 for products),
and with onnxruntime where it has the operator.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from helpers.onnx_ops import Array, nhwc, relative_error, run_onnx
from helpers.op_runner import OVER_A, SEPARATE, Dims, Op, RefusedError, Runner
from undercroft import _spec as spec
from undercroft._spec import NormalizeFunction, ReduceFunction

TOLERANCE = 1e-6
SHAPES: list[Dims] = [
    (1, 1, 1, 1),
    (1, 1, 1, 7),
    (2, 3, 5, 1),
    (1, 9, 13, 3),
    (2, 5, 7, 17),
    (1, 4, 4, 40),
    (1, 37, 41, 1),
    (1, 150, 160, 5),
]
REDUCTIONS: dict[ReduceFunction, Callable[..., Any]] = {
    ReduceFunction.SUM: np.sum,
    ReduceFunction.MEAN: np.mean,
    ReduceFunction.MAX: np.max,
    ReduceFunction.MIN: np.min,
    ReduceFunction.SUM_OF_SQUARES: lambda x, **how: np.sum(x * x, **how),
}


def some(dims: Dims, *, offset: float = 0.0) -> Array:
    rng = np.random.default_rng(list(dims))
    return (rng.standard_normal(dims) + offset).astype(np.float32)


@pytest.mark.parametrize("dims", SHAPES, ids=str)
@pytest.mark.parametrize("function", ReduceFunction)
def test_reduction_is_exact(
    runner: Runner, dims: Dims, function: ReduceFunction
) -> None:
    x = some(dims, offset=0.5)
    op = Op(spec.OP_REDUCE, dims, (dims[0], 1, 1, dims[3]), function=function)
    want = REDUCTIONS[function](x.astype(np.float64), axis=(1, 2), keepdims=True)
    got = runner.run(op, x)
    assert relative_error(got, want) <= TOLERANCE
    clamped = Op(**{**op.__dict__, "act": (0.0, 1.0)})
    assert np.array_equal(runner.run(clamped, x), np.clip(got, 0, 1))


def panel(factor: Array, addend: Array) -> bytes:
    size = -(-factor.size // 8) * 8
    packed = np.zeros((2, size), np.float32)
    packed[0, : factor.size], packed[1, : addend.size] = factor, addend
    return packed.tobytes()


@pytest.mark.parametrize("dims", [*SHAPES, (1, 1, 3, 769)], ids=str)
@pytest.mark.parametrize("function", NormalizeFunction)
@pytest.mark.parametrize("offset", [0.0, 30.0], ids=str)
def test_normalisation_is_exact(
    runner: Runner, dims: Dims, function: NormalizeFunction, offset: float
) -> None:
    x = some(dims, offset=offset)
    rng = np.random.default_rng(9)
    factor, addend = rng.standard_normal((2, dims[3])).astype(np.float32)
    op = Op(spec.OP_NORMALIZE, dims, dims, function=function, alpha=1e-2)
    axes = (3,) if function is NormalizeFunction.ROWS else (1, 2)
    wide = x.astype(np.float64)
    centred = wide - wide.mean(axis=axes, keepdims=True)
    variance = (centred**2).mean(axis=axes, keepdims=True)
    want = centred / np.sqrt(variance + 1e-2) * factor + addend
    # Of a row of one the difference from the mean is what rounding left.
    tolerance = TOLERANCE * max(1.0, offset)
    for mode in (SEPARATE, OVER_A):
        got = runner.run(op, x, weights=panel(factor, addend), mode=mode)
        assert relative_error(got, want) <= tolerance
    clamped = Op(**{**op.__dict__, "act": (-0.5, 0.5)})
    got = runner.run(clamped, x, weights=panel(factor, addend))
    assert relative_error(got, np.clip(want, -0.5, 0.5)) <= 10 * tolerance


def test_normalisation_refuses_a_bad_epsilon(runner: Runner) -> None:
    dims = (1, 2, 3, 4)
    for alpha in (-1e-5, math.inf, math.nan):
        with pytest.raises(RefusedError):
            runner.check(Op(spec.OP_NORMALIZE, dims, dims, function=1, alpha=alpha))
    for function in (0, 3):
        with pytest.raises(RefusedError):
            runner.check(Op(spec.OP_NORMALIZE, dims, dims, function=function))
        with pytest.raises(RefusedError):
            runner.check(Op(spec.OP_REDUCE, dims, (1, 1, 1, 4), function=3 * function))


@pytest.mark.parametrize("size", [1, 3, 5, 9])
@pytest.mark.parametrize("beta", [0.75, 0.5, 0.6])
def test_local_response_norm_equals_onnxruntime(
    runner: Runner, size: int, beta: float
) -> None:
    for channels in (1, 3, 16, 37):
        x = some((2, channels, 5, 3)) * 4
        attributes = {"size": size, "alpha": 0.05, "beta": beta, "bias": 1.0}
        want = nhwc(run_onnx("LRN", [x], attributes))
        op = Op(
            spec.OP_LOCAL_RESPONSE_NORM,
            want.shape,
            want.shape,
            kernel=(1, size),
            alpha=0.05 / size,
            beta=beta,
        )
        for mode in (SEPARATE, OVER_A):
            assert relative_error(runner.run(op, nhwc(x), mode=mode), want) <= TOLERANCE


PRODUCTS: list[tuple[Dims, Dims]] = [
    ((1, 1, 1, 1), (1, 1, 1, 1)),
    ((1, 1, 5, 7), (1, 1, 7, 3)),
    ((1, 3, 13, 20), (1, 3, 20, 13)),
    ((2, 3, 6, 8), (2, 3, 8, 16)),
    ((2, 3, 6, 9), (2, 1, 9, 17)),
    ((2, 1, 6, 9), (1, 3, 9, 5)),
    ((1, 4, 49, 32), (1, 4, 32, 49)),
]


@pytest.mark.parametrize(("a", "b"), PRODUCTS, ids=str)
@pytest.mark.parametrize("turned", [False, True], ids=["", "transposed"])
def test_matrix_multiply_equals_onnxruntime(
    runner: Runner, a: Dims, b: Dims, turned: bool
) -> None:
    x, y = some(a), some(b, offset=0.1)
    want = run_onnx("MatMul", [x, y])
    flags = 0
    if turned:
        y = np.ascontiguousarray(y.swapaxes(2, 3))
        flags = spec.OP_FLAG_TRANSPOSED
    op = Op(spec.OP_MATRIX_MULTIPLY, a, want.shape, b=y.shape, flags=flags)
    assert relative_error(runner.run(op, x, y), want) <= 1e-5
    clamped = Op(**{**op.__dict__, "act": (-0.5, 2.0)})
    want = np.clip(want, np.float32(-0.5), np.float32(2))
    assert relative_error(runner.run(clamped, x, y), want) <= 1e-5


def test_matrices_that_do_not_fit_are_refused(runner: Runner) -> None:
    for a, b, out in (
        ((1, 1, 5, 7), (1, 1, 6, 3), (1, 1, 5, 3)),
        ((1, 1, 5, 7), (1, 1, 7, 3), (1, 1, 5, 4)),
        ((1, 2, 5, 7), (1, 3, 7, 3), (1, 3, 5, 3)),
        ((1, 1, 5, 7), (1, 1, 7, 3), (1, 2, 5, 3)),
    ):
        with pytest.raises(RefusedError):
            runner.check(Op(spec.OP_MATRIX_MULTIPLY, a, out, b=b))


def test_log_softmax_equals_onnxruntime(runner: Runner) -> None:
    for dims in ((1, 1, 1, 1), (1, 1, 5, 7), (1, 2, 3, 1000)):
        x = some(dims) * 30
        want = run_onnx("LogSoftmax", [x], {"axis": 3})
        op = Op(spec.OP_SOFTMAX, dims, dims, function=spec.SOFTMAX_LOG)
        for mode in (SEPARATE, OVER_A):
            assert relative_error(runner.run(op, x, mode=mode), want) <= TOLERANCE


def test_power_of_two_activations_equals_onnxruntime(runner: Runner) -> None:
    a, b = (2, 3, 5, 7), (1, 1, 5, 7)
    x = np.abs(some(a)) + np.float32(0.01)
    y = some(b) * 2
    op = Op(spec.OP_POWER, a, a, b=b)
    assert relative_error(runner.run(op, x, y), run_onnx("Pow", [x, y])) <= TOLERANCE


def test_arg_max_is_the_first_of_the_largest(runner: Runner) -> None:
    for dims in ((1, 1, 1, 1), (2, 3, 5, 7), (1, 4, 3, 21), (1, 1, 3, 1000)):
        x = np.round(some(dims) * 2)
        x[..., -1, :] = -np.inf
        op = Op(spec.OP_ARG_MAX, dims, (*dims[:3], 1))
        want = x.argmax(axis=3, keepdims=True)
        assert np.array_equal(runner.run(op, x), want)
        x[..., 0, :] = np.nan
        assert runner.run(op, x)[..., 0, 0].max() == 0
