# SPDX-License-Identifier: Apache-2.0
"""Evidence, as a verifier takes it."""

from __future__ import annotations

from typing import Any

import cbor2
from generators.base import (
    CRV_ED25519,
    CRV_X25519,
    Fields,
    bucket,
    cose_key,
    ed25519_public,
    sign,
    thumbprint,
    vector,
    x25519_public,
)
from generators.parts import REMOVED, changed

NONCE = bytes(range(50, 82))
DEVICE = thumbprint(CRV_X25519, x25519_public("device"))
OTHER = x25519_public("other_device")


def claims(changes: dict[int, Any] | None = None) -> dict[int, Any]:
    """Return what a good device says, with some claims changed."""
    fields = {
        8: {1: cose_key(CRV_X25519, x25519_public("device"))},
        10: NONCE,
        256: b"\x01" + DEVICE,
        263: 1,
        265: "tag:undercroft,2026:evidence-1",
        270: "undercroft",
        271: ["0.1.0"],
        2395: 0x3000,
        -70020: bytes(range(32)),
        -70021: 2,
        -70022: 12 << 20,
    }
    return changed(fields, changes)


def evidence_of(changes: dict[int, Any] | None = None, **others: Any) -> bytes:  # noqa: ANN401 as sign() has it
    """Return signed evidence; the attestation key is a test provider's."""
    return cbor2.dumps(sign(cbor2.dumps(claims(changes)), **others))


def judged(expect: str, evidence: bytes, nonce: bytes = NONCE) -> Fields:
    """Return a vector of kind `evidence`."""
    return {
        "kind": "evidence",
        "expect": expect,
        "nonce": nonce.hex(),
        "evidence": evidence.hex(),
    }


def bad(changes: dict[int, Any] | bytes) -> Fields:
    """Return a vector that fails check 1."""
    data = changes if isinstance(changes, bytes) else evidence_of(changes)
    return judged("FORMAT", data)


@vector
def evidence_ok() -> Fields:
    """A release build on a device with a hardware key."""
    return judged("OK", evidence_of())


@vector
def evidence_ok_measured() -> Fields:
    """With a measurement by OP-TEE."""
    return judged("OK", evidence_of({-70023: bytes(32 + 384)}))


@vector
def evidence_ok_debug_disabled_permanently() -> Fields:
    """dbgstat at its largest."""
    return judged("OK", evidence_of({263: 4}))


@vector
def evidence_of_another_challenge() -> Fields:
    """It answers a challenge that was sent before."""
    return judged("VERIFICATION", evidence_of(), bytes(32))


@vector
def evidence_signature_changed() -> Fields:
    """One bit of the signature is another."""
    good = evidence_of()
    return judged("VERIFICATION", good[:-1] + bytes([good[-1] ^ 1]))


@vector
def evidence_key_id_of_another_key() -> Fields:
    """The kid is another key's."""
    other = thumbprint(CRV_ED25519, ed25519_public("other_provider"))
    protected = cbor2.dumps(bucket(kid=other))
    return judged("VERIFICATION", evidence_of(protected=protected))


@vector
def evidence_signed_by_another_key_than_it_names() -> Fields:
    """Names one attestation key, signed by another."""
    protected = cbor2.dumps(bucket("provider"))
    return judged(
        "VERIFICATION", evidence_of(provider="other_provider", protected=protected)
    )


@vector
def evidence_with_a_key_put_in() -> Fields:
    """cnf is another device's key, the device id is not."""
    return judged("VERIFICATION", evidence_of({8: {1: cose_key(CRV_X25519, OTHER)}}))


@vector
def evidence_of_a_development_build() -> Fields:
    """dbgstat says that debugging is enabled."""
    return judged("POLICY 7", evidence_of({263: 0, 2395: 0x1000}))


@vector
def evidence_of_a_test_lifecycle() -> Fields:
    """Debugging is disabled, and the lifecycle is test."""
    return judged("POLICY 7", evidence_of({2395: 0x1000}))


@vector
def evidence_without_hardware_key() -> Fields:
    """OP-TEE has no hardware key."""
    return judged("POLICY 8", evidence_of({-70021: 1, 2395: 0}))


@vector
def evidence_of_an_unknown_hardware_key() -> Fields:
    """Nobody said whether there is one."""
    return judged("POLICY 8", evidence_of({-70021: 0, 2395: 0}))


@vector
def evidence_development_before_hardware_key() -> Fields:
    """Neither is as it should be: the build is judged first."""
    return judged("POLICY 7", evidence_of({263: 0, -70021: 1}))


@vector
def evidence_challenge_before_signature() -> Fields:
    """Another challenge and a wrong signature fail alike."""
    return judged("VERIFICATION", evidence_of()[:-1] + b"\0", bytes(32))


@vector
def evidence_empty() -> Fields:
    """No bytes at all."""
    return bad(b"")


@vector
def evidence_over_its_limit() -> Fields:
    """Followed by so many zero bytes that it is over MAX_EVIDENCE_BYTES."""
    return bad(evidence_of().ljust(2049, b"\0"))


@vector
def evidence_tagged() -> Fields:
    """A COSE_Sign1 with its tag."""
    return bad(b"\xd2" + evidence_of())


@vector
def evidence_of_another_profile() -> Fields:
    """A profile to come."""
    return bad({265: "tag:undercroft,2026:evidence-2"})


@vector
def evidence_without_nonce() -> Fields:
    """No eat_nonce."""
    return bad({10: REMOVED})


@vector
def evidence_nonce_of_7_bytes() -> Fields:
    """A challenge too short."""
    return bad({10: bytes(7)})


@vector
def evidence_with_two_nonces() -> Fields:
    """An array of challenges, which RFC 9711 allows and this profile does not."""
    return bad({10: [NONCE, NONCE]})


@vector
def evidence_ueid_of_another_type() -> Fields:
    """A ueid of type EUI."""
    return bad({256: b"\x02" + DEVICE})


@vector
def evidence_ueid_of_32_bytes() -> Fields:
    """A ueid without its type."""
    return bad({256: DEVICE})


@vector
def evidence_with_an_unknown_claim() -> Fields:
    """A claim that this version does not know."""
    return bad({-70024: 1})


@vector
def evidence_key_of_ed25519() -> Fields:
    """cnf is a key that nothing can be encrypted to."""
    return bad({8: {1: cose_key(CRV_ED25519, ed25519_public("provider"))}})


@vector
def evidence_dbgstat_5() -> Fields:
    """A debug status that there is not."""
    return bad({263: 5})


@vector
def evidence_hardware_key_3() -> Fields:
    """A state of the hardware key that there is not."""
    return bad({-70021: 3})


@vector
def evidence_measurement_too_short() -> Fields:
    """A digest without a signature."""
    return bad({-70023: bytes(32)})


@vector
def evidence_version_with_a_scheme() -> Fields:
    """swversion with its optional second member."""
    return bad({271: ["0.1.0", 1]})
