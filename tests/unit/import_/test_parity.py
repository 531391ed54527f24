# SPDX-License-Identifier: Apache-2.0
"""Imported networks, executed from the bytes of their plan, equal onnxruntime."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnxruntime
import pytest

from helpers import reference
from helpers.onnx_nets import Case, Net, all_cases, random_inputs
from undercroft import _models
from undercroft._spec import MIN_PAGE_BYTES
from undercroft.errors import BudgetExceededError
from undercroft.plan import Plan, plan

TOLERANCE = 1e-5


def onnxruntime_outputs(model: object, inputs: dict[str, np.ndarray]) -> list:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model, options).run(None, inputs)


def smallest_plan(case: Case) -> Plan:
    """The plan that the least memory allows: everything is streamed in steps."""
    with pytest.raises(BudgetExceededError) as error:
        plan(case.model, 1, input_shapes=case.input_shapes, page_bytes=MIN_PAGE_BYTES)
    return plan(
        case.model,
        error.value.needed_bytes,
        input_shapes=case.input_shapes,
        page_bytes=MIN_PAGE_BYTES,
    )


def assert_equal(case: Case, made: Plan) -> None:
    inputs = random_inputs(case)
    expected = onnxruntime_outputs(case.model.SerializeToString(), inputs)
    outputs = reference.run(made, inputs)
    assert len(outputs) == len(expected)
    for output, wanted in zip(outputs, expected, strict=True):
        assert output.shape == wanted.shape
        assert np.isfinite(output).all()
        scale = max(float(np.abs(wanted).max()), 1e-6)
        assert float(np.abs(output - wanted).max()) <= TOLERANCE * scale


@pytest.mark.parametrize("case", all_cases(), ids=str)
def test_small_networks(case: Case) -> None:
    assert_equal(case, plan(case.model, None, input_shapes=case.input_shapes))
    assert_equal(case, smallest_plan(case))


# ---- what is hard about the order of elements, one thing a network


def channel_shuffle(net: Net) -> tuple[str, ...]:
    x = net.conv(net.input(2, 6, 5, 7), 6, 12, 1)
    x = net.reshape(x, 2, 3, 4, 5, 7)
    x = net.op("Transpose", [x], perm=[0, 2, 1, 3, 4])
    return (net.conv(net.reshape(x, 2, 12, 5, 7), 12, 5),)


def pixel_shuffle(net: Net) -> tuple[str, ...]:
    x = net.conv(net.input(1, 3, 4, 5), 3, 12, 1)
    x = net.reshape(x, 1, 3, 2, 2, 4, 5)
    x = net.op("Transpose", [x], perm=[0, 1, 4, 2, 5, 3])
    return (net.conv(net.reshape(x, 1, 3, 8, 10), 3, 4, pads=1),)


def patches_and_dense(net: Net) -> tuple[str, ...]:
    x = net.conv(net.input(1, 3, 8, 12), 3, 10, 4, stride=4)
    x = net.op("Transpose", [net.reshape(x, 1, 10, 6)], perm=[0, 2, 1])
    x = net.add(net.matmul(x, 10, 9), net.random(1, 6, 9))
    return (net.relu(net.matmul(net.relu(x), 9, 4)),)


def dense_over_image_columns(net: Net) -> tuple[str, ...]:
    return (net.matmul(net.conv(net.input(2, 3, 5, 6), 3, 4, 1), 6, 7),)


def nhwc_through_and_through(net: Net) -> tuple[str, ...]:
    x = net.op("Transpose", [net.input(1, 6, 7, 3)], perm=[0, 3, 1, 2])
    x = net.op("Transpose", [net.conv(x, 3, 5)], perm=[0, 2, 3, 1])
    return (net.matmul(net.add(x, net.random(5)), 5, 4),)


def two_arrangements_meet(net: Net) -> tuple[str, ...]:
    x = net.input(1, 4, 6, 6)
    flipped = net.op("Transpose", [net.conv(x, 4, 5, 1)], perm=[0, 1, 3, 2])
    return (net.add(net.conv(x, 4, 5, 1), flipped),)


def two_arrangements_of_a_cube(net: Net) -> tuple[str, ...]:
    x = net.op("Transpose", [net.input(3, 3, 3, 3)], perm=[1, 2, 0, 3])
    one = net.op("Transpose", [x], perm=[2, 3, 0, 1])
    return one, net.op("Transpose", [x], perm=[2, 0, 1, 3])


def outputs_that_cross_differently(net: Net) -> tuple[str, ...]:
    x = net.conv(net.input(2, 3, 5, 1), 3, 4, 1)
    flat = net.op("Transpose", [x], perm=[0, 2, 3, 1])
    return flat, x


def row_major_meets_image(net: Net) -> tuple[str, ...]:
    dense = net.reshape(net.gemm(net.input(1, 10, name="v"), 10, 60), 1, 5, 3, 4)
    return (net.add(net.conv(net.input(1, 2, 3, 4), 2, 5, 1), dense),)


def broadcast_both_ways(net: Net) -> tuple[str, ...]:
    column = net.global_pool(net.conv(net.input(1, 3, 5, 6), 3, 4, 1))
    return (net.mul(column, net.conv(net.input(1, 2, 5, 6, name="y"), 2, 1, 1)),)


def broadcast_batch(net: Net) -> tuple[str, ...]:
    x = net.conv(net.input(3, 2, 4, 5), 2, 6, 1)
    return (net.op("Sub", [x, net.input(1, 6, 4, 5, name="y")]),)


def broadcast_vector_over_image(net: Net) -> tuple[str, ...]:
    vector = net.gemm(net.input(1, 5, name="v"), 5, 7)
    return (net.mul(net.conv(net.input(1, 3, 6, 7), 3, 4, 1), vector),)


def broadcast_higher_rank_constant(net: Net) -> tuple[str, ...]:
    return (net.add(net.gemm(net.input(2, 5), 5, 4), net.random(3, 1, 2, 4)),)


def squeeze_excite_dense(net: Net) -> tuple[str, ...]:
    x = net.conv(net.input(2, 3, 5, 6), 3, 8)
    gate = net.gemm(net.flatten(net.global_pool(x)), 8, 8)
    axes = net.constant([2, 3], np.int64)
    gate = net.op("Unsqueeze", [net.op("HardSigmoid", [gate]), axes])
    return (net.mul(gate, x),)


def constant_minus_image(net: Net) -> tuple[str, ...]:
    return (net.op("Sub", [net.random(1, 4, 5, 6), net.input(1, 4, 5, 6)]),)


def large_constant(net: Net) -> tuple[str, ...]:
    return (net.add(net.input(1, 7, 30, 31), net.random(1, 7, 30, 31)),)


def softmax_height(net: Net) -> tuple[str, ...]:
    return (net.softmax(net.conv(net.input(1, 3, 4, 5), 3, 6, 1), 2),)


def softmax_width_then_conv(net: Net) -> tuple[str, ...]:
    x = net.softmax(net.conv(net.input(1, 3, 4, 5), 3, 6, 1), -1)
    return (net.conv(x, 6, 2, 1),)


def softmax_sequence_middle(net: Net) -> tuple[str, ...]:
    return (net.softmax(net.input(2, 5, 3), 1),)


def softmax_single(net: Net) -> tuple[str, ...]:
    return (net.softmax(net.conv(net.input(1, 3, 4, 5), 3, 1, 1), 1),)


def flatten_batch(net: Net) -> tuple[str, ...]:
    x = net.flatten(net.conv(net.input(3, 2, 5, 4), 2, 5))
    return (net.gemm(x, 5 * 3 * 2, 7, alpha=0.5, transpose=False),)


def flatten_axis_2(net: Net) -> tuple[str, ...]:
    x = net.flatten(net.conv(net.input(2, 2, 5, 4), 2, 3), axis=2)
    return (net.gemm(x, 3 * 2, 7),)


def flatten_read_twice(net: Net) -> tuple[str, ...]:
    x = net.flatten(net.conv(net.input(1, 2, 5, 4), 2, 5))
    return net.relu(x), net.gemm(x, 5 * 3 * 2, 3)


def relu_after_reshape(net: Net) -> tuple[str, ...]:
    x = net.relu(net.reshape(net.conv(net.input(1, 2, 5, 4), 2, 5), 1, 5, 6))
    return (net.matmul(x, 6, 2),)


def relu_of_value_read_twice(net: Net) -> tuple[str, ...]:
    x = net.conv(net.input(1, 2, 5, 4), 2, 5)
    return (net.add(net.relu(x), net.clip(x, -1, 1)),)


def relu_of_an_output(net: Net) -> tuple[str, ...]:
    x = net.conv(net.input(1, 2, 5, 4), 2, 5)
    return x, net.relu(x)


def clip_after_clip(net: Net) -> tuple[str, ...]:
    x = net.conv(net.input(1, 2, 5, 4), 2, 5)
    return (net.clip(net.relu(net.clip(x, -0.5, 0.7)), 0.2, 5),)


def clip_upside_down(net: Net) -> tuple[str, ...]:
    return (net.clip(net.conv(net.input(1, 2, 5, 4), 2, 5), 0.5, -0.5),)


def outputs_of_one_value(net: Net) -> tuple[str, ...]:
    x = net.conv(net.input(1, 2, 5, 4), 2, 5)
    return x, net.flatten(x), net.op("Transpose", [x], perm=[0, 3, 1, 2])


def output_is_input(net: Net) -> tuple[str, ...]:
    x = net.input(1, 2, 5, 4)
    return net.relu(x), net.op("Identity", [x])


def input_reshaped_and_read_twice(net: Net) -> tuple[str, ...]:
    x = net.input(1, 24)
    image = net.conv(net.reshape(x, 1, 2, 3, 4), 2, 3, 1)
    return image, net.gemm(x, 24, 5), net.softmax(net.reshape(x, 4, 6))


def rank_5_elementwise(net: Net) -> tuple[str, ...]:
    return (net.add(net.input(2, 3, 1, 4, 5), net.random(3, 1, 4, 1)),)


def scalar_output(net: Net) -> tuple[str, ...]:
    x = net.gemm(net.input(1, 9), 9, 1)
    return (net.op("Squeeze", [x]),)


def mean_of(axes: list[int], keepdims: int) -> Callable[[Net], tuple[str, ...]]:
    def build(net: Net) -> tuple[str, ...]:
        x = net.conv(net.input(2, 3, 5, 6), 3, 4, 1)
        return (net.op("ReduceMean", [x], axes=axes, keepdims=keepdims),)

    return build


def mean_everything(net: Net) -> tuple[str, ...]:
    return (net.op("ReduceMean", [net.input(2, 3, 5, 6)], keepdims=0),)


def sequence_network(net: Net) -> tuple[str, ...]:
    x = net.op("Conv", [net.input(2, 5, 21), net.weights(8, 5, 3)], pads=[1, 1])
    x = net.relu(net.batch_norm(net.relu(x), 8))
    x = net.op("MaxPool", [x], kernel_shape=[2], strides=[2])
    x = net.op("Conv", [x, net.weights(8, 1, 3)], group=8, dilations=[2])
    x = net.op("AveragePool", [x], kernel_shape=[3], pads=[1, 0])
    return (net.gemm(net.flatten(net.global_pool(x)), 8, 3),)


def batch_norm_of_vector(net: Net) -> tuple[str, ...]:
    return (net.batch_norm(net.relu(net.input(3, 9)), 9),)


def hard_sigmoid_spelled_out(net: Net) -> tuple[str, ...]:
    x = net.add(net.constant(3.0), net.conv(net.input(1, 3, 4, 5), 3, 6))
    return (net.op("Div", [net.clip(x, 0, 6), net.constant(6.0)]),)


def hard_swish_other_spellings(net: Net) -> tuple[str, ...]:
    x = net.conv(net.input(1, 3, 6, 7), 3, 6)
    gate = net.clip(net.add(x, net.constant(3.0)), 0, 6)
    x = net.mul(net.mul(gate, net.constant(1 / 6)), x)
    x = net.conv(x, 6, 6, 1)
    return (net.mul(x, net.op("HardSigmoid", [x], alpha=1 / 6, beta=0.5)),)


def not_a_hard_swish(net: Net) -> tuple[str, ...]:
    x = net.conv(net.input(1, 3, 6, 7), 3, 6)
    gate = net.clip(net.add(x, net.constant(3.0)), 0, 6)
    return (net.op("Div", [net.mul(x, gate), net.constant(5.0)]), gate)


def branches(net: Net) -> tuple[str, ...]:
    x = net.conv(net.input(1, 3, 12, 12), 3, 8, pads=1)
    ends = []
    for _ in range(3):
        wide = net.relu(net.conv(x, 8, 32, 1))
        ends.append(net.conv(wide, 32, 8, 3, pads=1))
    return (net.add(net.add(ends[0], ends[1]), ends[2]),)


def average_pool_is_global(net: Net) -> tuple[str, ...]:
    return (net.pool("AveragePool", net.input(2, 5, 6, 4), (6, 4)),)


BUILDERS = [
    channel_shuffle,
    pixel_shuffle,
    patches_and_dense,
    dense_over_image_columns,
    nhwc_through_and_through,
    two_arrangements_meet,
    two_arrangements_of_a_cube,
    outputs_that_cross_differently,
    row_major_meets_image,
    broadcast_both_ways,
    broadcast_batch,
    broadcast_vector_over_image,
    broadcast_higher_rank_constant,
    squeeze_excite_dense,
    constant_minus_image,
    large_constant,
    softmax_height,
    softmax_width_then_conv,
    softmax_sequence_middle,
    softmax_single,
    flatten_batch,
    flatten_axis_2,
    flatten_read_twice,
    relu_after_reshape,
    relu_of_value_read_twice,
    relu_of_an_output,
    clip_after_clip,
    clip_upside_down,
    outputs_of_one_value,
    output_is_input,
    input_reshaped_and_read_twice,
    rank_5_elementwise,
    scalar_output,
    mean_everything,
    sequence_network,
    batch_norm_of_vector,
    hard_sigmoid_spelled_out,
    hard_swish_other_spellings,
    not_a_hard_swish,
    branches,
    average_pool_is_global,
]
CASES = {builder.__name__: builder for builder in BUILDERS} | {
    f"mean_{''.join(map(str, axes))}_keep_{keep}": mean_of(axes, keep)
    for axes in ([1], [2], [3], [-1, -2], [1, 2], [0, 1], [1, 3])
    for keep in (0, 1)
}


@pytest.mark.parametrize("name", CASES)
def test_order_of_elements(name: str) -> None:
    net = Net(name)
    case = net.case(*CASES[name](net))
    assert_equal(case, plan(case.model, None))
    assert_equal(case, smallest_plan(case))


def softmax_before_opset_13(net: Net) -> tuple[str, ...]:
    return (net.softmax(net.conv(net.input(1, 3, 4, 5), 3, 6, 1), 1),)


def softmax_before_opset_13_sequence(net: Net) -> tuple[str, ...]:
    return (net.softmax(net.input(2, 3, 5), 2),)


@pytest.mark.parametrize(
    "build", [softmax_before_opset_13, softmax_before_opset_13_sequence]
)
def test_softmax_over_several_axes(build: Callable[[Net], tuple[str, ...]]) -> None:
    net = Net(build.__name__, opset=11)
    case = net.case(*build(net))
    assert_equal(case, plan(case.model, None))


@pytest.mark.models
@pytest.mark.parametrize("budget", ["12MiB", "7MiB", "600KiB", "unlimited"])
@pytest.mark.parametrize("name", ["efficientnet-lite0", "ppocr-cls"])
def test_real_networks(name: str, budget: str) -> None:
    path = _models.get(name)
    shapes = dict(_models.info(name).input_shapes)
    if name == "efficientnet-lite0" and budget == "600KiB":
        budget = "6MiB"
    made = plan(path, budget, input_shapes=shapes)
    rng = np.random.default_rng(7)
    inputs = {
        key: rng.standard_normal(shape).astype(np.float32)
        for key, shape in shapes.items()
    }
    expected = onnxruntime_outputs(path, inputs)
    for output, wanted in zip(reference.run(made, inputs), expected, strict=True):
        scale = float(np.abs(wanted).max())
        assert float(np.abs(output - wanted).max()) <= 1e-5 * scale
        assert output.argmax() == wanted.argmax()
    if budget != "unlimited":
        assert made.budget_bytes is not None
        assert made.arena_bytes <= made.budget_bytes
    assert math.isclose(
        made.resident_bytes + made.stream_bytes, made.weights_bytes, rel_tol=0.01
    )
