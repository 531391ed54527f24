# SPDX-License-Identifier: Apache-2.0
"""Networks as onnxruntime's quantiser writes them, against onnxruntime.

Both compute the same integers but where a sum lies so near the middle between
two that a scale rounded otherwise decides; such an integer is one step off, and
a step at one layer is at most some steps at the last. So answers may differ by a
few steps of the output's 255, most often by none.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest

from helpers.onnx_nets import Case, Net, all_cases
from helpers.qdq import eight_bit_network, feeds_of, quantised
from undercroft import _models
from undercroft._models import imagenet
from undercroft.errors import BudgetExceededError, UnsupportedModelError
from undercroft.plan import plan
from undercroft.verify import Verification, verify

pytestmark = pytest.mark.engine

STEPS = 5 / 255

# One of every kind; `all_cases` in full takes minutes.
NAMES = (
    "conv_relu",
    "gemm_relu_gemm_softmax",
    "lenet",
    "mobile_network",
    "mobile_network_v3",
    "residual_network",
)


def run(path: Path, case: Case, budget: int | str = "12MiB") -> Verification:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The host device protects nothing.
        return verify(
            path,
            budget=budget,
            device="host:",
            input_shapes=case.input_shapes,
            tolerance=STEPS,
        )


def kinds(path: Path, case: Case) -> list[str]:
    return [op.kind for op in plan(path, input_shapes=case.input_shapes).ops]


@pytest.mark.parametrize("unsigned", [True, False], ids=["uint8", "int8"])
@pytest.mark.parametrize("per_channel", [True, False], ids=["channels", "tensor"])
def test_every_operator_in_8_bits(
    unsigned: bool, per_channel: bool, tmp_path: Path
) -> None:
    case = eight_bit_network()
    onnx.save(case.model, tmp_path / "model.onnx")
    path = tmp_path / "quantised.onnx"
    quantised(
        tmp_path / "model.onnx",
        path,
        feeds_of(case),
        unsigned=unsigned,
        per_channel=per_channel,
    )
    found = kinds(path, case)
    assert found[0] == "quantize"
    assert found[-1] == "dequantize"
    assert all(kind.endswith("_s8") for kind in found[1:-1]), found
    assert run(path, case).passed
    with pytest.raises(BudgetExceededError) as refusal:
        plan(path, 1, input_shapes=case.input_shapes)
    small = run(path, case, refusal.value.needed_bytes)
    assert small.passed
    assert small.stats.secure_peak_bytes <= refusal.value.needed_bytes


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_there_in_8_bits_is_computed_in_f32(
    name: str, tmp_path: Path
) -> None:
    case = next(case for case in all_cases() if case.name == name)
    onnx.save(case.model, tmp_path / "model.onnx")
    path = tmp_path / "quantised.onnx"
    quantised(tmp_path / "model.onnx", path, feeds_of(case))
    result = run(path, case)
    assert result.passed, (result.max_rel_error, kinds(path, case))


def test_activations_and_weights_take_a_quarter(tmp_path: Path) -> None:
    net = Net("wide")
    x = net.op("Relu", [net.conv(net.input(1, 64, 40, 40), 64, 64, 3, pads=1)])
    case = net.case(net.conv(x, 64, 64, 3, pads=1))
    onnx.save(case.model, tmp_path / "model.onnx")
    quantised(tmp_path / "model.onnx", tmp_path / "quantised.onnx", feeds_of(case))
    before = plan(tmp_path / "model.onnx")
    after = plan(tmp_path / "quantised.onnx")
    assert after.weights_bytes < 0.27 * before.weights_bytes
    middle = next(op for op in after.ops if op.kind == "conv_2d_s8")
    assert middle.live_bytes == 2 * 64 * 40 * 40


def test_efficientnet_lite0(tmp_path: Path) -> None:
    name = "efficientnet-lite0"
    shapes = dict(_models.info(name).input_shapes)
    photo = imagenet.photo_input("cat")
    feeds = [{"x": photo}, {"x": imagenet.photo_input("coffee")}]
    path = tmp_path / "quantised.onnx"
    from onnxruntime.quantization.shape_inference import quant_pre_process

    quant_pre_process(
        str(_models.get(name)), str(tmp_path / "ready.onnx"), skip_symbolic_shape=True
    )
    quantised(tmp_path / "ready.onnx", path, feeds)
    made = plan(path, "4MiB", input_shapes=shapes)
    f32 = {op.kind for op in made.ops if not op.kind.endswith("_s8")}
    assert f32 == {"quantize", "dequantize"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = verify(
            path,
            budget="4MiB",
            device="host:",
            input_shapes=shapes,
            inputs={"x": photo},
            tolerance=STEPS,
        )
    assert result.passed, result.max_rel_error


def test_integers_as_output_are_refused(tmp_path: Path) -> None:
    case = eight_bit_network()
    onnx.save(case.model, tmp_path / "model.onnx")
    model = quantised(tmp_path / "model.onnx", tmp_path / "q.onnx", feeds_of(case))
    last = model.graph.node[-1]
    assert last.op_type == "DequantizeLinear"
    model.graph.output[0].name = last.input[0]
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    del model.graph.node[-1]
    with pytest.raises(UnsupportedModelError, match="type uint8"):
        plan(model)


def test_a_scale_for_each_channel_of_an_activation_is_refused() -> None:
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 4, 3, 3])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 4, 3, 3])
    scales = onnx.numpy_helper.from_array(np.full(4, 0.1, np.float32), "s")
    zeros = onnx.numpy_helper.from_array(np.zeros(4, np.uint8), "z")
    nodes = [
        onnx.helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], axis=1),
        onnx.helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], axis=1),
    ]
    graph = onnx.helper.make_graph(nodes, "g", [x], [y], [scales, zeros])
    opset = [onnx.helper.make_opsetid("", 17)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
    with pytest.raises(UnsupportedModelError, match="scale"):
        plan(model)
