# SPDX-License-Identifier: Apache-2.0
"""Cipher suites: `spec/sealed-model.md`, section Cipher suites."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from undercroft._spec import (
    PAGE_TAG_BYTES,
    SUITE_AEGIS_128L,
    SUITE_AES_256_GCM,
    SUITE_CHACHA20_POLY1305,
)
from undercroft.errors import EnvironmentMissingError, PlanError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

__all__ = [
    "DEFAULT_SUITE",
    "SUITES",
    "Aead",
    "Suite",
    "by_number",
    "suite_number",
    "suite_title",
]


class Aead(Protocol):
    """A cipher with its key; no additional data."""

    def encrypt(self, nonce: bytes, data: bytes) -> bytes:
        """Return ciphertext and tag; `nonce` has 12 bytes."""

    def decrypt(self, nonce: bytes, data: bytes) -> bytes:
        """Return the plaintext; raises `cryptography`'s `InvalidTag`."""


def _aes_256_gcm(page_key: bytes) -> Aead:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return _OfCryptography(AESGCM(page_key))


def _chacha20_poly1305(page_key: bytes) -> Aead:
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    return _OfCryptography(ChaCha20Poly1305(page_key))


class _OfCryptography:
    def __init__(self, cipher: AESGCM | ChaCha20Poly1305) -> None:
        self._cipher = cipher

    def encrypt(self, nonce: bytes, data: bytes) -> bytes:
        return self._cipher.encrypt(nonce, data, None)

    def decrypt(self, nonce: bytes, data: bytes) -> bytes:
        return self._cipher.decrypt(nonce, data, None)


class _Aegis128L:
    def __init__(self, page_key: bytes) -> None:
        try:
            from pyaegis import Aegis128L, DecryptionError
        except ImportError as error:
            raise EnvironmentMissingError(
                "pyaegis, which does AEGIS-128L, is not installed",
                hint="pip install 'undercroft[aegis]'",
            ) from error
        self._cipher = Aegis128L(tag_size=PAGE_TAG_BYTES)
        self._refused = DecryptionError
        self._key = page_key[: Aegis128L.KEY_SIZE]
        self._nonce_bytes = Aegis128L.NONCE_SIZE

    def encrypt(self, nonce: bytes, data: bytes) -> bytes:
        return self._cipher.encrypt(
            self._key, nonce.ljust(self._nonce_bytes, b"\0"), data
        )

    def decrypt(self, nonce: bytes, data: bytes) -> bytes:
        from cryptography.exceptions import InvalidTag

        wide = nonce.ljust(self._nonce_bytes, b"\0")
        try:
            # It gives a bytearray.
            return bytes(self._cipher.decrypt(self._key, wide, data))
        except self._refused as error:
            raise InvalidTag from error


@dataclass(frozen=True, slots=True)
class Suite:
    """A cipher suite.

    Attributes:
        number: one of `SUITE_*`, as the header has it.
        name: as options and arguments have it.
        title: for people.
        cipher: makes the cipher from a 32-byte page key.
    """

    number: int
    name: str
    title: str
    cipher: Callable[[bytes], Aead]


SUITES: Final = {
    suite.name: suite
    for suite in (
        Suite(SUITE_AES_256_GCM, "aes-256-gcm", "AES-256-GCM", _aes_256_gcm),
        Suite(SUITE_AEGIS_128L, "aegis-128l", "AEGIS-128L", _Aegis128L),
        Suite(
            SUITE_CHACHA20_POLY1305,
            "chacha20-poly1305",
            "ChaCha20-Poly1305",
            _chacha20_poly1305,
        ),
    )
}
"""All of them, by name."""

DEFAULT_SUITE: Final = "aes-256-gcm"

_BY_NUMBER: Final = {suite.number: suite for suite in SUITES.values()}


def by_number(number: int) -> Suite | None:
    """Return the suite that a header's number means, or None."""
    return _BY_NUMBER.get(number)


def suite_title(number: int) -> str:
    """Return what people call a suite of a valid header."""
    return _BY_NUMBER[number].title


def suite_number(name: str) -> int:
    """Return the number of a suite's name.

    Raises:
        PlanError: there is none of this name.
    """
    if name not in SUITES:
        raise PlanError(
            f"there is no cipher suite {name!r}", hint=f"one of {', '.join(SUITES)}"
        )
    return SUITES[name].number
