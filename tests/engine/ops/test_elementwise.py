# SPDX-License-Identifier: Apache-2.0
"""Binary operators with broadcasting, and unary ones, equal onnxruntime's.

One rounding per element and operator on either side: 1e-6 of the largest output.
"""

from __future__ import annotations

import numpy as np
import pytest

from helpers.onnx_ops import Array, relative_error, run_onnx
from helpers.op_runner import INF, OVER_A, OVER_B, SEPARATE, Dims, Op, Runner
from undercroft import _spec as spec

TOLERANCE = 1e-6
BINARY = {
    "Add": spec.OP_ADD,
    "Sub": spec.OP_SUB,
    "Mul": spec.OP_MUL,
    "Div": spec.OP_DIV,
    "Min": spec.OP_MINIMUM,
    "Max": spec.OP_MAXIMUM,
    "PRelu": spec.OP_PRELU,
}

BROADCASTS: list[tuple[Dims, Dims]] = [
    ((1, 7, 5, 16), (1, 7, 5, 16)),
    ((2, 3, 5, 7), (2, 3, 5, 7)),
    ((1, 1, 1, 1), (1, 1, 1, 1)),
    ((1, 60, 61, 3), (1, 60, 61, 3)),
    ((2, 4, 5, 7), (1, 1, 1, 1)),
    ((1, 1, 1, 1), (2, 4, 5, 7)),
    ((1, 6, 5, 24), (1, 1, 1, 24)),
    ((1, 1, 1, 24), (1, 6, 5, 24)),
    ((1, 11, 9, 3), (1, 1, 1, 3)),
    ((1, 1, 1, 3), (2, 11, 9, 3)),
    ((2, 5, 6, 50), (1, 1, 1, 50)),
    ((3, 4, 5, 20), (3, 1, 1, 20)),
    ((3, 4, 5, 20), (3, 1, 1, 1)),
    ((2, 5, 6, 20), (2, 5, 6, 1)),
    ((2, 5, 6, 1), (2, 5, 6, 20)),
    ((2, 5, 6, 20), (2, 1, 6, 1)),
    ((2, 5, 1, 20), (2, 1, 6, 20)),
    ((2, 1, 6, 1), (1, 5, 1, 13)),
    ((1, 5, 1, 13), (2, 1, 6, 1)),
    ((1, 5, 6, 7), (3, 5, 6, 7)),
    ((4, 1, 1, 1), (1, 1, 1, 9)),
    ((1, 4, 6, 2), (1, 4, 1, 2)),
    ((1, 1, 6, 2), (3, 4, 6, 2)),
]


def operand(rng: np.random.Generator, dims: Dims) -> Array:
    """Away from 0, so that division says nothing about rounding near it."""
    x = rng.uniform(0.5, 3.0, dims).astype(np.float32)
    return np.where(rng.random(dims) < 0.5, -x, x)


def out_of(a: Dims, b: Dims) -> Dims:
    n, h, w, c = np.broadcast_shapes(a, b)
    return n, h, w, c


@pytest.mark.parametrize(("a", "b"), BROADCASTS, ids=str)
def test_binary_with_broadcasting_equals_onnxruntime(
    runner: Runner, a: Dims, b: Dims
) -> None:
    rng = np.random.default_rng(abs(hash((a, b))))
    x, y = operand(rng, a), operand(rng, b)
    for name, code in BINARY.items():
        op = Op(code, a, out_of(a, b), b=b)
        assert relative_error(runner.run(op, x, y), run_onnx(name, [x, y])) <= TOLERANCE
        op = Op(code, a, op.out, b=b, flags=spec.OP_FLAG_REVERSED, act=(-1.0, 1.5))
        want = np.clip(run_onnx(name, [y, x]), -1.0, 1.5)
        assert relative_error(runner.run(op, x, y), want) <= TOLERANCE


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("dims", [(1, 7, 5, 16), (1, 1, 1, 3), (1, 80, 60, 1)], ids=str)
def test_binary_with_scalar_equals_onnxruntime(
    runner: Runner, name: str, dims: Dims
) -> None:
    rng = np.random.default_rng(5)
    x = operand(rng, dims)
    scalar = np.full((1, 1, 1, 1), 0.731, np.float32)
    for flags, operands in ((0, [x, scalar]), (spec.OP_FLAG_REVERSED, [scalar, x])):
        op = Op(
            BINARY[name],
            dims,
            dims,
            flags=flags | spec.OP_FLAG_SCALAR_OPERAND,
            alpha=0.731,
        )
        assert relative_error(runner.run(op, x), run_onnx(name, operands)) <= TOLERANCE


@pytest.mark.parametrize("mode", [OVER_A, OVER_B], ids=["over-a", "over-b"])
@pytest.mark.parametrize("reverse", [False, True], ids=["", "reversed"])
def test_binary_in_place_is_bitwise_equal(
    runner: Runner, mode: int, reverse: bool
) -> None:
    rng = np.random.default_rng(7)
    for full, other in BROADCASTS:
        if np.broadcast_shapes(full, other) != full:
            continue
        a, b = (full, other) if mode == OVER_A else (other, full)
        x, y = operand(rng, a), operand(rng, b)
        for code in BINARY.values():
            op = Op(
                code,
                a,
                full,
                b=b,
                flags=spec.OP_FLAG_REVERSED if reverse else 0,
                act=(-2.0, INF),
            )
            want = runner.run(op, x, y, mode=SEPARATE)
            assert np.array_equal(runner.run(op, x, y, mode=mode), want)


SHAPES: list[Dims] = [
    (1, 1, 1, 1),
    (1, 1, 1, 2),
    (1, 1, 1, 3),
    (1, 1, 1, 15),
    (1, 1, 1, 64),
    (1, 1, 1, 65),
    (2, 5, 7, 13),
    (1, 16, 16, 24),
]


@pytest.mark.parametrize("dims", SHAPES, ids=str)
def test_unary_equals_onnxruntime(runner: Runner, dims: Dims) -> None:
    rng = np.random.default_rng(dims[3])
    x = (rng.standard_normal(dims) * 4).astype(np.float32)
    cases = [
        (
            Op(spec.OP_CLAMP, dims, dims, act=(-0.25, 3.5)),
            np.clip(x, np.float32(-0.25), np.float32(3.5)),
        ),
        (Op(spec.OP_CLAMP, dims, dims, act=(0.0, INF)), np.maximum(x, 0)),
        (
            Op(spec.OP_HARD_SIGMOID, dims, dims, alpha=0.21, beta=0.47),
            run_onnx("HardSigmoid", [x], {"alpha": 0.21, "beta": 0.47}),
        ),
        (
            Op(spec.OP_HARD_SIGMOID, dims, dims, alpha=0.2, beta=0.5, act=(0.3, 5.0)),
            np.clip(run_onnx("HardSigmoid", [x]), np.float32(0.3), np.float32(5)),
        ),
        (Op(spec.OP_HARD_SWISH, dims, dims), run_onnx("HardSwish", [x])),
        (
            Op(spec.OP_HARD_SWISH, dims, dims, act=(-0.1, 1.0)),
            np.clip(run_onnx("HardSwish", [x]), np.float32(-0.1), np.float32(1)),
        ),
    ]
    for op, want in cases:
        for mode in (SEPARATE, OVER_A):
            assert relative_error(runner.run(op, x, mode=mode), want) <= TOLERANCE


@pytest.mark.parametrize("dims", [*SHAPES, (3, 1, 1, 1000), (1, 1, 40, 6625)], ids=str)
@pytest.mark.parametrize("scale", [1.0, 60.0, 1e30], ids=str)
def test_softmax_equals_onnxruntime(runner: Runner, dims: Dims, scale: float) -> None:
    rng = np.random.default_rng(dims[3])
    x = (rng.standard_normal(dims) * scale).astype(np.float32)
    want = run_onnx("Softmax", [x], {"axis": 3})
    op = Op(spec.OP_SOFTMAX, dims, dims)
    for mode in (SEPARATE, OVER_A):
        got = runner.run(op, x, mode=mode)
        assert relative_error(got, want) <= TOLERANCE
        assert np.allclose(got.sum(axis=3), 1.0, atol=1e-5)


def test_clamp_to_other_dimensions_reshapes(runner: Runner) -> None:
    x = np.random.default_rng(0).standard_normal((1, 3, 5, 7), np.float32)
    op = Op(spec.OP_CLAMP, (1, 3, 5, 7), (1, 1, 1, 105))
    for mode in (SEPARATE, OVER_A):
        assert np.array_equal(runner.run(op, x, mode=mode).ravel(), x.ravel())
