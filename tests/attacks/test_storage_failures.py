# SPDX-License-Identifier: Apache-2.0
"""Secure storage that fails: full at every write, and nobody there who writes.

Asset: counts, floors, revocations and the device's key, which lie in files of the
    normal world.
Attack: the disk full at any byte that a write needs (host engine) and with any number
    of blocks left (board); answers that no library expects (board); the TEE supplicant
    killed before each command that needs storage (board). Over a fake TEE every single
    write fails: tests/tee/test_ta.py.
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
from dataclasses import replace
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
from undercroft.keys import DevicePublicKey, ProviderKey
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


@pytest.mark.board
@pytest.mark.timeout(900)
def test_a_storage_that_answers_what_nobody_expects(board_goods: Attacked) -> None:
    """It ends what it is asked for, and not the Trusted Application."""
    told = storage_attack(
        board_goods,
        """
store = Path("/var/lib/optee-client/data/tee")
before = device.device_key()
model = device.load(sealed, given["license"])
honest(model)
# A folder where OP-TEE's directory of files was: no error that its library knows.
(store / "dirf.db").rename("/var/lib/dirf.db")
(store / "dirf.db").mkdir()
try:
    attempt("DEVICE_KEY", device.device_key)
    attempt("UPDATE", lambda: device.update(given["update"]))
    attempt("OPEN", lambda: device.load(sealed, given["license"]).close())
    attempt("INFER", lambda: honest(model))
finally:
    (store / "dirf.db").rmdir()
    Path("/var/lib/dirf.db").rename(store / "dirf.db")
# The same session, which nothing has ended.
honest(model)
model.close()
honest()
assert device.device_key() == before
""",
        update=issue_update(signing_key=ProviderKey.generate(), version=1),
    )
    # Without a count, an inference needs nothing of storage.
    failed = [[name, "STORAGE"] for name in ("DEVICE_KEY", "UPDATE", "OPEN")]
    assert told == [*failed, ["INFER", "OK"]]


DISK = """
import json, shutil, subprocess, tempfile
from pathlib import Path
from undercroft._device.tee import TeeDevice

PAGE = 4096
STORE = Path("/var/lib/optee-client")
# When a device has its key, and before that, with OP-TEE's own files alone.
EARLY, EARLIEST = Path("/tmp/early-storage"), Path("/tmp/earliest-storage")

def mount_storage(content=None):
    # In memory, where a disk is full to the page; what lies below stays as it is.
    options = ["-t", "tmpfs", "-o", "size=1m", "storage", str(STORE)]
    subprocess.run(["mount", *options], check=True)
    if content:
        shutil.copytree(content, STORE, dirs_exist_ok=True)

def unmount_storage():
    subprocess.run(["umount", "-l", str(STORE)], check=True)

def move_away():
    aside = Path(tempfile.mkdtemp())
    for part in STORE.iterdir():
        shutil.move(part, aside)

def fill(pages_left):
    ballast = STORE / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(PAGE))
        except OSError:
            file.truncate(max(0, file.tell() - pages_left * PAGE))
    return ballast
"""

MOST_PAGES = 64
COUNT = 2


def fresh_device() -> DevicePublicKey:
    """Make a device in storage of its own, and keep a copy of that storage."""
    said = guest.python(
        DISK
        + """
mount_storage()
try:
    for folder, ask in ((EARLIEST, TeeDevice().info), (EARLY, TeeDevice().device_key)):
        key = ask()
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(STORE, folder)
finally:
    unmount_storage()
print("key:", key.hex())
"""
    )
    line = next(line for line in said.splitlines() if line.startswith("key: "))
    return DevicePublicKey.from_cose_key(bytes.fromhex(line.removeprefix("key: ")))


@pytest.mark.board
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "pages_left",
    [
        pytest.param([0, 4, MOST_PAGES], id="some"),
        pytest.param([*range(12), MOST_PAGES], id="any", marks=pytest.mark.attacks),
    ],
)
def test_a_disk_with_so_many_blocks_left(
    board_goods: Attacked, pages_left: list[int]
) -> None:
    """From none to more than all that is written needs."""
    device = fresh_device()
    goods = replace(board_goods, license=board_goods.licensed(device))
    counted = goods.licensed(device, max_inferences=COUNT)
    told = storage_attack(
        goods,
        DISK
        + f"PAGES_LEFT, COUNT = {pages_left}, {COUNT}\n"
        + """
def infer_counted():
    model = device.load(sealed, given["counted"])
    try:
        model.infer([x])
        counts.append(1)
    finally:
        model.close()

commands = {
    "ATTEST": lambda: device.attest(bytes(32)),
    "UPDATE": lambda: device.update(given["update"]),
    "INFER": infer_counted,
}
for pages_left in PAGES_LEFT:
    mount_storage(EARLY)
    try:
        key, counts = device.device_key(), []
        ballast = fill(pages_left)
        for name, command in commands.items():
            attempt(f"{pages_left} {name}", command)
        ballast.unlink()
        for name, command in commands.items():
            if name != "INFER":
                attempt(f"{pages_left} {name} again", command)
        while len(counts) <= COUNT:
            attempt(f"{pages_left} INFER again", infer_counted)
            if told[-1][1] != "OK":
                break
        told.append([f"{pages_left} counted", len(counts)])
        honest()
        assert device.device_key() == key
    finally:
        unmount_storage()
    mount_storage(EARLIEST)
    try:
        ballast = fill(pages_left)
        attempt(f"{pages_left} DEVICE_KEY", device.device_key)
        ballast.unlink()
        first = device.device_key()
        assert first != key and device.device_key() == first
    finally:
        unmount_storage()
""",
        counted=counted,
        update=issue_update(signing_key=PROVIDER, version=1),
    )
    written = ("ATTEST", "UPDATE")
    assert {answer for what, answer in told if what.startswith(f"{MOST_PAGES} ")} == {
        "OK",
        "USED_UP",
        COUNT,
    }
    answers: dict[str, set[str | int]] = {}
    for what, answer in told:
        answers.setdefault(what.partition(" ")[2], set()).add(answer)
    # With too little room nothing is done, and with room again everything.
    assert answers == {
        **{name: {"OK", "STORAGE"} for name in (*written, "INFER", "DEVICE_KEY")},
        **{f"{name} again": {"OK"} for name in written},
        "INFER again": {"OK", "USED_UP"},
        "counted": {COUNT},
    }


# With so many blocks left OP-TEE makes half of its list of Trusted Applications, and
# opens none until these files are moved away. Nothing was kept in it yet.
HALF_MADE = 8


@pytest.mark.board
@pytest.mark.parametrize(
    "pages_left",
    [
        pytest.param([0, HALF_MADE], id="some"),
        pytest.param([*range(16)], id="any", marks=pytest.mark.attacks),
    ],
)
def test_a_disk_that_is_full_when_the_tee_is_new(pages_left: list[int]) -> None:
    """With room again the device is made; or it says which files to move away."""
    guest.up()
    said = guest.python(
        DISK
        + f"PAGES_LEFT = {pages_left}\n"
        + """
from undercroft.errors import Error

TeeDevice().info()
told = []

def attempt():
    try:
        return len(TeeDevice().device_key()) > 0
    except Error as error:
        return f"{error} {error.hint}"

for pages_left in PAGES_LEFT:
    mount_storage()
    try:
        ballast = fill(pages_left)
        full = attempt()
        ballast.unlink()
        again = attempt()
        if again is not True:
            move_away()
        told.append([pages_left, full, again, attempt()])
    finally:
        unmount_storage()
print("told:", json.dumps(told))
"""
    )
    line = next(line for line in said.splitlines() if line.startswith("told: "))
    told = json.loads(line.removeprefix("told: "))
    assert [pages for pages, *_ in told] == pages_left
    for pages, full, again, at_last in told:
        assert full is True or "storage" in full, pages
        assert again is True or (pages == HALF_MADE and "files below /var/lib" in again)
        assert at_last is True, pages
