# SPDX-License-Identifier: Apache-2.0
"""The claims of a license: `spec/license.md`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from undercroft._format import cbor
from undercroft._format.cose import WrappedKey, exact_bytes, exact_map, malformed
from undercroft._spec import KEY_ID_BYTES, MODEL_ID_BYTES

_WHAT: Final = "the license"
LICENSE_ID_BYTES: Final = 16
_CTI: Final = 7
_MODEL_ID: Final = -70001
_DEVICE_ID: Final = -70002
_CONTENT_KEY: Final = -70003


@dataclass(frozen=True, slots=True)
class LicenseClaims:
    """What a license says; an existing one is well formed.

    Attributes:
        license_id: 16 bytes.
        model_id: 16 bytes.
        device_id: thumbprint of the device's key, 32 bytes.
        content_key: the wrapped content key, an encoded COSE_Encrypt0.
    """

    license_id: bytes
    model_id: bytes
    device_id: bytes
    content_key: bytes

    def __post_init__(self) -> None:
        exact_bytes(self.license_id, LICENSE_ID_BYTES, _WHAT, "license id")
        exact_bytes(self.model_id, MODEL_ID_BYTES, _WHAT, "model id")
        exact_bytes(self.device_id, KEY_ID_BYTES, _WHAT, "device id")
        if not isinstance(self.content_key, bytes):
            raise malformed(_WHAT, "the content key is not a byte string")
        WrappedKey.parse(self.content_key, f"the content key in {_WHAT}")

    @property
    def wrapped_key(self) -> WrappedKey:
        """The wrapped content key, taken apart."""
        return WrappedKey.parse(self.content_key, f"the content key in {_WHAT}")

    def encode(self) -> bytes:
        """Return the payload that is signed."""
        return cbor.encode(
            {
                _CTI: self.license_id,
                _MODEL_ID: self.model_id,
                _DEVICE_ID: self.device_id,
                _CONTENT_KEY: self.content_key,
            }
        )

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Read the payload of a license's COSE_Sign1.

        Raises:
            FormatError: it is not as `spec/license.md` says.
        """
        claims = exact_map(
            cbor.decode(payload, _WHAT),
            (_CTI, _MODEL_ID, _DEVICE_ID, _CONTENT_KEY),
            _WHAT,
        )
        return cls(
            license_id=claims[_CTI],
            model_id=claims[_MODEL_ID],
            device_id=claims[_DEVICE_ID],
            content_key=claims[_CONTENT_KEY],
        )
