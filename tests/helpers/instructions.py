# SPDX-License-Identifier: Apache-2.0
"""Counts the arm64 instructions that one operator executes.

A plugin of QEMU's user-mode emulation counts between two marks that the runner
sets around the operator: the same figure every time, whatever the host does.
``python -m helpers.instructions`` (in ``tests/``) prints the tables of
``docs/kernels.md``.
"""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helpers.op_runner import (
    VARIANTS,
    Op,
    Runner,
    pack_conv,
    pack_dense,
    pack_depthwise,
)
from undercroft import _spec as spec
from undercroft._build import BUILD, ROOT
from undercroft._host import require_tools

_PLUGIN_VERSION_2 = 9  # the QEMU that began to refuse version 1
COUNTER = ROOT / "tests" / "engine" / "ops" / "insn_count.c"
_RELU6 = (0.0, 6.0)


@dataclass(frozen=True)
class Layer:
    """One operator and how often a network has it."""

    name: str
    op: Op
    weights: bytes
    macs: int
    times: int = 1


def conv_layer(
    size: int,
    cin: int,
    cout: int,
    kernel: int,
    stride: int = 1,
    *,
    depthwise: bool = False,
    times: int = 1,
) -> Layer:
    """A convolution of a square image with "same" padding."""
    pad = kernel // 2
    out = (size + 2 * pad - kernel) // stride + 1
    groups = cin if depthwise else 1
    weight = np.ones((cout, cin // groups, kernel, kernel), np.float32)
    op = Op(
        spec.OP_DEPTHWISE_CONV_2D if depthwise else spec.OP_CONV_2D,
        (1, size, size, cin),
        (1, out, out, cout),
        act=_RELU6,
        kernel=(kernel, kernel),
        stride=(stride, stride),
        pads=(pad,) * 4,
        groups=groups,
    )
    kind = "depthwise" if depthwise else "conv"
    stem = f"{kind} {kernel}x{kernel}" + (f" /{stride}" if stride > 1 else "")
    return Layer(
        f"{stem}, {size}x{size}, {cin} → {cout}",
        op,
        pack_depthwise(weight, None) if depthwise else pack_conv(weight, None),
        out * out * kernel * kernel * (cin // groups) * cout,
        times,
    )


def pool_layer(size: int, channels: int, kernel: int, stride: int) -> Layer:
    """Maximum pooling of a square image with "same" padding."""
    pad = (kernel - 1) // 2
    out = (size + 2 * pad - kernel) // stride + 1
    op = Op(
        spec.OP_MAX_POOL_2D,
        (1, size, size, channels),
        (1, out, out, channels),
        kernel=(kernel, kernel),
        stride=(stride, stride),
        pads=(pad,) * 4,
    )
    return Layer(f"maxima {kernel}x{kernel} /{stride}", op, b"", 0)


def add_layer(size: int, channels: int, act: tuple[float, float]) -> Layer:
    """An addition of two images, clamped."""
    dims = (1, size, size, channels)
    op = Op(spec.OP_ADD, dims, dims, b=dims, act=act)
    return Layer(f"add {act}", op, b"", 0)


def reference_layers() -> list[Layer]:
    """The three shapes that kernel sets were first compared by."""
    return [
        conv_layer(56, 64, 64, 3),
        conv_layer(14, 512, 512, 1),
        conv_layer(56, 128, 128, 3, depthwise=True),
    ]


# Expansion's output, input, output, kernel, stride, repeats of each stage.
_LITE0_STAGES = (
    (1, 32, 16, 3, 1, 1),
    (6, 16, 24, 3, 2, 2),
    (6, 24, 40, 5, 2, 2),
    (6, 40, 80, 3, 2, 3),
    (6, 80, 112, 5, 1, 3),
    (6, 112, 192, 5, 2, 4),
    (6, 192, 320, 3, 1, 1),
)


def lite0_layers() -> list[Layer]:
    """EfficientNet-Lite0 at 224 x 224: all that computes."""
    layers = [conv_layer(224, 3, 32, 3, 2)]
    size = 112
    for expand, cin, cout, kernel, first_stride, repeats in _LITE0_STAGES:
        for i in range(repeats):
            width, stride = (cin, first_stride) if i == 0 else (cout, 1)
            wide = width * expand
            if expand > 1:
                layers.append(conv_layer(size, width, wide, 1))
            layers.append(conv_layer(size, wide, wide, kernel, stride, depthwise=True))
            size //= stride
            layers.append(conv_layer(size, wide, cout, 1))
            if i:
                dims = (1, size, size, cout)
                layers.append(Layer(f"add, {size}x{size}x{cout}", _add(dims), b"", 0))
    layers.append(conv_layer(7, 320, 1280, 1))
    pooled = (1, 1, 1, 1280)
    layers.append(
        Layer(
            "global average pool, 7x7x1280",
            Op(spec.OP_GLOBAL_AVERAGE_POOL, (1, 7, 7, 1280), pooled),
            b"",
            0,
        )
    )
    layers.append(
        Layer(
            "fully connected, 1280 → 1000",
            Op(spec.OP_FULLY_CONNECTED, pooled, (1, 1, 1, 1000)),
            pack_dense(np.ones((1280, 1000), np.float32), None),
            1280 * 1000,
        )
    )
    return list(_merged(layers))


def _add(dims: tuple[int, int, int, int]) -> Op:
    return Op(spec.OP_ADD, dims, dims, b=dims)


def _merged(layers: list[Layer]) -> Iterator[Layer]:
    """Equal layers once, in the order of their first."""
    for name in dict.fromkeys(layer.name for layer in layers):
        same = [layer for layer in layers if layer.name == name]
        yield Layer(name, same[0].op, same[0].weights, same[0].macs, len(same))


@functools.cache
def build_plugin(source: Path = COUNTER) -> Path:
    """Compile a plugin, the counting one, for the QEMU that is installed."""
    require_tools(("gcc", "qemu-aarch64"), purpose="count instructions")
    said = subprocess.run(
        ["qemu-aarch64", "--version"], check=True, capture_output=True, text=True
    ).stdout
    found = re.search(r"version (\d+)", said)
    assert found, said
    version = 2 if int(found[1]) >= _PLUGIN_VERSION_2 else 1
    out = BUILD / "tests" / "ops" / f"{source.stem}_v{version}.so"
    out.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [
            *("gcc", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror"),
            f"-DPLUGIN_VERSION={version}",
            f"-I{Path(__file__).parent}",
            *(str(source), "-o", str(out)),
        ],
        check=True,
    )
    return out


def count_instructions(variant: str, layer: Layer) -> int:
    """Count what one run of the operator executes, from call to return."""
    emulator = (*VARIANTS[variant].command, "-plugin", str(build_plugin()))
    runner = Runner(VARIANTS[variant], prefix=emulator, views=False)
    op = layer.op
    inputs = [
        None if dims is None else np.ones(dims, np.float32) for dims in (op.a, op.b)
    ]
    runner.run(op, inputs[0], inputs[1], layer.weights)
    marks = re.findall(r"^instructions (\d+)$", runner.close().decode(), re.MULTILINE)
    assert len(marks) == 2, marks
    return int(marks[1])


def _print_table(variant: str, layers: list[Layer]) -> None:
    total = 0
    for layer in layers:
        count = count_instructions(variant, layer)
        total += count * layer.times
        rate = f"{layer.macs / count:.2f}" if layer.macs else ""
        sys.stdout.write(
            f"| {layer.name} | {layer.times} | {layer.macs / 1e6:.1f} "
            f"| {count / 1e6:.3f} | {rate} |\n"
        )
    sys.stdout.write(f"| all | | | {total / 1e6:.1f} | |\n")


if __name__ == "__main__":
    for kind in sys.argv[1:] or ["arm64-a73", "arm64-ld128"]:
        sys.stdout.write(
            f"\n{kind}\n\n| | times | M MAC | M instructions | MAC each |\n"
        )
        sys.stdout.write("|---|---|---|---|---|\n")
        _print_table(kind, reference_layers())
        _print_table(kind, lite0_layers())
