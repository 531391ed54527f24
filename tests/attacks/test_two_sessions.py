# SPDX-License-Identifier: Apache-2.0
"""Two sessions at once, and sessions that are closed in the middle.

Asset: activations and weights of one session, which another one might see or change.
Attack: two sessions whose calls alternate, with other inputs; one that fails or is
    closed at every step while the other infers; more sessions than memory holds; two
    programs at once on the board.
Defence: each session has a region of the arena for itself, wiped when it is given back;
    the Trusted Application serves one call at a time.
Invariant: 7, 8
Runs on: host, board
Also: tests/device/test_client_engine.py, tests/engine/test_pool.c
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnxruntime
import pytest

from helpers import attacked, guest
from helpers.attacked import (
    Attacked,
    Batch,
    Call,
    Raw,
    add,
    assert_next_is_right,
    assert_right,
    assert_wiped,
    inference_of,
    load,
    scores,
)
from undercroft._device.host import HostDevice
from undercroft._spec import Command, Status
from undercroft.errors import SecureMemoryError


@pytest.mark.engine
def test_inferences_that_alternate_call_by_call(
    host: HostDevice, goods: Attacked, calls: list[Call]
) -> None:
    case, _ = attacked.made()
    runtime = onnxruntime.InferenceSession(case.model.SerializeToString())
    inputs = [goods.input, np.ascontiguousarray(goods.input[..., ::-1]) * 2]
    expected = [runtime.run(None, {"x": x})[0] for x in inputs]
    assert np.abs(expected[0] - expected[1]).max() > 0.01
    sessions = [Raw(host), Raw(host)]
    blobs = [goods.blobs() | {"input": x.tobytes()} for x in inputs]
    # The second lags behind by every distance.
    for lag in range(len(calls)):
        outputs = [b"", b""]
        for at in range(len(calls) + lag):
            for who, place in enumerate((at, at - lag)):
                if 0 <= place < len(calls):
                    answer = sessions[who].do(calls[place], blobs[who])
                    assert answer.status == Status.OK, (lag, who, place)
                    outputs[who] = answer.output
        assert_right([scores(output) for output in outputs], expected)
        for session in sessions:
            assert session.call(Command.CLOSE, ["value_inout", 0, 0]) is not None
        assert_wiped(host)
    for session in sessions:
        session.close()
    assert_next_is_right(host, goods)


@pytest.mark.engine
def test_a_session_closed_at_any_call_while_another_infers(
    host: HostDevice, goods: Attacked, calls: list[Call]
) -> None:
    blobs = goods.blobs()
    free = host.info().free_bytes
    for prefix in range(len(calls) + 1):
        other, gone = Raw(host), Raw(host)
        middle = len(calls) // 2
        for call in calls[:middle]:
            assert other.do(call, blobs).status == Status.OK
        for call in calls[:prefix]:
            assert gone.do(call, blobs).status == Status.OK
        gone.close()
        for call in calls[middle:]:
            answer = other.do(call, blobs)
            assert answer.status == Status.OK
        assert_right([scores(answer.output)], [goods.expected])
        other.close()
        assert_wiped(host)
        assert host.info().free_bytes == free
        assert_next_is_right(host, goods)


@pytest.mark.engine
def test_more_sessions_than_memory_holds(host: HostDevice, goods: Attacked) -> None:
    room = host.info().free_bytes // goods.arena_bytes
    models = [load(host, goods) for _ in range(room)]
    assert len(models) >= 2
    with pytest.raises(SecureMemoryError):
        load(host, goods)
    for model in models:
        assert_next_is_right(host, goods, model)
    models.pop().close()
    assert_next_is_right(host, goods)
    for model in models:
        model.close()
    assert_wiped(host)
    assert_next_is_right(host, goods)


@pytest.mark.board
@pytest.mark.timeout(900)
def test_sessions_closed_at_every_step_beside_another(
    batch: Callable[[], Batch],
) -> None:
    made = batch()
    calls = made.calls
    made.honest()
    # The other session's inference is under way, and goes on at the end.
    inference = inference_of(calls)
    add(made.steps, inference[:4])
    kinds = [None, *(call.command for call in calls)]
    for prefix in range(1, len(calls) + 1):
        if prefix < len(calls) and kinds[prefix] is kinds[prefix - 1]:
            continue
        session = f"s{prefix}"
        made.steps.open(session)
        add(made.steps, calls[:prefix], session)
        made.steps.close(session)
    made.steps.open("another")
    made.honest("another")
    made.steps.close("another")
    rest = add(made.steps, inference[4:])
    made.honest(loaded=True)
    answers = made.run()
    assert all(attacked.status(answers[place]) == Status.OK for place in rest)
    output = bytes.fromhex(answers[rest[-1]]["outputs"]["1"]["memory"])
    assert_right([scores(output)], [made.attacked.expected])


@pytest.mark.board
@pytest.mark.timeout(900)
def test_two_programs_push_as_much_as_they_may_at_once(
    batch: Callable[[], Batch],
) -> None:
    # Each call maps 2 MiB of shared memory beside the arena; the Trusted
    # Application serves one at a time and the other waits.
    source = """
from undercroft._device.tee import BUFFER_BYTES, TeeDevice
from undercroft._spec import Command, Status
session = TeeDevice().open()
for _ in range(50):
    reply = session.invoke(Command.PUSH, values=(0, 31), buffer_bytes=BUFFER_BYTES)
    assert reply.status == Status.BAD_STATE, reply
print("fifty")
"""
    output = guest.sh(
        f"cat >/tmp/push.py <<'END'\n{source}\nEND\n"
        "python3 /tmp/push.py & python3 /tmp/push.py & wait"
    )
    assert output.split() == ["fifty", "fifty"]
    made = batch()
    made.honest()
    made.run()
