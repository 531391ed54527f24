# SPDX-License-Identifier: Apache-2.0
"""What the importer makes of a network, and what it says about a bad one."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from helpers.onnx_nets import Net
from undercroft._import import import_model
from undercroft._import.graph import Graph
from undercroft._import.ops import handlers, onnx_names
from undercroft._spec import Op
from undercroft.errors import ModelError, NotAModelError, UnsupportedModelError


def imported(net: Net, *outputs: str) -> Graph:
    return import_model(net.case(*outputs).model)


def codes(graph: Graph) -> list[Op]:
    return [operator.code for operator in graph.operators]


# ---- what becomes of operators


def test_relu_and_clip_go_into_the_convolution() -> None:
    net = Net("fuse")
    x = net.relu(net.conv(net.input(1, 3, 8, 8), 3, 8))
    graph = imported(net, net.clip(net.conv(x, 8, 8), 0, 6))
    assert codes(graph) == [Op.CONV_2D, Op.CONV_2D]
    assert [operator.clamp for operator in graph.operators] == [
        (0.0, math.inf),
        (0.0, 6.0),
    ]


def test_batch_norm_goes_into_the_convolution() -> None:
    net = Net("fold")
    x = net.conv(net.input(1, 3, 8, 8), 3, 8, bias=False)
    graph = imported(net, net.relu(net.batch_norm(x, 8)))
    assert codes(graph) == [Op.CONV_2D]


def test_scalars_need_no_tensor() -> None:
    net = Net("scalar")
    x = net.op("Div", [net.constant(2.0), net.relu(net.input(1, 3, 8, 8))])
    graph = imported(net, x)
    assert codes(graph) == [Op.CLAMP, Op.DIV]
    assert len(graph.operators[1].inputs) == 1
    assert graph.operators[1].attributes.alpha == 2.0


def test_flattened_image_is_not_moved() -> None:
    net = Net("flatten")
    x = net.flatten(net.conv(net.input(1, 3, 8, 8), 3, 8))
    graph = imported(net, net.gemm(x, 288, 10))
    assert codes(graph) == [Op.CONV_2D, Op.CONV_2D]
    assert graph.operators[1].attributes.kernel == (6, 6)


def test_sequence_of_patches_is_not_moved() -> None:
    net = Net("patches")
    x = net.conv(net.input(1, 3, 8, 8), 3, 8, 4, stride=4)
    x = net.op("Transpose", [net.reshape(x, 1, 8, 4)], perm=[0, 2, 1])
    graph = imported(net, net.softmax(net.matmul(x, 8, 5)))
    assert codes(graph) == [Op.CONV_2D, Op.FULLY_CONNECTED, Op.SOFTMAX]


def test_nhwc_input_is_not_moved() -> None:
    net = Net("nhwc")
    x = net.op("Transpose", [net.input(1, 8, 9, 3)], perm=[0, 3, 1, 2])
    graph = imported(net, net.conv(x, 3, 8))
    assert codes(graph) == [Op.CONV_2D]
    assert graph.tensors[graph.inputs[0]].wire_layout == 0


def test_one_reader_pays_for_a_move_once() -> None:
    net = Net("moved")
    x = net.softmax(net.conv(net.input(1, 3, 4, 5), 3, 8, 1), 3)
    graph = imported(net, net.add(net.conv(x, 8, 8, 1), net.conv(x, 8, 8, 1)))
    assert codes(graph).count(Op.TRANSPOSE) == 2  # to the softmax and back


def test_depthwise_needs_as_many_groups_as_channels() -> None:
    net = Net("depthwise")
    x = net.depthwise(net.input(1, 8, 9, 9), 8)
    x = net.depthwise(x, 8, multiplier=2)
    graph = imported(net, net.depthwise(x, 16, 8, pads=4))
    assert codes(graph) == [Op.DEPTHWISE_CONV_2D, Op.CONV_2D, Op.CONV_2D]
    assert [operator.attributes.groups for operator in graph.operators] == [8, 8, 16]


def test_depthwise_has_up_to_49_taps() -> None:
    net = Net("large")
    x = net.depthwise(net.input(1, 8, 19, 19), 8, 7, pads=3)
    assert codes(imported(net, x)) == [Op.DEPTHWISE_CONV_2D]


def test_hard_swish_in_pieces_becomes_one_operator() -> None:
    net = Net("swish")
    x = net.conv(net.input(1, 3, 8, 8), 3, 8)
    gate = net.clip(net.add(x, net.constant(3.0)), 0, 6)
    graph = imported(net, net.op("Div", [net.mul(x, gate), net.constant(6.0)]))
    assert codes(graph) == [Op.CONV_2D, Op.HARD_SWISH]


def test_hard_swish_stays_in_pieces_when_a_piece_is_an_output() -> None:
    net = Net("pieces")
    x = net.conv(net.input(1, 3, 8, 8), 3, 8)
    gate = net.clip(net.add(x, net.constant(3.0)), 0, 6)
    y = net.op("Div", [net.mul(x, gate), net.constant(6.0)])
    assert Op.HARD_SWISH not in codes(imported(net, y, gate))


def test_what_no_output_needs_is_left_out() -> None:
    net = Net("dead")
    x = net.conv(net.input(1, 3, 8, 8), 3, 8)
    net.softmax(net.conv(x, 8, 8), 2)
    graph = imported(net, net.relu(x))
    assert codes(graph) == [Op.CONV_2D]
    assert len(graph.tensors) == 2


def test_names_and_shapes_are_those_of_onnx() -> None:
    net = Net("names")
    a, b = net.input(1, 6, 5, 7, name="left"), net.input(1, 6, 1, 1, name="right")
    graph = imported(net, net.add(a, b))
    assert [(i.name, i.shape) for i in graph.input_infos] == [
        ("left", (1, 6, 5, 7)),
        ("right", (1, 6, 1, 1)),
    ]
    assert graph.output_infos[0].shape == (1, 6, 5, 7)


def test_the_callers_model_is_not_changed() -> None:
    net = Net("untouched")
    x = net.input(1, 3, 8, 8, declared=["n", 3, "h", "w"])
    model = net.case(net.conv(x, 3, 8)).model
    before = model.SerializeToString(deterministic=True)
    import_model(model, {"x": (1, 3, 8, 8)})
    assert model.SerializeToString(deterministic=True) == before


# ---- what cannot be imported


def test_every_unsupported_operator_is_named() -> None:
    net = Net("many")
    x = net.conv(net.input(1, 3, 8, 8), 3, 8)
    x = net.op("Sin", [x])
    x = net.op("MaxPool", [x], kernel_shape=[2, 2], dilations=[2, 2])
    x = net.op("Cos", [net.op("Sin", [x])])
    with pytest.raises(UnsupportedModelError) as error:
        imported(net, x)
    text = "\n".join(error.value.problems)
    assert len(error.value.problems) == 4
    assert text.count("operator Sin") == 2
    assert "operator Cos (node 'Cos_v4')" in text
    assert "MaxPool_v2" in text
    assert "dilations (2, 2)" in text
    assert error.value.exit_code == 3


def test_operators_of_other_domains_are_named() -> None:
    nodes = [
        helper.make_node("FancyConv", ["x"], ["a"], name="one", domain="com.example"),
        helper.make_node("Det", ["a"], ["b"], name="two"),
        helper.make_node("Relu", ["b"], ["y"], name="three"),
    ]
    with pytest.raises(UnsupportedModelError) as error:
        import_model(_model(nodes, opsets={"": 17, "com.example": 1}))
    assert error.value.problems == [
        "operator com.example.FancyConv (node 'one')",
        "operator Det (node 'two')",
    ]


@pytest.mark.parametrize("dtype", [TensorProto.DOUBLE, TensorProto.FLOAT16])
def test_other_types_are_named(dtype: int) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"], name="act")]
    name = np.dtype(helper.tensor_dtype_to_np_dtype(dtype)).name
    with pytest.raises(UnsupportedModelError, match=f"{name}.*'x'"):
        import_model(_model(nodes, dtype=dtype))


def test_a_type_in_the_middle_is_named() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["a"], name="down", to=TensorProto.FLOAT16),
        helper.make_node("Relu", ["a"], ["b"], name="act"),
        helper.make_node("Cast", ["b"], ["y"], name="up", to=TensorProto.FLOAT),
    ]
    with pytest.raises(UnsupportedModelError) as error:
        import_model(_model(nodes))
    text = "\n".join(error.value.problems)
    assert "float16" in text
    assert "operator Cast" in text


def test_dynamic_shapes_name_the_flag() -> None:
    net = Net("dynamic")
    x = net.input(1, 3, 8, 8, declared=["n", 3, None, 8])
    model = net.case(net.conv(x, 3, 8)).model
    with pytest.raises(UnsupportedModelError, match=r"'x' has dynamic shape") as error:
        import_model(model)
    assert "--input-shape x=1,3,1,8" in error.value.hint


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"y": (1, 3, 8, 8)}, "no input 'y'"),
        ({"x": (1, 4, 8, 8)}, "does not go with"),
        ({"x": (1, 3, 8)}, "does not go with"),
        ({"x": (1, 3, 0, 8)}, "does not go with"),
        ({"x": (1, 3, -8, 8)}, "does not go with"),
    ],
)
def test_shapes_that_do_not_go_with_the_model(
    shapes: dict[str, tuple[int, ...]], message: str
) -> None:
    net = Net("shapes")
    x = net.input(1, 3, 8, 8, declared=[1, 3, "h", "w"])
    model = net.case(net.conv(x, 3, 8)).model
    with pytest.raises(ModelError, match=message):
        import_model(model, shapes)


def test_shapes_too_small_for_the_network() -> None:
    net = Net("small")
    x = net.input(1, 3, 8, 8, declared=[1, 3, "h", "w"])
    model = net.case(net.conv(x, 3, 8, 5)).model
    with pytest.raises((NotAModelError, UnsupportedModelError)):
        import_model(model, {"x": (1, 3, 2, 2)})


def test_an_input_that_nothing_reads() -> None:
    net = Net("unread")
    net.input(1, 4, name="y")
    x = net.relu(net.input(1, 3, 8, 8))
    with pytest.raises(UnsupportedModelError, match="no output depends on input 'y'"):
        imported(net, x)


def test_weights_that_are_computed() -> None:
    net = Net("computed")
    x, w = net.input(1, 3, 8, 8), net.input(8, 3, 3, 3, name="w")
    with pytest.raises(UnsupportedModelError, match="weights 'w' is not a constant"):
        imported(net, net.op("Conv", [x, w]))


@pytest.mark.parametrize(
    "content", [b"", b"not a model", bytes(1000), b"\x08\x07:\x05"]
)
def test_files_that_are_not_onnx(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(NotAModelError):
        import_model(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(NotAModelError, match="cannot read"):
        import_model(tmp_path / "none.onnx")


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    net = Net("cut")
    data = net.case(net.conv(net.input(1, 3, 8, 8), 3, 8)).model.SerializeToString()
    path = tmp_path / "model.onnx"
    for length in range(0, len(data) - 1, 37):
        path.write_bytes(data[:length])
        with pytest.raises((ModelError, NotAModelError)):
            import_model(path)


def test_external_data_is_read_beside_the_file(tmp_path: Path) -> None:
    net = Net("external")
    model = net.case(net.conv(net.input(1, 3, 8, 8), 3, 64)).model
    path = tmp_path / "model.onnx"
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    onnx.save(copy, path, save_as_external_data=True, location="w.bin")
    assert import_model(path).weights_bytes == import_model(model).weights_bytes
    (tmp_path / "w.bin").unlink()
    with pytest.raises(NotAModelError, match="external data") as error:
        import_model(path)
    assert "beside" in error.value.hint


def test_external_data_outside_the_folder_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(64))
    (tmp_path / "inner").mkdir()
    tensor = numpy_helper.from_array(np.zeros(16, np.float32), "w")
    onnx.external_data_helper.set_external_data(tensor, "../secret.bin")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    model = _model([helper.make_node("Add", ["x", "w"], ["y"])], constants=[tensor])
    path = tmp_path / "inner" / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(NotAModelError):
        import_model(path)
    with pytest.raises(NotAModelError, match="external data"):
        import_model(model)


def test_every_handler_is_an_onnx_operator() -> None:
    names = set(handlers())
    assert len(names) >= 24
    assert all(onnx.defs.has(name) for name in onnx_names(names))


def _model(
    nodes: list[onnx.NodeProto],
    *,
    dtype: int = TensorProto.FLOAT,
    opsets: dict[str, int] | None = None,
    constants: list[onnx.TensorProto] | None = None,
) -> onnx.ModelProto:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "test",
        [value("x", dtype, [1, 16])],
        [value("y", dtype, [1, 16])],
        constants or [],
    )
    imports = [helper.make_opsetid(*item) for item in (opsets or {"": 17}).items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)
