# SPDX-License-Identifier: Apache-2.0
"""Every command in every wrong order.

Asset: activations, weights and the answer; the engine's state behind them.
Attack: any two commands after every prefix of an honest session, with parameters that
    are right somewhere; any three under `make test-attacks`.
Defence: one state machine that every command passes; a command out of order ends and
    wipes what was under way.
Invariant: 3, 7, 8
Runs on: host, board
Also: tests/engine/test_states.c, tests/engine/test_views.c, tests/fuzz/fuzz_service.c
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from helpers.attacked import (
    Attacked,
    Batch,
    Call,
    Raw,
    add,
    assert_next_is_right,
    assert_right,
    assert_wiped,
    each_command,
    scores,
    status,
)
from undercroft._device.host import HostDevice
from undercroft._spec import Command, Status

BEGIN = {Command.INFER, Command.ASK}
SEALED_SCORES_BYTES = 48 + 16
ALWAYS = {Command.INFO, Command.DEVICE_KEY, Command.UPDATE, Command.ATTEST}
# How many sequences of two the board tries in `make test`, and in one batch.
ON_THE_BOARD = 12
BATCH = 40


class Oracle:
    """The states of spec/ta-abi.md, as places in an honest session.

    A place is how many of its calls have been made: 0 is EMPTY, the last but one
    is DONE, and OUTPUT stays there. ASK stands where INFER does; after it outputs
    are sealed.
    """

    def __init__(self, calls: Sequence[Call]) -> None:
        self.calls = calls
        self.each = each_command(calls)
        self.ready = [call.command for call in calls].index(Command.INFER)
        self.done = len(calls) - 1
        self.at = 0
        self.sealed = False

    def call(self, command: Command) -> Call:
        """The command as it is right here, or as it is right elsewhere."""
        here = self.calls[self.at]
        if command is Command.OUTPUT and self.sealed:
            return replace(self.each[command], room=SEALED_SCORES_BYTES)
        return here if here.command is command else self.each[command]

    def tell(self, command: Command) -> Status:
        """What it must answer; the state moves on."""
        if command in ALWAYS:
            return Status.OK
        if command is Command.STATS:
            return Status.OK if self.at else Status.BAD_STATE
        if command is Command.CLOSE:
            self.at = 0
        elif command in BEGIN and self.at in (self.ready, self.done):
            self.at = self.ready + 1
            self.sealed = command is Command.ASK
        elif command is self.calls[self.at].command:
            self.at = min(self.at + 1, self.done)
        else:
            self.at = 0 if self.at < self.ready else self.ready
            return Status.BAD_STATE
        return Status.OK


def sequences(
    prefixes: Sequence[int], length: int
) -> list[tuple[int, tuple[Command, ...]]]:
    """Prefixes of an honest session, each followed by any commands."""
    return list(itertools.product(prefixes, itertools.product(Command, repeat=length)))


def telling(calls: Sequence[Call]) -> list[int]:
    """The prefixes but those in the middle of a run of one command."""
    kinds = [None, *(call.command for call in calls), None]
    return [
        at
        for at in range(len(calls))
        if not kinds[at] == kinds[at + 1] == kinds[at + 2]
    ]


def attack(
    host: HostDevice,
    goods: Attacked,
    calls: Sequence[Call],
    tried: Sequence[tuple[int, tuple[Command, ...]]],
) -> None:
    """Try all sequences."""
    blobs = goods.blobs()
    for prefix, commands in tried:
        session, oracle, nonce = Raw(host), Oracle(calls), b""
        for call in calls[:prefix]:
            assert session.do(call, blobs).status == oracle.tell(call.command)
        for command in commands:
            answer = session.do(oracle.call(command), blobs)
            assert answer.status == oracle.tell(command), (prefix, commands)
            assert answer.status == Status.OK or answer.is_blank
            if command is Command.ASK and answer.status == Status.OK:
                nonce = answer.output
        # From wherever that led, the same session gives the right answer.
        rest = calls[oracle.at :]
        if oracle.at != oracle.done:
            for call in rest[:-1]:
                assert session.do(call, blobs).status == Status.OK
        if oracle.at <= oracle.ready:
            oracle.sealed = False  # its inference began just now
        oracle.at = oracle.done
        output = session.do(oracle.call(Command.OUTPUT), blobs).output
        answers = [scores(output)]
        if oracle.sealed:
            answers = goods.question.open(nonce + output)
        assert_right(answers, [goods.expected])
        session.close()
        assert_wiped(host)


@pytest.mark.engine
def test_any_two_commands_after_every_telling_prefix(
    host: HostDevice, goods: Attacked, calls: list[Call]
) -> None:
    prefixes = telling(calls)
    assert len(prefixes) >= 12
    attack(host, goods, calls, sequences(prefixes, 2))
    assert_next_is_right(host, goods)


@pytest.mark.engine
@pytest.mark.attacks
@pytest.mark.timeout(1800)
def test_any_three_commands_after_every_prefix(
    host: HostDevice, goods: Attacked, calls: list[Call]
) -> None:
    attack(host, goods, calls, sequences(range(len(calls)), 3))
    assert_next_is_right(host, goods)


def attack_board(
    batch: Callable[[], Batch], sample: Sequence[tuple[int, tuple[Command, ...]]]
) -> None:
    made = batch()
    strays: list[tuple[int, Status]] = []
    for prefix, commands in sample:
        made.steps.call(Command.CLOSE, ["value_inout", 0, 0])
        add(made.steps, made.calls[:prefix])
        oracle = Oracle(made.calls)
        oracle.at = prefix
        for command in commands:
            (place,) = add(made.steps, [oracle.call(command)])
            strays.append((place, oracle.tell(command)))
        made.honest(loaded=oracle.at in (oracle.ready, oracle.done))
    answers = made.run()
    for place, expected in strays:
        assert status(answers[place]) == expected, made.steps.steps[place]
        if expected != Status.OK:
            for output in answers[place]["outputs"].values():
                assert set(output["memory"]) <= {"0"}


@pytest.mark.board
@pytest.mark.timeout(900)
def test_a_sample_of_them_on_the_board(batch: Callable[[], Batch]) -> None:
    calls = batch().calls
    choose = random.Random(11)
    sample = choose.sample(sequences(telling(calls), 2), ON_THE_BOARD)
    attack_board(batch, sample)


@pytest.mark.board
@pytest.mark.attacks
@pytest.mark.timeout(3600)
def test_every_command_after_every_prefix_on_the_board(
    batch: Callable[[], Batch],
) -> None:
    everything = sequences(range(len(batch().calls)), 1)
    for start in range(0, len(everything), BATCH):
        attack_board(batch, everything[start : start + BATCH])
