# SPDX-License-Identifier: Apache-2.0
"""Streamed pages in shared memory, on the board: same answers, same refusals."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from helpers import guest
from helpers.attacked import assert_right, board_device_key, ship
from undercroft.keys import ModelKey

pytestmark = [pytest.mark.board, pytest.mark.timeout(600)]

SCRIPT = """
import base64, json
from pathlib import Path
import numpy as np
from undercroft._device.client import ModelClient
from undercroft._device.tee import TeeDevice
from undercroft.errors import Error

given = json.loads(GIVEN)
whole = base64.b64decode(given["sealed"])
permit = base64.b64decode(given["license"])
x = np.frombuffer(base64.b64decode(given["input"]), np.float32).reshape(given["shape"])
place = given["last_page"] + 7
changed = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
path = Path("/tmp/kept.sealed")
hold = TeeDevice().open()
answers = {}


def attempt(name, uri, before=None, after=None):
    said = answers[name] = {}
    path.write_bytes(before or whole)
    device = TeeDevice(uri)
    model = ModelClient(device.open(), path, permit)
    said["kept"] = len(model._kept)
    if after is not None:
        with path.open("r+b") as file:
            file.write(after)
    try:
        for _ in range(2):
            outputs, stats = model.infer([x])
        said["output"] = outputs[0].ravel().tolist()
        said["spilled"] = stats.spilled_bytes
        said["switches"] = stats.world_switches
    except Error as error:
        said["error"] = type(error).__name__
    model.close()
    device.close()


attempt("kept", "tee:")
attempt("read", "tee:?keep=0")
attempt("changed later, kept", "tee:", after=changed)
attempt("changed later, read", "tee:?keep=0", after=changed)
attempt("changed before, kept", "tee:", before=changed)
hold.close()
print("answers:", json.dumps(answers))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    guest.up()
    # A model of its own: what the board knows of others does not matter.
    folder, key = tmp_path_factory.mktemp("kept"), ModelKey.generate()
    goods = ship(folder, board_device_key(), model_key=key)
    sealed = goods.path.read_bytes()
    given = {
        "sealed": base64.b64encode(sealed).decode(),
        "license": base64.b64encode(goods.license).decode(),
        "input": base64.b64encode(goods.input.tobytes()).decode(),
        "shape": goods.input.shape,
        "last_page": len(sealed) - goods.slot_bytes,
    }
    said = guest.python(f"GIVEN = {json.dumps(given)!r}\n{SCRIPT}", timeout_seconds=300)
    (line,) = (line for line in said.splitlines() if line.startswith("answers: "))
    found: dict[str, Any] = json.loads(line.removeprefix("answers: "))
    found["pages"] = len(goods.pages) - goods.load_pages
    found["expected"] = goods.expected
    return found


def right(answers: dict[str, Any], name: str) -> dict[str, Any]:
    said: dict[str, Any] = answers[name]
    assert "error" not in said, said
    output = np.array(said["output"], np.float32).reshape(answers["expected"].shape)
    assert_right([output], [answers["expected"]])
    return said


def test_the_answer_is_the_same_kept_or_read(answers: dict[str, Any]) -> None:
    kept, read = right(answers, "kept"), right(answers, "read")
    assert (kept["kept"], read["kept"]) == (answers["pages"], 0)
    assert kept["output"] == read["output"]
    # A push that leads to a spill takes fewer pages than it carried.
    assert kept["spilled"] == read["spilled"] > 0
    assert kept["switches"] == read["switches"]


def test_what_is_kept_is_not_what_the_file_is_changed_to(
    answers: dict[str, Any],
) -> None:
    assert right(answers, "changed later, kept")["kept"] > 0


@pytest.mark.parametrize("name", ["changed later, read", "changed before, kept"])
def test_a_page_that_was_changed_is_refused(answers: dict[str, Any], name: str) -> None:
    assert answers[name]["error"] == "VerificationError"
    assert "output" not in answers[name]
