# SPDX-License-Identifier: Apache-2.0
"""Enrolment: get from a device what a license is encrypted to, with evidence.

::

    certificate = enroll("http://device:8080", endorsement=pem, manufacturers=[ca])
    certificate.save("device.cert")
    certificate = enroll("board:", policy=DEVELOPMENT_POLICY)

The device answers a fresh challenge inside the secure world, and the answer is held
against a policy (`undercroft.attestation`). The default policy refuses development
builds, devices without a hardware key, and those that no manufacturer vouches for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from undercroft._format import cbor, cose
from undercroft._format.files import read_message, write_file
from undercroft._spec import MAX_EVIDENCE_BYTES, MAX_NONCE_BYTES, MIN_NONCE_BYTES
from undercroft.keys import DevicePublicKey

if TYPE_CHECKING:
    from cryptography import x509

    from undercroft.attestation import Policy

__all__ = ["DeviceCertificate", "enroll"]

_VERSION: Final = 2
_WHAT: Final = "the device certificate"
_MAX_BYTES: Final = 8192
_MAX_INFO_BYTES: Final = 256
_MAX_ENDORSEMENT_BYTES: Final = 4096
_FIELDS: Final = (1, 2, 3)
_EVIDENCE_FIELDS: Final = {1: (), 2: (4, 5, 6)}


@dataclass(frozen=True, slots=True)
class DeviceCertificate:
    """What a device says about itself.

    Without evidence it is **not authenticated**: whoever could change it on its
    way may have put their own key into it.

    Attributes:
        public_key: the key that its licenses are encrypted to.
        info: kind, version and build of its secure side, for people.
        nonce: the challenge of the evidence, or None.
        evidence: its answer, an EAT in a COSE_Sign1, or None.
        endorsement: the manufacturer's certificate (X.509, DER), or None.
        extensions: what else it says, which this version does not know.
    """

    public_key: DevicePublicKey
    info: str = ""
    nonce: bytes | None = None
    evidence: bytes | None = None
    endorsement: bytes | None = None
    extensions: cose.Extensions = ()

    def __post_init__(self) -> None:
        if len(self.info.encode("utf-8", "replace")) > _MAX_INFO_BYTES:
            raise cose.malformed(_WHAT, f"info is over {_MAX_INFO_BYTES} bytes")
        cose.check_extensions(self.extensions, _WHAT)
        for value, least, most, name in (
            (self.nonce, MIN_NONCE_BYTES, MAX_NONCE_BYTES, "the nonce"),
            (self.evidence, 1, MAX_EVIDENCE_BYTES, "the evidence"),
            (self.endorsement, 1, _MAX_ENDORSEMENT_BYTES, "the endorsement"),
        ):
            if value is not None and not (
                isinstance(value, bytes) and least <= len(value) <= most
            ):
                raise cose.malformed(_WHAT, f"{name} is not {least} to {most} bytes")
        if (self.nonce is None) != (self.evidence is None) or (
            self.evidence is None and self.endorsement is not None
        ):
            raise cose.malformed(_WHAT, "nonce, evidence and endorsement do not match")

    @property
    def device_id(self) -> bytes:
        """COSE Key Thumbprint of the key, 32 bytes."""
        return self.public_key.device_id

    def encode(self) -> bytes:
        """Return the certificate as it is stored and sent."""
        key = cose.cose_key(cose.CRV_X25519, self.public_key.raw)
        fields = {1: _VERSION, 2: key, 3: self.info, **dict(self.extensions)}
        more = {4: self.nonce, 5: self.evidence, 6: self.endorsement}
        return cbor.encode(
            fields | {name: value for name, value in more.items() if value is not None}
        )

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a certificate, of this version or the one before.

        Raises:
            FormatError: it is not as `spec/undercroft.cddl` says.
        """
        fields, extensions = cose.extensible_map(
            cbor.decode(data, _WHAT), _FIELDS, (4, 5, 6), _WHAT
        )
        if fields[1] not in _EVIDENCE_FIELDS:
            raise cose.malformed(_WHAT, f"version {fields[1]!r} is not {_VERSION}")
        cose.some_map(fields, _FIELDS, _EVIDENCE_FIELDS[fields[1]], _WHAT)
        if not isinstance(fields[3], str):
            raise cose.malformed(_WHAT, "info is not text")
        raw = cose.parse_cose_key(fields[2], cose.CRV_X25519, _WHAT)
        return cls(
            public_key=DevicePublicKey(raw),
            info=fields[3],
            nonce=fields.get(4),
            evidence=fields.get(5),
            endorsement=fields.get(6),
            extensions=extensions,
        )

    def save(self, path: Path | str) -> None:
        """Write it to a file.

        Raises:
            FileWriteError: it cannot be written.
        """
        write_file(Path(path), self.encode())

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read it from a file.

        Raises:
            FileAccessError: missing or unreadable.
            FormatError: it is not as `spec/undercroft.cddl` says.
        """
        return read_message(
            Path(path),
            limit_bytes=_MAX_BYTES,
            what="device certificate",
            parse=cls.parse,
            hint="`undercroft enroll` makes device certificates",
        )

    def verify(
        self,
        *,
        policy: Policy | None = None,
        manufacturers: Sequence[x509.Certificate] = (),
    ) -> None:
        """Check again what enrolment checked, but that the nonce was fresh.

        Raises:
            VerificationError: it does not verify, or was put together.
            AttestationError: it has no evidence, or less than the policy asks for.
        """
        from cryptography import x509

        from undercroft.attestation import DEFAULT_POLICY, verify_evidence
        from undercroft.errors import AttestationError, VerificationError

        if self.evidence is None or self.nonce is None:
            raise AttestationError(
                1, "the device certificate has no evidence", hint="enroll again"
            )
        endorsement = None
        if self.endorsement is not None:
            try:
                endorsement = x509.load_der_x509_certificate(self.endorsement)
            except ValueError as error:
                raise VerificationError(
                    "the endorsement in the device certificate is no certificate",
                    hint="enroll again",
                ) from error
        evidence = verify_evidence(
            self.evidence,
            nonce=self.nonce,
            policy=policy or DEFAULT_POLICY,
            endorsement=endorsement,
            manufacturers=manufacturers,
        )
        if evidence.public_key != self.public_key:
            raise VerificationError(
                "the device certificate's key is not the one in its evidence",
                hint="enroll again",
            )

    def inspect(self) -> dict[str, Any]:
        """Return what it says, ready for JSON."""
        from undercroft.attestation import Evidence

        facts: dict[str, Any] = {
            "device_id": self.device_id.hex(),
            "info": self.info,
            # Evidence that nobody vouches for is anybody's word.
            "authenticated": self.endorsement is not None,
            "extensions": cose.show_extensions(self.extensions),
        }
        if self.evidence is not None:
            facts["evidence"] = Evidence.parse(self.evidence).inspect()
        return facts


def enroll(
    device_uri: str,
    *,
    policy: Policy | None = None,
    endorsement: x509.Certificate | None = None,
    manufacturers: Sequence[x509.Certificate] = (),
) -> DeviceCertificate:
    """Challenge a device, and hold its evidence against a policy.

    Args:
        device_uri: `board:`, `tee:`, `http://…` or `host:`.
        policy: what the device must show; `DEFAULT_POLICY` without.
        endorsement: the manufacturer's certificate for this device.
        manufacturers: certificates of the manufacturers that are believed.

    Raises:
        DeviceError: the device cannot be reached or refuses.
        FormatError: its answer is malformed.
        VerificationError: its answer does not verify.
        AttestationError: it shows less than the policy asks for.
    """
    from cryptography.hazmat.primitives.serialization import Encoding

    from undercroft._device import open_device
    from undercroft.attestation import DEFAULT_POLICY, new_nonce, verify_evidence

    nonce = new_nonce()
    device = open_device(device_uri)
    try:
        data = device.attest(nonce)
        info = device.info()
    finally:
        device.close()
    evidence = verify_evidence(
        data,
        nonce=nonce,
        policy=policy or DEFAULT_POLICY,
        endorsement=endorsement,
        manufacturers=manufacturers,
    )
    text = f"{info.kind}, {info.build} build, {info.version}"
    short = text.encode("utf-8", "replace")[:_MAX_INFO_BYTES].decode("utf-8", "ignore")
    return DeviceCertificate(
        public_key=evidence.public_key,
        info=short,
        nonce=nonce,
        evidence=data,
        endorsement=endorsement.public_bytes(Encoding.DER) if endorsement else None,
    )
