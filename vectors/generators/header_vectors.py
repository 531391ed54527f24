# SPDX-License-Identifier: Apache-2.0
"""Headers, as a device takes them."""

from __future__ import annotations

import cbor2
from generators.base import (
    CRV_ED25519,
    CRV_X25519,
    Fields,
    bucket,
    cose_key,
    ed25519_public,
    sign,
    thumbprint,
    vector,
)
from generators.parts import (
    REMOVED,
    SALT,
    bad_header,
    critical_bucket,
    header,
    header_fields,
    opening,
)


@vector
def header_ok() -> Fields:
    """A good header and its license."""
    return opening("OK")


@vector
def header_ok_at_the_limits() -> Fields:
    """The largest page size, program, number of pages, version and budget."""
    top = 2**32 - 1
    limits = {3: top, 5: 1 << 20, 6: 64, 7: 0, 8: (1 << 20) - 64, 10: top}
    return opening("OK", signed=header(limits))


@vector
def header_ok_whatever_io_holds() -> Fields:
    """The device does not look inside io, which here is one byte that is no CBOR."""
    return opening("OK", signed=header({11: b"\xff"}))


@vector
def header_ok_of_aegis_128l() -> Fields:
    """Cipher suite 2."""
    return opening("OK", signed=header({4: 2}))


@vector
def header_ok_of_chacha20_poly1305() -> Fields:
    """Cipher suite 3."""
    return opening("OK", signed=header({4: 3}))


@vector
def header_empty() -> Fields:
    """No bytes at all."""
    return bad_header(b"")


@vector
def header_over_its_limit() -> Fields:
    """All right but for its length, one byte over MAX_HEADER_BYTES."""
    room = 16384 - len(header({11: bytes(16000)}))
    return bad_header(header({11: bytes(16000 + room + 1)}))


@vector
def header_tagged() -> Fields:
    """A COSE_Sign1 with its tag."""
    return bad_header(b"\xd2" + header())


@vector
def header_followed_by_a_byte() -> Fields:
    """A zero byte after the COSE_Sign1."""
    return bad_header(header() + b"\0")


@vector
def header_cut_short() -> Fields:
    """Without its last byte."""
    return bad_header(header()[:-1])


@vector
def header_array_of_indefinite_length() -> Fields:
    """The outermost array has an indefinite length."""
    return bad_header(b"\x9f" + header()[1:] + b"\xff")


@vector
def header_length_longer_than_needed() -> Fields:
    """The length of the protected bucket takes two bytes instead of one."""
    good = header()
    return bad_header(good[:1] + b"\x59\0" + good[2:])


@vector
def header_payload_of_indefinite_length() -> Fields:
    """The payload is a byte string in one chunk of indefinite length."""
    protected, unprotected, payload, signature = sign(cbor2.dumps(header_fields()))
    parts = [cbor2.dumps(item) for item in (protected, unprotected, payload, signature)]
    parts[2] = b"\x5f" + parts[2] + b"\xff"
    return bad_header(b"\x84" + b"".join(parts))


@vector
def header_of_three_members() -> Fields:
    """Without a signature."""
    return bad_header(cbor2.dumps(sign(cbor2.dumps(header_fields()))[:3]))


@vector
def header_of_five_members() -> Fields:
    """With a member too many."""
    return bad_header(cbor2.dumps([*sign(cbor2.dumps(header_fields())), b""]))


@vector
def header_unprotected_bucket_not_empty() -> Fields:
    """Something that is not signed stands in the unprotected bucket."""
    members = sign(cbor2.dumps(header_fields()))
    members[1] = {4: b"kid"}
    return bad_header(cbor2.dumps(members))


@vector
def header_payload_detached() -> Fields:
    """The payload is null, as for detached content."""
    members = sign(cbor2.dumps(header_fields()))
    members[2] = None
    return bad_header(cbor2.dumps(members))


@vector
def header_signature_of_63_bytes() -> Fields:
    """A signature a byte too short."""
    members = sign(cbor2.dumps(header_fields()))
    members[3] = members[3][:-1]
    return bad_header(cbor2.dumps(members))


@vector
def header_algorithm_es256() -> Fields:
    """The protected bucket names another algorithm."""
    return bad_header(header(protected=cbor2.dumps(bucket(alg=-7))))


@vector
def header_without_algorithm() -> Fields:
    """The protected bucket names no algorithm."""
    protected = bucket()
    del protected[1]
    return bad_header(header(protected=cbor2.dumps(protected)))


@vector
def header_with_a_critical_parameter() -> Fields:
    """The protected bucket has a parameter that nobody knows, marked as critical."""
    return bad_header(header(protected=critical_bucket()))


@vector
def header_bucket_unsorted() -> Fields:
    """The protected bucket's keys are in the wrong order."""
    full = bucket()
    return bad_header(header(protected=cbor2.dumps({4: full[4], 1: -8, 14: full[14]})))


@vector
def header_bucket_empty() -> Fields:
    """The protected bucket is an empty byte string."""
    return bad_header(header(protected=b""))


@vector
def header_bucket_followed_by_a_byte() -> Fields:
    """A byte after the map, inside the protected bucket."""
    return bad_header(header(protected=cbor2.dumps(bucket()) + b"\0"))


@vector
def header_key_id_of_31_bytes() -> Fields:
    """A kid that is no thumbprint."""
    return bad_header(header(protected=cbor2.dumps(bucket(kid=bytes(31)))))


@vector
def header_key_of_x25519() -> Fields:
    """The provider's key is one for key agreement."""
    key = cose_key(CRV_X25519, ed25519_public("provider"))
    return bad_header(header(protected=cbor2.dumps(bucket(key=key))))


@vector
def header_key_with_another_member() -> Fields:
    """The provider's COSE_Key has a member more than its thumbprint covers."""
    key = {1: 1, 3: -8, **cose_key(CRV_ED25519, ed25519_public("provider"))}
    return bad_header(header(protected=cbor2.dumps(bucket(key=key))))


@vector
def header_format_version_2() -> Fields:
    """A format that this version does not know."""
    return bad_header(header({1: 2}))


@vector
def header_model_id_of_15_bytes() -> Fields:
    """A model id too short."""
    return bad_header(header({2: bytes(15)}))


@vector
def header_model_version_of_33_bits() -> Fields:
    """A model version too large."""
    return bad_header(header({3: 2**32}))


@vector
def header_model_version_negative() -> Fields:
    """A model version below zero."""
    return bad_header(header({3: -1}))


@vector
def header_model_version_float() -> Fields:
    """A model version that is the float 7.0."""
    return bad_header(header({3: 7.0}))


@vector
def header_suite_0() -> Fields:
    """No cipher suite has number 0."""
    return bad_header(header({4: 0}))


@vector
def header_suite_unknown() -> Fields:
    """No cipher suite has number 4."""
    return bad_header(header({4: 4}))


@vector
def header_page_bytes_0() -> Fields:
    """Pages without content."""
    return bad_header(header({5: 0}))


@vector
def header_page_bytes_below_the_limit() -> Fields:
    """Pages smaller than MIN_PAGE_BYTES."""
    return bad_header(header({5: 2048}))


@vector
def header_page_bytes_not_a_multiple() -> Fields:
    """Pages that are no multiple of 4096 bytes."""
    return bad_header(header({5: 6144}))


@vector
def header_page_bytes_over_the_limit() -> Fields:
    """Pages larger than MAX_PAGE_BYTES."""
    return bad_header(header({5: (1 << 20) + 4096}))


@vector
def header_without_program_pages() -> Fields:
    """No program."""
    return bad_header(header({6: 0}))


@vector
def header_too_many_program_pages() -> Fields:
    """One program page more than MAX_PROGRAM_PAGES."""
    return bad_header(header({6: 65}))


@vector
def header_too_many_pages() -> Fields:
    """One page more than MAX_PAGES."""
    return bad_header(header({8: (1 << 20) - 1}))


@vector
def header_page_count_wraps_around() -> Fields:
    """Page counts whose sum is small in 32 bits."""
    return bad_header(header({7: 2**32 - 1, 8: 2}))


@vector
def header_salt_of_31_bytes() -> Fields:
    """A salt too short."""
    return bad_header(header({9: SALT[:-1]}))


@vector
def header_without_salt() -> Fields:
    """A key is missing."""
    return bad_header(header({9: REMOVED}))


@vector
def header_with_an_unknown_key() -> Fields:
    """A key that this version does not know."""
    return bad_header(header({12: 0}))


@vector
def header_with_a_repeated_key() -> Fields:
    """The model version stands twice."""
    fields = header_fields()
    encoded = b"\xac" + b"".join(
        cbor2.dumps(key) + cbor2.dumps(value)
        for key, value in [*fields.items(), (3, 8)]
    )
    return bad_header(cbor2.dumps(sign(encoded)))


@vector
def header_with_unsorted_keys() -> Fields:
    """The model version stands before the model id."""
    fields = header_fields()
    order = [1, 3, 2, *range(4, 12)]
    return bad_header(
        cbor2.dumps(sign(cbor2.dumps({key: fields[key] for key in order})))
    )


@vector
def header_number_longer_than_needed() -> Fields:
    """The model version 7 takes two bytes in the signed payload."""
    encoded = cbor2.dumps(header_fields())
    at = encoded.index(b"\x03\x07\x04\x01")
    return bad_header(
        cbor2.dumps(sign(encoded[: at + 1] + b"\x18\x07" + encoded[at + 2 :]))
    )


@vector
def header_io_not_a_byte_string() -> Fields:
    """io is a map instead of the bytes of one."""
    return bad_header(header({11: {1: [], 2: []}}))


@vector
def header_payload_followed_by_a_byte() -> Fields:
    """A byte after the map, inside the signed payload."""
    return bad_header(cbor2.dumps(sign(cbor2.dumps(header_fields()) + b"\0")))


@vector
def header_payload_an_array() -> Fields:
    """The payload is the array of the values."""
    return bad_header(cbor2.dumps(sign(cbor2.dumps(list(header_fields().values())))))


@vector
def header_signature_changed() -> Fields:
    """One bit of the signature is another."""
    good = header()
    return opening(
        "NOT_AUTHENTIC", signed=good[:-33] + bytes([good[-33] ^ 1]) + good[-32:]
    )


@vector
def header_payload_changed_after_signing() -> Fields:
    """Another model version below the old signature."""
    members = sign(cbor2.dumps(header_fields()))
    members[2] = cbor2.dumps(header_fields({3: 8}))
    return opening("NOT_AUTHENTIC", signed=cbor2.dumps(members))


@vector
def header_signed_by_another_key_than_it_names() -> Fields:
    """Names the provider, signed by another."""
    protected = cbor2.dumps(bucket("provider"))
    return opening(
        "NOT_AUTHENTIC",
        signed=header(provider="other_provider", protected=protected),
    )


@vector
def header_key_id_of_another_key() -> Fields:
    """The kid is another key's, the rest is right."""
    other = thumbprint(CRV_ED25519, ed25519_public("other_provider"))
    return opening(
        "NOT_AUTHENTIC", signed=header(protected=cbor2.dumps(bucket(kid=other)))
    )


@vector
def header_of_another_provider() -> Fields:
    """Wholly signed by another provider than the license's."""
    return opening("NOT_AUTHENTIC", signed=header(provider="other_provider"))


@vector
def header_of_another_model() -> Fields:
    """By the same provider, for another model than the license's."""
    return opening("WRONG_MODEL", signed=header({2: bytes(16)}))
