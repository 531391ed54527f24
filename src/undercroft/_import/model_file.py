# SPDX-License-Identifier: Apache-2.0
"""Reads ONNX files without reading their large weights.

A network's weights can be larger than memory, and than the 2 GiB that a protocol
buffer may have. Large weights that only convolutions and matrix products read are
therefore *held*: they stay where they lie, in the file or in a file of external
data, mapped into memory and touched when they are packed. For all that looks at
the graph they are inputs whose shape is known.

Where external data may lie is the file's claim and nobody's promise: names that
leave the folder of the model are refused, and so are lengths that do not fit.
"""

from __future__ import annotations

import math
import mmap
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
import onnx.numpy_helper

from undercroft._import import wire
from undercroft.errors import NotAModelError, UnsupportedModelError

__all__ = ["ModelFile", "read"]

HOLD_BYTES: Final = 256 << 10
"""Smaller weights are read: folding them is worth more than not having them."""

MAX_READ_BYTES: Final = 1 << 30
"""Protocol buffers end at 2 GiB; folding needs some of that for itself."""

_WEIGHT_READERS: Final = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
# What onnxruntime folds into the weights of the convolution before it.
_FOLDED_INTO_CONV: Final = frozenset({"Add", "BatchNormalization", "Mul"})
_BESIDE: Final = (
    "keep the data files beside the .onnx file, with the names that they had when "
    "it was exported"
)

Buffer = bytes | memoryview


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model without its large weights.

    Attributes:
        proto: The model; held weights are inputs of the graph.
        held: Their values, by name: read-only and perhaps not aligned.
    """

    proto: onnx.ModelProto
    held: Mapping[str, npt.NDArray[np.float32]]


def read(model: str | os.PathLike[str] | onnx.ModelProto) -> ModelFile:
    """Parse a model; the caller's copy is not touched.

    Raises:
        NotAModelError: Not ONNX, damaged, or its external data is missing, has
            another length, or lies outside of the model's folder.
        UnsupportedModelError: More constants than can be folded.
    """
    if isinstance(model, onnx.ModelProto):
        proto = onnx.ModelProto()
        proto.CopyFrom(model)
        contents: dict[int, Buffer] = {}
        if any(_is_external(tensor) for tensor in proto.graph.initializer):
            raise NotAModelError(
                "the model in memory refers to external data",
                hint="pass the path of the .onnx file, or load the data first with "
                "onnx.load_external_data_for_model",
            )
    else:
        proto, contents = _parsed(Path(model))
    _refuse_hidden_data(proto)
    _check_lengths(proto, contents)
    return _held_back(proto, contents)


# ---- the file


def _parsed(path: Path) -> tuple[onnx.ModelProto, dict[int, Buffer]]:
    """Return the model, and the bytes of large tensors by their index."""
    proto = onnx.ModelProto()
    contents: dict[int, Buffer] = {}
    try:
        data = _mapped(path)
    except OSError as error:
        raise NotAModelError(f"cannot read {path}: {error.strerror}") from error
    # Protocol buffers have a class of their own for every way to be damaged.
    try:
        cut = wire.without_large_tensors(data, HOLD_BYTES)
        if cut is None:
            proto.ParseFromString(bytes(data))
        else:
            proto.ParseFromString(cut.rest)
            contents.update(cut.contents)
        if not proto.HasField("graph"):
            raise ValueError("it has no graph")
    except Exception as error:
        raise NotAModelError(
            f"{path} is not an ONNX model, or is damaged",
            hint="export the network to ONNX first",
        ) from error
    contents.update(_external_contents(proto, path))
    return proto, contents


def _mapped(path: Path) -> memoryview:
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            return memoryview(file.read())
        if status.st_size == 0:
            return memoryview(b"")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _is_external(tensor: onnx.TensorProto) -> bool:
    return tensor.data_location == onnx.TensorProto.EXTERNAL


def _external_contents(proto: onnx.ModelProto, path: Path) -> dict[int, Buffer]:
    """Find the external data of tensors, which are made ordinary ones."""
    files: dict[str, Buffer] = {}
    contents: dict[int, Buffer] = {}
    for index, tensor in enumerate(proto.graph.initializer):
        if not _is_external(tensor):
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        try:
            if location not in files:
                files[location] = _mapped(_inside(path, location))
            offset = int(entries.get("offset", "0"))
            length = int(entries.get("length", str(len(files[location]) - offset)))
        except OSError as error:
            raise _bad_external(path, tensor.name, f"{error.strerror}") from error
        except ValueError as error:
            raise _bad_external(path, tensor.name, str(error)) from error
        if not 0 <= offset <= offset + length <= len(files[location]):
            reason = (
                f"bytes {offset} to {offset + length} of {location!r}, which has "
                f"{len(files[location])}"
            )
            raise _bad_external(path, tensor.name, reason)
        contents[index] = files[location][offset : offset + length]
        del tensor.external_data[:]
        tensor.ClearField("data_location")
    return contents


def _inside(path: Path, location: str) -> Path:
    """Return the file that a location names, which must not leave the folder."""
    parts = PurePosixPath(location).parts
    if (
        not parts
        or ".." in parts
        or location.startswith("/")
        or PureWindowsPath(location).drive
        or "\0" in location
    ):
        raise ValueError(f"{location!r} does not name a file in the model's folder")
    folder = path.parent.resolve()
    file = (folder / location).resolve()
    if not file.is_relative_to(folder):
        raise ValueError(f"{location!r} leads out of the model's folder")
    # Opening a pipe would wait for somebody to write into it.
    if file.exists() and not file.is_file():
        raise ValueError(f"{location!r} is not a file")
    return file


def _bad_external(path: Path, name: str, reason: str) -> NotAModelError:
    return NotAModelError(
        f"the external data of {path} cannot be read: tensor {name!r}: {reason}",
        hint=_BESIDE,
    )


# ---- the tensors


def _refuse_hidden_data(proto: onnx.ModelProto) -> None:
    """Refuse external data where only onnxruntime would look for it."""
    for node in _all_nodes(proto.graph):
        for attribute in node.attribute:
            tensors = [attribute.t, *attribute.tensors]
            for graph in (attribute.g, *attribute.graphs):
                tensors += graph.initializer
            if any(_is_external(tensor) for tensor in tensors):
                raise NotAModelError(
                    f"node {node.name!r} ({node.op_type}) keeps external data in its "
                    f"attribute {attribute.name!r}",
                    hint="export the network with its weights as initializers",
                )


def _all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _all_nodes(inner)


def _item_bytes(tensor: onnx.TensorProto) -> int | None:
    try:
        return int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    except (KeyError, ValueError, TypeError):
        return None


def _check_lengths(proto: onnx.ModelProto, contents: Mapping[int, Buffer]) -> None:
    """Compare what tensors say with what they have, in numbers without limit."""
    problems = []
    for index, tensor in enumerate(proto.graph.initializer):
        dims = list(tensor.dims)
        given = contents.get(index)
        if given is None and tensor.HasField("raw_data"):
            given = tensor.raw_data
        size = _item_bytes(tensor)
        # Four-bit numbers share bytes, and strings have no size.
        if min(dims, default=0) < 0 or math.prod(dims) >= 1 << 48:
            problems.append(f"tensor {tensor.name!r} has the dimensions {dims}")
        elif given is None or size is None or tensor.data_type in _ODD_TYPES:
            continue
        elif len(given) != math.prod(dims) * size:
            problems.append(
                f"tensor {tensor.name!r} of dimensions {dims} needs "
                f"{math.prod(dims) * size} bytes and has {len(given)}"
            )
    if problems:
        raise NotAModelError("the model is damaged: " + "; ".join(problems))


_ODD_TYPES: Final = frozenset(
    value
    for name, value in onnx.TensorProto.DataType.items()
    if name in {"STRING", "UINT4", "INT4", "FLOAT4E2M1", "UINT2", "INT2"}
)


def _held_back(proto: onnx.ModelProto, contents: Mapping[int, Buffer]) -> ModelFile:
    """Turn what is held into inputs, and give all other tensors their bytes."""
    graph = proto.graph
    strict = _holdable(proto, contents, foldable=False)
    read_bytes = sum(
        len(content)
        for index, content in contents.items()
        if graph.initializer[index].name not in strict
    )
    if read_bytes > MAX_READ_BYTES:
        # Better without some folding than not at all.
        strict = _holdable(proto, contents, foldable=True)
    held: dict[str, npt.NDArray[np.float32]] = {}
    declared = {value.name for value in graph.input}
    read_bytes = 0
    for index in reversed(range(len(graph.initializer))):
        tensor = graph.initializer[index]
        content = contents.get(index)
        if tensor.name not in strict:
            if content is not None:
                read_bytes += len(content)
                if read_bytes > MAX_READ_BYTES:
                    raise UnsupportedModelError(
                        [
                            f"constants of more than {MAX_READ_BYTES} bytes that "
                            "others than Conv, ConvTranspose, Gemm and MatMul read"
                        ]
                    )
                tensor.raw_data = bytes(content)
            continue
        shape = tuple(tensor.dims)
        if content is None:
            content = tensor.raw_data
        held[tensor.name] = np.frombuffer(content, "<f4").reshape(shape)
        if tensor.name not in declared:
            graph.input.append(
                onnx.helper.make_tensor_value_info(
                    tensor.name, onnx.TensorProto.FLOAT, shape
                )
            )
        del graph.initializer[index]
    return ModelFile(proto, held)


def _holdable(
    proto: onnx.ModelProto, contents: Mapping[int, Buffer], *, foldable: bool
) -> frozenset[str]:
    """Name the large tensors that only need to be there when they are packed.

    Args:
        proto: The model.
        contents: Bytes that are not in it, by index of the tensor.
        foldable: Whether those are among them that folding could improve.
    """
    graph = proto.graph
    nodes = list(_all_nodes(graph))
    if len(nodes) != len(graph.node):
        # Graphs within nodes may read any name.
        return frozenset()
    outputs = {value.name for value in graph.output}
    readers: dict[str, list[tuple[str, int]]] = {}
    for node in nodes:
        for position, name in enumerate(node.input):
            readers.setdefault(name, []).append((node.op_type, position))
    followed = set()
    for node in nodes:
        if node.op_type in {"Conv", "ConvTranspose"} and not foldable:
            after = {kind for kind, _ in readers.get(node.output[0], [])}
            if after & _FOLDED_INTO_CONV:
                followed.update(node.input[1:2])
    names: list[str] = []
    for index, tensor in enumerate(graph.initializer):
        content = contents.get(index)
        size = len(tensor.raw_data) if content is None else len(content)
        if (
            size >= HOLD_BYTES
            and tensor.data_type == onnx.TensorProto.FLOAT
            and tensor.name not in outputs
            and tensor.name not in followed
            and readers.get(tensor.name)
            and all(
                kind in _WEIGHT_READERS and position == 1
                for kind, position in readers[tensor.name]
            )
        ):
            names.append(tensor.name)
    every = [tensor.name for tensor in graph.initializer]
    return frozenset(name for name in names if every.count(name) == 1)
