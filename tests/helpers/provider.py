# SPDX-License-Identifier: Apache-2.0
"""A provider, a device and a small model with fixed keys, for tests only."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from helpers.suites import SUITES
from undercroft._format.header import SealedHeader
from undercroft.keys import DevicePublicKey, ModelKey, ProviderKey
from undercroft.license import issue
from undercroft.seal import planned_pages, write_sealed
from undercroft.tensor import TensorInfo

KEYS = Path(__file__).resolve().parents[1] / "keys"


def test_key(name: str) -> bytes:
    """Read a 32-byte test key."""
    return bytes.fromhex((KEYS / f"{name}.hex").read_text().split()[0])


test_key.__test__ = False  # type: ignore[attr-defined]


@dataclass
class FakePlan:
    """A plan of pages that hold a running number, without a model behind it."""

    inputs: tuple[TensorInfo, ...] = (TensorInfo("image", (1, 3, 8, 8)),)
    outputs: tuple[TensorInfo, ...] = (TensorInfo("scores", (1, 10)),)
    page_bytes: int = 4096
    program_pages: int = 1
    resident_pages: int = 1
    streamed_pages: int = 2
    arena_bytes: int = 65536
    suite: str = "aes-256-gcm"
    chunks: dict[str, list[bytes]] = field(default_factory=dict)

    def program(self) -> bytes:
        """The program: not a valid one."""
        return b"program " * 100

    def resident(self) -> Iterator[bytes]:
        """The resident blob."""
        yield from self.chunks.get("resident", [b"resident" * 64] * 2)

    def stream(self) -> Iterator[bytes]:
        """The stream."""
        yield from self.chunks.get("stream", [bytes([i % 251]) * 7 for i in range(700)])


@dataclass(frozen=True)
class Device:
    """A device whose private key the test knows."""

    private: bytes

    @property
    def public(self) -> DevicePublicKey:
        """Its public key."""
        key = X25519PrivateKey.from_private_bytes(self.private).public_key()
        return DevicePublicKey(key.public_bytes(Encoding.Raw, PublicFormat.Raw))


@dataclass(frozen=True)
class Shipment:
    """What a provider ships for one model and one device, and all its secrets."""

    provider: ProviderKey
    device: Device
    model_key: ModelKey
    header: SealedHeader
    sealed: bytes
    license: bytes

    @property
    def header_bytes(self) -> bytes:
        """The header as it stands in the sealed file."""
        return self.sealed[16 : 16 + int.from_bytes(self.sealed[12:16], "little")]


def ship(plan: FakePlan | None = None, **header_fields: object) -> Shipment:
    """Seal a plan and license it, with the keys of tests/keys."""
    plan = plan or FakePlan()
    provider = ProviderKey.from_seed(test_key("provider"))
    device = Device(test_key("device"))
    model_key = ModelKey(bytes(range(16)), test_key("content"))
    fields: dict[str, object] = {
        "model_id": model_key.model_id,
        "model_version": 7,
        "suite": SUITES[plan.suite].number,
        "page_bytes": plan.page_bytes,
        "program_pages": plan.program_pages,
        "resident_pages": plan.resident_pages,
        "streamed_pages": plan.streamed_pages,
        "salt": bytes(range(100, 132)),
        "budget_bytes": plan.arena_bytes,
        "inputs": plan.inputs,
        "outputs": plan.outputs,
        **header_fields,
    }
    header = SealedHeader(**fields)  # type: ignore[arg-type]
    stream = io.BytesIO()
    pages = planned_pages(header, plan)
    write_sealed(stream, header, pages, model_key=model_key, signing_key=provider)
    permit = issue(model_key=model_key, device=device.public, signing_key=provider)
    return Shipment(provider, device, model_key, header, stream.getvalue(), permit)
