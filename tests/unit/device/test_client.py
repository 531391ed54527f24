# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers.fakes import FakeInvoker
from helpers.provider import Shipment
from undercroft._device import client as client_module
from undercroft._device.client import ModelClient
from undercroft._device.invoker import Reply
from undercroft._device.parcel import Parcel
from undercroft._spec import Command, State, Status
from undercroft.errors import (
    DeviceError,
    DeviceLostError,
    FormatError,
    InputError,
    LicenseError,
    VerificationError,
)


def some_inputs() -> list[np.ndarray]:
    return [
        np.arange(192, dtype=np.float32).reshape(1, 3, 8, 8),
        np.array([0.5, 0.25], np.float32),
    ]


EXPECTED = float(np.arange(192).sum() + 0.75)


@pytest.fixture
def invoker(parcel: Parcel) -> FakeInvoker:
    return FakeInvoker(parcel)


def test_pushes_program_and_resident_pages_on_opening(
    invoker: FakeInvoker, sealed_path: Path, shipment: Shipment
) -> None:
    ModelClient(invoker, sealed_path, shipment.license)
    assert [index for index, _ in invoker.pushed] == [0, 1]
    assert invoker.license == shipment.license
    assert invoker.state is State.READY


def test_pages_are_the_files_own_bytes_in_order(
    invoker: FakeInvoker, parcel: Parcel, sealed_path: Path, shipment: Shipment
) -> None:
    model = ModelClient(invoker, sealed_path, shipment.license)
    model.infer(some_inputs())
    assert [index for index, _ in invoker.pushed] == list(range(10))
    file = sealed_path.read_bytes()
    assert b"".join(page for _, page in invoker.pushed) == file[parcel.pages_offset :]


def test_infers_and_reports_what_it_cost(
    invoker: FakeInvoker, sealed_path: Path, shipment: Shipment
) -> None:
    model = ModelClient(invoker, sealed_path, shipment.license)
    before = invoker.invocations
    outputs, stats = model.infer(some_inputs())
    assert [output.shape for output in outputs] == [(2, 5), (1,)]
    assert all((output == EXPECTED).all() for output in outputs)
    # INFER, 2 INPUTs, 8 pages in windows of 3, 2 OUTPUTs; STATS is not counted.
    assert stats.world_switches == 1 + 2 + 3 + 2
    assert invoker.invocations - before == stats.world_switches + 1
    assert stats.decrypted_bytes == 8 * 4096
    assert stats.secure_peak_bytes <= stats.budget_bytes
    assert stats.instructions is None


def test_runs_again(
    invoker: FakeInvoker, sealed_path: Path, shipment: Shipment
) -> None:
    model = ModelClient(invoker, sealed_path, shipment.license)
    for _ in range(3):
        outputs, _ = model.infer(some_inputs())
        assert (outputs[0] == EXPECTED).all()


def test_small_buffer_makes_small_steps(
    parcel: Parcel, sealed_path: Path, shipment: Shipment
) -> None:
    slot = parcel.header.slot_bytes
    invoker = FakeInvoker(parcel, buffer_bytes=slot + 3, window_pages=8)
    model = ModelClient(invoker, sealed_path, shipment.license)
    outputs, _ = model.infer(some_inputs())
    assert (outputs[0] == EXPECTED).all()
    assert invoker.commands.count(Command.PUSH) == 10


def test_obeys_the_advice_of_the_device(
    parcel: Parcel, sealed_path: Path, shipment: Shipment
) -> None:
    invoker = FakeInvoker(parcel, advised_pages=2, window_pages=8)
    ModelClient(invoker, sealed_path, shipment.license).infer(some_inputs())
    assert invoker.commands.count(Command.PUSH) == 1 + 4


@pytest.mark.parametrize("keeps_pages", [0, 1, 3, 5, 8])
def test_pages_that_are_kept_are_not_read_again(
    parcel: Parcel, sealed_path: Path, shipment: Shipment, keeps_pages: int
) -> None:
    slot = parcel.header.slot_bytes
    invoker = FakeInvoker(
        parcel, buffer_bytes=3 * slot, window_pages=8, keeps_pages=keeps_pages
    )
    model = ModelClient(invoker, sealed_path, shipment.license)
    sealed_path.write_bytes(bytes(sealed_path.stat().st_size))
    for _ in range(2):
        invoker.pushed.clear()
        invoker.kept_pushes.clear()
        outputs, _ = model.infer(some_inputs())
        assert (outputs[0] == EXPECTED).all()
        assert [index for index, _ in invoker.pushed] == list(range(2, 10))
        kept = [page for page in range(8) if any(invoker.pushed[page][1])]
        assert kept == list(range(keeps_pages))
        assert sum(count for _, count in invoker.kept_pushes) == keeps_pages


def test_large_inputs_and_outputs_go_in_pieces(tmp_path: Path) -> None:
    from helpers.provider import FakePlan, ship
    from undercroft.tensor import TensorInfo

    plan = FakePlan(
        inputs=(TensorInfo("x", (3000,)),),
        outputs=(TensorInfo("y", (2500,)),),
    )
    shipped = ship(plan)
    path = tmp_path / "m.sealed"
    path.write_bytes(shipped.sealed)
    invoker = FakeInvoker(Parcel.read(path), buffer_bytes=4112)
    model = ModelClient(invoker, path, shipped.license)
    outputs, _ = model.infer([np.ones(3000, np.float32)])
    assert (outputs[0] == 3000).all()
    assert invoker.commands.count(Command.INPUT) == 3
    assert invoker.commands.count(Command.OUTPUT) == 3


def test_a_page_that_fits_no_buffer(
    parcel: Parcel, sealed_path: Path, shipment: Shipment
) -> None:
    invoker = FakeInvoker(parcel, buffer_bytes=4096)
    with pytest.raises(DeviceError, match="4112 bytes does not fit"):
        ModelClient(invoker, sealed_path, shipment.license)


@pytest.mark.parametrize("size", [0, 4097])
def test_license_of_a_size_that_cannot_be(
    invoker: FakeInvoker, sealed_path: Path, size: int
) -> None:
    with pytest.raises(LicenseError, match=str(size)):
        ModelClient(invoker, sealed_path, bytes(size))


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (Status.WRONG_DEVICE, LicenseError),
        (Status.NOT_AUTHENTIC, VerificationError),
        (Status.BAD_HEADER, FormatError),
        (0x7777, DeviceError),
    ],
)
def test_refused_opening_raises_what_the_status_means(
    parcel: Parcel,
    sealed_path: Path,
    shipment: Shipment,
    status: int,
    error: type[Exception],
) -> None:
    def trap(command: Command, _: int) -> Reply | None:
        return Reply(status) if command is Command.OPEN else None

    with pytest.raises(error, match="OPEN"):
        ModelClient(FakeInvoker(parcel, trap=trap), sealed_path, shipment.license)


@pytest.mark.parametrize(
    "command", [Command.INFER, Command.INPUT, Command.PUSH, Command.OUTPUT]
)
def test_the_next_inference_works_after_a_refused_command(
    parcel: Parcel, sealed_path: Path, shipment: Shipment, command: Command
) -> None:
    armed = False

    def trap(asked: Command, _: int) -> Reply | None:
        nonlocal armed
        if armed and asked is command:
            armed = False
            return Reply(Status.NOT_AUTHENTIC)
        return None

    model = ModelClient(FakeInvoker(parcel, trap=trap), sealed_path, shipment.license)
    armed = True
    with pytest.raises(VerificationError):
        model.infer(some_inputs())
    outputs, _ = model.infer(some_inputs())
    assert (outputs[0] == EXPECTED).all()


def test_the_next_inference_works_after_a_failure_of_our_own(
    invoker: FakeInvoker,
    sealed_path: Path,
    shipment: Shipment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = ModelClient(invoker, sealed_path, shipment.license)
    with monkeypatch.context() as patch:

        def broken(*_: object) -> int:
            raise KeyboardInterrupt

        patch.setattr(client_module.PageFile, "read", broken)
        with pytest.raises(KeyboardInterrupt):
            model.infer(some_inputs())
    assert invoker.state is State.RUNNING
    outputs, _ = model.infer(some_inputs())
    assert (outputs[0] == EXPECTED).all()


def test_a_device_that_is_out_of_order_by_itself_is_not_asked_twice(
    parcel: Parcel, sealed_path: Path, shipment: Shipment
) -> None:
    def trap(command: Command, _: int) -> Reply | None:
        return Reply(Status.BAD_STATE) if command is Command.INFER else None

    invoker = FakeInvoker(parcel, trap=trap)
    model = ModelClient(invoker, sealed_path, shipment.license)
    with pytest.raises(DeviceError):
        model.infer(some_inputs())
    assert invoker.commands.count(Command.INFER) == 1


def test_wrong_inputs_do_not_reach_the_device(
    invoker: FakeInvoker, sealed_path: Path, shipment: Shipment
) -> None:
    model = ModelClient(invoker, sealed_path, shipment.license)
    before = invoker.invocations
    with pytest.raises(InputError, match="1 inputs were given; the model has 2"):
        model.infer(some_inputs()[:1])
    with pytest.raises(InputError, match=r"'b' is float32 \(3,\); expected"):
        model.infer([some_inputs()[0], np.zeros(3, np.float32)])
    with pytest.raises(InputError, match="float64"):
        model.infer([some_inputs()[0], np.zeros(2)])
    assert invoker.invocations == before


def test_a_device_that_asks_for_pages_that_do_not_exist(
    parcel: Parcel, sealed_path: Path, shipment: Shipment
) -> None:
    def trap(command: Command, _: int) -> Reply | None:
        if command is Command.OPEN:
            return Reply(Status.OK, want_first=9, want_count=2)
        return None

    with pytest.raises(FormatError, match="2 pages from 9 on; there are 10"):
        ModelClient(FakeInvoker(parcel, trap=trap), sealed_path, shipment.license)


def test_a_device_that_gives_too_little_output(
    parcel: Parcel, sealed_path: Path, shipment: Shipment
) -> None:
    def trap(command: Command, _: int) -> Reply | None:
        return Reply(0, output=b"1234") if command is Command.OUTPUT else None

    model = ModelClient(FakeInvoker(parcel, trap=trap), sealed_path, shipment.license)
    with pytest.raises(DeviceError, match=r"4 bytes of output 'sum' where 40"):
        model.infer(some_inputs())


def test_a_device_that_is_never_ready(
    parcel: Parcel, sealed_path: Path, shipment: Shipment
) -> None:
    def trap(command: Command, _: int) -> Reply | None:
        return Reply(0, state=State.LOADING) if command is Command.PUSH else None

    with pytest.raises(DeviceError, match="not READY"):
        ModelClient(FakeInvoker(parcel, trap=trap), sealed_path, shipment.license)


def test_a_file_that_is_cut_while_in_use(
    invoker: FakeInvoker, sealed_path: Path, shipment: Shipment
) -> None:
    model = ModelClient(invoker, sealed_path, shipment.license)
    with sealed_path.open("rb+") as file:
        file.truncate(len(shipment.sealed) - 100)
    with pytest.raises(FormatError, match="became shorter"):
        model.infer(some_inputs())
    sealed_path.write_bytes(shipment.sealed)
    outputs, _ = model.infer(some_inputs())
    assert (outputs[0] == EXPECTED).all()


def test_a_replaced_file_does_not_disturb_a_loaded_model(
    invoker: FakeInvoker, sealed_path: Path, shipment: Shipment, tmp_path: Path
) -> None:
    model = ModelClient(invoker, sealed_path, shipment.license)
    other = tmp_path / "other"
    other.write_bytes(b"something else")
    other.replace(sealed_path)
    outputs, _ = model.infer(some_inputs())
    assert (outputs[0] == EXPECTED).all()


def test_close_closes_once_and_survives_a_dead_device(
    parcel: Parcel, sealed_path: Path, shipment: Shipment
) -> None:
    def trap(command: Command, _: int) -> Reply | None:
        if command is Command.CLOSE:
            raise DeviceLostError("gone")
        return None

    invoker = FakeInvoker(parcel, trap=trap)
    model = ModelClient(invoker, sealed_path, shipment.license)
    model.close()
    model.close()
    assert invoker.closed
    assert invoker.commands.count(Command.CLOSE) == 1


def test_instruction_clock(
    invoker: FakeInvoker,
    sealed_path: Path,
    shipment: Shipment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_module, "counts_instructions", lambda: True)
    model = ModelClient(invoker, sealed_path, shipment.license)
    _, stats = model.infer(some_inputs())
    assert stats.instructions is not None
    assert stats.instructions == pytest.approx(stats.seconds * 1e9)
