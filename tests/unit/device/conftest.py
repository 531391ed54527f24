# SPDX-License-Identifier: Apache-2.0
"""A sealed file for fake devices."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.provider import FakePlan, Shipment, ship
from helpers.teec import FakeTeec
from undercroft._device import teec
from undercroft._device.parcel import Parcel
from undercroft.tensor import TensorInfo


@pytest.fixture(scope="session")
def shipment() -> Shipment:
    """Two inputs, two outputs, 1 program, 1 resident and 8 streamed pages."""
    return ship(
        FakePlan(
            inputs=(TensorInfo("a", (1, 3, 8, 8)), TensorInfo("b", (2,))),
            outputs=(TensorInfo("sum", (2, 5)), TensorInfo("again", (1,))),
            streamed_pages=8,
            chunks={"stream": [bytes([page]) * 4096 for page in range(8)]},
        )
    )


@pytest.fixture
def sealed_path(shipment: Shipment, tmp_path: Path) -> Path:
    path = tmp_path / "model.sealed"
    path.write_bytes(shipment.sealed)
    return path


@pytest.fixture
def parcel(sealed_path: Path) -> Parcel:
    return Parcel.read(sealed_path)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> FakeTeec:
    fake = FakeTeec()
    monkeypatch.setattr(teec, "load_library", lambda: fake)
    return fake
