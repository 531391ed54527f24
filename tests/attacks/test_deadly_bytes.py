# SPDX-License-Identifier: Apache-2.0
"""Bytes that would end a careless Trusted Application.

Asset: every session that the Trusted Application serves, and what they hold.
Attack: keys off the curve and points of small order, at which OP-TEE's own functions
    panic; garbage, endless and deeply nested CBOR as header and license; the largest
    sizes of both.
Defence: form and bounds are checked first; what could panic is called below libutee.
Invariant: 3, 4
Runs on: host, board
Also: tests/fuzz/fuzz_open.c, tests/conformance/test_vectors.py
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from helpers.attacked import (
    PROVIDER,
    Attacked,
    Batch,
    Raw,
    assert_next_is_right,
    status,
)
from undercroft._device.host import HostDevice
from undercroft._format.cose import CRV_ED25519, SignedMessage, key_thumbprint
from undercroft._format.license import LicenseClaims
from undercroft._spec import MAX_HEADER_BYTES, MAX_LICENSE_BYTES, Command, Status

ENDLESS = ("84", "d284", "9f", "bf", "5b" + "ff" * 8, "9b" + "ff" * 8, "d2" * 50)
MALFORMED = {Status.BAD_HEADER, Status.BAD_LICENSE}
SMALL_ORDER = (bytes(32), b"\1" + bytes(31), (2**255 - 20).to_bytes(32, "little"))


def off_the_curve(goods: Attacked) -> Iterator[tuple[bytes, bytes]]:
    """Header and license by keys of which about half are no points."""
    public = PROVIDER.public().raw
    for first_byte in range(16):
        fake = bytes([first_byte]) + public[1:]
        ids = (PROVIDER.key_id, key_thumbprint(CRV_ED25519, fake))
        header, permit = (
            data.replace(public, fake).replace(*ids)
            for data in (goods.header, goods.license)
        )
        assert header != goods.header
        yield header, permit


def of_small_order(goods: Attacked) -> Iterator[tuple[bytes, bytes]]:
    """A license whose wrapped key leads to a secret of zeros."""
    claims = LicenseClaims.parse(SignedMessage.parse(goods.license, "it").payload)
    encapsulated = claims.wrapped_key.encapsulated_key
    assert len(encapsulated) == 32
    for point in SMALL_ORDER:
        wrapped = claims.content_key.replace(encapsulated, point)
        assert wrapped != claims.content_key
        changed = replace(claims, content_key=wrapped)
        yield goods.header, PROVIDER.sign_message(changed.encode())


def garbage(goods: Attacked) -> Iterator[tuple[bytes, bytes]]:
    """Nothing that could be parsed."""
    choose = random.Random(3)
    for size in (0, 1, 2, 15, 64, 500, MAX_LICENSE_BYTES):
        yield choose.randbytes(size), choose.randbytes(size)
        yield goods.header, choose.randbytes(size)
    for start in ENDLESS:
        text = bytes.fromhex(start) + bytes(64)
        yield text, text
        yield goods.header, text
    yield bytes(MAX_HEADER_BYTES), goods.license
    yield bytes(MAX_HEADER_BYTES + 1), goods.license
    yield goods.header, bytes(MAX_LICENSE_BYTES + 1)


KINDS = (off_the_curve, of_small_order, garbage)


def expected(kind: Callable[..., object]) -> set[Status]:
    return MALFORMED if kind is garbage else {Status.NOT_AUTHENTIC}


@pytest.mark.engine
@pytest.mark.parametrize("kind", KINDS)
def test_they_are_refused_on_the_host(
    host: HostDevice, goods: Attacked, kind: Callable[..., Iterator]
) -> None:
    tried = 0
    for header, permit in kind(goods):
        session = Raw(host)
        params = [["in", header], ["in", permit], ["value_output"]]
        answer = session.call(Command.OPEN, ["value_inout", 0, 0], *params)
        assert answer is not None
        assert answer.status in expected(kind), (header.hex(), permit.hex())
        assert answer.values[3] == (0, 0)
        session.close()
        assert_next_is_right(host, goods)
        tried += 1
    assert tried >= 3


@pytest.mark.board
@pytest.mark.timeout(900)
def test_they_are_refused_on_the_board(batch: Callable[[], Batch]) -> None:
    made = batch()
    places: list[tuple[int, set[Status]]] = []
    for kind in KINDS:
        for header, permit in kind(made.attacked):
            params = [["in", header.hex()], ["in", permit.hex()], ["value_output"]]
            place = made.steps.call(Command.OPEN, ["value_inout", 0, 0], *params)
            places.append((place, expected(kind)))
    for kind in ("null_in", "buffer_in"):
        for size in (100, 2 << 20):
            params = [[kind, size], [kind, size], ["value_output"]]
            made.steps.call(Command.OPEN, ["value_inout", 0, 0], *params)
    made.honest()
    answers = made.run()
    for place, wanted in places:
        assert status(answers[place]) in wanted
        assert answers[place]["values"]["3"] == [0, 0]
