# SPDX-License-Identifier: Apache-2.0
"""Updates, as a device takes them."""

from __future__ import annotations

from typing import Any

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
    x25519_public,
)
from generators.parts import (
    MODEL_ID,
    REMOVED,
    TOLD,
    critical_bucket,
    header,
    license_of,
    update_of,
    updating,
)

OTHER = cose_key(CRV_ED25519, ed25519_public("other_provider"))
DEVICE = thumbprint(CRV_X25519, x25519_public("device"))


def bad(claims: dict[int, Any] | bytes) -> Fields:
    """Return a vector whose update is refused for its form."""
    update = claims if isinstance(claims, bytes) else update_of(claims)
    return updating("BAD_UPDATE", update)


@vector
def update_ok_time_token() -> Fields:
    """The time alone."""
    return updating("OK", update_of())


@vector
def update_ok_everything() -> Fields:
    """All that an update can say."""
    claims = {
        -70010: 1,
        -70011: [[MODEL_ID, 1000], [bytes(16), 1, DEVICE]],
        -70012: [[MODEL_ID, 3]],
        -70013: {1: OTHER, 2: 0},
    }
    return updating("OK", update_of(claims))


@vector
def update_ok_the_most_items() -> Fields:
    """64 revocations and floors, of one model."""
    claims = {
        -70010: 2**32 - 1,
        -70011: [[MODEL_ID, i, DEVICE] for i in range(64)],
        -70012: [[MODEL_ID, i] for i in range(64)],
    }
    return updating("OK", update_of(claims))


@vector
def update_ok_again() -> Fields:
    """The very update that was taken before."""
    update = update_of({-70010: 5, -70013: {1: OTHER, 2: 0}})
    return updating("OK", update, updates=[update])


@vector
def update_ok_time_token_after_a_version() -> Fields:
    """A time token has no version that could be too low."""
    return updating("OK", update_of({6: 1}), updates=[update_of({-70010: 5})])


@vector
def update_outdated() -> Fields:
    """Version 4 after version 5."""
    return updating(
        "OUTDATED_UPDATE", update_of({-70010: 4}), updates=[update_of({-70010: 5})]
    )


@vector
def update_ok_version_of_another_provider() -> Fields:
    """Another provider counts its own updates."""
    other = update_of({-70010: 5}, provider="other_provider")
    return updating("OK", update_of({-70010: 4}), updates=[other])


@vector
def update_outdated_for_a_successor() -> Fields:
    """The successor goes on with the numbers of the key before it."""
    first = update_of({-70010: 5, -70013: {1: OTHER, 2: 1}})
    second = update_of({-70010: 4}, provider="other_provider")
    return updating("OUTDATED_UPDATE", second, updates=[first])


@vector
def update_by_a_retired_key() -> Fields:
    """The key was retired before."""
    first = update_of({-70010: 5, -70013: {1: OTHER, 2: 1}})
    return updating("UNTRUSTED_PROVIDER", update_of({-70010: 6}), updates=[first])


@vector
def update_ok_by_a_successor() -> Fields:
    """The build trusts the first key alone, whose update named the second."""
    first = update_of({-70010: 5, -70013: {1: OTHER, 2: 1}})
    second = update_of({-70010: 6}, provider="other_provider")
    return updating("OK", second, updates=[first], trusted=None)


@vector
def update_names_its_own_key() -> Fields:
    """The successor is the key itself."""
    own = cose_key(CRV_ED25519, ed25519_public("provider"))
    return updating(
        "UNTRUSTED_PROVIDER", update_of({-70010: 1, -70013: {1: own, 2: 1}})
    )


@vector
def update_names_a_key_of_another_line() -> Fields:
    """The device knows the successor as another provider."""
    other = update_of(provider="other_provider")
    update = update_of({-70010: 1, -70013: {1: OTHER, 2: 0}})
    return updating("UNTRUSTED_PROVIDER", update, updates=[other])


@vector
def update_for_more_models_than_fit() -> Fields:
    """64 models, where the table has 64 entries and one is the provider's."""
    floors = [[bytes([i]) * 16, 2] for i in range(64)]
    return updating("STATE_FULL", update_of({-70010: 1, -70012: floors}))


@vector
def update_ok_after_one_that_did_not_fit() -> Fields:
    """Of an update that does not fit nothing is taken."""
    floors = [[bytes([i]) * 16, 2] for i in range(64)]
    full = update_of({-70010: 9, -70012: floors})
    return updating("OK", update_of({-70010: 1}), updates=[full])


@vector
def update_of_an_untrusted_provider() -> Fields:
    """All right, but the build does not trust the provider."""
    return updating("UNTRUSTED_PROVIDER", update_of(), trusted=False)


@vector
def update_on_a_device_without_storage() -> Fields:
    """The device cannot read what it keeps."""
    return {**updating("STORAGE", update_of()), "storage": "unreadable"}


@vector
def update_not_authentic_before_storage() -> Fields:
    """A wrong signature, and the device cannot read what it keeps."""
    update = update_of()[:-1] + b"\0"
    return {**updating("NOT_AUTHENTIC", update), "storage": "unreadable"}


@vector
def update_outdated_before_full() -> Fields:
    """Outdated and too much for the table: the version is checked first."""
    floors = [[bytes([i]) * 16, 2] for i in range(64)]
    update = update_of({-70010: 1, -70012: floors})
    return updating("OUTDATED_UPDATE", update, updates=[update_of({-70010: 2})])


@vector
def update_signature_changed() -> Fields:
    """One bit of the signature is another."""
    good = update_of()
    return updating("NOT_AUTHENTIC", good[:-1] + bytes([good[-1] ^ 1]))


@vector
def update_key_id_of_another_key() -> Fields:
    """The kid is another key's."""
    other = thumbprint(CRV_ED25519, ed25519_public("other_provider"))
    return updating(
        "NOT_AUTHENTIC", update_of(protected=cbor2.dumps(bucket(kid=other)))
    )


@vector
def update_signed_by_another_key_than_it_names() -> Fields:
    """Names the provider, signed by another."""
    protected = cbor2.dumps(bucket("provider"))
    return updating(
        "NOT_AUTHENTIC", update_of(provider="other_provider", protected=protected)
    )


@vector
def update_empty() -> Fields:
    """No bytes at all."""
    return bad(b"")


@vector
def update_over_its_limit() -> Fields:
    """Followed by so many zero bytes that it is over MAX_UPDATE_BYTES."""
    return bad(update_of().ljust(8193, b"\0"))


@vector
def update_tagged() -> Fields:
    """A COSE_Sign1 with its tag."""
    return bad(b"\xd2" + update_of())


@vector
def update_followed_by_a_byte() -> Fields:
    """A zero byte after the COSE_Sign1."""
    return bad(update_of() + b"\0")


@vector
def update_unprotected_bucket_not_empty() -> Fields:
    """Something that is not signed stands in the unprotected bucket."""
    members = sign(cbor2.dumps({6: TOLD}))
    members[1] = {1: -8}
    return bad(cbor2.dumps(members))


@vector
def update_claims_followed_by_a_byte() -> Fields:
    """A byte after the map, inside the signed claims."""
    return bad(cbor2.dumps(sign(cbor2.dumps({6: TOLD}) + b"\0")))


@vector
def update_without_time() -> Fields:
    """No iat."""
    return bad({6: REMOVED, -70010: 1})


@vector
def update_time_of_33_bits() -> Fields:
    """iat over 32 bits."""
    return bad({6: 2**32})


@vector
def update_version_0() -> Fields:
    """Versions begin at 1."""
    return bad({-70010: 0})


@vector
def update_without_version() -> Fields:
    """It revokes, and has no version."""
    return bad({-70011: [[MODEL_ID, 1]]})


@vector
def update_successor_without_version() -> Fields:
    """It names a successor, and has no version."""
    return bad({-70013: {1: OTHER, 2: 0}})


@vector
def update_with_an_unknown_claim() -> Fields:
    """A claim that this version does not know."""
    return bad({-70010: 1, -70014: 1})


@vector
def update_with_a_critical_parameter() -> Fields:
    """The protected bucket has a parameter that nobody knows, marked as critical."""
    return bad(update_of(protected=critical_bucket()))


@vector
def update_claims_unsorted() -> Fields:
    """The floors stand before the revocations."""
    claims = {6: TOLD, -70010: 1, -70012: [[MODEL_ID, 1]], -70011: [[MODEL_ID, 1]]}
    return bad(cbor2.dumps(sign(cbor2.dumps(claims))))


@vector
def update_without_revocations() -> Fields:
    """An empty list."""
    return bad({-70010: 1, -70011: []})


@vector
def update_with_65_floors() -> Fields:
    """One floor more than the limit."""
    return bad({-70010: 1, -70012: [[MODEL_ID, 1]] * 65})


@vector
def update_revocation_of_one_member() -> Fields:
    """A revocation without its line."""
    return bad({-70010: 1, -70011: [[MODEL_ID]]})


@vector
def update_revocation_of_four_members() -> Fields:
    """A revocation with a fourth member."""
    return bad({-70010: 1, -70011: [[MODEL_ID, 1, DEVICE, 1]]})


@vector
def update_revocation_of_a_device_id_of_31_bytes() -> Fields:
    """A device id too short."""
    return bad({-70010: 1, -70011: [[MODEL_ID, 1, DEVICE[:-1]]]})


@vector
def update_floor_of_a_model_id_of_15_bytes() -> Fields:
    """A model id too short."""
    return bad({-70010: 1, -70012: [[MODEL_ID[:-1], 1]]})


@vector
def update_successor_of_x25519() -> Fields:
    """The successor is a key that cannot sign."""
    key = cose_key(CRV_X25519, x25519_public("device"))
    return bad({-70010: 1, -70013: {1: key, 2: 0}})


@vector
def update_retire_2() -> Fields:
    """retire is neither 0 nor 1."""
    return bad({-70010: 1, -70013: {1: OTHER, 2: 2}})


@vector
def update_a_license_for_an_update() -> Fields:
    """A good license in an update's place."""
    return bad(license_of())


@vector
def update_a_header_for_an_update() -> Fields:
    """A good header in an update's place."""
    return bad(header())


@vector
def update_malformed_before_untrusted() -> Fields:
    """Malformed and not trusted: the form is checked first."""
    return updating("BAD_UPDATE", update_of() + b"\0", trusted=False)
