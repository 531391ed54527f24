# SPDX-License-Identifier: Apache-2.0
"""Sizes of memory in device URIs: `12MiB`, `512KiB`, `1GiB`, or bytes."""

from __future__ import annotations

from typing import Final

from undercroft.errors import DeviceError

_UNITS: Final = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_MAX_DIGITS: Final = 10


def parse_size(text: str, *, hint: str) -> int:
    """Return a size in bytes.

    Raises:
        DeviceError: it is none; the hint says how to write one.
    """
    number, unit = text, 1
    for name, factor in _UNITS.items():
        if text.endswith(name):
            number, unit = text.removesuffix(name), factor
    if not (number.isascii() and number.isdigit() and len(number) <= _MAX_DIGITS):
        raise DeviceError(f"{text!r} is no size", hint=hint)
    return int(number) * unit
