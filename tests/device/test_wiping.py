# SPDX-License-Identifier: Apache-2.0
"""Nothing of a model stays in secure memory when its session is over.

The board's whole secure memory, OP-TEE's own and the Trusted Application's stack and
heap included, is read from outside and searched for every secret of a small network:
all keys on the way from the license to the pages, program, weights, activations.
While the session is open the same search finds them. The network computes with
whole numbers, so that its activations are known to the bit.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey,
    X25519PublicKey,
)
from onnx import helper, numpy_helper
from pyhpke import KEMKey, KEMKeyPair

import undercroft as uc
from helpers import guest
from helpers.provider import test_key
from helpers.secure_memory import SecureMemory
from undercroft import _board
from undercroft._device.invoker import PARAMETERS
from undercroft._device.parcel import Parcel
from undercroft._format import cbor, cose
from undercroft._format.license import LicenseClaims, LicenseTerms
from undercroft._format.pages import derive_page_key
from undercroft._leaks import SecretSearch
from undercroft._spec import ENGINE_CONTEXT_BYTES, PAGE_TAG_BYTES, Command, Status
from undercroft.keys import DevicePublicKey, ModelKey, ProviderKey
from undercroft.seal import seal

pytestmark = [pytest.mark.board, pytest.mark.timeout(900)]

PROVIDER = ProviderKey.from_seed(test_key("provider"))
PAGE_BYTES = 4096
TARGET_DEAD = 0xFFFF3024
WINDOW_BYTES = 16

# What is never there again once OPEN is over, and what a model is made of.
EXCHANGE = ("X25519", "HPKE", "HPKE key", "content key", "page key's HKDF")
PAGE_KEY, PROGRAM, RESIDENT, STREAM = "page key", "program", "resident", "stream"
ACTIVATIONS = "activations"


@dataclass(frozen=True)
class Shipment:
    """A small sealed network for the board, all that is secret of it, and its calls."""

    search: SecretSearch
    plan: uc.Plan
    blobs: dict[str, bytes]
    load_pages: int
    pages: int
    input: bytes

    def open(self) -> tuple[Command, list[Any]]:
        value = ["value_output"]
        memory = (["in", "@header"], ["in", "@license"])
        return Command.OPEN, [["value_inout", 0, 0], *memory, value]

    def push(self, page: int, change: str = "") -> tuple[Command, list[Any]]:
        value = ["value_output"]
        memory = ["in", f"@page{page}{change}"]
        return Command.PUSH, [["value_inout", page, 1], memory, value, value]

    def load(self) -> list[tuple[Command, list[Any]]]:
        return [self.open(), *(self.push(page) for page in range(self.load_pages))]

    def infer(self) -> list[tuple[Command, list[Any]]]:
        """To where the last page is missing."""
        value = ["value_output"]
        given = ["in", self.input.hex()]
        return [
            (Command.INFER, [["value_inout", 0, 0]]),
            (Command.INPUT, [["value_inout", 0, 0], given, value, value]),
            *(self.push(page) for page in range(self.load_pages, self.pages - 1)),
        ]

    def finish(self) -> list[tuple[Command, list[Any]]]:
        output = (Command.OUTPUT, [["value_inout", 0, 0], ["out", 40]])
        return [self.push(self.pages - 1), output]


# ---- all that is secret ----


def windows(data: bytes, every_bytes: int = 4) -> Iterator[bytes]:
    """Yield nearly all of it: what little is left behind must be seen."""
    for at in range(0, len(data) - WINDOW_BYTES + 1, every_bytes):
        window = data[at : at + WINDOW_BYTES]
        if len(set(window)) >= 6:
            yield window


def halves(key: bytes) -> list[bytes]:
    return [key[at : at + WINDOW_BYTES] for at in range(0, len(key), WINDOW_BYTES)]


def network() -> tuple[onnx.ModelProto, np.ndarray[Any, Any], list[bytes]]:
    """Return a network, an input and the activations inside, exact to the bit."""
    rng = np.random.default_rng(7)
    first = rng.integers(-127, 128, (64, 64)).astype(np.float32)
    second = rng.integers(-15, 16, (64, 64)).astype(np.float32)
    third = rng.standard_normal((64, 10)).astype(np.float32)
    x = rng.integers(-3, 4, (1, 64)).astype(np.float32)
    h1 = np.maximum(x @ first, 0)
    h2 = np.maximum(h1 @ second, 0)
    # No sum on the way is rounded, in whatever order a kernel adds.
    assert (np.abs(h1) @ np.abs(second)).max() < 2**24
    nodes = [
        helper.make_node("Gemm", ["x", "first"], ["a"]),
        helper.make_node("Relu", ["a"], ["h1"]),
        helper.make_node("Gemm", ["h1", "second"], ["b"]),
        helper.make_node("Relu", ["b"], ["h2"]),
        helper.make_node("Gemm", ["h2", "third"], ["y"]),
    ]
    weights = {"first": first, "second": second, "third": third}
    graph = helper.make_graph(
        nodes,
        "wiping",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 64])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 10])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, ir_version=8, opset_imports=opset)
    return model, x, [h1.tobytes(), h2.tobytes()]


def wrapped_key(
    content_key: bytes, device: DevicePublicKey, search: SecretSearch
) -> bytes:
    """Encrypt a content key to a device; look for all that HPKE computes meanwhile.

    RFC 9180, sections 4.1 and 5.1, with a sender's key that is known here.
    """
    sender = X25519PrivateKey.generate()
    recipient = X25519PublicKey.from_public_bytes(device.raw)
    enc, context = cose.hpke_suite().create_sender_context(
        KEMKey.from_pyca_cryptography_key(recipient),
        eks=KEMKeyPair(
            KEMKey.from_pyca_cryptography_key(sender),
            KEMKey.from_pyca_cryptography_key(sender.public_key()),
        ),
    )
    bucket = cose._hpke_bucket()
    sealed = context.seal(content_key, aad=cbor.encode(["Encrypt0", bucket, b""]))

    def extract(suite: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
        return hmac.digest(salt, b"HPKE-v1" + suite + label + ikm, hashlib.sha256)

    def expand(suite: bytes, prk: bytes, label: bytes, info: bytes, size: int) -> bytes:
        labeled = struct.pack(">H", size) + b"HPKE-v1" + suite + label + info
        return hmac.digest(prk, labeled + b"\1", hashlib.sha256)[:size]

    kem, hpke = b"KEM\x00\x20", b"HPKE\x00\x20\x00\x01\x00\x01"
    shared = sender.exchange(recipient)
    prk = extract(kem, b"", b"eae_prk", shared)
    secret = expand(kem, prk, b"shared_secret", enc + device.raw, 32)
    scheduled = extract(hpke, secret, b"secret", b"")
    schedule = b"\0" + extract(hpke, b"", b"psk_id_hash", b"")
    schedule += extract(hpke, b"", b"info_hash", b"")
    search.add("X25519", halves(shared))
    search.add("HPKE", [*halves(prk), *halves(secret), *halves(scheduled)])
    search.add("HPKE key", [expand(hpke, scheduled, b"key", schedule, 16)])
    return cbor.encode([bucket, {-4: enc}, sealed])


def ship(suite: str, folder: Path, *, opens: bool = True) -> Shipment:
    """Seal and license; a license that does not open has a wrong tag in it."""
    model, x, activations = network()
    plan = uc.plan(model, budget=37000, page_bytes=PAGE_BYTES)
    model_key = ModelKey(secrets.token_bytes(16), secrets.token_bytes(32))
    sealed = folder / f"{suite}.sealed"
    seal(
        sealed,
        sealed,
        plan=plan,
        suite=suite,
        signing_key=PROVIDER,
        model_id=model_key.model_id,
        content_key=model_key.content_key,
    )
    search = SecretSearch()
    device = device_key()
    wrapped = wrapped_key(model_key.content_key, device, search)
    if not opens:
        wrapped = wrapped[:-1] + bytes([wrapped[-1] ^ 1])
    claims = LicenseClaims(
        license_id=secrets.token_bytes(16),
        model_id=model_key.model_id,
        device_id=device.device_id,
        content_key=wrapped,
        issued_at=1,
        terms=LicenseTerms(),
    )
    parcel = Parcel.read(sealed)
    salt, header = parcel.header.salt, parcel.header_bytes
    page_key = derive_page_key(
        content_key=model_key.content_key, salt=salt, header=header
    )
    prk = hmac.digest(salt, model_key.content_key, hashlib.sha256)
    search.add("content key", halves(model_key.content_key))
    search.add("page key's HKDF", halves(prk))
    search.add(PAGE_KEY, halves(page_key))
    search.add(PROGRAM, windows(plan.program(), 8))
    search.add(RESIDENT, windows(b"".join(plan.resident())))
    search.add(STREAM, windows(b"".join(plan.stream())))
    for activation in activations:
        search.add(ACTIVATIONS, windows(activation))
    slots = sealed.read_bytes()[16 + len(header) :]
    size = PAGE_BYTES + PAGE_TAG_BYTES
    pages = [slots[at : at + size] for at in range(0, len(slots), size)]
    blobs = {"header": header, "license": PROVIDER.sign_message(claims.encode())}
    blobs |= {f"page{index}": page for index, page in enumerate(pages)}
    load_pages = plan.program_pages + plan.resident_pages
    return Shipment(search, plan, blobs, load_pages, len(pages), x.tobytes())


def device_key() -> DevicePublicKey:
    steps = guest.Steps()
    steps.open()
    place = steps.call(Command.DEVICE_KEY, ["value_inout", 0, 0], ["out", 256])
    written = steps.run()[place]["outputs"]["1"]
    encoded = bytes.fromhex(written["memory"])[: written["size"]]
    return DevicePublicKey.from_cose_key(encoded)


# ---- moments ----


class Watch:
    """A batch of calls, and what secure memory holds at moments in between."""

    def __init__(self, memory: SecureMemory, shipment: Shipment) -> None:
        self._memory = memory
        self._shipment = shipment
        # Without a session around it: the instance ends with the last one.
        self.steps = guest.Steps(blobs=shipment.blobs, spanned=False)
        self._expected: list[tuple[int, Status]] = []
        self.running: guest.Running | None = None

    def call(
        self,
        calls: list[tuple[Command, list[Any]]],
        last: Status = Status.OK,
        session: str = "s",
    ) -> None:
        for at, (command, params) in enumerate(calls):
            assert len(params) <= len(PARAMETERS[command])
            place = self.steps.call(command, *params, session=session)
            self._expected.append((place, last if at == len(calls) - 1 else Status.OK))

    def found_at(self, moment: str, *, kill: bool = False) -> dict[str, int]:
        """Wait for a moment; return what is found then, and go on, or kill."""
        if self.running is None:
            self.running = self.steps.start()
        self.running.reach(moment)
        if kill:
            self.running.kill()
        found = self.found()
        if not kill:
            self.running.release(moment)
        return found

    def found(self) -> dict[str, int]:
        result = self._memory.look(self._shipment.search)
        return {kind: count for kind, count in result.found.items() if count}

    def check_answers(self) -> None:
        assert self.running is not None
        answers = self.running.answers()
        for place, status in self._expected:
            assert answers[place].get("result") == 0, answers[place]
            assert answers[place]["values"]["0"][0] == status


@pytest.fixture(scope="module")
def memory() -> SecureMemory:
    guest.up()
    board = _board.running(guest.BOARD_NAME)
    assert board is not None
    return SecureMemory.of(board)


def test_closing_wipes_everything(memory: SecureMemory, tmp_path: Path) -> None:
    shipment = ship("aes-256-gcm", tmp_path)
    needles = shipment.search.needles
    assert set(needles) == {*EXCHANGE, PAGE_KEY, PROGRAM, RESIDENT, STREAM, ACTIVATIONS}
    assert min(needles[RESIDENT], needles[STREAM]) > 3000
    assert needles[ACTIVATIONS] > 60
    watch = Watch(memory, shipment)
    steps = watch.steps
    steps.open()
    watch.call([shipment.open()])
    steps.wait("opened")
    watch.call([shipment.push(page) for page in range(shipment.load_pages)])
    watch.call(shipment.infer())
    steps.wait("inferring")
    watch.call(shipment.finish())
    watch.call([(Command.CLOSE, [["value_inout", 0, 0]])])
    steps.wait("closed")
    # The session of the client goes on and is closed without CLOSE.
    watch.call(shipment.load() + shipment.infer())
    steps.close()
    steps.wait("ended")
    # Of the exchange nothing outlives OPEN; the key of the pages it led to does.
    assert watch.found_at("opened") == {PAGE_KEY: 2}
    found = watch.found_at("inferring")
    assert set(found) == {PAGE_KEY, PROGRAM, RESIDENT, STREAM, ACTIVATIONS}
    # The search sees what is there: all of what is resident, some of the rest.
    assert found[RESIDENT] == needles[RESIDENT]
    assert found[PROGRAM] == needles[PROGRAM]
    assert found[STREAM] > 1000
    assert found[ACTIVATIONS] > needles[ACTIVATIONS] // 2
    assert watch.found_at("closed") == {}
    assert watch.found_at("ended") == {}
    watch.check_answers()


def test_a_failure_wipes_what_the_inference_made(
    memory: SecureMemory, tmp_path: Path
) -> None:
    shipment = ship("chacha20-poly1305", tmp_path)
    kept = {PAGE_KEY, PROGRAM, RESIDENT}
    watch = Watch(memory, shipment)
    steps = watch.steps
    steps.open()
    watch.call(shipment.load() + shipment.infer())
    watch.call([shipment.push(shipment.pages - 1, "^100:1")], Status.NOT_AUTHENTIC)
    steps.wait("refused")
    watch.call(shipment.infer())
    watch.call([shipment.infer()[0]], Status.BAD_STATE)
    steps.wait("aborted")
    watch.call(shipment.infer() + shipment.finish())
    steps.close()
    steps.wait("closed")
    # While it loads, a failure leaves nothing at all.
    steps.open()
    watch.call(
        [*shipment.load()[:-1], shipment.push(shipment.load_pages - 1, "^9:1")],
        Status.NOT_AUTHENTIC,
    )
    steps.wait("not loaded")
    steps.close()
    assert set(watch.found_at("refused")) == kept
    assert set(watch.found_at("aborted")) == kept
    assert watch.found_at("closed") == {}
    assert watch.found_at("not loaded") == {}
    watch.check_answers()


def test_a_license_that_does_not_open_leaves_nothing(
    memory: SecureMemory, tmp_path: Path
) -> None:
    shipment = ship("aes-256-gcm", tmp_path, opens=False)
    watch = Watch(memory, shipment)
    watch.steps.open()
    watch.call([shipment.open()], Status.NOT_AUTHENTIC)
    watch.steps.wait("refused")
    watch.steps.close()
    assert watch.found_at("refused") == {}
    watch.check_answers()


def test_a_client_that_is_killed_leaves_nothing(
    memory: SecureMemory, tmp_path: Path
) -> None:
    shipment = ship("aegis-128l", tmp_path)
    watch = Watch(memory, shipment)
    watch.steps.open()
    watch.call(shipment.load() + shipment.infer())
    watch.steps.wait("before")
    watch.steps.wait("kill")
    assert set(watch.found_at("before")) >= {PAGE_KEY, RESIDENT, STREAM, ACTIVATIONS}
    assert watch.found_at("kill", kill=True) == {}


def test_what_a_crash_leaves_goes_with_the_next_session(
    memory: SecureMemory, tmp_path: Path
) -> None:
    """A fault is injected from outside: a pointer of the engine's own is changed.

    OP-TEE then ends the Trusted Application at once, and does not clear the memory
    that it takes from it, only that which it gives to the next.
    """
    shipment = ship("aes-256-gcm", tmp_path)
    watch = Watch(memory, shipment)
    watch.steps.open()
    watch.call(shipment.load() + shipment.infer())
    watch.steps.wait("fault")
    crash = watch.steps.call(*unpacked(shipment.finish()[0]))
    watch.running = watch.steps.start()
    watch.running.reach("fault")
    # The engine's context lies before the program and begins with the arena's
    # address, its size and its mark.
    data = memory.read()
    context = data.index(shipment.plan.program()[:64]) - ENGINE_CONTEXT_BYTES
    _, size = struct.unpack_from("<QQ", data, context)
    assert size == shipment.plan.arena_bytes
    memory.write(context, struct.pack("<Q", 64))
    watch.running.release("fault")
    assert watch.running.answers()[crash]["result"] == TARGET_DEAD
    # Only secure memory holds it: no Trusted Application gets it unwiped.
    assert set(watch.found()) <= {PAGE_KEY, PROGRAM, RESIDENT, STREAM, ACTIVATIONS}
    following = Watch(memory, shipment)
    following.steps.open()
    following.call(shipment.load() + shipment.infer() + shipment.finish())
    following.steps.close()
    following.steps.wait("ended")
    assert following.found_at("ended") == {}
    following.check_answers()


def unpacked(call: tuple[Command, list[Any]]) -> tuple[Any, ...]:
    command, params = call
    return command, *params
