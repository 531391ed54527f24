# SPDX-License-Identifier: Apache-2.0
"""Shared memory changed by a second core while a call reads it.

Asset: the answer, and what unverified bytes would make of secure memory.
Attack: a thread on the other core that writes wrong and right bytes over pages, spilled
    pages, header and license for as long as the call lasts. (An input that changes
    meanwhile is an input: it is not raced.)
Defence: every byte of shared memory is read once, into secure memory, and verified
    there; AEGIS-128L decrypts it on that way. So the result is the right answer or a
    refusal, and never a wrong answer.
Invariant: 3, 4, 9
Runs on: host, board
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import guest, racing
from helpers.attacked import (
    Attacked,
    Raw,
    assert_next_is_right,
    assert_right,
    board_device_key,
    load,
    ship,
)
from helpers.suites import SUITES
from undercroft._board import recipe
from undercroft._device.host import HostDevice
from undercroft._spec import Status

RACE = Path(racing.__file__).read_text()
# A machine whose cores are all busy loses few races: then there are more of them.
MOST_TURNS = 20
LEAST_ANSWERS = 3


def by_answer(counts: Mapping[str, int]) -> Counter[str]:
    """Add up counts of "COMMAND ANSWER" by the answer."""
    answers: Counter[str] = Counter()
    for name, count in counts.items():
        answers[name.partition(" ")[2]] += count
    return answers


def is_raced(counts: Mapping[str, int]) -> bool:
    """Whether races were won and lost, so that there were any."""
    answers = by_answer(counts)
    refused = answers.total() - answers["OK"]
    return min(answers["OK"], refused) >= LEAST_ANSWERS


def assert_never_wrong(
    outputs: list[Any], counts: dict[str, int], goods: Attacked, raced: set[str]
) -> None:
    """Hold that all answers are right, and that there was a race to be lost."""
    for output in outputs:
        assert_right([output], [goods.expected])
    assert {name.partition(" ")[0] for name in counts} == raced
    known = {"OK", "NOT_AUTHENTIC", "BAD_HEADER", "BAD_LICENSE"}
    assert set(by_answer(counts)) <= known, counts
    assert is_raced(counts), counts


@pytest.mark.engine
def test_pages_on_the_host(host: HostDevice, goods: Attacked) -> None:
    outputs: list[Any] = []
    counts: Counter[str] = Counter()
    for _ in range(MOST_TURNS):
        more, told = racing.race(
            host, goods.path, goods.license, goods.input, inferences=300, loads=60
        )
        assert len(more) >= 300
        outputs += more
        counts.update(told)
        if is_raced(counts):
            break
    assert_never_wrong(outputs, counts, goods, {"LOAD", "PUSH", "FILL"})
    assert_next_is_right(host, goods)


@pytest.mark.engine
def test_header_and_license_on_the_host(host: HostDevice, goods: Attacked) -> None:
    mask = np.random.default_rng(6)
    counts: Counter[str] = Counter()
    parts = [np.frombuffer(bytearray(part), np.uint8)
             for part in (goods.header, goods.license)]  # fmt: skip
    with racing.Racer() as racer:
        for attempt in range(400 * MOST_TURNS):
            if attempt >= 400 and is_raced(counts):
                break
            session = Raw(host)
            memory = parts[attempt % 2]
            bits = np.zeros(len(memory), np.uint8)
            bits[mask.integers(len(memory))] = 1 << mask.integers(8)
            with racer.at(memory, bits):
                answer = session.call(
                    2,
                    ["value_inout", 0, 0],
                    ["at", parts[0]],
                    ["at", parts[1]],
                    ["value_output"],
                )
            assert answer is not None
            counts[f"OPEN {Status(answer.status).name}"] += 1
            session.close()
            if answer.status == Status.OK:
                # What was opened is what was signed: its own pages fit it.
                load(host, goods).close()
    assert [bytes(part) for part in parts] == [goods.header, goods.license]
    assert_never_wrong([], counts, goods, {"OPEN"})
    assert_next_is_right(host, goods)


def on_the_board(goods: Attacked, *, inferences: int, loads: int, opens: int) -> None:
    """Race in the guest; every answer comes back."""
    assert recipe.CORES >= 2
    packed = {
        "sealed": goods.path.read_bytes(),
        "license": goods.license,
        "input": goods.input.tobytes(),
    }
    texts = {name: base64.b64encode(data).decode() for name, data in packed.items()}
    source = f"""{RACE}

import base64, json
from undercroft._device.tee import TeeDevice
given = {{name: base64.b64decode(text) for name, text in {texts!r}.items()}}
sealed = Path("/tmp/raced.sealed")
sealed.write_bytes(given["sealed"])
x = np.frombuffer(given["input"], np.float32).reshape({goods.input.shape!r})
device = TeeDevice()
keep = device.open()
outputs, counts = race(
    device, sealed, given["license"], x, inferences={inferences}, loads={loads}
)
permit = given["license"]
more, opened = race_to_open(device, sealed, permit, x, attempts={opens})
keep.close()
answers = [output.ravel().tolist() for output in outputs + more]
print("raced:", json.dumps([answers, counts, opened]))
"""
    said = guest.python(source, timeout_seconds=800)
    line = next(line for line in said.splitlines() if line.startswith("raced: "))
    outputs, counts, opened = json.loads(line.removeprefix("raced: "))
    arrays = [np.array(output, np.float32).reshape(1, -1) for output in outputs]
    print(counts, opened)
    assert len(arrays) >= inferences
    assert_never_wrong(arrays, counts | opened, goods, {"LOAD", "PUSH", "FILL", "OPEN"})


def shipped(folder: Path, suite: str) -> Attacked:
    guest.up()
    return ship(folder, board_device_key(), suite=suite)


@pytest.mark.board
@pytest.mark.timeout(900)
def test_all_of_it_on_the_board(tmp_path: Path) -> None:
    goods = shipped(tmp_path, "aegis-128l")
    on_the_board(goods, inferences=40, loads=6, opens=6)


@pytest.mark.board
@pytest.mark.attacks
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("suite", SUITES)
def test_all_of_it_for_long_on_the_board(tmp_path: Path, suite: str) -> None:
    goods = shipped(tmp_path, suite)
    for _ in range(5):
        on_the_board(goods, inferences=200, loads=20, opens=40)
