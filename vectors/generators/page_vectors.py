# SPDX-License-Identifier: Apache-2.0
"""Pages, below the header of `header-ok`."""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from generators.base import Fields, test_key, vector
from generators.parts import PAGE_BYTES, header, page_key

PLAINTEXT = bytes(i * 7 & 0xFF for i in range(PAGE_BYTES))


def slot(index: int) -> bytes:
    """Return ciphertext and tag of the page."""
    nonce = index.to_bytes(8, "little") + bytes(4)
    return AESGCM(page_key(header())).encrypt(nonce, PLAINTEXT, None)


def opening(
    expect: str, index: int, encrypted: bytes, signed: bytes | None = None
) -> Fields:
    """Return a vector of kind `page`."""
    fields = {
        "kind": "page",
        "expect": expect,
        "content_key": test_key("content").hex(),
        "header": (header() if signed is None else signed).hex(),
        "index": str(index),
        "slot": encrypted.hex(),
    }
    if expect == "OK":
        fields["plaintext_sha256"] = hashlib.sha256(PLAINTEXT).hexdigest()
    return fields


@vector
def page_ok_first() -> Fields:
    """The first page."""
    return opening("OK", 0, slot(0))


@vector
def page_ok_last() -> Fields:
    """The last page."""
    return opening("OK", 3, slot(3))


@vector
def page_in_the_place_of_another() -> Fields:
    """Page 2, where page 3 is due."""
    return opening("NOT_AUTHENTIC", 3, slot(2))


@vector
def page_below_another_header() -> Fields:
    """Sealed below another header, with the same content key and salt."""
    return opening("NOT_AUTHENTIC", 0, slot(0), header({3: 8}))


@vector
def page_ciphertext_changed() -> Fields:
    """One bit of the ciphertext is another."""
    good = slot(1)
    return opening("NOT_AUTHENTIC", 1, bytes([good[0] ^ 1]) + good[1:])


@vector
def page_tag_changed() -> Fields:
    """One bit of the tag is another."""
    good = slot(1)
    return opening("NOT_AUTHENTIC", 1, good[:-1] + bytes([good[-1] ^ 0x80]))
