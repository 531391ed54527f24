# SPDX-License-Identifier: Apache-2.0
"""CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED equal onnxruntime's.

Both sides add the same products in another order, so the difference grows with
the number of products: at most 1e-5 of the largest output.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

import numpy as np
import pytest

from helpers.onnx_ops import nhwc, relative_error, run_onnx
from helpers.op_runner import (
    INF,
    Array,
    Op,
    Runner,
    pack_conv,
    pack_dense,
    pack_depthwise,
)
from undercroft import _spec as spec

TOLERANCE = 1e-5


@dataclass(frozen=True)
class Conv:
    """A convolution; the name of a test is made of it."""

    size: tuple[int, int]
    cin: int
    cout: int
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    batch: int = 1
    act: tuple[float, float] = (-INF, INF)
    bias: bool = True

    def __str__(self) -> str:
        parts = [
            f"{self.batch}x{self.size[0]}x{self.size[1]}x{self.cin}to{self.cout}",
            f"k{self.kernel[0]}{self.kernel[1]}",
            f"s{self.stride[0]}{self.stride[1]}",
            "p" + "".join(map(str, self.pads)),
            f"d{self.dilation[0]}{self.dilation[1]}",
            f"g{self.groups}",
        ]
        if self.act != (-INF, INF):
            parts.append(f"act{self.act[0]:g}..{self.act[1]:g}")
        return "-".join(parts)


SAME = (1, 1, 1, 1)
CONVOLUTIONS = [
    # 1x1: the input is the matrix; every remainder of a tile of rows.
    *(Conv((1, n), 16, 8, (1, 1)) for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13)),
    Conv((7, 7), 96, 40, (1, 1)),
    Conv((5, 9), 3, 5, (1, 1)),
    Conv((5, 9), 1, 1, (1, 1)),
    Conv((4, 4), 13, 17, (1, 1), batch=3),
    Conv((6, 5), 24, 36, (1, 1), groups=3),
    Conv((6, 5), 24, 24, (1, 1), groups=8, batch=2),
    Conv((9, 7), 33, 65, (1, 1), act=(0.0, 6.0)),
    Conv((3, 3), 513, 9, (1, 1), act=(0.0, INF)),
    Conv((3, 3), 64, 9, (1, 1), bias=False),
    # 1x1 that is not: stride or padding.
    Conv((9, 8), 20, 12, (1, 1), (2, 2)),
    Conv((9, 8), 7, 12, (1, 1), (3, 2), batch=2),
    Conv((4, 5), 16, 8, (1, 1), pads=(1, 0, 2, 3)),
    Conv((4, 5), 6, 8, (1, 1), pads=(0, 2, 0, 0)),
    # Few input channels: runs of floats, copied at the border.
    Conv((32, 32), 3, 32, stride=(2, 2), pads=SAME, act=(0.0, 6.0)),
    Conv((17, 13), 3, 8, stride=(2, 2), pads=(0, 0, 1, 1)),
    Conv((17, 13), 3, 9, (5, 5), pads=(2, 2, 2, 2), batch=2),
    Conv((12, 31), 3, 16, (7, 7), (2, 2), (3, 3, 3, 3)),
    Conv((9, 10), 1, 4, pads=SAME),
    Conv((9, 10), 2, 11, pads=SAME),
    Conv((9, 10), 5, 7, pads=SAME),
    Conv((9, 10), 8, 3, pads=SAME, batch=2),
    Conv((6, 6), 4, 6, (2, 3), (1, 2), (0, 1, 1, 0)),
    Conv((5, 4), 3, 4, pads=(4, 5, 4, 5)),
    Conv((1, 40), 4, 8, (1, 5), pads=(0, 2, 0, 2)),
    Conv((40, 1), 4, 8, (5, 1), pads=(2, 0, 2, 0)),
    Conv((12, 12), 3, 8, dilation=(2, 1), pads=(2, 1, 2, 1)),
    # The same with dilation or groups: copied tap by tap.
    Conv((12, 12), 3, 8, dilation=(2, 2), pads=(2, 2, 2, 2)),
    Conv((12, 9), 7, 10, dilation=(1, 3), pads=(1, 3, 1, 3), batch=2),
    Conv((8, 8), 8, 8, groups=4, pads=SAME),
    Conv((8, 7), 12, 18, groups=6, pads=SAME, batch=2),
    Conv((8, 7), 6, 12, groups=6, pads=SAME, stride=(2, 1)),
    Conv((8, 8), 16, 36, groups=2, pads=SAME, dilation=(1, 2)),
    Conv((7, 7), 10, 10, (7, 7), groups=10, pads=(3, 3, 3, 3)),
    Conv((9, 9), 14, 4, (1, 1), (2, 2), groups=2),
    # Many input channels: pointers, one run per kernel row where inside.
    Conv((14, 14), 16, 24, pads=SAME),
    Conv((14, 13), 9, 24, pads=SAME),
    Conv((7, 7), 64, 17, pads=SAME, act=(0.0, INF)),
    Conv((7, 7), 64, 16),
    Conv((10, 11), 12, 12, stride=(2, 2), pads=SAME, batch=2),
    Conv((10, 11), 12, 12, stride=(3, 1), pads=(2, 0, 0, 1)),
    Conv((6, 7), 31, 33, (2, 2)),
    Conv((6, 7), 31, 33, (4, 5), pads=(2, 3, 1, 0)),
    Conv((9, 9), 10, 8, (5, 3), pads=(4, 4, 4, 4)),
    Conv((13, 13), 16, 8, dilation=(2, 2), pads=(2, 2, 2, 2)),
    Conv((13, 13), 16, 8, dilation=(3, 1)),
    Conv((13, 13), 17, 8, dilation=(1, 4), pads=(0, 4, 0, 4), stride=(1, 2)),
    Conv((3, 3), 16, 8, dilation=(5, 5), pads=(5, 5, 5, 5)),
    Conv((8, 9), 32, 48, groups=2, pads=SAME),
    Conv((8, 9), 60, 20, groups=4, pads=SAME, stride=(2, 2), batch=2),
    Conv((8, 9), 36, 27, groups=3, pads=SAME, act=(-0.5, 0.25)),
    Conv((2, 2), 16, 8, pads=(3, 3, 3, 3)),
    Conv((1, 1), 16, 8, pads=SAME),
    Conv((1, 48), 16, 12, (1, 3), pads=(0, 1, 0, 1)),
]


def data_of(case: Conv) -> tuple[Array, Array, Array | None]:
    rng = np.random.default_rng(zlib.crc32(str(case).encode()))
    cin_g = case.cin // case.groups
    x = rng.standard_normal((case.batch, case.cin, *case.size), np.float32)
    weight = rng.standard_normal((case.cout, cin_g, *case.kernel), np.float32)
    bias = rng.standard_normal(case.cout, np.float32) if case.bias else None
    return x, weight, bias


def expect(case: Conv, x: Array, weight: Array, bias: Array | None) -> Array:
    y = run_onnx(
        "Conv",
        [x, weight] if bias is None else [x, weight, bias],
        {
            "kernel_shape": case.kernel,
            "strides": case.stride,
            "dilations": case.dilation,
            "pads": case.pads,
            "group": case.groups,
        },
    )
    return np.clip(nhwc(y), *case.act)


def op_of(case: Conv, code: int, out: Array) -> Op:
    return Op(
        code,
        (case.batch, *case.size, case.cin),
        out.shape,
        act=case.act,
        kernel=case.kernel,
        stride=case.stride,
        dilation=case.dilation,
        pads=case.pads,
        groups=case.groups,
    )


@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
def test_convolution_equals_onnxruntime(runner: Runner, case: Conv) -> None:
    x, weight, bias = data_of(case)
    want = expect(case, x, weight, bias)
    op = op_of(case, spec.OP_CONV_2D, want)
    got = runner.run(op, nhwc(x), weights=pack_conv(weight, bias, case.groups))
    assert relative_error(got, want) <= TOLERANCE


def random_steps(rng: np.random.Generator, panels: int) -> list[int]:
    cuts = np.flatnonzero(rng.random(panels - 1) < 0.5) + 1
    return np.diff([0, *cuts, panels]).tolist()


MANY_PANELS = [case for case in CONVOLUTIONS if case.cout > 8]


@pytest.mark.parametrize("case", MANY_PANELS, ids=str)
def test_convolution_in_steps_is_bitwise_equal(runner: Runner, case: Conv) -> None:
    x, weight, bias = data_of(case)
    op = op_of(case, spec.OP_CONV_2D, expect(case, x, weight, bias))
    packed = pack_conv(weight, bias, case.groups)
    panels = runner.check(op).panel_count
    whole = runner.run(op, nhwc(x), weights=packed)
    rng = np.random.default_rng(panels)
    for steps in ([1] * panels, random_steps(rng, panels), random_steps(rng, panels)):
        parts = runner.run(op, nhwc(x), weights=packed, steps=steps)
        assert np.array_equal(whole.view(np.uint32), parts.view(np.uint32)), steps


DEPTHWISE = [
    Conv((size, size + 1), c, c, (k, k), (s, s), (k // 2,) * 4, groups=c)
    for size, c, k, s in (
        (14, 32, 3, 1),
        (14, 33, 3, 2),
        (7, 7, 3, 1),
        (8, 1, 3, 2),
        (9, 40, 5, 1),
        (13, 21, 5, 2),
        (3, 16, 5, 1),
        (2, 9, 5, 2),
        (6, 12, 1, 1),
        (6, 12, 2, 1),
        (9, 64, 4, 2),
        (9, 24, 7, 1),
        (8, 9, 7, 2),
        (11, 11, 6, 1),
    )
] + [
    Conv((12, 11), 24, 24, pads=SAME, groups=24, act=(0.0, 6.0)),
    Conv((12, 11), 24, 24, pads=SAME, groups=24, batch=3),
    Conv((12, 11), 10, 10, stride=(2, 1), pads=(0, 2, 1, 0), groups=10, batch=2),
    Conv((12, 11), 10, 10, (1, 3), pads=(0, 1, 0, 1), groups=10),
    Conv((12, 11), 10, 10, (3, 1), pads=(1, 0, 1, 0), groups=10),
    Conv((12, 11), 10, 10, (2, 1), groups=10, bias=False),
    Conv((12, 11), 10, 10, (4, 1), (3, 2), groups=10),
    Conv((12, 11), 19, 19, (2, 4), pads=(1, 2, 0, 1), groups=19),
    Conv((12, 11), 19, 19, (3, 5), pads=(1, 2, 1, 2), groups=19),
    Conv((15, 16), 8, 8, dilation=(2, 2), pads=(2, 2, 2, 2), groups=8),
    Conv((15, 16), 12, 12, dilation=(3, 1), groups=12, batch=2),
    Conv((1, 1), 20, 20, pads=SAME, groups=20),
    Conv((2, 3), 20, 20, (5, 5), pads=(4, 4, 4, 4), groups=20),
    Conv((30, 2), 17, 17, (5, 2), (3, 1), pads=(3, 1, 0, 1), groups=17, batch=2),
    Conv((15, 16), 13, 13, (7, 7), dilation=(2, 2), pads=(6,) * 4, groups=13),
    Conv((9, 40), 10, 10, (1, 31), pads=(0, 15, 0, 15), groups=10, batch=2),
    # Rows shared out among kernels: every remainder.
    *(Conv((n, 9), 8, 8, pads=SAME, groups=8) for n in range(1, 12)),
    *(Conv((n, 6), 4, 4, (5, 5), pads=(2,) * 4, groups=4) for n in range(3, 9)),
    *(Conv((n, 7), 12, 12, (7, 7), pads=(3,) * 4, groups=12) for n in range(3, 11)),
    *(Conv((n, 5), 20, 20, (1, 1), groups=20, batch=2) for n in (1, 2, 3, 7)),
    Conv((4, 5), 8, 8, (1, 1), pads=(0, 1, 0, 0), groups=8),
    # Columns: every remainder, windows that never leave the padding.
    *(
        Conv((5, n), 12, 12, (k, k), (s, s), (k // 2,) * 4, groups=12)
        for k, s in ((3, 1), (3, 2), (5, 1), (5, 2), (7, 1))
        for n in range(1, 14)
    ),
    *(
        Conv((6, 7), 8, 8, (k, k), (s, s), (0, left, 1, right), groups=8)
        for k, s in ((3, 1), (3, 2), (5, 1), (5, 2), (7, 1))
        for left in range(k - s + 2)
        for right in (0, 1, k)
    ),
]


@pytest.mark.parametrize("case", DEPTHWISE, ids=str)
def test_depthwise_equals_onnxruntime(runner: Runner, case: Conv) -> None:
    x, weight, bias = data_of(case)
    want = expect(case, x, weight, bias)
    op = op_of(case, spec.OP_DEPTHWISE_CONV_2D, want)
    packed = pack_depthwise(weight, bias)
    got = runner.run(op, nhwc(x), weights=packed)
    assert relative_error(got, want) <= TOLERANCE
    panels = runner.check(op).panel_count
    rng = np.random.default_rng(panels)
    for steps in ([1] * panels, random_steps(rng, panels)):
        parts = runner.run(op, nhwc(x), weights=packed, steps=steps)
        assert np.array_equal(got.view(np.uint32), parts.view(np.uint32)), steps


@pytest.mark.parametrize(
    ("kernel", "stride"),
    [(1, 1), (3, 1), (3, 2), (5, 1), (5, 2), (7, 1), (7, 2)],
    ids=str,
)
def test_depthwise_in_bands_of_rows_is_bitwise_equal(
    runner: Runner, kernel: int, stride: int
) -> None:
    pad = kernel // 2
    case = Conv((23, 12), 24, 24, (kernel,) * 2, (stride,) * 2, (pad,) * 4, groups=24)
    x, weight, bias = data_of(case)
    packed = pack_depthwise(weight, bias)
    op = op_of(case, spec.OP_DEPTHWISE_CONV_2D, expect(case, x, weight, bias))
    whole = runner.run(op, nhwc(x), weights=packed)
    rows = op.out[1]
    for band in (1, 2, 3, 5):
        for first in range(0, rows, band):
            last = min(first + band, rows)
            top = first * stride - pad
            end = (last - 1) * stride - pad + kernel
            part = nhwc(x)[:, max(top, 0) : min(end, 23)]
            pads = (max(-top, 0), pad, max(end - 23, 0), pad)
            dims = (1, last - first, *op.out[2:])
            got = runner.run(
                replace(op, a=part.shape, out=dims, pads=pads), part, weights=packed
            )
            want = whole[:, first:last]
            assert np.array_equal(want.view(np.uint32), got.view(np.uint32))


@pytest.mark.parametrize("act", [(-INF, INF), (0.0, 1.0)], ids=["plain", "fused"])
@pytest.mark.parametrize(
    ("rows", "cin", "cout"),
    [
        ((1, 1, 1), 1280, 1000),
        ((1, 1, 1), 1, 1),
        ((3, 1, 1), 17, 9),
        ((1, 5, 1), 64, 24),
        ((2, 3, 4), 30, 31),
        ((7, 1, 1), 5, 2),
        ((1, 1, 1), 7, 803),
        *(((1, 1, 1), k, 13) for k in (4, 15, 16, 20, 33, 36, 63)),
    ],
    ids=str,
)
def test_fully_connected_equals_onnxruntime(
    runner: Runner,
    rows: tuple[int, int, int],
    cin: int,
    cout: int,
    act: tuple[float, float],
) -> None:
    rng = np.random.default_rng(cin * cout)
    x = rng.standard_normal((*rows, cin), np.float32)
    weight = rng.standard_normal((cin, cout), np.float32) / np.float32(cin**0.5)
    bias = rng.standard_normal(cout, np.float32)
    want = run_onnx("Gemm", [x.reshape(-1, cin), weight, bias])
    want = np.clip(want, *act).reshape(*rows, cout)
    op = Op(spec.OP_FULLY_CONNECTED, (*rows, cin), (*rows, cout), act=act)
    packed = pack_dense(weight, bias)
    got = runner.run(op, x, weights=packed)
    assert relative_error(got, want) <= TOLERANCE
    panels = runner.check(op).panel_count
    parts = runner.run(op, x, weights=packed, steps=random_steps(rng, panels))
    assert np.array_equal(got.view(np.uint32), parts.view(np.uint32))
