# SPDX-License-Identifier: Apache-2.0
"""The engine's page ciphers, of the host and of the Trusted Application."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from helpers.aead import (
    HEAD_BYTES,
    KEY,
    NONCE,
    OPEN,
    PLACES,
    SEAL,
    TAG,
    instructions,
    message,
    run,
)
from helpers.suites import PUBLISHED, SUITES, seal

pytestmark = pytest.mark.engine

BLOCKS = [*range(18), 31, 32, 33, 63, 64, 65, 4096]
# Of the files that go into the Trusted Application; copying a page before each
# opening is part of it.
INSTRUCTIONS_PER_BYTE = {
    "aes-256-gcm": (3.2, 3.6),
    "aegis-128l": (1.2, 1.5),
    "chacha20-poly1305": (10, 11),
}

each_place = pytest.mark.parametrize("place", PLACES)
each_suite = pytest.mark.parametrize("suite", SUITES)


def opened(place: str, packed: bytes) -> tuple[bool, bytes]:
    good, _, data = run(place, packed)
    return good, data


@each_place
@each_suite
def test_published_vectors_hold(suite: str, place: str) -> None:
    assert PUBLISHED[suite]
    for vector in PUBLISHED[suite]:
        key = vector.key.ljust(32, b"\0")
        packed = message(
            suite, SEAL, key=key, nonce=vector.nonce, tag=bytes(16), data=vector.text
        )
        good, tag, data = run(place, packed)
        assert good
        assert data == vector.sealed
        assert vector.tag in (None, tag)
        packed = message(
            suite, OPEN, key=key, nonce=vector.nonce, tag=tag, data=vector.sealed
        )
        assert opened(place, packed) == (True, vector.text)


@each_place
@each_suite
@pytest.mark.parametrize("blocks", BLOCKS)
def test_what_was_sealed_opens_and_a_changed_bit_does_not(
    blocks: int, suite: str, place: str
) -> None:
    rng = random.Random(blocks)
    key, nonce, text = (rng.randbytes(size) for size in (32, 12, 16 * blocks))
    sealed = seal(suite, key, nonce, text)
    packed = message(
        suite, OPEN, key=key, nonce=nonce, tag=sealed[-16:], data=sealed[:-16]
    )
    assert opened(place, packed) == (True, text)
    places = [KEY, KEY + SUITES[suite].key_bytes - 1, NONCE, NONCE + 11, TAG, TAG + 15]
    if blocks:
        places += [HEAD_BYTES, len(packed) - 1]
    for at in places:
        changed = bytearray(packed)
        changed[at] ^= 1 << rng.randrange(8)
        assert opened(place, bytes(changed)) == (False, bytes(len(text))), at


@each_place
@each_suite
@pytest.mark.parametrize("blocks", BLOCKS)
def test_what_is_sealed_is_what_others_seal(
    blocks: int, suite: str, place: str
) -> None:
    rng = random.Random(blocks)
    key, nonce, text = (rng.randbytes(size) for size in (32, 12, 16 * blocks))
    packed = message(suite, SEAL, key=key, nonce=nonce, tag=bytes(16), data=text)
    good, tag, data = run(place, packed)
    assert good
    assert data + tag == seal(suite, key, nonce, text)


@each_place
@each_suite
@pytest.mark.parametrize("mode", [OPEN, SEAL])
@pytest.mark.parametrize("size", [1, 15, 17, 4095])
def test_a_part_of_a_block_is_refused(
    size: int, mode: int, suite: str, place: str
) -> None:
    key, nonce, text = bytes(32), bytes(12), b"t" * size
    sealed = seal(suite, key, nonce, text)
    packed = message(
        suite, mode, key=key, nonce=nonce, tag=sealed[-16:], data=sealed[:-16]
    )
    good, tag, data = run(place, packed)
    assert (good, data) == (False, bytes(size))
    assert mode == OPEN or tag == bytes(16)


@each_suite
@pytest.mark.parametrize("mode", [OPEN, SEAL])
def test_a_page_takes_so_many_instructions_a_byte(
    mode: int, suite: str, tmp_path: Path
) -> None:
    size = 65536
    key, nonce = bytes(32), bytes(12)
    sealed = seal(suite, key, nonce, bytes(size))
    packed = message(
        suite, mode, key=key, nonce=nonce, tag=sealed[-16:], data=sealed[:-16]
    )
    counts = [instructions(packed, rounds, tmp_path) for rounds in (1, 2)]
    least, most = INSTRUCTIONS_PER_BYTE[suite]
    assert least < (counts[1] - counts[0]) / size < most
