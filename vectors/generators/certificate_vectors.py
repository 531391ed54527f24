# SPDX-License-Identifier: Apache-2.0
"""Device certificates, as a provider reads them."""

from __future__ import annotations

from typing import Any

import cbor2
from generators.base import (
    CRV_ED25519,
    CRV_X25519,
    Fields,
    cose_key,
    ed25519_public,
    vector,
    x25519_public,
)
from generators.evidence_vectors import NONCE, evidence_of
from generators.parts import REMOVED, changed, encoded_map


def entries(changes: dict[int, Any] | None = None) -> dict[int, Any]:
    """Return a good certificate with evidence, with some entries changed."""
    fields = {
        1: 2,
        2: cose_key(CRV_X25519, x25519_public("device")),
        3: "op-tee, release build, 0.1.0",
        4: NONCE,
        5: evidence_of(),
    }
    return changed(fields, changes)


def reading(expect: str, certificate: bytes) -> Fields:
    """Return a vector of kind `certificate`."""
    return {
        "kind": "certificate",
        "expect": expect,
        "certificate": certificate.hex(),
    }


def bad(changes: dict[int, Any]) -> Fields:
    """Return a vector that is refused for its form."""
    return reading("FORMAT", cbor2.dumps(entries(changes)))


OLD = {1: 1, 4: REMOVED, 5: REMOVED}
"""What makes a certificate of version 1 of a good one."""


@vector
def certificate_ok() -> Fields:
    """With evidence, which nobody endorses."""
    return reading("OK", cbor2.dumps(entries()))


@vector
def certificate_ok_of_version_1() -> Fields:
    """Without evidence, as versions before wrote it."""
    return reading("OK", cbor2.dumps(entries(OLD)))


@vector
def certificate_ok_without_info() -> Fields:
    """The text for people is empty."""
    return reading("OK", cbor2.dumps(entries({3: ""})))


@vector
def certificate_with_anothers_key() -> Fields:
    """Well formed, but its key is not the one in its evidence."""
    key = cose_key(CRV_X25519, x25519_public("other_device"))
    return reading("VERIFICATION", cbor2.dumps(entries({2: key})))


@vector
def certificate_with_anothers_nonce() -> Fields:
    """Its evidence answers another challenge."""
    return reading("VERIFICATION", cbor2.dumps(entries({4: bytes(32)})))


@vector
def certificate_with_an_endorsement_that_is_none() -> Fields:
    """The endorsement is no X.509 certificate."""
    return reading("VERIFICATION", cbor2.dumps(entries({6: b"certificate"})))


@vector
def certificate_empty() -> Fields:
    """No bytes at all."""
    return reading("FORMAT", b"")


@vector
def certificate_followed_by_a_byte() -> Fields:
    """A byte after the map."""
    return reading("FORMAT", cbor2.dumps(entries()) + b"\0")


@vector
def certificate_tagged() -> Fields:
    """A tag before the map."""
    return reading("FORMAT", b"\xd2" + cbor2.dumps(entries()))


@vector
def certificate_unsorted() -> Fields:
    """The evidence stands before its nonce."""
    fields = entries()
    order = [1, 2, 3, 5, 4]
    return reading("FORMAT", encoded_map(*((key, fields[key]) for key in order)))


@vector
def certificate_of_version_3() -> Fields:
    """A version to come."""
    return bad({1: 3})


@vector
def certificate_of_version_1_with_evidence() -> Fields:
    """Version 1 has none."""
    return bad({1: 1})


@vector
def certificate_without_key() -> Fields:
    """Nothing that a license could be encrypted to."""
    return bad({2: REMOVED})


@vector
def certificate_of_an_ed25519_key() -> Fields:
    """A key that nothing can be encrypted to."""
    return bad({2: cose_key(CRV_ED25519, ed25519_public("provider"))})


@vector
def certificate_of_a_key_of_31_bytes() -> Fields:
    """A key too short."""
    return bad({2: cose_key(CRV_X25519, x25519_public("device")[:-1])})


@vector
def certificate_with_a_private_key() -> Fields:
    """The COSE_Key has a member that does not belong there."""
    return bad({2: {**cose_key(CRV_X25519, x25519_public("device")), -4: bytes(32)}})


@vector
def certificate_with_info_of_257_bytes() -> Fields:
    """The text for people is too long."""
    return bad({3: "x" * 257})


@vector
def certificate_with_info_as_bytes() -> Fields:
    """The text for people is a byte string."""
    return bad({3: b"info"})


@vector
def certificate_with_a_nonce_of_7_bytes() -> Fields:
    """A challenge too short."""
    return bad({4: bytes(7)})


@vector
def certificate_with_evidence_without_nonce() -> Fields:
    """Evidence that answers nothing."""
    return bad({4: REMOVED})


@vector
def certificate_with_a_nonce_without_evidence() -> Fields:
    """A challenge without an answer."""
    return bad({5: REMOVED})


@vector
def certificate_with_evidence_over_its_limit() -> Fields:
    """Evidence of MAX_EVIDENCE_BYTES and one."""
    return bad({5: bytes(2049)})


@vector
def certificate_with_an_endorsement_without_evidence() -> Fields:
    """Somebody vouches for nothing."""
    return bad({4: REMOVED, 5: REMOVED, 6: b"certificate"})


@vector
def certificate_with_an_endorsement_over_its_limit() -> Fields:
    """An endorsement of 4097 bytes."""
    return bad({6: bytes(4097)})


@vector
def certificate_with_an_unknown_key() -> Fields:
    """A key that this version does not know."""
    return bad({7: 1})
