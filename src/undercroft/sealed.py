# SPDX-License-Identifier: Apache-2.0
"""Sealed files, read without any secret.

::

    with SealedModel.open("model.sealed") as sealed:
        print(sealed.inputs, sealed.header.budget_bytes)
        print(sealed.inspect())

An existing `SealedModel` is well formed, has exactly the length that its header
says, and its header is signed by the key that it names (unless `verify=False`).
Its pages are ciphertext; only a device with a license can verify them.
"""

from __future__ import annotations

import hmac
import os
import struct
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from undercroft._format.cose import (
    CRV_ED25519,
    SignedMessage,
    key_thumbprint,
    show_extensions,
)
from undercroft._format.files import read_error
from undercroft._format.header import SealedHeader
from undercroft._format.suites import suite_title
from undercroft._spec import (
    FORMAT_VERSION,
    MAX_HEADER_BYTES,
    PREFIX_BYTES,
    SEALED_MAGIC,
)
from undercroft.errors import FormatError, VerificationError
from undercroft.tensor import TensorInfo

if TYPE_CHECKING:
    from undercroft.keys import ProviderPublicKey

__all__ = ["SealedModel"]

PREFIX: Final = struct.Struct("<8sHHI")
_AGAIN: Final = "get the file again from the provider"
_Reader = Callable[[int, int], bytes]


class SealedModel:
    """A sealed model: its header, and its pages as ciphertext.

    Attributes:
        header: what the header says.
        header_bytes: the header as it stands in the file, a COSE_Sign1.
        message: that COSE_Sign1, taken apart.
    """

    def __init__(
        self,
        read: _Reader,
        file_bytes: int,
        *,
        name: str,
        verify: bool,
        provider: ProviderPublicKey | None,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        """Use `open` or `from_bytes`."""
        self._read = read
        self._name = name
        self._close = close
        # 1. Magic, version, reserved, length of the header.
        length = _parse_prefix(read(0, PREFIX_BYTES), file_bytes, name)
        # 2. The header's CBOR, and 3. its limits.
        self.header_bytes: Final = read(PREFIX_BYTES, length)
        self.message: Final = SignedMessage.parse(
            self.header_bytes, f"the header of {name}"
        )
        self.header: Final = SealedHeader.parse(self.message.payload)
        # 4. The file's length.
        self.file_bytes: Final = file_bytes
        self.pages_offset: Final = PREFIX_BYTES + length
        needed = self.pages_offset + self.header.page_count * self.header.slot_bytes
        if file_bytes != needed:
            state = "truncated" if file_bytes < needed else "longer than it says"
            raise FormatError(
                f"{name} is {state}: it has {file_bytes} bytes and its header asks "
                f"for {needed}",
                hint=_AGAIN,
            )
        # 5. The signature. Pages are the device's business.
        if verify or provider is not None:
            self.verify(provider)

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        verify: bool = True,
        provider: ProviderPublicKey | None = None,
    ) -> Self:
        """Open a file; pages are read from it when they are asked for.

        Args:
            path: the sealed file.
            verify: whether to verify the signature. Without, nothing that the
                file says is authentic; the secure world verifies it again in any
                case, so its normal world need not (and has no cryptography).
            provider: the key that must have signed it; any key without.

        Raises:
            FileAccessError: missing or unreadable.
            FormatError: not a sealed file, truncated, extended or over a limit.
            VerificationError: the signature does not verify, or is another's.
        """
        path = Path(path)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise read_error(path, error) from error

        def read(offset: int, length: int) -> bytes:
            return _pread(descriptor, offset, length, path)

        try:
            return cls(
                read,
                os.fstat(descriptor).st_size,
                name=path.name,
                verify=verify,
                provider=provider,
                close=lambda: os.close(descriptor),
            )
        except OSError as error:
            os.close(descriptor)
            raise read_error(path, error) from error
        except BaseException:
            os.close(descriptor)
            raise

    @classmethod
    def from_bytes(
        cls,
        data: bytes | bytearray | memoryview,
        *,
        verify: bool = True,
        provider: ProviderPublicKey | None = None,
    ) -> Self:
        """Take a whole file from memory; see `open`."""
        view = memoryview(data).cast("B")

        def read(offset: int, length: int) -> bytes:
            return bytes(view[offset : offset + length])

        return cls(
            read,
            len(view),
            name="the sealed model",
            verify=verify,
            provider=provider,
        )

    def close(self) -> None:
        """Close the file. Idempotent."""
        close, self._close = self._close, lambda: None
        close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """Names, shapes and types of the inputs."""
        return self.header.inputs

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """Names, shapes and types of the outputs."""
        return self.header.outputs

    @property
    def provider_key(self) -> bytes:
        """The raw Ed25519 key that the header names, 32 bytes."""
        return self.message.provider_key

    def verify(self, provider: ProviderPublicKey | None = None) -> None:
        """Verify the header's signature.

        Args:
            provider: the key that must have signed it; any key without.

        Raises:
            VerificationError: it does not verify, or another provider signed.
        """
        if provider is not None and not hmac.compare_digest(
            provider.raw, self.provider_key
        ):
            raise VerificationError(
                f"{self._name} is signed by another provider",
                hint="check that file and provider's public key belong together",
            )
        self.message.verify(f"the header of {self._name}")

    def page(self, index: int) -> bytes:
        """Return ciphertext and tag of a page, as the device takes it.

        Raises:
            FormatError: there is no such page, or the file was cut short since.
        """
        header = self.header
        if not 0 <= index < header.page_count:
            raise FormatError(
                f"{self._name} has pages 0 to {header.page_count - 1}, not {index}"
            )
        slot = self._read(
            self.pages_offset + index * header.slot_bytes, header.slot_bytes
        )
        if len(slot) != header.slot_bytes:
            raise FormatError(f"{self._name} was cut short", hint=_AGAIN)
        return slot

    def inspect(self) -> dict[str, Any]:
        """Return what anybody can learn from the file, ready for JSON."""
        header = self.header
        return {
            "format_version": FORMAT_VERSION,
            "model_id": header.model_id.hex(),
            "model_version": header.model_version,
            "provider_key_id": key_thumbprint(CRV_ED25519, self.provider_key).hex(),
            "suite": suite_title(header.suite),
            "page_bytes": header.page_bytes,
            "program_pages": header.program_pages,
            "resident_pages": header.resident_pages,
            "streamed_pages": header.streamed_pages,
            "budget_bytes": header.budget_bytes,
            "file_bytes": self.file_bytes,
            "inputs": [asdict(tensor) for tensor in header.inputs],
            "outputs": [asdict(tensor) for tensor in header.outputs],
            "extensions": show_extensions(header.extensions),
        }


def _parse_prefix(prefix: bytes, file_bytes: int, name: str) -> int:
    """Check the first 16 bytes and return the length of the header."""
    if not prefix.startswith(SEALED_MAGIC.encode()):
        raise FormatError(
            f"{name} is not a sealed model",
            hint="`undercroft seal` makes one from an ONNX file",
        )
    if len(prefix) < PREFIX_BYTES:
        raise FormatError(f"{name} is truncated in its first bytes", hint=_AGAIN)
    _, version, reserved, length = PREFIX.unpack(prefix)
    if version != FORMAT_VERSION:
        raise FormatError(
            f"{name} has format version {version}; this software reads version "
            f"{FORMAT_VERSION}",
            hint="seal the model again with this version, or update this software",
        )
    if reserved != 0:
        raise FormatError(f"{name} has reserved bits set", hint=_AGAIN)
    if not 1 <= length <= MAX_HEADER_BYTES:
        raise FormatError(
            f"{name} has a header of {length} bytes, not 1 to {MAX_HEADER_BYTES}",
            hint=_AGAIN,
        )
    if length > file_bytes - PREFIX_BYTES:
        raise FormatError(f"{name} is truncated in its header", hint=_AGAIN)
    return int(length)


def _pread(descriptor: int, offset: int, length: int, path: Path) -> bytes:
    parts = []
    try:
        while length > 0:
            part = os.pread(descriptor, length, offset)
            if not part:
                break
            parts.append(part)
            offset += len(part)
            length -= len(part)
    except OSError as error:
        raise read_error(path, error) from error
    return b"".join(parts)
