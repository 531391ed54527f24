# SPDX-License-Identifier: Apache-2.0
"""Order of execution, lifetimes and what is overwritten."""

from __future__ import annotations

from dataclasses import replace

import pytest

from helpers.onnx_nets import Case, Net, all_cases
from undercroft._import import import_model
from undercroft._import.graph import Graph
from undercroft._planner.schedule import (
    Lifetime,
    buffers,
    lifetimes,
    live_bytes,
    scheduled,
)
from undercroft._spec import Op


def peak(graph: Graph) -> int:
    return max(live_bytes(buffers(graph), len(graph.operators)))


def test_lifetimes() -> None:
    net = Net("lives")
    x = net.input(1, 8, 6, 6)
    graph = import_model(net.case(net.add(net.conv(net.relu(x), 8, 8, 1), x)).model)
    assert [operator.code for operator in graph.operators] == [
        Op.CLAMP,
        Op.CONV_2D,
        Op.ADD,
    ]
    assert lifetimes(graph) == [
        Lifetime(-1, 2),
        Lifetime(0, 1),
        Lifetime(1, 2),
        Lifetime(2, 3),
    ]


def test_elementwise_operators_overwrite_what_nobody_needs_any_more() -> None:
    net = Net("over")
    x = net.input(1, 8, 6, 6)
    y = net.softmax(net.op("HardSwish", [net.relu(x)]), 1)
    graph = import_model(net.case(net.add(y, net.global_pool(y))).model)
    size = 4 * 8 * 36
    assert sorted(part.size for part in buffers(graph)) == [64, size]
    assert peak(graph) == size + 64


def test_a_value_that_is_needed_later_is_not_overwritten() -> None:
    net = Net("later")
    x = net.conv(net.input(1, 8, 6, 6), 8, 8, 1)
    graph = import_model(net.case(net.relu(x), x).model)
    assert len(buffers(graph)) == len(graph.tensors)


def test_a_broadcast_operand_is_not_overwritten() -> None:
    net = Net("broadcast")
    x = net.conv(net.input(1, 8, 6, 6), 8, 8, 1)
    y = net.mul(net.global_pool(x), x)
    graph = import_model(net.case(y).model)
    product = graph.operators[-1]
    image = product.inputs[1]
    parts = {part.tensors for part in buffers(graph)}
    assert (image, product.output) in parts


def test_branches_run_one_after_the_other() -> None:
    net = Net("branches")
    x = net.conv(net.input(1, 4, 8, 8), 4, 4, 1)
    wide = [net.conv(x, 4, 64, 1) for _ in range(4)]
    ends = [net.conv(net.relu(branch), 64, 4, 1) for branch in wide]
    y = ends[0]
    for end in ends[1:]:
        y = net.add(y, end)
    graph = import_model(net.case(y).model)
    order = scheduled(graph)
    assert peak(graph) > 4 * 64 * 64 * 4
    assert peak(order) < 2 * 64 * 64 * 4


@pytest.mark.parametrize("case", all_cases(), ids=str)
def test_the_order_is_an_order(case: Case) -> None:
    graph = import_model(case.model, case.input_shapes)
    order = scheduled(graph)
    assert peak(order) <= peak(graph)
    assert sorted(o.output for o in order.operators) == sorted(
        o.output for o in graph.operators
    )
    written = set(order.inputs)
    for operator in order.operators:
        assert written.issuperset(operator.inputs)
        written.add(operator.output)
    assert replace(order, operators=graph.operators) == graph
