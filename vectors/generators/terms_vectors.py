# SPDX-License-Identifier: Apache-2.0
"""The conditions of licenses, on devices that have taken updates before."""

from __future__ import annotations

from typing import Any

from generators.base import (
    CRV_ED25519,
    CRV_X25519,
    Fields,
    cose_key,
    ed25519_public,
    thumbprint,
    vector,
    x25519_public,
)
from generators.parts import (
    MODEL_ID,
    TOLD,
    bad_license,
    header,
    license_of,
    opening,
    update_of,
)

DEVICE = thumbprint(CRV_X25519, x25519_public("device"))
OTHER_DEVICE = thumbprint(CRV_X25519, x25519_public("other_device"))
TIME = update_of()


def with_terms(
    expect: str, terms: dict[int, Any], *updates: bytes, inferences: int = 0
) -> Fields:
    """Return a vector whose license has these claims besides."""
    return opening(
        expect, permit=license_of(terms), updates=updates, inferences=inferences
    )


def revoking(*items: list[Any], version: int = 1) -> bytes:
    """Return an update that revokes."""
    return update_of({-70010: version, -70011: list(items)})


@vector
def terms_ok_all() -> Fields:
    """Every condition, and all of them met."""
    terms = {
        4: TOLD + 1,
        5: TOLD,
        6: TOLD - 5,
        -70004: 1,
        -70005: [1, 1],
        -70006: 7,
        -70007: 0,
        -70008: 0,
        -70009: 1,
        -70010: 3,
    }
    return with_terms("OK", terms, update_of({-70010: 3}), inferences=1)


@vector
def terms_ok_at_the_limits() -> Fields:
    """The largest numbers that the claims can hold."""
    top = 2**32 - 1
    terms = {4: top, 6: top - 1, -70004: top, -70005: [1048576, 31622400], -70008: top}
    return with_terms("OK", terms, TIME, inferences=1000)


@vector
def terms_expired_at_its_end() -> Fields:
    """The device's time is the end of the license."""
    return with_terms("EXPIRED", {4: TOLD}, TIME)


@vector
def terms_ok_a_second_before_the_end() -> Fields:
    """The device's time is a second before the end."""
    return with_terms("OK", {4: TOLD + 1}, TIME)


@vector
def terms_ok_in_the_grace_period() -> Fields:
    """Ended, but within its grace period."""
    return with_terms("OK", {4: TOLD - 9, -70008: 10}, TIME)


@vector
def terms_expired_after_the_grace_period() -> Fields:
    """The grace period has ended as well."""
    return with_terms("EXPIRED", {4: TOLD - 10, -70008: 10}, TIME)


@vector
def terms_expired_in_1970() -> Fields:
    """An end of zero is an end."""
    return with_terms("EXPIRED", {4: 0}, TIME)


@vector
def terms_time_does_not_go_back() -> Fields:
    """A later token with an earlier time changes nothing."""
    return with_terms("EXPIRED", {4: TOLD - 1}, TIME, update_of({6: TOLD - 100}))


@vector
def terms_time_is_the_providers_own() -> Fields:
    """Another provider's token says nothing about this one's time."""
    return with_terms("NO_TIME", {4: TOLD + 9}, update_of(provider="other_provider"))


@vector
def terms_not_yet_valid() -> Fields:
    """The begin is a second away."""
    return with_terms("NOT_YET_VALID", {5: TOLD + 1}, TIME)


@vector
def terms_without_time_and_an_end() -> Fields:
    """An end, and a device that was never told the time."""
    return with_terms("NO_TIME", {4: TOLD})


@vector
def terms_without_time_and_a_begin() -> Fields:
    """A begin, and a device that was never told the time."""
    return with_terms("NO_TIME", {5: 1})


@vector
def terms_ok_without_time() -> Fields:
    """The license holds on a device that was never told the time."""
    return with_terms("OK", {4: TOLD, 6: TOLD - 1, -70009: 1})


@vector
def terms_expired_when_issued() -> Fields:
    """Its own time of issue is after its end."""
    return with_terms("EXPIRED", {4: TOLD, 6: TOLD, -70009: 1})


@vector
def terms_ok_the_last_inference() -> Fields:
    """As many inferences as it allows."""
    return with_terms("OK", {-70004: 3}, inferences=3)


@vector
def terms_used_up() -> Fields:
    """One inference more than it allows."""
    return with_terms("USED_UP", {-70004: 3}, inferences=4)


@vector
def terms_used_up_over_several_batches() -> Fields:
    """The same, where batches end in between."""
    return with_terms("USED_UP", {-70004: 130}, inferences=131)


@vector
def terms_rate() -> Fields:
    """One inference more than the bucket holds."""
    return with_terms("RATE", {-70005: [2, 60]}, inferences=3)


@vector
def terms_ok_rate() -> Fields:
    """As many as the bucket holds."""
    return with_terms("OK", {-70005: [2, 60]}, inferences=2)


@vector
def terms_version_floor_of_the_license() -> Fields:
    """The license opens versions from 8 on; this is 7."""
    return with_terms("MODEL_TOO_OLD", {-70006: 8})


@vector
def terms_version_floor_of_an_update() -> Fields:
    """An update said that versions before 8 no longer open."""
    update = update_of({-70010: 1, -70012: [[MODEL_ID, 8]]})
    return with_terms("MODEL_TOO_OLD", {}, update)


@vector
def terms_version_floor_does_not_sink() -> Fields:
    """A later update with a lower floor changes nothing."""
    updates = [update_of({-70010: 1 + i, -70012: [[MODEL_ID, 8 - i]]}) for i in (0, 1)]
    return with_terms("MODEL_TOO_OLD", {}, *updates)


@vector
def terms_ok_version_floor_of_another_model() -> Fields:
    """The update was about another model."""
    update = update_of({-70010: 1, -70012: [[bytes(16), 8], [MODEL_ID, 7]]})
    return with_terms("OK", {}, update)


@vector
def terms_ok_version_floor_of_another_provider() -> Fields:
    """Another provider's update says nothing about this one's models."""
    update = update_of({-70010: 1, -70012: [[MODEL_ID, 8]]}, provider="other_provider")
    return with_terms("OK", {}, update)


@vector
def terms_revoked_on_all_devices() -> Fields:
    """Issued a second before the line that an update drew."""
    return with_terms("REVOKED", {6: 999}, revoking([MODEL_ID, 1000]))


@vector
def terms_revoked_on_this_device() -> Fields:
    """The same, drawn for this device."""
    return with_terms("REVOKED", {6: 999}, revoking([MODEL_ID, 1000, DEVICE]))


@vector
def terms_revoked_without_time_of_issue() -> Fields:
    """A license without iat is older than any line."""
    return with_terms("REVOKED", {}, revoking([MODEL_ID, 1]))


@vector
def terms_ok_issued_anew() -> Fields:
    """Issued at the line itself."""
    return with_terms("OK", {6: 1000}, revoking([MODEL_ID, 1000]))


@vector
def terms_ok_revoked_on_another_device() -> Fields:
    """The line was drawn for another device."""
    return with_terms("OK", {6: 999}, revoking([MODEL_ID, 1000, OTHER_DEVICE]))


@vector
def terms_ok_revoked_for_another_model() -> Fields:
    """The line was drawn for another model."""
    return with_terms("OK", {6: 999}, revoking([bytes(16), 1000]))


@vector
def terms_update_needed() -> Fields:
    """It wants update 4 and the device has taken 3."""
    return with_terms("UPDATE_NEEDED", {-70010: 4}, update_of({-70010: 3}))


@vector
def terms_update_needed_on_a_new_device() -> Fields:
    """It wants update 1 and the device has taken none."""
    return with_terms("UPDATE_NEEDED", {-70010: 1}, TIME)


@vector
def terms_unknown_feature() -> Fields:
    """A feature flag that this version does not know."""
    return with_terms("UNSUPPORTED_FEATURE", {-70007: 4})


@vector
def terms_sealed_input_and_output() -> Fields:
    """Both flags that this version knows: the model opens."""
    return with_terms("OK", {-70007: 3})


@vector
def terms_sealed_and_an_unknown_feature() -> Fields:
    """A flag that this version knows beside one that it does not."""
    return with_terms("UNSUPPORTED_FEATURE", {-70007: 5})


@vector
def terms_feature_before_revoked() -> Fields:
    """An unknown feature, and revoked: the feature is checked first."""
    return with_terms("UNSUPPORTED_FEATURE", {-70007: 8}, revoking([MODEL_ID, 1]))


@vector
def terms_revoked_before_too_old() -> Fields:
    """Revoked and too old: the revocation is checked first."""
    return with_terms("REVOKED", {-70006: 8}, revoking([MODEL_ID, 1]))


@vector
def terms_too_old_before_expired() -> Fields:
    """Too old and expired: the version is checked first."""
    return with_terms("MODEL_TOO_OLD", {4: 1, -70006: 8}, TIME)


@vector
def terms_expired_before_used_up() -> Fields:
    """Both ended: the time is checked first."""
    return with_terms("EXPIRED", {4: 1, -70004: 1}, TIME, inferences=1)


@vector
def terms_other_device_before_expired() -> Fields:
    """For another device and expired: the device is checked first."""
    return with_terms("WRONG_DEVICE", {4: 1, -70002: OTHER_DEVICE}, TIME)


@vector
def terms_key_retired() -> Fields:
    """An update retired the key that signed header and license."""
    key = cose_key(CRV_ED25519, ed25519_public("other_provider"))
    update = update_of({-70010: 1, -70013: {1: key, 2: 1}})
    return with_terms("UNTRUSTED_PROVIDER", {}, update)


@vector
def terms_ok_key_succeeded() -> Fields:
    """An update named a second key, and the first one goes on."""
    key = cose_key(CRV_ED25519, ed25519_public("other_provider"))
    update = update_of({-70010: 1, -70013: {1: key, 2: 0}})
    return with_terms("OK", {}, update)


@vector
def terms_ok_of_a_successor() -> Fields:
    """The build trusts the first key alone, whose update named the second."""
    key = cose_key(CRV_ED25519, ed25519_public("other_provider"))
    update = update_of({-70010: 1, -70013: {1: key, 2: 1}})
    return opening(
        "OK",
        signed=header(provider="other_provider"),
        permit=license_of(provider="other_provider"),
        updates=[update],
        trusted=None,
    )


@vector
def terms_of_a_stranger() -> Fields:
    """The build trusts the first key alone, and nothing named the second."""
    return opening(
        "UNTRUSTED_PROVIDER",
        signed=header(provider="other_provider"),
        permit=license_of(provider="other_provider"),
        updates=[TIME],
        trusted=None,
    )


@vector
def terms_floor_outlives_the_key() -> Fields:
    """What the first key said of a model holds for its successor's files."""
    key = cose_key(CRV_ED25519, ed25519_public("other_provider"))
    floor = update_of({-70010: 1, -70012: [[MODEL_ID, 8]], -70013: {1: key, 2: 1}})
    return opening(
        "MODEL_TOO_OLD",
        signed=header(provider="other_provider"),
        permit=license_of(provider="other_provider"),
        updates=[floor],
    )


# ---- malformed ----


@vector
def terms_end_of_33_bits() -> Fields:
    """exp over 32 bits."""
    return bad_license(license_of({4: 2**32}))


@vector
def terms_end_negative() -> Fields:
    """exp before 1970."""
    return bad_license(license_of({4: -1}))


@vector
def terms_end_a_float() -> Fields:
    """exp with fractions, which RFC 8392 allows and this profile does not."""
    return bad_license(license_of({4: 1.5}))


@vector
def terms_end_tagged() -> Fields:
    """exp as text."""
    return bad_license(license_of({4: "2030-01-01T00:00:00Z"}))


@vector
def terms_max_inferences_0() -> Fields:
    """A license for no inference."""
    return bad_license(license_of({-70004: 0}))


@vector
def terms_rate_count_0() -> Fields:
    """A bucket that holds nothing."""
    return bad_license(license_of({-70005: [0, 60]}))


@vector
def terms_rate_count_over_the_limit() -> Fields:
    """A bucket one larger than the limit."""
    return bad_license(license_of({-70005: [1048577, 60]}))


@vector
def terms_rate_seconds_0() -> Fields:
    """A bucket that is always full."""
    return bad_license(license_of({-70005: [1, 0]}))


@vector
def terms_rate_seconds_over_the_limit() -> Fields:
    """A bucket that takes more than 366 days."""
    return bad_license(license_of({-70005: [1, 31622401]}))


@vector
def terms_rate_of_three_members() -> Fields:
    """A rate with a third member."""
    return bad_license(license_of({-70005: [1, 1, 1]}))


@vector
def terms_rate_a_number() -> Fields:
    """A rate that is no array."""
    return bad_license(license_of({-70005: 1}))


@vector
def terms_grace_without_end() -> Fields:
    """A grace period after an end that is not there."""
    return bad_license(license_of({-70008: 1}))


@vector
def terms_without_time_0() -> Fields:
    """without_time with the value that its absence means."""
    return bad_license(license_of({-70009: 0}))


@vector
def terms_without_time_true() -> Fields:
    """without_time as a simple value."""
    return bad_license(license_of({-70009: True}))


@vector
def terms_claim_of_an_update() -> Fields:
    """A claim that belongs into updates."""
    return bad_license(license_of({-70012: [[MODEL_ID, 1]]}))


@vector
def terms_an_update_for_a_license() -> Fields:
    """A good update in a license's place."""
    return bad_license(update_of({-70010: 1}))
