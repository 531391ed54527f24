# SPDX-License-Identifier: Apache-2.0
"""The planner and the engine agree on the scratch memory of an operator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from helpers.op_runner import Dims, Op, Runner
from undercroft import _spec as spec
from undercroft._format import weights
from undercroft._format.ops import OPS, Shapes
from undercroft._format.program import OpRecord
from undercroft._spec import Op as OpCode


def random_op(rng: np.random.Generator, code: int) -> Op:
    kernel = int(rng.integers(1, 8)), int(rng.integers(1, 8))
    stride = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    c, groups = int(rng.integers(1, 40)), 1
    height, width = (
        int(k + s * rng.integers(0, 30)) for k, s in zip(kernel, stride, strict=True)
    )
    out_c = int(rng.integers(1, 40))
    if code == spec.OP_DEPTHWISE_CONV_2D:
        kernel = min(kernel[0], 5), min(kernel[1], 5)
        groups = out_c = c
    elif code == spec.OP_CONV_2D:
        groups = int(rng.integers(1, 4))
        c, out_c = c * groups, out_c * groups
    else:
        out_c = c
    if code == spec.OP_FULLY_CONNECTED:
        return Op(code, (1, height, width, c * 99), (1, height, width, out_c))
    out: Dims = (
        1,
        (height - kernel[0]) // stride[0] + 1,
        (width - kernel[1]) // stride[1] + 1,
        out_c,
    )
    if code == spec.OP_GLOBAL_AVERAGE_POOL:
        out = (1, 1, 1, c)
    return Op(
        code, (1, height, width, c), out, kernel=kernel, stride=stride, groups=groups
    )


@pytest.mark.parametrize(
    "code",
    [
        spec.OP_CONV_2D,
        spec.OP_DEPTHWISE_CONV_2D,
        spec.OP_FULLY_CONNECTED,
        spec.OP_MAX_POOL_2D,
        spec.OP_AVERAGE_POOL_2D,
        spec.OP_GLOBAL_AVERAGE_POOL,
    ],
)
def test_scratch_of_planner_equals_the_engines(host_runner: Runner, code: int) -> None:
    rng = np.random.default_rng(code)
    for _ in range(100):
        op = random_op(rng, code)
        record = OpRecord(
            code=OpCode(code),
            input_a=0,
            input_b=spec.NO_TENSOR,
            output=1,
            kernel=op.kernel,
            stride=op.stride,
            groups=op.groups,
        )
        op_type = OPS[record.code]
        shapes = Shapes(record, op.a, None, op.out)
        for weights_format in (spec.WEIGHTS_F32, spec.WEIGHTS_INT8):
            if not weights.allows(op_type, weights_format):
                continue
            want = host_runner.check(replace(op, weights_format=weights_format))
            got = weights.scratch_bytes(op_type, shapes, weights_format)
            assert got == want.scratch_bytes, op
            panels = weights.panels(op_type, shapes, weights_format)
            assert panels == (want.panel_bytes, want.panel_count), op


def test_scratch_of_pairs_and_rows_equals_the_engines(host_runner: Runner) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        rows, inner, columns = (int(size) for size in rng.integers(1, 60, 3))
        product = Op(
            spec.OP_MATRIX_MULTIPLY,
            (1, 2, rows, inner),
            (1, 2, rows, columns),
            b=(1, 2, inner, columns),
        )
        dims = (1, rows, 3, inner)
        norm = Op(spec.OP_LOCAL_RESPONSE_NORM, dims, dims, kernel=(1, min(columns, 9)))
        rows_op = Op(spec.OP_NORMALIZE, dims, dims, function=1)
        for op in (product, norm, rows_op):
            record = OpRecord(
                code=OpCode(op.code), input_a=0, output=1, kernel=op.kernel
            )
            shapes = Shapes(record, op.a, op.b, op.out)
            sizes = host_runner.check(op)
            rules = OPS[record.code]
            assert rules.scratch(shapes) == sizes.scratch_bytes
            assert rules.panels(shapes) == (sizes.panel_bytes, sizes.panel_count)
