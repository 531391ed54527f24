# SPDX-License-Identifier: Apache-2.0
"""Operators stay as cheap as they were measured to be (docs/kernels.md).

Counted by user-mode emulation, so exact; the ceilings leave 5 % for another
compiler.
"""

from __future__ import annotations

import pytest

from helpers.instructions import (
    Layer,
    add_layer,
    conv_layer,
    count_instructions,
    lite0_layers,
    pool_layer,
    reference_layers,
)

CEILINGS = [
    (conv_layer(28, 32, 32, 3), 2.30e6),
    (conv_layer(14, 80, 480, 1), 2.36e6),
    (conv_layer(28, 128, 128, 3, depthwise=True), 0.43e6),
    (conv_layer(28, 96, 96, 3, 2, depthwise=True), 0.102e6),
    (conv_layer(28, 96, 96, 5, 2, depthwise=True), 0.249e6),
    (conv_layer(64, 3, 32, 3, 2), 0.398e6),
    (conv_layer(7, 1152, 1152, 5, depthwise=True), 0.615e6),
    (conv_layer(28, 128, 128, 1, depthwise=True), 0.21e6),
    (conv_layer(20, 96, 96, 7, depthwise=True), 0.82e6),
    (conv_layer(7, 192, 192, 1), 0.553e6),
    (conv_layer(1, 512, 512, 1), 0.094e6),
    (pool_layer(56, 64, 3, 2), 0.234e6),
    (pool_layer(56, 64, 2, 2), 0.184e6),
    (add_layer(28, 128, (0.0, 6.0)), 0.152e6),
]


@pytest.mark.parametrize(
    ("layer", "ceiling"), CEILINGS, ids=[layer.name for layer, _ in CEILINGS]
)
def test_instructions_stay_below_the_ceiling(layer: Layer, ceiling: float) -> None:
    assert count_instructions("arm64-a73", layer) <= ceiling


def test_layers_of_the_benchmark_are_the_networks() -> None:
    layers = lite0_layers()
    assert sum(layer.times for layer in layers) == 1 + 16 * 2 + 15 + 9 + 3
    macs = sum(layer.macs * layer.times for layer in layers)
    assert 380e6 < macs < 400e6
    assert len(reference_layers()) == 3
