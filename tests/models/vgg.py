# SPDX-License-Identifier: Apache-2.0
"""VGG-16: 528 MiB of weights, a first activation of 12.2 MiB."""

from __future__ import annotations

from models.net import Net

_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


def vgg_16(net: Net) -> str:
    """Simonyan and Zisserman 2014, configuration D."""
    x = net.input()
    for channels, repeats in _STAGES:
        for _ in range(repeats):
            x = net.relu(net.conv(x, channels, 3, bias=True))
        x = net.max_pool(x, 2, 2)
    x = net.flatten(x)
    for _ in range(2):
        x = net.relu(net.dense(x, 4096))
    return net.dense(x, 1000)
