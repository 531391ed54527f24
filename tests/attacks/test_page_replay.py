# SPDX-License-Identifier: Apache-2.0
"""Authentic pages at a place, in a model or at a time where they do not belong.

Asset: the answer; a page's plaintext is a program or weights.
Attack: pages of another model, of another version, of the same network sealed again;
    pages swapped, repeated, cut, long, of an earlier part of the stream, of the last
    inference; a page that was refused, once more.
Defence: a page's nonce is its index, its key comes from content key, salt and header;
    only the page that is wanted next is taken.
Invariant: 1, 4, 6
Runs on: host, board
Also: tests/attacks/test_changed_file.py, tests/device/test_client_engine.py
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest

from helpers.attacked import (
    HOST_KEY,
    Attacked,
    Batch,
    Call,
    Raw,
    add,
    assert_next_is_right,
    assert_right,
    inference_of,
    scores,
    ship,
    status,
)
from helpers.provider import test_key
from undercroft._device.host import HostDevice
from undercroft._spec import Command, Status
from undercroft.errors import VerificationError
from undercroft.keys import ModelKey

REFUSED = {Status.NOT_AUTHENTIC, Status.BAD_PAGE_INDEX, Status.BAD_PARAMETERS}


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Attacked]:
    """The same network, sealed otherwise."""
    folder = tmp_path_factory.mktemp("others")
    again = folder / "again"
    again.mkdir()
    another = ModelKey(b"another model id", test_key("content"))
    return {
        "sealed again": ship(again, HOST_KEY.public),
        "another version": ship(folder, HOST_KEY.public, version=2),
        "another model": ship(folder, HOST_KEY.public, model_key=another, version=3),
    }


def stray_pages(
    wanted: int, goods: Attacked, others: dict[str, Attacked]
) -> Iterator[tuple[str, int, bytes]]:
    """Page indices and bytes that are not what is wanted."""
    for index, page in enumerate(goods.pages):
        if index != wanted:
            yield f"page {index} as {wanted}", wanted, page
            yield f"page {index} as itself", index, page
    for name, other in others.items():
        yield name, wanted, other.pages[wanted]
    page = goods.pages[wanted]
    yield "cut", wanted, page[:-1]
    yield "without its tag", wanted, page[:-16]
    yield "long", wanted, page + b"\0"
    yield "twice", wanted, page * 2
    yield "nothing", wanted, b""


def pushes(calls: Sequence[Call]) -> list[int]:
    """Where an honest session pushes a page."""
    return [at for at, call in enumerate(calls) if call.command is Command.PUSH]


@pytest.mark.engine
def test_no_stray_page_is_taken(
    host: HostDevice,
    goods: Attacked,
    calls: list[Call],
    others: dict[str, Attacked],
) -> None:
    blobs = goods.blobs()
    tried = 0
    for at in pushes(calls):
        wanted = calls[at].values[0]
        for what, index, data in stray_pages(wanted, goods, others):
            session = Raw(host)
            for call in calls[:at]:
                assert session.do(call, blobs).status == Status.OK
            stray = replace(calls[at], values=(index, 1), data=("stray",))
            answer = session.do(stray, {**blobs, "stray": data})
            assert answer.status in REFUSED, (wanted, what)
            # A second time, and the page that was wanted: the inference is over.
            for call in (stray, calls[at]):
                answer = session.do(call, {**blobs, "stray": data})
                assert answer.status == Status.BAD_STATE, (wanted, what)
            session.close()
            assert_next_is_right(host, goods)
            tried += 1
    assert tried >= len(goods.pages) * 2 * (len(goods.pages) - 1)


@pytest.mark.engine
def test_a_model_of_one_loading_takes_no_pages_of_another(
    host: HostDevice, goods: Attacked, others: dict[str, Attacked]
) -> None:
    """Program and resident pages of one sealing, streamed pages of the other."""
    for other in others.values():
        mixed = [*goods.pages[: goods.load_pages], *other.pages[goods.load_pages :]]
        start = goods.path.read_bytes()[: -len(mixed) * goods.slot_bytes]
        path = goods.path.with_name("mixed.sealed")
        path.write_bytes(start + b"".join(mixed))
        model = host.load(path, goods.license)
        with pytest.raises(VerificationError):
            model.infer([goods.input])
        model.close()
        assert_next_is_right(host, goods)


@pytest.mark.engine
def test_a_stream_goes_on_only_once(
    host: HostDevice, goods: Attacked, calls: list[Call]
) -> None:
    """Pages after the last, and the stream of the last inference in the next."""
    blobs = goods.blobs()
    session = Raw(host)
    for call in calls:
        assert session.do(call, blobs).status == Status.OK
    stream = [call for call in calls if call.command is Command.PUSH]
    for call in stream[goods.load_pages :]:
        assert session.do(call, blobs).status == Status.BAD_STATE
    for call in inference_of(calls):
        answer = session.do(call, blobs)
        assert answer.status == Status.OK
    assert_right([scores(answer.output)], [goods.expected])
    session.close()
    assert_next_is_right(host, goods)


@pytest.mark.board
@pytest.mark.timeout(900)
def test_no_stray_page_is_taken_on_the_board(batch: Callable[[], Batch]) -> None:
    """A changed, another and a cut page, wherever one is wanted."""
    made = batch()
    calls, slot = made.calls, made.attacked.slot_bytes
    choose = random.Random(4)
    ready = [call.command for call in calls].index(Command.INFER)
    refused = []
    loaded = False
    for at in pushes(calls):
        page = calls[at].values[0]
        other = (page + 1) % len(made.attacked.pages)
        places = [0, slot - 17, slot - 16, slot - 1, choose.randrange(slot)]
        bad = [f"@page{page}^{place}:{1 << choose.randrange(8)}" for place in places]
        if at > ready:
            bad = [*choose.sample(bad, 2), f"@page{other}"]
        else:
            bad = [choose.choice(bad), f"@page{other}"]
        for data in bad:
            if at > ready and not loaded:
                made.honest()
                loaded = True
            if at < ready:
                made.steps.call(Command.CLOSE, ["value_inout", 0, 0])
            add(made.steps, calls[ready if at > ready else 0 : at])
            params = [["value_inout", page, 1], ["in", data], *[["value_output"]] * 2]
            refused.append(made.steps.call(Command.PUSH, *params))
    made.honest(loaded=True)
    answers = made.run()
    assert len(refused) >= 2 * len(made.attacked.pages)
    for place in refused:
        assert status(answers[place]) == Status.NOT_AUTHENTIC
