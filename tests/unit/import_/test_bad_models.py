# SPDX-License-Identifier: Apache-2.0
"""Models that must be refused, and external data."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import undercroft as uc
from undercroft._import import import_model, model_file, wire
from undercroft.errors import ModelError, NotAModelError, UnsupportedModelError
from undercroft.plan import plan

SMALL = 1 << 10


def weights(name: str = "w", *shape: int, seed: int = 0) -> TensorProto:
    values = np.random.default_rng(seed).standard_normal(shape, np.float32)
    return numpy_helper.from_array(values, name)


def model(
    nodes: list[onnx.NodeProto],
    constants: list[TensorProto] | None = None,
    *,
    shape: tuple[int, ...] = (1, 4, 8, 8),
    output: str = "y",
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [])],
        constants or [],
    )
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8)


def node(kind: str, inputs: str, outputs: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(
        kind, inputs.split(), outputs.split(), name=f"n_{outputs}", **attributes
    )


def two_products() -> onnx.ModelProto:
    """Two matrix products, whose weights can be held, and a sum that cannot."""
    nodes = [node("MatMul", "x w", "a"), node("Add", "a b", "c")]
    nodes.append(node("Gemm", "c v", "y", transB=1))
    constants = [weights("w", 48, 64), weights("b", 64), weights("v", 32, 64, seed=2)]
    return model(nodes, constants, shape=(1, 48))


# ---- structure


def test_every_missing_value_is_named() -> None:
    nodes = [node("Conv", "x w", "a"), node("Add", "a b", "y")]
    with pytest.raises(NotAModelError, match="incomplete") as error:
        import_model(model(nodes))
    assert "'w', read by node 'n_a' (Conv)" in str(error.value)
    assert "'b', read by node 'n_y' (Add)" in str(error.value)


def test_missing_output_is_named() -> None:
    with pytest.raises(NotAModelError, match="'z', an output of the graph"):
        import_model(model([node("Relu", "x", "y")], output="z"))


def test_nodes_of_a_cycle_are_named_and_no_others() -> None:
    nodes = [
        node("Relu", "x", "a"),
        node("Add", "a c", "b"),
        node("Relu", "b", "c"),
        node("Relu", "c", "y"),
    ]
    with pytest.raises(NotAModelError, match="cycle") as error:
        import_model(model(nodes))
    assert "'n_b' (Add); node 'n_c' (Relu)" in str(error.value)
    assert "n_a" not in str(error.value)
    assert "n_y" not in str(error.value)


def test_node_that_reads_itself() -> None:
    with pytest.raises(NotAModelError, match="cycle"):
        import_model(model([node("Add", "x y", "y")]))


def test_nodes_out_of_order_are_no_cycle() -> None:
    nodes = [node("Relu", "a", "y"), node("Relu", "x", "a")]
    with pytest.raises(NotAModelError, match="sorted"):
        import_model(model(nodes))


# ---- sizes


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([node("Conv", "x w", "y")], [weights("w", 0, 4, 3, 3)]),
        ([node("Conv", "x w", "y")], [weights("w", 8, 4, 0, 3)]),
        ([node("Slice", "x s e", "y")], ["s", "e"]),
    ],
    ids=["no_outputs", "empty_kernel", "empty_slice"],
)
def test_dimension_of_zero(nodes: list, constants: list) -> None:
    tensors = [
        numpy_helper.from_array(np.array([2], np.int64), value)
        if isinstance(value, str)
        else value
        for value in constants
    ]
    with pytest.raises(ModelError):
        import_model(model(nodes, tensors))


def test_input_of_no_elements() -> None:
    with pytest.raises(ModelError):
        import_model(model([node("Relu", "x", "y")], shape=(1, 0, 8, 8)))


@pytest.mark.parametrize("dims", [(1 << 62, 4), (1 << 40, 1 << 40), (-4, -4)])
def test_dimensions_that_overflow(dims: tuple[int, ...]) -> None:
    tensor = weights("w", 16)
    del tensor.dims[:]
    tensor.dims.extend(dims)
    with pytest.raises(NotAModelError, match="'w' has the dimensions"):
        import_model(model([node("Add", "x w", "y")], [tensor]))


@pytest.mark.parametrize("dims", [(5, 4), (3, 4), (1 << 31, 4)])
def test_bytes_that_do_not_fit_the_dimensions(dims: tuple[int, ...]) -> None:
    tensor = weights("w", 4, 4)
    del tensor.dims[:]
    tensor.dims.extend(dims)
    with pytest.raises(NotAModelError, match=r"needs .* bytes and has 64"):
        import_model(model([node("Add", "x w", "y")], [tensor]))


@pytest.mark.parametrize("size", [1 << 15, 1 << 20, 1 << 31, (1 << 62) + 1])
def test_activations_too_large_to_address(size: int) -> None:
    with pytest.raises(UnsupportedModelError, match="'x' has the shape"):
        import_model(model([node("Relu", "x", "y")], shape=(1, 4, size, size)))


def test_small_input_with_an_enormous_value() -> None:
    """Sizes are looked at before onnxruntime asks for the memory."""
    big = numpy_helper.from_array(np.array([1 << 20, 1 << 20], np.int64), "big")
    nodes = [node("ConstantOfShape", "big", "c"), node("Gather", "c x", "y")]
    with pytest.raises(UnsupportedModelError, match="'c', made by node 'n_c'"):
        import_model(model(nodes, [big]))


@pytest.mark.parametrize("attribute", ["pads", "strides", "dilations", "kernel_shape"])
@pytest.mark.parametrize("value", [0, -1, 1 << 31, 1 << 32, (1 << 62) + 1])
def test_attributes_out_of_range(attribute: str, value: int) -> None:
    if attribute == "pads" and value == 0:
        return
    count = 4 if attribute == "pads" else 2
    attributes = {attribute: [value] * count}
    nodes = [node("Conv", "x w", "y", **attributes)]
    with pytest.raises(ModelError):
        import_model(model(nodes, [weights("w", 8, 4, 3, 3)]))


def test_operators_and_types_are_named_together() -> None:
    nodes = [
        node("Sin", "x", "a"),
        node("Cast", "a", "b", to=TensorProto.FLOAT16),
        node("Cast", "b", "c", to=TensorProto.FLOAT),
        node("Det", "c", "y"),
    ]
    with pytest.raises(UnsupportedModelError) as error:
        import_model(model(nodes))
    text = str(error.value)
    assert "operator Sin (node 'n_a')" in text
    assert "operator Det (node 'n_y')" in text
    assert "float16" in text
    assert error.value.exit_code == 3


def test_nothing_is_left_of_a_model_that_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(model([node("Sin", "x", "y")]), path)
    with pytest.raises(UnsupportedModelError):
        uc.seal(path, tmp_path / "out.sealed", signing_key=uc.ProviderKey.generate())
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.onnx"]


# ---- held weights


@pytest.fixture
def small_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_file, "HOLD_BYTES", SMALL)


def test_held_weights_are_packed_as_read_ones(small_hold: None, tmp_path: Path) -> None:
    proto = two_products()
    path = tmp_path / "model.onnx"
    onnx.save(proto, path)
    read = model_file.read(path)
    assert set(read.held) == {"w", "v"}
    assert {tensor.name for tensor in read.proto.graph.initializer} == {"b"}
    assert set(model_file.read(proto).held) == {"w", "v"}
    held = b"".join(map(bytes, plan(path, None).resident()))
    assert held == b"".join(map(bytes, plan(proto, None).resident()))
    model_file.HOLD_BYTES = 1 << 30  # the fixture puts it back
    assert not model_file.read(path).held
    assert held == b"".join(map(bytes, plan(path, None).resident()))


def test_folding_beats_holding(small_hold: None) -> None:
    norm = [weights(name, 8) for name in "smt"] + [
        numpy_helper.from_array(np.ones(8, np.float32), "u")
    ]
    nodes = [node("Conv", "x w", "a"), node("BatchNormalization", "a s m t u", "y")]
    proto = model(nodes, [weights("w", 8, 4, 3, 3), *norm])
    assert not model_file.read(proto).held
    assert len(import_model(proto).operators) == 1


def test_weights_that_others_read_as_well_are_not_held(small_hold: None) -> None:
    nodes = [node("MatMul", "x w", "a"), node("Add", "a w", "y")]
    assert not model_file.read(model(nodes, [weights("w", 48, 48)], shape=(1, 48))).held


def test_held_weights_are_no_inputs(small_hold: None) -> None:
    proto = two_products()
    with pytest.raises(ModelError, match="no input 'w'") as error:
        import_model(proto, {"w": (48, 64)})
    assert error.value.hint == "its inputs are x"
    assert [info.name for info in import_model(proto).input_infos] == ["x"]


def test_initializers_among_the_inputs(small_hold: None) -> None:
    proto = two_products()
    for tensor in proto.graph.initializer:
        proto.graph.input.append(
            helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, tensor.dims)
        )
    assert [info.name for info in import_model(proto).input_infos] == ["x"]


def test_every_cut_file_is_refused_or_right(small_hold: None, tmp_path: Path) -> None:
    data = two_products().SerializeToString()
    path = tmp_path / "model.onnx"
    for length in range(0, len(data) - 1, 97):
        path.write_bytes(data[:length])
        with pytest.raises(ModelError):
            import_model(path)


def test_cutting_loses_nothing(small_hold: None) -> None:
    data = two_products().SerializeToString()
    cut = wire.without_large_tensors(memoryview(data), SMALL)
    assert cut is not None
    assert sorted(cut.contents) == [0, 2]
    rest = onnx.ModelProto.FromString(cut.rest)
    for index, content in cut.contents.items():
        rest.graph.initializer[index].raw_data = bytes(content)
    assert rest == onnx.ModelProto.FromString(data)


@pytest.mark.parametrize("data", [b"", b"\x3a", b"\x3a\xff", b"\x0b", bytes(99)])
def test_odd_files_are_left_to_the_parser(data: bytes) -> None:
    assert wire.without_large_tensors(memoryview(data), 0) is None


# ---- external data


def external(tensor: TensorProto, **entries: object) -> TensorProto:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def with_external(path: Path, change: Callable[[TensorProto], None]) -> Path:
    """A model whose matrix lies in the file data.bin, 64 bytes into it."""
    tensor = weights("w", 48, 64)
    (path / "data.bin").write_bytes(bytes(64) + tensor.raw_data + bytes(8))
    external(tensor, location="data.bin", offset=64, length=48 * 64 * 4)
    change(tensor)
    proto = model([node("MatMul", "x w", "y")], [tensor], shape=(1, 48))
    file = path / "model.onnx"
    file.write_bytes(proto.SerializeToString())
    return file


def entry(key: str, value: object) -> Callable[[TensorProto], None]:
    def change(tensor: TensorProto) -> None:
        for item in tensor.external_data:
            if item.key == key:
                item.value = str(value)

    return change


@pytest.mark.parametrize("hold_bytes", [SMALL, 1 << 30])
def test_external_data_at_an_offset(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, hold_bytes: int
) -> None:
    monkeypatch.setattr(model_file, "HOLD_BYTES", hold_bytes)
    plain = model([node("MatMul", "x w", "y")], [weights("w", 48, 64)], shape=(1, 48))
    path = with_external(tmp_path, lambda _: None)
    assert b"".join(map(bytes, plan(path, None).resident())) == b"".join(
        map(bytes, plan(plain, None).resident())
    )


@pytest.mark.parametrize(
    "change",
    [
        entry("location", "../data.bin"),
        entry("location", "/etc/hostname"),
        entry("location", ""),
        entry("location", "."),
        entry("location", "inner/../../data.bin"),
        entry("location", "link.bin"),
        entry("location", "missing.bin"),
        entry("location", "pipe"),
        entry("location", "da\0ta.bin"),
        entry("location", "C:data.bin"),
        entry("offset", -64),
        entry("offset", 1 << 70),
        entry("offset", "many"),
        entry("offset", 128),
        entry("length", -1),
        entry("length", 4),
        entry("length", 1 << 63),
        entry("length", 48 * 64 * 4 + 4),
    ],
)
def test_external_data_that_is_not_there(
    tmp_path: Path, change: Callable[[TensorProto], None]
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "data.bin").write_bytes(bytes(1 << 16))
    (folder / "link.bin").symlink_to(tmp_path / "data.bin")
    os.mkfifo(folder / "pipe")
    path = with_external(folder, change)
    with pytest.raises(NotAModelError):
        import_model(path)


def test_external_data_inside_a_node(tmp_path: Path) -> None:
    tensor = external(weights("c", 8), location="data.bin")
    (tmp_path / "data.bin").write_bytes(bytes(32))
    nodes = [helper.make_node("Constant", [], ["c"], value=tensor, name="n_c")]
    nodes.append(node("Add", "x c", "y"))
    path = tmp_path / "model.onnx"
    path.write_bytes(model(nodes).SerializeToString())
    with pytest.raises(NotAModelError, match=r"node 'n_c' .* external data"):
        import_model(path)


def giant(folder: Path, layers: int) -> Path:
    """A network with half a GiB of zeros in each layer, none of them on the disk."""
    size = 11585
    length = size * size * 4
    with (folder / "giant.bin").open("wb") as file:
        file.truncate(layers * length)
    nodes, tensors, value = [], [], "x"
    for index in range(layers):
        tensor = TensorProto(
            name=f"w{index}", data_type=TensorProto.FLOAT, dims=[size, size]
        )
        external(tensor, location="giant.bin", offset=index * length, length=length)
        tensors.append(tensor)
        result = "y" if index == layers - 1 else f"v{index}"
        nodes.append(node("MatMul", f"{value} w{index}", result))
        value = result
    path = folder / "giant.onnx"
    path.write_bytes(model(nodes, tensors, shape=(1, size)).SerializeToString())
    return path


def test_more_than_two_gib_of_external_data(tmp_path: Path) -> None:
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    made = plan(giant(tmp_path, 5), "12MiB")
    assert made.weights_bytes > 5 << 29
    assert made.arena_bytes <= 12 << 20
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 200 << 10


def test_more_constants_than_can_be_folded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_file, "MAX_READ_BYTES", 100)
    tensor = external(weights("w", 64), location="data.bin")
    (tmp_path / "data.bin").write_bytes(bytes(256))
    path = tmp_path / "model.onnx"
    proto = model([node("Add", "x w", "y")], [tensor], shape=(1, 64))
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(UnsupportedModelError, match="constants of more than 100"):
        import_model(path)
