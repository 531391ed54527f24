# SPDX-License-Identifier: Apache-2.0
"""Operators on 8-bit activations: the very integers that NumPy gets.

Sums of integers have one answer, and so has the rounding that follows: every
build must give the same bits.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from helpers.op_runner import (
    F32,
    Op,
    Quant,
    RefusedError,
    Runner,
    pack_conv_s8,
    pack_depthwise_s8,
)
from undercroft import _spec as spec

ALL = (-128.0, 127.0)


def integers(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(-128, 128, shape).astype(np.int8)


def weights(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(-127, 128, shape).astype(np.int8)


def stored(values: np.ndarray, op: Op) -> np.ndarray:
    """Round to 8 bits, as the specification says."""
    rounded = np.rint(values.astype(np.float32)) + op.out_quant.zero
    return rounded.clip(*op.act).astype(np.int8)


def windows(x: np.ndarray, op: Op, padding: int) -> np.ndarray:
    """(n, oh, ow, kh, kw, c)."""
    top, left, bottom, right = op.pads
    padded = np.pad(
        x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=padding
    )
    dilation_h, dilation_w = op.dilation
    reach = [d * (k - 1) + 1 for d, k in zip(op.dilation, op.kernel, strict=True)]
    view = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(1, 2))
    view = view[:, :: op.stride[0], :: op.stride[1], :, ::dilation_h, ::dilation_w]
    return view.transpose(0, 1, 2, 4, 5, 3)


def conv_op(
    cin: int,
    cout: int,
    kernel: tuple[int, int],
    *,
    size: tuple[int, int] = (9, 11),
    stride: int = 1,
    pad: int = 0,
    dilation: int = 1,
    groups: int = 1,
    batch: int = 1,
    code: int = spec.OP_CONV_2D_S8,
) -> Op:
    out = [
        (size[i] + 2 * pad - dilation * (kernel[i] - 1) - 1) // stride + 1
        for i in range(2)
    ]
    return Op(
        code,
        (batch, *size, cin),
        (batch, out[0], out[1], cout),
        kernel=kernel,
        stride=(stride, stride),
        dilation=(dilation, dilation),
        pads=(pad,) * 4,
        groups=groups,
        act=ALL,
        a_quant=Quant(0.02, -7),
        out_quant=Quant(0.05, 11),
    )


CONVOLUTIONS = {
    "1x1": conv_op(64, 40, (1, 1)),
    "1x1, many channels": conv_op(1024, 24, (1, 1), size=(7, 7)),
    "1x1, no whole block": conv_op(39, 17, (1, 1)),
    "1x1 of 4": conv_op(4, 9, (1, 1)),
    "1x1 of 8 with stride": conv_op(8, 8, (1, 1), stride=2),
    "first layer": conv_op(3, 32, (3, 3), stride=2, pad=1),
    "3x3": conv_op(20, 31, (3, 3), pad=1),
    "3x3 of 8": conv_op(8, 12, (3, 3), pad=1),
    "3x3 of 10": conv_op(10, 12, (3, 3), pad=1, batch=2),
    "5x3 dilated": conv_op(16, 8, (5, 3), dilation=2, pad=3),
    "7x7 over all": conv_op(12, 50, (7, 7), size=(7, 7)),
    "groups of 12": conv_op(36, 27, (3, 3), pad=1, groups=3),
    "groups of 3": conv_op(6, 16, (3, 3), pad=1, groups=2),
    "a row": conv_op(128, 1000, (1, 1), size=(1, 1)),
}


def convolution(
    op: Op, rng: np.random.Generator
) -> tuple[np.ndarray, bytes, np.ndarray]:
    assert op.a
    cin_g = op.a[3] // op.groups
    x = integers(rng, *op.a)
    w = weights(rng, op.out[3], cin_g, *op.kernel)
    bias = rng.integers(-(1 << 16), 1 << 16, op.out[3]).astype(np.int32)
    depth = cin_g * op.kernel[0] * op.kernel[1]
    by = (rng.uniform(0.2, 2, op.out[3]) / (depth**0.5 * 64)).astype(np.float32)
    seen = windows(x, op, op.a_quant.zero).astype(np.int64)
    sums = np.empty(op.out, np.int64)
    per_group = op.out[3] // op.groups
    for g in range(op.groups):
        outs = slice(g * per_group, (g + 1) * per_group)
        ins = slice(g * cin_g, (g + 1) * cin_g)
        sums[..., outs] = np.einsum(
            "nyxklc,ockl->nyxo", seen[..., ins], w[outs].astype(np.int64)
        )
    sums += bias
    want = stored(sums.astype(np.float32) * by, op)
    if op.code == spec.OP_CONV_2D_S8:
        return x, pack_conv_s8(w, bias, by, op.groups), want
    return x, pack_depthwise_s8(w, bias, by), want


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution(runner: Runner, name: str) -> None:
    op = CONVOLUTIONS[name]
    x, panels, want = convolution(op, np.random.default_rng(1))
    assert len(np.unique(want)) > 30
    assert np.array_equal(runner.run(op, x, weights=panels), want)
    count = runner.check(op).panel_count
    assert np.array_equal(runner.run(op, x, weights=panels, steps=[1] * count), want)
    relu = replace(op, act=(11.0, 60.0))
    got = runner.run(relu, x, weights=panels)
    assert np.array_equal(got, want.clip(11, 60))


@pytest.mark.parametrize(
    ("channels", "kernel", "stride", "dilation"),
    [
        (8, (3, 3), 1, 1),
        (43, (3, 3), 2, 1),
        (20, (5, 5), 1, 1),
        (16, (1, 3), 1, 2),
        (9, (1, 1), 1, 1),
        (130, (4, 2), 1, 1),
    ],
)
def test_depthwise(
    runner: Runner, channels: int, kernel: tuple[int, int], stride: int, dilation: int
) -> None:
    op = conv_op(
        channels,
        channels,
        kernel,
        stride=stride,
        dilation=dilation,
        pad=1,
        groups=channels,
        batch=2,
        code=spec.OP_DEPTHWISE_CONV_2D_S8,
    )
    x, panels, want = convolution(op, np.random.default_rng(2))
    assert np.array_equal(runner.run(op, x, weights=panels), want)
    count = runner.check(op).panel_count
    assert np.array_equal(runner.run(op, x, weights=panels, steps=[1] * count), want)


def test_the_largest_sums_and_products(runner: Runner) -> None:
    # -128 times -127, twice in each pair: 32512 still fits into 16 bits.
    op = conv_op(64, 8, (1, 1), size=(2, 2))
    w = np.full((8, 64, 1, 1), -127, np.int8)
    x = np.full(op.a, -128, np.int8)
    by = np.full(8, 1 / 16384, np.float32)
    got = runner.run(op, x, weights=pack_conv_s8(w, np.zeros(8, np.int32), by))
    assert (got == stored(np.float32(64 * 128 * 127 / 16384), op)).all()


def test_ties_go_to_the_even_neighbour(runner: Runner) -> None:
    op = replace(conv_op(4, 8, (1, 1), size=(1, 7)), out_quant=Quant(1.0, 0))
    w = np.zeros((8, 4, 1, 1), np.int8)
    w[:, 0] = 1
    x = np.zeros(op.a, np.int8)
    x[0, 0, :, 0] = [-5, -3, -1, 1, 3, 5, 7]
    by = np.full(8, 0.5, np.float32)
    got = runner.run(op, x, weights=pack_conv_s8(w, np.zeros(8, np.int32), by))
    assert got[0, 0, :, 0].tolist() == [-2, -2, 0, 0, 2, 2, 4]


def test_multipliers_that_are_anything_do_no_harm(runner: Runner) -> None:
    op = conv_op(16, 8, (1, 1))
    rng = np.random.default_rng(3)
    bias = np.full(8, 2**31 - 1, np.int32)
    by = np.array([np.inf, -np.inf, 3e38, -3e38, 1e-45, 0, -1, 1], np.float32)
    x = integers(rng, *op.a)
    got = runner.run(op, x, weights=pack_conv_s8(weights(rng, 8, 16, 1, 1), bias, by))
    assert (got[..., 2] == np.where(got[..., 2] > 0, 127, -128)).all()
    by[:] = np.nan
    runner.run(op, x, weights=pack_conv_s8(weights(rng, 8, 16, 1, 1), bias, by))


SHAPE = (2, 3, 5, 19)


def test_quantize(runner: Runner) -> None:
    op = Op(spec.OP_QUANTIZE, SHAPE, SHAPE, act=ALL, out_quant=Quant(0.1, -5))
    x = np.random.default_rng(4).normal(0, 8, SHAPE).astype(np.float32)
    x.flat[:6] = [np.inf, -np.inf, 1e30, -1e30, 0.0, -0.0]
    want = np.rint(x / np.float32(0.1)) - 5
    assert np.array_equal(runner.run(op, x), want.clip(-128, 127).astype(np.int8))
    x.flat[0] = np.nan
    runner.run(op, x)


def test_dequantize(runner: Runner) -> None:
    op = Op(spec.OP_DEQUANTIZE, SHAPE, SHAPE, a_quant=Quant(0.3, 17), act=(-9.0, 9.0))
    x = integers(np.random.default_rng(5), *SHAPE)
    want = (x.astype(np.float32) - 17) * np.float32(0.3)
    assert np.array_equal(runner.run(op, x), want.clip(-9, 9))


def test_lookup(runner: Runner) -> None:
    rng = np.random.default_rng(6)
    table = integers(rng, 256)
    op = Op(
        spec.OP_LOOKUP_S8,
        SHAPE,
        (1, 1, 6, 95),
        act=ALL,
        a_quant=Quant(1.0, 3),
        out_quant=Quant(2.0, 4),
    )
    x = integers(rng, *SHAPE)
    want = table[x.view(np.uint8)].reshape(op.out)
    assert np.array_equal(runner.run(op, x, weights=table.tobytes()), want)
    bounded = replace(op, act=(-10.0, 20.0))
    got = runner.run(bounded, x, weights=table.tobytes())
    assert np.array_equal(got, want.clip(-10, 20))


@pytest.mark.parametrize("b_shape", [SHAPE, (2, 1, 1, 19)])
def test_add_and_multiply(runner: Runner, b_shape: tuple[int, int, int, int]) -> None:
    rng = np.random.default_rng(7)
    a, b = integers(rng, *SHAPE), integers(rng, *b_shape)
    f = np.float32
    for code in (spec.OP_ADD_S8, spec.OP_MUL_S8):
        op = Op(
            code,
            SHAPE,
            SHAPE,
            b=b_shape,
            act=(-100.0, 127.0),
            a_quant=Quant(0.03, -9),
            b_quant=Quant(0.05, 20),
            out_quant=Quant(0.07, 3) if code == spec.OP_ADD_S8 else Quant(0.21, 3),
        )
        got = runner.run(op, a, b)
        real_a = (a.astype(f) + 9) * f(0.03)
        real_b = (b.astype(f) - 20) * f(0.05)
        real = real_a + real_b if code == spec.OP_ADD_S8 else real_a * real_b
        want = stored(real / f(op.out_quant.scale), op)
        # Ties may fall either way: scales are divided before, not after.
        off = np.abs(got.astype(int) - want)
        assert off.max() <= 1
        assert (off == 0).mean() > 0.97


@pytest.mark.parametrize("kernel", [(3, 3), (2, 5), (1, 1), (9, 9)])
@pytest.mark.parametrize("stride", [1, 2])
def test_pooling(runner: Runner, kernel: tuple[int, int], stride: int) -> None:
    rng = np.random.default_rng(8)
    pad = 1 if min(kernel) > 1 else 0
    op = conv_op(21, 21, kernel, stride=stride, pad=pad, batch=2)
    x = integers(rng, *op.a)
    largest = replace(
        op, code=spec.OP_MAX_POOL_2D_S8, out_quant=op.a_quant, act=(-100.0, 99.0)
    )
    want = windows(x, op, -128).max(axis=(3, 4)).clip(-100, 99)
    assert np.array_equal(runner.run(largest, x), want)

    ones = windows(np.ones(op.a, np.int64), op, 0).sum(axis=(3, 4))
    total = windows(x.astype(np.int64) + 7, op, 0).sum(axis=(3, 4))
    for flags in (0, spec.OP_FLAG_COUNT_INCLUDE_PAD):
        count = kernel[0] * kernel[1] if flags else ones
        average = replace(op, code=spec.OP_AVERAGE_POOL_2D_S8, flags=flags)
        want = stored(total / count * (0.02 / 0.05), average)
        off = np.abs(runner.run(average, x).astype(int) - want)
        assert off.max() <= 1
        assert (off == 0).mean() > 0.97


GOOD = {
    "quantize": Op(spec.OP_QUANTIZE, SHAPE, SHAPE, act=ALL, out_quant=Quant(1.0, 0)),
    "dequantize": Op(spec.OP_DEQUANTIZE, SHAPE, SHAPE, a_quant=Quant(1.0, 0)),
    "lookup": Op(
        spec.OP_LOOKUP_S8,
        SHAPE,
        SHAPE,
        act=ALL,
        a_quant=Quant(1.0),
        out_quant=Quant(1.0),
    ),
    "conv": conv_op(8, 8, (1, 1)),
    "depthwise": conv_op(8, 8, (3, 3), groups=8, code=spec.OP_DEPTHWISE_CONV_2D_S8),
    "add": Op(
        spec.OP_ADD_S8,
        SHAPE,
        SHAPE,
        b=SHAPE,
        act=ALL,
        a_quant=Quant(1.0),
        b_quant=Quant(1.0),
        out_quant=Quant(1.0),
    ),
    "max": replace(
        conv_op(8, 8, (3, 3), code=spec.OP_MAX_POOL_2D_S8), out_quant=Quant(0.02, -7)
    ),
    "average": conv_op(8, 8, (3, 3), code=spec.OP_AVERAGE_POOL_2D_S8),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_cannot_be_is_refused(host_runner: Runner, name: str) -> None:
    good = GOOD[name]
    host_runner.check(good)
    for field in ("a_quant", "b_quant", "out_quant"):
        quant = getattr(good, field)
        if field == "b_quant" and good.b is None:
            continue
        other = F32 if quant.dtype == spec.DTYPE_S8 else Quant(1.0)
        bad = [other, replace(quant, zero=128)]
        if quant.dtype == spec.DTYPE_S8:
            bad += [replace(quant, zero=-129), replace(quant, dtype=3)]
            bad += [
                replace(quant, scale=scale)
                for scale in (0.0, -1.0, float("nan"), float("inf"))
            ]
        for wrong in bad:
            with pytest.raises(RefusedError):
                host_runner.check(replace(good, **{field: wrong}))
    if name == "dequantize":
        return
    nan = float("nan")
    for act in (
        (-129.0, 5.0),
        (0.0, 128.0),
        (1.0, 0.0),
        (0.5, 3.0),
        (nan, 1.0),
        (0, nan),
    ):
        with pytest.raises(RefusedError):
            host_runner.check(replace(good, act=act))


def test_scales_of_a_maximum_must_be_the_same(host_runner: Runner) -> None:
    with pytest.raises(RefusedError):
        host_runner.check(replace(GOOD["max"], out_quant=Quant(0.03, -7)))
    with pytest.raises(RefusedError):
        host_runner.check(replace(GOOD["max"], out_quant=Quant(0.02, -6)))
