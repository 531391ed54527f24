# SPDX-License-Identifier: Apache-2.0
"""Pages: cutting, keys, encryption."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.suites import PUBLISHED, SUITES, seal
from undercroft._format import suites
from undercroft._format.pages import PageCipher, cut_pages, derive_page_key
from undercroft.errors import (
    EnvironmentMissingError,
    FormatError,
    PlanError,
    VerificationError,
)

KEY = bytes(range(32))
PAGE = bytes(range(256)) * 16

each_suite = pytest.mark.parametrize("suite", SUITES)


@given(st.lists(st.binary(max_size=50), max_size=12), st.integers(1, 40))
def test_cutting_keeps_every_byte_and_pads_with_zeros(chunks, page_bytes):
    pages = list(cut_pages(chunks, page_bytes))
    whole = b"".join(chunks)
    assert all(len(page) == page_bytes for page in pages)
    assert len(pages) == -(-len(whole) // page_bytes)
    joined = b"".join(pages)
    assert joined[: len(whole)] == whole
    assert not any(joined[len(whole) :])


def test_chunks_may_be_views_of_other_types():
    import array

    numbers = array.array("f", [1.0] * 1024)
    (page,) = cut_pages([memoryview(numbers)], 4096)
    assert page == numbers.tobytes()


def test_cutting_holds_one_page_at_a_time():
    def chunks():
        for number in range(1000):
            yield bytes([number % 256]) * 100
            given.append(number)

    given: list[int] = []
    pages = cut_pages(chunks(), 1000)
    next(pages)
    assert len(given) <= 10


@each_suite
def test_a_page_opens_at_its_index_only(suite):
    cipher = PageCipher(SUITES[suite].number, KEY)
    slot = cipher.encrypt(5, PAGE)
    assert len(slot) == len(PAGE) + 16
    assert cipher.decrypt(5, slot) == PAGE
    for index in (0, 4, 6, 5 + 2**32):
        with pytest.raises(VerificationError):
            cipher.decrypt(index, slot)


@each_suite
def test_no_change_of_one_byte_opens(suite):
    cipher = PageCipher(SUITES[suite].number, KEY)
    slot = cipher.encrypt(0, PAGE[:64])
    for at in range(len(slot)):
        changed = bytearray(slot)
        changed[at] ^= 0x10
        with pytest.raises(VerificationError):
            cipher.decrypt(0, bytes(changed))


def test_an_unknown_suite_is_refused():
    with pytest.raises(FormatError):
        PageCipher(4, KEY)


@each_suite
def test_published_vectors_hold(suite):
    for vector in PUBLISHED[suite]:
        cipher = suites.SUITES[suite].cipher(vector.key.ljust(32, b"\0"))
        sealed = cipher.encrypt(vector.nonce, vector.text)
        assert sealed[:-16] == vector.sealed
        assert vector.tag in (None, sealed[-16:])
        assert cipher.decrypt(vector.nonce, sealed) == vector.text


@each_suite
def test_a_page_is_what_the_libraries_seal(suite):
    cipher = PageCipher(SUITES[suite].number, KEY)
    nonce = (2**40 + 3).to_bytes(8, "little") + bytes(4)
    assert cipher.encrypt(2**40 + 3, PAGE) == seal(suite, KEY, nonce, PAGE)


def test_names_and_numbers_of_suites_agree():
    numbers = {suite.number: name for name, suite in SUITES.items()}
    assert {name: suites.suite_number(name) for name in suites.SUITES} == {
        name: number for number, name in numbers.items()
    }
    for number, name in numbers.items():
        assert suites.suite_title(number).lower() == name
    with pytest.raises(PlanError, match="aegis-256"):
        suites.suite_number("aegis-256")


def test_aegis_without_its_library_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyaegis", None)
    with pytest.raises(EnvironmentMissingError) as caught:
        PageCipher(2, KEY)
    assert "undercroft[aegis]" in caught.value.hint


def test_every_part_goes_into_the_key():
    good = {"content_key": KEY, "salt": bytes(32), "header": b"header"}
    key = derive_page_key(**good)
    assert len(key) == 32
    others = [derive_page_key(**{**good, name: bytes([1]) * 32}) for name in good]
    assert len({key, *others}) == 4
