# SPDX-License-Identifier: Apache-2.0
"""Pages, below the header of `header-ok` and those of the other suites."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from generators.base import Fields, test_key, vector
from generators.parts import PAGE_BYTES, header, page_key
from pyaegis import Aegis128L

PLAINTEXT = bytes(i * 7 & 0xFF for i in range(PAGE_BYTES))


AES_256_GCM, AEGIS_128L, CHACHA20_POLY1305 = 1, 2, 3


def cipher(key: bytes, suite: int) -> Callable[[int, bytes], bytes]:
    """Return what encrypts a page of a number under a suite."""

    def encrypt(number: int, page: bytes) -> bytes:
        nonce = number.to_bytes(8, "little") + bytes(4)
        if suite == AEGIS_128L:
            aegis = Aegis128L(tag_size=16)
            return bytes(aegis.encrypt(key[:16], nonce + bytes(4), page))
        if suite == CHACHA20_POLY1305:
            return ChaCha20Poly1305(key).encrypt(nonce, page, None)
        return AESGCM(key).encrypt(nonce, page, None)

    return encrypt


def slot(index: int, suite: int = AES_256_GCM, below: int | None = None) -> bytes:
    """Return ciphertext and tag of the page.

    Sealed by a suite, below the header of it or of another.
    """
    key = page_key(header({4: suite if below is None else below}))
    return cipher(key, suite)(index, PLAINTEXT)


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


@vector
def page_ok_of_aegis_128l() -> Fields:
    """The last page, sealed with AEGIS-128L."""
    return opening("OK", 3, slot(3, AEGIS_128L), header({4: AEGIS_128L}))


@vector
def page_of_aegis_128l_in_the_place_of_another() -> Fields:
    """Page 2, where page 3 is due, sealed with AEGIS-128L."""
    return opening("NOT_AUTHENTIC", 3, slot(2, AEGIS_128L), header({4: AEGIS_128L}))


@vector
def page_of_aegis_128l_ciphertext_changed() -> Fields:
    """One bit of the ciphertext is another, sealed with AEGIS-128L."""
    good = slot(1, AEGIS_128L)
    changed = good[:-17] + bytes([good[-17] ^ 1]) + good[-16:]
    return opening("NOT_AUTHENTIC", 1, changed, header({4: AEGIS_128L}))


@vector
def page_of_aegis_128l_tag_changed() -> Fields:
    """One bit of the tag is another, sealed with AEGIS-128L."""
    good = slot(1, AEGIS_128L)
    changed = good[:-1] + bytes([good[-1] ^ 0x80])
    return opening("NOT_AUTHENTIC", 1, changed, header({4: AEGIS_128L}))


@vector
def page_of_another_suite_than_aegis_128l() -> Fields:
    """Sealed with AES-256-GCM, below a header that says AEGIS-128L."""
    sealed = slot(0, AES_256_GCM, below=AEGIS_128L)
    return opening("NOT_AUTHENTIC", 0, sealed, header({4: AEGIS_128L}))


@vector
def page_ok_of_chacha20_poly1305() -> Fields:
    """The last page, sealed with ChaCha20-Poly1305."""
    return opening("OK", 3, slot(3, CHACHA20_POLY1305), header({4: CHACHA20_POLY1305}))


@vector
def page_of_chacha20_poly1305_in_the_place_of_another() -> Fields:
    """Page 2, where page 3 is due, sealed with ChaCha20-Poly1305."""
    return opening(
        "NOT_AUTHENTIC", 3, slot(2, CHACHA20_POLY1305), header({4: CHACHA20_POLY1305})
    )


@vector
def page_of_chacha20_poly1305_ciphertext_changed() -> Fields:
    """One bit of the ciphertext is another, sealed with ChaCha20-Poly1305."""
    good = slot(1, CHACHA20_POLY1305)
    changed = good[:-17] + bytes([good[-17] ^ 1]) + good[-16:]
    return opening("NOT_AUTHENTIC", 1, changed, header({4: CHACHA20_POLY1305}))


@vector
def page_of_chacha20_poly1305_tag_changed() -> Fields:
    """One bit of the tag is another, sealed with ChaCha20-Poly1305."""
    good = slot(1, CHACHA20_POLY1305)
    changed = good[:-1] + bytes([good[-1] ^ 0x80])
    return opening("NOT_AUTHENTIC", 1, changed, header({4: CHACHA20_POLY1305}))


@vector
def page_of_another_suite_than_chacha20_poly1305() -> Fields:
    """Sealed with AES-256-GCM, below a header that says ChaCha20-Poly1305."""
    sealed = slot(0, AES_256_GCM, below=CHACHA20_POLY1305)
    return opening("NOT_AUTHENTIC", 0, sealed, header({4: CHACHA20_POLY1305}))
