# SPDX-License-Identifier: Apache-2.0
"""The checkpoint reader: right values, and nothing a hostile file can do."""

from __future__ import annotations

import os
import pickle
import struct
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from undercroft._models.torch_checkpoint import load
from undercroft.errors import FormatError

# A small assembler for pickles, so that each test says exactly which
# instructions a file holds.
EMPTY_TUPLE, MARK, NONE, FALSE, REDUCE, BUILD = b")", b"(", b"N", b"\x89", b"R", b"b"


def pickled(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    data = value.to_bytes((value.bit_length() + 8) // 8 or 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def tuple_of(*parts: bytes) -> bytes:
    return MARK + b"".join(parts) + b"t"


def sizes(values: tuple[int, ...]) -> bytes:
    return tuple_of(*map(number, values))


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


ORDERED_DICT = named("collections", "OrderedDict") + EMPTY_TUPLE + REDUCE


def storage(
    key: str, elements: int, kind: str = "FloatStorage", view: bytes = NONE
) -> bytes:
    return (
        tuple_of(
            text("storage"),
            named("torch", kind),
            text(key),
            text("cpu"),
            number(elements),
            view,
        )
        + b"Q"
    )


def tensor(
    stored: bytes,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    offset: int = 0,
    hooks: bytes = ORDERED_DICT,
) -> bytes:
    arguments = tuple_of(
        stored, number(offset), sizes(shape), sizes(strides), FALSE, hooks
    )
    return named("torch._utils", "_rebuild_tensor_v2") + arguments + REDUCE


def state(**entries: bytes) -> bytes:
    items = b"".join(text(name) + value for name, value in entries.items())
    return ORDERED_DICT + MARK + items + b"u"


def checkpoint(
    body: bytes,
    keys: tuple[str, ...] = (),
    data: bytes = b"",
    *,
    magic: int = 0x1950A86A20F9469CFC6C,
    protocol: int = 1001,
    little_endian: bytes = b"\x88",
) -> bytes:
    system = b"}" + MARK + text("little_endian") + little_endian + b"u"
    names = b"]" + MARK + b"".join(map(text, keys)) + b"e"
    parts = (number(magic), number(protocol), system, body, names)
    return b"".join(map(pickled, parts)) + data


def stored(values: np.ndarray) -> bytes:
    return struct.pack("<q", values.size) + values.tobytes()


SIX = np.arange(6, dtype="<f4")
GOOD = checkpoint(
    state(weight=tensor(storage("7", 6), (2, 3), (3, 1))), ("7",), stored(SIX)
)


def test_dense_tensor_is_read() -> None:
    tensors = load(GOOD)
    assert list(tensors) == ["weight"]
    assert tensors["weight"].dtype == np.float32
    np.testing.assert_array_equal(tensors["weight"], SIX.reshape(2, 3))


def test_strides_and_offset_are_followed() -> None:
    shared = storage("0", 6)
    body = state(
        turned=tensor(shared, (3, 2), (1, 3)), tail=tensor(shared, (2,), (2,), offset=3)
    )
    tensors = load(checkpoint(body, ("0",), stored(SIX)))
    np.testing.assert_array_equal(tensors["turned"], SIX.reshape(2, 3).T)
    np.testing.assert_array_equal(tensors["tail"], [3, 5])


def test_each_element_type_is_read() -> None:
    kinds = {
        "DoubleStorage": "<f8",
        "FloatStorage": "<f4",
        "HalfStorage": "<f2",
        "LongStorage": "<i8",
        "IntStorage": "<i4",
        "ShortStorage": "<i2",
        "CharStorage": "i1",
        "ByteStorage": "u1",
    }
    entries = {kind: tensor(storage(kind, 3, kind), (3,), (1,)) for kind in kinds}
    arrays = {kind: np.array([1, 2, 3], dtype) for kind, dtype in kinds.items()}
    data = b"".join(map(stored, arrays.values()))
    tensors = load(checkpoint(state(**entries), tuple(kinds), data))
    for kind, array in arrays.items():
        assert tensors[kind].dtype == array.dtype
        np.testing.assert_array_equal(tensors[kind], array)


def test_scalar_and_empty_tensors_are_read() -> None:
    body = state(
        scalar=tensor(storage("0", 1), (), ()),
        empty=tensor(storage("0", 1), (0, 4), (4, 1)),
    )
    tensors = load(checkpoint(body, ("0",), stored(SIX[4:5])))
    assert tensors["scalar"] == 4
    assert tensors["empty"].shape == (0, 4)


def test_arrays_are_read_only() -> None:
    weight = load(GOOD)["weight"]
    with pytest.raises(ValueError, match="read-only"):
        weight[0, 0] = 1


def test_metadata_on_the_dictionary_is_ignored() -> None:
    body = state(weight=tensor(storage("7", 6), (6,), (1,)))
    body += b"}" + text("_metadata") + ORDERED_DICT + b"s" + BUILD
    assert list(load(checkpoint(body, ("7",), stored(SIX)))) == ["weight"]


def test_every_truncation_is_refused() -> None:
    assert len(GOOD) > 250
    for length in range(len(GOOD)):
        with pytest.raises(FormatError):
            load(GOOD[:length])


def test_trailing_bytes_are_refused() -> None:
    with pytest.raises(FormatError, match="1 bytes follow"):
        load(GOOD + b"\0")


def test_any_flipped_bit_gives_tensors_or_a_format_error() -> None:
    refused = 0
    for position in range(len(GOOD)):
        for bit in range(8):
            damaged = bytearray(GOOD)
            damaged[position] ^= 1 << bit
            try:
                tensors = load(bytes(damaged))
            except FormatError:
                refused += 1
            else:
                assert all(type(array) is np.ndarray for array in tensors.values())
    assert refused > len(GOOD)


class _Evil:
    """Pickles as a call of `os.system`."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", range(6))
def test_code_is_not_run(tmp_path: Path, protocol: int) -> None:
    witness = tmp_path / "witness"
    evil = pickle.dumps({"weight": _Evil(f"touch {witness}")}, protocol=protocol)
    start = checkpoint(b"N")
    start = start[: start.index(pickled(b"N"))]
    with pytest.raises(FormatError):
        load(start + evil)
    with pytest.raises(FormatError):
        load(evil)
    assert not witness.exists()


FUNCTION = named("torch._utils", "_rebuild_tensor_v2")
A_STORAGE = storage("7", 6)
HOSTILE = {
    "global_os_system": named("os", "system") + tuple_of(text("true")) + REDUCE,
    "global_builtins_eval": named("builtins", "eval") + tuple_of(text("1")) + REDUCE,
    "global_alone": named("os", "system"),
    "global_dotted": named("collections", "OrderedDict.__init__"),
    "global_with_space": named("torch FloatStorage", "x"),
    "global_other_torch": named("torch", "load"),
    "stack_global": text("os") + text("system") + b"\x93",
    "instance": MARK + text("true") + b"ios\nsystem\n",
    "object": MARK + named("os", "system") + text("true") + b"o",
    "new_object": named("collections", "OrderedDict") + EMPTY_TUPLE + b"\x81",
    "extension": b"\x82\x01",
    "persistent_text": b"Pstorage\n",
    "call_of_storage_type": named("torch", "FloatStorage") + EMPTY_TUPLE + REDUCE,
    "call_of_text": text("eval") + EMPTY_TUPLE + REDUCE,
    "call_of_tensor": tensor(A_STORAGE, (6,), (1,)) + EMPTY_TUPLE + REDUCE,
    "dictionary_with_arguments": named("collections", "OrderedDict")
    + tuple_of(number(1))
    + REDUCE,
    "build_on_function": FUNCTION + b"}" + BUILD,
    "build_on_tensor": tensor(A_STORAGE, (6,), (1,)) + b"}" + BUILD,
    "build_on_storage": A_STORAGE + tuple_of() + BUILD,
    "tensor_of_text": tensor(text("7"), (6,), (1,)),
    "tensor_without_arguments": FUNCTION + EMPTY_TUPLE + REDUCE,
    "tensor_with_hooks": tensor(A_STORAGE, (6,), (1,), hooks=text("x")),
    "storage_is_a_view": tensor(storage("7", 6, view=tuple_of()), (6,), (1,)),
    "storage_of_unknown_type": tensor(storage("7", 6, "BFloat16Storage"), (6,), (1,)),
    "storage_is_a_dictionary": tensor(storage("7", 6, "OrderedDict"), (6,), (1,)),
    "storage_negative": tensor(storage("7", -6), (6,), (1,)),
    "storage_enormous": tensor(storage("7", 1 << 60), (6,), (1,)),
    "storage_identifier_short": tuple_of(text("storage")) + b"Q",
    "storage_two_sizes": tuple_of(A_STORAGE, storage("7", 7)),
    "shape_over_storage": tensor(A_STORAGE, (7,), (1,)),
    "shape_negative": tensor(A_STORAGE, (-1,), (1,)),
    "shape_of_text": FUNCTION
    + tuple_of(A_STORAGE, number(0), tuple_of(text("6")), sizes((1,)), FALSE, b"}")
    + REDUCE,
    "shape_of_truth": FUNCTION
    + tuple_of(A_STORAGE, number(0), tuple_of(b"\x88"), sizes((1,)), FALSE, b"}")
    + REDUCE,
    "shape_without_strides": tensor(A_STORAGE, (2, 3), (3,)),
    "shape_of_nine_dimensions": tensor(A_STORAGE, (1,) * 9, (1,) * 9),
    "stride_out_of_storage": tensor(A_STORAGE, (2, 3), (4, 1)),
    "stride_negative": tensor(A_STORAGE, (6,), (-1,)),
    "stride_enormous": tensor(A_STORAGE, (2,), (1 << 39,)),
    "stride_zero_blows_up": tensor(A_STORAGE, (1 << 39,), (0,)),
    "offset_out_of_storage": tensor(A_STORAGE, (3,), (1,), offset=4),
    "offset_negative": tensor(A_STORAGE, (1,), (1,), offset=-1),
    "not_a_tensor": number(1),
    "stack_empty": b"0",
    "tuple_without_mark": b"t",
    "tuple_of_a_mark": MARK + b"\x85",
    "reduce_of_nothing": REDUCE,
    "memo_unset": b"h\x09",
    "append_to_number": number(1) + number(2) + b"a",
    "items_of_number": number(1) + text("a") + text("b") + b"s",
    "items_odd": b"}" + MARK + text("a") + b"u",
    "item_name_is_a_number": b"}" + number(1) + number(2) + b"s",
    "item_name_is_nested": b"}" + b")" + b"\x85" * 200_000 + NONE + b"s",
    "long_text_number": b"L" + b"9" * 10_000 + b"L\n",
    "text_longer_than_file": b"X\xff\xff\xff\x7f",
    "bytes_longer_than_memory": b"\x8e" + b"\xff" * 8,
    "frame": b"\x95" + b"\0" * 8 + NONE,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickle_is_refused(name: str) -> None:
    with pytest.raises(FormatError):
        load(checkpoint(state(weight=HOSTILE[name]), ("7",), stored(SIX)))


def test_memo_index_does_not_take_memory() -> None:
    body = state(weight=number(1) + b"r\xff\xff\xff\x7f")
    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            load(checkpoint(body))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 4 << 20


def test_shared_tuples_do_not_take_forever() -> None:
    """Sixty doublings of one tuple would make a message of 2**60 words."""
    bomb = b")" + b"".join(b"q%ch%c\x86" % (i, i) for i in range(60))
    started = time.monotonic()
    for body in (bomb, state(weight=bomb), bomb + b"Q", bomb + EMPTY_TUPLE + REDUCE):
        with pytest.raises(FormatError):
            load(checkpoint(body))
    assert time.monotonic() - started < 5


def test_storage_that_is_not_saved_is_refused() -> None:
    body = state(weight=tensor(storage("7", 6), (6,), (1,)))
    with pytest.raises(FormatError, match="exactly the storages"):
        load(checkpoint(body, ("8",), stored(SIX)))


def test_storage_saved_twice_is_refused() -> None:
    body = state(weight=tensor(storage("7", 6), (6,), (1,)))
    with pytest.raises(FormatError, match="distinct"):
        load(checkpoint(body, ("7", "7"), stored(SIX) * 2))


def test_storage_of_another_size_is_refused() -> None:
    body = state(weight=tensor(storage("7", 6), (6,), (1,)))
    with pytest.raises(FormatError, match="has 5 elements, expected 6"):
        load(checkpoint(body, ("7",), stored(SIX[:5])))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"PK\x03\x04rest", "zipped checkpoint"),
        (checkpoint(b"}", magic=1), "wrong magic"),
        (checkpoint(b"}", protocol=1002), "protocol is 1002"),
        (checkpoint(b"}", little_endian=FALSE), "little-endian"),
        (checkpoint(number(1)), "no dictionary"),
        (b"", "not a PyTorch checkpoint"),
        (b"GIF89a", "not a PyTorch checkpoint"),
        (b"\x80\x04N.", "protocol 4"),
    ],
)
def test_other_files_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        load(data)
