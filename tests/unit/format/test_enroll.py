# SPDX-License-Identifier: Apache-2.0
"""Device certificates without evidence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.provider import Device, test_key
from undercroft._format import cbor
from undercroft.enroll import DeviceCertificate
from undercroft.errors import FormatError

DEVICE = Device(test_key("device"))


def test_a_certificate_survives_its_file(tmp_path):
    certificate = DeviceCertificate(DEVICE.public, "op-tee")
    certificate.save(tmp_path / "device.cert")
    assert DeviceCertificate.load(tmp_path / "device.cert") == certificate
    assert certificate.inspect() == {
        "device_id": DEVICE.public.device_id.hex(),
        "info": "op-tee",
        "authenticated": False,
        "extensions": {},
    }


def test_a_certificate_of_version_1_is_still_read():
    key = {1: 1, -1: 4, -2: DEVICE.public.raw}
    old = cbor.encode({1: 1, 2: key, 3: "op-tee"})
    assert DeviceCertificate.parse(old) == DeviceCertificate(DEVICE.public, "op-tee")
    with pytest.raises(FormatError):
        DeviceCertificate.parse(
            cbor.encode({1: 1, 2: key, 3: "", 4: bytes(8), 5: b"1"})
        )
    with pytest.raises(FormatError):
        DeviceCertificate.parse(cbor.encode({1: 3, 2: key, 3: ""}))


@given(st.binary(max_size=200))
def test_parsing_anything_raises_nothing_but_format_errors(data):
    with pytest.raises(FormatError):
        DeviceCertificate.parse(data)


def test_a_changed_certificate_is_another_device_or_none():
    certificate = DeviceCertificate(DEVICE.public, "op-tee")
    encoded = certificate.encode()
    for at in range(len(encoded)):
        changed = bytearray(encoded)
        changed[at] ^= 1
        try:
            parsed = DeviceCertificate.parse(bytes(changed))
        except FormatError:
            continue
        assert parsed != certificate
