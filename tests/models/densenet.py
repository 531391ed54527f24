# SPDX-License-Identifier: Apache-2.0
"""DenseNet-121: batch norms before convolutions, which no convolution can take in."""

from __future__ import annotations

from models.net import Net

_GROWTH = 32


def densenet_121(net: Net) -> str:
    """Huang and others 2016, growth 32."""
    x = net.relu(net.batch_norm(net.conv(net.input(), 64, 7, stride=2)))
    x = net.max_pool(x, 3, 2, pad=1)
    for stage, layers in enumerate((6, 12, 24, 16)):
        if stage:
            x = _pre_activated(net, x, net.channels(x) // 2, 1)
            x = net.pool("AveragePool", x, 2, 2)
        for _ in range(layers):
            y = _pre_activated(net, x, 4 * _GROWTH, 1)
            x = net.concat([x, _pre_activated(net, y, _GROWTH, 3)])
    x = net.relu(net.batch_norm(x))
    return net.dense(net.global_pool(x), 1000)


def _pre_activated(net: Net, x: str, channels: int, kernel: int) -> str:
    return net.conv(net.relu(net.batch_norm(x)), channels, kernel)
