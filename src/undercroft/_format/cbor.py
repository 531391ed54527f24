# SPDX-License-Identifier: Apache-2.0
"""Deterministic CBOR (RFC 8949, section 4.2.1), and nothing else.

The profile of `spec/undercroft.cddl`: integers, byte strings, text strings,
arrays, and maps with integer keys. Whatever is not in it (tags, floats, simple
values, indefinite lengths, longer encodings than needed, unsorted or repeated map
keys, bytes after the end) is refused before the bytes reach the general decoder,
so an accepted input has exactly one encoding: its own.
"""

from __future__ import annotations

from typing import Any, Final

import cbor2

from undercroft.errors import FormatError

MAX_DEPTH: Final = 8
"""Nesting of arrays and maps; the deepest structure in use has 4."""

_ARGUMENT_BYTES: Final = {24: 1, 25: 2, 26: 4, 27: 8}
_SMALLEST: Final = {24: 24, 25: 1 << 8, 26: 1 << 16, 27: 1 << 32}
_NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP = 1, 2, 3, 4, 5


def encode(value: object) -> bytes:
    """Encode integers, bytes, text, lists and dicts deterministically."""
    return cbor2.dumps(_sorted(value))


def decode(data: bytes, what: str) -> Any:  # noqa: ANN401 any CBOR item
    """Decode one item that fills `data`.

    Args:
        data: the encoding.
        what: what it is, for the message: "the header".

    Raises:
        FormatError: not CBOR, not in the profile, or followed by more bytes.
    """
    try:
        end = _check(data, 0, MAX_DEPTH)
        if end != len(data):
            raise _NotInProfileError(f"{len(data) - end} bytes after its end")
        # The profile leaves text that is not UTF-8 to the decoder.
        return cbor2.loads(data)
    except (_NotInProfileError, cbor2.CBORDecodeError, ValueError) as error:
        raise FormatError(
            f"{what} is not deterministically encoded CBOR ({error})",
            hint="get the file again from where it came",
        ) from error


class _NotInProfileError(Exception):
    pass


def _sorted(value: object) -> object:
    if isinstance(value, dict):
        entries = [(key, _sorted(item)) for key, item in value.items()]
        return dict(sorted(entries, key=lambda entry: cbor2.dumps(entry[0])))
    if isinstance(value, list | tuple):
        return [_sorted(item) for item in value]
    return value


def _check(data: bytes, at: int, depth: int) -> int:
    """Check the item at `at` and return where it ends."""
    major, argument, at = _head(data, at)
    if major in (_BYTES, _TEXT):
        if argument > len(data) - at:
            raise _NotInProfileError("truncated in a string")
        return at + argument
    if major in (_ARRAY, _MAP):
        if depth == 0:
            raise _NotInProfileError("nested too deeply")
        # Every item takes a byte, so a huge count ends at the end of the data.
        previous = b""
        for _ in range(argument):
            start = at
            at = _check(data, at, depth - 1)
            if major == _MAP:
                key = data[start:at]
                if key[0] >> 5 > _NEGATIVE:
                    raise _NotInProfileError("a map key that is no number")
                if key <= previous:
                    raise _NotInProfileError("map keys unsorted or repeated")
                previous = key
                at = _check(data, at, depth - 1)
        return at
    return at


def _head(data: bytes, at: int) -> tuple[int, int, int]:
    """Return major type and argument of the item at `at`, and where its body is."""
    if at >= len(data):
        raise _NotInProfileError("truncated")
    major, info = data[at] >> 5, data[at] & 0x1F
    if major > _MAP:
        raise _NotInProfileError("a tag, float or simple value")
    if info < 24:
        return major, info, at + 1
    size = _ARGUMENT_BYTES.get(info)
    if size is None:
        raise _NotInProfileError("an indefinite length or reserved encoding")
    body = at + 1 + size
    if body > len(data):
        raise _NotInProfileError("truncated")
    argument = int.from_bytes(data[at + 1 : body], "big")
    if argument < _SMALLEST[info]:
        raise _NotInProfileError("a number longer than needed")
    return major, argument, body
