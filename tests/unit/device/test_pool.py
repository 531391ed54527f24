# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers.fakes import FakeDevice
from helpers.provider import Shipment
from undercroft._device.faults import RequestError
from undercroft._device.invoker import Reply
from undercroft._device.pool import ModelPool
from undercroft._device.store import ModelStore
from undercroft._spec import Command, Status
from undercroft.errors import DeviceLostError, LicenseError, SecureMemoryError

INPUTS = [np.ones((1, 3, 8, 8), np.float32), np.ones(2, np.float32)]


@pytest.fixture
def store(tmp_path: Path, shipment: Shipment) -> ModelStore:
    store = ModelStore(tmp_path / "agent")
    for name in ("one", "two", "three"):
        with store.receive(1 << 20, None) as upload:
            upload.write(shipment.sealed)
            store.install_sealed(name, upload)
        with store.receive(4096, None) as upload:
            upload.write(shipment.license)
            store.install_license(name, upload)
    return store


class RoomFor:
    """A trap: a device with secure memory for so many models."""

    def __init__(self, models: int) -> None:
        self.models = models
        self.device: FakeDevice | None = None

    def __call__(self, command: Command, _: int) -> Reply | None:
        assert self.device is not None
        loaded = sum(
            not invoker.closed and invoker.license is not None
            for invoker in self.device.opened
        )
        if command is Command.OPEN and loaded >= self.models:
            return Reply(Status.NO_SECURE_MEMORY, detail=3)
        return None


def small_device(sealed_path: Path, models: int) -> FakeDevice:
    trap = RoomFor(models)
    trap.device = FakeDevice(sealed_path, trap=trap)
    return trap.device


def test_load_infer_unload(store: ModelStore, sealed_path: Path) -> None:
    device = FakeDevice(sealed_path)
    pool = ModelPool(device, store)
    pool.load("one", evictable=False)
    assert pool.loaded == {"one"}
    outputs, stats = pool.infer("one", INPUTS)
    assert outputs["sum"][0, 0] == 194
    assert stats.inferences == 1
    pool.unload("one")
    assert pool.loaded == set()
    assert all(invoker.closed for invoker in device.opened)
    with pytest.raises(RequestError, match="not loaded") as error:
        pool.infer("one", INPUTS)
    assert error.value.http_status == 409


def test_loading_twice_opens_once(store: ModelStore, sealed_path: Path) -> None:
    device = FakeDevice(sealed_path)
    pool = ModelPool(device, store)
    pool.load("one", evictable=False)
    pool.load("one", evictable=False)
    assert len(device.opened) == 1


def test_new_files_are_loaded_anew(
    store: ModelStore, sealed_path: Path, shipment: Shipment
) -> None:
    device = FakeDevice(sealed_path)
    pool = ModelPool(device, store)
    pool.load("one", evictable=False)
    with store.receive(4096, None) as upload:
        upload.write(shipment.license)
        store.install_license("one", upload)
    pool.load("one", evictable=False)
    assert [invoker.closed for invoker in device.opened] == [True, False]


def test_a_session_model_makes_room_the_oldest_first(
    store: ModelStore, sealed_path: Path
) -> None:
    pool = ModelPool(small_device(sealed_path, 2), store)
    pool.load("one", evictable=True)
    pool.load("two", evictable=True)
    pool.infer("one", INPUTS)
    pool.load("three", evictable=True)
    assert pool.loaded == {"one", "three"}
    assert "make room" in pool.reason("two")


def test_a_pinned_model_stays(store: ModelStore, sealed_path: Path) -> None:
    pool = ModelPool(small_device(sealed_path, 1), store)
    pool.load("one", evictable=False)
    with pytest.raises(SecureMemoryError, match="3 KiB free"):
        pool.load("two", evictable=True)
    assert pool.loaded == {"one"}
    assert "secure memory" in pool.reason("two")


def test_a_session_does_not_unpin(store: ModelStore, sealed_path: Path) -> None:
    pool = ModelPool(small_device(sealed_path, 1), store)
    pool.load("one", evictable=False)
    pool.load("one", evictable=True)
    with pytest.raises(SecureMemoryError):
        pool.load("two", evictable=True)


def test_refused_license(store: ModelStore, sealed_path: Path) -> None:
    def trap(command: Command, _: int) -> Reply | None:
        return Reply(Status.WRONG_DEVICE) if command is Command.OPEN else None

    device = FakeDevice(sealed_path, trap=trap)
    pool = ModelPool(device, store)
    with pytest.raises(LicenseError):
        pool.load("one", evictable=False)
    assert pool.loaded == set()
    assert "another device" in pool.reason("one")
    assert device.opened[0].closed


def test_a_lost_device_unloads_and_can_be_loaded_again(
    store: ModelStore, sealed_path: Path
) -> None:
    def trap(command: Command, _: int) -> Reply | None:
        if command is Command.INPUT and len(device.opened) == 1:
            raise DeviceLostError("the Trusted Application died")
        return None

    device = FakeDevice(sealed_path, trap=trap)
    pool = ModelPool(device, store)
    pool.load("one", evictable=False)
    with pytest.raises(DeviceLostError):
        pool.infer("one", INPUTS)
    assert pool.loaded == set()
    assert "died" in pool.reason("one")
    pool.load("one", evictable=False)
    outputs, _ = pool.infer("one", INPUTS)
    assert outputs["sum"][0, 0] == 194


def test_close_closes_everything(store: ModelStore, sealed_path: Path) -> None:
    device = FakeDevice(sealed_path)
    pool = ModelPool(device, store)
    pool.load("one", evictable=False)
    pool.load("two", evictable=True)
    pool.close()
    assert all(invoker.closed for invoker in device.opened)
    assert device.is_closed
