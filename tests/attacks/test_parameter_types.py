# SPDX-License-Identifier: Apache-2.0
"""Parameters of every wrong type.

Asset: secure memory: a value taken for a reference would be read or written there.
Attack: every command with every other type in each place, in the middle of an
    inference, over the real client library; commands that do not exist.
Defence: types are compared before anything else is looked at; nothing changes.
Invariant: 3
Runs on: host, board
Also: tests/engine/test_states.c
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from helpers.attacked import (
    Attacked,
    Batch,
    Call,
    Raw,
    assert_next_is_right,
    assert_right,
    scores,
    status,
)
from undercroft._device.host import HostDevice
from undercroft._device.invoker import PARAMETERS, Param
from undercroft._spec import Command, Status

BAD_PARAMETERS = 0xFFFF0006
FROM_THE_TA = 4
UNKNOWN = [max(Command) + 1, 11, 0x7FFFFFFF, 0xFFFFFFFF]

# How a parameter of each type is given.
GIVEN: dict[Param, list[Any]] = {
    Param.NONE: ["none"],
    Param.VALUE_INOUT: ["value_inout", 0, 0],
    Param.VALUE_OUTPUT: ["value_output"],
    Param.MEMREF_INPUT: ["in", "00" * 64],
    Param.MEMREF_OUTPUT: ["out", 256],
}
# Types that no command takes, besides the others' own.
NEVER_TAKEN: list[list[Any]] = [["value_input", 1, 2], ["inout", "00" * 64]]


def wrong(others: list[list[Any]]) -> list[tuple[Command, list[list[Any]]]]:
    """Every command with one parameter of another type."""
    cases = []
    for command in Command:
        right = [GIVEN[kind] for kind in PARAMETERS[command]]
        for index in range(4):
            for other in others:
                if other[0] != right[index][0]:
                    params = [*right[:index], other, *right[index + 1 :]]
                    cases.append((command, params))
    return cases


@pytest.mark.engine
def test_every_wrong_type_on_the_host(
    host: HostDevice, goods: Attacked, calls: list[Call]
) -> None:
    session = Raw(host)
    blobs = goods.blobs()
    middle = len(calls) - 3
    for call in calls[:middle]:
        assert session.do(call, blobs).status == Status.OK
    cases = wrong(list(GIVEN.values()))
    assert len(cases) == len(Command) * 4 * 4
    for command, params in cases:
        assert session.call(command, *params) is None, (command, params)
    for number in UNKNOWN:
        answer = session.call(number, ["value_inout", 5, 6])
        assert answer is not None
        assert answer.status == Status.UNKNOWN_COMMAND
        assert session.call(number) is None
    # Nothing changed: the inference goes on to its right end.
    for call in calls[middle:]:
        answer = session.do(call, blobs)
        assert answer.status == Status.OK
    assert_right([scores(answer.output)], [goods.expected])
    session.close()
    assert_next_is_right(host, goods)


@pytest.mark.board
@pytest.mark.timeout(900)
def test_every_wrong_type_on_the_board(batch: Callable[[], Batch]) -> None:
    made = batch()
    cases = wrong([*GIVEN.values(), *NEVER_TAKEN])
    assert len(cases) == len(Command) * 4 * 6
    made.honest()
    places = [made.steps.call(command, *params) for command, params in cases]
    unknown = [made.steps.call(number, ["value_inout", 5, 6]) for number in UNKNOWN]
    mute = made.steps.call(UNKNOWN[0])
    made.honest(loaded=True)
    answers = made.run()
    for place, case in zip([*places, mute], [*cases, None], strict=True):
        assert answers[place]["result"] == BAD_PARAMETERS, (case, answers[place])
        assert answers[place]["origin"] == FROM_THE_TA
    for place in unknown:
        assert status(answers[place]) == Status.UNKNOWN_COMMAND
        assert answers[place]["values"]["0"][1] == 0
