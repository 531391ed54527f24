# SPDX-License-Identifier: Apache-2.0
"""The Trusted Application's boundary, line by line, over a fake TEE.

`tests/device` runs the same sources where they belong, in OP-TEE; here every call to
the TEE can be made to fail, and gcov counts lines (`make coverage`).
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import attacked
from helpers.attacked import PROVIDER, Attacked, Raw, assert_right
from helpers.fake_tee import (
    BAD_PARAMETERS,
    CORRUPT_OBJECT,
    GENERIC,
    NO_SPACE,
    OUT_OF_MEMORY,
    SUCCESS,
    FakeTee,
    TeeParam,
    library,
)
from undercroft._spec import (
    HARDWARE_KEY_NONE,
    MAX_EVIDENCE_BYTES,
    Command,
    Status,
)
from undercroft.attestation import DEVELOPMENT_POLICY, verify_evidence
from undercroft.errors import DeviceError, Error, LicenseError
from undercroft.keys import DevicePublicKey, ProviderKey
from undercroft.private import Asker
from undercroft.update import issue_update

pytestmark = pytest.mark.engine

NONCE = bytes(range(32))
KEY_BYTES = len(attacked.HOST_KEY.public.to_cose_key())
CONDITIONS: dict[str, Any] = {"max_inferences": 100_000, "rate": (1000, 1)}


@pytest.fixture(scope="module")
def built() -> Path:
    return library()


@pytest.fixture
def tee(built: Path) -> Iterator[FakeTee]:
    device = FakeTee(built)
    yield device
    device.fail(0)
    assert device.panics == 0
    assert device.held == 0, "handles or memory were not given back"


@pytest.fixture(scope="module")
def goods(tmp_path_factory: pytest.TempPathFactory) -> Attacked:
    """The network; each device needs a license of its own."""
    folder = tmp_path_factory.mktemp("tee")
    return attacked.ship(folder, attacked.HOST_KEY.public)


def licensed(tee: FakeTee, goods: Attacked, **terms: Any) -> Attacked:
    device = DevicePublicKey.from_cose_key(tee.device_key())
    return replace(goods, license=goods.licensed(device, **terms))


def infer(tee: FakeTee, goods: Attacked) -> None:
    """An honest inference, over the product's client."""
    model = tee.load(goods.path, goods.license)
    try:
        outputs, stats = model.infer([goods.input])
    finally:
        model.close()
    assert_right(outputs, [goods.expected])
    assert 0 < stats.secure_peak_bytes <= stats.budget_bytes


# ---- the honest way ----


def test_a_model_gives_the_right_answer(tee: FakeTee, goods: Attacked) -> None:
    infer(tee, licensed(tee, goods))
    assert tee.ta.fake_tee_forgotten() > 0


def test_the_device_is_the_same_again(tee: FakeTee) -> None:
    first = tee.device_key(), tee.info()
    assert (tee.device_key(), tee.info()) == first
    assert first[1].build == "development"


def test_its_evidence_verifies(tee: FakeTee) -> None:
    tee.fail(0)
    data = tee.attest(NONCE)
    evidence = verify_evidence(data, nonce=NONCE, policy=DEVELOPMENT_POLICY)
    assert evidence.public_key.to_cose_key() == tee.device_key()
    assert evidence.measurement is None
    assert evidence.hardware_key == HARDWARE_KEY_NONE


@pytest.mark.parametrize("size", [33, 200, 544])
def test_what_the_attestation_service_says_is_in_the_evidence(
    tee: FakeTee, size: int
) -> None:
    tee.ta.fake_tee_attestation(1, size)
    evidence = verify_evidence(
        tee.attest(NONCE), nonce=NONCE, policy=DEVELOPMENT_POLICY
    )
    assert evidence.measurement == b"\x4d" * size


@pytest.mark.parametrize("size", [0, 1, 32, 545, MAX_EVIDENCE_BYTES])
def test_what_is_no_measurement_is_left_out(tee: FakeTee, size: int) -> None:
    tee.ta.fake_tee_attestation(1, size)
    evidence = verify_evidence(
        tee.attest(NONCE), nonce=NONCE, policy=DEVELOPMENT_POLICY
    )
    assert evidence.measurement is None


def test_counts_end_and_are_kept(tee: FakeTee, goods: Attacked) -> None:
    goods = licensed(tee, goods, max_inferences=2)
    for _ in range(2):
        infer(tee, goods)
    with pytest.raises(LicenseError) as caught:
        infer(tee, goods)
    assert caught.value.status == Status.USED_UP


def test_a_rate_follows_the_clock_of_the_tee(tee: FakeTee, goods: Attacked) -> None:
    goods = licensed(tee, goods, rate=(1, 60))
    tee.ta.fake_tee_clock(60_000)
    infer(tee, goods)
    with pytest.raises(LicenseError):
        infer(tee, goods)
    tee.ta.fake_tee_clock(121_000)
    infer(tee, goods)


def test_an_older_update_is_refused(tee: FakeTee) -> None:
    tee.update(issue_update(signing_key=PROVIDER, version=2))
    with pytest.raises(LicenseError) as caught:
        tee.update(issue_update(signing_key=PROVIDER, version=1))
    assert caught.value.status == Status.OUTDATED_UPDATE


def test_a_private_question_is_answered_to_the_asker(
    tee: FakeTee, goods: Attacked
) -> None:
    goods = licensed(tee, goods)
    device = DevicePublicKey.from_cose_key(tee.device_key())
    question = Asker.of_model(goods.path, device=device).ask({"x": goods.input})
    model = tee.load(goods.path, goods.license)
    try:
        answer, _ = model.ask(question.data, [])
    finally:
        model.close()
    assert answer.outputs == []
    (opened,) = question.open(answer.sealed)
    assert_right([opened], [goods.expected])


# ---- hostile parameters ----


def test_a_session_takes_no_parameters(tee: FakeTee) -> None:
    for types in (1, 3 << 4, 5 << 8, 7 << 12, 0xFFFF):
        assert tee.open_session(types) == (BAD_PARAMETERS, 0)


def test_every_combination_of_types_but_the_right_one_is_refused(tee: FakeTee) -> None:
    """All 65,536, for every command; what is right is what one of them takes."""
    result, session = tee.open_session()
    assert result == SUCCESS
    params = (TeeParam * 4)()
    taken: dict[int, list[int]] = {}
    for command in Command:
        for types in range(1 << 16):
            if types & 0x7777 != types:
                continue
            if tee.invoke(session, command, types, params) == SUCCESS:
                taken.setdefault(command, []).append(types)
    tee.end_session(session)
    assert {command: len(found) for command, found in taken.items()} == {
        int(command): 1 for command in Command
    }
    # Parameter 0 carries the status, in every command.
    assert {types & 0xF for found in taken.values() for types in found} == {3}


@pytest.mark.parametrize("kind", ["null_in", "null_out"])
@pytest.mark.parametrize("length", [1, 2**31, 2**32 - 1, 2**64 - 1])
def test_no_memory_of_a_length_is_refused(tee: FakeTee, kind: str, length: int) -> None:
    session = Raw(tee)  # type: ignore[arg-type]
    if kind == "null_in":
        given = [("value_inout", 0, 0), (kind, length), ("out", 64), ("none",)]
        assert session.call(Command.ATTEST, *given) is None
    else:
        given = [("value_inout", 0, 0), (kind, length), ("none",), ("none",)]
        assert session.call(Command.DEVICE_KEY, *given) is None
    session.close()


def test_commands_that_do_not_exist_are_said_to(tee: FakeTee) -> None:
    session = Raw(tee)  # type: ignore[arg-type]
    for number in (max(Command) + 1, 2**31, 2**32 - 1):
        answer = session.call(
            number, ("value_inout", 5, 6), ("none",), ("none",), ("none",)
        )
        assert answer is not None
        assert answer.status == Status.UNKNOWN_COMMAND
    session.close()


@pytest.mark.parametrize("room", [0, 1, KEY_BYTES - 1, KEY_BYTES, 2**16])
def test_a_key_needs_its_room(tee: FakeTee, room: int) -> None:
    session = Raw(tee)  # type: ignore[arg-type]
    answer = session.call(
        Command.DEVICE_KEY, ("value_inout", 0, 0), ("out", room), ("none",), ("none",)
    )
    assert answer is not None
    enough = room >= KEY_BYTES
    assert answer.status == (Status.OK if enough else Status.SHORT_BUFFER)
    assert enough or answer.is_blank
    session.close()


def test_a_point_of_small_order_gives_no_secret(tee: FakeTee) -> None:
    dh = tee.ta.uc_port_device_dh
    dh.restype = ctypes.c_bool
    shared = ctypes.create_string_buffer(b"\x55" * 32, 32)
    for point in (bytes(32), bytes([1]) + bytes(31)):
        assert not dh(point, shared)
        assert shared.raw == bytes(32)
    own = DevicePublicKey.from_cose_key(tee.device_key()).raw
    assert dh(own, shared)
    assert any(shared.raw)
    tee.ta.uc_port_state_end()


def test_two_sessions_take_turns(tee: FakeTee, goods: Attacked) -> None:
    goods = licensed(tee, goods)
    first = tee.load(goods.path, goods.license)
    second = tee.load(goods.path, goods.license)
    for model in (first, second, first):
        outputs, _ = model.infer([goods.input])
        assert_right(outputs, [goods.expected])
    first.close()
    second.close()


# ---- a TEE that fails ----


def everything(tee: FakeTee, goods: Attacked) -> None:
    """Each thing that a device is asked for, once."""
    tee.update(issue_update(signing_key=PROVIDER, version=1))
    tee.attest(NONCE)
    model = tee.load(goods.path, goods.license)
    try:
        outputs, _ = model.infer([goods.input])
        assert_right(outputs, [goods.expected])
        device = DevicePublicKey.from_cose_key(tee.device_key())
        question = Asker.of_model(goods.path, device=device).ask({"x": goods.input})
        answer, _ = model.ask(question.data, [])
        assert_right([question.open(answer.sealed)[0]], [goods.expected])
    finally:
        model.close()


@pytest.mark.parametrize("code", [NO_SPACE, CORRUPT_OBJECT, OUT_OF_MEMORY, GENERIC])
def test_every_call_of_the_tee_may_fail(
    built: Path, goods: Attacked, code: int
) -> None:
    """An error, never a panic or a leak; and the next honest inference is right."""
    tee = FakeTee(built)
    goods = licensed(tee, goods, **CONDITIONS)
    everything(tee, goods)
    tee.fail(0)
    everything(tee, goods)
    total = tee.calls
    assert total > 100
    failed, survived = set(), set()
    for nth in range(1, total + 1):
        tee.fail(nth, code)
        try:
            everything(tee, goods)
            survived.add(tee.failed)
        except Error:
            failed.add(tee.failed)
        assert tee.failed, nth
        assert tee.panics == 0, (nth, tee.failed)
        assert tee.held == 0, (nth, tee.failed)
        if nth % 8 == 0:
            tee.fail(0)
            infer(tee, goods)
    tee.fail(0)
    everything(tee, goods)
    assert {
        "_utee_storage_obj_open",
        "_utee_storage_obj_write",
        "TEE_Malloc",
    } <= failed
    # What was done for nothing may fail, and the attestation service may be missing.
    assert "TEE_OpenTASession" in survived


END = 1_900_000_000
COUNT = 5


def left(tee: FakeTee, goods: Attacked) -> int:
    """How often a license allows an inference still."""
    for count in range(2 * COUNT):
        # Long after what was before, so that its rate does not matter.
        tee.ta.fake_tee_clock(900_000 + 10_000 * count)
        try:
            infer(tee, goods)
        except LicenseError as error:
            if error.status != Status.USED_UP:
                raise
            return count
    raise AssertionError("a count without an end")


@pytest.mark.parametrize("goes_on", [False, True])
def test_a_storage_that_is_full_at_any_write(
    built: Path, tmp_path: Path, goes_on: bool
) -> None:
    """Of a time token, of a newer version's floor, and of a count within a session.

    What was said to be done is known afterwards, and no inference is given twice.
    """

    def ship(version: int) -> Attacked:
        device = DevicePublicKey.from_cose_key(tee.device_key())
        return attacked.ship(tmp_path, device, version=version)

    tee = FakeTee(built)
    older, newer = ship(1), ship(2)
    token = issue_update(signing_key=PROVIDER, issued_at=END)

    def attempt(told: set[str]) -> int:
        """One second after another: a rate of two makes each third a new batch."""
        tee.ta.fake_tee_clock(60_000)
        tee.update(token)
        told.add("time")
        model = tee.load(newer.path, counted)
        told.add("floor")
        infers = 0
        try:
            for second in range(COUNT):
                tee.ta.fake_tee_clock(61_000 + 1_000 * second)
                model.infer([newer.input])
                infers += 1
        except Error:
            if infers == 0:
                raise
        finally:
            model.close()
        return infers

    def begin() -> tuple[FakeTee, bytes, bytes]:
        tee = FakeTee(built)
        device = DevicePublicKey.from_cose_key(tee.device_key())
        infer(tee, replace(older, license=older.licensed(device)))
        rated = newer.licensed(device, max_inferences=COUNT, rate=(2, 2))
        return tee, rated, newer.licensed(device, expires=END)

    tee, counted, ends = begin()
    tee.fail(0)
    assert attempt(set()) == COUNT
    total = tee.calls
    written, seen = set(), set()
    for nth in range(1, total + 1):
        tee, counted, ends = begin()
        tee.fail(nth, NO_SPACE, goes_on=goes_on)
        told: set[str] = set()
        infers = 0
        try:
            infers = attempt(told)
        except Error:
            written.add(tee.failed)
        tee.fail(0)
        seen.add(frozenset(told))
        if "time" in told:
            with pytest.raises(LicenseError) as caught:
                tee.load(newer.path, ends)
            assert caught.value.status == Status.EXPIRED
        if "floor" in told:
            with pytest.raises(LicenseError) as caught:
                infer(tee, licensed(tee, older))
            assert caught.value.status == Status.MODEL_TOO_OLD
        assert infers + left(tee, replace(newer, license=counted)) <= COUNT, nth
        infer(tee, licensed(tee, newer))
        assert tee.panics == tee.held == 0
    assert "_utee_storage_obj_write" in written
    assert seen >= {frozenset(), frozenset({"time"}), frozenset({"time", "floor"})}


def first_use(tee: FakeTee) -> None:
    """Both keys of a device are made when they are needed first."""
    tee.device_key()
    tee.attest(NONCE)


@pytest.mark.parametrize("code", [NO_SPACE, GENERIC])
def test_a_first_use_that_fails_leaves_a_device_that_works(
    built: Path, code: int
) -> None:
    """The keys are made, or not at all; one that was told of is there for good."""
    tee = FakeTee(built)
    first_use(tee)
    total = tee.calls
    for nth in range(1, total + 1):
        tee = FakeTee(built)
        tee.fail(nth, code, goes_on=True)
        with pytest.raises(DeviceError) as caught:
            first_use(tee)
        assert caught.value.status in {Status.STORAGE, Status.INTERNAL, None}
        tee.fail(0)
        key = tee.device_key()
        evidence = verify_evidence(
            tee.attest(NONCE), nonce=NONCE, policy=DEVELOPMENT_POLICY
        )
        assert evidence.public_key.to_cose_key() == key
        assert tee.panics == tee.held == 0


# ---- whom a release build trusts ----


def test_a_release_build_trusts_those_it_names(goods: Attacked, tmp_path: Path) -> None:
    trusted = ProviderKey.generate()
    pem = tmp_path / "trusted.pem"
    trusted.public().save(pem)
    tee = FakeTee(library([pem]))
    assert tee.info().build == "release"
    trusts = tee.ta.uc_port_provider_trusted
    trusts.restype = ctypes.c_bool
    other = ProviderKey.generate()
    for key, expected in ((trusted, True), (other, False), (PROVIDER, False)):
        public = key.public()
        assert trusts(public.key_id, public.raw) is expected
    # The right name with another's key is nobody.
    assert not trusts(trusted.public().key_id, other.public().raw)
    goods = licensed(tee, goods)
    with pytest.raises(LicenseError) as caught:
        infer(tee, goods)
    assert caught.value.status == Status.UNTRUSTED_PROVIDER
    assert np.all(np.isfinite(goods.expected))
    assert tee.panics == tee.held == 0
