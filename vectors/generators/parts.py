# SPDX-License-Identifier: Apache-2.0
"""A good header, a good license, a good file, and how to change one thing."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from typing import Any

import cbor2
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from generators.base import (
    CRV_X25519,
    Fields,
    bucket,
    hpke,
    sign,
    test_key,
    thumbprint,
    x25519_public,
)

MODEL_ID = bytes(range(16))
SALT = bytes(range(100, 132))
PAGE_BYTES = 4096
Tensors = list[list[Any]] | None
TOLD = 1_900_000_000
"""The time that updates tell."""
TRUST = {True: "yes", False: "no", None: "provider"}
REMOVED = object()
"""As a changed value: leave the key out."""


def io(inputs: Tensors = None, outputs: Tensors = None) -> dict[int, Any]:
    """Return the inputs and outputs of the model."""
    return {
        1: [["image", 1, [1, 3, 8, 8]]] if inputs is None else inputs,
        2: [["scores", 1, [1, 10]]] if outputs is None else outputs,
    }


def header_fields(changes: dict[int, Any] | None = None) -> dict[int, Any]:
    """Return the payload of the header, with some keys changed."""
    fields = {
        1: 1,
        2: MODEL_ID,
        3: 7,
        4: 1,
        5: PAGE_BYTES,
        6: 1,
        7: 1,
        8: 2,
        9: SALT,
        10: 65536,
        11: cbor2.dumps(io()),
    }
    return changed(fields, changes)


def claims(changes: dict[int, Any] | None = None) -> dict[int, Any]:
    """Return the claims of the license, with some keys changed."""
    fields = {
        7: bytes(range(200, 216)),
        -70001: MODEL_ID,
        -70002: thumbprint(CRV_X25519, x25519_public("device")),
        -70003: cbor2.dumps(hpke(test_key("content"))),
    }
    return changed(fields, changes)


def changed(fields: dict[int, Any], changes: dict[int, Any] | None) -> dict[int, Any]:
    """Return the fields with changes; new keys go where they sort to."""
    merged = {**fields, **(changes or {})}
    kept = {key: value for key, value in merged.items() if value is not REMOVED}
    return dict(sorted(kept.items(), key=lambda entry: cbor2.dumps(entry[0])))


def critical_bucket() -> bytes:
    """Return a bucket with a parameter that nobody knows, marked as critical."""
    full = bucket()
    return cbor2.dumps({1: full[1], 2: [99], 4: full[4], 14: full[14], 24: 0})


def encoded_map(*entries: tuple[int, Any]) -> bytes:
    """Return the encoding of a map of up to 23 entries, in the order given."""
    parts = [cbor2.dumps(key) + cbor2.dumps(value) for key, value in entries]
    return bytes([0xA0 + len(parts)]) + b"".join(parts)


def header(
    changes: dict[int, Any] | None = None,
    *,
    provider: str = "provider",
    protected: bytes | None = None,
) -> bytes:
    """Return a signed header."""
    payload = cbor2.dumps(header_fields(changes))
    return cbor2.dumps(sign(payload, provider=provider, protected=protected))


def license_of(
    changes: dict[int, Any] | None = None,
    *,
    provider: str = "provider",
    protected: bytes | None = None,
) -> bytes:
    """Return a signed license."""
    payload = cbor2.dumps(claims(changes))
    return cbor2.dumps(sign(payload, provider=provider, protected=protected))


def wrapped(changes: dict[int, Any]) -> bytes:
    """Return a signed license whose COSE_Encrypt0 has some members changed."""
    members = hpke(test_key("content"))
    for index, value in changes.items():
        members[index] = value
    return license_of({-70003: cbor2.dumps(members)})


def page_key(signed: bytes, salt: bytes = SALT) -> bytes:
    """Return the key of the pages below a header."""
    info = b"undercroft page key v1" + hashlib.sha256(signed).digest()
    return HKDF(SHA256(), 32, salt, info).derive(test_key("content"))


def opening(
    expect: str,
    *,
    signed: bytes | None = None,
    permit: bytes | None = None,
    trusted: bool | None = True,
    updates: Sequence[bytes] = (),
    inferences: int = 0,
) -> Fields:
    """Return a vector of kind `open`."""
    signed = header() if signed is None else signed
    permit = license_of() if permit is None else permit
    fields = {
        "kind": "open",
        "expect": expect,
        "device": test_key("device").hex(),
        "trusted": TRUST[trusted],
        "header": signed.hex(),
        "license": permit.hex(),
    }
    if updates:
        fields["updates"] = " ".join(item.hex() for item in updates)
    if inferences:
        fields["inferences"] = str(inferences)
    if expect == "OK":
        fields["page_key"] = page_key(signed).hex()
    return fields


def update_of(
    changes: dict[int, Any] | None = None,
    *,
    provider: str = "provider",
    protected: bytes | None = None,
) -> bytes:
    """Return a signed time token, with claims changed or added."""
    payload = cbor2.dumps(changed({6: TOLD}, changes))
    return cbor2.dumps(sign(payload, provider=provider, protected=protected))


def updating(
    expect: str,
    update: bytes,
    *,
    trusted: bool | None = True,
    updates: Sequence[bytes] = (),
) -> Fields:
    """Return a vector of kind `update`."""
    fields = {
        "kind": "update",
        "expect": expect,
        "device": test_key("device").hex(),
        "trusted": TRUST[trusted],
        "update": update.hex(),
    }
    if updates:
        fields["updates"] = " ".join(item.hex() for item in updates)
    return fields


def bad_header(signed: bytes) -> Fields:
    """Return a vector whose header is refused."""
    return opening("BAD_HEADER", signed=signed)


def bad_license(permit: bytes) -> Fields:
    """Return a vector whose license is refused."""
    return opening("BAD_LICENSE", permit=permit)


def reading(
    expect: str,
    *,
    signed: bytes | None = None,
    magic: bytes = b"UCSEALED",
    version: int = 1,
    reserved: int = 0,
    header_bytes: int | None = None,
    start: bytes | None = None,
    pages_bytes: int = 4 * (PAGE_BYTES + 16),
) -> Fields:
    """Return a vector of kind `file`."""
    signed = header() if signed is None else signed
    length = len(signed) if header_bytes is None else header_bytes
    prefix = magic + struct.pack("<HHI", version, reserved, length)
    return {
        "kind": "file",
        "expect": expect,
        "start": (prefix + signed if start is None else start).hex(),
        "pages_bytes": str(pages_bytes),
    }
