# SPDX-License-Identifier: Apache-2.0
"""The device's key stays at hand between questions, and storage has the last word."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

import undercroft as uc
from helpers import guest
from helpers.attacked import assert_right
from helpers.secure_memory import SecureMemory
from helpers.trial import STORAGE, Trial, trial_in
from undercroft import _board
from undercroft.errors import VerificationError
from undercroft.keys import DevicePublicKey
from undercroft.private import Asker

pytestmark = [pytest.mark.board, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    return trial_in(tmp_path_factory.mktemp("question_key"))


def asker_for(trial: Trial, device_key: bytes) -> Asker:
    return Asker.of_model(
        trial.sealed[1], device=DevicePublicKey.from_cose_key(device_key)
    )


def ask(trial: Trial, session: uc.InferenceSession, asker: Asker) -> None:
    """Ask; the answer must be onnxruntime's."""
    question = asker.ask(trial.inputs)
    answer, _ = session.ask(question.data)
    assert_right(question.open(answer), trial.expected)


def assert_refused(trial: Trial, session: uc.InferenceSession, asker: Asker) -> None:
    with pytest.raises(VerificationError):
        session.ask(asker.ask(trial.inputs).data)


def test_the_second_question_needs_nothing_of_storage(trial: Trial) -> None:
    asker = asker_for(trial, trial.device().device_key())
    with trial.open(trial.license()) as session:
        ask(trial, session, asker)
        # Goes on by itself, so that a call which waits for it comes to an end.
        guest.sh(
            "P=$(pidof tee-supplicant); kill -STOP $P; "
            "(sleep 60; kill -CONT $P) >/dev/null 2>&1 </dev/null &"
        )
        try:
            ask(trial, session, asker)
            said = guest.sh("grep State: /proc/$(pidof tee-supplicant)/status")
        finally:
            guest.sh("kill -CONT $(pidof tee-supplicant)")
        assert "stopped" in said
        trial.run(session)
    trial.assert_next_is_right()


@pytest.fixture
def swap(trial: Trial) -> Iterator[Callable[[str], None]]:
    """Puts another device's storage in place of the board's, `first` or `second`."""

    def put(name: str) -> None:
        guest.sh(f"rm -rf {STORAGE}/*; cp -a /tmp/{name}/. {STORAGE}/; sync")

    guest.sh(f"sync; cp -a {STORAGE} /tmp/first; rm -rf {STORAGE}/*")
    try:
        trial.device().device_key()
        guest.sh(f"sync; cp -a {STORAGE} /tmp/second")
        put("first")
        yield put
    finally:
        put("first")
        guest.sh("rm -rf /tmp/first /tmp/second")


@contextmanager
def asked_before(trial: Trial, asker: Asker) -> Iterator[uc.InferenceSession]:
    """A session that has answered a question."""
    with trial.open(trial.license()) as session:
        ask(trial, session, asker)
        yield session


def test_another_key_in_storage_is_seen(
    trial: Trial, swap: Callable[[str], None]
) -> None:
    keys = {}
    for name in ("second", "first"):
        swap(name)
        keys[name] = trial.device().device_key()
    assert keys["first"] != keys["second"]
    old, new = (asker_for(trial, keys[name]) for name in ("first", "second"))
    with asked_before(trial, old) as session:
        # By a question for it...
        swap("second")
        ask(trial, session, new)
        assert_refused(trial, session, old)
        ask(trial, session, new)
        swap("first")
        ask(trial, session, old)
        # ...and by a command that says what the key is.
        swap("second")
        assert trial.device().device_key() == keys["second"]
        assert_refused(trial, session, old)
        ask(trial, session, new)
        swap("first")
    trial.assert_next_is_right()


def test_the_key_is_read_again_for_a_model_that_is_opened_anew(
    trial: Trial, swap: Callable[[str], None]
) -> None:
    old = asker_for(trial, trial.device().device_key())
    with asked_before(trial, old):
        pass
    swap("second")
    with trial.open(trial.license()) as session:
        assert_refused(trial, session, old)
        ask(trial, session, asker_for(trial, trial.device().device_key()))
    swap("first")
    with trial.open(trial.license()) as session:
        ask(trial, session, old)


# ---- where it is ----


def private_keys_in(memory: bytes, public: bytes) -> int:
    """Count the places that hold the private key of an X25519 key."""
    windows = (memory[at : at + 32] for at in range(0, len(memory) - 31, 8))
    # Of 32 random bytes fewer than 22 differ once in a hundred thousand times.
    random = {window for window in windows if len(set(window)) >= 22}
    return sum(
        X25519PrivateKey.from_private_bytes(window).public_key().public_bytes_raw()
        == public
        for window in random
    )


def test_the_copy_leaves_memory_with_the_last_model(trial: Trial) -> None:
    key = DevicePublicKey.from_cose_key(trial.device().device_key())
    board = _board.running(guest.BOARD_NAME)
    assert board is not None
    memory = SecureMemory.of(board)
    with trial.open(trial.license()) as session:
        ask(trial, session, Asker.of_model(trial.sealed[1], device=key))
        assert private_keys_in(memory.read(), key.raw) == 1
    assert private_keys_in(memory.read(), key.raw) == 0
