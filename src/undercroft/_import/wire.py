# SPDX-License-Identifier: Apache-2.0
"""Cuts the bytes of large tensors out of an ONNX file before it is parsed.

Protocol buffers are a sequence of fields, and a message may be cut between any
two of them. Three messages matter here: the model (field 7 is the graph), the
graph (field 5 is a tensor, once for each) and the tensor (field 9 is its bytes).
Everything else is handed on as it stands, to be judged by the real parser.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

__all__ = ["Cut", "without_large_tensors"]

_GRAPH: Final = 7
_INITIALIZER: Final = 5
_RAW_DATA: Final = 9

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True, slots=True)
class Cut:
    """What was cut.

    Attributes:
        rest: The file without the bytes.
        contents: Those bytes, by the index of the tensor in the graph.
    """

    rest: bytes
    contents: dict[int, memoryview]


class _Field(NamedTuple):
    number: int
    kind: int
    start: int  # of the tag
    begin: int  # of the value
    end: int


def without_large_tensors(data: memoryview, least_bytes: int) -> Cut | None:
    """Cut out the raw bytes of tensors.

    Args:
        data: A whole ONNX file.
        least_bytes: Smaller tensors stay.

    Returns:
        None when nothing could be cut: the file has no large tensors, or is
        unusual or damaged; the parser knows which.
    """
    try:
        fields = list(_fields(data, 0, len(data)))
        graphs = [field for field in fields if field.number == _GRAPH]
        if len(graphs) != 1 or graphs[0].kind != _BYTES:
            return None
        rest, contents = _graph(data, graphs[0], least_bytes)
    except _OddError:
        return None
    if not contents:
        return None
    parts = [
        _tagged(_GRAPH, rest)
        if field.number == _GRAPH
        else bytes(data[field.start : field.end])
        for field in fields
    ]
    return Cut(b"".join(parts), contents)


class _OddError(Exception):
    """Not what a protocol buffer looks like; the parser has the last word."""


def _graph(
    data: memoryview, graph: _Field, least_bytes: int
) -> tuple[bytes, dict[int, memoryview]]:
    parts: list[bytes] = []
    contents: dict[int, memoryview] = {}
    index = 0
    for field in _fields(data, graph.begin, graph.end):
        whole = data[field.start : field.end]
        if field.number == _INITIALIZER:
            if field.end - field.begin >= least_bytes and field.kind == _BYTES:
                inner = list(_fields(data, field.begin, field.end))
                raw = [part for part in inner if part.number == _RAW_DATA]
                if len(raw) == 1 and raw[0].kind == _BYTES:
                    contents[index] = data[raw[0].begin : raw[0].end]
                    kept = b"".join(
                        bytes(data[part.start : part.end])
                        for part in inner
                        if part.number != _RAW_DATA
                    )
                    parts.append(_tagged(_INITIALIZER, kept))
                    index += 1
                    continue
            index += 1
        parts.append(bytes(whole))
    return b"".join(parts), contents


def _fields(data: memoryview, position: int, end: int) -> Iterator[_Field]:
    while position < end:
        start = position
        tag, position = _varint(data, position, end)
        number, kind = tag >> 3, tag & 7
        begin = position
        if kind == _VARINT:
            _, position = _varint(data, position, end)
        elif kind == _FIXED64:
            position += 8
        elif kind == _FIXED32:
            position += 4
        elif kind == _BYTES:
            length, begin = _varint(data, position, end)
            position = begin + length
        else:
            raise _OddError
        if position > end or number == 0:
            raise _OddError
        yield _Field(number, kind, start, begin, position)


def _varint(data: memoryview, position: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        if position >= end:
            raise _OddError
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise _OddError


def _tagged(number: int, content: bytes) -> bytes:
    """A field of bytes."""
    header = bytearray([number << 3 | _BYTES])
    length = len(content)
    while length >= 0x80:
        header.append(length & 0x7F | 0x80)
        length >>= 7
    header.append(length)
    return bytes(header) + content
