# SPDX-License-Identifier: Apache-2.0
"""Bands of rows, held and repeated weights, spills: the same answers, in less."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.graphs import GraphNet
from helpers.reference import Machine
from undercroft._import.graph import NO_CLAMP
from undercroft._planner.averages import with_early_averages
from undercroft._planner.network import network
from undercroft.errors import BudgetExceededError
from undercroft.plan import Plan


def least(net: GraphNet, *outputs: int) -> int:
    with pytest.raises(BudgetExceededError) as error:
        net.plan(*outputs, budget=1)
    return error.value.needed_bytes


def check(net: GraphNet, *outputs: int) -> list[Plan]:
    """Plans for several budgets, all of which must give the same answers."""
    expected = Machine(net.plan(*outputs)).run(net.input())
    whole = net.plan(*outputs)
    smallest = least(net, *outputs)
    plans = []
    for share in (0.0, 0.15, 0.5):
        budget = round(smallest + share * max(0, whole.arena_bytes - smallest))
        plan = net.plan(*outputs, budget=budget)
        assert plan.arena_bytes <= budget
        machine = Machine(plan)
        for _ in range(2):
            for got, want in zip(machine.run(net.input()), expected, strict=True):
                np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
        plans.append(plan)
    return plans


def rows(plan: Plan) -> set[str]:
    return {op.rows for op in plan.ops}


def test_wide_operators_are_fused() -> None:
    net = GraphNet(3, 32, 32)
    x = net.conv(net.depthwise(net.conv(0, 64, 3)), 4, 1)
    plan = check(net, x)[0]
    assert rows(plan) == {"fused"}
    assert plan.arena_bytes < 4 * 64 * 32 * 32 / 2
    assert {op.bands for op in plan.ops} != {1}


def test_one_operator_alone_runs_in_row_bands() -> None:
    net = GraphNet(16, 24, 24)
    x = net.transpose(net.conv(net.transpose(0), 16, 3))
    plans = check(net, x)
    # Whole tensors are all there is: bands save nothing here.
    assert "fused" not in rows(plans[0])


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
def test_windows(kernel: int, stride: int) -> None:
    net = GraphNet(3, 31, 9)
    x = net.conv(0, 24, 3)
    step = net.depthwise if kernel % 2 else net.pool
    x = step(x, kernel, stride)
    x = net.average(net.conv(x, 24, kernel | 1), 3, 1, 1)
    check(net, net.conv(x, 4, 1))


def test_dilations() -> None:
    net = GraphNet(3, 40, 8)
    x = net.conv(net.conv(net.conv(0, 32, 3), 32, 3, dilation=3), 4, 3, dilation=2)
    assert rows(check(net, x)[0]) == {"fused"}


def test_a_residual_waits_for_its_branch() -> None:
    net = GraphNet(3, 40, 8)
    x = net.conv(0, 32)
    for _ in range(3):
        x = net.add(x, net.conv(net.conv(x, 32), 32))
    plan = check(net, net.conv(x, 4, 1))[0]
    assert "fused" in {op.rows for op in plan.ops if op.kind == "add"}


def test_enlarging_by_tables_runs_in_bands() -> None:
    net = GraphNet(3, 24, 12)
    x = net.conv(0, 24)
    y = net.enlarge(net.conv(x, 24, 3, 2))
    plans = check(net, net.conv(net.conv(net.add(x, y), 24), 4, 1))
    assert "fused" in {op.rows for op in plans[0].ops if op.kind == "gather"}


def squeezed(net: GraphNet, x: int, channels: int, clamp: tuple[float, float]) -> int:
    """A pointwise convolution, multiplied by what comes of its average."""
    image = net.conv(x, channels, 1, clamp=clamp)
    return net.mul(image, net.emit(_conv_code(), *_scale(net, image)))


def test_an_average_is_taken_before_a_pointwise_convolution() -> None:
    net = GraphNet(3, 40, 16)
    x = squeezed(net, net.conv(0, 12), 48, NO_CLAMP)
    image_bytes = 4 * 48 * 40 * 16
    plan = check(net, net.conv(x, 4, 1))[0]
    assert plan.arena_bytes < image_bytes
    assert "fused" in {op.rows for op in plan.ops if op.kind == "mul"}


@pytest.mark.parametrize(
    ("channels", "clamp"), [(8, NO_CLAMP), (48, (0.0, 6.0))], ids=["fewer", "bounded"]
)
def test_an_average_stays_where_it_is(
    channels: int, clamp: tuple[float, float]
) -> None:
    net = GraphNet(3, 40, 16)
    x = squeezed(net, net.conv(0, 12), channels, clamp)
    made = network(net.graph(net.conv(x, 4, 1)))
    assert with_early_averages(made) is made


def test_a_convolution_of_which_only_the_average_is_read_sees_one_pixel() -> None:
    net = GraphNet(3, 40, 16)
    x = net.dense(net.global_pool(net.conv(0, 48, 1, clamp=NO_CLAMP)), 4)
    made = with_early_averages(network(net.graph(x)))
    assert [node.writes.dims for node in made.nodes] == [
        (1, 1, 1, 3),
        (1, 1, 1, 48),
        (1, 1, 1, 4),
    ]
    check(net, x)


def test_columns_of_a_whole_tensor_are_written_in_bands() -> None:
    net = GraphNet(3, 32, 32)
    x = net.phases(net.conv(0, 16, 1), net.conv(0, 16, 1))
    plan = check(net, net.conv(x, 1, 1))[0]
    assert "fused" in {op.rows for op in plan.ops if op.kind == "clamp"}


def test_columns_are_not_an_intermediate_tensor() -> None:
    net = GraphNet(3, 32, 32)
    x = net.conv(0, 16, 1)
    result = net.phases(x, net.conv(x, 16, 3))
    # Here the columns are taken apart again, by what could run in bands.
    halves = [net.conv(part, 4, 1) for part in (result - 2, result - 1)]
    plan = check(net, net.add(*halves), result)[0]
    assert "fused" not in {op.rows for op in plan.ops if op.kind == "clamp"}


def test_several_results() -> None:
    net = GraphNet(3, 40, 8)
    x = net.conv(0, 32)
    y = net.conv(x, 4, 3, 2)
    z = net.conv(net.conv(x, 32), 4)
    check(net, y, z)


def test_a_result_that_is_read_again() -> None:
    net = GraphNet(3, 40, 8)
    x = net.conv(net.conv(0, 32), 4)
    check(net, x, net.conv(net.conv(x, 32), 4))


def test_concatenation_is_written_in_place() -> None:
    net = GraphNet(3, 16, 16)
    x = net.conv(0, 8)
    y = net.concat(net.conv(x, 8, 1), net.conv(x, 16, 3), net.pool(x, 3, 1, 1))
    x = net.conv(y, 4, 1)
    assert not [op for op in net.plan(x).ops if op.kind == "clamp"]
    check(net, x)


def test_nested_concatenation() -> None:
    net = GraphNet(3, 64, 16)
    x = net.conv(0, 16, 3)
    for _ in range(4):
        x = net.concat(x, net.conv(net.conv(x, 32, 1), 8, 3))
    plans = check(net, net.conv(x, 4, 1))
    assert "fused" in rows(plans[0])


def test_what_is_concatenated_twice_is_copied() -> None:
    net = GraphNet(3, 16, 16)
    x = net.conv(0, 8)
    y = net.conv(net.concat(x, net.conv(x, 8)), 8)
    y = net.conv(net.concat(y, x), 4, 1)
    assert [op.kind for op in net.plan(y).ops].count("clamp") >= 1
    check(net, y)


def test_split_is_read_in_place() -> None:
    net = GraphNet(3, 24, 8)
    x = net.conv(0, 32)
    a, b = net.view(x, 0, 16), net.view(x, 16, 32)
    c = net.conv(net.conv(b, 16), 16)
    y = net.conv(net.concat(a, net.add(b, c), c), 4, 1)
    check(net, y)
    # What cannot step over gaps gets a copy.
    check(net, y, net.transpose(net.view(x, 4, 12)))


def test_weights_are_held_or_repeated() -> None:
    net = GraphNet(3, 64, 4)
    x = net.conv(net.conv(0, 48, 3), 48, 3)
    x = net.conv(net.conv(x, 48, 3), 2, 3)
    schemes = set().union(*(plan.schemes for plan in check(net, x)))
    assert "repeated" in schemes
    schemes = set()
    smallest, whole = least(net, x), net.plan(x).arena_bytes
    for share in (0.2, 0.4, 0.6, 0.8):
        budget = round(smallest + share * (whole - smallest))
        schemes |= set(net.plan(x, budget=budget).schemes)
    assert schemes & {"held", "resident"}


def test_what_waits_for_long_is_spilled() -> None:
    net = GraphNet(4, 48, 48)
    skip = net.conv(0, 8, 1)
    # A transposition needs all of its operand, so nothing here runs in bands.
    y = net.transpose(net.conv(net.transpose(skip), 8, 1))
    y = net.transpose(net.conv(net.transpose(y), 8, 1))
    x = net.add(skip, y)
    plan = check(net, x)[0]
    assert plan.spilled_bytes >= 4 * 8 * 48 * 48
    assert "leave encrypted" in str(plan)


def test_a_giant_panel_is_divided() -> None:
    net = GraphNet(64, 12, 12)
    x = net.emit(
        net.operators[-1].code if net.operators else _conv_code(),
        (0,),
        (1, 1, 1, 16),
        _image_attributes(12),
        _image_weights(net, 16, 64, 12),
    )
    plans = check(net, net.dense(x, 4))
    # 64 channels of 12 x 12 for eight outputs are 288 KiB; the window is smaller.
    assert plans[0].to_dict()["window_bytes"] < 288 * 1024
    assert sum(op.weights_bytes for op in plans[0].ops) >= 16 * 64 * 144 * 4


def _conv_code():
    from undercroft._spec import Op

    return Op.CONV_2D


def _image_attributes(size: int):
    from undercroft._import.graph import Attributes

    return Attributes(kernel=(size, size), stride=(1, 1), dilation=(1, 1), groups=1)


def _image_weights(net: GraphNet, cout: int, cin: int, size: int):
    from undercroft._import.weights import ConvWeights

    return ConvWeights(net._weights(cout, cin, size, size), np.ones(cout, np.float32))


@st.composite
def random_net(draw: st.DrawFn) -> tuple[GraphNet, tuple[int, ...]]:
    """A network whose branches split and meet, of all that runs in bands."""
    net = GraphNet(draw(st.integers(1, 5)), draw(st.integers(8, 30)), 10, seed=2)
    known = [net.conv(0, 8, draw(st.sampled_from([1, 3])), draw(st.integers(1, 2)))]
    for _ in range(draw(st.integers(2, 9))):
        x = known[draw(st.integers(max(0, len(known) - 3), len(known) - 1))]
        same = [k for k in known if net.dims(k)[1:3] == net.dims(x)[1:3]]
        other = same[draw(st.integers(0, len(same) - 1))]
        kind = draw(st.integers(0, 9))
        if kind == 0 and min(net.dims(x)[1:3]) > 4:
            known.append(net.conv(x, 12, 3, 2))
        elif kind == 1:
            known.append(net.depthwise(x, draw(st.sampled_from([1, 3, 5]))))
        elif kind == 2 and min(net.dims(x)[1:3]) > 4:
            known.append(net.pool(x, draw(st.integers(2, 3)), 2, 0))
        elif kind == 3 and net.dims(x) == net.dims(other):
            known.append(net.add(x, other) if x != other else net.hard_swish(x))
        elif kind == 4:
            known.append(net.concat(*dict.fromkeys((x, other))))
        elif kind == 5:
            known.append(net.hard_swish(x))
        elif kind == 6 and net.dims(x)[3] > 4:
            known.append(net.conv(net.view(x, 1, net.dims(x)[3] - 2), 8, 3))
        elif kind == 8 and net.dims(x)[1] <= 15:
            known.append(net.enlarge(x))
        elif kind == 7:
            scale = net.emit(_conv_code(), *_scale(net, x))
            known.append(net.mul(x, scale))
        else:
            known.append(net.conv(x, draw(st.sampled_from([4, 9, 16])), 3))
    read = {i for o in net.operators for i in o.inputs}
    read |= {net.tensors[i].parent for i in read if net.tensors[i].parent is not None}
    ends = [k for k in known if k not in read]
    return net, tuple(ends or known[-1:])


def _scale(net: GraphNet, x: int):
    from undercroft._import.graph import Attributes
    from undercroft._import.weights import ConvWeights

    c = net.dims(x)[3]
    pooled = net.global_pool(x)
    attributes = Attributes(kernel=(1, 1), stride=(1, 1), dilation=(1, 1), groups=1)
    weights = ConvWeights(net._weights(c, c, 1, 1), np.ones(c, np.float32))
    return (pooled,), (1, 1, 1, c), attributes, weights


@settings(max_examples=40, deadline=None)
@given(random_net())
def test_any_network_in_any_budget(drawn: tuple[GraphNet, tuple[int, ...]]) -> None:
    net, outputs = drawn
    check(net, *outputs[:16])
