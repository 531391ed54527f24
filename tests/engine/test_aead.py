# SPDX-License-Identifier: Apache-2.0
"""The engine's page ciphers, of the host and of the Trusted Application."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from helpers.aead import (
    HEAD_BYTES,
    KEY,
    NONCE,
    OPEN,
    OPEN_SHARED,
    PLACES,
    READ_ONCE,
    SEAL,
    TAG,
    instructions,
    message,
    run,
    run_all,
    watched,
)
from helpers.instructions import build_plugin
from helpers.suites import PUBLISHED, SUITES, seal

pytestmark = pytest.mark.engine

# Numbers of blocks: up to two batches of the widest cipher and more than its group
# of counters; a page of 64 KiB. The last one carries into the third byte from the
# end of AES-256-GCM's counter.
BLOCKS = [*range(40), 63, 64, 65, *range(252, 276), 300, 4096]
CARRY_BLOCKS = 65536 + 32
# Of the files that go into the Trusted Application; copying a page before each
# opening is part of it.
INSTRUCTIONS_PER_BYTE = {
    "aes-256-gcm": (2.4, 2.65),
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


def sealed_by_others(suite: str, blocks: int) -> tuple[bytes, bytes]:
    """Return text and what opens to it, packed, of random keys and nonces."""
    rng = random.Random(blocks)
    key, nonce, text = (rng.randbytes(size) for size in (32, 12, 16 * blocks))
    sealed = seal(suite, key, nonce, text)
    packed = message(
        suite, OPEN, key=key, nonce=nonce, tag=sealed[-16:], data=sealed[:-16]
    )
    return text, packed


@each_place
@each_suite
def test_what_others_sealed_opens(suite: str, place: str) -> None:
    others = [sealed_by_others(suite, blocks) for blocks in BLOCKS]
    answers = run_all(place, [packed for _, packed in others])
    for blocks, (text, _), (good, _, data) in zip(BLOCKS, others, answers, strict=True):
        assert good, blocks
        assert data == text, blocks


@each_place
@each_suite
def test_what_is_sealed_is_what_others_seal(suite: str, place: str) -> None:
    others = [sealed_by_others(suite, blocks) for blocks in BLOCKS]
    messages = [
        message(
            suite,
            SEAL,
            key=packed[KEY:NONCE],
            nonce=packed[NONCE:TAG],
            tag=bytes(16),
            data=text,
        )
        for text, packed in others
    ]
    answers = run_all(place, messages)
    for blocks, (_, packed), (good, tag, data) in zip(
        BLOCKS, others, answers, strict=True
    ):
        assert good, blocks
        assert tag == packed[TAG : TAG + 16], blocks
        assert data == packed[HEAD_BYTES:], blocks


@each_place
@each_suite
@pytest.mark.parametrize("blocks", [0, 1, 2, 15, 16, 17, 33, 256, 271, 4096])
def test_a_changed_bit_does_not_open(blocks: int, suite: str, place: str) -> None:
    rng = random.Random(blocks)
    text, packed = sealed_by_others(suite, blocks)
    places = [KEY, KEY + SUITES[suite].key_bytes - 1, NONCE, NONCE + 11, TAG, TAG + 15]
    if blocks:
        places += [HEAD_BYTES, len(packed) - 1]
        places += [rng.randrange(HEAD_BYTES, len(packed)) for _ in range(6)]
    messages = []
    for at in places:
        changed = bytearray(packed)
        changed[at] ^= 1 << rng.randrange(8)
        messages.append(bytes(changed))
    answers = run_all(place, [packed, *messages])
    assert (answers[0][0], answers[0][2]) == (True, text)
    for at, (good, _, data) in zip(places, answers[1:], strict=True):
        assert (good, data) == (False, bytes(len(text))), at


# ---- out of shared memory ----

each_that_reads_once = pytest.mark.parametrize("suite", READ_ONCE)


def from_shared(packed: bytes) -> bytes:
    return packed[:4] + OPEN_SHARED.to_bytes(4, "little") + packed[8:]


@each_that_reads_once
def test_what_lies_in_shared_memory_opens_to_the_same(suite: str) -> None:
    others = [sealed_by_others(suite, blocks) for blocks in BLOCKS]
    answers = run_all("armv8", [from_shared(packed) for _, packed in others])
    for blocks, (text, _), (good, _, data) in zip(BLOCKS, others, answers, strict=True):
        assert good, blocks
        assert data == text, blocks


@each_that_reads_once
def test_each_byte_of_shared_memory_is_read_once(suite: str) -> None:
    blocks = [1, 2, 3, 16, 17, 33, 256, 4096]
    others = [from_shared(sealed_by_others(suite, count)[1]) for count in blocks]
    plugin = build_plugin(Path(__file__).with_name("once.c"))
    said = re.findall(r"^accesses (.*)$", watched(others, plugin), re.MULTILINE)
    assert said == ["1 1"] * len(blocks)


@each_that_reads_once
@pytest.mark.parametrize("blocks", [1, 2, 17, 256])
def test_a_bit_changed_in_shared_memory_does_not_open(blocks: int, suite: str) -> None:
    text, packed = sealed_by_others(suite, blocks)
    messages = []
    for at in (KEY, NONCE, TAG, TAG + 15, HEAD_BYTES, len(packed) - 1):
        changed = bytearray(from_shared(packed))
        changed[at] ^= 0x10
        messages.append(bytes(changed))
    for good, _, data in run_all("armv8", messages):
        assert (good, data) == (False, bytes(len(text)))


@pytest.mark.parametrize(
    ("place", "suite"),
    [("host", suite) for suite in SUITES]
    + [("armv8", suite) for suite in SUITES if suite not in READ_ONCE],
)
def test_a_cipher_that_reads_twice_takes_nothing_from_shared_memory(
    suite: str, place: str
) -> None:
    text, packed = sealed_by_others(suite, 17)
    good, data = opened(place, from_shared(packed))
    assert (good, data) == (False, bytes(len(text)))


@pytest.mark.parametrize("mode", [OPEN, SEAL])
def test_the_counter_carries(mode: int) -> None:
    text, others = sealed_by_others("aes-256-gcm", CARRY_BLOCKS)
    packed = bytearray(others)
    if mode == SEAL:
        packed[4] = SEAL
        packed[HEAD_BYTES:] = text
    good, tag, data = run("armv8", bytes(packed))
    assert good
    assert tag == others[TAG : TAG + 16]
    assert data == (text if mode == OPEN else others[HEAD_BYTES:])


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


@pytest.mark.parametrize(
    ("suite", "mode"),
    [(suite, mode) for suite in SUITES for mode in (OPEN, SEAL)]
    + [(suite, OPEN_SHARED) for suite in READ_ONCE],
)
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
