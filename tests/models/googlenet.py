# SPDX-License-Identifier: Apache-2.0
"""GoogLeNet as first published: inception modules, no batch norm."""

from __future__ import annotations

from models.net import Net

# Channels: 1x1 | before 3x3, 3x3 | before 5x5, 5x5 | after the pool.
_STAGES = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)


def googlenet(net: Net) -> str:
    """Szegedy and others 2014, without the two classifiers of training."""
    x = _conv(net, net.input(), 64, 7, stride=2)
    x = _normalised(net, net.max_pool(x, 3, 2, ceil=True))
    x = _conv(net, _conv(net, x, 64, 1), 192, 3)
    x = _normalised(net, x)
    for stage in _STAGES:
        x = net.max_pool(x, 3, 2, ceil=True)
        for channels in stage:
            x = _inception(net, x, *channels)
    return net.dense(net.global_pool(x), 1000)


def _conv(net: Net, x: str, channels: int, kernel: int, *, stride: int = 1) -> str:
    return net.relu(net.conv(x, channels, kernel, stride=stride, bias=True))


def _normalised(net: Net, x: str) -> str:
    return net.op("LRN", [x], size=5, alpha=1e-4, beta=0.75, bias=1.0)


def _inception(
    net: Net, x: str, one: int, to3: int, three: int, to5: int, five: int, pool: int
) -> str:
    branches = [
        _conv(net, x, one, 1),
        _conv(net, _conv(net, x, to3, 1), three, 3),
        _conv(net, _conv(net, x, to5, 1), five, 5),
        _conv(net, net.max_pool(x, 3, 1, pad=1), pool, 1),
    ]
    return net.concat(branches)
