# SPDX-License-Identifier: Apache-2.0
"""Licenses: the content key of one model, for one device.

::

    data = issue(
        model_key=ModelKey.load("model.sealed.key"),
        device=DeviceCertificate.load("device.cert").public_key,
        signing_key=ProviderKey.load("provider.pem"),
        terms=LicenseTerms(max_inferences=1000, rate=(10, 60)),
    )
    license = License.parse(data)
    license.verify(provider=key.public())
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from undercroft._clock import provider_time
from undercroft._format import cose
from undercroft._format.files import read_message
from undercroft._format.license import LICENSE_ID_BYTES, LicenseClaims, LicenseTerms
from undercroft._spec import MAX_LICENSE_BYTES
from undercroft.errors import FormatError, VerificationError
from undercroft.keys import DevicePublicKey, ModelKey, ProviderPublicKey, Signer

__all__ = ["License", "LicenseTerms", "issue"]

_WHAT: Final = "the license"


@dataclass(frozen=True, slots=True)
class License:
    """A well-formed license; `verify` says whether it is the provider's.

    Attributes:
        data: the license as it is shipped.
        message: the COSE_Sign1, taken apart.
        claims: what it says.
    """

    data: bytes
    message: cose.SignedMessage
    claims: LicenseClaims

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a license.

        Raises:
            FormatError: it is not as `spec/license.md` says.
        """
        if not 1 <= len(data) <= MAX_LICENSE_BYTES:
            raise FormatError(
                f"a license has 1 to {MAX_LICENSE_BYTES} bytes, not {len(data)}",
                hint="check that this is the license and not another file",
            )
        message = cose.SignedMessage.parse(data, _WHAT)
        return cls(
            data=data, message=message, claims=LicenseClaims.parse(message.payload)
        )

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a license file.

        Raises:
            FileAccessError: missing or unreadable.
            FormatError: it is not as `spec/license.md` says.
        """
        return read_message(
            Path(path),
            limit_bytes=MAX_LICENSE_BYTES,
            what="license",
            parse=cls.parse,
            hint="`undercroft license issue` makes licenses",
        )

    @property
    def provider(self) -> ProviderPublicKey:
        """The key that it names as the one that signed it."""
        return ProviderPublicKey(self.message.provider_key)

    def verify(self, provider: ProviderPublicKey | None = None) -> None:
        """Verify the signature.

        Args:
            provider: the key that must have signed it; any key without.

        Raises:
            VerificationError: it does not verify, or another provider signed.
        """
        if provider is not None and not hmac.compare_digest(
            provider.raw, self.message.provider_key
        ):
            raise VerificationError(
                "the license is signed by another provider",
                hint="check that license and provider's public key belong together",
            )
        self.message.verify(_WHAT)

    def inspect(self) -> dict[str, Any]:
        """Return what anybody can learn from it, ready for JSON."""
        return {
            "license_id": self.claims.license_id.hex(),
            "model_id": self.claims.model_id.hex(),
            "device_id": self.claims.device_id.hex(),
            "provider_key_id": self.provider.key_id.hex(),
            "license_bytes": len(self.data),
            "issued_at": None
            if self.claims.issued_at is None
            else datetime.fromtimestamp(self.claims.issued_at, UTC).isoformat(),
            "terms": self.claims.terms.inspect(),
            "extensions": cose.show_extensions(self.claims.extensions),
        }


def issue(
    *,
    model_key: ModelKey,
    device: DevicePublicKey,
    signing_key: Signer,
    license_id: bytes | None = None,
    terms: LicenseTerms | None = None,
    issued_at: int | None = None,
) -> bytes:
    """Issue a license: the model's content key, for one device.

    Args:
        model_key: from the key file that `seal` wrote.
        device: from the device's certificate.
        signing_key: the key that the model was sealed with.
        license_id: 16 bytes; random without.
        terms: its conditions; none without.
        issued_at: seconds since 1970; now without. A device takes it for a time
            that has passed.

    Returns:
        The license, to be shipped to the device.

    Raises:
        VerificationError: the device's key cannot be encrypted to.
        FormatError: `issued_at` is no 32-bit number.
        EnvironmentMissingError: this machine's clock is far off.
    """
    claims = LicenseClaims(
        license_id=license_id or secrets.token_bytes(LICENSE_ID_BYTES),
        model_id=model_key.model_id,
        device_id=device.device_id,
        content_key=cose.wrap_key(model_key.content_key, device_key=device.raw),
        issued_at=provider_time() if issued_at is None else issued_at,
        terms=terms or LicenseTerms(),
    )
    return signing_key.sign_message(claims.encode())
