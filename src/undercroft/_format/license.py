# SPDX-License-Identifier: Apache-2.0
"""The claims of a license: `spec/license.md`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Final, Self

from undercroft._format import cbor
from undercroft._format.cose import (
    Extensions,
    WrappedKey,
    check_extensions,
    exact_bytes,
    extensible_map,
    malformed,
    uint32,
)
from undercroft._spec import KEY_ID_BYTES, MODEL_ID_BYTES

_WHAT: Final = "the license"
LICENSE_ID_BYTES: Final = 16
MAX_RATE_COUNT: Final = 1048576
MAX_RATE_SECONDS: Final = 31622400
_EXP, _NBF, _IAT, _CTI = 4, 5, 6, 7
_MODEL_ID: Final = -70001
_DEVICE_ID: Final = -70002
_CONTENT_KEY: Final = -70003
_MAX_INFERENCES, _RATE, _VERSION_FLOOR, _FEATURES = -70004, -70005, -70006, -70007
_GRACE, _WITHOUT_TIME, _UPDATE_FLOOR = -70008, -70009, -70010
_NEEDED: Final = (_CTI, _MODEL_ID, _DEVICE_ID, _CONTENT_KEY)
_CONDITIONS: Final[dict[str, int]] = {
    "expires": _EXP,
    "not_before": _NBF,
    "max_inferences": _MAX_INFERENCES,
    "rate": _RATE,
    "version_floor": _VERSION_FLOOR,
    "features": _FEATURES,
    "grace_seconds": _GRACE,
    "without_time": _WITHOUT_TIME,
    "update_floor": _UPDATE_FLOOR,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenseTerms:
    """The conditions of a license; None for a condition that it does not make.

    Attributes:
        expires: seconds since 1970 at which it ends.
        not_before: seconds since 1970 before which it does not hold.
        grace_seconds: how long after `expires` it still holds.
        max_inferences: how many inferences may begin, ever.
        rate: `(count, seconds)`: a bucket of so many inferences, which fills in so
            many seconds.
        version_floor: the lowest model version that it opens.
        features: `FEATURE_SEALED_*` of the constants: inferences must have their
            inputs sealed, their outputs, or both. A device refuses a license with
            flags that it does not know.
        without_time: whether it holds on a device that was never told the time.
        update_floor: the device must have taken an update of at least this version.
    """

    expires: int | None = None
    not_before: int | None = None
    grace_seconds: int | None = None
    max_inferences: int | None = None
    rate: tuple[int, int] | None = None
    version_floor: int | None = None
    features: int | None = None
    without_time: bool = False
    update_floor: int | None = None

    def __post_init__(self) -> None:
        for name in _CONDITIONS:
            value = getattr(self, name)
            if value is None or name in {"rate", "without_time"}:
                continue
            uint32(value, _WHAT, name)
        if self.max_inferences == 0:
            raise malformed(_WHAT, "max_inferences is 0")
        if self.grace_seconds is not None and self.expires is None:
            raise malformed(_WHAT, "a grace period without an end")
        if self.rate is not None and not (
            len(self.rate) == 2
            and _within(self.rate[0], MAX_RATE_COUNT)
            and _within(self.rate[1], MAX_RATE_SECONDS)
        ):
            raise malformed(
                _WHAT,
                f"rate is not 1..{MAX_RATE_COUNT} inferences in "
                f"1..{MAX_RATE_SECONDS} seconds",
            )

    def claims(self) -> dict[int, Any]:
        """Return the claims that say so."""
        found = {
            key: getattr(self, name)
            for name, key in _CONDITIONS.items()
            if name != "without_time" and getattr(self, name) is not None
        }
        if self.without_time:
            found[_WITHOUT_TIME] = 1
        return found

    @classmethod
    def of_claims(cls, claims: dict[int, Any]) -> Self:
        """Read the conditions among the claims.

        Raises:
            FormatError: one is not as `spec/license.md` says.
        """
        values: dict[str, Any] = {}
        for name, key in _CONDITIONS.items():
            if key not in claims:
                continue
            value = claims[key]
            if name == "without_time":
                if value != 1:
                    raise malformed(_WHAT, "without_time is not 1")
                value = True
            elif name == "rate":
                if not isinstance(value, list):
                    raise malformed(_WHAT, "rate is no array")
                value = tuple(value)
            values[name] = value
        return cls(**values)

    def as_dict(self) -> dict[str, Any]:
        """Return the conditions that are made, as their fields have them."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: value
            for name, value in values.items()
            if value is not None and value is not False
        }

    def inspect(self) -> dict[str, Any]:
        """Return the conditions that are made, for people."""
        shown: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None or value is False:
                continue
            if field.name in {"expires", "not_before"}:
                value = datetime.fromtimestamp(value, UTC).isoformat()
            elif field.name == "rate":
                value = f"{value[0]} in {value[1]} s"
            shown[field.name] = value
        return shown


@dataclass(frozen=True, slots=True)
class LicenseClaims:
    """What a license says; an existing one is well formed.

    Attributes:
        license_id: 16 bytes.
        model_id: 16 bytes.
        device_id: thumbprint of the device's key, 32 bytes.
        content_key: the wrapped content key, an encoded COSE_Encrypt0.
        issued_at: seconds since 1970, or None.
        terms: its conditions.
        extensions: what else it says, which this version does not know.
    """

    license_id: bytes
    model_id: bytes
    device_id: bytes
    content_key: bytes
    issued_at: int | None = None
    terms: LicenseTerms = LicenseTerms()
    extensions: Extensions = ()

    def __post_init__(self) -> None:
        exact_bytes(self.license_id, LICENSE_ID_BYTES, _WHAT, "license id")
        exact_bytes(self.model_id, MODEL_ID_BYTES, _WHAT, "model id")
        exact_bytes(self.device_id, KEY_ID_BYTES, _WHAT, "device id")
        check_extensions(self.extensions, _WHAT)
        if self.issued_at is not None:
            uint32(self.issued_at, _WHAT, "issued_at")
        if not isinstance(self.content_key, bytes):
            raise malformed(_WHAT, "the content key is not a byte string")
        WrappedKey.parse(self.content_key, f"the content key in {_WHAT}")

    @property
    def wrapped_key(self) -> WrappedKey:
        """The wrapped content key, taken apart."""
        return WrappedKey.parse(self.content_key, f"the content key in {_WHAT}")

    def encode(self) -> bytes:
        """Return the payload that is signed."""
        claims: dict[int, Any] = {
            _CTI: self.license_id,
            _MODEL_ID: self.model_id,
            _DEVICE_ID: self.device_id,
            _CONTENT_KEY: self.content_key,
            **self.terms.claims(),
            **dict(self.extensions),
        }
        if self.issued_at is not None:
            claims[_IAT] = self.issued_at
        return cbor.encode(claims)

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Read the payload of a license's COSE_Sign1.

        Raises:
            FormatError: it is not as `spec/license.md` says.
        """
        optional = (_IAT, *_CONDITIONS.values())
        claims, extensions = extensible_map(
            cbor.decode(payload, _WHAT), _NEEDED, optional, _WHAT
        )
        if _IAT in claims:
            uint32(claims[_IAT], _WHAT, "issued_at")
        return cls(
            license_id=claims[_CTI],
            model_id=claims[_MODEL_ID],
            device_id=claims[_DEVICE_ID],
            content_key=claims[_CONTENT_KEY],
            issued_at=claims.get(_IAT),
            terms=LicenseTerms.of_claims(claims),
            extensions=extensions,
        )


def _within(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most
