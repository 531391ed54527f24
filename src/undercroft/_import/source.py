# SPDX-License-Identifier: Apache-2.0
"""From an ONNX file to nodes with static shapes and folded constants.

The order of things: parse, check, fix the shapes of the inputs, let
onnxruntime fold constants and batch-norms (which also removes the arithmetic
on shapes), then infer every shape. Nothing here knows the engine's operators.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import onnx.numpy_helper
import onnxruntime

from undercroft._import import graph_check, model_file
from undercroft.errors import ModelError, NotAModelError, UnsupportedModelError
from undercroft.tensor import TensorInfo

__all__ = ["Node", "Source", "load", "operator_problem"]

InputShapes = Mapping[str, Sequence[int]]

# Operators that only compute shapes: folding removes them once shapes are
# static, so a model that cannot be folded is not blamed for them.
_QUANTISED: Final = frozenset({("QuantizeLinear", "int8"), ("QuantizeLinear", "uint8")})
# What may handle indices, which are whole numbers in float32 to the engine.
_INDICES: Final = frozenset(
    {
        "ArgMax",
        "ArgMin",
        "Flatten",
        "Identity",
        "Reshape",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    }
)
_FOLDABLE: Final = frozenset(
    {
        "Cast",
        "CastLike",
        "Concat",
        "Constant",
        "ConstantOfShape",
        "Equal",
        "Expand",
        "Gather",
        "Range",
        "Shape",
        "Size",
        "Slice",
        "Split",
        "Tile",
        "Where",
    }
)


@dataclass(frozen=True, slots=True)
class Node:
    """One ONNX node.

    Attributes:
        name: Its name, or one made of its operator and first output.
        op_type: The operator; with its domain when that is not ONNX's own.
        inputs: Value names, empty where an optional input is left out.
        outputs: Value names.
        attributes: Python values; strings are `str`.
        opset: Version of the operator set.
    """

    name: str
    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    opset: int

    def input(self, index: int) -> str:
        """Return the name of an input, empty when it is left out."""
        return self.inputs[index] if index < len(self.inputs) else ""


@dataclass(frozen=True, slots=True)
class Source:
    """A folded model with static shapes.

    Attributes:
        nodes: In an order of execution; an output depends on each.
        constants: Values known in advance.
        shapes: Static shape of every value.
        inputs: The graph's inputs.
        outputs: The graph's outputs.
        type_problems: Everything computed from an input that is not float32.
    """

    nodes: tuple[Node, ...]
    constants: Mapping[str, npt.NDArray[Any]]
    shapes: Mapping[str, tuple[int, ...]]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    type_problems: tuple[str, ...]


def operator_problem(node: Node) -> str:
    """Name an operator that is not supported."""
    return f"operator {node.op_type} (node {node.name!r})"


def load(
    model: str | os.PathLike[str] | onnx.ModelProto,
    input_shapes: InputShapes | None,
    supported: frozenset[str],
) -> Source:
    """Read, check and fold a model.

    Args:
        model: An ONNX file or a model in memory.
        input_shapes: Static shapes of the inputs that have dynamic ones.
        supported: The operators that can be imported, for naming all others
            when the model cannot even be folded.

    Raises:
        NotAModelError: Not ONNX, damaged, incomplete or not valid.
        UnsupportedModelError: Dynamic shapes, or something that cannot be
            folded.
        ModelError: `input_shapes` does not go with the model.
    """
    file = model_file.read(model)
    proto, held = file.proto, file.held
    _check(proto, supported)
    shapes = {name: tuple(shape) for name, shape in (input_shapes or {}).items()}
    _fix_shapes(proto, shapes, held)
    # Before folding: onnxruntime replaces types that its kernels do not have.
    problems = _type_problems(proto, held)
    return _source(_infer(_fold(proto, supported)), problems, held)


def _check_names(proto: onnx.ModelProto) -> None:
    # Text that is not UTF-8 arrives as bytes, and would surprise later.
    graph = proto.graph
    names = [entry.domain for entry in proto.opset_import]
    names += [value.name for value in (*graph.input, *graph.output, *graph.value_info)]
    names += [tensor.name for tensor in graph.initializer]
    for node in graph.node:
        names += [node.name, node.op_type, node.domain, *node.input, *node.output]
        names += [attribute.name for attribute in node.attribute]
    if not all(isinstance(name, str) for name in names):
        raise NotAModelError(
            "the file is not a valid ONNX model: a name in it is not text"
        )


def _check(proto: onnx.ModelProto, supported: frozenset[str]) -> None:
    _check_names(proto)
    unknown = [
        node
        for node in _nodes(proto)
        if "." in node.op_type
        or not onnx.defs.has(node.op_type, max_inclusive_version=node.opset, domain="")
    ]
    if unknown:
        raise UnsupportedModelError(_unsupported(proto, supported, unknown))
    graph_check.check_links(proto)
    try:
        onnx.checker.check_model(proto)
    except (onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        raise NotAModelError(
            f"the file is not a valid ONNX model: {_line(error)}"
        ) from error


def _unsupported(
    proto: onnx.ModelProto, supported: frozenset[str], certain: list[Node]
) -> list[str]:
    names = {node.name for node in certain}
    problems = [
        operator_problem(node)
        for node in _nodes(proto)
        if node.name in names
        or (node.op_type not in supported and node.op_type not in _FOLDABLE)
    ]
    for value in (*_true_inputs(proto), *proto.graph.output):
        dtype = _dtype(value.type.tensor_type.elem_type)
        if dtype != "float32":
            problems.append(f"type {dtype} of {value.name!r}")
    for tensor in proto.graph.initializer:
        dtype = _dtype(tensor.data_type)
        if dtype.startswith(("float", "bfloat", "complex")) and dtype != "float32":
            problems.append(f"type {dtype} of {tensor.name!r}")
    return problems


def _true_inputs(
    proto: onnx.ModelProto, held: Collection[str] = ()
) -> list[onnx.ValueInfoProto]:
    # Until ONNX IR 4 initializers had to be listed among the inputs as well.
    known = {tensor.name for tensor in proto.graph.initializer}.union(held)
    return [value for value in proto.graph.input if value.name not in known]


def _fix_shapes(
    proto: onnx.ModelProto, given: dict[str, tuple[int, ...]], held: Collection[str]
) -> None:
    inputs = _true_inputs(proto, held)
    known = [value.name for value in inputs]
    for name in given:
        if name not in known:
            raise ModelError(
                f"the model has no input {name!r}",
                hint=f"its inputs are {', '.join(known)}",
            )
    open_inputs = []
    for value in inputs:
        if not value.type.HasField("tensor_type"):
            raise UnsupportedModelError([f"input {value.name!r} is not a tensor"])
        tensor_type = value.type.tensor_type
        dims = [
            dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None
            for dim in tensor_type.shape.dim
        ]
        shape = given.get(value.name)
        if shape is None:
            if None in dims or not tensor_type.HasField("shape"):
                open_inputs.append((value.name, dims))
            continue
        fits = not tensor_type.HasField("shape") or (
            len(shape) == len(dims)
            and all(d in (None, s) for d, s in zip(dims, shape, strict=True))
        )
        if not fits or not all(size > 0 for size in shape):
            raise ModelError(
                f"the shape {_join(shape)} does not go with input {value.name!r}, "
                f"which is {_join(dims)}",
                hint="give a positive size for every dimension; only those shown "
                "as ? can be chosen",
            )
        tensor_type.shape.Clear()
        for size in shape:
            tensor_type.shape.dim.add().dim_value = size
    if open_inputs:
        flags = " ".join(
            f"--input-shape {name}={_join([dim or 1 for dim in dims])}"
            for name, dims in open_inputs
        )
        raise UnsupportedModelError(
            [f"input {name!r} has dynamic shape {_join(d)}" for name, d in open_inputs],
            hint=f"give static shapes, for example: {flags} "
            "(input_shapes={...} in Python)",
        )
    # What the exporter noted may hold for another shape of the inputs.
    del proto.graph.value_info[:]
    for value in proto.graph.output:
        value.type.tensor_type.ClearField("shape")


def _fold(proto: onnx.ModelProto, supported: frozenset[str]) -> onnx.ModelProto:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = (
        onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    )
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory(prefix="undercroft-") as folder:
        folded = str(Path(folder) / "folded.onnx")
        options.optimized_model_filepath = folded
        try:
            onnxruntime.InferenceSession(
                proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            return onnx.load(folded)
        # onnxruntime has no common base class for what it raises.
        except Exception as error:
            problems = _unsupported(proto, supported, [])
            if problems:
                raise UnsupportedModelError(problems) from error
            raise NotAModelError(
                f"onnxruntime cannot load the model: {_line(error)}",
                hint="check that the model runs in onnxruntime",
            ) from error


def _infer(proto: onnx.ModelProto) -> onnx.ModelProto:
    try:
        return onnx.shape_inference.infer_shapes(proto, data_prop=True)
    except Exception as error:
        raise NotAModelError(
            f"the shapes of the model do not fit together: {_line(error)}"
        ) from error


def _source(
    proto: onnx.ModelProto,
    type_problems: list[str],
    held: Mapping[str, npt.NDArray[Any]],
) -> Source:
    constants = {
        tensor.name: onnx.numpy_helper.to_array(tensor)
        for tensor in proto.graph.initializer
    } | dict(held)
    shapes: dict[str, tuple[int, ...]] = {}
    dtypes: dict[str, str] = {}
    for value in (*proto.graph.value_info, *proto.graph.input, *proto.graph.output):
        tensor_type = value.type.tensor_type
        dtypes[value.name] = _dtype(tensor_type.elem_type)
        dims = [dim.dim_value for dim in tensor_type.shape.dim]
        static = all(dim.HasField("dim_value") for dim in tensor_type.shape.dim)
        if static and tensor_type.HasField("shape"):
            shapes[value.name] = tuple(dims)
    for name, array in constants.items():
        shapes[name], dtypes[name] = array.shape, array.dtype.name

    def infos(values: list[onnx.ValueInfoProto]) -> tuple[TensorInfo, ...]:
        return tuple(
            TensorInfo(value.name, shapes.get(value.name, ()), dtypes[value.name])
            for value in values
        )

    return Source(
        nodes=tuple(_needed(_nodes(proto), proto)),
        constants=constants,
        shapes=shapes,
        inputs=infos(_true_inputs(proto, held)),
        outputs=infos(list(proto.graph.output)),
        type_problems=tuple(type_problems),
    )


def _needed(nodes: list[Node], proto: onnx.ModelProto) -> list[Node]:
    """Leave out the nodes that no output depends on."""
    needed = {value.name for value in proto.graph.output}
    kept = []
    for node in reversed(nodes):
        if needed.intersection(node.outputs):
            needed.update(node.inputs)
            kept.append(node)
    return kept[::-1]


def _type_problems(proto: onnx.ModelProto, held: Collection[str]) -> list[str]:
    """Name every value that depends on an input and is not float32."""
    inferred = _infer(proto)
    graph_check.check_sizes(inferred, held)
    types = {
        value.name: _dtype(value.type.tensor_type.elem_type)
        for value in (*inferred.graph.value_info, *inferred.graph.output)
    }
    problems = []
    computed = set()
    for value in _true_inputs(proto, held):
        dtype = _dtype(value.type.tensor_type.elem_type)
        computed.add(value.name)
        if dtype != "float32":
            problems.append(f"type {dtype} of input {value.name!r}")
    nodes = _nodes(proto)
    read = {name for node in nodes for name in node.inputs}
    outputs = {value.name for value in proto.graph.output}
    read.update(outputs)
    for node in nodes:
        # A shape is known in advance, whatever the values are.
        if node.op_type in {"Shape", "Size"} or not computed.intersection(node.inputs):
            continue
        computed.update(node.outputs)
        problems += [
            f"type {types[name]} of {name!r}, made by {operator_problem(node)}"
            for name in node.outputs
            if name in read
            and types.get(name, "float32") != "float32"
            and (name in outputs or (node.op_type, types[name]) not in _QUANTISED)
            and not (node.op_type in _INDICES and types[name] == "int64")
        ]
    return problems


def _nodes(proto: onnx.ModelProto) -> list[Node]:
    versions = {entry.domain: entry.version for entry in proto.opset_import}
    result = []
    for node in proto.graph.node:
        own = node.domain in ("", "ai.onnx")
        outputs = tuple(node.output)
        result.append(
            Node(
                name=node.name or f"{node.op_type}:{outputs[0] if outputs else ''}",
                op_type=node.op_type if own else f"{node.domain}.{node.op_type}",
                inputs=tuple(node.input),
                outputs=outputs,
                attributes={a.name: _attribute(a) for a in node.attribute},
                opset=versions.get("", versions.get("ai.onnx", 1)),
            )
        )
    return result


def _attribute(attribute: onnx.AttributeProto) -> Any:  # noqa: ANN401 as in ONNX
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value


def _dtype(elem_type: int) -> str:
    try:
        return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(elem_type)).name
    except (KeyError, ValueError, TypeError):
        return f"ONNX type {elem_type}"


def _join(sizes: list[int | None] | list[int] | tuple[int, ...]) -> str:
    return ",".join("?" if size is None else str(size) for size in sizes)


def _line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
