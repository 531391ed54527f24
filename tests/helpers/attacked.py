# SPDX-License-Identifier: Apache-2.0
"""What the tests in tests/attacks attack: a small sealed network, and its honest use.

The network has pages of every kind: program, resident, streamed, and activations
that leave the secure world. `honest_calls` lists every call of a good session, a
page at a time, in a form that the host engine and the board both understand; an
attack takes a part of that list, does its harm, and then `assert_right` holds of
the next honest answer.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

import undercroft as uc
from helpers import guest, onnx_nets
from helpers.provider import Device, test_key
from undercroft._device.client import ModelClient
from undercroft._device.host import (
    _TYPE_CODES,
    HostDevice,
    HostInvoker,
    NoProtectionWarning,
    _Param,
)
from undercroft._device.invoker import PARAMETERS, Param
from undercroft._format.suites import DEFAULT_SUITE
from undercroft._spec import (
    ANSWER_NONCE_BYTES,
    INFO_RECORD_BYTES,
    MAX_EVIDENCE_BYTES,
    STATS_RECORD_BYTES,
    Command,
    State,
    Status,
)
from undercroft.keys import DevicePublicKey, ModelKey, ProviderKey
from undercroft.private import Asker, Question
from undercroft.update import issue_update

Array = np.ndarray[Any, np.dtype[np.float32]]

PAGE_BYTES = 4096
PROVIDER = ProviderKey.from_seed(test_key("provider"))
OTHER_PROVIDER = ProviderKey.from_seed(test_key("other_provider"))
HOST_KEY = Device(test_key("device"))
OTHER_DEVICE = Device(test_key("other_device"))
TOLERANCE = 1e-4
"""Of the largest magnitude of the output: kernels differ in the order of sums."""


def assert_right(outputs: Sequence[Array], expected: Sequence[Array]) -> None:
    """Hold that an honest inference gave onnxruntime's answer."""
    assert len(outputs) == len(expected)
    for got, want in zip(outputs, expected, strict=True):
        assert got.shape == want.shape
        assert np.abs(got - want).max() <= TOLERANCE * np.abs(want).max()


# ---- the network ----


def network(name: str = "attacked") -> onnx_nets.Case:
    """A network whose plan, in little memory, has pages of every kind."""
    net = onnx_nets.Net(name)
    skip = x = net.relu(net.conv(net.input(1, 3, 12, 12), 3, 16, 1))
    for _ in range(2):
        # A transposition needs all of its operand: `skip` has to make room.
        x = net.op("Transpose", [x], perm=[0, 1, 3, 2])
        x = net.relu(net.conv(x, 16, 16, 1))
    x = net.flatten(net.global_pool(net.add(x, skip)))
    x = net.relu(net.gemm(net.relu(net.gemm(x, 16, 64)), 64, 64))
    return net.case(net.softmax(net.gemm(x, 64, 10)))


@functools.cache
def made(
    name: str = "attacked", suite: str = DEFAULT_SUITE
) -> tuple[onnx_nets.Case, uc.Plan]:
    """The network and a plan of it."""
    case = network(name)
    for budget in range(36 << 10, 56 << 10, 512):
        try:
            plan = uc.plan(
                case.model, budget=budget, page_bytes=PAGE_BYTES, suite=suite
            )
        except uc.Error:
            continue
        if plan.resident_pages and plan.streamed_pages > 1 and plan.spilled_bytes:
            return case, plan
    raise AssertionError("no budget gives this network pages of every kind")


@dataclass(frozen=True)
class Attacked:
    """A sealed network, licensed to one device, and the right answer."""

    path: Path
    license: bytes
    model_key: ModelKey
    input: Array
    expected: Array
    arena_bytes: int
    load_pages: int
    header: bytes
    pages: tuple[bytes, ...]
    question: Question

    @property
    def slot_bytes(self) -> int:
        """Bytes of a page with its tag."""
        return len(self.pages[0])

    def blobs(self) -> dict[str, bytes]:
        """Everything an honest call hands in, by the name it has there."""
        named = {f"page{index}": page for index, page in enumerate(self.pages)}
        return named | {
            "header": self.header,
            "license": self.license,
            "input": self.input.tobytes(),
            "update": issue_update(signing_key=PROVIDER, issued_at=1_900_000_000),
            "nonce": bytes(range(32)),
            "question": self.question.data,
            # What the attacker hands in before a page was spilled.
            "spilled0": bytes(self.slot_bytes),
        }

    def licensed(self, device: DevicePublicKey, **terms: Any) -> bytes:
        """Another license for the same model."""
        return uc.issue_license(
            model_key=self.model_key,
            device=device,
            signing_key=PROVIDER,
            terms=uc.LicenseTerms(**terms),
        )


def ship(
    folder: Path,
    device: DevicePublicKey,
    *,
    name: str = "attacked",
    version: int = 1,
    model_key: ModelKey | None = None,
    suite: str = DEFAULT_SUITE,
) -> Attacked:
    """Seal the network for everyone and license it to a device."""
    case, plan = made(name, suite)
    model_key = model_key or ModelKey(bytes(range(16)), test_key("content"))
    path = folder / f"{name}-{version}.sealed"
    uc.seal(
        path,
        path,
        plan=plan,
        signing_key=PROVIDER,
        model_id=model_key.model_id,
        content_key=model_key.content_key,
        model_version=version,
    )
    with uc.SealedModel.open(path) as sealed:
        pages = tuple(sealed.page(index) for index in range(sealed.header.page_count))
        header = sealed.header
        start = path.read_bytes()[16 : sealed.pages_offset]
    feed = onnx_nets.random_inputs(case)
    runtime = onnxruntime.InferenceSession(case.model.SerializeToString())
    attacked = Attacked(
        path=path,
        license=b"",
        model_key=model_key,
        input=feed["x"],
        expected=runtime.run(None, feed)[0],
        arena_bytes=plan.arena_bytes,
        load_pages=header.program_pages + header.resident_pages,
        header=start,
        pages=pages,
        # Its inputs are plain, so that INPUT is what it is without one.
        question=Asker.of_model(path, device=device).ask(None, seal_inputs=False),
    )
    return replace(attacked, license=attacked.licensed(device))


# ---- the host engine ----


@contextmanager
def host(state: Path | None = None) -> Iterator[HostDevice]:
    """The host engine with the test device's key."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoProtectionWarning)
        device = HostDevice(
            "host:?arena=256KiB", private_key=HOST_KEY.private, state=state
        )
    with device:
        # What was there before is not what `assert_wiped` looks for.
        address, length = _arena(device)
        ctypes.memset(address, 0, length)
        yield device


def load(
    device: HostDevice, attacked: Attacked, license_: bytes | None = None
) -> ModelClient:
    """Load over the product's own client."""
    permit = attacked.license if license_ is None else license_
    model = device.load(attacked.path, permit)
    assert isinstance(model, ModelClient)
    return model


def assert_next_is_right(
    device: HostDevice, attacked: Attacked, model: ModelClient | None = None
) -> None:
    """Hold that the next honest inference gives the right answer.

    Args:
        device: the host engine, after an attack.
        attacked: what was attacked; loaded anew for this.
        model: instead, a model that is loaded still.
    """
    honest = model or load(device, attacked)
    outputs, stats = honest.infer([attacked.input])
    assert_right(outputs, [attacked.expected])
    assert 0 < stats.secure_peak_bytes <= stats.budget_bytes
    if model is None:
        honest.close()


def _arena(device: HostDevice) -> tuple[int, int]:
    """Where the host engine's arena lies, and how long it is."""
    look = device._engine.uc_host_arena
    look.restype = ctypes.c_void_p
    look.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_size_t)]
    length = ctypes.c_size_t()
    return look(device._host, ctypes.byref(length)), length.value


def assert_wiped(device: HostDevice) -> None:
    """Hold that nothing is left in the host engine's arena."""
    address, length = _arena(device)
    left = ctypes.string_at(address, length) != bytes(length)
    assert not left, "something was left in secure memory"


class Raw:
    """A session with the host engine that passes any parameters at all."""

    def __init__(self, device: HostDevice) -> None:
        self._invoker: HostInvoker = device.open()
        self._device = device
        self.kept: dict[str, bytes] = {}

    def call(self, command: int, *params: Sequence[Any]) -> Answer | None:
        """Call; a parameter is written as for `guest.Steps.call`.

        `("in", bytes)` and `("out", room)` own their memory; `("at", array)` is an
        input at a numpy array's own memory, which others may change meanwhile;
        `("sparse_in", size)` a large one of zeros.

        Returns:
            None when the parameter types are wrong.
        """
        raw = (_Param * 4)()
        memory: dict[int, Any] = {}
        assert self._invoker._session is not None
        for index, (kind, *arguments) in enumerate(params):
            raw[index].type = _TYPE_CODES[KINDS[kind]]
            if kind == "value_inout":
                raw[index].a, raw[index].b = arguments
            elif kind in ("null_in", "null_out"):
                raw[index].ns_len = arguments[0]
            elif kind == "at":
                raw[index].ns_data = arguments[0].ctypes.data
                raw[index].ns_len = arguments[0].nbytes
            elif kind == "sparse_in":
                memory[index] = mmap.mmap(-1, arguments[0] + 1)
                place = ctypes.c_char.from_buffer(memory[index])
                raw[index].ns_data = ctypes.addressof(place)
                raw[index].ns_len = arguments[0]
                del place
            elif kind in ("in", "out"):
                given = arguments[0]
                if isinstance(given, str):
                    given = bytes.fromhex(given)
                data = b"\x5a" * given if kind == "out" else bytes(given)
                memory[index] = ctypes.create_string_buffer(data, max(len(data), 1))
                raw[index].ns_data = ctypes.addressof(memory[index])
                raw[index].ns_len = len(data)
        if not self._device.command(self._invoker._session, int(command), raw):
            return None
        outputs = [
            memory[index].raw[: arguments[0]]
            for index, (kind, *arguments) in enumerate(params)
            if kind == "out"
        ]
        values = [(raw[i].a, raw[i].b) for i in range(4)]
        return Answer(Status(values[0][0]), values[0][1], values, b"".join(outputs))

    def do(self, call: Call, blobs: Mapping[str, bytes]) -> Answer:
        """Make one of the honest calls."""
        answer = self.call(call.command, *call.params({**blobs, **self.kept}))
        assert answer is not None
        if call.keep:
            self.kept[call.keep] = answer.output
        return answer

    def close(self) -> None:
        """End the session."""
        self._invoker.close()


@dataclass(frozen=True)
class Answer:
    """What the host engine answered to a raw call."""

    status: Status
    detail: int
    values: list[tuple[int, int]]
    output: bytes

    @property
    def is_blank(self) -> bool:
        """Whether nothing came out, as there must not on failure."""
        return not any(self.output)


KINDS = {
    "none": Param.NONE,
    "value_inout": Param.VALUE_INOUT,
    "value_output": Param.VALUE_OUTPUT,
    "in": Param.MEMREF_INPUT,
    "at": Param.MEMREF_INPUT,
    "sparse_in": Param.MEMREF_INPUT,
    "null_in": Param.MEMREF_INPUT,
    "out": Param.MEMREF_OUTPUT,
    "null_out": Param.MEMREF_OUTPUT,
}


# ---- honest calls, on either ----


@dataclass(frozen=True)
class Call:
    """One call of an honest session.

    Attributes:
        command: which.
        values: parameter 0.
        data: names of what its input memory holds, in their order.
        room: bytes of its output memory.
        keep: the name under which its output is handed in again later.
    """

    command: Command
    values: tuple[int, int] = (0, 0)
    data: tuple[str, ...] = ()
    room: int = 0
    keep: str = ""

    def params(self, blobs: Mapping[str, bytes] | None = None) -> list[list[Any]]:
        """Parameters for `Raw.call`, or without blobs for `guest.Steps.call`."""
        names = iter(self.data)
        given: list[list[Any]] = []
        for kind in PARAMETERS[self.command]:
            if kind is Param.NONE:
                given.append(["none"])
            elif kind is Param.VALUE_INOUT:
                given.append(["value_inout", *self.values])
            elif kind is Param.VALUE_OUTPUT:
                given.append(["value_output"])
            elif kind is Param.MEMREF_INPUT:
                name = next(names)
                given.append(["in", blobs[name] if blobs is not None else f"@{name}"])
            elif blobs is None and self.keep:
                given.append(["out", self.room, self.keep])
            else:
                given.append(["out", self.room])
        return given


def honest_calls(attacked: Attacked) -> list[Call]:
    """Every call of a good session with one inference, from OPEN to OUTPUT.

    Found by asking the host engine what it wants, a page at a time; the board
    wants the same.
    """
    with host() as device:
        session = Raw(device)
        blobs = attacked.blobs()
        calls = [Call(Command.OPEN, data=("header", "license"))]
        assert session.do(calls[0], blobs).status == Status.OK
        for page in range(attacked.load_pages):
            calls.append(Call(Command.PUSH, (page, 1), (f"page{page}",)))
            assert session.do(calls[-1], blobs).status == Status.OK
        calls += [Call(Command.INFER), Call(Command.INPUT, data=("input",))]
        assert session.do(calls[-2], blobs).status == Status.OK
        answer = session.do(calls[-1], blobs)
        while answer.values[2][1] != 0:
            (first, _), (state, _) = answer.values[2:]
            if state == State.SPILLING:
                keep = f"spilled{first}"
                room = attacked.slot_bytes
                calls.append(Call(Command.SPILL, (first, 1), room=room, keep=keep))
            elif state == State.FILLING:
                calls.append(Call(Command.FILL, (first, 1), (f"spilled{first}",)))
            else:
                calls.append(Call(Command.PUSH, (first, 1), (f"page{first}",)))
            answer = session.do(calls[-1], blobs)
            assert answer.status == Status.OK
        calls.append(Call(Command.OUTPUT, room=attacked.expected.nbytes))
        answer = session.do(calls[-1], blobs)
        assert_right([scores(answer.output)], [attacked.expected])
        session.close()
    kinds = {call.command for call in calls}
    assert {Command.SPILL, Command.FILL, Command.PUSH} <= kinds
    return calls


ANYTIME = (
    Call(Command.INFO, room=INFO_RECORD_BYTES),
    Call(Command.DEVICE_KEY, room=256),
    Call(Command.STATS, room=STATS_RECORD_BYTES),
    Call(Command.CLOSE),
    Call(Command.UPDATE, data=("update",)),
    Call(Command.ATTEST, data=("nonce",), room=MAX_EVIDENCE_BYTES),
    Call(Command.ASK, data=("question",), room=ANSWER_NONCE_BYTES),
)
"""Honest calls that have no place in a session; ASK has that of INFER."""


def each_command(calls: Sequence[Call]) -> dict[Command, Call]:
    """One honest call of each command, the first in a session."""
    found: dict[Command, Call] = {}
    for call in (*ANYTIME, *calls):
        found.setdefault(call.command, call)
    assert set(found) == set(Command), "say in ANYTIME how a new command is called"
    return found


def inference_of(calls: Sequence[Call]) -> list[Call]:
    """The part of honest calls that a loaded model repeats."""
    begin = next(i for i, call in enumerate(calls) if call.command is Command.INFER)
    return list(calls[begin:])


def scores(output: bytes) -> Array:
    """The network's output from its bytes."""
    return np.frombuffer(output, dtype="<f4").reshape(1, -1)


# ---- the board ----


def status(answer: Mapping[str, Any]) -> Status:
    """What a call on the board that was routed answered."""
    assert answer.get("result") == 0, answer
    return Status(answer["values"]["0"][0])


def add(steps: guest.Steps, calls: Sequence[Call], session: str = "s") -> list[int]:
    """Add honest calls to a batch; return their places.

    What a session spills is kept below its name.
    """

    def own(name: str) -> str:
        mine = session != "s" and name.startswith("spilled")
        return f"{session}-{name}" if mine else name

    places = []
    for call in calls:
        named = replace(
            call, keep=own(call.keep), data=tuple(own(name) for name in call.data)
        )
        places.append(steps.call(named.command, *named.params(), session=session))
    return places


def board_device_key() -> DevicePublicKey:
    """The key of the tests' board."""
    steps = guest.Steps()
    steps.open()
    place = steps.call(Command.DEVICE_KEY, ["value_inout", 0, 0], ["out", 256])
    answer = steps.run()[place]
    assert status(answer) == Status.OK
    written = answer["outputs"]["1"]
    return DevicePublicKey.from_cose_key(
        bytes.fromhex(written["memory"])[: written["size"]]
    )


@dataclass
class Batch:
    """Calls to the board with honest inferences among them, judged together."""

    attacked: Attacked
    calls: Sequence[Call]
    steps: guest.Steps = field(default_factory=guest.Steps)
    _honest: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.steps.blobs |= self.attacked.blobs()

    def honest(self, session: str = "s", *, loaded: bool = False) -> None:
        """Add an honest inference, whose answer `run` compares.

        Args:
            session: an open session; what it holds is closed, unless
            loaded: it holds the model, which is used.
        """
        if not loaded:
            self.steps.call(Command.CLOSE, ["value_inout", 0, 0], session=session)
        calls = inference_of(self.calls) if loaded else self.calls
        self._honest.append(add(self.steps, calls, session)[-1])

    def run(self, *, timeout_seconds: float = 400) -> list[dict[str, Any]]:
        """Run everything; hold that every honest answer is right."""
        answers = self.steps.run(timeout_seconds=timeout_seconds)
        assert self._honest
        for place in self._honest:
            assert status(answers[place]) == Status.OK, place
            output = bytes.fromhex(answers[place]["outputs"]["1"]["memory"])
            assert_right([scores(output)], [self.attacked.expected])
        return answers
