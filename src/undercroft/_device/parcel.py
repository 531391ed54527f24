# SPDX-License-Identifier: Apache-2.0
"""A sealed file as the normal world of a device sees it: opaque pages.

The device's normal world is not trusted, so nothing is verified here: the
secure side does that. What is read is just enough to feed it the right pages and
to know the names and shapes of inputs and outputs. No cryptography is needed,
which the board's guest does not have.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from undercroft._spec import (
    DTYPE_F32,
    FORMAT_VERSION,
    MAX_HEADER_BYTES,
    MAX_IO,
    MAX_PAGE_BYTES,
    MAX_PAGES,
    MIN_PAGE_BYTES,
    PAGE_TAG_BYTES,
    PREFIX_BYTES,
    SEALED_MAGIC,
)
from undercroft.errors import FormatError
from undercroft.tensor import TensorInfo

_PREFIX: Final = struct.Struct("<8sHHI")
_MAX_RANK: Final = 8
_HINT: Final = "get the file again from the provider"
_DTYPES: Final = {DTYPE_F32: "float32"}


@dataclass(frozen=True, slots=True)
class Parcel:
    """What anybody can read of a sealed file, and where its pages lie.

    Attributes:
        path: the file.
        header: the COSE_Sign1, as the secure side wants it.
        model_id: 16 bytes, chosen by the provider.
        model_version: its version.
        page_bytes: plaintext bytes of a page.
        page_count: pages of all kinds.
        budget_bytes: secure memory that the model needs.
        inputs: names and shapes.
        outputs: names and shapes.
    """

    path: Path
    header: bytes
    model_id: bytes
    model_version: int
    page_bytes: int
    page_count: int
    budget_bytes: int
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]

    @property
    def slot_bytes(self) -> int:
        """Bytes of a page in the file: ciphertext and tag."""
        return self.page_bytes + PAGE_TAG_BYTES

    @property
    def pages_offset(self) -> int:
        """Where the first page begins."""
        return PREFIX_BYTES + len(self.header)

    def open_pages(self) -> BinaryIO:
        """Open the file for `read_pages`, without buffering.

        Raises:
            FormatError: it cannot be opened.
        """
        try:
            return self.path.open("rb", buffering=0)
        except OSError as error:
            raise FormatError(f"{self.path}: {error.strerror}", hint=_HINT) from error

    def read_pages(
        self, file: BinaryIO, first: int, count: int, into: memoryview
    ) -> int:
        """Read pages straight into memory and return the number of bytes.

        Raises:
            FormatError: the file does not have these pages, or cannot be read.
        """
        if first < 0 or count < 1 or first + count > self.page_count:
            raise FormatError(
                f"{self.path}: the device asks for pages {first} to "
                f"{first + count - 1} of {self.page_count}",
                hint=_HINT,
            )
        room = into[: count * self.slot_bytes]
        try:
            file.seek(self.pages_offset + first * self.slot_bytes)
            done = 0
            while done < len(room):
                got = _readinto(file, room[done:])
                if got == 0:
                    raise FormatError(
                        f"{self.path}: the file became shorter while it was in use",
                        hint=_HINT,
                    )
                done += got
        except OSError as error:
            raise FormatError(f"{self.path}: {error.strerror}", hint=_HINT) from error
        return len(room)


def _readinto(file: BinaryIO, room: memoryview) -> int:
    got: int | None = file.readinto(room)  # type: ignore[attr-defined]
    return got or 0


def read_parcel(path: Path | str) -> Parcel:
    """Read the outside of a sealed file.

    Raises:
        FormatError: not a sealed file, truncated, extended or over a limit.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            prefix = file.read(PREFIX_BYTES)
            file_bytes = os.fstat(file.fileno()).st_size
            header_bytes = _check_prefix(path, prefix, file_bytes)
            header = file.read(header_bytes)
    except OSError as error:
        raise FormatError(
            f"{path}: {error.strerror}", hint="check the path of the sealed file"
        ) from error
    if len(header) != header_bytes:
        raise FormatError(f"{path}: truncated in its header", hint=_HINT)
    parcel = _decode(path, header)
    expected = parcel.pages_offset + parcel.page_count * parcel.slot_bytes
    if file_bytes != expected:
        word = "truncated" if file_bytes < expected else "too long"
        raise FormatError(
            f"{path}: {word}: {file_bytes} bytes where its header says {expected}",
            hint=_HINT,
        )
    return parcel


def _check_prefix(path: Path, prefix: bytes, file_bytes: int) -> int:
    if len(prefix) < PREFIX_BYTES:
        raise FormatError(
            f"{path}: not a sealed model: only {len(prefix)} bytes", hint=_HINT
        )
    magic, version, reserved, header_bytes = _PREFIX.unpack(prefix)
    if magic != SEALED_MAGIC.encode():
        raise FormatError(
            f"{path}: not a sealed model",
            hint="seal an ONNX file with `undercroft seal MODEL.onnx -o MODEL.sealed`",
        )
    if version != FORMAT_VERSION or reserved != 0:
        raise FormatError(
            f"{path}: sealed in format version {version}; this software reads version "
            f"{FORMAT_VERSION}",
            hint="seal the model again with this version",
        )
    if not 1 <= header_bytes <= MAX_HEADER_BYTES:
        raise FormatError(
            f"{path}: a header of {header_bytes} bytes; at most {MAX_HEADER_BYTES} "
            "are allowed",
            hint=_HINT,
        )
    if PREFIX_BYTES + header_bytes > file_bytes:
        raise FormatError(f"{path}: truncated in its header", hint=_HINT)
    return int(header_bytes)


def _decode(path: Path, header: bytes) -> Parcel:
    signed = _cbor(path, header)
    if not (
        isinstance(signed, list) and len(signed) == 4 and isinstance(signed[2], bytes)
    ):
        raise _malformed(path, "no COSE_Sign1")
    payload = _cbor(path, signed[2])
    if not isinstance(payload, dict):
        raise _malformed(path, "its payload is no map")
    page_bytes = _uint(path, payload, 5)
    if not MIN_PAGE_BYTES <= page_bytes <= MAX_PAGE_BYTES or page_bytes % 4096:
        raise _malformed(path, f"pages of {page_bytes} bytes")
    page_count = sum(_uint(path, payload, key) for key in (6, 7, 8))
    if not 1 <= page_count <= MAX_PAGES:
        raise _malformed(path, f"{page_count} pages")
    model_id = payload.get(2)
    encoded_io = payload.get(11)
    if not isinstance(model_id, bytes) or not isinstance(encoded_io, bytes):
        raise _malformed(path, "no model id or no inputs and outputs")
    io = _cbor(path, encoded_io)
    if not isinstance(io, dict):
        raise _malformed(path, "inputs and outputs are no map")
    return Parcel(
        path=path,
        header=header,
        model_id=model_id,
        model_version=_uint(path, payload, 3),
        page_bytes=page_bytes,
        page_count=page_count,
        budget_bytes=_uint(path, payload, 10),
        inputs=_tensors(path, io.get(1)),
        outputs=_tensors(path, io.get(2)),
    )


def _tensors(path: Path, value: object) -> tuple[TensorInfo, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_IO:
        raise _malformed(path, "no list of inputs or outputs")
    return tuple(_tensor(path, item) for item in value)


def _tensor(path: Path, value: object) -> TensorInfo:
    if not isinstance(value, list) or len(value) != 3:
        raise _malformed(path, "an input or output is no triple")
    name, dtype, shape = value
    if (
        not isinstance(name, str)
        or not isinstance(dtype, int)
        or dtype not in _DTYPES
        or not isinstance(shape, list)
        or len(shape) > _MAX_RANK
        or not all(isinstance(dim, int) and 1 <= dim < 2**32 for dim in shape)
    ):
        raise _malformed(path, "an input or output of unknown name, type or shape")
    return TensorInfo(name=name, shape=tuple(shape), dtype=_DTYPES[dtype])


def _uint(path: Path, payload: dict[Any, Any], key: int) -> int:
    value = payload.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**32:
        raise _malformed(path, f"key {key} is no 32-bit number")
    return value


def _cbor(path: Path, encoded: bytes) -> object:
    import cbor2

    try:
        return cbor2.loads(encoded)
    except Exception as error:
        # cbor2 lets more than its own errors out of damaged input.
        raise _malformed(path, "no CBOR") from error


def _malformed(path: Path, what: str) -> FormatError:
    return FormatError(f"{path}: malformed header ({what})", hint=_HINT)
