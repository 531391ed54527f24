# SPDX-License-Identifier: Apache-2.0
"""Every boundary of every length and number of every command.

Asset: secure memory behind each copy, and the answer.
Attack: 0, 1, one less, exactly, one more and 2^32 - 1 for each number and each memory
    reference of each command, at the place in a session where it is right; references
    without memory.
Defence: lengths are bounded before anything is copied, ranges are computed in 64 bits.
Invariant: 3, 8
Runs on: host, board
Also: tests/engine/test_states.c, tests/fuzz/fuzz_service.c
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from helpers.attacked import (
    Attacked,
    Batch,
    Call,
    Raw,
    add,
    assert_next_is_right,
    assert_wiped,
    each_command,
    status,
)
from undercroft._device.host import HostDevice
from undercroft._device.invoker import PARAMETERS, Param
from undercroft._spec import (
    ANSWER_NONCE_BYTES,
    INFO_RECORD_BYTES,
    MAX_HEADER_BYTES,
    MAX_LICENSE_BYTES,
    MAX_NONCE_BYTES,
    MAX_UPDATE_BYTES,
    MIN_NONCE_BYTES,
    STATS_RECORD_BYTES,
    Command,
    Status,
)

LARGEST = 2**32 - 1
IGNORED = (0, 1, 2, LARGEST - 1, LARGEST)
# Commands whose first parameter says nothing.
WITHOUT_NUMBERS = {
    Command.INFO, Command.DEVICE_KEY, Command.OPEN, Command.INFER,
    Command.STATS, Command.CLOSE, Command.UPDATE, Command.ATTEST, Command.ASK,
}  # fmt: skip
LIMITS = {
    "header": MAX_HEADER_BYTES,
    "license": MAX_LICENSE_BYTES,
    "update": MAX_UPDATE_BYTES,
}
# An answer of so many bytes goes into any room that is not smaller.
RECORDS = {
    Command.INFO: INFO_RECORD_BYTES,
    Command.STATS: STATS_RECORD_BYTES,
    Command.DEVICE_KEY: None,
    Command.ATTEST: None,
    Command.ASK: ANSWER_NONCE_BYTES,
}


@dataclass(frozen=True)
class Case:
    """One call at its place, with one number or length that may be wrong."""

    prefix: int
    call: Call
    params: tuple[tuple[Any, ...], ...]
    good: bool | None
    """Whether it is right; None where that depends on an answer's own size."""
    what: str


def around(right: int, *more: int) -> list[int]:
    """The boundaries around a right value."""
    values = {0, 1, right - 1, right, right + 1, LARGEST, *more}
    return sorted(value for value in values if 0 <= value <= LARGEST)


def resized(data: bytes, length: int) -> bytes:
    """Data cut, or filled up with zeros."""
    return data[:length].ljust(length, b"\0")


def numbers(call: Call) -> Iterator[tuple[tuple[int, int], bool]]:
    """Pairs of numbers, and whether they are right."""
    for index in range(2):
        right = call.values[index]
        values = IGNORED if call.command in WITHOUT_NUMBERS else around(right)
        for value in values:
            pair = list(call.values)
            pair[index] = value
            good = call.command in WITHOUT_NUMBERS or value == right
            yield (pair[0], pair[1]), good


def input_lengths(call: Call, name: str, data: bytes) -> Iterator[tuple[int, bool]]:
    """Lengths of an input, and whether they are right."""
    if name == "nonce":
        for length in (*around(MIN_NONCE_BYTES), *around(MAX_NONCE_BYTES)):
            yield length, MIN_NONCE_BYTES <= length <= MAX_NONCE_BYTES
        return
    limit = LIMITS.get(name)
    for length in around(len(data), *(around(limit) if limit else ())):
        yield length, length == len(data)
    if call.command is Command.INPUT:
        yield len(data) - 4, True  # a part of an input, which more may follow
        yield len(data) + 4, False


def output_rooms(call: Call) -> Iterator[tuple[int, bool | None]]:
    """Rooms for an output, and whether they are right. None too large to be had."""
    for room in around(call.room)[:-1]:
        if call.command in RECORDS:
            needed = RECORDS[call.command]
            good = None if needed is None else room >= needed
            yield room, good if room else False
        else:
            yield room, room == call.room


def cases(calls: Sequence[Call], blobs: dict[str, bytes]) -> Iterator[Case]:
    """Every case of every command."""
    first = each_command(calls)
    for command in Command:
        call = first[command]
        prefix = calls.index(call if call in calls else first[Command.INFER])
        right = [tuple(param) for param in call.params(blobs)]

        def case(
            index: int,
            param: tuple[Any, ...],
            good: bool | None,
            *,
            right: list[tuple[Any, ...]] = right,
            prefix: int = prefix,
            call: Call = call,
        ) -> Case:
            size = param[1] if isinstance(param[1], int) else len(param[1])
            what = f"{call.command.name} parameter {index}: {param[0]} {size}"
            if param[0] == "value_inout":
                what = f"{call.command.name} numbers {param[1:]}"
            params = (*right[:index], param, *right[index + 1 :])
            if call.command is Command.FILL:
                good = False  # of a right length as well: it was never spilled
            return Case(prefix, call, params, good, what)

        names = iter(call.data)
        for index, kind in enumerate(PARAMETERS[command]):
            if kind is Param.VALUE_INOUT:
                for pair, good in numbers(call):
                    yield case(index, ("value_inout", *pair), good)
            elif kind is Param.MEMREF_INPUT:
                name = next(names)
                data = blobs[name]
                for length, good in input_lengths(call, name, data):
                    if length == LARGEST:
                        yield case(index, ("sparse_in", length), False)
                    else:
                        yield case(index, ("in", resized(data, length)), good)
                for length in (0, 1, len(data), LARGEST):
                    yield case(index, ("null_in", length), False)
            elif kind is Param.MEMREF_OUTPUT:
                for room, good in output_rooms(call):
                    yield case(index, ("out", room), good)
                yield case(index, ("null_out", 0), False)


@pytest.mark.engine
def test_every_boundary_on_the_host(
    host: HostDevice, goods: Attacked, calls: list[Call]
) -> None:
    blobs = goods.blobs()
    tried = dict.fromkeys(Command, 0)
    for case in cases(calls, blobs):
        session = Raw(host)
        for call in calls[: case.prefix]:
            assert session.do(call, blobs).status == Status.OK
        answer = session.call(case.call.command, *case.params)
        assert answer is not None
        if case.good is not None:
            assert (answer.status == Status.OK) == case.good, (case.what, answer)
        if answer.status != Status.OK:
            assert answer.is_blank
            assert all(pair == (0, 0) for pair in answer.values[1:])
        session.close()
        assert_wiped(host)
        assert_next_is_right(host, goods)
        tried[case.call.command] += 1
    assert all(tried.values())
    assert sum(tried.values()) > 200


# ---- the board ----


def on_the_board(case: Case) -> list[list[Any]]:
    """Parameters as `guest.Steps.call` takes them."""
    given = []
    for kind, *arguments in case.params:
        if kind == "in":
            given.append(["in", arguments[0].hex()])
        elif kind == "sparse_in":
            # So much cannot be shared; a reference may claim it.
            given.append(["null_in", *arguments])
        else:
            given.append([kind, *arguments])
    return given


@pytest.mark.board
@pytest.mark.timeout(900)
def test_every_boundary_on_the_board(batch: Callable[[], Batch]) -> None:
    """All those that a loaded model, or none, meets without a new session."""
    made = batch()
    blobs = made.attacked.blobs()
    ready = [call.command for call in made.calls].index(Command.INFER)
    chosen = [
        case
        for case in cases(made.calls, blobs)
        if case.prefix == ready or case.call.command is Command.OPEN
        if case.call.command is not Command.CLOSE and case.good is not True
    ]
    chosen += [
        case
        for case in cases(made.calls, blobs)
        if case.prefix == ready + 1 and case.good is False
    ]
    tried = []
    made.honest()
    # A call that was never routed ends no inference; one out of order does.
    end = each_command(made.calls)[Command.OUTPUT]
    for case in chosen:
        if case.prefix > ready:
            add(made.steps, [end, *made.calls[ready : case.prefix]])
        place = made.steps.call(case.call.command, *on_the_board(case))
        tried.append((case, place))
    add(made.steps, [end])
    made.honest(loaded=True)
    answers = made.run()
    assert len(tried) > 20
    for case, place in tried:
        answer = answers[place]
        if answer["result"] == 0 and case.good is False:
            assert status(answer) != Status.OK, case.what
            for output in answer["outputs"].values():
                assert set(output["memory"]) <= {"0"}, case.what
