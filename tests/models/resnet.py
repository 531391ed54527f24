# SPDX-License-Identifier: Apache-2.0
"""ResNet-18 and ResNet-50: sums around blocks."""

from __future__ import annotations

from models.net import Net


def resnet_18(net: Net) -> str:
    """He and others 2015, basic blocks."""
    return _resnet(net, (2, 2, 2, 2), bottleneck=False)


def resnet_50(net: Net) -> str:
    """He and others 2015, bottlenecks, stride in the 3x3 as torchvision has it."""
    return _resnet(net, (3, 4, 6, 3), bottleneck=True)


def _resnet(net: Net, repeats: tuple[int, ...], *, bottleneck: bool) -> str:
    x = net.relu(net.batch_norm(net.conv(net.input(), 64, 7, stride=2)))
    x = net.max_pool(x, 3, 2, pad=1)
    for stage, count in enumerate(repeats):
        for i in range(count):
            stride = 2 if stage and not i else 1
            x = _block(net, x, 64 << stage, stride, bottleneck=bottleneck)
    return net.dense(net.global_pool(x), 1000)


def _block(net: Net, x: str, width: int, stride: int, *, bottleneck: bool) -> str:
    layers = ((width, 3, stride), (width, 3, 1))
    if bottleneck:
        layers = ((width, 1, 1), (width, 3, stride), (4 * width, 1, 1))
    channels = layers[-1][0]
    y = x
    for index, (count, kernel, step) in enumerate(layers):
        last = index == len(layers) - 1
        y = net.conv(y, count, kernel, stride=step)
        y = net.batch_norm(y, gain=0.5 if last else 1.0)
        y = y if last else net.relu(y)
    if net.channels(x) != channels or stride > 1:
        x = net.batch_norm(net.conv(x, channels, 1, stride=stride))
    return net.relu(net.add(y, x))
