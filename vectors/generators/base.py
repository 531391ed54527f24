# SPDX-License-Identifier: Apache-2.0
"""What all vectors are made of: fixed keys, and parts that can be made wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey,
    X25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pyhpke import AEADId, CipherSuite, KDFId, KEMId, KEMKey, KEMKeyPair

KEYS = Path(__file__).resolve().parents[2] / "tests" / "keys"
CRV_X25519, CRV_ED25519 = 4, 6
HPKE_3 = 41

Fields = dict[str, str]
_BUILDERS: dict[str, Callable[[], Fields]] = {}


@dataclass(frozen=True)
class Vector:
    """One vector: its name and its lines."""

    name: str
    fields: Fields

    def text(self) -> str:
        """The file's content."""
        return "".join(f"{name}: {value}\n" for name, value in self.fields.items())


def vector(builder: Callable[[], Fields]) -> Callable[[], Fields]:
    """Register a function: its name is the vector's, its docstring what it tests."""
    name = builder.__name__.replace("_", "-")
    if name in _BUILDERS:
        raise ValueError(f"two vectors are named {name}")
    _BUILDERS[name] = builder
    return builder


def all_vectors() -> list[Vector]:
    """Build every registered vector."""
    made = []
    for name, builder in sorted(_BUILDERS.items()):
        about = " ".join((builder.__doc__ or "").split())
        if not about:
            raise ValueError(f"{name} does not say what it is about")
        fields = builder()
        made.append(
            Vector(name, {"kind": fields.pop("kind"), "about": about, **fields})
        )
    return made


def test_key(name: str) -> bytes:
    """Read a 32-byte test key."""
    return bytes.fromhex((KEYS / f"{name}.hex").read_text().split()[0])


def ed25519(name: str) -> Ed25519PrivateKey:
    """Return a provider's signing key."""
    return Ed25519PrivateKey.from_private_bytes(test_key(name))


def ed25519_public(name: str) -> bytes:
    """Return a provider's raw public key."""
    return ed25519(name).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def x25519_public(name: str) -> bytes:
    """Return a device's raw public key."""
    key = X25519PrivateKey.from_private_bytes(test_key(name)).public_key()
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def cose_key(crv: int, public: bytes) -> dict[int, Any]:
    """Return a COSE_Key."""
    return {1: 1, -1: crv, -2: public}


def thumbprint(crv: int, public: bytes) -> bytes:
    """Return a COSE Key Thumbprint (RFC 9679)."""
    return hashlib.sha256(cbor2.dumps(cose_key(crv, public))).digest()


def bucket(
    provider: str = "provider",
    *,
    alg: int = -8,
    kid: bytes | None = None,
    key: dict[int, Any] | None = None,
) -> dict[int, Any]:
    """Return a provider's protected bucket."""
    public = ed25519_public(provider)
    return {
        1: alg,
        4: thumbprint(CRV_ED25519, public) if kid is None else kid,
        14: {8: {1: cose_key(CRV_ED25519, public) if key is None else key}},
    }


def sign(
    payload: bytes,
    *,
    provider: str = "provider",
    protected: bytes | None = None,
) -> list[Any]:
    """Return the four members of a COSE_Sign1."""
    protected = cbor2.dumps(bucket(provider)) if protected is None else protected
    to_be_signed = cbor2.dumps(["Signature1", protected, b"", payload])
    return [protected, {}, payload, ed25519(provider).sign(to_be_signed)]


def hpke(
    plaintext: bytes,
    *,
    device: str = "device",
    info: bytes = b"",
    external_aad: bytes = b"",
    protected: bytes | None = None,
) -> list[Any]:
    """Return the three members of a COSE_Encrypt0 with HPKE-3, not randomised."""
    protected = cbor2.dumps({1: HPKE_3}) if protected is None else protected
    sender = X25519PrivateKey.from_private_bytes(test_key("ephemeral"))
    suite = CipherSuite.new(
        KEMId.DHKEM_X25519_HKDF_SHA256, KDFId.HKDF_SHA256, AEADId.AES128_GCM
    )
    recipient = X25519PublicKey.from_public_bytes(x25519_public(device))
    enc, context = suite.create_sender_context(
        KEMKey.from_pyca_cryptography_key(recipient),
        info=info,
        eks=KEMKeyPair(
            KEMKey.from_pyca_cryptography_key(sender),
            KEMKey.from_pyca_cryptography_key(sender.public_key()),
        ),
    )
    aad = cbor2.dumps(["Encrypt0", protected, external_aad])
    return [protected, {-4: enc}, context.seal(plaintext, aad=aad)]
