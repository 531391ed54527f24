# SPDX-License-Identifier: Apache-2.0
"""What run could not do safely, check refuses; what check allows, run survives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from helpers.onnx_ops import Array
from helpers.op_runner import (
    INF,
    Op,
    RefusedError,
    Runner,
    pack_conv,
    pack_depthwise,
)
from undercroft import _spec as spec

NAN = float("nan")
BIG = spec.MAX_DIM

CONV = Op(
    spec.OP_CONV_2D,
    (1, 8, 8, 16),
    (1, 8, 8, 24),
    kernel=(3, 3),
    pads=(1, 1, 1, 1),
)
DEPTHWISE = Op(
    spec.OP_DEPTHWISE_CONV_2D,
    (1, 8, 8, 16),
    (1, 8, 8, 16),
    kernel=(3, 3),
    pads=(1, 1, 1, 1),
    groups=16,
)
DENSE = Op(spec.OP_FULLY_CONNECTED, (2, 1, 1, 16), (2, 1, 1, 10))
ADD = Op(spec.OP_ADD, (1, 4, 4, 8), (1, 4, 4, 8), b=(1, 1, 1, 8))
CLAMP = Op(spec.OP_CLAMP, (1, 4, 4, 8), (1, 4, 4, 8), act=(0.0, 6.0))
SIGMOID = Op(spec.OP_HARD_SIGMOID, (1, 4, 4, 8), (1, 4, 4, 8), alpha=0.2, beta=0.5)
POOL = Op(
    spec.OP_MAX_POOL_2D, (1, 8, 8, 16), (1, 4, 4, 16), kernel=(2, 2), stride=(2, 2)
)
AVERAGE = replace(POOL, code=spec.OP_AVERAGE_POOL_2D)
GLOBAL = Op(spec.OP_GLOBAL_AVERAGE_POOL, (1, 4, 4, 8), (1, 1, 1, 8))
TRANSPOSE = Op(spec.OP_TRANSPOSE, (1, 2, 3, 4), (1, 4, 2, 3), permutation=(0, 3, 1, 2))
CONSTANT = Op(spec.OP_CONSTANT, None, (1, 1, 1, 8), panel_bytes=32)
GOOD = [
    CONV,
    DEPTHWISE,
    DENSE,
    ADD,
    CLAMP,
    SIGMOID,
    POOL,
    AVERAGE,
    GLOBAL,
    TRANSPOSE,
    CONSTANT,
]

REFUSED: dict[str, Op] = {
    "conv_no_input": replace(CONV, a=None),
    "conv_two_inputs": replace(CONV, b=(1, 1, 1, 1)),
    "conv_channels_zero": replace(CONV, a=(1, 8, 8, 0)),
    "conv_output_zero": replace(CONV, out=(1, 8, 8, 0)),
    "conv_groups_zero": replace(CONV, groups=0),
    "conv_groups_split_input": replace(CONV, groups=3),
    "conv_groups_split_output": replace(CONV, groups=16),
    "conv_groups_huge": replace(CONV, groups=2**32 - 1),
    "conv_kernel_zero": replace(CONV, kernel=(0, 3)),
    "conv_kernel_over_limit": replace(CONV, kernel=(3, 65)),
    "conv_stride_zero": replace(CONV, stride=(1, 0)),
    "conv_stride_over_limit": replace(CONV, stride=(65, 1)),
    "conv_dilation_zero": replace(CONV, dilation=(0, 1)),
    "conv_kernel_over_padded_input": replace(CONV, kernel=(11, 3), out=(1, 0, 8, 24)),
    "conv_dilated_kernel_over_input": replace(CONV, dilation=(65535, 1)),
    "conv_output_too_high": replace(CONV, out=(1, 9, 8, 24)),
    "conv_output_too_wide": replace(CONV, out=(1, 8, 9, 24)),
    "conv_output_too_low": replace(CONV, out=(1, 7, 8, 24)),
    "conv_batch_differs": replace(CONV, out=(2, 8, 8, 24)),
    "conv_dimension_over_limit": replace(
        CONV, a=(1, BIG + 1, 8, 16), out=(1, BIG + 1, 8, 24)
    ),
    "conv_elements_overflow": replace(
        CONV, a=(BIG, BIG, BIG, BIG), out=(BIG, BIG, BIG, BIG)
    ),
    "conv_act_reversed": replace(CONV, act=(1.0, 0.0)),
    "conv_act_nan": replace(CONV, act=(NAN, 1.0)),
    "depthwise_multiplier": replace(DEPTHWISE, out=(1, 8, 8, 32)),
    "depthwise_groups": replace(DEPTHWISE, groups=8),
    "depthwise_too_many_taps": replace(
        DEPTHWISE, kernel=(50, 1), pads=(25, 0, 24, 0), out=(1, 8, 8, 16)
    ),
    "depthwise_kernel_zero": replace(DEPTHWISE, kernel=(0, 0)),
    "depthwise_output_too_high": replace(DEPTHWISE, out=(1, 9, 8, 16)),
    "depthwise_elements_overflow": replace(
        DEPTHWISE, a=(BIG, BIG, BIG, 16), out=(BIG, BIG, BIG, 16)
    ),
    "dense_rows_differ": replace(DENSE, out=(3, 1, 1, 10)),
    "dense_no_columns": replace(DENSE, a=(2, 1, 1, 0)),
    "dense_rows_moved": replace(DENSE, out=(1, 2, 1, 10)),
    "binary_no_second": replace(ADD, b=None),
    "binary_scalar_with_second": replace(ADD, flags=spec.OP_FLAG_SCALAR_OPERAND),
    "binary_scalar_shape": replace(
        ADD, b=None, flags=spec.OP_FLAG_SCALAR_OPERAND, out=(1, 4, 4, 9)
    ),
    "binary_not_broadcastable": replace(ADD, b=(1, 1, 1, 4)),
    "binary_output_smaller": replace(ADD, out=(1, 4, 1, 8)),
    "binary_output_larger_than_both": replace(ADD, out=(2, 4, 4, 8)),
    "binary_second_zero": replace(ADD, b=(1, 1, 0, 8)),
    "clamp_elements_differ": replace(CLAMP, out=(1, 4, 8, 8)),
    "hard_sigmoid_shape": replace(SIGMOID, out=(1, 4, 8, 4)),
    "clamp_nan": replace(CLAMP, act=(0.0, NAN)),
    "hard_sigmoid_nan": replace(SIGMOID, alpha=NAN),
    "hard_sigmoid_infinite": replace(SIGMOID, beta=INF),
    "pool_channels_differ": replace(POOL, out=(1, 4, 4, 8)),
    "pool_pad_not_below_kernel": replace(POOL, pads=(2, 0, 0, 0), out=(1, 5, 4, 16)),
    "pool_bottom_pad_not_below_kernel": replace(
        POOL, pads=(0, 0, 2, 0), out=(1, 5, 4, 16)
    ),
    "pool_dilation": replace(POOL, dilation=(2, 1)),
    "pool_output_too_high": replace(POOL, out=(1, 5, 4, 16)),
    "pool_output_too_wide": replace(POOL, out=(1, 4, 6, 16)),
    "pool_output_too_low": replace(POOL, out=(1, 3, 4, 16)),
    "pool_window_over_input": replace(POOL, kernel=(9, 2), out=(1, 1, 4, 16)),
    "pool_kernel_zero": replace(POOL, kernel=(0, 2)),
    "average_pool_output_too_high": replace(AVERAGE, out=(1, 5, 4, 16)),
    "global_pool_output": replace(GLOBAL, out=(1, 1, 2, 8)),
    "global_pool_rows_overflow": replace(GLOBAL, a=(1, BIG, BIG, 8)),
    "transpose_repeats": replace(TRANSPOSE, permutation=(0, 3, 3, 2)),
    "transpose_out_of_range": replace(TRANSPOSE, permutation=(0, 4, 1, 2)),
    "transpose_shape": replace(TRANSPOSE, out=(1, 4, 3, 2)),
    "constant_with_input": replace(CONSTANT, a=(1, 1, 1, 8)),
    "constant_no_panel": replace(CONSTANT, panel_bytes=0),
    "constant_panel_not_aligned": replace(CONSTANT, panel_bytes=40),
}


@pytest.mark.parametrize("op", GOOD, ids=lambda op: str(op.code))
def test_check_accepts_what_the_refused_ones_were_made_of(
    host_runner: Runner, op: Op
) -> None:
    host_runner.check(op)


@pytest.mark.parametrize("name", REFUSED)
def test_check_refuses(host_runner: Runner, name: str) -> None:
    with pytest.raises(RefusedError):
        host_runner.check(REFUSED[name])


def test_sizes_of_the_largest_shapes_do_not_wrap(host_runner: Runner) -> None:
    one = replace(CONV, pads=(0, 0, 0, 0), kernel=(64, 64))
    sizes = host_runner.check(replace(one, a=(1, 64, 64, BIG), out=(1, 1, 1, BIG)))
    assert sizes.panel_bytes == 32 * (1 + 4096 * BIG) % 2**64
    assert sizes.panel_count == BIG // 8
    wide = replace(DEPTHWISE, a=(1, 1, BIG, 8), out=(1, 1, BIG, 8), groups=8)
    assert host_runner.check(wide).scratch_bytes == 8 * 9 * BIG + 128
    pool = replace(POOL, a=(1, 64, BIG, 8), out=(1, 1, BIG - 63, 8), kernel=(64, 64))
    sizes = host_runner.check(replace(pool, stride=(1, 1)))
    assert sizes.scratch_bytes > 8 * 4096 * (BIG - 64)


EVIL = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-40, -0.0, 1], np.float32)


def evil(dims: tuple[int, ...]) -> Array:
    return np.resize(EVIL, dims)


@pytest.mark.parametrize("op", GOOD, ids=lambda op: str(op.code))
def test_any_float_is_survived(runner: Runner, op: Op) -> None:
    weights = b""
    if op.code == spec.OP_CONV_2D:
        weights = pack_conv(evil((24, 16, 3, 3)), evil((24,)))
    elif op.code == spec.OP_DEPTHWISE_CONV_2D:
        weights = pack_depthwise(evil((16, 1, 3, 3)), evil((16,)))
    elif op.code == spec.OP_FULLY_CONNECTED:
        weights = pack_conv(evil((10, 16, 1, 1)), evil((10,)))
    elif op.code == spec.OP_CONSTANT:
        weights = evil((8,)).tobytes()
    a = None if op.a is None else evil(op.a)
    b = None if op.b is None else evil(op.b)
    runner.run(op, a, b, weights)


@pytest.mark.parametrize("value", EVIL, ids=str)
def test_softmax_survives_any_float(runner: Runner, value: np.float32) -> None:
    for dims in ((1, 1, 1, 1), (1, 1, 3, 37)):
        runner.run(Op(spec.OP_SOFTMAX, dims, dims), np.full(dims, value))
        runner.run(Op(spec.OP_SOFTMAX, dims, dims), evil(dims))


def test_padding_far_larger_than_the_input_is_zero(runner: Runner) -> None:
    op = replace(CONV, a=(1, 1, 1, 16), out=(1, 61, 121, 24), pads=(31, 61, 31, 61))
    weight = np.ones((24, 16, 3, 3), np.float32)
    got = runner.run(
        op, np.ones((1, 1, 1, 16), np.float32), weights=pack_conv(weight, None)
    )
    want = np.zeros((61, 121), np.float32)
    want[29:32, 59:62] = 16
    assert np.array_equal(got, np.broadcast_to(want[None, :, :, None], got.shape))
