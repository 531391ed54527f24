# SPDX-License-Identifier: Apache-2.0
"""Memory and disk dumped while a license is installed, a model loads, after a crash.

Asset: weights, program and keys.
Attack: the board's whole normal-world memory and disk searched from outside while new
    licenses are installed and the model is loaded with them, again and again; and after
    the Trusted Application was made to crash with a model in it, by a storage that
    answers what OP-TEE's own library takes for the end.
Defence: plaintext exists in secure memory alone; OP-TEE takes back and clears a dead
    application's memory.
Invariant: 1, 7
Runs on: board
Also: tests/attacks/test_memory_dump.py, tests/unit/test_leakproof.py
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

import undercroft as uc
from helpers import attacked, guest
from helpers.attacked import Attacked, Batch, assert_right
from helpers.trial import STORAGE
from undercroft import _board
from undercroft._device.http import open_board
from undercroft._leakproof import (
    CONTENT_KEY,
    INPUT,
    PACKED_WEIGHTS,
    PAGE_KEY,
    PROGRAM,
    Inferring,
    Secrets,
    normal_world,
    scan,
)
from undercroft._leaks import SearchResult
from undercroft.errors import Error

pytestmark = [pytest.mark.board, pytest.mark.attacks, pytest.mark.timeout(900)]

URI = f"board:{guest.BOARD_NAME}"


@pytest.fixture
def secrets(board_goods: Attacked) -> Secrets:
    _, plan = attacked.made()
    secrets = Secrets.of(plan, board_goods.path, board_goods.model_key)
    # No secret, and kept on the board: a search that misses it is broken.
    secrets.add_input(b"".join(board_goods.pages))
    return secrets


def search(secrets: Secrets) -> SearchResult:
    """Search the board's memory and disk; nothing secret may be there."""
    board = _board.require_running(guest.BOARD_NAME)
    result = scan(secrets, normal_world(board))
    kinds = {CONTENT_KEY, PAGE_KEY, PROGRAM, PACKED_WEIGHTS}
    assert all(result.needles[kind] for kind in kinds)
    assert result.without(INPUT).clean, (result.found, result.first_offsets)
    return result


def infer(session: uc.InferenceSession, goods: Attacked) -> None:
    """Hold that an inference gives the right answer."""
    assert_right(session.run(None, {"x": goods.input}), [goods.expected])


def test_while_licenses_are_installed_and_models_load(
    board_goods: Attacked, secrets: Secrets
) -> None:
    device = attacked.board_device_key()

    def load() -> None:
        permit = board_goods.licensed(device)
        with uc.InferenceSession(
            board_goods.path, license=permit, device=URI
        ) as session:
            infer(session, board_goods)

    with Inferring(load) as loading:
        result = search(secrets)
        assert result.found[INPUT] > 0
    assert loading.completed >= 1
    load()


def test_after_the_application_has_crashed(
    board_goods: Attacked, secrets: Secrets, batch: Callable[[], Batch]
) -> None:
    session = uc.InferenceSession(
        board_goods.path, license=board_goods.license, device=URI
    )
    infer(session, board_goods)
    said = guest.secure_log().count("panic")
    # A folder where OP-TEE's directory of files was: no error that libutee expects.
    guest.sh(f"mv {STORAGE}/dirf.db /tmp/dirf.db && mkdir {STORAGE}/dirf.db")
    try:
        with pytest.raises(Error):
            open_board(URI).device_key()
        assert guest.secure_log().count("panic") > said, "it did not crash"
        with pytest.raises(Error):
            session.run(None, {"x": board_goods.input})
        search(secrets)
    finally:
        guest.sh(f"rmdir {STORAGE}/dirf.db && mv /tmp/dirf.db {STORAGE}/dirf.db")
    with uc.InferenceSession(
        board_goods.path, license=board_goods.license, device=URI
    ) as again:
        infer(again, board_goods)
    made = batch()
    made.honest()
    made.run()
