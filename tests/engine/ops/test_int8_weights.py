# SPDX-License-Identifier: Apache-2.0
"""Operators on int8 weights: the same bits as on the f32 weights they mean."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from helpers.op_runner import (
    Op,
    RefusedError,
    Runner,
    int8_panels,
    pack_conv,
    pack_dense,
    pack_depthwise,
)
from undercroft import _spec as spec

Case = tuple[Op, bytes]


def weights(rng: np.random.Generator, *shape: int) -> np.ndarray:
    # Channels of very different size: a scale for all of them would not do.
    size = 10.0 ** rng.uniform(-3, 1, (shape[0], *[1] * (len(shape) - 1)))
    return (rng.standard_normal(shape) * size).astype(np.float32)


def conv(rng: np.random.Generator, cin: int, cout: int, k: int, groups: int = 1):
    w = weights(rng, cout, cin // groups, k, k)
    w[cout // 2] = 0  # A channel without a scale.
    bias = rng.standard_normal(cout).astype(np.float32)
    op = Op(
        spec.OP_CONV_2D,
        (1, 9, 10, cin),
        (1, 9 - k + 3, 10 - k + 3, cout),
        kernel=(k, k),
        pads=(1, 1, 1, 1),
        groups=groups,
        act=(-2.0, 6.0),
    )
    return op, pack_conv(w, bias, groups)


def depthwise(rng: np.random.Generator, channels: int, k: int) -> Case:
    w = weights(rng, channels, 1, k, k)
    op = Op(
        spec.OP_DEPTHWISE_CONV_2D,
        (1, 9, 10, channels),
        (1, 9, 10, channels),
        kernel=(k, k),
        pads=(k // 2, k // 2, (k - 1) // 2, (k - 1) // 2),
        groups=channels,
    )
    return op, pack_depthwise(w, weights(rng, channels))


def dense(rng: np.random.Generator, cin: int, cout: int, rows: int) -> Case:
    w = np.ascontiguousarray(weights(rng, cout, cin).T)
    op = Op(spec.OP_FULLY_CONNECTED, (1, 1, rows, cin), (1, 1, rows, cout))
    return op, pack_dense(w, weights(rng, cout))


def cases() -> dict[str, Case]:
    rng = np.random.default_rng(8)
    return {
        "conv 1x1": conv(rng, 33, 20, 1),
        "conv 3x3 of 3 channels": conv(rng, 3, 32, 3),
        "conv 3x3 of 70 channels": conv(rng, 70, 41, 3),
        "conv 3x3 in groups": conv(rng, 18, 27, 3, 3),
        "depthwise 3x3": depthwise(rng, 43, 3),
        "depthwise 5x5": depthwise(rng, 1700, 5),
        "depthwise 1x1": depthwise(rng, 8, 1),
        "dense": dense(rng, 129, 77, 1),
        "dense, panels larger than what is unpacked at once": dense(rng, 3000, 19, 2),
        "dense, many panels": dense(rng, 65, 1003, 3),
        "dense of one input": dense(rng, 1, 3, 1),
    }


CASES = cases()


@pytest.mark.parametrize("name", CASES)
def test_the_same_bits_as_f32(runner: Runner, name: str) -> None:
    op, panels = CASES[name]
    assert op.a
    sizes = runner.check(op)
    stored, meant = int8_panels(panels, sizes.panel_bytes)
    int8 = replace(op, weights_format=spec.WEIGHTS_INT8)
    assert runner.check(int8).panel_bytes * sizes.panel_count == len(stored)

    rng = np.random.default_rng(9)
    x = rng.standard_normal(op.a).astype(np.float32)
    want = runner.run(op, x, weights=meant)
    assert np.array_equal(runner.run(int8, x, weights=stored), want)
    steps = [1] * sizes.panel_count
    assert np.array_equal(runner.run(int8, x, weights=stored, steps=steps), want)
    uneven = [min(3, sizes.panel_count - at) for at in range(0, sizes.panel_count, 3)]
    assert np.array_equal(runner.run(int8, x, weights=stored, steps=uneven), want)


def test_every_byte_and_scale(runner: Runner) -> None:
    # One input of 1: the output is the weights. All bytes, -128 too.
    rows = np.arange(-128, 128, dtype=np.int8).repeat(8).reshape(256, 8)
    scale = np.array([1, 0, -3.7, 1e-38, 2e36, 2.0**-149, 0.1, 123456.7], np.float32)
    panel = bytes(32) + scale.tobytes() + rows.tobytes()
    op = Op(
        spec.OP_FULLY_CONNECTED,
        (1, 1, 256, 256),
        (1, 1, 256, 8),
        weights_format=spec.WEIGHTS_INT8,
    )
    x = np.eye(256, dtype=np.float32).reshape(1, 1, 256, 256)
    got = runner.run(op, x, weights=panel)[0, 0]
    assert np.array_equal(got, rows.astype(np.float32) * scale)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scales_that_are_no_numbers_do_no_harm(host_runner: Runner, bad: float) -> None:
    op, panels = CASES["conv 3x3 of 70 channels"]
    stored, _ = int8_panels(panels, host_runner.check(op).panel_bytes)
    hostile = bytearray(stored)
    hostile[32:64] = np.full(8, bad, "<f4").tobytes()
    int8 = replace(op, weights_format=spec.WEIGHTS_INT8)
    host_runner.run(int8, np.ones(op.a, np.float32), weights=bytes(hostile))


@pytest.mark.parametrize("weights_format", [2, 7, 255])
def test_unknown_formats_are_refused(host_runner: Runner, weights_format: int) -> None:
    op, _ = CASES["dense"]
    with pytest.raises(RefusedError):
        host_runner.check(replace(op, weights_format=weights_format))


@pytest.mark.parametrize("code", [spec.OP_CLAMP, spec.OP_CONSTANT])
def test_other_operators_have_no_int8_weights(host_runner: Runner, code: int) -> None:
    op = Op(
        code,
        None if code == spec.OP_CONSTANT else (1, 1, 1, 64),
        (1, 1, 1, 64),
        panel_bytes=256,
        weights_format=spec.WEIGHTS_INT8,
    )
    with pytest.raises(RefusedError):
        host_runner.check(op)
