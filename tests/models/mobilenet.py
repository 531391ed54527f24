# SPDX-License-Identifier: Apache-2.0
"""MobileNet V1, V2 and V3 (large): depthwise convolutions."""

from __future__ import annotations

from collections.abc import Callable

from models.net import Net

# Output channels and stride of each depthwise separable convolution.
_V1 = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
    (512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip
# Expansion, channels, repeats, first stride.
_V2 = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
    (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
)  # fmt: skip
# Kernel, expanded channels, channels, squeeze-and-excitation, hard swish, stride.
_V3 = (
    (3, 16, 16, False, False, 1), (3, 64, 24, False, False, 2),
    (3, 72, 24, False, False, 1), (5, 72, 40, True, False, 2),
    (5, 120, 40, True, False, 1), (5, 120, 40, True, False, 1),
    (3, 240, 80, False, True, 2), (3, 200, 80, False, True, 1),
    (3, 184, 80, False, True, 1), (3, 184, 80, False, True, 1),
    (3, 480, 112, True, True, 1), (3, 672, 112, True, True, 1),
    (5, 672, 160, True, True, 2), (5, 960, 160, True, True, 1),
    (5, 960, 160, True, True, 1),
)  # fmt: skip

Activation = Callable[[str], str]


def mobilenet_v1(net: Net) -> str:
    """Howard and others 2017, width 1.0."""
    x = _conv(net, net.input(), 32, 3, net.relu, stride=2)
    for channels, stride in _V1:
        x = _depthwise(net, x, 3, net.relu, stride=stride)
        x = _conv(net, x, channels, 1, net.relu)
    return net.dense(net.global_pool(x), 1000)


def mobilenet_v2(net: Net) -> str:
    """Sandler and others 2018, width 1.0."""
    x = _conv(net, net.input(), 32, 3, net.relu6, stride=2)
    for expansion, channels, repeats, first_stride in _V2:
        for i in range(repeats):
            stride, start = (1 if i else first_stride), x
            if expansion > 1:
                x = _conv(net, x, expansion * net.channels(x), 1, net.relu6)
            x = _depthwise(net, x, 3, net.relu6, stride=stride)
            x = net.batch_norm(net.conv(x, channels, 1), gain=0.5 if i else 1.0)
            x = net.add(start, x) if i else x
    x = _conv(net, x, 1280, 1, net.relu6)
    return net.dense(net.global_pool(x), 1000)


def mobilenet_v3(net: Net) -> str:
    """Howard and others 2019, large, width 1.0, as torchvision has it."""

    def hard_swish(x: str) -> str:
        return net.op("HardSwish", [x])

    x = _conv(net, net.input(), 16, 3, hard_swish, stride=2)
    for kernel, expanded, channels, excite, swish, stride in _V3:
        start, activation = x, hard_swish if swish else net.relu
        if expanded != net.channels(x):
            x = _conv(net, x, expanded, 1, activation)
        x = _depthwise(net, x, kernel, activation, stride=stride)
        if excite:
            x = _excited(net, x)
        same = stride == 1 and channels == net.channels(start)
        x = net.batch_norm(net.conv(x, channels, 1), gain=0.5 if same else 1.0)
        x = net.add(start, x) if same else x
    x = _conv(net, x, 960, 1, hard_swish)
    x = hard_swish(net.dense(net.global_pool(x), 1280))
    return net.dense(x, 1000)


def _conv(
    net: Net, x: str, channels: int, kernel: int, act: Activation, *, stride: int = 1
) -> str:
    return act(net.batch_norm(net.conv(x, channels, kernel, stride=stride)))


def _depthwise(net: Net, x: str, kernel: int, act: Activation, *, stride: int) -> str:
    channels = net.channels(x)
    x = net.conv(x, channels, kernel, stride=stride, groups=channels)
    return act(net.batch_norm(x))


def _excited(net: Net, x: str) -> str:
    """Squeeze and excitation: channels weighed by what the whole image shows."""
    channels = net.channels(x)
    squeezed = (channels // 4 + 4) // 8 * 8
    # Rounding to a multiple of 8 may not take away more than a tenth.
    squeezed += 8 if squeezed < 0.9 * (channels // 4) else 0
    scale = net.op("GlobalAveragePool", [x])
    scale = net.relu(net.conv(scale, squeezed, 1, bias=True))
    scale = net.conv(scale, channels, 1, bias=True)
    scale = net.op("HardSigmoid", [scale], alpha=1 / 6, beta=0.5)
    return net.op("Mul", [scale, x])
