# SPDX-License-Identifier: Apache-2.0
"""Weights in 8 bits: the very bytes, and what is left as it was."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from helpers.onnx_nets import Net
from undercroft import _spec
from undercroft._format.weights import int8_panel_bytes
from undercroft._import import import_model
from undercroft._import.graph import with_int8_weights
from undercroft._import.weights import (
    ConvWeights,
    DenseWeights,
    DepthwiseWeights,
    Int8Weights,
    Weights,
    quantise,
)
from undercroft.errors import ModelError

F32 = np.float32


def bytes_of(weights: Weights) -> bytes:
    return b"".join(weights.panels(0, weights.panel_count))


def test_a_panel_to_the_byte() -> None:
    # Two channels of three inputs; the first one's scale is 2 / 127.
    matrix = np.array([[2.0, 0.5], [-1.0, 0.25], [0.0, -0.5]], F32)
    panel = bytes_of(Int8Weights(DenseWeights(matrix, np.array([7.0, -8.0], F32))))
    assert len(panel) == 32 + 32 + 32
    assert panel[:32] == struct.pack("<8f", 7, -8, 0, 0, 0, 0, 0, 0)
    scales = np.array([2, 0.5], F32) / F32(127)
    assert panel[32:64] == struct.pack("<8f", *scales, 0, 0, 0, 0, 0, 0)
    # -1 is -63.5 steps: to the even neighbour. 0.25 is 63.5 steps.
    rows = [[127, 127], [-64, 64], [0, -127]]
    body = b"".join(struct.pack("<8b", *row, 0, 0, 0, 0, 0, 0) for row in rows)
    assert panel[64:] == body + bytes(8)


def test_taps_and_channels_lie_as_in_f32() -> None:
    rng = np.random.default_rng(1)
    kernel = rng.integers(-127, 128, (11, 3, 2, 2)).astype(F32)
    kernel[:, 0, 0, 0] = 127  # Every scale is 1.
    bias = rng.standard_normal(11).astype(F32)
    for plain in (
        ConvWeights(kernel, bias),
        DepthwiseWeights(kernel[:, 0], bias),
        DenseWeights(kernel[:, :, 0, 0].T, bias),
    ):
        floats = np.frombuffer(bytes_of(plain), "<f4")
        floats = floats.reshape(plain.panel_count, -1, 8)
        stored = Int8Weights(plain)
        panels = np.frombuffer(bytes_of(stored), np.uint8)
        panels = panels.reshape(plain.panel_count, -1)
        assert (
            panels.shape[1] == stored.panel_bytes == int8_panel_bytes(plain.panel_bytes)
        )
        heads = panels[:, :64].copy().view("<f4")
        assert np.array_equal(heads[:, :8], floats[:, 0])
        rows = panels[:, 64 : 64 + 8 * (floats.shape[1] - 1)].view(np.int8)
        assert np.array_equal(rows.reshape(floats[:, 1:].shape), floats[:, 1:])


@pytest.mark.parametrize(
    ("rows", "expected"), [(1, 96), (4, 96), (5, 128), (9, 160), (25, 288), (512, 4160)]
)
def test_panel_sizes(rows: int, expected: int) -> None:
    assert int8_panel_bytes(32 * (1 + rows)) == expected


def test_rounding() -> None:
    values = np.array([[127, 0.5, 1.5, -0.5, -2.5, 126.4, -127]], F32)
    scale, integers = quantise(values, axis=1)
    assert scale.tolist() == [1.0]
    assert integers.tolist() == [[127, 0, 2, 0, -2, 126, -127]]


def test_zeros_and_the_smallest_numbers() -> None:
    tiny = np.float32(2.0**-149)
    scale, integers = quantise(np.array([[0, 0], [tiny, -tiny]], F32), axis=1)
    assert scale[0] == 0
    assert not integers[0].any()
    assert np.abs(integers).max() <= 127


def test_no_weight_moves_further_than_half_a_step() -> None:
    rng = np.random.default_rng(2)
    weights = (rng.standard_normal((300, 64)) * 10.0 ** rng.uniform(-30, 30)).astype(
        F32
    )
    scale, integers = quantise(weights, axis=1)
    moved = np.abs(integers * scale[:, np.newaxis] - weights)
    assert (moved <= 0.5001 * scale[:, np.newaxis]).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_refused(bad: float) -> None:
    matrix = np.ones((4, 4), F32)
    matrix[2, 1] = bad
    with pytest.raises(ModelError, match="8 bits"):
        bytes_of(Int8Weights(DenseWeights(matrix, np.zeros(4, F32))))


def test_chunks_are_the_whole() -> None:
    rng = np.random.default_rng(3)
    matrix = rng.standard_normal((5000, 100)).astype(F32)
    weights = Int8Weights(DenseWeights(matrix, np.zeros(100, F32)))
    parts = [b"".join(weights.panels(i, i + 1)) for i in range(weights.panel_count)]
    assert b"".join(parts) == bytes_of(weights)


def test_little_weights_stay_f32() -> None:
    net = Net("sizes")
    x = net.conv(net.input(1, 3, 8, 8), 3, 64, 3, pads=1)
    x = net.depthwise(x, 64)
    x = net.conv(x, 64, 256, 3, pads=1)
    graph = with_int8_weights(import_model(net.case(x).model))
    formats = [op.weights.format for op in graph.operators if op.weights]
    assert formats == [_spec.WEIGHTS_F32, _spec.WEIGHTS_F32, _spec.WEIGHTS_INT8]
