# SPDX-License-Identifier: Apache-2.0
"""Updates: what a provider tells its devices after they are in the field.

::

    data = issue_update(signing_key=key)                        # a time token
    data = issue_update(
        signing_key=key,
        version=4,
        revocations=[Revocation(model_id, issued_before=now, device_id=lost)],
        floors=[VersionFloor(model_id, 3)],
    )
    device = open_device("board:")
    device.update(data)

An update is signed and not secret. Devices take it in any order of arrival, again
and again: all that it does is to raise something. Time, revocations and floors are
in `spec/license.md`.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from undercroft._clock import provider_time
from undercroft._format import cbor, cose
from undercroft._format.files import read_message
from undercroft._spec import (
    KEY_ID_BYTES,
    MAX_UPDATE_BYTES,
    MAX_UPDATE_ITEMS,
    MODEL_ID_BYTES,
)
from undercroft.errors import FormatError, VerificationError
from undercroft.keys import ProviderPublicKey, Signer

__all__ = ["Revocation", "Successor", "Update", "VersionFloor", "issue_update"]

_WHAT: Final = "the update"
_IAT, _VERSION, _REVOCATIONS, _FLOORS, _SUCCESSOR = 6, -70010, -70011, -70012, -70013


@dataclass(frozen=True, slots=True)
class Revocation:
    """Licenses of a model that were issued before some time no longer hold.

    Attributes:
        model_id: 16 bytes.
        issued_before: seconds since 1970; a license without a time of issue is
            always before it.
        device_id: 32 bytes, or None for all devices.
    """

    model_id: bytes
    issued_before: int
    device_id: bytes | None = None

    def __post_init__(self) -> None:
        cose.exact_bytes(self.model_id, MODEL_ID_BYTES, _WHAT, "a model id")
        cose.uint32(self.issued_before, _WHAT, "issued_before")
        if self.device_id is not None:
            cose.exact_bytes(self.device_id, KEY_ID_BYTES, _WHAT, "a device id")


@dataclass(frozen=True, slots=True)
class VersionFloor:
    """Versions of a model below this one no longer open.

    Attributes:
        model_id: 16 bytes.
        model_version: the lowest version that still opens.
    """

    model_id: bytes
    model_version: int

    def __post_init__(self) -> None:
        cose.exact_bytes(self.model_id, MODEL_ID_BYTES, _WHAT, "a model id")
        cose.uint32(self.model_version, _WHAT, "a model version")


@dataclass(frozen=True, slots=True)
class Successor:
    """A further key of the provider.

    Attributes:
        key: the key.
        retire: whether the key that signs the update is of no use from then on.
    """

    key: ProviderPublicKey
    retire: bool = False


@dataclass(frozen=True, slots=True)
class Update:
    """A well-formed update; `verify` says whether it is the provider's.

    Attributes:
        data: the update as it is shipped.
        message: the COSE_Sign1, taken apart.
        issued_at: the provider's time, seconds since 1970.
        version: which update this is; None for a time token.
        revocations: licenses that no longer hold.
        floors: versions that no longer open.
        successor: a further key of the provider.
        extensions: what else it says, which this version does not know.
    """

    data: bytes
    message: cose.SignedMessage
    issued_at: int
    version: int | None
    revocations: tuple[Revocation, ...]
    floors: tuple[VersionFloor, ...]
    successor: Successor | None
    extensions: cose.Extensions = ()

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read an update.

        Raises:
            FormatError: it is not as `spec/license.md` says.
        """
        if not 1 <= len(data) <= MAX_UPDATE_BYTES:
            raise FormatError(
                f"an update has 1 to {MAX_UPDATE_BYTES} bytes, not {len(data)}",
                hint="check that this is the update and not another file",
            )
        message = cose.SignedMessage.parse(data, _WHAT)
        claims, extensions = cose.extensible_map(
            cbor.decode(message.payload, _WHAT),
            (_IAT,),
            (_VERSION, _REVOCATIONS, _FLOORS, _SUCCESSOR),
            _WHAT,
        )
        version = claims.get(_VERSION)
        if version is not None and cose.uint32(version, _WHAT, "version") == 0:
            raise cose.malformed(_WHAT, "version is 0")
        if version is None and len(claims) > 1:
            raise cose.malformed(_WHAT, "it says more than the time, and no version")
        return cls(
            data=data,
            message=message,
            issued_at=cose.uint32(claims[_IAT], _WHAT, "the time"),
            version=version,
            revocations=tuple(
                Revocation(*item)
                for item in _items(claims, _REVOCATIONS, "revocations", (2, 3))
            ),
            floors=tuple(
                VersionFloor(*item) for item in _items(claims, _FLOORS, "floors", (2,))
            ),
            successor=_parse_successor(claims),
            extensions=extensions,
        )

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read an update file.

        Raises:
            FileAccessError: missing or unreadable.
            FormatError: it is not as `spec/license.md` says.
        """
        return read_message(
            Path(path),
            limit_bytes=MAX_UPDATE_BYTES,
            what="update",
            parse=cls.parse,
            hint="`undercroft update new` makes updates",
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
                "the update is signed by another provider",
                hint="check that update and provider's public key belong together",
            )
        self.message.verify(_WHAT)

    def inspect(self) -> dict[str, Any]:
        """Return what it says, ready for JSON."""
        return {
            "issued_at": _iso(self.issued_at),
            "version": self.version,
            "revocations": [
                {
                    "model_id": item.model_id.hex(),
                    "issued_before": _iso(item.issued_before),
                    "device_id": item.device_id.hex() if item.device_id else None,
                }
                for item in self.revocations
            ],
            "floors": [
                {
                    "model_id": item.model_id.hex(),
                    "model_version": item.model_version,
                }
                for item in self.floors
            ],
            "successor": self.successor
            and {
                "key_id": self.successor.key.key_id.hex(),
                "retire": self.successor.retire,
            },
            "extensions": cose.show_extensions(self.extensions),
            "provider_key_id": self.provider.key_id.hex(),
            "update_bytes": len(self.data),
        }


def issue_update(
    *,
    signing_key: Signer,
    version: int | None = None,
    revocations: Sequence[Revocation] = (),
    floors: Sequence[VersionFloor] = (),
    successor: Successor | None = None,
    issued_at: int | None = None,
) -> bytes:
    """Issue an update.

    Args:
        signing_key: the key that the models were sealed with, or one that an
            earlier update named as its successor.
        version: counts up with each update that is more than a time token. Devices
            refuse one lower than the highest that they took.
        revocations: at most 64; more go into another update of the same version.
        floors: at most 64.
        successor: a further key of this provider.
        issued_at: seconds since 1970, now without. Devices never believe an
            earlier time again.

    Returns:
        The update, to be sent to devices.

    Raises:
        FormatError: more than a time token without a version, or over a limit.
        EnvironmentMissingError: this machine's clock is far off.
    """
    claims: dict[int, Any] = {_IAT: provider_time() if issued_at is None else issued_at}
    if version is not None:
        claims[_VERSION] = version
    if revocations:
        claims[_REVOCATIONS] = [
            [item.model_id, item.issued_before]
            + ([item.device_id] if item.device_id is not None else [])
            for item in revocations
        ]
    if floors:
        claims[_FLOORS] = [[item.model_id, item.model_version] for item in floors]
    if successor is not None:
        key = cose.cose_key(cose.CRV_ED25519, successor.key.raw)
        claims[_SUCCESSOR] = {1: key, 2: int(successor.retire)}
    data = signing_key.sign_message(cbor.encode(claims))
    Update.parse(data)
    return data


def _items(
    claims: dict[int, Any], key: int, name: str, lengths: tuple[int, ...]
) -> list[list[Any]]:
    if key not in claims:
        return []
    items = claims[key]
    if (
        not isinstance(items, list)
        or not 1 <= len(items) <= MAX_UPDATE_ITEMS
        or not all(isinstance(item, list) and len(item) in lengths for item in items)
    ):
        raise cose.malformed(
            _WHAT, f"{name} are not 1 to {MAX_UPDATE_ITEMS} arrays of their members"
        )
    return items


def _parse_successor(claims: dict[int, Any]) -> Successor | None:
    if _SUCCESSOR not in claims:
        return None
    value = cose.exact_map(claims[_SUCCESSOR], (1, 2), _WHAT)
    if cose.uint32(value[2], _WHAT, "retire") > 1:
        raise cose.malformed(_WHAT, "retire is not 0 or 1")
    raw = cose.parse_cose_key(value[1], cose.CRV_ED25519, _WHAT)
    return Successor(ProviderPublicKey(raw), retire=bool(value[2]))


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
