# SPDX-License-Identifier: Apache-2.0
"""Extensions of every message: what is kept, and what is refused.

The same cases for each message that takes extensions, so that no reader is
stricter or laxer than another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import cbor2
from generators import certificate_vectors, evidence_vectors
from generators.base import Fields, sign, vector
from generators.parts import (
    TOLD,
    bad_header,
    bad_license,
    claims,
    encoded_map,
    header_fields,
    opening,
    updating,
)

FIRST, LAST = -131073, -196608
Entries = list[tuple[int, Any]]


@dataclass(frozen=True)
class Message:
    """One message: what it says besides, and how a reader answers.

    Attributes:
        name: the first word of its vectors' names.
        entries: its payload without extensions.
        accept: returns a vector that is taken, of an encoded payload.
        refuse: returns a vector that is refused for its form.
    """

    name: str
    entries: Callable[[], dict[int, Any]]
    accept: Callable[[bytes], Fields]
    refuse: Callable[[bytes], Fields]


def _signed(payload: bytes) -> bytes:
    return cbor2.dumps(sign(payload))


MESSAGES = (
    Message(
        "header",
        header_fields,
        lambda payload: opening("OK", signed=_signed(payload)),
        lambda payload: bad_header(_signed(payload)),
    ),
    Message(
        "license",
        claims,
        lambda payload: opening("OK", permit=_signed(payload)),
        lambda payload: bad_license(_signed(payload)),
    ),
    Message(
        "update",
        lambda: {6: TOLD},
        lambda payload: updating("OK", _signed(payload)),
        lambda payload: updating("BAD_UPDATE", _signed(payload)),
    ),
    Message(
        "evidence",
        evidence_vectors.claims,
        lambda payload: evidence_vectors.judged("OK", _signed(payload)),
        lambda payload: evidence_vectors.bad(_signed(payload)),
    ),
    Message(
        "certificate",
        certificate_vectors.entries,
        lambda payload: certificate_vectors.reading("OK", payload),
        lambda payload: certificate_vectors.reading("FORMAT", payload),
    ),
)

# What the name says of the vector, what it is about, the extensions, and whether
# they are kept.
CASES: tuple[tuple[str, str, Iterable[tuple[int, Any]], bool], ...] = (
    (
        "ok-with-extensions",
        "The first and the last key that there is, and bytes that are no CBOR.",
        [(FIRST, b""), (FIRST - 1, b"\xff\xff"), (LAST, cbor2.dumps({1: [2]}))],
        True,
    ),
    (
        "ok-with-the-most-extensions",
        "Eight extensions.",
        [(FIRST - i, bytes([i])) for i in range(8)],
        True,
    ),
    (
        "ok-with-a-large-extension",
        "An extension of 1024 bytes.",
        [(FIRST, bytes(1024))],
        True,
    ),
    (
        "with-an-unknown-critical-key",
        "A key right before the range of extensions: what it says must not be ignored.",
        [(FIRST + 1, b"")],
        False,
    ),
    (
        "with-a-key-behind-the-extensions",
        "A key right behind the range of extensions.",
        [(LAST - 1, b"")],
        False,
    ),
    (
        "with-an-extension-of-1025-bytes",
        "An extension one byte over the limit.",
        [(FIRST, bytes(1025))],
        False,
    ),
    (
        "with-nine-extensions",
        "One extension more than the limit.",
        [(FIRST - i, b"") for i in range(9)],
        False,
    ),
    (
        "with-an-extension-nested-deeply",
        "The value is arrays in one another instead of a byte string.",
        [(FIRST, [[[[[[[[[[]]]]]]]]]])],
        False,
    ),
    (
        "with-extensions-unsorted",
        "The later key stands before the earlier one.",
        [(FIRST - 1, b""), (FIRST, b"")],
        False,
    ),
    (
        "with-an-extension-twice",
        "The same key with two values.",
        [(FIRST, b"1"), (FIRST, b"2")],
        False,
    ),
)


def _build(message: Message, extensions: Entries, kept: bool) -> Fields:
    payload = encoded_map(*message.entries().items(), *extensions)
    return (message.accept if kept else message.refuse)(payload)


def _register(
    message: Message, case: str, about: str, extensions: Entries, kept: bool
) -> None:
    def builder() -> Fields:
        return _build(message, extensions, kept)

    builder.__name__ = f"{message.name}_{case}"
    builder.__doc__ = about
    vector(builder)


for _message in MESSAGES:
    for _case, _about, _extensions, _kept in CASES:
        _register(_message, _case, _about, list(_extensions), _kept)


@vector
def header_with_extensions_before_its_io() -> Fields:
    """An extension stands before a known key, where it does not sort to."""
    fields = list(header_fields().items())
    return bad_header(_signed(encoded_map(*fields[:-1], (FIRST, b""), fields[-1])))
