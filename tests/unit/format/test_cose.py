# SPDX-License-Identifier: Apache-2.0
"""COSE messages: form, signatures, key wrapping."""

from __future__ import annotations

import hashlib

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.provider import Device, test_key
from undercroft._format import cose
from undercroft._format.cose import SignedMessage, WrappedKey
from undercroft.errors import FormatError, VerificationError
from undercroft.keys import ProviderKey

PAYLOAD = b"what is signed"


@pytest.fixture
def provider() -> ProviderKey:
    return ProviderKey.from_seed(test_key("provider"))


@pytest.fixture
def device() -> Device:
    return Device(test_key("device"))


def test_a_signed_message_parses_and_verifies(provider):
    message = SignedMessage.parse(provider.sign_message(PAYLOAD), "it")
    assert message.payload == PAYLOAD
    assert message.provider_key == provider.public().raw
    assert message.key_id == provider.key_id
    message.verify("it")


def test_a_signature_is_reproducible(provider):
    assert provider.sign_message(PAYLOAD) == provider.sign_message(PAYLOAD)


def test_the_message_is_an_untagged_cose_sign1_for_other_tools(provider):
    from cwt import COSE, COSEKey

    encoded = provider.sign_message(PAYLOAD)
    public = cose.cose_key(cose.CRV_ED25519, provider.public().raw)
    key = COSEKey.new({**public, 2: provider.key_id})
    tagged = b"\xd2" + encoded
    assert COSE.new().decode(tagged, keys=[key]) == PAYLOAD


def test_any_changed_part_does_not_verify(provider):
    members = cbor2.loads(provider.sign_message(PAYLOAD))
    for index in (2, 3):
        changed = list(members)
        changed[index] = bytes([changed[index][0] ^ 1]) + changed[index][1:]
        message = SignedMessage.parse(cbor2.dumps(changed), "it")
        with pytest.raises(VerificationError) as caught:
            message.verify("it")
        assert "it does not verify" in str(caught.value)


def test_another_key_in_the_bucket_does_not_verify(provider):
    other = ProviderKey.from_seed(test_key("other_provider"))
    members = cbor2.loads(provider.sign_message(PAYLOAD))
    members[0] = cbor2.loads(other.sign_message(PAYLOAD))[0]
    with pytest.raises(VerificationError):
        SignedMessage.parse(cbor2.dumps(members), "it").verify("it")


@given(st.binary(max_size=200))
def test_parsing_anything_raises_nothing_but_format_errors(data):
    for parser in (SignedMessage, WrappedKey):
        with pytest.raises(FormatError):
            parser.parse(data, "it")


def test_a_wrapped_key_opens_on_its_device_only(device):
    content_key = test_key("content")
    encoded = cose.wrap_key(content_key, device_key=device.public.raw)
    wrapped = WrappedKey.parse(encoded, "it")
    opened = cose.unwrap_key(
        wrapped, private_key=device.private, public_key=device.public.raw
    )
    assert opened == content_key
    other = Device(test_key("other_device"))
    with pytest.raises(VerificationError):
        cose.unwrap_key(wrapped, private_key=other.private, public_key=other.public.raw)


def test_wrapping_twice_gives_different_bytes(device):
    wrapped = {
        cose.wrap_key(test_key("content"), device_key=device.public.raw)
        for _ in range(4)
    }
    assert len(wrapped) == 4


@pytest.mark.parametrize("at", range(0, 48, 5))
def test_a_changed_wrapped_key_does_not_open(device, at):
    members = cbor2.loads(
        cose.wrap_key(test_key("content"), device_key=device.public.raw)
    )
    ciphertext = bytearray(members[2])
    ciphertext[at] ^= 1
    members[2] = bytes(ciphertext)
    wrapped = WrappedKey.parse(cbor2.dumps(members), "it")
    with pytest.raises(VerificationError):
        cose.unwrap_key(
            wrapped, private_key=device.private, public_key=device.public.raw
        )


def test_a_device_key_of_order_one_is_not_encrypted_to():
    with pytest.raises(VerificationError) as caught:
        cose.wrap_key(test_key("content"), device_key=bytes(32))
    assert "enroll" in caught.value.hint


def test_thumbprints_are_those_of_rfc_9679():
    # SHA-256 of a3 01 01 20 06 21 58 20 and the key, spelled out in license.md.
    key = bytes(range(32))
    for crv in (cose.CRV_ED25519, cose.CRV_X25519):
        encoded = bytes.fromhex("a3 01 01 20") + bytes([crv])
        encoded += bytes.fromhex("21 58 20") + key
        assert cose.key_thumbprint(crv, key) == hashlib.sha256(encoded).digest()
