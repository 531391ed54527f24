# SPDX-License-Identifier: Apache-2.0
"""Read a PyTorch checkpoint without PyTorch and without `pickle`.

PyTorch's older file format (every release before 1.6) is five pickles one after
the other, then the tensors' bytes::

    magic number | protocol version | {sizes, byte order} | state dict | [keys]
    then, for each key: number of elements (int64), elements (little-endian)

Loading a pickle runs whatever program is in it. This reader therefore never
loads one: `pickletools` cuts it into instructions, and a machine that knows only
the two dozen instructions that a state dict needs runs them on plain values. It
imports nothing and calls nothing; `REDUCE` makes a tensor description or an
empty dictionary, and whatever else a checkpoint asks for is refused::

    tensors = load(path.read_bytes())
    tensors["_fc.weight"].shape   # (1000, 1280)
"""

from __future__ import annotations

import io
import math
import pickletools
import struct
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from undercroft.errors import FormatError

_MAGIC: Final = 0x1950A86A20F9469CFC6C
_PROTOCOL: Final = 1001
_ZIP_MAGIC: Final = b"PK\x03\x04"

# Far above what any network here needs; a machine without a bound on its stack
# and memo would let a small hostile file ask for all the memory there is.
_MAX_PICKLE_BYTES: Final = 16 << 20
_MAX_DIMENSIONS: Final = 8
_MAX_SIZE: Final = 1 << 40


class _Global(NamedTuple):
    """A name that a pickle mentions. It is never looked up."""

    module: str
    name: str


_DTYPES: Final[dict[_Global, np.dtype[Any]]] = {
    _Global("torch", "DoubleStorage"): np.dtype("<f8"),
    _Global("torch", "FloatStorage"): np.dtype("<f4"),
    _Global("torch", "HalfStorage"): np.dtype("<f2"),
    _Global("torch", "LongStorage"): np.dtype("<i8"),
    _Global("torch", "IntStorage"): np.dtype("<i4"),
    _Global("torch", "ShortStorage"): np.dtype("<i2"),
    _Global("torch", "CharStorage"): np.dtype("i1"),
    _Global("torch", "ByteStorage"): np.dtype("u1"),
}

_ORDERED_DICT: Final = _Global("collections", "OrderedDict")
_REBUILD_TENSOR: Final = _Global("torch._utils", "_rebuild_tensor_v2")
_ALLOWED_GLOBALS: Final = {
    _ORDERED_DICT,
    _REBUILD_TENSOR,
    *_DTYPES,
}


@dataclass(frozen=True, slots=True)
class _Storage:
    key: str
    dtype: np.dtype[Any]
    elements: int


@dataclass(frozen=True, slots=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


_MARK: Final = object()


def load(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """Read the state dict of a checkpoint.

    Args:
        data: The whole file.

    Returns:
        Name to tensor, in the file's order. The arrays are read-only views into
        `data` with the strides that were saved, which need not be C-contiguous.

    Raises:
        FormatError: Not such a checkpoint, truncated, or it asks for anything
            but tensors of plain numbers.
    """
    if data.startswith(_ZIP_MAGIC):
        raise FormatError(
            "this is a zipped checkpoint (PyTorch 1.6 and later); save it with "
            "torch.save(..., _use_new_zipfile_serialization=False)"
        )
    reader = io.BytesIO(data)
    if _run(reader) != _MAGIC:
        raise FormatError("not a PyTorch checkpoint: wrong magic number")
    if (protocol := _run(reader)) != _PROTOCOL:
        raise FormatError(
            f"checkpoint protocol is {_show(protocol)}, only {_PROTOCOL} is known"
        )
    system = _run(reader)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise FormatError("the checkpoint was not written by a little-endian machine")
    state = _run(reader)
    keys = _run(reader)
    if not isinstance(state, dict) or not isinstance(keys, list):
        raise FormatError("the checkpoint holds no dictionary of tensors")
    storages = _storages(state)
    buffers = _read_storages(data, reader.tell(), keys, storages)
    return {
        name: _view(name, tensor, buffers[tensor.storage.key])
        for name, tensor in state.items()
    }


def _storages(state: dict[Any, Any]) -> dict[str, _Storage]:
    """Collect what the tensors refer to; each key has one type and one size."""
    storages: dict[str, _Storage] = {}
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, _Tensor):
            raise FormatError(f"entry {_show(name)} of the checkpoint is not a tensor")
        storage = tensor.storage
        if storages.setdefault(storage.key, storage) != storage:
            raise FormatError(
                f"storage {storage.key!r:.80} has two different types or sizes"
            )
    return storages


def _read_storages(
    data: bytes, position: int, keys: list[Any], storages: dict[str, _Storage]
) -> dict[str, npt.NDArray[Any]]:
    """Cut the bytes after the pickles into one flat array for each storage."""
    if not all(isinstance(key, str) for key in keys) or len(set(keys)) != len(keys):
        raise FormatError("the list of storages is not a list of distinct names")
    if set(keys) != set(storages):
        raise FormatError("the tensors do not use exactly the storages that are saved")
    buffers: dict[str, npt.NDArray[Any]] = {}
    for key in keys:
        storage = storages[key]
        if len(data) - position < 8:
            raise FormatError(f"the checkpoint ends before storage {key!r:.80}")
        (elements,) = struct.unpack_from("<q", data, position)
        position += 8
        if elements != storage.elements:
            raise FormatError(
                f"storage {key!r:.80} has {elements} elements, expected "
                f"{storage.elements}"
            )
        size_bytes = elements * storage.dtype.itemsize
        if len(data) - position < size_bytes:
            raise FormatError(
                f"the checkpoint ends inside storage {key!r:.80}: "
                f"{size_bytes} bytes needed, {len(data) - position} left"
            )
        buffers[key] = np.frombuffer(data, storage.dtype, elements, position)
        position += size_bytes
    if position != len(data):
        raise FormatError(
            f"{len(data) - position} bytes follow the checkpoint's last storage"
        )
    return buffers


def _view(name: str, tensor: _Tensor, flat: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Make the strided view, after proving that it stays inside its storage."""
    last = tensor.offset
    for size, stride in zip(tensor.shape, tensor.strides, strict=True):
        last += (size - 1) * stride
    elements = math.prod(tensor.shape)
    # A stride of zero repeats elements. No saved weight does, and refusing it
    # keeps a few bytes from describing an array larger than all memory.
    if elements > flat.size or (elements and last >= flat.size):
        raise FormatError(
            f"tensor {name!r:.80} with offset {tensor.offset}, shape {tensor.shape} "
            f"and strides {tensor.strides} leaves its storage of {flat.size} elements"
        )
    if not elements:
        return np.empty(tensor.shape, flat.dtype)
    return np.lib.stride_tricks.as_strided(
        flat[tensor.offset :],
        tensor.shape,
        [stride * flat.itemsize for stride in tensor.strides],
        writeable=False,
    )


def _run(reader: io.BytesIO) -> object:
    """Run one pickle on the small machine and return its value."""
    try:
        return _Machine(reader.getbuffer().nbytes - reader.tell()).run(reader)
    except FormatError:
        raise
    # `pickletools` reports damage with the first two; the machine adds the others
    # when an instruction finds the stack or the memo empty.
    except (ValueError, OverflowError, IndexError, KeyError) as exc:
        raise FormatError(
            f"not a PyTorch checkpoint, or a damaged one: {exc!s:.120}"
        ) from exc


class _Machine:
    """A stack machine for the pickle instructions of a state dict."""

    def __init__(self, size_bytes: int) -> None:
        self._limit_bytes = min(size_bytes, _MAX_PICKLE_BYTES)
        self._stack: list[object] = []
        self._memo: dict[object, object] = {}

    def run(self, reader: io.BytesIO) -> object:
        start = reader.tell()
        for opcode, argument, position in pickletools.genops(reader):
            if position is not None and position - start > self._limit_bytes:
                raise FormatError(
                    f"a pickle in the checkpoint exceeds {self._limit_bytes} bytes"
                )
            if opcode.name == "STOP":
                (value,) = self._stack
                return value
            self._step(opcode.name, argument)
        raise FormatError("a pickle in the checkpoint does not end")

    def _step(self, name: str, argument: object) -> None:
        stack = self._stack
        match name:
            case "PROTO":
                if argument != 2:
                    raise FormatError(f"pickle protocol {argument} is not supported")
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINUNICODE":
                stack.append(argument)
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NEWTRUE": True, "NEWFALSE": False}.get(name))
            case "EMPTY_TUPLE":
                stack.append(())
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "MARK":
                stack.append(_MARK)
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(self._pop(int(name[-1]))))
            case "TUPLE":
                stack.append(tuple(self._pop_to_mark()))
            case "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(self._memo[argument])
            case "GLOBAL":
                stack.append(_global(argument))
            case "BINPERSID":
                stack.append(_storage(*self._pop(1)))
            case "REDUCE":
                stack.append(_call(*self._pop(2)))
            case "APPEND":
                self._extend(self._pop(1))
            case "APPENDS":
                self._extend(self._pop_to_mark())
            case "SETITEM":
                self._update(self._pop(2))
            case "SETITEMS":
                self._update(self._pop_to_mark())
            case "BUILD":
                # PyTorch hangs version numbers on the state dict this way; they
                # are not needed.
                self._pop(1)
                if not isinstance(stack[-1], dict):
                    raise FormatError("the checkpoint sets the state of an object")
            case _:
                raise FormatError(
                    f"the checkpoint uses the pickle instruction {name}, which a "
                    "plain state dict does not need"
                )

    def _pop(self, count: int) -> list[object]:
        if len(self._stack) < count:
            raise FormatError("a pickle in the checkpoint takes from an empty stack")
        values = self._stack[-count:]
        if any(value is _MARK for value in values):
            raise FormatError("a pickle in the checkpoint takes a mark for a value")
        del self._stack[-count:]
        return values

    def _pop_to_mark(self) -> list[object]:
        values: list[object] = []
        while (value := self._stack.pop()) is not _MARK:
            values.append(value)
        values.reverse()
        return values

    def _extend(self, values: list[object]) -> None:
        target = self._stack[-1]
        if not isinstance(target, list):
            raise FormatError("a pickle in the checkpoint appends to no list")
        target.extend(values)

    def _update(self, values: list[object]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict):
            raise FormatError("a pickle in the checkpoint sets items of no dictionary")
        for key, value in zip(values[::2], values[1::2], strict=True):
            # Only names: hashing a deeply nested tuple overflows the C stack.
            if not isinstance(key, str):
                raise FormatError(f"{_show(key)} is no name of an entry")
            target[key] = value


def _global(argument: object) -> _Global:
    module, _, attribute = str(argument).partition(" ")
    name = _Global(module, attribute)
    if name not in _ALLOWED_GLOBALS:
        raise FormatError(
            f"the checkpoint asks for {name.module:.80}.{name.name:.80}, which is not "
            "part of a plain state dict; it may be an attempt to run code"
        )
    return name


def _storage(identifier: object) -> _Storage:
    match identifier:
        case ("storage", _Global() as kind, str(key), str(), int(elements), None):
            dtype = _DTYPES.get(kind)
            if dtype is not None and _is_size(elements):
                return _Storage(key, dtype, elements)
    raise FormatError(f"unknown kind of storage in the checkpoint: {_show(identifier)}")


def _call(function: object, arguments: object) -> object:
    """Stand for the only two calls that a state dict makes."""
    if not isinstance(function, _Global):
        raise FormatError(f"the checkpoint calls {_show(function)}")
    match arguments:
        case () if function == _ORDERED_DICT:
            return {}
        case (
            _Storage() as storage,
            int(offset),
            tuple(shape),
            tuple(strides),
            False,
            {},
        ) if function == _REBUILD_TENSOR:
            sizes = (offset, *shape, *strides)
            if (
                len(shape) != len(strides)
                or len(shape) > _MAX_DIMENSIONS
                or not all(_is_size(size) for size in sizes)
            ):
                raise FormatError(
                    "a tensor's offset, shape or strides in the checkpoint are not "
                    "sizes"
                )
            return _Tensor(storage, offset, shape, strides)
    raise FormatError(
        f"the checkpoint calls {_show(function)} with unexpected arguments"
    )


def _is_size(value: object) -> bool:
    # `bool` is an `int` to Python, and not a size to us.
    return type(value) is int and 0 <= value <= _MAX_SIZE


def _show(value: object) -> str:
    """Name a value in an error, in bounded time even for a hostile value.

    A few bytes of pickle can share one tuple so often that its `repr` never ends.
    """
    match value:
        case _Global(module, name):
            return f"{module:.80}.{name:.80}"
        case str() | int() | None:
            return f"{value!r:.80}"
        case ("storage", _Global(module, name), *_):
            return f"{module:.80}.{name:.80}"
    return f"a {type(value).__name__}"
