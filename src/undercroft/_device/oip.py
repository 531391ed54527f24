# SPDX-License-Identifier: Apache-2.0
"""The Open Inference Protocol, version 2: bodies of inference requests and answers.

JSON and the *binary tensor data* extension, both ways, as Triton's clients speak
them. An HTTP body is a JSON document, followed by raw little-endian tensors when
the header `Inference-Header-Content-Length` says where the document ends. All
tensors are FP32, but for questions and sealed answers (`spec/private-io.md`), which
are tensors of UINT8 with names of their own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from undercroft._format.private_io import QuestionParts
from undercroft.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

    from undercroft.tensor import TensorInfo

HEADER_LENGTH: Final = "Inference-Header-Content-Length"
DATATYPE: Final = "FP32"
QUESTION: Final = "undercroft_question"
"""The input that makes a request a private one."""
ANSWER: Final = "undercroft_answer"
"""The only output of a sealed answer."""
_BYTES_DATATYPE: Final = "UINT8"
_JSON_BYTES_PER_ELEMENT: Final = 40
_JSON_OVERHEAD_BYTES: Final = 65536


@dataclass(frozen=True, slots=True)
class InferRequest:
    """An inference request that fits the model.

    Attributes:
        id: the client's name for it, or None.
        inputs: arrays in the order of the model's inputs; none when the question
            holds them.
        outputs: names of the outputs wanted, in the order wanted.
        binary: for each of them, whether it is wanted as raw bytes.
        question: an asker's question, or None.
    """

    id: str | None
    inputs: list[npt.NDArray[np.float32]]
    outputs: list[str]
    binary: list[bool]
    question: bytes | None = None


@dataclass(frozen=True, slots=True)
class InferAnswer:
    """An answer as a client reads it: outputs, or a sealed answer."""

    outputs: dict[str, npt.NDArray[np.float32]]
    parameters: dict[str, Any] = field(default_factory=dict)
    sealed: bytes = b""


def max_request_bytes(inputs: Sequence[TensorInfo]) -> int:
    """Return the size of the largest request that can make sense for a model."""
    elements = sum(info.element_count for info in inputs)
    return _JSON_OVERHEAD_BYTES + elements * _JSON_BYTES_PER_ELEMENT


# ---- the agent's side ----


def parse_request(
    body: bytes | bytearray,
    header_length: int | None,
    inputs: Sequence[TensorInfo],
    outputs: Sequence[TensorInfo],
) -> InferRequest:
    """Read an inference request and check it against the model.

    Raises:
        InputError: malformed, or not what the model takes; says what is.
        FormatError: the question is none for this model.
    """
    document, raw = _split(body, header_length)
    given: dict[str, npt.NDArray[np.float32]] = {}
    question: bytes | None = None
    offset = 0
    wanted = {info.name: info for info in inputs}
    for item in _objects(document, "inputs"):
        name = item.get("name")
        if name == QUESTION and name not in wanted and question is None:
            question, offset = _byte_tensor(item, QUESTION, raw, offset)
            continue
        if not isinstance(name, str) or name not in wanted:
            raise InputError(
                f"the model has no input {name!r}; it has {_names(inputs)}"
            )
        if name in given:
            raise InputError(f"input {name!r} is given twice")
        array, offset = _tensor(item, wanted[name], raw, offset)
        given[name] = array
    if offset != len(raw):
        raise InputError(
            f"{len(raw) - offset} bytes of binary data belong to no input",
            hint="the sum of all binary_data_size has to be the size of the data",
        )
    parts = None if question is None else QuestionParts.parse(question, inputs)
    if parts is not None and parts.seals_inputs:
        if given:
            raise InputError(
                f"the question holds the inputs; {_names(inputs)} came beside it"
            )
    elif missing := [info.name for info in inputs if info.name not in given]:
        raise InputError(f"missing inputs: {', '.join(map(repr, missing))}")
    is_sealed = parts is not None and parts.seals_outputs
    known = [ANSWER] if is_sealed else [info.name for info in outputs]
    names, binary = _wanted_outputs(document, known)
    request_id = document.get("id")
    return InferRequest(
        id=request_id if isinstance(request_id, str) else None,
        inputs=[given[info.name] for info in inputs if info.name in given],
        outputs=names,
        binary=binary,
        question=question,
    )


def encode_answer(
    model: str,
    version: str,
    request: InferRequest,
    outputs: Mapping[str, npt.NDArray[np.float32]],
    parameters: Mapping[str, Any],
    sealed: bytes = b"",
) -> tuple[bytes, int | None]:
    """Return a body and, when raw tensors follow the document, its length.

    With a sealed answer `outputs` is empty.
    """
    described: list[dict[str, Any]] = []
    raw: list[bytes] = []
    for name, binary in zip(request.outputs, request.binary, strict=True):
        array: npt.NDArray[Any]
        if sealed:
            array = np.frombuffer(sealed, dtype=np.uint8)
        else:
            array = np.ascontiguousarray(outputs[name], dtype="<f4")
        entry: dict[str, Any] = {
            "name": name,
            "datatype": _BYTES_DATATYPE if sealed else DATATYPE,
            "shape": list(array.shape),
        }
        if binary:
            entry["parameters"] = {"binary_data_size": array.nbytes}
            raw.append(array.tobytes())
        else:
            entry["data"] = array.reshape(-1).tolist()
        described.append(entry)
    document: dict[str, Any] = {
        "model_name": model,
        "model_version": version,
        "outputs": described,
        "parameters": dict(parameters),
    }
    if request.id is not None:
        document["id"] = request.id
    head = json.dumps(document).encode()
    return b"".join([head, *raw]), len(head) if raw else None


# ---- the client's side ----


def encode_request(
    inputs: Sequence[TensorInfo],
    arrays: Sequence[npt.NDArray[np.float32]],
    question: bytes | None = None,
) -> tuple[bytes, int]:
    """Return the body of a request with raw tensors, and its document's length.

    No arrays at all go with a question that holds the inputs.
    """
    raw = [np.ascontiguousarray(array, dtype="<f4").tobytes() for array in arrays]
    named = [
        (info.name, DATATYPE, list(info.shape))
        for info, _ in zip(inputs, arrays, strict=bool(arrays))
    ]
    if question is not None:
        raw.append(question)
        named.append((QUESTION, _BYTES_DATATYPE, [len(question)]))
    document = {
        "inputs": [
            {
                "name": name,
                "datatype": datatype,
                "shape": shape,
                "parameters": {"binary_data_size": len(data)},
            }
            for (name, datatype, shape), data in zip(named, raw, strict=True)
        ],
        "parameters": {"binary_data_output": True},
    }
    head = json.dumps(document).encode()
    return b"".join([head, *raw]), len(head)


def parse_answer(
    body: bytes,
    header_length: int | None,
    outputs: Sequence[TensorInfo],
    *,
    is_sealed: bool = False,
) -> InferAnswer:
    """Read an answer; the agent is not trusted to have formed it well.

    Args:
        body: the answer.
        header_length: where its document ends.
        outputs: the model's.
        is_sealed: whether a sealed answer is expected instead of them.

    Raises:
        InputError: malformed, or not the outputs the model has.
    """
    document, raw = _split(body, header_length)
    wanted = {} if is_sealed else {info.name: info for info in outputs}
    found: dict[str, npt.NDArray[np.float32]] = {}
    sealed = b""
    offset = 0
    for item in _objects(document, "outputs"):
        name = item.get("name")
        if is_sealed and name == ANSWER:
            sealed, offset = _byte_tensor(item, ANSWER, raw, offset)
            continue
        if not isinstance(name, str) or name not in wanted:
            raise InputError(f"the agent answered with an unknown output {name!r}")
        found[name], offset = _tensor(item, wanted[name], raw, offset)
    missing = [name for name in wanted if name not in found]
    if is_sealed and not sealed:
        missing = [ANSWER]
    if missing:
        raise InputError(f"the agent left out: {', '.join(map(repr, missing))}")
    parameters = document.get("parameters")
    if not isinstance(parameters, dict):
        parameters = {}
    return InferAnswer(found, parameters, sealed)


# ---- both ----


def _split(
    body: bytes | bytearray, header_length: int | None
) -> tuple[dict[str, Any], memoryview]:
    length = len(body) if header_length is None else header_length
    if not 0 < length <= len(body):
        raise InputError(
            f"{HEADER_LENGTH} is {length} and the body has {len(body)} bytes"
        )
    view = memoryview(body)
    try:
        document = json.loads(bytes(view[:length]))
    except (ValueError, RecursionError) as error:
        raise InputError("the request is not JSON", hint=str(error)) from error
    if not isinstance(document, dict):
        raise InputError("the request is not a JSON object")
    return document, view[length:]


def _objects(document: dict[str, Any], key: str) -> list[dict[str, Any]]:
    items = document.get(key)
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise InputError(f"{key!r} has to be a list of objects")
    return items


def _tensor(
    item: dict[str, Any], info: TensorInfo, raw: memoryview, offset: int
) -> tuple[npt.NDArray[np.float32], int]:
    if item.get("datatype") != DATATYPE:
        raise InputError(
            f"{info.name!r} is {item.get('datatype')!r}; expected {DATATYPE}"
        )
    shape = item.get("shape")
    if shape != list(info.shape):
        raise InputError(
            f"{info.name!r} has shape {shape}; expected {list(info.shape)}"
        )
    parameters = item.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is None:
        return _from_json(item.get("data"), info), offset
    expected = info.element_count * 4
    if size != expected or "data" in item:
        raise InputError(
            f"{info.name!r} has binary_data_size {size}; expected {expected} and no "
            "'data'"
        )
    if len(raw) - offset < expected:
        raise InputError(f"the binary data ends inside {info.name!r}")
    chunk = raw[offset : offset + expected]
    # A copy, so that the array is aligned and outlives the body.
    array = np.frombuffer(bytes(chunk), dtype="<f4").reshape(info.shape)
    return array.astype(np.float32, copy=False), offset + expected


def _byte_tensor(
    item: dict[str, Any], name: str, raw: memoryview, offset: int
) -> tuple[bytes, int]:
    """Return the bytes of a tensor of UINT8, and where the next raw tensor begins."""
    shape = item.get("shape")
    parameters = item.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if item.get("datatype") != _BYTES_DATATYPE:
        raise InputError(
            f"{name!r} is {item.get('datatype')!r}; expected {_BYTES_DATATYPE}"
        )
    if size is None:
        values = item.get("data")
        try:
            if not isinstance(values, list):
                raise TypeError
            data = bytes(values)
        except (TypeError, ValueError) as error:
            raise InputError(f"{name!r} holds something else than bytes") from error
    elif isinstance(size, int) and 0 <= size <= len(raw) - offset:
        data = bytes(raw[offset : offset + size])
        offset += size
    else:
        raise InputError(f"the binary data ends inside {name!r}")
    if shape != [len(data)]:
        raise InputError(f"{name!r} has shape {shape}; expected [{len(data)}]")
    return data, offset


def _from_json(data: object, info: TensorInfo) -> npt.NDArray[np.float32]:
    if not isinstance(data, list):
        raise InputError(f"{info.name!r} has neither 'data' nor binary data")
    try:
        array = np.asarray(data, dtype=np.float32)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InputError(
            f"{info.name!r} holds something else than numbers", hint=str(error)
        ) from error
    if array.size != info.element_count:
        raise InputError(
            f"{info.name!r} has {array.size} elements; expected {info.element_count}"
        )
    return np.ascontiguousarray(array.reshape(info.shape))


def _wanted_outputs(
    document: dict[str, Any], known: list[str]
) -> tuple[list[str], list[bool]]:
    parameters = document.get("parameters")
    default = bool(
        isinstance(parameters, dict) and parameters.get("binary_data_output", False)
    )
    if not document.get("outputs"):
        return known, [default] * len(known)
    names: list[str] = []
    binary: list[bool] = []
    for item in _objects(document, "outputs"):
        name = item.get("name")
        if not isinstance(name, str) or name not in known:
            raise InputError(
                f"there is no output {name!r}, but {', '.join(map(repr, known))}"
            )
        if name in names:
            raise InputError(f"output {name!r} is asked for twice")
        more = item.get("parameters")
        more = more if isinstance(more, dict) else {}
        if more.get("classification"):
            raise InputError(
                "the classification extension is not supported",
                hint="ask for the whole output and sort it",
            )
        names.append(name)
        binary.append(bool(more.get("binary_data", default)))
    return names, binary


def _names(infos: Sequence[TensorInfo]) -> str:
    return ", ".join(repr(info.name) for info in infos)
