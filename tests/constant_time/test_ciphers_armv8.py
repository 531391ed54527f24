# SPDX-License-Identifier: Apache-2.0
"""The Trusted Application's ciphers take one way, whatever the secrets are.

They are arm64 code with cryptographic instructions, which valgrind cannot follow
on another machine. Emulated, they can be watched exactly: a plugin of QEMU's hashes
every instruction's address and every address of memory, in order. Messages that
differ in key, text and place of a wrong byte alone must give the same hash. It
says nothing of the time that an instruction takes with one operand or another.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from helpers.aead import OPEN, OPEN_SHARED, READ_ONCE, SEAL, message, traces
from helpers.instructions import build_plugin
from helpers.suites import SUITES, seal

pytestmark = pytest.mark.engine

FOLDER = Path(__file__).parent
SIZE = 4096
NONCE = bytes(range(12))
LEAKY = (
    *("-D_DEFAULT_SOURCE", "-include", str(FOLDER / "leaky.h")),
    f"-I{FOLDER.parents[1] / 'engine' / 'port'}",
)


def keys_and_texts() -> list[tuple[bytes, bytes]]:
    rng = random.Random(8)
    pairs = [(bytes(32), bytes(SIZE)), (b"\xff" * 32, b"\xff" * SIZE)]
    return pairs + [(rng.randbytes(32), rng.randbytes(SIZE)) for _ in range(6)]


MODES = [(suite, OPEN) for suite in SUITES]
MODES += [(suite, OPEN_SHARED) for suite in READ_ONCE]


def opened(
    suite: str,
    key: bytes,
    text: bytes,
    wrong_at: int | None = None,
    mode: int = OPEN,
) -> bytes:
    sealed = bytearray(seal(suite, key, NONCE, text))
    if wrong_at is not None:
        sealed[wrong_at] ^= 0x10
    return message(
        suite,
        mode,
        key=key,
        nonce=NONCE,
        tag=bytes(sealed[SIZE:]),
        data=bytes(sealed[:SIZE]),
    )


def ways(messages: list[bytes], *flags: str) -> set[str]:
    return set(traces(messages, build_plugin(FOLDER / "trace.c"), *flags))


@pytest.mark.parametrize(("suite", "mode"), MODES)
def test_a_page_is_opened_on_one_way(suite: str, mode: int) -> None:
    messages = [opened(suite, key, text, mode=mode) for key, text in keys_and_texts()]
    (way,) = ways(messages)
    _, instructions, accesses = way.split()
    # Whole pages were deciphered while the plugin looked.
    assert int(instructions) > SIZE
    assert int(accesses) > SIZE // 16


@pytest.mark.parametrize(("suite", "mode"), MODES)
def test_a_page_is_refused_on_one_way(suite: str, mode: int) -> None:
    places = [0, SIZE // 2, SIZE - 1, *range(SIZE, SIZE + 16)]
    messages = [
        opened(suite, key, text, place, mode)
        for key, text in keys_and_texts()[:3]
        for place in places
    ]
    assert len(ways(messages)) == 1


@pytest.mark.parametrize("suite", SUITES)
def test_a_page_is_sealed_on_one_way(suite: str) -> None:
    messages = [
        message(suite, SEAL, key=key, nonce=NONCE, tag=bytes(16), data=text)
        for key, text in keys_and_texts()
    ]
    assert len(ways(messages)) == 1


def test_a_comparison_that_ends_early_is_seen() -> None:
    (key, text), *_ = keys_and_texts()
    places = range(SIZE, SIZE + 16)
    messages = [opened("aes-256-gcm", key, text, place) for place in places]
    assert len(ways(messages, *LEAKY)) == len(places)


def test_an_index_that_is_secret_is_seen() -> None:
    messages = [opened("aes-256-gcm", key, text) for key, text in keys_and_texts()]
    assert len(ways(messages, *LEAKY, "-DLEAK_BY_INDEX")) > 1
