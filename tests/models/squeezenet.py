# SPDX-License-Identifier: Apache-2.0
"""SqueezeNet 1.1: fire modules, no fully connected layer."""

from __future__ import annotations

from models.net import Net


def squeezenet_1_1(net: Net) -> str:
    """Iandola and others 2016, in the lighter version of their repository."""
    x = net.relu(net.conv(net.input(), 64, 3, stride=2, pad=0, bias=True))
    for squeeze in ((16, 16), (32, 32), (48, 48, 64, 64)):
        x = net.max_pool(x, 3, 2, ceil=True)
        for channels in squeeze:
            x = _fire(net, x, channels)
    x = net.relu(net.conv(x, 1000, 1, bias=True))
    return net.global_pool(x)


def _fire(net: Net, x: str, squeeze: int) -> str:
    x = net.relu(net.conv(x, squeeze, 1, bias=True))
    sides = [net.relu(net.conv(x, 4 * squeeze, kernel, bias=True)) for kernel in (1, 3)]
    return net.concat(sides)
