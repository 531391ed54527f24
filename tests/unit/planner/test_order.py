# SPDX-License-Identifier: Apache-2.0
"""Order of execution, lifetimes and what is overwritten."""

from __future__ import annotations

from dataclasses import replace

import pytest

from helpers.onnx_nets import Case, Net, all_cases
from undercroft._import import import_model
from undercroft._planner.lives import Lifetime, chains, lifetimes, live_bytes
from undercroft._planner.network import Network, network
from undercroft._planner.order import ordered
from undercroft._spec import Op


def imported(case: Case) -> Network:
    return network(import_model(case.model, case.input_shapes))


def peak(net: Network) -> int:
    return max(live_bytes(net))


def test_lifetimes() -> None:
    net = Net("lives")
    x = net.input(1, 8, 6, 6)
    found = imported(net.case(net.add(net.conv(net.relu(x), 8, 8, 1), x)))
    assert [node.operator.code for node in found.nodes] == [
        Op.CLAMP,
        Op.CONV_2D,
        Op.ADD,
    ]
    assert lifetimes(found) == [
        Lifetime(-1, 2),
        Lifetime(0, 1),
        Lifetime(1, 2),
        Lifetime(2, 3),
    ]


def test_elementwise_operators_overwrite_what_nobody_needs_any_more() -> None:
    net = Net("over")
    x = net.input(1, 8, 6, 6)
    y = net.softmax(net.op("HardSwish", [net.relu(x)]), 1)
    found = imported(net.case(net.add(y, net.global_pool(y))))
    parts = chains(found, lifetimes(found)).values()
    assert sorted(map(len, parts)) == [1, 5]
    assert peak(found) == 4 * 8 * 36 + 64


def test_a_value_that_is_needed_later_is_not_overwritten() -> None:
    net = Net("later")
    x = net.conv(net.input(1, 8, 6, 6), 8, 8, 1)
    found = imported(net.case(net.relu(x), x))
    assert len(chains(found, lifetimes(found))) == len(found.roots)


def test_a_broadcast_operand_is_not_overwritten() -> None:
    net = Net("broadcast")
    x = net.conv(net.input(1, 8, 6, 6), 8, 8, 1)
    y = net.mul(net.global_pool(x), x)
    found = imported(net.case(y))
    product = found.nodes[-1]
    parts = list(chains(found, lifetimes(found)).values())
    assert [product.reads[1].root, product.writes.root] in parts


def test_branches_run_one_after_the_other() -> None:
    net = Net("branches")
    x = net.conv(net.input(1, 4, 8, 8), 4, 4, 1)
    wide = [net.conv(x, 4, 64, 1) for _ in range(4)]
    ends = [net.conv(net.relu(branch), 64, 4, 1) for branch in wide]
    y = ends[0]
    for end in ends[1:]:
        y = net.add(y, end)
    found = imported(net.case(y))
    result = ordered(found)
    assert peak(found) > 4 * 64 * 64 * 4
    assert result.peak_bytes == peak(result.net) < 2 * 64 * 64 * 4
    assert result.lower_bound_bytes <= result.peak_bytes


def test_the_solver_finds_what_greed_misses() -> None:
    # The branch that frees most is the one to begin with, but it begins by growing.
    net = Net("greed")
    x = net.conv(net.input(1, 4, 16, 16), 4, 16, 1)
    grows = net.conv(net.conv(x, 16, 40, 1), 40, 2, 1)
    shrinks = net.conv(net.conv(x, 16, 12, 1), 12, 12, 1)
    found = imported(net.case(net.conv(shrinks, 12, 2, 1), grows))
    assert ordered(found).peak_bytes <= ordered(found, solve=False).peak_bytes


@pytest.mark.parametrize("case", all_cases(), ids=str)
def test_the_order_is_an_order(case: Case) -> None:
    found = imported(case)
    result = ordered(found).net
    assert peak(result) <= peak(found)
    assert sorted(map(id, result.nodes)) == sorted(map(id, found.nodes))
    written = set(result.inputs)
    for node in result.nodes:
        assert written.issuperset(box.root for box in node.reads)
        written.add(node.writes.root)
    assert replace(result, nodes=found.nodes) == found
    assert ordered(found).net.nodes == result.nodes
