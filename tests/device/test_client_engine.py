# SPDX-License-Identifier: Apache-2.0
"""The client over the real engine: a good session, interrupted everywhere."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import undercroft as uc
from helpers import onnx_nets
from helpers.suites import SUITES
from undercroft._device.client import ModelClient
from undercroft._device.host import HostDevice, HostInvoker
from undercroft._device.invoker import Invoker, Reply
from undercroft._device.parcel import PageFile, Parcel
from undercroft._spec import Command, Status
from undercroft.errors import DeviceLostError, VerificationError
from undercroft.keys import DevicePublicKey
from undercroft.sealed import SealedModel

pytestmark = [
    pytest.mark.engine,
    pytest.mark.filterwarnings("ignore::undercroft._device.host.NoProtectionWarning"),
]


SMALL_BUDGET = "150KiB"
"""So little that most weights are streamed."""


@dataclass(frozen=True)
class Bench:
    """A device, a network sealed for it, an input and the right answer."""

    device: HostDevice
    sealed: Path
    license: bytes
    inputs: list[np.ndarray]
    expected: np.ndarray


@pytest.fixture(scope="module", params=SUITES)
def bench(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    device = HostDevice("host:?arena=2MiB", private_key=bytes(range(1, 33)))
    case = onnx_nets.case("mobile_network")
    key = uc.ProviderKey.generate()
    plan = uc.plan(
        case.model, budget=SMALL_BUDGET, page_bytes=4096, suite=request.param
    )
    path = tmp_path_factory.mktemp("bench") / "net.sealed"
    sealed = uc.seal(case.model, path, plan=plan, signing_key=key)
    permit = uc.issue_license(
        model_key=sealed.model_key,
        device=DevicePublicKey.from_cose_key(device.device_key()),
        signing_key=key,
    )
    inputs = list(onnx_nets.random_inputs(case).values())
    model = device.load(path, permit)
    outputs, _ = model.infer(inputs)
    model.close()
    yield Bench(device, path, permit, inputs, outputs[0])
    device.close()


class CutError(Exception):
    """Something of the normal world's own that ends an inference."""


class CuttingInvoker:
    """Passes commands on until one is cut, before or after it was done."""

    def __init__(self, inner: HostInvoker) -> None:
        self.inner = inner
        self.left: int | None = None
        self.after = False
        self.commands: list[Command] = []

    @property
    def buffer(self) -> memoryview:
        return self.inner.buffer

    @property
    def invocations(self) -> int:
        return self.inner.invocations

    def keep(self, file: PageFile, pages: range, step: int) -> int:
        return self.inner.keep(file, pages, step)

    def invoke(self, command: Command, **more: Any) -> Reply:
        self.commands.append(command)
        cut = self.left == 0
        if self.left is not None:
            self.left -= 1
        if cut and not self.after:
            raise CutError
        reply = self.inner.invoke(command, **more)
        if cut:
            raise CutError
        return reply

    def close(self) -> None:
        self.inner.close()


def small_buffer(invoker: Invoker) -> None:
    """Makes many small steps of few large ones."""
    invoker.buffer = invoker.buffer[:8300]  # type: ignore[misc]


def test_the_next_inference_is_right_wherever_the_last_was_cut(bench: Bench) -> None:
    inner = bench.device.open()
    small_buffer(inner)
    invoker = CuttingInvoker(inner)
    model = ModelClient(invoker, bench.sealed, bench.license)
    invoker.commands.clear()
    model.infer(bench.inputs)
    steps = len(invoker.commands)
    assert {Command.INFER, Command.INPUT, Command.PUSH, Command.OUTPUT} <= set(
        invoker.commands
    )
    assert steps > 12
    for after in (False, True):
        for step in range(steps):
            invoker.left, invoker.after = step, after
            with pytest.raises(CutError):
                model.infer(bench.inputs)
            invoker.left = None
            outputs, stats = model.infer(bench.inputs)
            assert np.array_equal(outputs[0], bench.expected), (step, after)
            assert stats.secure_peak_bytes <= stats.budget_bytes
    model.close()


def test_a_cut_loading_gives_all_secure_memory_back(bench: Bench) -> None:
    free = bench.device.info().free_bytes
    for step in range(1, 4):
        inner = bench.device.open()
        small_buffer(inner)
        invoker = CuttingInvoker(inner)
        invoker.left = step
        with pytest.raises(CutError):
            ModelClient(invoker, bench.sealed, bench.license)
        inner.close()
        assert bench.device.info().free_bytes == free


@pytest.mark.parametrize("seed", range(4))
def test_any_commands_in_any_order_and_then_a_good_session(
    bench: Bench, seed: int
) -> None:
    choose = random.Random(seed)
    parcel = Parcel.read(bench.sealed)
    invoker = bench.device.open()
    with PageFile(parcel) as pages:
        for _ in range(400):
            command = choose.choice(list(Command))
            size = choose.choice([0, 1, 4096, 4112, 8224, 60000])
            first = choose.randrange(parcel.header.page_count - 1)
            pages.read(first, 2, invoker.buffer)
            more: dict[str, Any] = {"values": (first, choose.randrange(3))}
            if command is Command.OPEN:
                more |= {"data1": parcel.header_bytes, "data2": bench.license}
            elif command in {Command.PUSH, Command.INPUT}:
                more["buffer_bytes"] = size
            else:
                more["output_bytes"] = size
            reply = invoker.invoke(command, **more)
            assert reply.status in set(Status)
            if reply.status != Status.OK:
                assert not any(reply.output)
    invoker.close()
    model = bench.device.load(bench.sealed, bench.license)
    outputs, _ = model.infer(bench.inputs)
    assert np.array_equal(outputs[0], bench.expected)
    model.close()


def test_pages_swapped_repeated_and_left_out(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = bench.device.load(bench.sealed, bench.license)
    read = PageFile.read

    def swapped(self: PageFile, first: int, count: int, into: memoryview) -> int:
        size = read(self, first, count, into)
        half = size // count
        one, two = bytes(into[:half]), bytes(into[half : 2 * half])
        into[:half], into[half : 2 * half] = two, one
        return size

    def repeated(self: PageFile, first: int, count: int, into: memoryview) -> int:
        size = read(self, first, count, into)
        half = size // count
        into[half : 2 * half] = bytes(into[:half])
        return size

    def of_another_place(
        self: PageFile, first: int, count: int, into: memoryview
    ) -> int:
        return read(self, first - 1, count, into)

    for trick in (swapped, repeated, of_another_place):
        with monkeypatch.context() as patch:
            patch.setattr(PageFile, "read", trick)
            with pytest.raises(VerificationError):
                model.infer(bench.inputs)
        outputs, _ = model.infer(bench.inputs)
        assert np.array_equal(outputs[0], bench.expected)
    model.close()


def test_no_changed_page_is_used(bench: Bench, tmp_path: Path) -> None:
    with SealedModel.open(bench.sealed) as sealed:
        header = sealed.header
        start = bench.sealed.stat().st_size - header.page_count * header.slot_bytes
    original = bench.sealed.read_bytes()
    changed = tmp_path / "changed.sealed"
    for page in range(header.page_count):
        # The ciphertext's first byte, its last, and the tag's last.
        for offset in (0, header.page_bytes - 1, header.slot_bytes - 1):
            data = bytearray(original)
            data[start + page * header.slot_bytes + offset] ^= 0x40
            changed.write_bytes(data)
            with pytest.raises(VerificationError):
                bench.device.load(changed, bench.license).infer(bench.inputs)


def test_two_models_side_by_side(bench: Bench) -> None:
    one, two = (bench.device.load(bench.sealed, bench.license) for _ in range(2))
    for model in (one, two, one):
        outputs, _ = model.infer(bench.inputs)
        assert np.array_equal(outputs[0], bench.expected)
    one.close()
    outputs, _ = two.infer(bench.inputs)
    assert np.array_equal(outputs[0], bench.expected)
    two.close()


def test_a_closed_session_and_a_closed_device() -> None:
    device = HostDevice(private_key=bytes(range(1, 33)))
    invoker = device.open()
    other = device.open()
    device.close()
    assert invoker.invoke(Command.INFO, output_bytes=64).status == Status.OK
    invoker.close()
    invoker.close()
    with pytest.raises(DeviceLostError, match="closed"):
        invoker.invoke(Command.INFO, output_bytes=64)
    other.close()
    with pytest.raises(DeviceLostError, match="closed"):
        device.open()
    device.close()


def test_a_device_collected_before_its_sessions() -> None:
    # In a cycle, garbage collection may take the device first.
    device = HostDevice(private_key=bytes(range(1, 33)))
    invoker = device.open()
    device.__del__()
    with pytest.raises(DeviceLostError, match="closed"):
        invoker.invoke(Command.INFO, output_bytes=64)
    invoker.close()


def test_an_arena_without_a_limit_takes_memory_only_when_used(bench: Bench) -> None:
    device = HostDevice("host:?arena=unlimited", private_key=bytes(range(1, 33)))
    assert device.info().arena_bytes > 1 << 31
    model = device.load(bench.sealed, bench.license)
    outputs, stats = model.infer(bench.inputs)
    assert np.array_equal(outputs[0], bench.expected)
    assert stats.secure_peak_bytes <= stats.budget_bytes
    model.close()
    device.close()
