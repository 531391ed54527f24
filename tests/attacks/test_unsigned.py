# SPDX-License-Identifier: Apache-2.0
"""Unsigned and wrongly signed everything.

Asset: keys, terms, time and floors, which signatures alone vouch for; for evidence, the
    provider's decision whom to give a key.
Attack: header, license, update, time token and evidence without a signature, with one
    of zeros, of another message, by another key in our name, by another key in its own
    name; another algorithm named; each message in the place of each other.
Defence: COSE_Sign1 of one form and one algorithm; the key id must be the thumbprint of
    the key; a page's key is made of the header as it was signed.
Invariant: 1, 2, 3, 4
Runs on: host, board
Also: tests/attacks/test_changed_messages.py, tests/unit/test_attestation.py,
    tests/conformance/test_vectors.py
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cbor2
import pytest

from helpers.attacked import (
    OTHER_PROVIDER,
    PROVIDER,
    Attacked,
    Batch,
    assert_next_is_right,
    status,
)
from undercroft._device.client import ModelClient
from undercroft._device.host import HostDevice
from undercroft._format.cose import CRV_ED25519, SignedMessage, key_thumbprint
from undercroft._format.license import LicenseClaims
from undercroft._spec import Command, Status
from undercroft.attestation import DEVELOPMENT_POLICY, verify_evidence
from undercroft.errors import FormatError, LicenseError, VerificationError
from undercroft.keys import ProviderKey
from undercroft.update import Revocation, issue_update

REFUSALS = (FormatError, VerificationError, LicenseError)
NONCE = bytes(range(32))
PLACES = ("header", "license", "update", "time token", "evidence")
OPENED = ("header", "license")


def assemble(bucket: bytes, payload: bytes, signature: object) -> bytes:
    return cbor2.dumps([bucket, {}, payload, signature])


def bucket_of(signer: ProviderKey) -> bytes:
    return SignedMessage.parse(signer.sign_message(b""), "it").bucket


def forgeries(good: bytes, another: bytes) -> dict[str, bytes]:
    """The message with everything wrong about its signature, one thing each."""
    message = SignedMessage.parse(good, "it")
    foreign = OTHER_PROVIDER.sign_message(message.payload)
    foreign_message = SignedMessage.parse(foreign, "it")
    bucket, payload = message.bucket, message.payload
    thumbprint = key_thumbprint(CRV_ED25519, foreign_message.provider_key)
    return {
        "no signature": assemble(bucket, payload, b""),
        "null": assemble(bucket, payload, None),
        "zeros": assemble(bucket, payload, bytes(64)),
        "of another message": assemble(
            bucket, payload, SignedMessage.parse(another, "it").signature
        ),
        "by another key": assemble(bucket, payload, foreign_message.signature),
        "another's key below our id": assemble(
            foreign_message.bucket.replace(thumbprint, message.key_id),
            payload,
            foreign_message.signature,
        ),
        "our key below another's id": assemble(
            bucket.replace(message.key_id, thumbprint), payload, message.signature
        ),
        # EdDSA is -8, 0x27; ES256 is -7.
        "another algorithm": assemble(
            bucket.replace(b"\x01\x27", b"\x01\x26", 1), payload, message.signature
        ),
        "no bucket": assemble(b"", payload, message.signature),
        "a MAC's tag": b"\xd1" + good,
        "the bare payload": payload,
    }


def good_messages(host: HostDevice, goods: Attacked) -> dict[str, bytes]:
    revocation = Revocation(goods.model_key.model_id, 2**32 - 1)
    return {
        "header": goods.header,
        "license": goods.license,
        # What nobody but the provider may say: it would end the license.
        "update": issue_update(
            signing_key=PROVIDER, version=9, revocations=[revocation], issued_at=1000
        ),
        "time token": issue_update(signing_key=PROVIDER, issued_at=2_100_000_000),
        "evidence": host.attest(NONCE),
    }


def take(host: HostDevice, goods: Attacked, place: str, message: bytes) -> None:
    """Hand a message in where its kind is expected, and use what came of it."""
    if place == "evidence":
        verify_evidence(message, nonce=NONCE, policy=DEVELOPMENT_POLICY)
    elif place in OPENED:
        sealed = goods.path.read_bytes()
        permit = goods.license
        if place == "header":
            start = sealed[:12] + len(message).to_bytes(4, "little")
            sealed = start + message + b"".join(goods.pages)
        else:
            permit = message
        path = goods.path.with_name("forged.sealed")
        path.write_bytes(sealed)
        invoker = host.open()
        try:
            ModelClient(invoker, path, permit).infer([goods.input])
        finally:
            invoker.close()
    else:
        host.update(message)


@pytest.mark.engine
@pytest.mark.parametrize("place", PLACES)
def test_no_forgery_is_taken(host: HostDevice, goods: Attacked, place: str) -> None:
    messages = good_messages(host, goods)
    another = messages["license" if place != "license" else "header"]
    forged = forgeries(messages[place], another)
    assert len(set(forged.values()) - {messages[place]}) == 11
    for message in forged.values():
        with pytest.raises(REFUSALS):
            take(host, goods, place, message)
        assert_next_is_right(host, goods)


@pytest.mark.engine
@pytest.mark.parametrize("place", PLACES)
def test_no_message_stands_for_another(
    host: HostDevice, goods: Attacked, place: str
) -> None:
    messages = good_messages(host, goods)
    for name, message in messages.items():
        if name == place or {name, place} == {"update", "time token"}:
            continue
        with pytest.raises(REFUSALS):
            take(host, goods, place, message)
        assert_next_is_right(host, goods)


@pytest.mark.engine
def test_what_another_provider_signs_in_its_own_name(
    host: HostDevice, goods: Attacked
) -> None:
    """A development build believes it, and it is worth nothing without the keys."""
    header = OTHER_PROVIDER.sign_message(
        SignedMessage.parse(goods.header, "it").payload
    )
    with pytest.raises(REFUSALS):
        take(host, goods, "header", header)
    assert_next_is_right(host, goods)
    message = SignedMessage.parse(goods.license, "it")
    claims = LicenseClaims.parse(message.payload)
    generous = replace(claims, license_id=bytes(16))
    # The wrapped key is bound to the provider who signs, or the terms could be changed.
    with pytest.raises(REFUSALS):
        take(host, goods, "license", OTHER_PROVIDER.sign_message(generous.encode()))
    assert_next_is_right(host, goods)
    # Another provider's revocation is of its own licenses.
    revocation = Revocation(goods.model_key.model_id, 2**32 - 1)
    host.update(
        issue_update(signing_key=OTHER_PROVIDER, version=9, revocations=[revocation])
    )
    assert_next_is_right(host, goods)


@pytest.mark.engine
def test_evidence_answers_one_challenge(host: HostDevice, goods: Attacked) -> None:
    evidence = host.attest(NONCE)
    verify_evidence(evidence, nonce=NONCE, policy=DEVELOPMENT_POLICY)
    for nonce in (bytes(32), NONCE[:31], NONCE + b"\0", b""):
        with pytest.raises(VerificationError):
            verify_evidence(evidence, nonce=nonce, policy=DEVELOPMENT_POLICY)
    assert_next_is_right(host, goods)


@pytest.mark.board
@pytest.mark.timeout(900)
def test_no_forgery_is_taken_on_the_board(batch: Callable[[], Batch]) -> None:
    made = batch()
    goods = made.attacked
    update = goods.blobs()["update"]
    places = {}
    for name, message in forgeries(goods.header, goods.license).items():
        params = [["in", message.hex()], ["in", "@license"], ["value_output"]]
        places["header", name] = (Command.OPEN, params)
    for name, message in forgeries(goods.license, goods.header).items():
        params = [["in", "@header"], ["in", message.hex()], ["value_output"]]
        places["license", name] = (Command.OPEN, params)
    for name, message in forgeries(update, goods.license).items():
        places["update", name] = (Command.UPDATE, [["in", message.hex()]])
    at = {
        key: made.steps.call(command, ["value_inout", 0, 0], *params)
        for key, (command, params) in places.items()
    }
    made.honest()
    answers = made.run()
    expected = {
        Status.NOT_AUTHENTIC,
        Status.BAD_HEADER,
        Status.BAD_LICENSE,
        Status.BAD_UPDATE,
    }
    assert len(at) == 33
    for key, place in at.items():
        assert status(answers[place]) in expected, key
