# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from helpers.provider import Shipment
from undercroft._device import store as store_module
from undercroft._device.faults import RequestError
from undercroft._device.store import ModelStore
from undercroft.errors import FormatError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "agent"


@pytest.fixture
def store(folder: Path) -> ModelStore:
    return ModelStore(folder)


def put(store: ModelStore, name: str, sealed: bytes) -> str:
    with store.receive(1 << 20, len(sealed)) as upload:
        upload.write(sealed)
        return store.install_sealed(name, upload)


def left_over(folder: Path) -> list[Path]:
    return list((folder / "incoming").iterdir())


def test_what_is_put_is_there_whole(
    store: ModelStore, folder: Path, shipment: Shipment
) -> None:
    digest = put(store, "m", shipment.sealed)
    assert digest == hashlib.sha256(shipment.sealed).hexdigest() == store.sha256("m")
    assert store.names() == ["m"]
    assert store.parcel("m").header == shipment.header
    assert store.sealed_path("m").read_bytes() == shipment.sealed
    assert left_over(folder) == []


def test_license(store: ModelStore, shipment: Shipment) -> None:
    put(store, "m", shipment.sealed)
    assert not store.has_license("m")
    with pytest.raises(RequestError, match="no license") as error:
        store.license("m")
    assert error.value.http_status == 409
    with store.receive(4096, None) as upload:
        upload.write(shipment.license)
        store.install_license("m", upload)
    assert store.license("m") == shipment.license


def test_version_changes_with_each_upload(
    store: ModelStore, shipment: Shipment
) -> None:
    put(store, "m", shipment.sealed)
    first = store.version("m")
    assert store.version("m") == first
    put(store, "m", shipment.sealed)
    assert store.version("m") != first


def test_something_else_than_a_sealed_model_changes_nothing(
    store: ModelStore, folder: Path, shipment: Shipment
) -> None:
    put(store, "m", shipment.sealed)
    with pytest.raises(FormatError, match="the upload is not a sealed model"):
        put(store, "m", b"PK\3\4 something")
    with pytest.raises(FormatError, match="truncated"):
        put(store, "m", shipment.sealed[:-1])
    assert store.sealed_path("m").read_bytes() == shipment.sealed
    assert left_over(folder) == []


def test_an_upload_that_ends_early_leaves_nothing(
    store: ModelStore, folder: Path, shipment: Shipment
) -> None:
    with store.receive(1 << 20, None) as upload:
        upload.write(shipment.sealed[:5000])
        assert left_over(folder) != []
    assert left_over(folder) == []
    assert store.names() == []


def test_unfinished_uploads_of_a_killed_agent_are_dropped(folder: Path) -> None:
    (folder / "incoming").mkdir(parents=True)
    (folder / "incoming" / "x.part").write_bytes(b"half")
    ModelStore(folder)
    assert left_over(folder) == []


@pytest.mark.parametrize("declared", [None, 5000])
def test_too_large(store: ModelStore, folder: Path, declared: int | None) -> None:

    def send() -> None:
        with store.receive(4096, declared) as upload:
            upload.write(bytes(4096))
            upload.write(b"1")

    with pytest.raises(RequestError, match="4096 are allowed") as error:
        send()
    assert error.value.http_status == 413
    assert left_over(folder) == []


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a\0", "x" * 65, "ä", "a b", "../m", "m\n"]
)
def test_bad_names(store: ModelStore, name: str) -> None:
    for use in (store.sealed_path, store.parcel, store.license, store.remove):
        with pytest.raises(RequestError, match="not a model name") as error:
            use(name)
        assert error.value.http_status == 400


def test_unknown_model(store: ModelStore) -> None:
    for use in (store.parcel, store.remove):
        with pytest.raises(RequestError, match="no model 'm'") as error:
            use("m")
        assert error.value.http_status == 404
    assert store.sha256("m") is None


def test_remove(store: ModelStore, shipment: Shipment) -> None:
    put(store, "m", shipment.sealed)
    store.remove("m")
    assert store.names() == []


def test_disk_full_before_an_upload(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch, shipment: Shipment
) -> None:
    put(store, "mine", shipment.sealed)
    put(store, "session-old", shipment.sealed)
    monkeypatch.setattr(
        store_module.shutil, "disk_usage", lambda _: SimpleNamespace(free=10)
    )
    with pytest.raises(RequestError, match="10 are free") as error:
        store.receive(1 << 20, 100)
    assert error.value.http_status == 507
    # What sessions brought along goes first; what somebody put there stays.
    assert store.names() == ["mine"]


def test_disk_full_during_an_upload(store: ModelStore, folder: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.fail("this test needs /dev/full")

    def send() -> None:
        with store.receive(1 << 20, None) as upload:
            upload._file = open("/dev/full", "wb")  # noqa: SIM115, PTH123
            upload.write(bytes(1 << 18))
            upload.finish()

    with pytest.raises(RequestError, match="No space left") as error:
        send()
    assert error.value.http_status == 507
    assert left_over(folder) == []


def test_trim_keeps_the_newest_sessions_and_those_in_use(
    store: ModelStore, folder: Path, shipment: Shipment
) -> None:
    put(store, "mine", shipment.sealed)
    for index in range(20):
        put(store, f"session-{index:02}", shipment.sealed)
        os.utime(folder / "models" / f"session-{index:02}", (index, index))
    store.trim({"session-01"})
    kept = store.names()
    assert kept == ["mine", "session-01", *(f"session-{i:02}" for i in range(4, 20))]
