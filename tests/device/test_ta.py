# SPDX-License-Identifier: Apache-2.0
"""The Trusted Application on the board; how it is attacked is in tests/attacks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers import attacked, guest
from helpers.attacked import Batch, board_device_key, inference_of, status
from undercroft import _board
from undercroft._spec import (
    DEFAULT_ARENA_BYTES,
    KERNEL_SET_NEON_A73,
    STATS_RECORD_BYTES,
    Command,
    State,
    Status,
)
from undercroft.keys import ModelKey

pytestmark = [pytest.mark.board, pytest.mark.timeout(900)]

BAD_PARAMETERS = 0xFFFF0006


@pytest.fixture(scope="module", autouse=True)
def board() -> None:
    guest.up()


# ---- what it says about itself ----


def test_info_tells_build_arena_and_ticks() -> None:
    steps = guest.Steps()
    place = steps.info()
    info = steps.run()[place]
    assert info["kind"] == "op-tee"
    assert info["build"] == "development"
    assert info["kernel_set"] == KERNEL_SET_NEON_A73
    assert "development" in info["version"]
    assert info["arena_bytes"] == info["free_bytes"] == DEFAULT_ARENA_BYTES
    assert info["has_ticks"] is True
    assert "development build: it trusts every provider's key" in guest.secure_log()


def test_info_with_too_little_room_writes_nothing() -> None:
    steps = guest.Steps()
    steps.open()
    places = [
        steps.call(Command.INFO, ["value_inout", 0, 0], ["out", room])
        for room in (0, 1, 63)
    ]
    places.append(steps.call(Command.INFO, ["value_inout", 0, 0], ["null_out", 64]))
    answers = steps.run()
    for place, room in zip(places[:3], (0, 1, 63), strict=True):
        assert status(answers[place]) == Status.SHORT_BUFFER
        assert answers[place]["values"]["0"][1] == 64
        assert answers[place]["outputs"]["1"]["memory"] == "00" * room
    assert answers[places[3]]["result"] == BAD_PARAMETERS


def test_device_key_is_the_same_after_a_restart_of_the_board() -> None:
    before = board_device_key()
    assert board_device_key() == before
    _board.down(guest.BOARD_NAME)
    guest.up()
    assert board_device_key() == before


# ---- a sealed network ----


def test_a_sealed_network_gives_onnxruntimes_answer_again_and_again(
    tmp_path: Path,
) -> None:
    host_goods = attacked.ship(tmp_path, attacked.HOST_KEY.public)
    calls = attacked.honest_calls(host_goods)
    # A model of its own: the board remembers that it has seen a version 2.
    key = ModelKey.generate()
    goods = attacked.ship(tmp_path, board_device_key(), version=2, model_key=key)
    batch = Batch(goods, calls)
    batch.steps.open()
    batch.honest()
    batch.honest(loaded=True)
    stats = batch.steps.call(
        Command.STATS, ["value_inout", 0, 0], ["out", STATS_RECORD_BYTES]
    )
    answers = batch.run()
    # CLOSE, then each call of the first inference, then those of the second.
    steps = len(calls) + 1 + len(inference_of(calls))
    assert all(status(answers[place]) == Status.OK for place in range(1, steps))
    ready = 1 + goods.load_pages + 1
    assert answers[ready]["values"]["3"] == [State.READY, 0]
    assert answers[steps - 1]["values"]["3"] == [State.DONE, 0]
    record = np.frombuffer(
        bytes.fromhex(answers[stats]["outputs"]["1"]["memory"]), dtype="<u8"
    )
    budget, peak, _, decrypted, pages, load, _, inferences, *_ = record
    streamed = len(goods.pages) - goods.load_pages
    assert 0 < peak <= budget == goods.arena_bytes
    assert (decrypted, pages) == (streamed * attacked.PAGE_BYTES, streamed)
    assert load == goods.load_pages * attacked.PAGE_BYTES
    assert inferences == 2
    assert record[9] > 0
    assert record[11] > 0
    assert record[12] == 62_500_000


# ---- what a person reads ----


@pytest.mark.parametrize(
    ("uuid", "message", "hint"),
    [
        (guest.ABSENT_TA_UUID, "not installed", "make ta"),
        (guest.DAMAGED_TA_UUID, "damaged, or not signed", "signing key"),
    ],
    ids=["absent", "damaged"],
)
def test_a_ta_that_cannot_be_loaded_says_what_to_do(
    uuid: str, message: str, hint: str
) -> None:
    source = f"""
from uuid import UUID
from undercroft._device.tee import TeeDevice
from undercroft.errors import EnvironmentMissingError
try:
    TeeDevice(uuid=UUID("{uuid}")).open()
except EnvironmentMissingError as error:
    print(error.message, "|", error.hint)
"""
    words = guest.python(source)
    assert message in words
    assert hint in words
    assert uuid in words
    assert "0xffff" not in words
