# SPDX-License-Identifier: Apache-2.0
"""Secure storage that fails: full at every write, and nobody there who writes.

Asset: counts, floors, revocations and the device's key, which lie in files of the
    normal world.
Attack: the disk full at any byte that a write needs (host engine); the TEE supplicant
    killed before each command that needs storage (board).
Defence: nothing begins that could not be written down; a write is whole or not at all.
Invariant: 2, 8
Runs on: host, board
Also: tests/engine/test_terms.c, tests/device/test_terms_engine.py
"""

from __future__ import annotations

import base64
import json
import os
import resource
import signal
from pathlib import Path

import numpy as np
import pytest

from helpers import attacked, guest
from helpers.attacked import (
    PROVIDER,
    Attacked,
    assert_next_is_right,
    assert_right,
)
from undercroft._spec import Status
from undercroft.errors import DeviceError, LicenseError
from undercroft.keys import ProviderKey
from undercroft.update import issue_update

TAKEN, REFUSED = 10, 11


def update_with_room(state: Path, update: bytes, room_bytes: int) -> int:
    """Hand in an update in a process whose files have so much room."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            with attacked.host(state) as device:
                resource.setrlimit(resource.RLIMIT_FSIZE, (room_bytes, room_bytes))
                device.update(update)
            code = TAKEN
        except DeviceError as error:
            code = REFUSED if error.status == Status.STORAGE else 2
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.engine
def test_a_disk_that_is_full_at_any_byte(goods: Attacked, tmp_path: Path) -> None:
    state = tmp_path / "device.state"
    updates = [issue_update(signing_key=PROVIDER, version=n) for n in (1, 2, 3)]
    with attacked.host(state) as device:
        device.update(updates[1])
    length = state.stat().st_size
    rooms = [0, 1, 2, *range(16, length, length // 20), length - 1]
    for room in rooms:
        assert update_with_room(state, updates[2], room) == REFUSED, room
        # What was known is known still, and what was refused is not.
        with attacked.host(state) as device:
            with pytest.raises(LicenseError) as caught:
                device.update(updates[0])
            assert caught.value.status == Status.OUTDATED_UPDATE
            device.update(updates[1])
            assert_next_is_right(device, goods)
        assert sorted(tmp_path.iterdir()) == [state]
    assert len(rooms) > 20
    assert update_with_room(state, updates[2], length) == TAKEN
    with attacked.host(state) as device:
        with pytest.raises(LicenseError):
            device.update(updates[1])
        assert_next_is_right(device, goods)


# ---- the board ----

GUEST = """
import base64, json, os, signal, subprocess, time
from pathlib import Path
import numpy as np
from undercroft._device.tee import TeeDevice
from undercroft._spec import Status
from undercroft.errors import DeviceError, EnvironmentMissingError, Error, LicenseError

given = {name: base64.b64decode(text) for name, text in TEXTS.items()}
sealed = Path("/tmp/storage.sealed")
sealed.write_bytes(given["sealed"])
x = np.frombuffer(given["input"], np.float32).reshape(SHAPE)
device = TeeDevice()
outputs, told = [], []

def honest(model=None):
    own = model or device.load(sealed, given["license"])
    outputs.append(own.infer([x])[0][0].ravel().tolist())
    if model is None:
        own.close()

def attempt(what, call):
    try:
        call()
        told.append([what, "OK"])
    except Error as error:
        status = getattr(error, "status", None)
        name = Status(status).name if status else type(error).__name__
        told.append([what, name])

def kill_supplicant():
    pid = subprocess.run(["pidof", "tee-supplicant"], capture_output=True, text=True)
    for number in pid.stdout.split():
        os.kill(int(number), signal.SIGKILL)

def wait_for_supplicant():
    for _ in range(60):
        time.sleep(0.5)
        try:
            device.device_key()
            return
        except Error:
            pass
    raise SystemExit("the supplicant does not come back")
"""


def storage_attack(goods: Attacked, source: str, **more: bytes) -> list[list[str]]:
    """Run an attack in the guest; every honest answer must be right."""
    packed = {
        "sealed": goods.path.read_bytes(),
        "license": goods.license,
        "input": goods.input.tobytes(),
        **more,
    }
    texts = {name: base64.b64encode(data).decode() for name, data in packed.items()}
    start = f"TEXTS = {texts!r}\nSHAPE = {goods.input.shape!r}\n"
    end = '\nprint("storage:", json.dumps([outputs, told]))\n'
    said = guest.python(start + GUEST + source + end, timeout_seconds=600)
    line = next(line for line in said.splitlines() if line.startswith("storage: "))
    outputs, told = json.loads(line.removeprefix("storage: "))
    print(told)
    assert outputs
    for output in outputs:
        answer = np.array(output, np.float32).reshape(1, -1)
        assert_right([answer], [goods.expected])
    return told


@pytest.mark.board
@pytest.mark.attacks
@pytest.mark.timeout(900)
def test_a_supplicant_killed_before_each_command(board_goods: Attacked) -> None:
    counted = board_goods.licensed(attacked.board_device_key(), max_inferences=1000)
    update = issue_update(signing_key=ProviderKey.generate(), version=1)
    told = storage_attack(
        board_goods,
        """
before = device.device_key()
attacks = {
    "DEVICE_KEY": lambda model: device.device_key(),
    "ATTEST": lambda model: device.attest(bytes(32)),
    "UPDATE": lambda model: device.update(given["update"]),
    "OPEN": lambda model: device.load(sealed, given["counted"]).close(),
    "INFER": lambda model: model.infer([x]),
}
for name, attack in attacks.items():
    model = device.load(sealed, given["counted"])
    kill_supplicant()
    attempt(name, lambda: attack(model))
    wait_for_supplicant()
    attempt(f"{name} again", lambda: attack(model))
    model.close()
    honest()
assert device.device_key() == before
""",
        counted=counted,
        update=update,
    )
    assert len(told) == 10
    for name, status in told:
        assert status in (
            "OK",
            "STORAGE",
            "INTERNAL",
            "DeviceLostError",
            "EnvironmentMissingError",
        ), (name, status)
    # Once there is a supplicant again, every command is done.
    assert all(status == "OK" for name, status in told if name.endswith("again"))
