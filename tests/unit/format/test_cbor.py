# SPDX-License-Identifier: Apache-2.0
"""Deterministic CBOR: one encoding for each value, and nothing else."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from undercroft._format import cbor
from undercroft.errors import FormatError

KEYS = st.integers(-(2**64), 2**64 - 1)
LEAVES = KEYS | st.text(max_size=8) | st.binary(max_size=40)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4)
    ),
    max_leaves=12,
)

REFUSED = {
    "nothing": "",
    "a byte after the end": "0000",
    "two items": "0102",
    "number longer than needed, 1 byte": "1817",
    "number longer than needed, 2 bytes": "1900ff",
    "number longer than needed, 4 bytes": "1a0000ffff",
    "number longer than needed, 8 bytes": "1b00000000ffffffff",
    "length longer than needed": "580141",
    "number cut short": "19ff",
    "string cut short": "4441424344"[:-2],
    "array cut short": "8201",
    "map cut short": "a101",
    "huge string": "5bffffffffffffffff",
    "huge array": "9bffffffffffffffff",
    "huge map": "bbffffffffffffffff",
    "string of indefinite length": "5f4141ff",
    "text of indefinite length": "7f6141ff",
    "array of indefinite length": "9f01ff",
    "map of indefinite length": "bf0102ff",
    "break alone": "ff",
    "reserved additional information": "1c",
    "tag": "c101",
    "bignum": "c24101",
    "decimal with a huge exponent": "c4821b7fffffffffffffff01",
    "regular expression": "d8236161",
    "half float": "f93c00",
    "single float": "fa3f800000",
    "double float": "fb3ff0000000000000",
    "false": "f4",
    "null": "f6",
    "undefined": "f7",
    "simple value": "f820",
    "keys unsorted": "a202000100",
    "keys sorted by value, not by encoding": "a220000100",
    "key repeated": "a201000100",
    "no UTF-8": "61ff",
    "key an array": "a1810100",
    "key a map": "a1a000",
    "key a text": "a1616100",
    "key a byte string": "a1416100",
    "nested too deeply": "81" * 9 + "00",
    "nested very deeply": "81" * 100000,
}


@pytest.mark.parametrize("encoded", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_in_the_profile_is_refused(encoded):
    with pytest.raises(FormatError) as caught:
        cbor.decode(bytes.fromhex(encoded), "the thing")
    assert str(caught.value).startswith("the thing is not deterministically")


def test_the_deepest_nesting_allowed_is_taken():
    encoded = bytes.fromhex("81" * cbor.MAX_DEPTH + "00")
    assert cbor.encode(cbor.decode(encoded, "it")) == encoded


@given(VALUES)
def test_whatever_is_encoded_is_decoded_to_the_same(value):
    assert cbor.decode(cbor.encode(value), "it") == value


@given(VALUES)
def test_encoding_is_the_one_of_rfc_8949(value):
    encoded = cbor.encode(value)
    assert cbor.encode(cbor2.loads(encoded)) == encoded
    # The order of insertion does not matter.
    if isinstance(value, dict):
        assert cbor.encode(dict(reversed(value.items()))) == encoded


@given(st.binary(max_size=60))
def test_whatever_is_accepted_has_one_encoding(data):
    try:
        value = cbor.decode(data, "it")
    except FormatError:
        return
    assert cbor.encode(value) == data


@given(VALUES, st.data())
def test_no_change_leaves_the_value_the_same(value, source):
    encoded = bytearray(cbor.encode(value))
    at = source.draw(st.integers(0, len(encoded) - 1))
    encoded[at] ^= source.draw(st.integers(1, 255))
    try:
        changed = cbor.decode(bytes(encoded), "it")
    except FormatError:
        return
    assert changed != value
