# SPDX-License-Identifier: Apache-2.0
"""Evidence from the Trusted Application on the board."""

from __future__ import annotations

import re

import pytest

import undercroft as uc
from helpers import guest
from undercroft import _board, _build
from undercroft._spec import DEFAULT_ARENA_BYTES
from undercroft.attestation import DEVELOPMENT_POLICY, Evidence
from undercroft.errors import AttestationError, DeviceError
from undercroft.factory import Authority

pytestmark = [pytest.mark.board, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def uri() -> str:
    guest.up()
    return f"board:{guest.BOARD_NAME}"


def enrolled(uri: str, **options: object) -> Evidence:
    certificate = uc.enroll(uri, policy=DEVELOPMENT_POLICY, **options)  # type: ignore[arg-type]
    assert certificate.evidence is not None
    return Evidence.parse(certificate.evidence)


def test_the_board_says_what_it_is(uri: str) -> None:
    evidence = enrolled(uri)
    facts = (_build.BUILD / "ta" / "obj" / "policy" / "uc_facts.h").read_text()
    values = re.findall(r"0x([0-9a-f]{2})", facts)
    assert evidence.build_id.hex() == "".join(values)
    assert evidence.secure_memory_bytes == DEFAULT_ARENA_BYTES
    assert evidence.measurement is None  # Debian's OP-TEE has no attestation
    told = evidence.inspect()
    assert told["build"] == "development"
    assert told["hardware_key"] == "none"
    assert told["lifecycle"] == "test"


def test_the_default_policy_refuses_the_board(uri: str) -> None:
    with pytest.raises(AttestationError) as caught:
        uc.enroll(uri)
    assert caught.value.check == 6
    authority = Authority.create("ACME")
    endorsement = authority.endorse(enrolled(uri))
    with pytest.raises(AttestationError) as caught:
        uc.enroll(uri, endorsement=endorsement, manufacturers=[authority.certificate])
    assert caught.value.check == 7
    assert "--allow-development" in caught.value.hint


def test_keys_survive_a_restart_of_the_board(uri: str) -> None:
    before = enrolled(uri)
    _board.down(guest.BOARD_NAME)
    guest.up()
    after = enrolled(uri)
    assert after.attestation_key == before.attestation_key
    assert after.device_id == before.device_id
    assert after.nonce != before.nonce


@pytest.mark.parametrize("length", [0, 1, 7, 65])
def test_challenges_of_wrong_lengths(uri: str, length: int) -> None:
    from undercroft._device import open_device

    device = open_device(uri)
    try:
        with pytest.raises(DeviceError):
            device.attest(bytes(length))
        assert len(device.attest(bytes(64))) > 300
    finally:
        device.close()
