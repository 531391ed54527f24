# SPDX-License-Identifier: Apache-2.0
"""Licenses, on the provider's side."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.provider import ship, test_key
from undercroft._format import cbor
from undercroft._format.cose import unwrap_key
from undercroft._format.license import LicenseClaims
from undercroft.errors import FileAccessError, FormatError, VerificationError
from undercroft.keys import ProviderKey
from undercroft.license import License, LicenseTerms, issue

SHIPMENT = ship()
OTHER = ProviderKey.from_seed(test_key("other_provider"))


def test_a_license_says_for_whom_it_is():
    permit = License.parse(SHIPMENT.license)
    permit.verify()
    permit.verify(SHIPMENT.provider.public())
    assert permit.claims.model_id == SHIPMENT.model_key.model_id
    assert permit.claims.device_id == SHIPMENT.device.public.device_id
    assert permit.provider == SHIPMENT.provider.public()
    assert permit.inspect() == {
        "license_id": permit.claims.license_id.hex(),
        "model_id": SHIPMENT.model_key.model_id.hex(),
        "device_id": SHIPMENT.device.public.device_id.hex(),
        "provider_key_id": SHIPMENT.provider.key_id.hex(),
        "license_bytes": len(SHIPMENT.license),
        "issued_at": permit.inspect()["issued_at"],
        "terms": {},
        "extensions": {},
    }
    assert permit.claims.issued_at is not None
    assert abs(permit.claims.issued_at - time.time()) < 3600


def test_the_content_key_is_in_it_for_the_device_alone():
    permit = License.parse(SHIPMENT.license)
    assert SHIPMENT.model_key.content_key not in SHIPMENT.license
    device = SHIPMENT.device
    opened = unwrap_key(
        permit.claims.wrapped_key,
        private_key=device.private,
        public_key=device.public.raw,
    )
    assert opened == SHIPMENT.model_key.content_key


def test_every_license_has_its_own_id():
    ids = {
        License.parse(
            issue(
                model_key=SHIPMENT.model_key,
                device=SHIPMENT.device.public,
                signing_key=SHIPMENT.provider,
            )
        ).claims.license_id
        for _ in range(3)
    }
    assert len(ids) == 3


def test_another_provider_is_noticed():
    with pytest.raises(VerificationError, match="another provider"):
        License.parse(SHIPMENT.license).verify(OTHER.public())


def test_a_changed_license_does_not_verify():
    changed = SHIPMENT.license[:-1] + bytes([SHIPMENT.license[-1] ^ 1])
    with pytest.raises(VerificationError):
        License.parse(changed).verify()


def test_a_license_file_is_read_or_refused(tmp_path):
    path = tmp_path / "device.license"
    path.write_bytes(SHIPMENT.license)
    assert License.load(path).data == SHIPMENT.license
    path.write_bytes(bytes(5000))
    with pytest.raises(FormatError):
        License.load(path)
    with pytest.raises(FileAccessError):
        License.load(tmp_path / "missing")


@given(st.binary(max_size=400))
def test_parsing_anything_raises_nothing_but_format_errors(data):
    with pytest.raises(FormatError):
        License.parse(data)
    with pytest.raises(FormatError):
        LicenseClaims.parse(data)


@given(
    st.sampled_from([7, -70001, -70002, -70003]),
    st.one_of(
        st.binary(max_size=80), st.integers(0, 300), st.lists(st.binary(max_size=40))
    ),
)
def test_any_value_of_a_claim_is_either_kept_or_refused(key, value):
    claims = cbor.decode(License.parse(SHIPMENT.license).claims.encode(), "it")
    claims[key] = value
    payload = cbor.encode(claims)
    try:
        parsed = LicenseClaims.parse(payload)
    except FormatError:
        return
    assert parsed.encode() == payload


ALL_TERMS = LicenseTerms(
    expires=2_000_000_000,
    not_before=1_900_000_000,
    grace_seconds=3600,
    max_inferences=1000,
    rate=(10, 60),
    version_floor=2,
    features=0,
    without_time=True,
    update_floor=4,
)


def test_conditions_survive_the_way():
    data = issue(
        model_key=SHIPMENT.model_key,
        device=SHIPMENT.device.public,
        signing_key=SHIPMENT.provider,
        terms=ALL_TERMS,
        issued_at=1_800_000_000,
    )
    permit = License.parse(data)
    assert permit.claims.terms == ALL_TERMS
    assert permit.claims.issued_at == 1_800_000_000
    assert len(data) < 512
    assert permit.inspect()["terms"] == {
        "expires": "2033-05-18T03:33:20+00:00",
        "not_before": "2030-03-17T17:46:40+00:00",
        "grace_seconds": 3600,
        "max_inferences": 1000,
        "rate": "10 in 60 s",
        "version_floor": 2,
        "features": 0,
        "without_time": True,
        "update_floor": 4,
    }


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        ({"expires": -1}, "expires"),
        ({"expires": 2**32}, "expires"),
        ({"not_before": 2**32}, "not_before"),
        ({"max_inferences": 0}, "max_inferences"),
        ({"grace_seconds": 5}, "grace period without an end"),
        ({"rate": (0, 60)}, "rate"),
        ({"rate": (1, 31622401)}, "rate"),
        ({"rate": (1048577, 1)}, "rate"),
    ],
)
def test_conditions_that_cannot_be(terms, says):
    with pytest.raises(FormatError, match=says):
        LicenseTerms(**terms)
