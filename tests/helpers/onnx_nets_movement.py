# SPDX-License-Identifier: Apache-2.0
"""Networks that move elements: more cases for `helpers.onnx_nets`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import helper

from helpers.onnx_nets import Build, Case, Net, _simple


def _integers(net: Net, *values: int) -> str:
    return net.constant(values, np.int64)


def _concat(net: Net, *names: str, axis: int = 1) -> str:
    return net.op("Concat", names, axis=axis)


def _split(net: Net, x: str, sizes: Sequence[int], axis: int = 1) -> list[str]:
    outputs = [f"{x}_part{index}" for index in range(len(sizes))]
    inputs = [x, _integers(net, *sizes)]
    net._nodes.append(helper.make_node("Split", inputs, outputs, axis=axis))
    return outputs


def _slice(net: Net, x: str, axis: int, start: int, end: int, step: int = 1) -> str:
    places = [_integers(net, value) for value in (start, end, axis, step)]
    return net.op("Slice", [x, *places])


def _resize(
    net: Net, x: str, *scales: float, mode: str = "nearest", **attributes: str
) -> str:
    inputs = [x, "", net.constant([1.0, 1.0, *scales])]
    return net.op("Resize", inputs, mode=mode, **attributes)


def _conv_transpose(
    net: Net,
    x: str,
    cin: int,
    cout: int,
    kernel: int,
    *,
    bias: bool = True,
    **attributes: int | list[int],
) -> str:
    group = attributes.get("group", 1)
    assert isinstance(group, int)
    operands = [x, net.random(cin, cout // group, kernel, kernel, scale=0.3)]
    if bias:
        operands.append(net.random(cout, scale=0.1))
    return net.op("ConvTranspose", operands, **attributes)


# ---- put together and taken apart


def _inception(net: Net, x: str) -> str:
    ends = [
        net.relu(net.conv(x, 12, 5, 1)),
        net.relu(net.conv(net.relu(net.conv(x, 12, 6, 1)), 6, 8, pads=1)),
        net.pool("MaxPool", x, 3, pads=1),
    ]
    return net.conv(_concat(net, *ends), 25, 7, 1)


def _dense_block(net: Net, x: str) -> str:
    channels = 8
    for _ in range(3):
        y = net.relu(net.batch_norm(x, channels))
        x = _concat(net, x, net.conv(y, channels, 4, pads=1))
        channels += 4
    return net.pool("AveragePool", x, 2, stride=2)


def _cross_stage(net: Net, x: str) -> str:
    """As YOLOv8 has it: halves of a convolution, one of them through others."""
    x = net.conv(x, 3, 16, 1)
    left, right = _split(net, x, (8, 8))
    y = net.conv(net.relu(net.conv(right, 8, 8, pads=1)), 8, 8, pads=1)
    return net.conv(_concat(net, left, right, net.add(right, y)), 24, 10, 1)


def _detection_heads(net: Net, x: str) -> str:
    small = net.conv(x, 4, 6, stride=2, pads=1)
    flat = [
        net.reshape(net.conv(y, c, 5, 1), 1, 5, -1) for y, c in ((x, 4), (small, 6))
    ]
    boxes, classes = _split(net, _concat(net, *flat, axis=2), (2, 3))
    return _concat(net, net.mul(boxes, net.constant(2.0)), net.softmax(classes, 1))


def _concat_of_input_and_constant(net: Net, x: str) -> str:
    y = net.conv(x, 3, 4, 1)
    return net.relu(_concat(net, x, net.random(1, 2, 6, 7), y, y))


def _nested_concat(net: Net, x: str) -> str:
    inner = _concat(net, net.conv(x, 3, 5, 1), net.conv(x, 3, 3, 1))
    return _concat(net, net.relu(inner), inner, net.conv(inner, 8, 2, 1))


def _concat_is_output_and_read(name: str) -> Case:
    net = Net(name)
    x = net.input(1, 3, 6, 6)
    joined = _concat(net, net.conv(x, 3, 4, 1), net.conv(x, 3, 5, 1))
    return net.case(joined, net.conv(joined, 9, 3))


def _split_outputs(name: str) -> Case:
    net = Net(name)
    x = net.conv(net.input(1, 3, 6, 5), 3, 9, 1)
    return net.case(*_split(net, x, (2, 4, 3)))


def _split_of_input(net: Net, x: str) -> str:
    one, other = _split(net, x, (3, 2))
    return net.add(net.conv(one, 3, 4, 1), net.conv(other, 2, 4, 1))


def _halves_put_together(name: str) -> Case:
    """What was taken apart is not changed by what is done to the whole."""
    net = Net(name)
    left, right = _split(net, net.conv(net.input(1, 3, 5, 5), 3, 8, 1), (3, 5))
    return net.case(net.relu(_concat(net, left, right)), net.mul(left, left))


def _channel_shuffle_unit(net: Net, x: str) -> str:
    """As ShuffleNet V2 has it."""
    left, right = _split(net, x, (8, 8))
    right = net.relu(net.conv(right, 8, 8, 1))
    right = net.conv(net.depthwise(right, 8, 3, pads=1), 8, 8, 1)
    y = net.reshape(_concat(net, left, right), 1, 2, 8, 6, 6)
    y = net.op("Transpose", [y], perm=[0, 2, 1, 3, 4])
    return net.conv(net.reshape(y, 1, 16, 6, 6), 16, 5, 1)


def _attention_heads(net: Net, x: str) -> str:
    """Queries, keys and values out of one matrix."""
    y = net.reshape(net.matmul(x, 12, 36), 1, 7, 3, 4, 3)
    y = net.op("Transpose", [y], perm=[2, 0, 3, 1, 4])
    parts = [
        net.op("Squeeze", [_slice(net, y, 0, i, i + 1), _integers(net, 0)])
        for i in range(3)
    ]
    return net.add(net.mul(parts[0], parts[1]), parts[2])


def _joining() -> dict[str, Build]:
    def both(axis: int) -> Build:
        return _simple(
            (1, 5, 6, 7),
            lambda n, x: _concat(n, n.conv(x, 5, 5, 1), n.relu(x), axis=axis),
        )

    return {
        "concat_inception": _simple((1, 12, 9, 9), _inception),
        "concat_dense_block": _simple((1, 8, 10, 10), _dense_block),
        "concat_batch": both(0),
        "concat_channels": both(1),
        "concat_height": both(2),
        "concat_width": both(-1),
        "concat_input_constant": _simple((1, 3, 6, 7), _concat_of_input_and_constant),
        "concat_nested": _simple((1, 3, 6, 6), _nested_concat),
        "concat_output_read": _concat_is_output_and_read,
        "concat_vectors": _simple(
            (2, 9), lambda n, x: _concat(n, n.gemm(x, 9, 4), x, n.gemm(x, 9, 3))
        ),
        "split_cross_stage": _simple((1, 3, 8, 8), _cross_stage),
        "split_detection_heads": _simple((1, 4, 8, 8), _detection_heads),
        "split_outputs": _split_outputs,
        "split_of_input": _simple((1, 5, 6, 6), _split_of_input),
        "split_halves_together": _halves_put_together,
        "split_channel_shuffle": _simple((1, 16, 6, 6), _channel_shuffle_unit),
        "slice_attention_heads": _simple((1, 7, 12), _attention_heads),
    }


# ---- picked by constant indices


def _focus(net: Net, x: str) -> str:
    """As YOLOv5 begins: every second pixel, four times."""
    parts = []
    for dy, dx in ((0, 0), (1, 0), (0, 1), (1, 1)):
        rows = _slice(net, x, 2, dy, 1 << 30, 2)
        parts.append(_slice(net, rows, 3, dx, 1 << 30, 2))
    return net.conv(_concat(net, *parts), 12, 9, pads=1)


def _pad(net: Net, x: str, pads: Sequence[int], mode: str, fill: float = 0.0) -> str:
    inputs = [x, _integers(net, *pads)]
    if mode == "constant":
        inputs.append(net.constant(fill))
    return net.op("Pad", inputs, mode=mode)


def _picking() -> dict[str, Build]:
    image = (1, 6, 7, 9)

    def padded(pads: Sequence[int], mode: str, fill: float = 0.0) -> Build:
        return _simple(
            image, lambda n, x: n.conv(_pad(n, x, pads, mode, fill), pads[1] + 6, 4)
        )

    return {
        "slice_focus": _simple((1, 3, 8, 10), _focus),
        "slice_channels": _simple(
            image, lambda n, x: n.conv(_slice(n, x, 1, 2, -1), 3, 5)
        ),
        "slice_rows": _simple(image, lambda n, x: n.conv(_slice(n, x, 2, 1, 6), 6, 5)),
        "slice_backwards": _simple(
            image, lambda n, x: n.conv(_slice(n, x, 3, -1, -(1 << 30), -2), 6, 5)
        ),
        "pad_constant": padded([0, 0, 1, 2, 0, 0, 3, 0], "constant", -1.5),
        "pad_reflect": padded([0, 0, 2, 2, 0, 0, 1, 3], "reflect"),
        "pad_edge": padded([0, 0, 0, 3, 0, 0, 2, 1], "edge"),
        "pad_channels": padded([0, 2, 0, 0, 0, 0, 0, 0], "constant"),
        "pad_negative": padded([0, 0, -1, 1, 0, 0, 0, -2], "constant"),
        "gather_channels": _simple(
            image,
            lambda n, x: n.conv(
                n.op("Gather", [x, _integers(n, 5, 0, -2, 0)], axis=1), 4, 5
            ),
        ),
        "gather_one": _simple(
            (1, 5, 12),
            lambda n, x: n.gemm(
                n.op("Gather", [x, n.constant(0, np.int64)], axis=1), 12, 5
            ),
        ),
        "expand": _simple(
            (1, 6, 1, 1),
            lambda n, x: n.conv(n.op("Expand", [x, _integers(n, 1, 1, 4, 5)]), 6, 3),
        ),
        "tile": _simple(
            (1, 3, 4, 5),
            lambda n, x: n.conv(n.op("Tile", [x, _integers(n, 1, 2, 1, 3)]), 6, 3),
        ),
    }


# ---- larger and smaller images


def _pyramid(net: Net, x: str) -> str:
    small = net.conv(x, 6, 6, stride=2, pads=1)
    return net.add(
        x,
        _resize(
            net,
            small,
            2.0,
            2.0,
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        ),
    )


def _old_upsample(mode: str) -> Build:
    def build(name: str) -> Case:
        net = Net(name, opset=9)
        x = net.conv(net.input(1, 3, 4, 5), 3, 4, 1)
        scales = net.constant([1.0, 1.0, 2.0, 3.0])
        return net.case(net.op("Upsample", [x, scales], mode=mode))

    return build


def _old_resize(name: str) -> Case:
    net = Net(name, opset=10)
    x = net.conv(net.input(1, 3, 4, 5), 3, 4, 1)
    return net.case(net.op("Resize", [x, net.constant([1.0, 1.0, 2.5, 1.5])]))


def _resizing() -> dict[str, Build]:
    modes = ("asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners")
    builds: dict[str, Build] = {"resize_pyramid": _simple((1, 6, 8, 8), _pyramid)}
    for kind in ("nearest", "linear"):
        for mode in modes:
            for name, scales in (("up", (2.0, 3.0)), ("down", (0.5, 0.75))):
                builds[f"resize_{kind}_{mode}_{name}"] = _simple(
                    (1, 5, 8, 8),
                    lambda n, x, kind=kind, mode=mode, scales=scales: n.conv(  # type: ignore[misc]
                        _resize(
                            n,
                            x,
                            *scales,
                            mode=kind,
                            coordinate_transformation_mode=mode,
                        ),
                        5,
                        3,
                        1,
                    ),
                )
    return builds | {
        "resize_cubic": _simple(
            (1, 3, 5, 6), lambda n, x: _resize(n, x, 2.0, 1.5, mode="cubic")
        ),
        "resize_opset_10": _old_resize,
        "upsample_nearest": _old_upsample("nearest"),
        "upsample_linear": _old_upsample("linear"),
        "depth_to_space": _simple(
            (1, 12, 4, 5),
            lambda n, x: n.op("DepthToSpace", [n.conv(x, 12, 12, 1)], blocksize=2),
        ),
        "depth_to_space_crd": _simple(
            (1, 12, 4, 5),
            lambda n, x: n.conv(
                n.op("DepthToSpace", [x], blocksize=2, mode="CRD"), 3, 4, 1
            ),
        ),
        "space_to_depth": _simple(
            (1, 3, 4, 6),
            lambda n, x: n.conv(n.op("SpaceToDepth", [x], blocksize=2), 12, 4, 1),
        ),
        "global_max_pool": _simple(
            (1, 9, 70, 6),
            lambda n, x: n.gemm(n.flatten(n.op("GlobalMaxPool", [x])), 9, 4),
        ),
    }


def _transposed() -> dict[str, Build]:
    def conv(cin: int, cout: int, kernel: int, **attributes: int | list[int]) -> Build:
        return _simple(
            (1, cin, 5, 6),
            lambda n, x: n.relu(_conv_transpose(n, x, cin, cout, kernel, **attributes)),
        )

    return {
        "conv_transpose_1": conv(4, 5, 3),
        "conv_transpose_2x2": conv(6, 10, 2, strides=[2, 2]),
        "conv_transpose_to_one": conv(6, 1, 2, strides=[2, 2]),
        "conv_transpose_4x4": conv(4, 9, 4, strides=[2, 2], pads=[1, 1, 1, 1]),
        "conv_transpose_3x3": conv(
            4, 7, 3, strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]
        ),
        "conv_transpose_odd": conv(3, 4, 3, strides=[3, 2], pads=[0, 1, 1, 0]),
        "conv_transpose_holes": conv(3, 4, 2, strides=[3, 4]),
        "conv_transpose_dilated": conv(3, 4, 3, strides=[2, 1], dilations=[2, 3]),
        "conv_transpose_groups": conv(6, 4, 3, strides=[2, 2], group=2),
        "conv_transpose_depthwise": conv(
            8, 8, 4, strides=[2, 2], pads=[1, 1, 1, 1], group=8, bias=False
        ),
        "conv_transpose_wide_pads": conv(3, 4, 2, strides=[2, 2], pads=[3, 2, 4, 2]),
    }


GROUPS = (_joining, _picking, _resizing, _transposed)
