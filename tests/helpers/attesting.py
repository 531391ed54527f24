# SPDX-License-Identifier: Apache-2.0
"""Devices that a test plays: their keys are in the test's hands."""

from __future__ import annotations

import base64
import random
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from undercroft._format import cbor, cose
from undercroft._spec import EVIDENCE_PROFILE
from undercroft.attestation import Evidence
from undercroft.factory import Authority
from undercroft.keys import DevicePublicKey, ProviderKey


@dataclass(frozen=True)
class PlayedDevice:
    """A device with a release build and a hardware key, if it is to be believed."""

    private: bytes
    attestation_key: ProviderKey

    @classmethod
    def number(cls, number: int) -> PlayedDevice:
        """Return the same device for the same number."""
        source = random.Random(number)
        return cls(source.randbytes(32), ProviderKey.from_seed(source.randbytes(32)))

    @property
    def public(self) -> DevicePublicKey:
        """The key that its licenses are encrypted to."""
        key = X25519PrivateKey.from_private_bytes(self.private)
        return DevicePublicKey(key.public_key().public_bytes_raw())

    @property
    def device_id(self) -> str:
        """Its id, as the service has it."""
        return self.public.device_id.hex()

    def attest(self, nonce: bytes, **other: object) -> bytes:
        """Answer a challenge; `debug`, `hardware_key`, `key` say something else."""
        key = other.get("key", self.public.raw)
        assert isinstance(key, bytes)
        claims = {
            8: {1: cose.cose_key(cose.CRV_X25519, key)},
            10: nonce,
            256: b"\x01" + DevicePublicKey(key).device_id,
            263: other.get("debug", 1),
            265: EVIDENCE_PROFILE,
            270: "undercroft",
            271: ["0.1.0"],
            2395: 0x3000,
            -70020: bytes(32),
            -70021: other.get("hardware_key", 2),
            -70022: 12 << 20,
        }
        return self.attestation_key.sign_message(cbor.encode(claims))

    def endorsed_by(self, authority: Authority) -> x509.Certificate:
        """Return a manufacturer's certificate for it."""
        return authority.endorse(Evidence.parse(self.attest(bytes(32))))

    def answer(
        self,
        nonce: str,
        endorsement: x509.Certificate | None = None,
        label: str = "",
        **other: object,
    ) -> dict[str, str | None]:
        """Return the body of a request that enrols it."""
        return {
            "nonce": nonce,
            "evidence": base64.b64encode(
                self.attest(bytes.fromhex(nonce), **other)
            ).decode(),
            "endorsement": endorsement.public_bytes(Encoding.PEM).decode()
            if endorsement
            else None,
            "label": label,
        }

    def unwrap(self, wrapped: cose.WrappedKey) -> bytes:
        """Return the content key of a license."""
        return cose.unwrap_key(
            wrapped, private_key=self.private, public_key=self.public.raw
        )
