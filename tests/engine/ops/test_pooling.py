# SPDX-License-Identifier: Apache-2.0
"""Pooling equals onnxruntime's: exactly for maxima, 1e-6 for averages."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import pytest

from helpers.onnx_ops import nhwc, relative_error, run_onnx
from helpers.op_runner import INF, Op, Runner
from undercroft import _spec as spec

TOLERANCE = 1e-6


@dataclass(frozen=True)
class Pool:
    """A pooling window over ``(h, w)`` of ``channels``."""

    size: tuple[int, int]
    channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    ceil: bool = False
    batch: int = 1
    act: tuple[float, float] = (-INF, INF)

    def __str__(self) -> str:
        return "-".join(
            [
                f"{self.batch}x{self.size[0]}x{self.size[1]}x{self.channels}",
                f"k{self.kernel[0]}x{self.kernel[1]}",
                f"s{self.stride[0]}{self.stride[1]}",
                "p" + "".join(map(str, self.pads)),
                *(["ceil"] if self.ceil else []),
                *(["act"] if self.act != (-INF, INF) else []),
            ]
        )


POOLS = [
    Pool((8, 8), 16, (2, 2), (2, 2)),
    Pool((9, 7), 5, (3, 3), (2, 2), (1, 1, 1, 1)),
    Pool((9, 7), 5, (3, 3), (2, 2), (1, 1, 1, 1), batch=3),
    Pool((9, 7), 9, (3, 3), (1, 1), (1, 1, 1, 1), act=(-0.5, 0.5)),
    Pool((10, 9), 4, (3, 3), (2, 2), ceil=True),
    Pool((10, 9), 4, (2, 2), (2, 2), ceil=True),
    Pool((10, 10), 7, (3, 3), (2, 2), (1, 1, 1, 1), ceil=True),
    Pool((11, 8), 7, (3, 2), (3, 3), (0, 1, 2, 0), ceil=True, batch=2),
    Pool((12, 12), 8, (5, 5), (1, 1), (2, 2, 2, 2)),
    Pool((12, 13), 11, (5, 5), (3, 2), (2, 2, 2, 2)),
    Pool((12, 13), 3, (4, 3), (2, 1), (3, 2, 0, 1)),
    Pool((13, 13), 6, (13, 13), (1, 1), (6, 6, 6, 6)),
    Pool((7, 7), 33, (7, 7)),
    Pool((9, 9), 4, (9, 9), (1, 1), (4, 4, 4, 4)),
    Pool((1, 17), 10, (1, 4), (1, 2), (0, 1, 0, 1)),
    Pool((17, 1), 10, (10, 1), (2, 1), (1, 0, 1, 0)),
    Pool((5, 5), 1, (1, 1), (2, 2)),
    Pool((6, 6), 2, (2, 2), (1, 1), (1, 1, 0, 0)),
    Pool((6, 6), 12, (1, 10), (1, 1), (0, 9, 0, 9)),
    Pool((3, 48), 8, (3, 2), (3, 2)),
    Pool((20, 20), 130, (3, 3), (2, 2), (1, 1, 1, 1)),
    # Those that go along rows: every remainder, windows in the padding.
    *(
        Pool((5, n), 12, (k, k), (s, s), (k // 2, k // 2, k // 2, k // 2), batch=2)
        for k, s in ((2, 2), (3, 1), (3, 2), (5, 1))
        for n in range(k - k // 2, 13)
    ),
    *(
        Pool((6, 7), 8, (k, k), (s, s), (1, left, 0, right), ceil=ceil, act=(-0.5, 1.0))
        for k, s in ((2, 2), (3, 1), (3, 2), (5, 1))
        for left in range(min(k - s + 2, k))
        for right in (0, k - 1)
        for ceil in (False, True)
    ),
]


def run_pool(runner: Runner, op_type: str, case: Pool, *, include_pad: bool) -> float:
    rng = np.random.default_rng(zlib.crc32(str(case).encode()))
    x = rng.standard_normal((case.batch, case.channels, *case.size), np.float32)
    attributes = {
        "kernel_shape": case.kernel,
        "strides": case.stride,
        "pads": case.pads,
        "ceil_mode": int(case.ceil),
    }
    code, flags = spec.OP_MAX_POOL_2D, 0
    if op_type == "AveragePool":
        code = spec.OP_AVERAGE_POOL_2D
        attributes["count_include_pad"] = int(include_pad)
        flags = spec.OP_FLAG_COUNT_INCLUDE_PAD if include_pad else 0
    want = np.clip(nhwc(run_onnx(op_type, [x], attributes)), *case.act)
    op = Op(
        code,
        (case.batch, *case.size, case.channels),
        want.shape,
        flags=flags,
        act=case.act,
        kernel=case.kernel,
        stride=case.stride,
        pads=case.pads,
    )
    return relative_error(runner.run(op, nhwc(x)), want)


@pytest.mark.parametrize("case", POOLS, ids=str)
def test_max_pool_equals_onnxruntime(runner: Runner, case: Pool) -> None:
    assert run_pool(runner, "MaxPool", case, include_pad=False) == 0.0


@pytest.mark.parametrize("include_pad", [False, True], ids=["", "include-pad"])
@pytest.mark.parametrize("case", POOLS, ids=str)
def test_average_pool_equals_onnxruntime(
    runner: Runner, case: Pool, include_pad: bool
) -> None:
    error = run_pool(runner, "AveragePool", case, include_pad=include_pad)
    assert error <= TOLERANCE


@pytest.mark.parametrize(
    "dims",
    [(1, 7, 7, 1280), (2, 3, 5, 17), (1, 1, 1, 9), (3, 2, 1, 16), (1, 40, 41, 3)],
    ids=str,
)
def test_global_average_pool_equals_onnxruntime(
    runner: Runner, dims: tuple[int, int, int, int]
) -> None:
    n, h, w, c = dims
    # Not around 0: the error is measured against the mean.
    x = np.random.default_rng(c).random((n, c, h, w), np.float32)
    want = nhwc(run_onnx("GlobalAveragePool", [x]))
    op = Op(spec.OP_GLOBAL_AVERAGE_POOL, dims, (n, 1, 1, c))
    assert relative_error(runner.run(op, nhwc(x)), want) <= TOLERANCE
    op = Op(spec.OP_GLOBAL_AVERAGE_POOL, dims, (n, 1, 1, c), act=(0.0, 0.1))
    want = np.clip(want, np.float32(0), np.float32(0.1))
    assert np.abs(runner.run(op, nhwc(x)) - want).max() <= TOLERANCE
