# SPDX-License-Identifier: Apache-2.0
"""Memory and disk dumped while a license is installed, a model loads, after a crash.

Asset: weights, program and keys.
Attack: the board's whole normal-world memory and disk searched from outside while new
    licenses are installed and the model is loaded with them, again and again; and after
    the Trusted Application crashed with a model in it. (We know of nothing that makes
    it: its code is changed in secure memory, which no attacker could.)
Defence: plaintext exists in secure memory alone; OP-TEE takes back and clears a dead
    application's memory.
Invariant: 1, 7
Runs on: board
Also: tests/attacks/test_memory_dump.py, tests/unit/test_leakproof.py
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable

import pytest

import undercroft as uc
from helpers import attacked, guest
from helpers.attacked import Attacked, Batch, assert_right
from helpers.secure_memory import SecureMemory
from undercroft import _board
from undercroft._build import BUILD
from undercroft._device.http import open_board
from undercroft._device.tee import TA_UUID
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


def spoil(function: str) -> None:
    """Have the Trusted Application die where it calls this.

    The emulator keeps translations of what has run: it must not have, since the board
    was started.
    """
    done = subprocess.run(
        [
            *("aarch64-linux-gnu-objdump", f"--disassemble={function}"),
            BUILD / "ta" / "obj" / f"{TA_UUID}.elf",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    words = re.findall(r"^ +[0-9a-f]+:\t([0-9a-f]{8}) ", done.stdout, re.MULTILINE)
    code = b"".join(int(word, 16).to_bytes(4, "little") for word in words)
    secure = SecureMemory.of(_board.require_running(guest.BOARD_NAME))
    memory = secure.read()
    assert len(code) >= 64
    assert memory.count(code[:64]) == 1
    secure.write(memory.index(code[:64]), bytes(64))


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
    _board.down(guest.BOARD_NAME)
    guest.up()
    session = uc.InferenceSession(
        board_goods.path, license=board_goods.license, device=URI
    )
    infer(session, board_goods)
    said = guest.secure_log().count("panic")
    spoil("uc_port_attestation_sign")
    with pytest.raises(Error):
        open_board(URI).attest(bytes(32))
    assert guest.secure_log().count("panic") > said, "it did not crash"
    with pytest.raises(Error):
        session.run(None, {"x": board_goods.input})
    search(secrets)
    with uc.InferenceSession(
        board_goods.path, license=board_goods.license, device=URI
    ) as again:
        infer(again, board_goods)
    made = batch()
    made.honest()
    made.run()
