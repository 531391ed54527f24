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

from helpers.onnx_nets import Array, Case

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
