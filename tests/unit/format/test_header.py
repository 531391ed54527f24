# SPDX-License-Identifier: Apache-2.0
"""The sealed header: what it may say."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.provider import ship
from undercroft._format import cbor
from undercroft._format.header import SealedHeader
from undercroft._spec import MAX_PAGES, MAX_RANK, MIN_PAGE_BYTES
from undercroft.errors import FormatError
from undercroft.tensor import TensorInfo

GOOD = ship().header

WRONG = {
    "model_id": [b"", bytes(15), bytes(17), "id"],
    "model_version": [-1, 2**32, "1", None],
    "suite": [0, 4, 99],
    "page_bytes": [0, MIN_PAGE_BYTES - 1, MIN_PAGE_BYTES + 1, 1 << 21],
    "program_pages": [0, 65],
    "resident_pages": [-1, MAX_PAGES],
    "streamed_pages": [-1, MAX_PAGES],
    "salt": [bytes(31), bytes(33)],
    "budget_bytes": [-1, 2**32, 100],
    "inputs": [
        (),
        (TensorInfo("x", (1,)),) * 17,
        (TensorInfo("x", (1,), "int64"),),
    ],
    "outputs": [
        (TensorInfo("", (1,)),),
        (TensorInfo("x" * 257, (1,)),),
        (TensorInfo("x", (1,) * (MAX_RANK + 1)),),
        (TensorInfo("x", (0,)),),
        (TensorInfo("x", (-1,)),),
        (TensorInfo("x", (1 << 21,)),),
        (TensorInfo("x", (1,), "int8"),),
    ],
}


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in WRONG.items() for value in values],
)
def test_a_wrong_value_cannot_be_made(name, value):
    with pytest.raises(FormatError):
        replace(GOOD, **{name: value})


@st.composite
def headers(draw: st.DrawFn) -> SealedHeader:
    tensors = st.builds(
        TensorInfo,
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60),
        st.lists(st.integers(1, 9), max_size=3).map(tuple),
    )
    several = st.lists(tensors, min_size=1, max_size=16).map(tuple)
    return SealedHeader(
        model_id=draw(st.binary(min_size=16, max_size=16)),
        model_version=draw(st.integers(0, 2**32 - 1)),
        suite=1,
        page_bytes=draw(st.integers(1, 256)) * 4096,
        program_pages=draw(st.integers(1, 64)),
        resident_pages=draw(st.integers(0, 400_000)),
        streamed_pages=draw(st.integers(0, 400_000)),
        salt=draw(st.binary(min_size=32, max_size=32)),
        budget_bytes=draw(st.integers(9**3 * 4, 2**32 - 1)),
        inputs=draw(several),
        outputs=draw(several),
    )


@given(headers())
def test_what_is_written_is_read(header):
    assert SealedHeader.parse(header.encode()) == header


@given(st.binary(max_size=300))
def test_parsing_anything_raises_nothing_but_format_errors(data):
    with pytest.raises(FormatError):
        SealedHeader.parse(data)


CHANGED = st.one_of(
    st.integers(-(2**64), 2**64 - 1),
    st.binary(max_size=40),
    st.text(max_size=8),
    st.lists(st.integers(0, 300), max_size=3),
    st.dictionaries(st.integers(0, 3), st.integers(0, 300), max_size=3),
)


@given(st.integers(1, 11), CHANGED)
def test_any_value_in_any_field_is_either_kept_or_refused(key, value):
    fields = cbor.decode(GOOD.encode(), "it")
    fields[key] = value
    payload = cbor.encode(fields)
    try:
        header = SealedHeader.parse(payload)
    except FormatError:
        return
    assert header.encode() == payload


@given(st.sampled_from([1, 2]), st.lists(CHANGED, max_size=3))
def test_any_inputs_and_outputs_are_either_kept_or_refused(key, value):
    fields = cbor.decode(GOOD.encode(), "it")
    io = cbor.decode(fields[11], "io")
    io[key] = [value]
    fields[11] = cbor.encode(io)
    payload = cbor.encode(fields)
    try:
        header = SealedHeader.parse(payload)
    except FormatError:
        return
    assert header.encode() == payload


@pytest.mark.parametrize("key", range(1, 12))
def test_a_missing_field_is_refused(key):
    fields = cbor.decode(GOOD.encode(), "it")
    del fields[key]
    with pytest.raises(FormatError):
        SealedHeader.parse(cbor.encode(fields))
