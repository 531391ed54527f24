# SPDX-License-Identifier: Apache-2.0
"""GATHER equals NumPy's indexing, RESIZE_LINEAR onnxruntime's Resize."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.onnx_ops import Array, nhwc, relative_error, run_onnx
from helpers.op_runner import INF, Dims, Op, RefusedError, Runner
from undercroft import _spec as spec
from undercroft._import.ops._coordinates import Axis, neighbours
from undercroft._import.tables import MISSING, GatherTables, ResizeTables, Taps

TOLERANCE = 1e-6
NAN = float("nan")

FILL = -2.5


def words_of(tables: GatherTables | ResizeTables) -> bytes:
    return b"".join(bytes(panel) for panel in tables.panels(0, 1))


def gather(runner: Runner, x: Array, tables: list[np.ndarray], **op: object) -> Array:
    n, h, w, c = (len(table) for table in tables)
    weights = words_of(GatherTables(*(table.astype(np.uint32) for table in tables)))
    a: Dims = (x.shape[0], x.shape[1], x.shape[2], x.shape[3])
    request = Op(spec.OP_GATHER, a, (n, h, w, c), alpha=FILL, **op)  # type: ignore[arg-type]
    return runner.run(request, x, weights=weights)


def picked(x: Array, tables: list[np.ndarray]) -> Array:
    """What GATHER means, in NumPy."""
    outside = np.zeros((1, 1, 1, 1), bool)
    for axis, table in enumerate(tables):
        place = [len(table) if other == axis else 1 for other in range(4)]
        outside = outside | (table >= x.shape[axis]).reshape(place)
        x = x.take(np.minimum(table, x.shape[axis] - 1), axis)
    return np.where(outside, np.float32(FILL), x)


def whole(dims: Dims) -> list[np.ndarray]:
    return [np.arange(size) for size in dims]


def padded(size: int, before: int, after: int) -> np.ndarray:
    table = np.arange(-before, size + after)
    return np.where((table < 0) | (table >= size), MISSING, table)


SHAPES: list[Dims] = [
    (1, 1, 1, 1),
    (1, 5, 7, 1),
    (2, 4, 6, 3),
    (1, 6, 5, 8),
    (1, 7, 9, 50),
    (3, 2, 2, 65),
]


@pytest.mark.parametrize("dims", SHAPES, ids=str)
def test_gather_equals_indexing(runner: Runner, dims: Dims) -> None:
    rng = np.random.default_rng(sum(dims))
    x = rng.standard_normal(dims, np.float32)
    n, h, w, c = dims
    cases = {
        "nothing": whole(dims),
        "padding": [np.arange(n), padded(h, 2, 1), padded(w, 1, 3), np.arange(c)],
        "padding of all": [padded(size, 1, 2) for size in dims],
        "cut off": [
            np.arange(n),
            np.arange(h // 2, h),
            np.arange(w - 1, w),
            np.arange(c),
        ],
        "steps": [np.arange(0, size, 2) for size in dims],
        "backwards": [np.arange(size)[::-1] for size in dims],
        "twice as large": [
            np.arange(n),
            np.arange(2 * h) // 2,
            np.arange(2 * w) // 2,
            np.arange(c),
        ],
        "repeated": [np.arange(2 * size) % size for size in dims],
        "channels of a middle": [*whole(dims)[:3], np.arange(c // 3, c)],
        "any": [rng.integers(0, size + 1, 2 * size) for size in dims],
        "nowhere": [np.full(2, MISSING) for _ in dims],
        "huge": [np.arange(n), np.arange(h), np.full(3, 0x80000000), np.arange(c)],
    }
    for name, tables in cases.items():
        got = gather(runner, x, tables)
        assert np.array_equal(got, picked(x, tables)), name
        got = gather(runner, x, tables, act=(-0.25, 0.75))
        want = np.clip(picked(x, tables), np.float32(-0.25), np.float32(0.75))
        assert np.array_equal(got, want), name


def test_gather_refuses_what_has_no_meaning(runner: Runner) -> None:
    dims: Dims = (1, 4, 4, 8)
    for op in (
        Op(spec.OP_GATHER, dims, dims, alpha=NAN),
        Op(spec.OP_GATHER, dims, (1, 4, 4, 0)),
        Op(spec.OP_GATHER, dims, dims, b=dims),
        Op(spec.OP_GATHER, None, dims),
        Op(spec.OP_GATHER, dims, dims, act=(1.0, 0.0)),
    ):
        with pytest.raises(RefusedError):
            runner.check(op)


MODES = ["asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("channels", [1, 3, 8, 20, 65])
def test_linear_equals_onnxruntime(runner: Runner, mode: str, channels: int) -> None:
    rng = np.random.default_rng(channels)
    for size, out in (
        ((4, 5), (8, 10)),
        ((7, 9), (3, 2)),
        ((1, 6), (5, 150)),
        ((3, 3), (1, 1)),
    ):
        x = rng.standard_normal((2, channels, *size), np.float32)
        axes = [
            Axis(old, new, np.float32(new / old), mode)
            for old, new in zip(size, out, strict=True)
        ]
        tables = ResizeTables(neighbours(axes[0]), neighbours(axes[1]))
        scales = np.array([1, 1, out[0] / size[0], out[1] / size[1]], np.float32)
        want = nhwc(
            run_onnx(
                "Resize",
                [x, np.empty(0, np.float32), scales],
                {"mode": "linear", "coordinate_transformation_mode": mode},
            )
        )
        for act in ((-INF, INF), (-0.5, 0.5)):
            op = Op(
                spec.OP_RESIZE_LINEAR,
                (2, *size, channels),
                (2, *out, channels),
                act=act,
            )
            got = runner.run(op, nhwc(x), weights=words_of(tables))
            clipped = np.clip(want, np.float32(act[0]), np.float32(act[1]))
            assert relative_error(got, clipped) <= TOLERANCE


def test_linear_fills_what_lies_outside(runner: Runner) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 4, 4, 6), np.float32)
    rows = Taps(
        np.array([0, MISSING, 3], np.uint32),
        np.array([1, 0, 4], np.uint32),
        np.array([0.5, 0.5, 0.5], np.float32),
    )
    columns = Taps(
        np.array([MISSING, 1, 0x80000000, 2], np.uint32),
        np.array([MISSING, 2, 0, 3], np.uint32),
        np.array([0.25, 0.25, NAN, 0.75], np.float32),
    )
    op = Op(spec.OP_RESIZE_LINEAR, (1, 4, 4, 6), (1, 3, 4, 6), alpha=FILL)
    got = runner.run(op, x, weights=words_of(ResizeTables(rows, columns)))
    want = np.full((1, 3, 4, 6), FILL, np.float32)
    row = (x[0, 0] + x[0, 1]) / 2
    want[0, 0, 1] = row[1] + (row[2] - row[1]) * 0.25
    want[0, 0, 3] = row[2] + (row[3] - row[2]) * 0.75
    assert relative_error(got, want) <= TOLERANCE


def test_linear_refuses_other_channels(runner: Runner) -> None:
    dims: Dims = (1, 4, 4, 8)
    for op in (
        Op(spec.OP_RESIZE_LINEAR, dims, (1, 8, 8, 4)),
        Op(spec.OP_RESIZE_LINEAR, dims, (2, 8, 8, 8)),
        Op(spec.OP_RESIZE_LINEAR, dims, dims, alpha=NAN),
        Op(spec.OP_RESIZE_LINEAR, dims, dims, b=dims),
    ):
        with pytest.raises(RefusedError):
            runner.check(op)
