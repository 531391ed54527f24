# SPDX-License-Identifier: Apache-2.0
"""AlexNet as first published: two groups, local response normalisation."""

from __future__ import annotations

from models.net import Net


def alexnet(net: Net) -> str:
    """Krizhevsky, Sutskever, Hinton 2012, in its one-column form of Caffe."""
    x = net.relu(net.conv(net.input(), 96, 11, stride=4, pad=2, bias=True))
    x = net.max_pool(_normalised(net, x), 3, 2)
    x = net.relu(net.conv(x, 256, 5, groups=2, bias=True))
    x = net.max_pool(_normalised(net, x), 3, 2)
    for channels, groups in ((384, 1), (384, 2), (256, 2)):
        x = net.relu(net.conv(x, channels, 3, groups=groups, bias=True))
    x = net.flatten(net.max_pool(x, 3, 2))
    for _ in range(2):
        x = net.relu(net.dense(x, 4096))
    return net.dense(x, 1000)


def _normalised(net: Net, x: str) -> str:
    return net.op("LRN", [x], size=5, alpha=1e-4, beta=0.75, bias=1.0)
