# SPDX-License-Identifier: Apache-2.0
"""Evidence, as a verifier takes it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from generators.base import (
    CRV_ED25519,
    CRV_X25519,
    Fields,
    bucket,
    cose_key,
    ed25519,
    ed25519_public,
    sign,
    thumbprint,
    vector,
    x25519_public,
)
from generators.parts import REMOVED, changed, critical_bucket

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


MADE = datetime(2030, 1, 1, tzinfo=UTC)
LATER = MADE + timedelta(days=1)


def certificate(
    subject: dict[x509.ObjectIdentifier, str],
    *,
    key: str,
    issuer: str = "ACME Devices",
    issuer_key: str = "other_provider",
    authority: bool = False,
    days: int = 3650,
) -> x509.Certificate:
    """Return an X.509 certificate of a test key: the same bytes each time."""
    names = [x509.NameAttribute(oid, value) for oid, value in subject.items()]
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(names))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(ed25519(key).public_key())
        .serial_number(1)
        .not_valid_before(MADE)
        .not_valid_after(MADE + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), True)
    )
    return builder.sign(ed25519(issuer_key), None)


def manufacturer(**changes: Any) -> x509.Certificate:  # noqa: ANN401 as certificate() has it
    """Return the certificate of a manufacturer, by itself."""
    options = {"key": "other_provider", "authority": True, **changes}
    return certificate({NameOID.COMMON_NAME: "ACME Devices"}, **options)


def endorsement(device: bytes = DEVICE, **changes: Any) -> x509.Certificate:  # noqa: ANN401 as certificate() has it
    """Return the manufacturer's certificate for the device."""
    options = {"key": "provider", **changes}
    return certificate({NameOID.SERIAL_NUMBER: device.hex()}, **options)


def vouched(
    expect: str,
    by: x509.Certificate,
    *,
    believed: x509.Certificate | None = None,
    now: datetime = LATER,
) -> Fields:
    """Return a vector with an endorsement, and who is believed."""
    return {
        **judged(expect, evidence_of()),
        "endorsement": by.public_bytes(Encoding.DER).hex(),
        "manufacturer": (believed or manufacturer()).public_bytes(Encoding.DER).hex(),
        "now": now.isoformat(),
        "policy": "endorsed",
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
def evidence_ok_endorsed() -> Fields:
    """The manufacturer vouches for the attestation key."""
    return vouched("OK", endorsement())


@vector
def evidence_endorsed_by_another_manufacturer() -> Fields:
    """An endorsement by a manufacturer of the same name with another key."""
    return vouched("VERIFICATION", endorsement(issuer_key="provider"))


@vector
def evidence_endorsement_ended() -> Fields:
    """The endorsement is no longer valid."""
    return vouched("VERIFICATION", endorsement(days=1), now=MADE + timedelta(days=2))


@vector
def evidence_endorsement_not_begun() -> Fields:
    """The endorsement is not valid yet."""
    return vouched("VERIFICATION", endorsement(), now=MADE - timedelta(seconds=1))


@vector
def evidence_endorsed_by_an_ended_manufacturer() -> Fields:
    """The manufacturer's own certificate is no longer valid."""
    ended = manufacturer(days=1)
    return vouched(
        "VERIFICATION", endorsement(), believed=ended, now=MADE + timedelta(days=2)
    )


@vector
def evidence_endorsed_by_no_authority() -> Fields:
    """The one who vouches is not allowed to."""
    return vouched(
        "VERIFICATION", endorsement(), believed=manufacturer(authority=False)
    )


@vector
def evidence_endorsement_of_an_authority() -> Fields:
    """The device's certificate would let it vouch for others."""
    return vouched("VERIFICATION", endorsement(authority=True))


@vector
def evidence_endorsement_of_another_key() -> Fields:
    """The endorsement is for another attestation key."""
    return vouched("VERIFICATION", endorsement(key="other_provider"))


@vector
def evidence_endorsement_of_another_device() -> Fields:
    """The endorsement is for this key and another device id."""
    return vouched("VERIFICATION", endorsement(bytes(32)))


@vector
def evidence_not_endorsed() -> Fields:
    """The policy asks for an endorsement, and there is none."""
    return {**judged("POLICY 6", evidence_of()), "policy": "endorsed"}


@vector
def evidence_not_endorsed_before_development() -> Fields:
    """Neither endorsed nor a release build: the endorsement is judged first."""
    return {**judged("POLICY 6", evidence_of({263: 0})), "policy": "endorsed"}


@vector
def evidence_ok_of_an_expected_build() -> Fields:
    """The build is the one that is expected."""
    policy = f"build={bytes(range(32)).hex()}"
    return {**judged("OK", evidence_of()), "policy": policy}


@vector
def evidence_of_another_build() -> Fields:
    """The build is none of those that are expected."""
    return {**judged("POLICY 9", evidence_of()), "policy": f"build={bytes(32).hex()}"}


@vector
def evidence_ok_of_enough_memory() -> Fields:
    """As much secure memory as the policy asks for."""
    return {**judged("OK", evidence_of()), "policy": f"memory={12 << 20}"}


@vector
def evidence_of_too_little_memory() -> Fields:
    """A byte less secure memory than the policy asks for."""
    return {
        **judged("POLICY 10", evidence_of()),
        "policy": f"memory={(12 << 20) + 1}",
    }


@vector
def evidence_build_before_memory() -> Fields:
    """Another build and too little memory: the build is judged first."""
    policy = f"build={bytes(32).hex()} memory={(12 << 20) + 1}"
    return {**judged("POLICY 9", evidence_of()), "policy": policy}


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


@vector
def evidence_with_a_critical_parameter() -> Fields:
    """The protected bucket has a parameter that nobody knows, marked as critical."""
    return bad(evidence_of(protected=critical_bucket()))
