# SPDX-License-Identifier: Apache-2.0
"""Evidence of a device, and whether it is good enough.

::

    nonce = new_nonce()
    evidence = device.attest(nonce)                     # in the secure world
    facts = verify_evidence(
        evidence, nonce=nonce, endorsement=certificate, manufacturers=[ca]
    )
    print(facts.device_id.hex(), facts.build)

`verify_evidence` is a pure function: it reads no clock unless it is told none, no
file and no network, and raises for the first check of `spec/license.md` that fails.
Policies are objects; the default one refuses whatever does not protect a model.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509.oid import NameOID

from undercroft._format import cbor, cose
from undercroft._spec import (
    EVIDENCE_PROFILE,
    HARDWARE_KEY_NONE,
    HARDWARE_KEY_UNIQUE,
    HARDWARE_KEY_UNKNOWN,
    MAX_EVIDENCE_BYTES,
    MAX_NONCE_BYTES,
    MIN_NONCE_BYTES,
)
from undercroft.errors import AttestationError, FormatError, VerificationError
from undercroft.keys import DevicePublicKey

__all__ = [
    "DEFAULT_POLICY",
    "DEVELOPMENT_POLICY",
    "Evidence",
    "Policy",
    "new_nonce",
    "verify_evidence",
]

_WHAT: Final = "the evidence"
_CNF, _NONCE, _UEID, _DBGSTAT, _PROFILE = 8, 10, 256, 263, 265
_SWNAME, _SWVERSION, _LIFECYCLE = 270, 271, 2395
_BUILD_ID, _HARDWARE_KEY, _SECURE_MEMORY, _MEASUREMENT = -70020, -70021, -70022, -70023
_NEEDED: Final = (
    _CNF, _NONCE, _UEID, _DBGSTAT, _PROFILE, _SWNAME, _SWVERSION, _LIFECYCLE,
    _BUILD_ID, _HARDWARE_KEY, _SECURE_MEMORY,
)  # fmt: skip
_UEID_RAND: Final = b"\x01"
_LIFECYCLE_TEST: Final = 0x1000
_LIFECYCLES: Final = {0: "unknown", _LIFECYCLE_TEST: "test", 0x3000: "secured"}
_HARDWARE_KEYS: Final = {
    HARDWARE_KEY_UNKNOWN: "unknown",
    HARDWARE_KEY_NONE: "none",
    HARDWARE_KEY_UNIQUE: "unique",
}
_NONCE_BYTES: Final = 32


def new_nonce() -> bytes:
    """Return a fresh challenge, 32 bytes."""
    return secrets.token_bytes(_NONCE_BYTES)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a device says about itself, well formed.

    What it is worth is for `verify_evidence` to say.

    Attributes:
        public_key: the key that licenses are encrypted to.
        attestation_key: the raw Ed25519 key that signed, 32 bytes.
        nonce: the challenge that it answers.
        device_id: as claimed in ueid, 32 bytes.
        debug_status: dbgstat of RFC 9711; 0 in a development build.
        software: name and version.
        lifecycle: security lifecycle (RFC 9783).
        build_id: SHA-256 of sources and settings, 32 bytes.
        hardware_key: `HARDWARE_KEY_*` of the constants.
        secure_memory_bytes: for models.
        measurement: what OP-TEE measured, or None.
        extensions: what else it says, which this version does not know.
        message: the COSE_Sign1, taken apart.
    """

    public_key: DevicePublicKey
    attestation_key: bytes
    nonce: bytes
    device_id: bytes
    debug_status: int
    software: str
    lifecycle: int
    build_id: bytes
    hardware_key: int
    secure_memory_bytes: int
    measurement: bytes | None
    extensions: cose.Extensions
    message: cose.SignedMessage

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read evidence (check 1).

        Raises:
            FormatError: it is not as `spec/license.md` says.
        """
        if not 1 <= len(data) <= MAX_EVIDENCE_BYTES:
            raise FormatError(
                f"evidence has 1 to {MAX_EVIDENCE_BYTES} bytes, not {len(data)}",
                hint="enroll the device again",
            )
        message = cose.SignedMessage.parse(data, _WHAT)
        claims, extensions = cose.extensible_map(
            cbor.decode(message.payload, _WHAT), _NEEDED, (_MEASUREMENT,), _WHAT
        )
        confirmation = cose.exact_map(claims[_CNF], (1,), _WHAT)
        if claims[_PROFILE] != EVIDENCE_PROFILE:
            raise cose.malformed(_WHAT, "another profile")
        ueid = cose.exact_bytes(claims[_UEID], 33, _WHAT, "ueid")
        if ueid[:1] != _UEID_RAND:
            raise cose.malformed(_WHAT, "a ueid of another type")
        version = claims[_SWVERSION]
        if not isinstance(version, list) or len(version) != 1:
            raise cose.malformed(_WHAT, "swversion is not one text")
        measurement = claims.get(_MEASUREMENT)
        if measurement is not None:
            _bytes_within(measurement, 33, 544, "the measurement")
        return cls(
            public_key=DevicePublicKey(
                cose.parse_cose_key(confirmation[1], cose.CRV_X25519, _WHAT)
            ),
            attestation_key=message.provider_key,
            nonce=_bytes_within(
                claims[_NONCE], MIN_NONCE_BYTES, MAX_NONCE_BYTES, "the nonce"
            ),
            device_id=ueid[1:],
            debug_status=_at_most(claims[_DBGSTAT], 4, "dbgstat"),
            software=f"{_text(claims[_SWNAME])} {_text(version[0])}",
            lifecycle=_at_most(claims[_LIFECYCLE], 0xFFFF, "the lifecycle"),
            build_id=cose.exact_bytes(claims[_BUILD_ID], 32, _WHAT, "the build id"),
            hardware_key=_at_most(claims[_HARDWARE_KEY], 2, "the hardware key"),
            secure_memory_bytes=cose.uint32(
                claims[_SECURE_MEMORY], _WHAT, "secure memory"
            ),
            measurement=measurement,
            extensions=extensions,
            message=message,
        )

    @property
    def is_development(self) -> bool:
        """Whether it is of a development build, which protects nothing."""
        return self.debug_status == 0 or self.lifecycle == _LIFECYCLE_TEST

    def inspect(self) -> dict[str, Any]:
        """Return what it says, ready for JSON."""
        return {
            "device_id": self.device_id.hex(),
            "attestation_key": self.attestation_key.hex(),
            "software": self.software,
            "build": "development" if self.is_development else "release",
            "build_id": self.build_id.hex(),
            "lifecycle": _LIFECYCLES.get(self.lifecycle, f"0x{self.lifecycle:04x}"),
            "hardware_key": _HARDWARE_KEYS[self.hardware_key],
            "secure_memory_bytes": self.secure_memory_bytes,
            "extensions": cose.show_extensions(self.extensions),
            "measured_by": "op-tee" if self.measurement else "the device's own word",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a device must show before it gets a license.

    Attributes:
        endorsed: a manufacturer's certificate for its attestation key. Without
            one, evidence is what anybody could have signed.
        release: a release build of the Trusted Application.
        hardware_key: a hardware key of its own.
        build_ids: builds that are expected; any build when empty.
        secure_memory_bytes: at least so much memory for models.
    """

    endorsed: bool = True
    release: bool = True
    hardware_key: bool = True
    build_ids: frozenset[bytes] = frozenset()
    secure_memory_bytes: int = 0

    def given_up(self) -> list[str]:
        """Say what this policy does without, a sentence each."""
        lines = []
        if not self.endorsed:
            lines.append(
                "no manufacturer vouches for the device's key: it may be anybody's, "
                "and a license for it hands that person the model"
            )
        if not self.release:
            lines.append(
                "a development build is accepted: it runs models of any provider and "
                "its signing key may be public, so others can run code with its keys"
            )
        if not self.hardware_key:
            lines.append(
                "a device without a hardware key is accepted: whoever has its disk "
                "can decrypt its secure storage, and with it the model"
            )
        return lines

    def refusals(
        self, evidence: Evidence, *, is_endorsed: bool
    ) -> list[AttestationError]:
        """Return every check from 6 on that authentic evidence fails, in order.

        Args:
            evidence: passed checks 1 to 5.
            is_endorsed: whether check 5 had an endorsement to look at.
        """
        found = []
        if self.endorsed and not is_endorsed:
            found.append(
                AttestationError(
                    6,
                    "no manufacturer vouches for this device",
                    hint="give the certificate that the manufacturer made for it "
                    "(--endorsement) and the manufacturer's own (--manufacturer)",
                )
            )
        if self.release and evidence.is_development:
            found.append(
                AttestationError(
                    7,
                    "the device runs a development build, which protects nothing",
                    hint="install a release build; for the emulated board add "
                    "--allow-development",
                )
            )
        if self.hardware_key and evidence.hardware_key != HARDWARE_KEY_UNIQUE:
            state = _HARDWARE_KEYS[evidence.hardware_key]
            found.append(
                AttestationError(
                    8,
                    f"the device shows no hardware key of its own (it says: {state})",
                    hint="see docs/porting.md; for the emulated board add "
                    "--allow-development",
                )
            )
        if self.build_ids and evidence.build_id not in self.build_ids:
            found.append(
                AttestationError(
                    9,
                    f"the device runs build {evidence.build_id.hex()}, which is not "
                    "expected",
                    hint="update its Trusted Application, or expect this build",
                )
            )
        if evidence.secure_memory_bytes < self.secure_memory_bytes:
            found.append(
                AttestationError(
                    10,
                    f"the device has {evidence.secure_memory_bytes} bytes of secure "
                    f"memory for models; {self.secure_memory_bytes} are asked for",
                    hint="use another device, or a smaller budget",
                )
            )
        return found


DEFAULT_POLICY: Final = Policy()
"""Endorsed, release build, hardware key."""

DEVELOPMENT_POLICY: Final = Policy(endorsed=False, release=False, hardware_key=False)
"""Whatever answers; for the emulated board and the `host:` device."""


def verify_evidence(
    data: bytes,
    *,
    nonce: bytes,
    policy: Policy = DEFAULT_POLICY,
    endorsement: x509.Certificate | None = None,
    manufacturers: Sequence[x509.Certificate] = (),
    now: datetime | None = None,
) -> Evidence:
    """Verify evidence, in the order of `spec/license.md`.

    0. The caller made the nonce, sent it to the device, and uses it once.
    1. Form.
    2. The nonce is the one that was sent.
    3. kid and signature.
    4. ueid belongs to the key in cnf.
    5. The endorsement, if there is one.
    6. Policy: endorsed.
    7. Policy: release build.
    8. Policy: hardware key.
    9. Policy: build id.
    10. Policy: secure memory.

    Args:
        data: the evidence.
        nonce: the challenge that was sent.
        policy: what the device must show.
        endorsement: the manufacturer's certificate for this device.
        manufacturers: certificates of the manufacturers that are believed.
        now: for the validity of certificates; the present without.

    Returns:
        What the device says.

    Raises:
        FormatError: check 1.
        VerificationError: checks 2 to 5: altered, replayed, or of another device.
        AttestationError: checks 6 to 10: true as far as it goes, and not enough;
            `.check` has the number.
    """
    evidence = Evidence.parse(data)
    if not hmac.compare_digest(evidence.nonce, nonce):  # 2
        raise _not_authentic("it answers another challenge")
    try:
        evidence.message.verify(_WHAT)  # 3
    except VerificationError as error:
        raise _not_authentic("its signature does not verify") from error
    if evidence.public_key.device_id != evidence.device_id:  # 4
        raise _not_authentic("its device id is not that of its key")
    if endorsement is not None:  # 5
        _check_endorsement(evidence, endorsement, manufacturers, now)
    refusals = policy.refusals(evidence, is_endorsed=endorsement is not None)  # 6-10
    if refusals:
        raise refusals[0]
    return evidence


def _check_endorsement(
    evidence: Evidence,
    endorsement: x509.Certificate,
    manufacturers: Sequence[x509.Certificate],
    now: datetime | None,
) -> None:
    now = now or datetime.now(UTC)
    issuer = next(
        (item for item in manufacturers if _is_issued_by(endorsement, item)), None
    )
    if issuer is None:
        raise _not_authentic("its endorsement is by none of the manufacturers given")
    for certificate, whose in ((endorsement, "endorsement"), (issuer, "manufacturer")):
        begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if not begins <= now <= ends:
            raise _not_authentic(f"the certificate of its {whose} is not valid now")
    if not _is_authority(issuer) or _is_authority(endorsement):
        raise _not_authentic("its endorsement is not by an authority, or is one")
    key = endorsement.public_key()
    if (
        not isinstance(key, Ed25519PublicKey)
        or key.public_bytes_raw() != evidence.attestation_key
    ):
        raise _not_authentic("its endorsement is for another key")
    named = endorsement.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
    if [item.value for item in named] != [evidence.device_id.hex()]:
        raise _not_authentic("its endorsement is for another device")


def _is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        constraints = certificate.extensions.get_extension_for_class(
            x509.BasicConstraints
        )
    except (x509.ExtensionNotFound, ValueError):
        return False
    return constraints.value.ca


def _not_authentic(reason: str) -> VerificationError:
    return VerificationError(
        f"the evidence does not verify: {reason}",
        hint="ask the device again, over a path that nobody else can change",
    )


def _bytes_within(value: object, least: int, most: int, name: str) -> bytes:
    if not isinstance(value, bytes) or not least <= len(value) <= most:
        raise cose.malformed(_WHAT, f"{name} is not {least} to {most} bytes")
    return value


def _at_most(value: object, most: int, name: str) -> int:
    number = cose.uint32(value, _WHAT, name)
    if number > most:
        raise cose.malformed(_WHAT, f"{name} is over {most}")
    return number


def _text(value: object) -> str:
    if not isinstance(value, str) or not 1 <= len(value.encode()) <= 64:
        raise cose.malformed(_WHAT, "a name or version is not 1 to 64 bytes of text")
    return value
