# SPDX-License-Identifier: Apache-2.0
"""The cipher suites, sealed by the libraries that the tests compare with.

Not by our own code: `cryptography` (OpenSSL) and `pyaegis` (libaegis) are called
here with keys and nonces made as `spec/sealed-model.md` says.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from pyaegis import Aegis128L


@dataclass(frozen=True)
class Suite:
    """What the specification's table says."""

    number: int
    key_bytes: int


SUITES = {
    "aes-256-gcm": Suite(1, 32),
    "aegis-128l": Suite(2, 16),
    "chacha20-poly1305": Suite(3, 32),
}


@dataclass(frozen=True)
class Published:
    """A published vector without additional data; whole blocks of it."""

    key: bytes
    nonce: bytes
    text: bytes
    sealed: bytes
    tag: bytes | None


def _published(
    key: str, nonce: str, text: str, sealed: str, tag: str | None
) -> Published:
    parts = (bytes.fromhex(part) for part in (key, nonce, text, sealed))
    return Published(*parts, tag=bytes.fromhex(tag) if tag else None)


PUBLISHED = {
    # NIST, "The Galois/Counter Mode of Operation (GCM)", test cases 13 to 15.
    "aes-256-gcm": (
        _published("00" * 32, "00" * 12, "", "", "530f8afbc74536b9a963b4f1c4cb738b"),
        _published(
            "00" * 32,
            "00" * 12,
            "00" * 16,
            "cea7403d4d606b6e074ec5d3baf39d18",
            "d0d1c8a799996bf0265b98b5d48ab919",
        ),
        _published(
            "feffe9928665731c6d6a8f9467308308" * 2,
            "cafebabefacedbaddecaf888",
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
            "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255",
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
            "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad",
            "b094dac5d93471bdec1a502270e3cc6c",
        ),
    ),
    # draft-irtf-cfrg-aegis-aead, AEGIS-128L, test vectors 1 and 2. The others
    # have additional data. The nonce there has 16 bytes, of which the last four
    # are zero in these.
    "aegis-128l": (
        _published(
            "10010000000000000000000000000000",
            "100002000000000000000000",
            "00" * 16,
            "c1c0e58bd913006feba00f4b3cc3594e",
            "abe0ece80c24868a226a35d16bdae37a",
        ),
        _published(
            "10010000000000000000000000000000",
            "100002000000000000000000",
            "",
            "",
            "c2b879a67def9d74e6c14f708bbcc9b4",
        ),
    ),
    # RFC 8439, section 2.8.2: the first 112 bytes of the ciphertext, which do not
    # depend on the additional data. Its tag does.
    "chacha20-poly1305": (
        _published(
            "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
            "070000004041424344454647",
            (
                b"Ladies and Gentlemen of the class of '99: If I could offer you "
                b"only one tip for the future, sunscreen would be it."
            )[:112].hex(),
            "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6"
            "3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36"
            "92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc"
            "3ff4def08e4b7a9de576d26586cec64b",
            None,
        ),
    ),
}


def seal(suite: str, key: bytes, nonce: bytes, data: bytes) -> bytes:
    """Return ciphertext and tag; key of 32 bytes, nonce of 12."""
    if suite == "aes-256-gcm":
        return AESGCM(key).encrypt(nonce, data, None)
    if suite == "chacha20-poly1305":
        return ChaCha20Poly1305(key).encrypt(nonce, data, None)
    assert suite == "aegis-128l"
    return bytes(Aegis128L(tag_size=16).encrypt(key[:16], nonce + bytes(4), data))
