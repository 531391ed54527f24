# SPDX-License-Identifier: Apache-2.0
"""Quantises the little networks as onnxruntime's quantiser does."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

from helpers.onnx_nets import Array, Case, Net

Feeds = dict[str, Array]


class _Reader(CalibrationDataReader):
    def __init__(self, feeds: list[Feeds]) -> None:
        self._feeds: Iterator[Feeds] = iter(feeds)

    def get_next(self) -> Feeds | None:  # type: ignore[override]
        return next(self._feeds, None)


def quantised(
    path: Path,
    output: Path,
    feeds: list[Feeds],
    *,
    unsigned: bool = True,
    per_channel: bool = True,
) -> onnx.ModelProto:
    """Quantise a model to 8 bits, with QuantizeLinear and DequantizeLinear nodes.

    Args:
        path: The model.
        output: Where the quantised one goes.
        feeds: Inputs to learn the ranges from.
        unsigned: Whether activations are uint8, else int8.
        per_channel: Whether weights have a scale for each channel.
    """
    logging.disable(logging.WARNING)  # It recommends to prepare the model first.
    try:
        quantize_static(
            str(path),
            str(output),
            _Reader(feeds),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8 if unsigned else QuantType.QInt8,
            weight_type=QuantType.QInt8,
            per_channel=per_channel,
        )
    finally:
        logging.disable(logging.NOTSET)
    return onnx.load(output)


def quantised_file(case: Case, folder: Path) -> Path:
    """Write a little network, and return the file of its quantised form."""
    onnx.save(case.model, folder / "model.onnx")
    path = folder / "quantised.onnx"
    quantised(folder / "model.onnx", path, feeds_of(case))
    return path


def feeds_of(case: Case, count: int = 4) -> list[Feeds]:
    """Return some random inputs, the same each time."""
    rng = np.random.default_rng(77)
    return [
        {
            name: rng.standard_normal(shape).astype(np.float32)
            for name, shape in case.input_shapes.items()
        }
        for _ in range(count)
    ]


def eight_bit_network() -> Case:
    """Every operator that the engine has in 8 bits."""
    net = Net("eight_bits")
    x = net.input(1, 3, 20, 22)
    x = net.op("Relu", [net.conv(x, 3, 32, 3, stride=2, pads=1)])
    y = net.depthwise(x, 32, 3)
    y = net.op("Clip", [y, net.constant(0.0), net.constant(6.0)])
    y = net.conv(y, 32, 32, 1)
    x = net.op("Add", [x, y])
    y = net.op("GlobalAveragePool", [x])
    x = net.op("Mul", [x, net.op("Sigmoid", [net.conv(y, 32, 32, 1)])])
    x = net.op("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2])
    x = net.op("LeakyRelu", [net.conv(x, 32, 42, 3, groups=2, pads=1)], alpha=0.1)
    x = net.op(
        "AveragePool", [x], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1]
    )
    x = net.op("Mul", [x, net.constant(0.5)])
    x = net.op("Flatten", [x], axis=1)
    x = net.op("Relu", [net.gemm(x, 42 * 5 * 5, 30)])
    return net.case(net.matmul(x, 30, 11))
