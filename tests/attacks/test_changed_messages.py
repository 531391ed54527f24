# SPDX-License-Identifier: Apache-2.0
"""A header, license, update or time token changed in any byte; and malformed ones.

Asset: keys and terms behind the parsers of the secure world.
Attack: every byte changed to some forty others (all 255 under `make test-exhaustive`),
    cut, extended, bytes inserted, moved; 6,000 mutants of each that a provider signed.
Defence: one canonical form, signatures over the bytes as they stand, bounds and
    left-overs checked. The Python reader is the oracle of the engine's: what it calls
    malformed, the engine must call BAD_HEADER, BAD_LICENSE or BAD_UPDATE; what it calls
    well formed must fail for its signature or, where the change was signed, be opened.
Invariant: 3, 4
Runs on: host
Also: tests/fuzz/fuzz_open.c, tests/fuzz/fuzz_update.c,
    tests/conformance/test_vectors.py
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator

import cbor2
import pytest

from helpers.model_open import Opened, Request, open_models
from helpers.provider import Shipment, ship
from undercroft._format import cbor
from undercroft._format.cose import SignedMessage
from undercroft._format.header import SealedHeader
from undercroft._spec import (
    MAX_HEADER_BYTES,
    MAX_LICENSE_BYTES,
    MAX_UPDATE_BYTES,
    Status,
)
from undercroft.errors import FormatError
from undercroft.keys import ProviderKey
from undercroft.license import License, LicenseTerms, issue
from undercroft.tensor import TensorInfo
from undercroft.update import (
    Revocation,
    Successor,
    Update,
    VersionFloor,
    issue_update,
)

pytestmark = pytest.mark.engine

PARTS = ("header", "license", "update", "time token")
MALFORMED = {
    "header": Status.BAD_HEADER,
    "license": Status.BAD_LICENSE,
    "update": Status.BAD_UPDATE,
    "time token": Status.BAD_UPDATE,
}
LIMITS = {
    "header": MAX_HEADER_BYTES,
    "license": MAX_LICENSE_BYTES,
    "update": MAX_UPDATE_BYTES,
    "time token": MAX_UPDATE_BYTES,
}
TERMS = LicenseTerms(
    expires=2_000_000_000,
    not_before=1,
    grace_seconds=9,
    max_inferences=1000,
    rate=(100, 60),
    version_floor=1,
    without_time=True,
    update_floor=0,
)
SIGNED_MUTANTS = 6000
ITEM_STARTS = bytes.fromhex("00 17 18 19 1a 1b 20 38 40 57 58 59 5f 60 78 7f 80 9f a0")
ITEM_STARTS += bytes.fromhex("b8 bf c0 c2 d8 f4 f5 f6 f7 f9 fa fb ff")


@pytest.fixture(scope="module")
def shipment() -> Shipment:
    plain = ship()
    permit = issue(
        model_key=plain.model_key,
        device=plain.device.public,
        signing_key=plain.provider,
        terms=TERMS,
        issued_at=1_800_000_000,
    )
    return dataclasses.replace(plain, license=permit)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    "every_value",
    [
        pytest.param(False, id="every-position"),
        pytest.param(True, id="every-position-and-value", marks=pytest.mark.exhaustive),
    ],
)
def test_no_change_of_one_byte_is_accepted(shipment, part, every_value):
    good = original(shipment, part)
    mutants = []
    for at, byte in enumerate(good):
        values = {byte ^ (1 << bit) for bit in range(8)} | set(ITEM_STARTS)
        if every_value:
            values = set(range(256))
        mutants += [
            good[:at] + bytes([value]) + good[at + 1 :]
            for value in sorted(values - {byte})
        ]
    assert len(mutants) >= len(good) * (255 if every_value else 20)
    for mutant, opened in zip(mutants, run(shipment, part, mutants), strict=True):
        expected = expected_of_unsigned(part, mutant)
        assert opened.status == expected, describe(part, good, mutant)
        assert opened.is_blank


def test_every_truncation_is_refused(shipment):
    for part in PARTS:
        good = original(shipment, part)
        mutants = [good[:length] for length in range(len(good))]
        for opened in run(shipment, part, mutants):
            assert opened.status == MALFORMED[part]
            assert opened.is_blank


def test_every_extension_is_refused(shipment):
    for part in PARTS:
        good = original(shipment, part)
        mutants = [good + bytes([value]) for value in range(256)]
        mutants += [bytes([value]) + good for value in range(256)]
        mutants += [good + good, good.ljust(LIMITS[part], b"\0")]
        mutants += [good.ljust(LIMITS[part] + 1, b"\0"), bytes(LIMITS[part] * 2)]
        for opened in run(shipment, part, mutants):
            assert opened.status == MALFORMED[part]
            assert opened.is_blank


def test_inserted_deleted_and_moved_bytes_are_refused(shipment):
    for part in PARTS:
        good = original(shipment, part)
        mutants = [good[:at] + good[at + 1 :] for at in range(len(good))]
        mutants += [
            good[:at] + bytes([value]) + good[at:]
            for at in range(len(good))
            for value in ITEM_STARTS
        ]
        mutants += [
            good[:at] + good[at + 1 : at + 2] + good[at : at + 1] + good[at + 2 :]
            for at in range(len(good) - 1)
        ]
        # Of two equal neighbours, removing or swapping either is no change.
        mutants = [mutant for mutant in mutants if mutant != good]
        for mutant, opened in zip(mutants, run(shipment, part, mutants), strict=True):
            expected = expected_of_unsigned(part, mutant)
            assert opened.status == expected, describe(part, good, mutant)
            assert opened.is_blank


def test_both_readers_judge_signed_headers_alike(shipment):
    source = random.Random(20)
    payload = shipment.header.encode()
    mutants = list(signed_mutants(shipment, payload, source, SIGNED_MUTANTS))
    accepted = 0
    for mutant, opened in zip(mutants, run(shipment, "header", mutants), strict=True):
        well_formed = header_is_well_formed_but_for_io(mutant)
        expected = {Status.BAD_HEADER}
        if well_formed:
            expected = {Status.OK, Status.WRONG_MODEL}
        assert opened.status in expected, mutant.hex()
        accepted += opened.status == Status.OK
    # Else the test would say nothing about what is accepted.
    assert accepted > SIGNED_MUTANTS // 20


def test_both_readers_judge_signed_licenses_alike(shipment):
    source = random.Random(21)
    payload = License.parse(shipment.license).claims.encode()
    mutants = list(signed_mutants(shipment, payload, source, SIGNED_MUTANTS))
    well_formed_count = 0
    for mutant, opened in zip(mutants, run(shipment, "license", mutants), strict=True):
        if is_well_formed(lambda: License.parse(mutant)):  # noqa: B023 called at once
            well_formed_count += 1
            expected = {
                Status.OK,
                Status.WRONG_MODEL,
                Status.WRONG_DEVICE,
                Status.NOT_AUTHENTIC,
                *CONDITIONS,
            }
        else:
            expected = {Status.BAD_LICENSE}
        assert opened.status in expected, mutant.hex()
    assert well_formed_count > SIGNED_MUTANTS // 20


CONDITIONS = {
    Status.EXPIRED,
    Status.NOT_YET_VALID,
    Status.MODEL_TOO_OLD,
    Status.UPDATE_NEEDED,
    Status.UNSUPPORTED_FEATURE,
    Status.NO_TIME,
}


def test_both_readers_judge_signed_updates_alike(shipment):
    source = random.Random(22)
    payload = Update.parse(original(shipment, "update")).message.payload
    mutants = list(signed_mutants(shipment, payload, source, SIGNED_MUTANTS))
    accepted = 0
    for mutant, opened in zip(mutants, run(shipment, "update", mutants), strict=True):
        if is_well_formed(lambda: Update.parse(mutant)):  # noqa: B023 called at once
            assert opened.status == Status.OK, mutant.hex()
            accepted += 1
        else:
            assert opened.status == Status.BAD_UPDATE, mutant.hex()
    assert accepted > SIGNED_MUTANTS // 20


def original(shipment: Shipment, part: str) -> bytes:
    if part == "time token":
        return issue_update(signing_key=shipment.provider, issued_at=1_900_000_000)
    if part == "update":
        return issue_update(
            signing_key=shipment.provider,
            version=3,
            revocations=[
                Revocation(bytes(16), 1000),
                Revocation(bytes(16), 1, shipment.device.public.device_id),
            ],
            floors=[VersionFloor(bytes(16), 70000)],
            successor=Successor(ProviderKey.from_seed(bytes(32)).public()),
            issued_at=1_900_000_000,
        )
    return shipment.header_bytes if part == "header" else shipment.license


def run(shipment: Shipment, part: str, mutants: list[bytes]) -> list[Opened]:
    def request(mutant: bytes) -> Request:
        if part in {"update", "time token"}:
            return Request(b"", b"", updates=(mutant,))
        if part == "header":
            return Request(mutant, shipment.license)
        return Request(shipment.header_bytes, mutant)

    # After all of that, what is right is taken.
    requests = [*map(request, mutants), request(original(shipment, part))]
    opened = open_models(requests, device_private=shipment.device.private)
    assert_right_is_taken(opened.pop())
    return opened


def assert_right_is_taken(opened: Opened) -> None:
    assert opened.status == Status.OK


def expected_of_unsigned(part: str, mutant: bytes) -> Status:
    if part == "header":
        well_formed = header_is_well_formed_but_for_io(mutant)
    else:
        parse = License.parse if part == "license" else Update.parse
        well_formed = is_well_formed(lambda: parse(mutant))
    return Status.NOT_AUTHENTIC if well_formed else MALFORMED[part]


def is_well_formed(parse: Callable[[], object]) -> bool:
    try:
        parse()
    except FormatError:
        return False
    return True


def header_is_well_formed_but_for_io(mutant: bytes) -> bool:
    """Judge as the engine does, which leaves inputs and outputs to the outside."""
    try:
        payload = SignedMessage.parse(mutant, "the header").payload
        fields = cbor.decode(payload, "the payload")
        if isinstance(fields, dict) and isinstance(fields.get(11), bytes):
            tensor = ["x", 1, []]
            fields[11] = cbor.encode({1: [tensor], 2: [tensor]})
            if isinstance(fields.get(10), int) and fields[10] >= 0:
                # The smallest tensor asks for 4 bytes, the engine for none here.
                fields[10] |= 4
            payload = cbor.encode(fields)
        SealedHeader.parse(payload)
    except FormatError:
        return False
    return True


def signed_mutants(
    shipment: Shipment, payload: bytes, source: random.Random, count: int
) -> Iterator[bytes]:
    """Change a payload in one to three places and sign what came out."""
    for _ in range(count):
        changed = bytearray(payload)
        for _ in range(source.choice((1, 1, 2, 3))):
            at = source.randrange(len(changed))
            match source.randrange(5):
                case 0:
                    changed[at] = source.randrange(256)
                case 1:
                    changed[at] = source.choice(ITEM_STARTS)
                case 2:
                    changed.insert(at, source.choice(ITEM_STARTS))
                case 3:
                    del changed[at]
                case 4:
                    changed[at] ^= 1 << source.randrange(8)
        yield shipment.provider.sign_message(bytes(changed))


def describe(part: str, good: bytes, mutant: bytes) -> str:
    at = next(
        (i for i, (a, b) in enumerate(zip(good, mutant, strict=False)) if a != b), 0
    )
    return f"{part} changed at {at}: {mutant[at : at + 4].hex()}"


def test_the_oracle_itself_accepts_the_good_header(shipment):
    assert header_is_well_formed_but_for_io(shipment.header_bytes)
    fields = cbor2.loads(shipment.header.encode())
    assert len(fields) == 11
    large = ship(
        inputs=tuple(TensorInfo(f"{i}" * 100, (1,) * 8) for i in range(16)),
        outputs=tuple(TensorInfo(f"{i}" * 100, (1,) * 8) for i in range(16)),
    )
    (opened,) = open_models(
        [Request(large.header_bytes, large.license)],
        device_private=large.device.private,
    )
    assert opened.status == Status.OK
