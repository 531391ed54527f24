# SPDX-License-Identifier: Apache-2.0
"""Questions and answers of a private inference read, changed and replayed in between.

Asset: inputs and outputs of an asker who does not own the device.
Attack: the normal world keeps every question and answer, changes any byte, mixes the
    pages of two, asks an old question again, gives the answer to another one, turns a
    question to an older version of the model, and asks in plain.
Defence: keys of one inference, made of the asker's message to the device's key and
    bound to the model's signed header; a page has one place; a license can refuse
    whatever is not sealed.
Invariant: 11
Runs on: host, board
Also: tests/engine/test_question.c, tests/device/test_private.py,
    tests/fuzz/fuzz_service.c
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import undercroft as uc
from helpers import guest, onnx_nets
from helpers.attacked import (
    HOST_KEY,
    OTHER_DEVICE,
    PROVIDER,
    Attacked,
    assert_next_is_right,
    assert_right,
    board_device_key,
    host,
    load,
    ship,
)
from helpers.suites import SUITES
from helpers.trial import Trial, refused, trial_in
from undercroft._device.client import ModelClient
from undercroft._device.host import HostDevice
from undercroft._spec import (
    ANSWER_NONCE_BYTES,
    FEATURE_SEALED_INPUT,
    FEATURE_SEALED_OUTPUT,
    QUESTION_BYTES,
    Status,
)
from undercroft.errors import Error, LicenseError, VerificationError
from undercroft.keys import DevicePublicKey
from undercroft.private import Asker, Question

BOTH = FEATURE_SEALED_INPUT | FEATURE_SEALED_OUTPUT


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Attacked:
    return ship(tmp_path_factory.mktemp("attacked"), HOST_KEY.public)


@pytest.fixture
def device() -> Iterator[HostDevice]:
    with host() as device:
        yield device


@pytest.fixture
def model(device: HostDevice, attacked: Attacked) -> Iterator[ModelClient]:
    model = load(device, attacked)
    yield model
    assert_next_is_right(device, attacked, model)
    model.close()


def asker(attacked: Attacked) -> Asker:
    return Asker.of_model(
        attacked.path, device=HOST_KEY.public, provider=PROVIDER.public()
    )


def ask(attacked: Attacked, value: float = 1.0) -> Question:
    return asker(attacked).ask({"x": attacked.input * np.float32(value)})


def refuse(model: ModelClient, question: bytes) -> None:
    """The device refuses it, and an honest asker is answered next."""
    with pytest.raises(Error):
        model.ask(question)


@pytest.mark.engine
def test_any_byte_changed(model: ModelClient, attacked: Attacked) -> None:
    good = ask(attacked).data
    for place in range(0, len(good), 1 if len(good) < 400 else 7):
        changed = bytearray(good)
        changed[place] ^= 1 << place % 8
        refuse(model, bytes(changed))
    for place in range(QUESTION_BYTES):
        changed = bytearray(good)
        changed[place] ^= 0x10
        refuse(model, bytes(changed))


@pytest.mark.engine
def test_any_byte_of_an_answer_changed(model: ModelClient, attacked: Attacked) -> None:
    question = ask(attacked)
    answer, _ = model.ask(question.data)
    assert_right(question.open(answer.sealed), [attacked.expected])
    for place in range(len(answer.sealed)):
        changed = bytearray(answer.sealed)
        changed[place] ^= 1
        with pytest.raises(VerificationError):
            question.open(bytes(changed))


@pytest.mark.engine
def test_the_opening_of_one_question_and_the_inputs_of_another(
    model: ModelClient, attacked: Attacked
) -> None:
    one, other = ask(attacked), ask(attacked, 0.5)
    refuse(model, one.data[:QUESTION_BYTES] + other.data[QUESTION_BYTES:])
    refuse(model, other.data[:QUESTION_BYTES] + one.data[QUESTION_BYTES:])


@pytest.mark.engine
def test_an_old_question_asked_again(model: ModelClient, attacked: Attacked) -> None:
    """It is answered, to its asker alone: what was learned is nothing."""
    question = ask(attacked)
    answers = [model.ask(question.data)[0].sealed for _ in range(3)]
    assert len({answer[:ANSWER_NONCE_BYTES] for answer in answers}) == 3
    # Not even whether the answers are the same one.
    assert len({answer[ANSWER_NONCE_BYTES:] for answer in answers}) == 3
    for answer in answers:
        assert_right(question.open(answer), [attacked.expected])


@pytest.mark.engine
def test_the_answer_of_another_question_and_the_mix_of_two(
    model: ModelClient, attacked: Attacked
) -> None:
    one, other = ask(attacked), ask(attacked)
    first, second = (model.ask(one.data)[0].sealed for _ in range(2))
    with pytest.raises(VerificationError):
        other.open(first)
    mixed = first[:ANSWER_NONCE_BYTES] + second[ANSWER_NONCE_BYTES:]
    with pytest.raises(VerificationError):
        one.open(mixed)
    # The question itself, cut to the length of an answer.
    with pytest.raises(VerificationError):
        one.open(one.data[: len(first)].ljust(len(first), b"\0"))


@pytest.mark.engine
def test_a_question_turned_to_another_version_or_device(
    model: ModelClient, attacked: Attacked, tmp_path: Path
) -> None:
    newer = ship(tmp_path, HOST_KEY.public, version=2, model_key=attacked.model_key)
    refuse(model, ask(newer).data)
    elsewhere = Asker.of_model(attacked.path, device=OTHER_DEVICE.public)
    refuse(model, elsewhere.ask({"x": attacked.input}).data)


@pytest.mark.engine
def test_asking_in_plain_where_the_license_wants_it_sealed(
    device: HostDevice, attacked: Attacked
) -> None:
    permit = attacked.licensed(HOST_KEY.public, features=BOTH, max_inferences=2)
    model = load(device, attacked, permit)
    for _ in range(5):
        with pytest.raises(LicenseError) as caught:
            model.infer([attacked.input])
        assert caught.value.status == Status.SEALED_IO_NEEDED
    inputs_alone = asker(attacked).ask({"x": attacked.input}, seal_outputs=False)
    with pytest.raises(LicenseError) as caught:
        model.ask(inputs_alone.data)
    assert caught.value.detail == FEATURE_SEALED_OUTPUT
    # None of that counted, and what is refused for its form does not either.
    refuse(model, bytes(QUESTION_BYTES))
    refuse(model, ask(attacked).data[:QUESTION_BYTES])
    for _ in range(2):
        question = ask(attacked)
        answer, _ = model.ask(question.data)
        assert_right(question.open(answer.sealed), [attacked.expected])
    with pytest.raises(LicenseError) as caught:
        model.ask(ask(attacked).data)
    assert caught.value.status == Status.USED_UP
    model.close()
    assert_next_is_right(device, attacked)


# ---- the board ----


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    return trial_in(tmp_path_factory.mktemp("questions"))


@pytest.mark.board
@pytest.mark.timeout(900)
@pytest.mark.parametrize("suite", SUITES)
def test_questions_of_each_suite_on_the_board(tmp_path: Path, suite: str) -> None:
    guest.up()
    device = f"board:{guest.BOARD_NAME}"
    case = onnx_nets.case("mobile_network")
    plan = uc.plan(case.model, budget="1MiB", page_bytes=4096, suite=suite)
    path = tmp_path / "model.sealed"
    sealed = uc.seal(path, path, plan=plan, signing_key=PROVIDER)
    permit = uc.issue_license(
        model_key=sealed.model_key, device=board_device_key(), signing_key=PROVIDER
    )
    feed = onnx_nets.random_inputs(case)
    expected = onnxruntime.InferenceSession(case.model.SerializeToString())
    with uc.InferenceSession(
        path, license=permit, device=device, private=True
    ) as session:
        assert_right(session.run(None, feed), expected.run(None, feed))


@pytest.mark.board
@pytest.mark.timeout(900)
def test_what_the_boards_normal_world_may_do_to_a_question(trial: Trial) -> None:
    key = DevicePublicKey.from_cose_key(trial.device().device_key())
    asker = Asker.of_model(trial.sealed[1], device=key)
    question = asker.ask(trial.inputs)
    other = asker.ask(trial.inputs)
    with trial.open(trial.license(features=BOTH)) as session:
        assert refused(trial.run, session) == Status.SEALED_IO_NEEDED
        for place in (4, QUESTION_BYTES - 1, QUESTION_BYTES, len(question.data) - 1):
            changed = bytearray(question.data)
            changed[place] ^= 1
            with pytest.raises(VerificationError):
                session.ask(bytes(changed))
        mixed = question.data[:QUESTION_BYTES] + other.data[QUESTION_BYTES:]
        with pytest.raises(VerificationError):
            session.ask(mixed)
        # Another version of the model, and another device.
        newer = Asker.of_model(trial.sealed[2], device=key)
        stranger = Asker.of_model(trial.sealed[1], device=OTHER_DEVICE.public)
        for wrong in (newer, stranger):
            with pytest.raises(VerificationError):
                session.ask(wrong.ask(trial.inputs).data)
        answers = [session.ask(question.data)[0] for _ in range(2)]
        assert answers[0] != answers[1]
        for answer in answers:
            assert_right(question.open(answer), trial.expected)
            with pytest.raises(VerificationError):
                other.open(answer)
    trial.assert_next_is_right()
