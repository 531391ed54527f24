# SPDX-License-Identifier: Apache-2.0
"""Licenses, as a device takes them."""

from __future__ import annotations

import cbor2
from generators.base import (
    CRV_ED25519,
    CRV_X25519,
    Fields,
    bucket,
    ed25519_public,
    hpke,
    sign,
    test_key,
    thumbprint,
    vector,
    x25519_public,
)
from generators.parts import (
    REMOVED,
    bad_license,
    claims,
    critical_bucket,
    header,
    license_of,
    opening,
    wrapped,
)

CONTENT = test_key("content")


@vector
def license_ok_for_another_version() -> Fields:
    """A license opens every version of its model."""
    return opening("OK", signed=header({3: 8}))


@vector
def license_empty() -> Fields:
    """No bytes at all."""
    return bad_license(b"")


@vector
def license_over_its_limit() -> Fields:
    """Followed by so many zero bytes that it is over MAX_LICENSE_BYTES."""
    return bad_license(license_of().ljust(4097, b"\0"))


@vector
def license_tagged() -> Fields:
    """A COSE_Sign1 with its tag."""
    return bad_license(b"\xd2" + license_of())


@vector
def license_tagged_as_cwt() -> Fields:
    """With the CWT tag and the COSE_Sign1 tag."""
    return bad_license(b"\xd8\x3d\xd2" + license_of())


@vector
def license_followed_by_a_byte() -> Fields:
    """A zero byte after the COSE_Sign1."""
    return bad_license(license_of() + b"\0")


@vector
def license_array_of_indefinite_length() -> Fields:
    """The outermost array has an indefinite length."""
    return bad_license(b"\x9f" + license_of()[1:] + b"\xff")


@vector
def license_unprotected_bucket_not_empty() -> Fields:
    """Something that is not signed stands in the unprotected bucket."""
    members = sign(cbor2.dumps(claims()))
    members[1] = {1: -8}
    return bad_license(cbor2.dumps(members))


@vector
def license_without_id() -> Fields:
    """No cti."""
    return bad_license(license_of({7: REMOVED}))


@vector
def license_id_of_15_bytes() -> Fields:
    """A cti too short."""
    return bad_license(license_of({7: bytes(15)}))


@vector
def license_with_an_unknown_claim() -> Fields:
    """It has an audience, which this version does not know."""
    return bad_license(license_of({3: "all"}))


@vector
def license_with_a_critical_parameter() -> Fields:
    """The protected bucket has a parameter that nobody knows, marked as critical."""
    return bad_license(license_of(protected=critical_bucket()))


@vector
def license_claims_unsorted() -> Fields:
    """The device id stands before the model id."""
    fields = claims()
    order = [7, -70002, -70001, -70003]
    encoded = cbor2.dumps({key: fields[key] for key in order})
    return bad_license(cbor2.dumps(sign(encoded)))


@vector
def license_claims_followed_by_a_byte() -> Fields:
    """A byte after the map, inside the signed claims."""
    return bad_license(cbor2.dumps(sign(cbor2.dumps(claims()) + b"\0")))


@vector
def license_model_id_of_17_bytes() -> Fields:
    """A model id too long."""
    return bad_license(license_of({-70001: bytes(17)}))


@vector
def license_device_id_of_31_bytes() -> Fields:
    """A device id too short."""
    return bad_license(license_of({-70002: bytes(31)}))


@vector
def license_content_key_not_a_byte_string() -> Fields:
    """The COSE_Encrypt0 stands there itself instead of its bytes."""
    return bad_license(license_of({-70003: hpke(CONTENT)}))


@vector
def license_content_key_tagged() -> Fields:
    """A COSE_Encrypt0 with its tag."""
    return bad_license(license_of({-70003: b"\xd0" + cbor2.dumps(hpke(CONTENT))}))


@vector
def license_content_key_followed_by_a_byte() -> Fields:
    """A byte after the COSE_Encrypt0."""
    return bad_license(license_of({-70003: cbor2.dumps(hpke(CONTENT)) + b"\0"}))


@vector
def license_content_key_in_the_clear() -> Fields:
    """The content key itself."""
    return bad_license(license_of({-70003: CONTENT}))


@vector
def license_algorithm_hpke_4() -> Fields:
    """Another HPKE suite."""
    return bad_license(wrapped({0: cbor2.dumps({1: 42})}))


@vector
def license_algorithm_key_encryption() -> Fields:
    """HPKE as key encryption instead of integrated encryption."""
    return bad_license(wrapped({0: cbor2.dumps({1: 49})}))


@vector
def license_algorithm_not_protected() -> Fields:
    """The algorithm stands in the unprotected bucket."""
    members = hpke(CONTENT, protected=b"")
    return bad_license(wrapped({0: b"", 1: {1: 41, **members[1]}, 2: members[2]}))


@vector
def license_encapsulated_key_protected() -> Fields:
    """ek stands in the protected bucket."""
    ek = hpke(CONTENT)[1][-4]
    return bad_license(wrapped({0: cbor2.dumps({1: 41, -4: ek}), 1: {}}))


@vector
def license_encapsulated_key_of_31_bytes() -> Fields:
    """ek too short."""
    return bad_license(wrapped({1: {-4: hpke(CONTENT)[1][-4][:-1]}}))


@vector
def license_with_psk_id() -> Fields:
    """HPKE's mode with a pre-shared key."""
    return bad_license(wrapped({0: cbor2.dumps({1: 41, -5: b"psk"})}))


@vector
def license_content_key_of_31_bytes() -> Fields:
    """A content key too short."""
    return bad_license(license_of({-70003: cbor2.dumps(hpke(CONTENT[:-1]))}))


@vector
def license_of_an_untrusted_provider() -> Fields:
    """All right, but the build does not trust the provider."""
    return opening("UNTRUSTED_PROVIDER", trusted=False)


@vector
def license_untrusted_before_its_signature() -> Fields:
    """Not trusted and a wrong signature: trust is checked first."""
    good = license_of()
    return opening(
        "UNTRUSTED_PROVIDER", permit=good[:-1] + bytes([good[-1] ^ 1]), trusted=False
    )


@vector
def license_malformed_before_untrusted() -> Fields:
    """Malformed and not trusted: the form is checked first."""
    return opening("BAD_LICENSE", permit=license_of() + b"\0", trusted=False)


@vector
def license_after_the_header() -> Fields:
    """Header and license malformed: the header is checked first."""
    return opening("BAD_HEADER", signed=header() + b"\0", permit=license_of() + b"\0")


@vector
def license_and_header_swapped() -> Fields:
    """Each is well formed and signed, but in the other's place."""
    return opening("BAD_HEADER", signed=license_of(), permit=header())


@vector
def license_signature_changed() -> Fields:
    """One bit of the signature is another."""
    good = license_of()
    return opening(
        "NOT_AUTHENTIC", permit=good[:-40] + bytes([good[-40] ^ 1]) + good[-39:]
    )


@vector
def license_signature_of_the_header() -> Fields:
    """The signature is the provider's, but over the header."""
    return opening("NOT_AUTHENTIC", permit=license_of()[:-64] + header()[-64:])


@vector
def license_key_id_of_another_key() -> Fields:
    """The kid is another key's, the rest is right."""
    other = thumbprint(CRV_ED25519, ed25519_public("other_provider"))
    return opening(
        "NOT_AUTHENTIC", permit=license_of(protected=cbor2.dumps(bucket(kid=other)))
    )


@vector
def license_signed_by_another_key_than_it_names() -> Fields:
    """Names the provider, signed by another."""
    protected = cbor2.dumps(bucket("provider"))
    return opening(
        "NOT_AUTHENTIC",
        permit=license_of(provider="other_provider", protected=protected),
    )


@vector
def license_of_another_provider() -> Fields:
    """Wholly signed by another provider than the header's."""
    return opening("NOT_AUTHENTIC", permit=license_of(provider="other_provider"))


@vector
def license_for_another_model() -> Fields:
    """Another model's license by the same provider for the same device."""
    return opening("WRONG_MODEL", permit=license_of({-70001: bytes(16)}))


@vector
def license_for_another_device() -> Fields:
    """Another device's license for the same model."""
    other = thumbprint(CRV_X25519, x25519_public("other_device"))
    key = cbor2.dumps(hpke(CONTENT, device="other_device"))
    return opening("WRONG_DEVICE", permit=license_of({-70002: other, -70003: key}))


@vector
def license_for_another_model_and_device() -> Fields:
    """Neither belongs here: the model is checked first."""
    other = thumbprint(CRV_X25519, x25519_public("other_device"))
    return opening("WRONG_MODEL", permit=license_of({-70001: bytes(16), -70002: other}))


@vector
def license_on_a_device_without_storage() -> Fields:
    """The device cannot read what it keeps."""
    return {**opening("STORAGE"), "storage": "unreadable"}


@vector
def license_wrong_model_before_storage() -> Fields:
    """For another model, and the device cannot read what it keeps."""
    permit = license_of({-70001: bytes(16)})
    return {**opening("WRONG_MODEL", permit=permit), "storage": "unreadable"}


@vector
def license_encrypted_to_another_device() -> Fields:
    """It names this device but the content key is for another."""
    key = cbor2.dumps(hpke(CONTENT, device="other_device"))
    return opening("NOT_AUTHENTIC", permit=license_of({-70003: key}))


@vector
def license_encapsulated_key_of_order_one() -> Fields:
    """ek is all zero, which makes the shared secret zero for every device."""
    return opening("NOT_AUTHENTIC", permit=wrapped({1: {-4: bytes(32)}}))


@vector
def license_ciphertext_changed() -> Fields:
    """One bit of the wrapped key is another, and that is signed."""
    ciphertext = hpke(CONTENT)[2]
    return opening(
        "NOT_AUTHENTIC",
        permit=wrapped({2: bytes([ciphertext[0] ^ 1]) + ciphertext[1:]}),
    )


@vector
def license_hpke_info_not_empty() -> Fields:
    """HPKE with an info that the draft does not have."""
    key = cbor2.dumps(hpke(CONTENT, info=b"info"))
    return opening("NOT_AUTHENTIC", permit=license_of({-70003: key}))


@vector
def license_external_aad_not_empty() -> Fields:
    """The Enc_structure was made with an external_aad."""
    key = cbor2.dumps(hpke(CONTENT, external_aad=b"aad"))
    return opening("NOT_AUTHENTIC", permit=license_of({-70003: key}))
