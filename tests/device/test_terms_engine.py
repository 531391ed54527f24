# SPDX-License-Identifier: Apache-2.0
"""Conditions of licenses on the host engine, as a provider and an app meet them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import undercroft as uc
from helpers import onnx_nets
from undercroft._device.host import HostDevice
from undercroft._spec import Status
from undercroft.errors import DeviceError, FormatError, LicenseError
from undercroft.keys import DevicePublicKey, ModelKey
from undercroft.update import (
    Revocation,
    Successor,
    VersionFloor,
    issue_update,
)

pytestmark = [
    pytest.mark.engine,
    pytest.mark.filterwarnings("ignore::undercroft._device.host.NoProtectionWarning"),
]
PRIVATE = bytes(range(1, 33))


@dataclass
class Trial:
    """A provider, its model in some versions, and one device."""

    folder: Path
    state: Path
    key: uc.ProviderKey
    model_key: ModelKey
    devices: list[HostDevice] = field(default_factory=list)

    def device(self) -> HostDevice:
        """The device, started anew."""
        device = HostDevice("host:?arena=2MiB", private_key=PRIVATE, state=self.state)
        self.devices.append(device)
        return device

    def license(self, issued_at: int | None = None, **terms: Any) -> bytes:
        device = self.device()
        return uc.issue_license(
            model_key=self.model_key,
            device=DevicePublicKey.from_cose_key(device.device_key()),
            signing_key=self.key,
            terms=uc.LicenseTerms(**terms),
            issued_at=issued_at,
        )

    def update(self, **claims: Any) -> None:
        self.device().update(issue_update(signing_key=self.key, **claims))

    def sealed(self, version: int = 1) -> Path:
        return self.folder / f"{version}.sealed"

    def load(self, permit: bytes, version: int = 1) -> Any:
        return self.device().load(self.sealed(version), permit)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    folder = tmp_path_factory.mktemp("terms")
    key = uc.ProviderKey.generate()
    model_key = ModelKey.generate()
    model_key.save(folder / "model.key")
    case = onnx_nets.case("mobile_network")
    plan = uc.plan(case.model, budget="1MiB", page_bytes=4096)
    for version in (1, 2, 3):
        uc.seal(
            case.model,
            folder / f"{version}.sealed",
            plan=plan,
            signing_key=key,
            key_file=folder / "model.key",
            model_version=version,
        )
    return Trial(folder, folder, key, model_key)


@pytest.fixture
def trial(sealed: Trial, tmp_path: Path) -> Iterator[Trial]:
    trial = Trial(
        sealed.folder, tmp_path / "device.state", sealed.key, sealed.model_key
    )
    yield trial
    for device in trial.devices:
        device.close()


@pytest.fixture(scope="module")
def inputs() -> list[np.ndarray]:
    return list(onnx_nets.random_inputs(onnx_nets.case("mobile_network")).values())


def refusal(call: Any, *arguments: Any) -> LicenseError:
    with pytest.raises(LicenseError) as caught:
        call(*arguments)
    assert caught.value.hint
    return caught.value


def test_a_count_holds_over_sessions_and_restarts(trial, inputs):
    permit = trial.license(max_inferences=5)
    for _ in range(2):
        model = trial.load(permit)
        model.infer(inputs)
        model.infer(inputs)
        model.close()
    model = trial.load(permit)
    model.infer(inputs)
    error = refusal(model.infer, inputs)
    assert error.status == Status.USED_UP
    assert "new license" in error.hint
    model.close()
    assert refusal(trial.load, permit).status == Status.USED_UP


def test_a_session_that_is_never_closed_loses_its_batch_and_no_more(trial, inputs):
    permit = trial.license(max_inferences=65)
    lost = trial.load(permit)
    lost.infer(inputs)
    # As after a crash: the file says what a new process would find.
    after = trial.state.read_bytes()
    lost.close()
    trial.state.write_bytes(after)
    model = trial.load(permit)
    model.infer(inputs)
    assert refusal(model.infer, inputs).status == Status.USED_UP


def test_a_rate_says_how_long_to_wait(trial, inputs):
    model = trial.load(trial.license(rate=(2, 3600)))
    model.infer(inputs)
    model.infer(inputs)
    error = refusal(model.infer, inputs)
    assert error.status == Status.RATE
    assert 1700 < error.detail <= 1801
    assert f"in {error.detail} s" in error.message


def test_an_end_needs_the_time(trial, inputs):
    now = int(time.time())
    permit = trial.license(expires=now + 1000)
    error = refusal(trial.load, permit)
    assert error.status == Status.NO_TIME
    assert "undercroft update apply" in error.hint
    trial.update()
    model = trial.load(permit)
    model.infer(inputs)
    trial.update(issued_at=now + 1000)
    assert refusal(trial.load, permit).status == Status.EXPIRED
    # Another process told the time to the same storage: the session that is
    # open finds out with its next batch, and no later.
    for _ in range(63):
        model.infer(inputs)
    assert refusal(model.infer, inputs).status == Status.EXPIRED
    # Time does not go back.
    trial.update(issued_at=now)
    assert refusal(trial.load, permit).status == Status.EXPIRED


def test_an_update_is_felt_by_a_session_that_is_open(trial, inputs):
    permit = trial.license(issued_at=1000)
    device = trial.device()
    model = device.load(trial.sealed(), permit)
    model.infer(inputs)
    revocation = Revocation(trial.model_key.model_id, 1001)
    device.update(
        issue_update(signing_key=trial.key, version=1, revocations=[revocation])
    )
    assert refusal(model.infer, inputs).status == Status.REVOKED
    model.close()
    anew = trial.license(issued_at=1001)
    trial.load(anew).infer(inputs)


def test_a_device_that_is_not_meant_goes_on(trial, inputs):
    revocation = Revocation(trial.model_key.model_id, 2**32 - 1, bytes(32))
    trial.update(version=1, revocations=[revocation])
    trial.load(trial.license()).infer(inputs)


def test_versions_do_not_go_back(trial, inputs):
    permit = trial.license()
    for version in (1, 2, 1):
        if version == 1 and trial.state.exists():
            error = refusal(trial.load, permit, 1)
            assert error.status == Status.MODEL_TOO_OLD
            assert "version 2 is the lowest" in error.message
            break
        trial.load(permit, version).close()
    trial.update(version=1, floors=[VersionFloor(trial.model_key.model_id, 3)])
    assert refusal(trial.load, permit, 2).detail == 3
    trial.load(permit, 3).infer(inputs)


def test_a_license_waits_for_an_update(trial, inputs):
    permit = trial.license(update_floor=2)
    trial.update(version=1)
    assert refusal(trial.load, permit).status == Status.UPDATE_NEEDED
    trial.update(version=2)
    trial.load(permit).infer(inputs)
    error = refusal(lambda: trial.update(version=1))
    assert error.status == Status.OUTDATED_UPDATE


def test_a_retired_key_opens_nothing(trial):
    permit = trial.license()
    successor = uc.ProviderKey.generate()
    trial.update(version=1, successor=Successor(successor.public(), retire=True))
    assert refusal(trial.load, permit).status == Status.UNTRUSTED_PROVIDER
    trial.device().update(issue_update(signing_key=successor, version=2))


def test_a_storage_that_cannot_be_written_begins_nothing(trial, inputs, tmp_path):
    permit = trial.license(max_inferences=100)
    model = trial.load(permit)
    folder = tmp_path / "gone"
    folder.mkdir()
    device = HostDevice(
        "host:?arena=2MiB", private_key=PRIVATE, state=folder / "device.state"
    )
    model = device.load(trial.sealed(), permit)
    folder.rmdir()
    for _ in range(2):
        with pytest.raises(DeviceError) as caught:
            model.infer(inputs)
        assert caught.value.status == Status.STORAGE
    folder.mkdir()
    model.infer(inputs)
    model.close()
    device.close()


def test_a_damaged_state_opens_nothing(trial):
    permit = trial.license()
    trial.state.write_bytes(b"damaged")
    with pytest.raises(DeviceError) as caught:
        trial.load(permit)
    assert caught.value.status == Status.STORAGE


def test_an_update_that_is_none(trial):
    with pytest.raises(FormatError, match="update"):
        trial.device().update(b"no update")
    with pytest.raises(FormatError, match="update"):
        trial.device().update(b"")
