# SPDX-License-Identifier: Apache-2.0
"""Licenses, on the provider's side."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.provider import ship, test_key
from undercroft._format import cbor
from undercroft._format.cose import unwrap_key
from undercroft._format.license import LicenseClaims
from undercroft.errors import FileAccessError, FormatError, VerificationError
from undercroft.keys import ProviderKey
from undercroft.license import License, issue

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
    }


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
