# SPDX-License-Identifier: Apache-2.0
"""Counts the arm64 instructions of whole networks, by class of operator.

``python -m helpers.networks MODEL.onnx ...`` (in ``tests/``) prints a table for
each: every distinct operator once, counted by `helpers.instructions`, and its
share. What the planner adds (bands, copies) is not in it, nor is decryption.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter, defaultdict
from pathlib import Path

from helpers.instructions import Layer, count_instructions
from helpers.op_runner import Op
from undercroft import _spec as spec
from undercroft._import import import_model
from undercroft._import.graph import Graph, Operator

_CONVOLUTIONS = (spec.Op.CONV_2D, spec.Op.DEPTHWISE_CONV_2D)


def network_layers(graph: Graph) -> list[Layer]:
    """The distinct operators of a network and how often it has each.

    Weights are zeros: no operator's instructions depend on values.
    """
    times = Counter(_op(graph, operator) for operator in graph.operators)
    first = {_op(graph, operator): operator for operator in graph.operators}
    return [
        Layer(
            _class(op),
            op,
            bytes(weights.size_bytes) if (weights := first[op].weights) else b"",
            _macs(op),
            count,
        )
        for op, count in times.items()
    ]


def _op(graph: Graph, operator: Operator) -> Op:
    dims = [graph.tensors[index].dims for index in operator.inputs]
    attributes = operator.attributes
    return Op(
        operator.code,
        dims[0] if dims else None,
        graph.tensors[operator.output].dims,
        b=dims[1] if dims[1:] else None,
        flags=attributes.flags,
        act=operator.clamp,
        alpha=attributes.alpha,
        beta=attributes.beta,
        kernel=attributes.kernel,
        stride=attributes.stride,
        dilation=attributes.dilation,
        pads=attributes.pads,
        groups=attributes.groups,
        permutation=attributes.permutation,
        function=attributes.function,
        panel_bytes=operator.weights.panel_bytes if operator.weights else 0,
    )


def _class(op: Op) -> str:
    name = spec.Op(op.code).name.lower().replace("_", " ")
    if op.code not in _CONVOLUTIONS:
        return name
    stride = f" /{op.stride[0]}" if op.stride != (1, 1) else ""
    return f"{name} {op.kernel[0]}x{op.kernel[1]}{stride}"


def _macs(op: Op) -> int:
    if op.a is None:
        return 0
    if op.code in _CONVOLUTIONS:
        return math.prod(op.kernel) * math.prod(op.out) * op.a[3] // op.groups
    if op.code == spec.Op.FULLY_CONNECTED:
        return math.prod(op.out) * op.a[3]
    return 0


def _print_network(name: str, layers: list[Layer], *, each: bool, variant: str) -> None:
    totals: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for layer in layers:
        count = count_instructions(variant, layer)
        if each:
            rate = f"{layer.macs / count:.2f}" if layer.macs else ""
            sys.stdout.write(
                f"| {layer.name} {layer.op.a} to {layer.op.out} | {layer.times} "
                f"| {count / 1e6:.3f} | {rate} |\n"
            )
        for key in (layer.name, "all"):
            total = totals[key]
            total[0] += layer.times
            total[1] += layer.macs * layer.times
            total[2] += count * layer.times
    everything = totals.pop("all")
    sys.stdout.write(
        f"\n{name}\n\n| | times | M MAC | M instructions | share | MAC each |\n"
        "|---|---|---|---|---|---|\n"
    )
    ordered = sorted(totals.items(), key=lambda item: -item[1][2])
    for key, (times, macs, count) in [*ordered, ("all", everything)]:
        rate = f"{macs / count:.2f}" if macs else ""
        sys.stdout.write(
            f"| {key} | {times} | {macs / 1e6:.1f} | {count / 1e6:.2f} "
            f"| {100 * count / everything[2]:.1f} % | {rate} |\n"
        )


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--each", action="store_true", help="print every operator")
    parser.add_argument("--variant", default="arm64-a73")
    arguments = parser.parse_args()
    for path in arguments.models:
        layers = network_layers(import_model(path))
        _print_network(
            path.stem, layers, each=arguments.each, variant=arguments.variant
        )


if __name__ == "__main__":
    _main()
