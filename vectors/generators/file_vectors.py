# SPDX-License-Identifier: Apache-2.0
"""Whole files, as a reader outside the device takes them."""

from __future__ import annotations

import cbor2
from generators.base import Fields, vector
from generators.parts import PAGE_BYTES, Tensors, header, io, reading

SLOT = PAGE_BYTES + 16


def with_io(inputs: Tensors = None, outputs: Tensors = None) -> Fields:
    """Return a vector whose inputs or outputs are refused."""
    return reading("FORMAT", signed=header({11: cbor2.dumps(io(inputs, outputs))}))


@vector
def file_ok() -> Fields:
    """A good file."""
    return reading("OK")


@vector
def file_ok_with_the_most_inputs_and_outputs() -> Fields:
    """16 inputs and outputs with the longest names and 8 dimensions."""
    tensors = [[f"{i:x}" * 256, 1, [1] * 8] for i in range(16)]
    return reading("OK", signed=header({11: cbor2.dumps(io(tensors, tensors))}))


@vector
def file_ok_with_a_scalar() -> Fields:
    """An output without dimensions."""
    tensors = [["loss", 1, []]]
    return reading("OK", signed=header({11: cbor2.dumps(io(outputs=tensors))}))


@vector
def file_ok_input_as_large_as_the_memory() -> Fields:
    """An input of exactly budget_bytes."""
    tensors = [["x", 1, [16384]]]
    return reading("OK", signed=header({11: cbor2.dumps(io(tensors))}))


@vector
def file_empty() -> Fields:
    """No bytes at all."""
    return reading("FORMAT", start=b"", pages_bytes=0)


@vector
def file_with_another_magic() -> Fields:
    """Not one of our files."""
    return reading("FORMAT", magic=b"UCSEALEX")


@vector
def file_ends_in_its_prefix() -> Fields:
    """Only 15 bytes."""
    return reading("FORMAT", start=b"UCSEALED\1\0\0\0\0\1\0", pages_bytes=0)


@vector
def file_ends_after_its_prefix() -> Fields:
    """A prefix and nothing after it."""
    return reading("FORMAT", start=b"UCSEALED\1\0\0\0\0\1\0\0", pages_bytes=0)


@vector
def file_of_format_version_0() -> Fields:
    """A version that never was."""
    return reading("FORMAT", version=0)


@vector
def file_of_format_version_2() -> Fields:
    """A version to come."""
    return reading("FORMAT", version=2)


@vector
def file_with_reserved_bits() -> Fields:
    """The reserved field is 1."""
    return reading("FORMAT", reserved=1)


@vector
def file_header_bytes_0() -> Fields:
    """A header without content."""
    return reading("FORMAT", header_bytes=0)


@vector
def file_header_bytes_one_short() -> Fields:
    """The header's length is one less."""
    return reading("FORMAT", header_bytes=len(header()) - 1)


@vector
def file_header_bytes_one_more() -> Fields:
    """The header's length is one more."""
    return reading("FORMAT", header_bytes=len(header()) + 1)


@vector
def file_header_bytes_over_the_limit() -> Fields:
    """The header's length is over MAX_HEADER_BYTES, though the file is that long."""
    return reading("FORMAT", header_bytes=16385)


@vector
def file_header_bytes_beyond_the_end() -> Fields:
    """The header's length is more than the file has."""
    return reading("FORMAT", header_bytes=16384, pages_bytes=0)


@vector
def file_header_bytes_of_32_bits() -> Fields:
    """The header's length is the largest number that fits."""
    return reading("FORMAT", header_bytes=2**32 - 1)


@vector
def file_one_byte_short() -> Fields:
    """The last page lacks a byte."""
    return reading("FORMAT", pages_bytes=4 * SLOT - 1)


@vector
def file_one_byte_long() -> Fields:
    """A byte after the last page."""
    return reading("FORMAT", pages_bytes=4 * SLOT + 1)


@vector
def file_without_its_last_page() -> Fields:
    """A page is missing."""
    return reading("FORMAT", pages_bytes=3 * SLOT)


@vector
def file_with_a_page_too_many() -> Fields:
    """A page more than the header says."""
    return reading("FORMAT", pages_bytes=5 * SLOT)


@vector
def file_without_tags() -> Fields:
    """Pages without their tags."""
    return reading("FORMAT", pages_bytes=4 * PAGE_BYTES)


@vector
def file_signature_changed() -> Fields:
    """One bit of the header's signature is another."""
    good = header()
    return reading("VERIFICATION", signed=good[:-1] + bytes([good[-1] ^ 1]))


@vector
def file_length_before_signature() -> Fields:
    """Too long and a wrong signature: the length is checked first."""
    good = header()
    return reading(
        "FORMAT", signed=good[:-1] + bytes([good[-1] ^ 1]), pages_bytes=4 * SLOT + 1
    )


@vector
def file_without_inputs() -> Fields:
    """No inputs."""
    return with_io(inputs=[])


@vector
def file_with_17_outputs() -> Fields:
    """An output more than MAX_IO."""
    return with_io(outputs=[[f"y{i}", 1, [1]] for i in range(17)])


@vector
def file_input_without_name() -> Fields:
    """An empty name."""
    return with_io(inputs=[["", 1, [1]]])


@vector
def file_input_name_of_257_bytes() -> Fields:
    """A name too long in bytes, though not in characters."""
    return with_io(inputs=[["é" * 128 + "x", 1, [1]]])


@vector
def file_input_name_not_utf8() -> Fields:
    """A name that is no UTF-8."""
    encoded = cbor2.dumps(io(inputs=[["name", 1, [1]]])).replace(b"name", b"n\xffme")
    return reading("FORMAT", signed=header({11: encoded}))


@vector
def file_input_of_unknown_type() -> Fields:
    """An element type that this version does not know."""
    return with_io(inputs=[["x", 2, [1]]])


@vector
def file_input_of_9_dimensions() -> Fields:
    """A dimension too many."""
    return with_io(inputs=[["x", 1, [1] * 9]])


@vector
def file_input_dimension_0() -> Fields:
    """A dimension without elements."""
    return with_io(inputs=[["x", 1, [1, 0]]])


@vector
def file_input_dimension_over_the_limit() -> Fields:
    """A dimension larger than MAX_DIM."""
    return with_io(inputs=[["x", 1, [(1 << 20) + 1]]])


@vector
def file_input_larger_than_the_memory() -> Fields:
    """An input that does not fit the memory that the model says it needs."""
    return with_io(inputs=[["x", 1, [16385]]])


@vector
def file_input_size_wraps_around() -> Fields:
    """An input of 2 to the 80 elements."""
    return with_io(inputs=[["x", 1, [1 << 20] * 4]])


@vector
def file_io_followed_by_a_byte() -> Fields:
    """A byte after the map, inside io."""
    return reading("FORMAT", signed=header({11: cbor2.dumps(io()) + b"\0"}))


@vector
def file_io_with_an_unknown_key() -> Fields:
    """A key that this version does not know."""
    return reading("FORMAT", signed=header({11: cbor2.dumps({**io(), 3: []})}))


@vector
def file_io_nested_deeply() -> Fields:
    """Arrays in arrays, a thousand deep."""
    return reading("FORMAT", signed=header({11: b"\x81" * 1000 + b"\x80"}))


@vector
def file_io_with_a_bignum() -> Fields:
    """The first dimension is a bignum, by its tag."""
    encoded = cbor2.dumps(io()).replace(b"\x84\x01\x03", b"\x84\xc2\x41\x01\x03")
    return reading("FORMAT", signed=header({11: encoded}))
