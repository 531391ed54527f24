# SPDX-License-Identifier: Apache-2.0
"""Pages: `spec/sealed-model.md`, section Pages."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from undercroft._format.suites import by_number
from undercroft._spec import PAGE_KEY_INFO
from undercroft.errors import FormatError, VerificationError

PAGE_KEY_BYTES = 32


def derive_page_key(*, content_key: bytes, salt: bytes, header: bytes) -> bytes:
    """Return the key of the pages below a header.

    Args:
        content_key: 32 bytes.
        salt: the header's salt.
        header: the COSE_Sign1 as it stands in the file.
    """
    info = PAGE_KEY_INFO.encode() + hashlib.sha256(header).digest()
    kdf = HKDF(algorithm=SHA256(), length=PAGE_KEY_BYTES, salt=salt, info=info)
    return kdf.derive(content_key)


class PageCipher:
    """Encrypts and decrypts pages by their index in the file."""

    def __init__(self, suite: int, page_key: bytes) -> None:
        """Take a cipher suite and a 32-byte page key.

        Raises:
            FormatError: the suite is not supported.
            EnvironmentMissingError: the library that does it is not installed.
        """
        known = by_number(suite)
        if known is None:
            raise FormatError(
                f"cipher suite {suite} is not supported",
                hint="seal the model again with this version",
            )
        self._aead = known.cipher(page_key)

    def encrypt(self, index: int, page: bytes) -> bytes:
        """Return ciphertext and tag of one whole page."""
        return self._aead.encrypt(_nonce(index), page)

    def decrypt(self, index: int, slot: bytes) -> bytes:
        """Return a page's plaintext.

        Raises:
            VerificationError: the page was changed, moved, or is another file's.
        """
        try:
            return self._aead.decrypt(_nonce(index), slot)
        except InvalidTag as error:
            raise VerificationError(
                f"page {index} does not verify",
                hint="get the file again from the provider",
            ) from error


def _nonce(index: int) -> bytes:
    return index.to_bytes(8, "little") + bytes(4)


def cut_pages(
    chunks: Iterable[bytes | bytearray | memoryview], page_bytes: int
) -> Iterator[bytes]:
    """Cut a byte string, given in chunks of any size, into whole pages.

    The last page is filled up with zero bytes; no bytes make no page. Holds one
    page at a time.
    """
    page = bytearray()
    for chunk in chunks:
        rest = memoryview(chunk).cast("B")
        while rest:
            taken = rest[: page_bytes - len(page)]
            page += taken
            rest = rest[len(taken) :]
            if len(page) == page_bytes:
                yield bytes(page)
                page.clear()
    if page:
        yield bytes(page).ljust(page_bytes, b"\0")
