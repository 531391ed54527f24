# SPDX-License-Identifier: Apache-2.0
"""The client killed by `kill -9` at every call.

Asset: what a session holds in secure memory, and the counts of a license.
Attack: a process that loads and infers dies before each of its calls, and inside each;
    another session infers meanwhile.
Defence: OP-TEE closes the session, which wipes and gives back its region; what is
    counted is written before it is used, and each write is whole or not at all.
Invariant: 2, 7
Runs on: host, board
Also: tests/device/test_client_engine.py
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest

from helpers import attacked, guest, killing
from helpers.attacked import (
    HOST_KEY,
    Attacked,
    assert_next_is_right,
    assert_right,
    load,
)
from undercroft._device.client import ModelClient
from undercroft._device.host import HostDevice
from undercroft._spec import LICENSE_BATCH, Status
from undercroft.errors import LicenseError

MOST_CALLS = 40


def is_allowed(model: ModelClient, goods: Attacked) -> bool:
    """Infer; say whether the license allowed it."""
    try:
        model.infer([goods.input])
    except LicenseError as error:
        return error.status != Status.USED_UP
    return True


@pytest.mark.engine
@pytest.mark.parametrize("inside", [False, True], ids=["before", "inside"])
def test_kills_on_the_host(goods: Attacked, tmp_path: Path, *, inside: bool) -> None:
    state = tmp_path / "device.state"
    permit = goods.licensed(HOST_KEY.public, max_inferences=1000)

    def device() -> HostDevice:
        return HostDevice(
            "host:?arena=256KiB", private_key=HOST_KEY.private, state=state
        )

    deaths = 0
    while killing.killed_at(
        device, goods.path, permit, goods.input, deaths, inside=inside
    ):
        deaths += 1
        with attacked.host(state) as survivor:
            assert_next_is_right(survivor, goods)
        assert deaths < MOST_CALLS
    assert deaths >= 10
    # No death gave an inference back, and none lost more than its batch.
    left = 0
    with attacked.host(state) as survivor:
        model = load(survivor, goods, permit)
        while is_allowed(model, goods):
            left += 1
        model.close()
        assert 1000 - (deaths + 1) * LICENSE_BATCH <= left < 1000
        assert_next_is_right(survivor, goods)


@pytest.mark.board
@pytest.mark.attacks
@pytest.mark.timeout(900)
def test_kills_on_the_board(board_goods: Attacked) -> None:
    packed = {
        "sealed": board_goods.path.read_bytes(),
        "license": board_goods.license,
        "input": board_goods.input.tobytes(),
    }
    texts = {name: base64.b64encode(data).decode() for name, data in packed.items()}
    source = f"""{Path(killing.__file__).read_text()}

import base64, json
import numpy as np
from undercroft._device.tee import TeeDevice
given = {{name: base64.b64decode(text) for name, text in {texts!r}.items()}}
sealed = Path("/tmp/killed.sealed")
sealed.write_bytes(given["sealed"])
x = np.frombuffer(given["input"], np.float32).reshape({board_goods.input.shape!r})
device = TeeDevice()
model = device.load(sealed, given["license"])
free = device.info().free_bytes
outputs, deaths = [], []
for inside in (False, True):
    call = 0
    while killed_at(TeeDevice, sealed, given["license"], x, call, inside=inside):
        call += 1 + (call > 4)
        outputs.append(model.infer([x])[0][0].ravel().tolist())
        assert device.info().free_bytes == free
    deaths.append(call)
model.close()
print("killed:", json.dumps([outputs, deaths]))
"""
    said = guest.python(source, timeout_seconds=600)
    line = next(line for line in said.splitlines() if line.startswith("killed: "))
    outputs, deaths = json.loads(line.removeprefix("killed: "))
    assert min(deaths) >= 10
    assert len(outputs) >= 14
    for output in outputs:
        answer = np.array(output, np.float32).reshape(1, -1)
        assert_right([answer], [board_goods.expected])
