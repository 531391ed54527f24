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
Runs on: host
Also: tests/engine/test_question.c, tests/device/test_private.py,
    tests/fuzz/fuzz_service.c
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from helpers.attacked import (
    HOST_KEY,
    OTHER_DEVICE,
    PROVIDER,
    Attacked,
    assert_next_is_right,
    assert_right,
    host,
    load,
    ship,
)
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
from undercroft.private import Asker, Question

pytestmark = pytest.mark.engine

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


def test_any_byte_of_an_answer_changed(model: ModelClient, attacked: Attacked) -> None:
    question = ask(attacked)
    answer, _ = model.ask(question.data)
    assert_right(question.open(answer.sealed), [attacked.expected])
    for place in range(len(answer.sealed)):
        changed = bytearray(answer.sealed)
        changed[place] ^= 1
        with pytest.raises(VerificationError):
            question.open(bytes(changed))


def test_the_opening_of_one_question_and_the_inputs_of_another(
    model: ModelClient, attacked: Attacked
) -> None:
    one, other = ask(attacked), ask(attacked, 0.5)
    refuse(model, one.data[:QUESTION_BYTES] + other.data[QUESTION_BYTES:])
    refuse(model, other.data[:QUESTION_BYTES] + one.data[QUESTION_BYTES:])


def test_an_old_question_asked_again(model: ModelClient, attacked: Attacked) -> None:
    """It is answered, to its asker alone: what was learned is nothing."""
    question = ask(attacked)
    answers = [model.ask(question.data)[0].sealed for _ in range(3)]
    assert len({answer[:ANSWER_NONCE_BYTES] for answer in answers}) == 3
    # Not even whether the answers are the same one.
    assert len({answer[ANSWER_NONCE_BYTES:] for answer in answers}) == 3
    for answer in answers:
        assert_right(question.open(answer), [attacked.expected])


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


def test_a_question_turned_to_another_version_or_device(
    model: ModelClient, attacked: Attacked, tmp_path: Path
) -> None:
    newer = ship(tmp_path, HOST_KEY.public, version=2, model_key=attacked.model_key)
    refuse(model, ask(newer).data)
    elsewhere = Asker.of_model(attacked.path, device=OTHER_DEVICE.public)
    refuse(model, elsewhere.ask({"x": attacked.input}).data)


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
