# SPDX-License-Identifier: Apache-2.0
"""A sealed file as the normal world of a device sees it: opaque pages.

The device's normal world is not trusted, so no signature is verified here: the
secure side does that. The board's guest has no cryptography to do it with.
"""

from __future__ import annotations

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
    """Reads pages straight into memory that somebody else gives."""

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
        room = into[: count * header.slot_bytes]
        offset = self._parcel.pages_offset + first * header.slot_bytes
        done = 0
        try:
            while done < len(room):
                got = os.preadv(self._descriptor, [room[done:]], offset + done)
                if got == 0:
                    raise FormatError(
                        f"{self._parcel.path.name} became shorter while in use",
                        hint="get the file again from the provider",
                    )
                done += got
        except OSError as error:
            raise _unreadable(self._parcel.path, error) from error
        return done

    def close(self) -> None:
        """Close the file. Idempotent."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
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


def _unreadable(path: Path, error: OSError) -> FileAccessError:
    return FileAccessError(
        f"{path}: {error.strerror}", hint="check the path of the sealed file"
    )
