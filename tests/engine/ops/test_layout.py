# SPDX-License-Identifier: Apache-2.0
"""TRANSPOSE and CONSTANT move elements and change none."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from helpers.op_runner import INF, Dims, Op, Runner
from undercroft import _spec as spec

SHAPES: list[Dims] = [(2, 3, 5, 7), (1, 9, 8, 3), (1, 1, 6, 10), (4, 1, 1, 5)]


@pytest.mark.parametrize("dims", SHAPES, ids=str)
def test_transpose_equals_numpy(runner: Runner, dims: Dims) -> None:
    x = np.arange(np.prod(dims), dtype=np.float32).reshape(dims)
    for permutation in itertools.permutations(range(4)):
        want = x.transpose(permutation)
        op = Op(spec.OP_TRANSPOSE, dims, want.shape, permutation=permutation)
        assert np.array_equal(runner.run(op, x), want), permutation


@pytest.mark.parametrize(
    ("dims", "permutation"),
    [
        ((1, 1, 1, 1), (3, 2, 1, 0)),
        ((1, 33, 65, 24), (0, 3, 1, 2)),
        ((1, 24, 33, 65), (0, 2, 3, 1)),
        ((2, 3, 64, 64), (0, 2, 3, 1)),
        ((2, 64, 64, 3), (0, 3, 1, 2)),
        ((1, 4, 40, 40), (0, 2, 1, 3)),
        ((1, 6, 40, 48), (0, 1, 3, 2)),
    ],
    ids=str,
)
def test_transpose_of_real_sizes_equals_numpy(
    runner: Runner, dims: Dims, permutation: tuple[int, int, int, int]
) -> None:
    x = np.random.default_rng(0).standard_normal(dims, np.float32)
    want = x.transpose(permutation)
    op = Op(spec.OP_TRANSPOSE, dims, want.shape, permutation=permutation)
    assert np.array_equal(runner.run(op, x), want)
    op = Op(
        spec.OP_TRANSPOSE, dims, want.shape, permutation=permutation, act=(0.0, INF)
    )
    assert np.array_equal(runner.run(op, x), np.maximum(want, 0))


@pytest.mark.parametrize("panel_bytes", [32, 64, 4096])
@pytest.mark.parametrize("dims", [(1, 1, 1, 1), (1, 1, 1, 8), (2, 3, 5, 7)], ids=str)
def test_constant_in_steps_equals_its_bytes(
    runner: Runner, dims: Dims, panel_bytes: int
) -> None:
    x = np.random.default_rng(0).standard_normal(dims, np.float32)
    panels = -(-x.nbytes // panel_bytes)
    packed = x.tobytes().ljust(panels * panel_bytes, b"\0")
    op = Op(spec.OP_CONSTANT, None, dims, panel_bytes=panel_bytes)
    for steps in ([panels], [1] * panels):
        assert np.array_equal(runner.run(op, weights=packed, steps=steps), x)
