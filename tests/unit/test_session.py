# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers.fakes import FakeDevice
from helpers.provider import FakePlan, Shipment, ship
from undercroft._device.invoker import Reply
from undercroft._spec import Command, Status
from undercroft.errors import (
    DeviceLostError,
    DeviceStateError,
    FileAccessError,
    FormatError,
    InputError,
    LicenseError,
    VerificationError,
)
from undercroft.session import InferenceSession
from undercroft.tensor import TensorInfo


@pytest.fixture(scope="module")
def shipment() -> Shipment:
    return ship(
        FakePlan(
            inputs=(TensorInfo("a", (1, 3)), TensorInfo("b", (2,))),
            outputs=(TensorInfo("y", (4,)), TensorInfo("z", (1, 2))),
        )
    )


@pytest.fixture
def sealed_path(shipment: Shipment, tmp_path: Path) -> Path:
    path = tmp_path / "model.sealed"
    path.write_bytes(shipment.sealed)
    return path


@pytest.fixture
def device(sealed_path: Path) -> FakeDevice:
    return FakeDevice(sealed_path)


@pytest.fixture
def session(
    sealed_path: Path, shipment: Shipment, device: FakeDevice
) -> InferenceSession:
    return InferenceSession(sealed_path, license=shipment.license, device=device)


FEED = {
    "a": np.array([[1, 2, 3]], np.float32),
    "b": np.array([10, 20], np.float32),
}


def test_inputs_and_outputs_read_like_onnxruntimes(session: InferenceSession) -> None:
    first = session.get_inputs()[0]
    assert (first.name, first.shape, first.type) == ("a", (1, 3), "tensor(float)")
    assert [info.name for info in session.get_outputs()] == ["y", "z"]


def test_run(session: InferenceSession) -> None:
    assert session.last_stats is None
    y, z = session.run(None, FEED)
    assert y.shape == (4,)
    assert z.tolist() == [[36, 36]]
    assert session.last_stats is not None
    assert session.last_stats.decrypted_bytes == 2 * 4096


def test_outputs_in_the_order_asked_for(session: InferenceSession) -> None:
    z, y = session.run(["z", "y"], FEED)
    assert (z.shape, y.shape) == ((1, 2), (4,))
    assert len(session.run([], FEED)) == 2
    assert len(session.run(("z",), FEED)) == 1


def test_arrays_may_lie_as_they_like(session: InferenceSession) -> None:
    strided = np.zeros((3, 1), np.float32)
    strided[:, 0] = [1, 2, 3]
    big_endian = np.array([10, 20], ">f4").astype(np.float32)
    (y, _) = session.run(None, {"a": strided.T, "b": big_endian})
    assert y[0] == 36


@pytest.mark.parametrize(
    ("names", "feed", "says"),
    [
        (None, {"a": FEED["a"]}, "missing input 'b'"),
        (None, {}, "missing input 'a', 'b'"),
        (None, {**FEED, "c": FEED["b"]}, "no input 'c'; it has 'a', 'b'"),
        (
            None,
            {**FEED, "a": FEED["a"].T},
            r"'a' has shape \[3, 1\]; expected float32 \[1, 3\]",
        ),
        (None, {**FEED, "b": np.zeros(2)}, "'b' has type float64; expected float32"),
        (None, {**FEED, "b": [1.0, 2.0]}, "'b' has type float64"),
        (None, {**FEED, "b": np.array([10, 20], ">f4")}, "'b' has type >f4"),
        (None, {**FEED, "b": [[1], [1, 2]]}, "'b' is no array"),
        (None, {**FEED, "b": None}, "'b' has type object"),
        (["q"], FEED, "no output 'q'; it has 'y', 'z'"),
        ("y", FEED, "output_names is the text 'y'"),
        (None, [FEED["a"]], "the inputs are a list"),
    ],
)
def test_wrong_calls_say_what_was_expected(
    session: InferenceSession,
    device: FakeDevice,
    names: object,
    feed: object,
    says: str,
) -> None:
    before = device.opened[0].invocations
    with pytest.raises(InputError, match=says):
        session.run(names, feed)  # type: ignore[arg-type]
    assert device.opened[0].invocations == before


def test_run_options_are_refused(session: InferenceSession) -> None:
    with pytest.raises(InputError, match="run_options"):
        session.run(None, FEED, object())  # type: ignore[arg-type]


def test_license_from_a_file(
    sealed_path: Path, shipment: Shipment, device: FakeDevice, tmp_path: Path
) -> None:
    path = tmp_path / "device.license"
    path.write_bytes(shipment.license)
    with InferenceSession(sealed_path, license=path, device=device):
        assert device.opened[0].license == shipment.license
    with InferenceSession(sealed_path, license=str(path), device=device):
        assert device.opened[1].license == shipment.license


def test_files_that_are_not_there(
    sealed_path: Path, shipment: Shipment, device: FakeDevice, tmp_path: Path
) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(FileAccessError, match="missing"):
        InferenceSession(sealed_path, license=missing, device=device)
    with pytest.raises(FileAccessError, match="missing"):
        InferenceSession(missing, license=shipment.license, device=device)


def test_files_that_are_something_else(
    sealed_path: Path, shipment: Shipment, device: FakeDevice
) -> None:
    with pytest.raises(FormatError, match="license"):
        InferenceSession(sealed_path, license=sealed_path, device=device)
    sealed_path.write_bytes(b"PK\3\4")
    with pytest.raises(FormatError, match="not a sealed model"):
        InferenceSession(sealed_path, license=shipment.license, device=device)


def test_a_refused_model_leaves_no_session(
    sealed_path: Path, shipment: Shipment
) -> None:
    def trap(command: Command, _: int) -> Reply | None:
        return Reply(Status.WRONG_MODEL) if command is Command.OPEN else None

    device = FakeDevice(sealed_path, trap=trap)
    with pytest.raises(LicenseError):
        InferenceSession(sealed_path, license=shipment.license, device=device)
    assert device.opened[0].closed
    assert not device.is_closed


def test_close(session: InferenceSession, device: FakeDevice) -> None:
    session.close()
    session.close()
    assert device.opened[0].closed
    # The device was the caller's.
    assert not device.is_closed
    with pytest.raises(DeviceStateError, match="closed"):
        session.run(None, FEED)


def test_the_next_run_works_after_a_refused_page(
    sealed_path: Path, shipment: Shipment
) -> None:
    def trap(command: Command, count: int) -> Reply | None:
        # The first PUSH loads the model.
        late = command is Command.PUSH and count == 2
        return Reply(Status.NOT_AUTHENTIC) if late else None

    device = FakeDevice(sealed_path, trap=trap)
    with InferenceSession(sealed_path, license=shipment.license, device=device) as it:
        with pytest.raises(VerificationError):
            it.run(None, FEED)
        assert it.run(None, FEED)[0][0] == 36
    assert len(device.opened) == 1


def test_the_next_run_loads_again_after_the_device_was_lost(
    sealed_path: Path, shipment: Shipment
) -> None:
    def trap(command: Command, _: int) -> Reply | None:
        if command is Command.INFER and len(device.opened) == 1:
            raise DeviceLostError("the Trusted Application died")
        return None

    device = FakeDevice(sealed_path, trap=trap)
    with InferenceSession(sealed_path, license=shipment.license, device=device) as it:
        with pytest.raises(DeviceLostError):
            it.run(None, FEED)
        assert device.opened[0].closed
        assert it.run(None, FEED)[0][0] == 36
    assert [invoker.closed for invoker in device.opened] == [True, True]
