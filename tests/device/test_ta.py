# SPDX-License-Identifier: Apache-2.0
"""The Trusted Application on the board, called as an attacker would call it."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cbor2
import numpy as np
import onnxruntime
import pytest

import undercroft as uc
from helpers import guest, onnx_nets
from helpers.provider import test_key
from undercroft import _board
from undercroft._device.base import PARAMETERS, Param
from undercroft._format.cose import key_thumbprint
from undercroft._format.license import LicenseClaims
from undercroft._spec import (
    DEFAULT_ARENA_BYTES,
    KERNEL_SET_NEON_A73,
    MAX_HEADER_BYTES,
    MAX_LICENSE_BYTES,
    PAGE_TAG_BYTES,
    Command,
    State,
    Status,
)
from undercroft.keys import DevicePublicKey, ModelKey, ProviderKey
from undercroft.license import issue
from undercroft.seal import seal

pytestmark = [pytest.mark.board, pytest.mark.timeout(900)]

BAD_PARAMETERS = 0xFFFF0006
FROM_THE_TA = 4
PAGE_BYTES = 4096
SLOT_BYTES = PAGE_BYTES + PAGE_TAG_BYTES
NO_TYPES = ["none"]

# How a parameter of each type is given by the guest's helper.
GIVEN: dict[Param, list[Any]] = {
    Param.NONE: NO_TYPES,
    Param.VALUE_INOUT: ["value_inout", 0, 0],
    Param.VALUE_OUTPUT: ["value_output"],
    Param.MEMREF_INPUT: ["in", "00" * 64],
    Param.MEMREF_OUTPUT: ["out", 256],
}
# Types that no command takes, besides the others' own.
NEVER_TAKEN: list[list[Any]] = [["value_input", 1, 2], ["inout", "00" * 64]]


@pytest.fixture(scope="module", autouse=True)
def board() -> None:
    guest.up()


def given(command: Command) -> list[list[Any]]:
    """Parameters of the right types for a command."""
    return [GIVEN[kind] for kind in PARAMETERS[command]]


def status(answer: dict[str, Any]) -> Status:
    """What a call that was routed answered."""
    assert answer.get("result") == 0, answer
    return Status(answer["values"]["0"][0])


def device_key() -> DevicePublicKey:
    steps = guest.Steps()
    steps.open()
    place = steps.call(Command.DEVICE_KEY, *given(Command.DEVICE_KEY))
    answer = steps.run()[place]
    assert status(answer) == Status.OK
    written = answer["outputs"]["1"]
    return DevicePublicKey.from_cose_key(
        bytes.fromhex(written["memory"])[: written["size"]]
    )


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
    before = device_key()
    assert device_key() == before
    _board.down(guest.BOARD_NAME)
    guest.up()
    assert device_key() == before


# ---- hostile calls ----


def test_every_wrong_parameter_type_of_every_command_is_refused() -> None:
    steps = guest.Steps()
    steps.open()
    wrong = []
    for command in Command:
        right = given(command)
        for index in range(4):
            for other in [*GIVEN.values(), *NEVER_TAKEN]:
                if other[0] == right[index][0]:
                    continue
                params = [*right[:index], other, *right[index + 1 :]]
                wrong.append((command, steps.call(command, *params)))
    alive = steps.call(Command.INFO, *given(Command.INFO))
    answers = steps.run()
    assert len(wrong) == len(Command) * 4 * 6
    for command, place in wrong:
        answer = answers[place]
        assert answer["result"] == BAD_PARAMETERS, (command, answer)
        assert answer["origin"] == FROM_THE_TA
    assert status(answers[alive]) == Status.OK


def test_unknown_commands_are_named_as_such() -> None:
    steps = guest.Steps()
    steps.open()
    numbers = [len(Command), 0x7FFFFFFF, 0xFFFFFFFF]
    places = [steps.call(number, ["value_inout", 5, 6]) for number in numbers]
    mute = steps.call(len(Command))
    answers = steps.run()
    for place in places:
        assert status(answers[place]) == Status.UNKNOWN_COMMAND
        assert answers[place]["values"]["0"][1] == 0
    assert answers[mute]["result"] == BAD_PARAMETERS


def test_commands_without_a_model_are_out_of_order() -> None:
    steps = guest.Steps()
    steps.open()
    asked = [Command.PUSH, Command.INFER, Command.INPUT, Command.OUTPUT, Command.STATS]
    places = [steps.call(command, *given(command)) for command in asked]
    close = steps.call(Command.CLOSE, *given(Command.CLOSE))
    answers = steps.run()
    for place in places:
        assert status(answers[place]) == Status.BAD_STATE
    for place, command in zip(places, asked, strict=True):
        for output in answers[place]["outputs"].values():
            assert set(output["memory"]) == {"0"}, command
    assert status(answers[close]) == Status.OK


def test_garbage_instead_of_header_and_license_is_refused() -> None:
    steps = guest.Steps()
    steps.open()
    rng = random.Random(3)
    sizes = [0, 1, 2, 15, 64, 500, MAX_HEADER_BYTES]
    cases = []
    for size in sizes:
        header, license_ = rng.randbytes(size), rng.randbytes(min(size, 4096))
        cases.append(open_call(steps, header, license_))
    for start in (
        "84",
        "d284",
        "9f",
        "bf",
        "5b" + "ff" * 8,
        "9b" + "ff" * 8,
        "d2" * 50,
    ):
        text = bytes.fromhex(start)
        cases.append(open_call(steps, text + bytes(64), text + bytes(64)))
    steps.blobs["large"] = bytes(MAX_HEADER_BYTES + 1)
    for header, license_ in (
        (["in", "@large"], ["in", "00"]),
        (["in", "00"], ["in", "@large"]),
        (["buffer_in", 2 << 20], ["in", "00"]),
        (["in", "00"], ["buffer_in", 2 << 20]),
    ):
        cases.append(
            steps.call(
                Command.OPEN, ["value_inout", 0, 0], header, license_, ["value_output"]
            )
        )
    nothing = steps.call(
        Command.OPEN,
        ["value_inout", 0, 0],
        ["null_in", 100],
        ["null_in", 100],
        ["value_output"],
    )
    alive = steps.call(Command.INFO, *given(Command.INFO))
    answers = steps.run()
    for place in cases:
        assert status(answers[place]) in (Status.BAD_HEADER, Status.BAD_LICENSE)
        assert answers[place]["values"]["3"] == [0, 0]
    assert answers[nothing]["result"] == BAD_PARAMETERS
    assert status(answers[alive]) == Status.OK


# ---- a sealed network ----


@dataclass(frozen=True)
class Shipment:
    """A small sealed network for the board, taken apart."""

    header: bytes
    license: bytes
    pages: tuple[bytes, ...]
    load_pages: int
    model_key: ModelKey
    input: np.ndarray[Any, np.dtype[np.float32]]
    expected: np.ndarray[Any, np.dtype[np.float32]]

    def blobs(self) -> dict[str, bytes]:
        blobs = {"header": self.header, "license": self.license}
        return blobs | {f"page{i}": page for i, page in enumerate(self.pages)}


PROVIDER = ProviderKey.from_seed(test_key("provider"))


@pytest.fixture(scope="module")
def shipment(board: None, tmp_path_factory: pytest.TempPathFactory) -> Shipment:
    net = onnx_nets.Net("device_mlp")
    x = net.input(1, 64)
    x = net.relu(net.gemm(x, 64, 64))
    x = net.relu(net.gemm(x, 64, 64))
    case = net.case(net.softmax(net.gemm(x, 64, 10)))
    plan = uc.plan(case.model, budget=29000, page_bytes=PAGE_BYTES)
    assert (plan.program_pages, plan.resident_pages, plan.streamed_pages) == (1, 2, 8)
    path = tmp_path_factory.mktemp("sealed") / "mlp.sealed"
    model_key = ModelKey(bytes(range(16)), test_key("content"))
    seal(
        path,
        path,
        plan=plan,
        signing_key=PROVIDER,
        model_id=model_key.model_id,
        content_key=model_key.content_key,
    )
    license_ = issue(model_key=model_key, device=device_key(), signing_key=PROVIDER)
    feed = onnx_nets.random_inputs(case)
    session = onnxruntime.InferenceSession(case.model.SerializeToString())
    expected = session.run(None, feed)[0]
    return take_apart(path, license_, model_key, feed["x"], expected)


def take_apart(
    path: Path,
    license_: bytes,
    model_key: ModelKey,
    array: np.ndarray[Any, np.dtype[np.float32]],
    expected: np.ndarray[Any, np.dtype[np.float32]],
) -> Shipment:
    data = path.read_bytes()
    end = 16 + int.from_bytes(data[12:16], "little")
    slots = data[end:]
    assert len(slots) == 11 * SLOT_BYTES
    pages = [slots[at : at + SLOT_BYTES] for at in range(0, len(slots), SLOT_BYTES)]
    return Shipment(data[16:end], license_, tuple(pages), 3, model_key, array, expected)


def open_call(
    steps: guest.Steps, header: bytes, license_: bytes, session: str = "s"
) -> int:
    return steps.call(
        Command.OPEN,
        ["value_inout", 0, 0],
        ["in", header.hex()],
        ["in", license_.hex()],
        ["value_output"],
        session=session,
    )


def good_calls(shipment: Shipment) -> list[tuple[Command, list[Any]]]:
    """Every call of a good inference, page by page, from OPEN to OUTPUT."""
    value = ["value_output"]

    def push(first: int) -> tuple[Command, list[Any]]:
        params = [["value_inout", first, 1], ["in", f"@page{first}"], value, value]
        return Command.PUSH, params

    calls: list[tuple[Command, list[Any]]] = [
        (
            Command.OPEN,
            [["value_inout", 0, 0], ["in", "@header"], ["in", "@license"], value],
        )
    ]
    calls += [push(page) for page in range(shipment.load_pages)]
    calls += inference_calls(shipment)
    return calls


def inference_calls(shipment: Shipment) -> list[tuple[Command, list[Any]]]:
    value = ["value_output"]
    element_bytes = shipment.input.tobytes().hex()
    calls: list[tuple[Command, list[Any]]] = [
        (Command.INFER, [["value_inout", 0, 0]]),
        (Command.INPUT, [["value_inout", 0, 0], ["in", element_bytes], value, value]),
    ]
    for page in range(shipment.load_pages, len(shipment.pages)):
        params = [["value_inout", page, 1], ["in", f"@page{page}"], value, value]
        calls.append((Command.PUSH, params))
    calls.append((Command.OUTPUT, [["value_inout", 0, 0], ["out", 40]]))
    return calls


def add(
    steps: guest.Steps, calls: list[tuple[Command, list[Any]]], session: str = "s"
) -> list[int]:
    return [steps.call(command, *params, session=session) for command, params in calls]


def scores(answer: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.float32]]:
    assert status(answer) == Status.OK
    return np.frombuffer(
        bytes.fromhex(answer["outputs"]["1"]["memory"]), dtype="<f4"
    ).reshape(1, 10)


def test_a_sealed_network_gives_onnxruntimes_answer_again_and_again(
    shipment: Shipment,
) -> None:
    steps = guest.Steps(blobs=shipment.blobs())
    steps.open()
    first = add(steps, good_calls(shipment))
    second = add(steps, inference_calls(shipment))
    stats = steps.call(Command.STATS, *given(Command.STATS))
    answers = steps.run()
    for place in (*first, *second):
        assert status(answers[place]) == Status.OK
    assert answers[first[3]]["values"]["3"] == [State.READY, 0]
    assert answers[second[-2]]["values"]["3"] == [State.DONE, 0]
    for place in (first[-1], second[-1]):
        np.testing.assert_allclose(
            scores(answers[place]), shipment.expected, rtol=0, atol=1e-5
        )
    record = np.frombuffer(
        bytes.fromhex(answers[stats]["outputs"]["1"]["memory"])[:128], dtype="<u8"
    )
    budget, peak, _, decrypted, pages, load, _, inferences, *_ = record
    assert 0 < peak <= budget <= 29000
    assert (decrypted, pages, load) == (8 * PAGE_BYTES, 8, 3 * PAGE_BYTES)
    assert inferences == 2
    assert record[9] > 0
    assert record[11] > 0
    assert record[12] == 62_500_000


def test_a_session_ended_at_any_call_leaves_a_device_that_works(
    shipment: Shipment,
) -> None:
    steps = guest.Steps(blobs=shipment.blobs())
    calls = good_calls(shipment)
    outputs = []
    for count in range(len(calls)):
        session = f"s{count}"
        steps.open(session)
        add(steps, calls[:count], session)
        steps.close(session)
        steps.open()
        outputs.append(add(steps, calls)[-1])
        steps.close()
    free = steps.info()
    answers = steps.run(timeout_seconds=400)
    assert len(outputs) == len(calls) == 15
    for place in outputs:
        np.testing.assert_allclose(
            scores(answers[place]), shipment.expected, rtol=0, atol=1e-5
        )
    assert answers[free]["free_bytes"] == DEFAULT_ARENA_BYTES


def test_a_command_out_of_order_at_any_call_is_refused_and_wiped(
    shipment: Shipment,
) -> None:
    steps = guest.Steps(blobs=shipment.blobs())
    calls = good_calls(shipment)
    strays, outputs = [], []
    for count in range(1, len(calls)):
        session = f"s{count}"
        steps.open(session)
        add(steps, calls[:count], session)
        # A page that is not wanted now, in any state.
        wrong_page = 0 if count > 1 else 1
        push = calls[1 + wrong_page]
        strays.append(add(steps, [push], session)[0])
        if count <= shipment.load_pages:
            outputs.append(add(steps, calls, session)[-1])
        else:
            outputs.append(add(steps, inference_calls(shipment), session)[-1])
        steps.close(session)
    answers = steps.run(timeout_seconds=400)
    for place in strays:
        assert status(answers[place]) in (Status.BAD_STATE, Status.BAD_PAGE_INDEX)
    for place in outputs:
        np.testing.assert_allclose(
            scores(answers[place]), shipment.expected, rtol=0, atol=1e-5
        )


def test_no_damaged_or_exchanged_page_is_taken(shipment: Shipment) -> None:
    steps = guest.Steps(blobs=shipment.blobs())
    calls = good_calls(shipment)
    rng = random.Random(4)
    refused = []
    for page in range(len(shipment.pages)):
        places = [0, PAGE_BYTES - 1, PAGE_BYTES, SLOT_BYTES - 1]
        places.append(rng.randrange(SLOT_BYTES))
        at = 1 + page if page < shipment.load_pages else 3 + page
        assert calls[at][0] is Command.PUSH
        for number, place in enumerate(places):
            name = f"bad{page}.{number}"
            changed = f"@page{page}^{place}:{1 << rng.randrange(8)}"
            bad = [
                ["value_inout", page, 1],
                ["in", changed],
                *[["value_output"]] * 2,
            ]
            steps.open(name)
            add(steps, calls[:at], name)
            refused.append(add(steps, [(Command.PUSH, bad)], name)[0])
            steps.close(name)
        other = (page + 1) % len(shipment.pages)
        swapped = [
            ["value_inout", page, 1],
            ["in", f"@page{other}"],
            *[["value_output"]] * 2,
        ]
        steps.open()
        add(steps, calls[:at])
        refused.append(add(steps, [(Command.PUSH, swapped)])[0])
        steps.close()
    answers = steps.run(timeout_seconds=600)
    assert len(refused) == 11 * 6
    for place in refused:
        assert status(answers[place]) == Status.NOT_AUTHENTIC


def test_more_or_fewer_bytes_than_the_pages_have_are_refused(
    shipment: Shipment,
) -> None:
    steps = guest.Steps(blobs=shipment.blobs())
    calls = good_calls(shipment)
    value = ["value_output"]
    cases = []
    for first, count, data in (
        (0, 0, ["in", "@page0"]),
        (0, 2, ["in", "@page0"]),
        (0, 0xFFFFFFFF, ["in", "@page0"]),
        (0xFFFFFFFF, 1, ["in", "@page0"]),
        (0, 1, ["buffer_in", SLOT_BYTES - 1]),
        (0, 1, ["buffer_in", SLOT_BYTES + 1]),
        (0, 1, ["in", ""]),
    ):
        steps.open()
        add(steps, calls[:1])
        cases.append(
            steps.call(Command.PUSH, ["value_inout", first, count], data, value, value)
        )
        steps.close()
    answers = steps.run()
    for place in cases:
        assert status(answers[place]) in (
            Status.BAD_PARAMETERS,
            Status.BAD_PAGE_INDEX,
        )


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


def test_two_programs_push_as_much_as_they_may_at_once() -> None:
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


# ---- keys that would end a careless TA ----


def test_a_provider_key_off_the_curve_is_refused_and_nobody_dies(
    shipment: Shipment,
) -> None:
    public = PROVIDER.public().raw
    steps = guest.Steps()
    steps.open()
    cases = []
    for first_byte in range(16):
        # About half of all 32-byte strings are no points of the curve.
        fake = bytes([first_byte]) + public[1:]
        ids = (PROVIDER.key_id, key_thumbprint(6, fake))
        header, license_ = (
            data.replace(public, fake).replace(*ids)
            for data in (shipment.header, shipment.license)
        )
        assert header != shipment.header
        cases.append(open_call(steps, header, license_))
    alive = open_call(steps, shipment.header, shipment.license)
    answers = steps.run()
    for place in cases:
        assert status(answers[place]) == Status.NOT_AUTHENTIC
    assert status(answers[alive]) == Status.OK


def test_a_wrapped_key_of_small_order_is_refused_and_nobody_dies(
    shipment: Shipment,
) -> None:
    payload = cbor2.loads(shipment.license)[2]
    claims = LicenseClaims.parse(payload)
    encapsulated = claims.wrapped_key.encapsulated_key
    assert len(encapsulated) == 32
    steps = guest.Steps()
    steps.open()
    cases = []
    for point in (bytes(32), b"\1" + bytes(31), (2**255 - 20).to_bytes(32, "little")):
        wrapped = claims.content_key.replace(encapsulated, point)
        assert wrapped != claims.content_key
        signed = PROVIDER.sign_message(replace(claims, content_key=wrapped).encode())
        cases.append(open_call(steps, shipment.header, signed))
    alive = open_call(steps, shipment.header, shipment.license)
    answers = steps.run()
    for place in cases:
        assert status(answers[place]) == Status.NOT_AUTHENTIC
    assert status(answers[alive]) == Status.OK


def test_a_license_for_another_device_is_refused(shipment: Shipment) -> None:
    other = DevicePublicKey(bytes(range(32)))
    license_ = issue(model_key=shipment.model_key, device=other, signing_key=PROVIDER)
    assert len(license_) <= MAX_LICENSE_BYTES
    steps = guest.Steps()
    steps.open()
    place = open_call(steps, shipment.header, license_)
    assert status(steps.run()[place]) == Status.WRONG_DEVICE
