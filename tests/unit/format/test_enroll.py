# SPDX-License-Identifier: Apache-2.0
"""Device certificates and enrolment."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import undercroft._device
from helpers.provider import Device, test_key
from undercroft.enroll import DeviceCertificate, enroll
from undercroft.errors import DeviceLostError, FormatError

DEVICE = Device(test_key("device"))


class FakeDevice:
    """A device that answers with what it is given."""

    def __init__(self, key: bytes, version: str = "1.0") -> None:
        self.key = key
        self.version = version
        self.closed = False

    def device_key(self) -> bytes:
        return self.key

    def info(self) -> SimpleNamespace:
        return SimpleNamespace(kind="op-tee", build="development", version=self.version)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def connect(monkeypatch):
    def install(device: FakeDevice) -> FakeDevice:
        monkeypatch.setattr(undercroft._device, "open_device", lambda _: device)
        return device

    return install


def test_a_certificate_survives_its_file(tmp_path):
    certificate = DeviceCertificate(DEVICE.public, "op-tee")
    certificate.save(tmp_path / "device.cert")
    assert DeviceCertificate.load(tmp_path / "device.cert") == certificate
    assert certificate.inspect() == {
        "device_id": DEVICE.public.device_id.hex(),
        "info": "op-tee",
        "authenticated": False,
    }


def test_enrolling_asks_the_device(connect):
    device = connect(FakeDevice(DEVICE.public.to_cose_key()))
    certificate = enroll("board:")
    assert certificate.public_key == DEVICE.public
    assert certificate.info == "op-tee, development build, 1.0"
    assert device.closed


def test_a_device_that_talks_too_much_is_cut_short(connect):
    connect(FakeDevice(DEVICE.public.to_cose_key(), "é" * 1000))
    certificate = enroll("board:")
    assert len(certificate.info.encode()) <= 256
    assert DeviceCertificate.parse(certificate.encode()) == certificate


@pytest.mark.parametrize("answer", [b"", b"\xa0", bytes(300)])
def test_a_device_with_a_wrong_key_is_refused(connect, answer):
    device = connect(FakeDevice(answer))
    with pytest.raises(FormatError):
        enroll("board:")
    assert device.closed


def test_a_lost_device_is_let_go(connect, monkeypatch):
    device = connect(FakeDevice(b""))

    def lost() -> bytes:
        raise DeviceLostError("gone")

    monkeypatch.setattr(device, "device_key", lost)
    with pytest.raises(DeviceLostError):
        enroll("board:")
    assert device.closed


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
