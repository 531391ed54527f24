# SPDX-License-Identifier: Apache-2.0
"""The OP-TEE port's functions against other implementations, on the board.

A Trusted Application for tests (`port_ta/`) hands out the functions of
`engine/include/uc_port.h` as they are linked into the real one.
"""

from __future__ import annotations

import hashlib
import hmac
import random
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey,
    X25519PublicKey,
)
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from helpers import guest
from helpers.suites import PUBLISHED, SUITES, seal

pytestmark = [pytest.mark.board, pytest.mark.timeout(900)]

SHA256, HMAC, ED25519, AES128GCM, PAGE, PUBLIC_KEY, DH, TICKS, PANIC = range(9)
SEAL_PAGE, RANDOM = 9, 10

# Points of small order, in both encodings where there are two: a shared secret
# with any of them is zero (RFC 7748, section 6.1).
_P = 2**255 - 19
SMALL_ORDER_POINTS = [
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    _P - 1,
    _P,
    _P + 1,
]


each_suite = pytest.mark.parametrize("suite", SUITES)


@pytest.fixture(scope="module", autouse=True)
def board() -> None:
    guest.up()


class Batch:
    """Calls of the port's functions, answered together."""

    def __init__(self) -> None:
        self.steps = guest.Steps(uuid=guest.PORT_TA_UUID)
        self.steps.open()

    def add(self, command: int, data: bytes, room: int, argument: int = 0) -> int:
        return self.steps.call(
            command, ["value_inout", argument, 0], ["in", data.hex()], ["out", room]
        )

    def run(self) -> list[dict[str, Any]]:
        return self.steps.run()


def good(answer: dict[str, Any]) -> bool:
    """What the function returned."""
    assert answer.get("result") == 0, answer
    value: int = answer["values"]["0"][0]
    assert value in (0, 1)
    return value == 1


def output(answer: dict[str, Any]) -> bytes:
    return bytes.fromhex(answer["outputs"]["2"]["memory"])


def test_sha256_of_many_lengths_is_hashlibs() -> None:
    batch = Batch()
    messages = [bytes(range(256))[:size] for size in (0, 1, 55, 56, 63, 64, 65, 255)]
    indices = [batch.add(SHA256, message, 32) for message in messages]
    answers = batch.run()
    for index, message in zip(indices, messages, strict=True):
        assert good(answers[index])
        assert output(answers[index]) == hashlib.sha256(message).digest()


def test_hmac_takes_keys_of_any_length() -> None:
    batch = Batch()
    key, text = bytes(range(200)) * 2, b"a message"
    cases = []
    for size in (0, 1, 16, 23, 32, 63, 64, 65, 128, 129, 300):
        for message in (text, b""):
            expected = hmac.digest(key[:size], message, "sha256")
            place = batch.add(HMAC, key[:size] + message, 32, size)
            cases.append((place, expected))
    answers = batch.run()
    assert len(cases) == 22
    for place, expected in cases:
        assert good(answers[place])
        assert output(answers[place]) == expected


def test_ed25519_accepts_a_signature_and_no_change_of_it() -> None:
    batch = Batch()
    private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    public = private.public_key().public_bytes_raw()
    cases = []
    for size in (0, 1, 100, 16384):
        message = bytes(size)
        signature = private.sign(message)
        cases.append((batch.add(ED25519, public + signature + message, 1), True))
        for place in (0, 31, 32, 63):
            changed = bytearray(signature)
            changed[place] ^= 1
            packed = public + bytes(changed) + message
            cases.append((batch.add(ED25519, packed, 1), False))
        packed = public + signature + message + b"\0"
        cases.append((batch.add(ED25519, packed, 1), False))
        other = bytes([public[0] ^ 1]) + public[1:]
        cases.append((batch.add(ED25519, other + signature + message, 1), False))
    answers = batch.run()
    assert [good(answers[index]) for index, _ in cases] == [want for _, want in cases]


def test_aes128gcm_opens_in_place_and_wipes_what_it_refuses() -> None:
    batch = Batch()
    rng = random.Random(1)
    cases: list[tuple[int, bytes | None, int]] = []
    for size in (0, 1, 16, 32, 48, 100, 700):
        for aad in (b"", b"additional"):
            key, nonce, text = (rng.randbytes(n) for n in (16, 12, size))
            sealed = AESGCM(key).encrypt(nonce, text, aad)
            data, tag = sealed[:-16], sealed[-16:]
            packed = key + nonce + tag + aad + data
            cases.append((batch.add(AES128GCM, packed, size, len(aad)), text, size))
            bad = key + nonce + bytes([tag[0] ^ 128]) + tag[1:] + aad + data
            cases.append((batch.add(AES128GCM, bad, size, len(aad)), None, size))
    answers = batch.run()
    for index, text, size in cases:
        assert good(answers[index]) == (text is not None)
        assert output(answers[index]) == (text if text is not None else bytes(size))


@each_suite
def test_page_cipher_passes_published_vectors(suite: str) -> None:
    batch = Batch()
    number = SUITES[suite].number
    cases = []
    for vector in PUBLISHED[suite]:
        key = vector.key.ljust(32, b"\0")
        packed = key + vector.nonce + bytes(16) + vector.text
        room = len(vector.text) + 16
        cases.append((batch.add(SEAL_PAGE, packed, room, number), vector))
    answers = batch.run()
    assert cases
    for place, vector in cases:
        assert good(answers[place])
        sealed = output(answers[place])
        assert sealed[16:] == vector.sealed
        assert vector.tag in (None, sealed[:16])


@each_suite
def test_page_cipher_opens_every_number_of_blocks(suite: str) -> None:
    batch = Batch()
    number = SUITES[suite].number
    rng = random.Random(2)
    cases: list[tuple[int, bytes | None, int]] = []

    def add(packed: bytes, size: int, text: bytes | None) -> None:
        cases.append((batch.add(PAGE, packed, size, number), text, size))

    for blocks in (*range(18), 63, 64, 65, 256, 257):
        key, nonce, text = (rng.randbytes(n) for n in (32, 12, blocks * 16))
        sealed = seal(suite, key, nonce, text)
        packed = key + nonce + sealed[-16:] + sealed[:-16]
        add(packed, len(text), text)
        for change in (32, 44, 59, 60 if blocks else 44, len(packed) - 1):
            bad = bytearray(packed)
            bad[change] ^= 1
            add(bytes(bad), len(text), None)
    # A part of a block is no page.
    add(bytes(60 + 17), 17, None)
    answers = batch.run()
    for index, expected, size in cases:
        assert good(answers[index]) == (expected is not None)
        assert output(answers[index]) == (expected or bytes(size))


@each_suite
def test_page_cipher_seals_what_others_would(suite: str) -> None:
    batch = Batch()
    number = SUITES[suite].number
    rng = random.Random(3)
    cases: list[tuple[int, bytes]] = []
    for blocks in (*range(18), 63, 64, 65, 256, 257):
        key, nonce, text = (rng.randbytes(n) for n in (32, 12, blocks * 16))
        sealed = seal(suite, key, nonce, text)
        packed = key + nonce + bytes(16) + text
        place = batch.add(SEAL_PAGE, packed, len(text) + 16, number)
        cases.append((place, sealed[-16:] + sealed[:-16]))
    refused = batch.add(SEAL_PAGE, bytes(60 + 17), 17 + 16, number)
    answers = batch.run()
    for place, expected in cases:
        assert good(answers[place])
        assert output(answers[place]) == expected
    assert not good(answers[refused])
    assert output(answers[refused]) == bytes(17 + 16)


def test_random_bytes_differ() -> None:
    batch = Batch()
    places = [batch.add(RANDOM, b"", 32) for _ in range(4)]
    answers = batch.run()
    assert len({output(answers[place]) for place in places}) == 4
    assert all(good(answers[place]) for place in places)


def test_device_dh_is_the_peers_x25519() -> None:
    batch = Batch()
    peer = X25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
    public = batch.add(PUBLIC_KEY, b"", 32)
    shared = batch.add(DH, peer.public_key().public_bytes_raw(), 32)
    again = batch.add(PUBLIC_KEY, b"", 32)
    answers = batch.run()
    assert all(good(answers[index]) for index in (public, shared, again))
    assert output(answers[public]) == output(answers[again]) != bytes(32)
    device = X25519PublicKey.from_public_bytes(output(answers[public]))
    assert output(answers[shared]) == peer.exchange(device)


def test_device_dh_refuses_points_of_small_order_and_lives_on() -> None:
    batch = Batch()
    points = [point.to_bytes(32, "little") for point in SMALL_ORDER_POINTS]
    # The top bit does not count (RFC 7748, section 5).
    points += [point[:31] + bytes([point[31] | 0x80]) for point in points]
    indices = [batch.add(DH, point, 32) for point in points]
    alive = batch.add(PUBLIC_KEY, b"", 32)
    answers = batch.run()
    assert len(indices) == 14
    for index in indices:
        assert not good(answers[index])
        assert output(answers[index]) == bytes(32)
    assert good(answers[alive])


def test_ticks_count_and_have_a_frequency() -> None:
    batch = Batch()
    few = batch.add(TICKS, b"", 1, 2)
    many = batch.add(TICKS, b"", 1, 40)
    answers = batch.run()
    few_ticks, hz = answers[few]["values"]["0"]
    many_ticks, _ = answers[many]["values"]["0"]
    assert hz == 62_500_000
    assert 0 < few_ticks < many_ticks


def test_a_ta_that_panics_is_an_error_in_words_and_the_next_one_opens() -> None:
    batch = Batch()
    died = batch.add(PANIC, b"", 1)
    after = batch.add(PUBLIC_KEY, b"", 32)
    batch.steps.close()
    batch.steps.open()
    fresh = batch.add(PUBLIC_KEY, b"", 32)
    answers = batch.run()
    for index in (died, after):
        code, words = answers[index]["error"]
        assert code == "DeviceLost"
        assert "died" in words
        assert "0xffff" not in words
    assert good(answers[fresh])
