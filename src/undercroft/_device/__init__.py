# SPDX-License-Identifier: Apache-2.0
"""Devices: where sealed models run.

::

    board:[NAME]          the emulated board, started when it is not up
    tee:                  the TEE of this machine, over libteec
    http://HOST[:PORT]    an agent (`undercroft serve`) on a board
    host:[?arena=SIZE]    the engine in this process, WITHOUT any protection
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from undercroft.errors import DeviceError

if TYPE_CHECKING:
    from undercroft._device.base import Device

__all__ = ["open_device"]


def open_device(uri: str) -> Device:
    """Return the device that a URI names.

    Nothing is entered yet, but `board:` boots the emulated board when it is not
    up, which takes about 15 s.

    Raises:
        DeviceError: no such kind of device, or a malformed URI.
        EnvironmentMissingError: a library, driver or tool is missing.
        HarnessError: the emulated board does not come up.
    """
    scheme, colon, _ = uri.partition(":")
    if colon:
        match scheme:
            case "host":
                from undercroft._device.host import HostDevice

                return HostDevice(uri)
            case "tee":
                from undercroft._device.tee import TeeDevice

                return TeeDevice(uri)
            case "http":
                from undercroft._device.http import HttpDevice

                return HttpDevice(uri)
            case "board":
                from undercroft._device.http import open_board

                return open_board(uri)
    raise DeviceError(
        f"no such device: {uri!r}",
        hint="use board:, tee:, http://HOST:PORT or host:",
    )
