# SPDX-License-Identifier: Apache-2.0
"""A device whose secure side this process can enter: `tee:` and `host:`.

This module is also loaded in the board's guest: standard library and numpy only.
"""

from __future__ import annotations

import abc
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Final, Self

from undercroft._device.base import LoadedModel
from undercroft._device.client import ModelClient
from undercroft._device.invoker import Invoker
from undercroft._device.records import DeviceInfo
from undercroft._spec import INFO_RECORD_BYTES, MAX_EVIDENCE_BYTES, Command, Status
from undercroft.errors import from_status

__all__ = ["LocalDevice"]

DEVICE_KEY_ROOM_BYTES: Final = 256
"""Room for a COSE_Key of X25519; such a key takes about 45 bytes."""


class LocalDevice(abc.ABC):
    """A device whose secure side this process can enter.

    A subclass sets `kind` and implements `open`; everything else follows.
    """

    kind: ClassVar[str]

    def __init__(self, uri: str) -> None:
        self.uri = uri

    @abc.abstractmethod
    def open(self) -> Invoker:
        """Open a session with the secure side.

        Raises:
            EnvironmentMissingError: a library or driver is missing.
            DeviceLostError: the Trusted Application cannot be opened.
        """

    def info(self) -> DeviceInfo:
        """See `Device.info`."""
        record = self._ask(Command.INFO, INFO_RECORD_BYTES)
        return DeviceInfo.parse(self.kind, record)

    def device_key(self) -> bytes:
        """See `Device.device_key`."""
        return self._ask(Command.DEVICE_KEY, DEVICE_KEY_ROOM_BYTES)

    def attest(self, nonce: bytes) -> bytes:
        """See `Device.attest`."""
        return self._ask(Command.ATTEST, MAX_EVIDENCE_BYTES, nonce)

    def update(self, update_bytes: bytes) -> None:
        """See `Device.update`."""
        self._ask(Command.UPDATE, 0, update_bytes)

    def load(
        self,
        sealed_path: Path,
        license_bytes: bytes,
        *,
        keep: bool = True,
    ) -> LoadedModel:
        """See `Device.load`."""
        invoker = self.open()
        try:
            return ModelClient(invoker, sealed_path, license_bytes)
        except BaseException:
            invoker.close()
            raise

    def close(self) -> None:  # noqa: B027 most local devices hold nothing
        """See `Device.close`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(
        self, command: Command, room_bytes: int, data: bytes | None = None
    ) -> bytes:
        invoker = self.open()
        try:
            reply = invoker.invoke(command, data1=data, output_bytes=room_bytes)
        finally:
            invoker.close()
        if reply.status != Status.OK:
            raise from_status(reply.status, reply.detail, command.name)
        return reply.output
