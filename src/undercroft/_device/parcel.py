# SPDX-License-Identifier: Apache-2.0
"""A sealed file as the normal world of a device sees it: opaque pages.

The device's normal world is not trusted, so no signature is verified here: the
secure side does that. The board's guest has no cryptography to do it with.
"""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from undercroft._format.header import SealedHeader
from undercroft.errors import FileAccessError, FormatError
from undercroft.sealed import SealedModel
from undercroft.tensor import TensorInfo


@dataclass(frozen=True, slots=True)
class Parcel:
    """What anybody can read of a sealed file, and where its pages lie.

    Attributes:
        path: the file.
        header: what its header says, not verified.
        header_bytes: the header as the secure side wants it, a COSE_Sign1.
        pages_offset: where the first page begins.
    """

    path: Path
    header: SealedHeader
    header_bytes: bytes
    pages_offset: int

    @classmethod
    def read(cls, path: Path | str) -> Self:
        """Read the outside of a sealed file.

        Raises:
            FormatError: not a sealed file, truncated, extended or over a limit.
            FileAccessError: it cannot be read.
        """
        with SealedModel.open(path, verify=False) as sealed:
            return cls(
                path=Path(path),
                header=sealed.header,
                header_bytes=sealed.header_bytes,
                pages_offset=sealed.pages_offset,
            )

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """Names and shapes of the inputs."""
        return self.header.inputs

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """Names and shapes of the outputs."""
        return self.header.outputs


class PageFile:
    """Copies pages straight into memory that somebody else gives.

    The file is mapped: copying from there takes a third of the instructions that
    reading takes, and that at every inference. Whoever truncates it in the very
    moment of a copy ends this process; files are replaced by renaming.
    """

    def __init__(self, parcel: Parcel) -> None:
        """Open the file; it stays the same one when its name is given away.

        Raises:
            FileAccessError: it cannot be opened.
        """
        self._parcel = parcel
        try:
            self._descriptor = os.open(parcel.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise _unreadable(parcel.path, error) from error
        try:
            # Private: file systems without a shared page cache have only that.
            self._map = mmap.mmap(
                self._descriptor, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ
            )
        except (OSError, ValueError) as error:
            os.close(self._descriptor)
            raise _unreadable(parcel.path, error) from error
        self._bytes = memoryview(self._map)

    @property
    def slot_bytes(self) -> int:
        """Bytes of a page with its tag."""
        return self._parcel.header.slot_bytes

    def read(self, first: int, count: int, into: memoryview) -> int:
        """Fill the beginning of `into` with pages; return the number of bytes.

        Raises:
            FormatError: the file does not have these pages.
            FileAccessError: it cannot be read.
        """
        header = self._parcel.header
        if count < 1 or not 0 <= first <= header.page_count - count:
            raise FormatError(
                f"{self._parcel.path.name}: the device asks for {count} pages from "
                f"{first} on; there are {header.page_count}",
                hint="get the file again from the provider",
            )
        size = count * header.slot_bytes
        offset = self._parcel.pages_offset + first * header.slot_bytes
        try:
            # Touching a mapped page that the file no longer has is fatal.
            file_bytes = os.fstat(self._descriptor).st_size
        except OSError as error:
            raise _unreadable(self._parcel.path, error) from error
        if offset + size > min(file_bytes, len(self._bytes)):
            raise FormatError(
                f"{self._parcel.path.name} became shorter while in use",
                hint="get the file again from the provider",
            )
        into[:size] = self._bytes[offset : offset + size]
        return size

    def close(self) -> None:
        """Close the file. Idempotent."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            self._bytes.release()
            self._map.close()
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _unreadable(path: Path, error: OSError | ValueError) -> FileAccessError:
    words = getattr(error, "strerror", None) or str(error)
    return FileAccessError(f"{path}: {words}", hint="check the path of the sealed file")
