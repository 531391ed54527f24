# SPDX-License-Identifier: Apache-2.0
"""Enrolment: get from a device what a license is encrypted to.

::

    certificate = enroll("board:")
    certificate.save("device.cert")

A device certificate is **not authenticated**: it is what the device's normal
world handed over. Whoever can change it on its way can put their own key into
it, and a license for that key gives them the model. Enrol where the device
integrator controls the path (at production, over a cable), or compare the device
id by another way, until certificates carry an attestation.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from undercroft._format import cbor, cose
from undercroft._format.files import read_small_file, write_file
from undercroft.keys import DevicePublicKey

__all__ = ["DeviceCertificate", "enroll"]

_VERSION: Final = 1
_WHAT: Final = "the device certificate"
_MAX_BYTES: Final = 4096
_MAX_INFO_BYTES: Final = 256


@dataclass(frozen=True, slots=True)
class DeviceCertificate:
    """What a device says about itself; see the warning of this module.

    Attributes:
        public_key: the key that its licenses are encrypted to.
        info: kind, version and build of its secure side, for people.
    """

    public_key: DevicePublicKey
    info: str = ""

    def __post_init__(self) -> None:
        if len(self.info.encode("utf-8", "replace")) > _MAX_INFO_BYTES:
            raise cose.malformed(_WHAT, f"info is over {_MAX_INFO_BYTES} bytes")

    @property
    def device_id(self) -> bytes:
        """COSE Key Thumbprint of the key, 32 bytes."""
        return self.public_key.device_id

    def encode(self) -> bytes:
        """Return the certificate as it is stored and sent."""
        key = cose.cose_key(cose.CRV_X25519, self.public_key.raw)
        return cbor.encode({1: _VERSION, 2: key, 3: self.info})

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a certificate.

        Raises:
            FormatError: it is not as `spec/undercroft.cddl` says.
        """
        fields = cose.exact_map(cbor.decode(data, _WHAT), (1, 2, 3), _WHAT)
        if fields[1] != _VERSION:
            raise cose.malformed(_WHAT, f"version {fields[1]!r} is not {_VERSION}")
        if not isinstance(fields[3], str):
            raise cose.malformed(_WHAT, "info is not text")
        raw = cose.parse_cose_key(fields[2], cose.CRV_X25519, _WHAT)
        return cls(public_key=DevicePublicKey(raw), info=fields[3])

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
        return cls.parse(
            read_small_file(
                Path(path), limit_bytes=_MAX_BYTES, what="device certificate"
            )
        )

    def inspect(self) -> dict[str, Any]:
        """Return what it says, ready for JSON."""
        return {
            "device_id": self.device_id.hex(),
            "info": self.info,
            "authenticated": False,
        }


def enroll(device_uri: str) -> DeviceCertificate:
    """Ask a device for its certificate.

    Args:
        device_uri: `board:`, `tee:`, `http://…` or `host:`.

    Raises:
        DeviceError: the device cannot be reached or refuses.
        FormatError: it answers with something that is no X25519 COSE_Key.
    """
    from undercroft._device import open_device

    device = open_device(device_uri)
    try:
        key = DevicePublicKey.from_cose_key(device.device_key())
        info = device.info()
    finally:
        device.close()
    text = f"{info.kind}, {info.build} build, {info.version}"
    short = text.encode("utf-8", "replace")[:_MAX_INFO_BYTES].decode("utf-8", "ignore")
    return DeviceCertificate(public_key=key, info=short)
