# SPDX-License-Identifier: Apache-2.0
"""Spilled activations replayed, stale, swapped, changed or withheld.

Asset: activations outside the secure world, and the answer that is made of them.
Attack: pages of an earlier inference, of another session at the same time, of another
    place; changed, cut, zeros; pages of the sealed file instead; the same input twice,
    in search of equal ciphertext.
Defence: a key that lives for one inference, nonces by place, verified before use.
Invariant: 9
Runs on: host, board
Also: tests/engine/test_views.c
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from helpers.attacked import (
    Attacked,
    Batch,
    Call,
    Raw,
    add,
    assert_next_is_right,
    assert_right,
    inference_of,
    scores,
    status,
)
from undercroft._device.host import HostDevice
from undercroft._spec import PAGE_TAG_BYTES, Command, Status

BLOCK_BYTES = 16


def first(calls: Sequence[Call], command: Command) -> int:
    """Where an honest session first gives a command."""
    return next(at for at, call in enumerate(calls) if call.command is command)


def up_to_fill(session: Raw, goods: Attacked, calls: Sequence[Call]) -> list[bytes]:
    """Run until the first page is wanted back; return the pages that left."""
    for call in calls[: first(calls, Command.FILL)]:
        assert session.do(call, goods.blobs()).status == Status.OK
    return [session.kept[name] for name in sorted(session.kept)]


@pytest.mark.engine
def test_only_the_page_that_left_comes_back(
    host: HostDevice, goods: Attacked, calls: list[Call]
) -> None:
    earlier, now = Raw(host), Raw(host)
    stale = up_to_fill(earlier, goods, calls)
    fill = calls[first(calls, Command.FILL)]
    tried = 0
    while True:
        pages = up_to_fill(now, goods, calls)
        page = pages[0]
        strays = [
            *stale,  # of another session, which is in the same state right now
            *pages[1:],
            goods.pages[0],
            goods.pages[-1],
            bytes(len(page)),
            page[:-PAGE_TAG_BYTES] + pages[1][-PAGE_TAG_BYTES:],
            *(
                page[:at] + bytes([page[at] ^ 1]) + page[at + 1 :]
                for at in range(0, len(page), 257)
            ),
        ]
        if tried == len(strays):
            break
        params = [
            ["value_inout", *fill.values],
            ["in", strays[tried]],
            ["value_output"],
            ["value_output"],
        ]
        answer = now.call(Command.FILL, *params)
        assert answer is not None
        assert answer.status == Status.NOT_AUTHENTIC, tried
        # Neither does the right one any more: key and inference are gone.
        assert now.do(fill, goods.blobs()).status == Status.BAD_STATE
        for call in inference_of(calls):
            answer = now.do(call, goods.blobs())
            assert answer.status == Status.OK
        assert_right([scores(answer.output)], [goods.expected])
        now.close()
        now = Raw(host)
        tried += 1
    assert tried > 16
    # The session that was spied on goes on to its right end.
    for call in calls[first(calls, Command.FILL) :]:
        answer = earlier.do(call, goods.blobs())
        assert answer.status == Status.OK
    assert_right([scores(answer.output)], [goods.expected])
    earlier.close()
    now.close()
    assert_next_is_right(host, goods)


@pytest.mark.engine
def test_what_leaves_is_never_twice_the_same(
    host: HostDevice, goods: Attacked, calls: list[Call]
) -> None:
    seen: set[bytes] = set()
    session = Raw(host)
    count = 0
    for round_ in range(8):
        for call in calls if round_ == 0 else inference_of(calls):
            assert session.do(call, goods.blobs()).status == Status.OK
        for page in session.kept.values():
            blocks = range(0, len(page), BLOCK_BYTES)
            seen |= {page[at : at + BLOCK_BYTES] for at in blocks}
            count += len(blocks)
    session.close()
    assert len(seen) == count > 4000
    assert_next_is_right(host, goods)


@pytest.mark.board
@pytest.mark.timeout(900)
def test_only_the_page_that_left_comes_back_on_the_board(
    batch: Callable[[], Batch],
) -> None:
    made = batch()
    calls, value = made.calls, ["value_output"]
    ready, fill = first(calls, Command.INFER), first(calls, Command.FILL)
    made.honest()
    # The pages of this inference become those of an earlier one.
    stale = []
    for call in calls[ready:fill]:
        params = call.params()
        if call.keep:
            stale.append(f"stale-{call.keep}")
            params[1] = ["out", call.room, stale[-1]]
        made.steps.call(call.command, *params)
    made.steps.call(Command.INFER, ["value_inout", 0, 0])  # out of order: it ends
    refused = []
    for data in (
        f"@{stale[0]}",
        f"@{calls[fill + 1].data[0]}",
        "@page0",
        f"@{calls[fill].data[0]}^7:1",
        f"@{calls[fill].data[0]}^{made.attacked.slot_bytes - 1}:128",
    ):
        add(made.steps, calls[ready:fill])
        refused.append(
            made.steps.call(
                Command.FILL,
                ["value_inout", *calls[fill].values],
                ["in", data],
                value,
                value,
            )
        )
        made.honest(loaded=True)
    answers = made.run()
    for place in refused:
        assert status(answers[place]) == Status.NOT_AUTHENTIC
