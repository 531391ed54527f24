# SPDX-License-Identifier: Apache-2.0
"""The agent as its clients meet it: real sockets, the real engine, tritonclient."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

import undercroft as uc
from helpers import onnx_nets
from helpers.agents import running_agent
from helpers.fakes import FakeDevice
from helpers.provider import FakePlan, Shipment, ship
from undercroft._device.host import HostDevice, NoProtectionWarning
from undercroft._device.http import HttpDevice
from undercroft._device.invoker import Reply
from undercroft._spec import Command
from undercroft.attestation import DEVELOPMENT_POLICY
from undercroft.errors import (
    DeviceError,
    FormatError,
    InputError,
    LicenseError,
    SecureMemoryError,
    VerificationError,
)
from undercroft.keys import DevicePublicKey
from undercroft.tensor import TensorInfo

pytestmark = [
    pytest.mark.engine,
    pytest.mark.filterwarnings("ignore::undercroft._device.host.NoProtectionWarning"),
]

Array = np.ndarray


@dataclass(frozen=True)
class Goods:
    """A real little network, sealed and licensed for the agent's device."""

    sealed: Path
    license: bytes
    other_license: bytes
    feed: dict[str, Array]
    expected: list[Array]


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    device = HostDevice("host:?arena=4MiB", private_key=bytes(range(1, 33)))
    with running_agent(device, tmp_path_factory.mktemp("agent")) as url:
        yield url


@pytest.fixture(scope="module")
def goods(agent: str, tmp_path_factory: pytest.TempPathFactory) -> Goods:
    return make_goods(
        agent, "residual_network", tmp_path_factory.mktemp("goods"), budget="3MiB"
    )


def make_goods(agent: str, name: str, folder: Path, budget: str) -> Goods:
    case = onnx_nets.case(name)
    feed = onnx_nets.random_inputs(case)
    key = uc.ProviderKey.generate()
    plan = uc.plan(case.model, budget=budget, input_shapes=case.input_shapes)
    path = folder / f"{name}.sealed"
    sealed = uc.seal(case.model, path, plan=plan, signing_key=key)
    device = uc.enroll(agent, policy=DEVELOPMENT_POLICY)
    other = DevicePublicKey(bytes(range(9, 41)))
    licenses = [
        uc.issue_license(model_key=sealed.model_key, device=public_key, signing_key=key)
        for public_key in (device.public_key, other)
    ]
    runtime = onnxruntime.InferenceSession(case.model.SerializeToString())
    return Goods(path, licenses[0], licenses[1], feed, runtime.run(None, feed))


def assert_right(outputs: list[Array], goods: Goods) -> None:
    assert len(outputs) == len(goods.expected)
    for got, want in zip(outputs, goods.expected, strict=True):
        assert got.shape == want.shape
        assert np.abs(got - want).max() <= 1e-4 * np.abs(want).max()


def triton_client(url: str) -> triton.InferenceServerClient:
    return triton.InferenceServerClient(url.removeprefix("http://"))


def install(url: str, name: str, goods: Goods) -> None:
    connection = HttpDevice(url)._connection
    own = f"/v2/undercroft/models/{name}"
    connection.json("PUT", f"{own}/sealed", body=goods.sealed.read_bytes())
    connection.json("PUT", f"{own}/license", body=goods.license)


# ---- our own session ----


def test_session_gives_onnxruntimes_answer(agent: str, goods: Goods) -> None:
    with uc.InferenceSession(
        goods.sealed, license=goods.license, device=agent
    ) as session:
        assert_right(session.run(None, goods.feed), goods)
        stats = session.last_stats
        assert stats is not None
        assert 0 < stats.secure_peak_bytes <= stats.budget_bytes <= 3 << 20
        assert session.device.kind == "host"


def test_the_file_is_sent_once(agent: str, goods: Goods) -> None:
    for _ in range(2):
        with uc.InferenceSession(goods.sealed, license=goods.license, device=agent):
            pass
    connection = HttpDevice(agent)._connection
    uploads: list[str] = []
    ask = connection.ask

    def spy(method: str, path: str, **more: object) -> object:
        uploads.append(f"{method} {path.rsplit('/', 1)[-1]}")
        return ask(method, path, **more)  # type: ignore[arg-type]

    connection.ask = spy  # type: ignore[method-assign, assignment]
    device = HttpDevice(agent)
    device._connection = connection
    with uc.InferenceSession(goods.sealed, license=goods.license, device=device):
        pass
    assert not [upload for upload in uploads if upload.startswith("PUT")]


def test_a_session_that_keeps_nothing(agent: str, goods: Goods) -> None:
    with uc.InferenceSession(
        goods.sealed, license=goods.license, device=agent, keep_on_device=False
    ) as session:
        name = session._model.name  # type: ignore[union-attr]
    rows = triton_client(agent).get_model_repository_index()
    assert name not in [row["name"] for row in rows]


def test_wrong_license(agent: str, goods: Goods) -> None:
    with pytest.raises(LicenseError, match="another device"):
        uc.InferenceSession(goods.sealed, license=goods.other_license, device=agent)
    with uc.InferenceSession(
        goods.sealed, license=goods.license, device=agent
    ) as session:
        assert_right(session.run(None, goods.feed), goods)


def test_something_that_is_no_license(agent: str, goods: Goods) -> None:
    with pytest.raises(FormatError, match="license"):
        uc.InferenceSession(goods.sealed, license=b"no license", device=agent)


def test_an_altered_page_and_then_a_good_run(
    agent: str, goods: Goods, tmp_path: Path
) -> None:
    data = bytearray(goods.sealed.read_bytes())
    data[-100] ^= 1
    path = tmp_path / "altered.sealed"
    path.write_bytes(data)
    # Whether the page is a resident or a streamed one, no answer comes out.
    with (
        pytest.raises(VerificationError),
        uc.InferenceSession(path, license=goods.license, device=agent) as session,
    ):
        session.run(None, goods.feed)
    with uc.InferenceSession(
        goods.sealed, license=goods.license, device=agent
    ) as session:
        assert_right(session.run(None, goods.feed), goods)


def test_sessions_take_turns_in_secure_memory(
    agent: str, goods: Goods, tmp_path: Path
) -> None:
    other = make_goods(agent, "mobile_network", tmp_path, budget="3MiB")
    again = make_goods(agent, "residual_network", tmp_path, budget="3MiB")
    sessions = [
        uc.InferenceSession(item.sealed, license=item.license, device=agent)
        for item in (goods, other, again)
    ]
    for _ in range(2):
        for session, item in zip(sessions, (goods, other, again), strict=True):
            assert_right(session.run(None, item.feed), item)
    for session in sessions:
        session.close()


def test_a_model_that_fits_no_memory(agent: str, tmp_path: Path) -> None:
    shipment = ship(FakePlan(arena_bytes=1 << 30))
    path = tmp_path / "large.sealed"
    path.write_bytes(shipment.sealed)
    device = uc.enroll(agent, policy=DEVELOPMENT_POLICY)
    permit = uc.issue_license(
        model_key=shipment.model_key,
        device=device.public_key,
        signing_key=shipment.provider,
    )
    with pytest.raises(SecureMemoryError, match="KiB free"):
        uc.InferenceSession(path, license=permit, device=agent)


# ---- somebody else's client, as it is ----


def test_tritonclient_whole_story(agent: str, goods: Goods) -> None:
    install(agent, "resnet", goods)
    client = triton_client(agent)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    assert not client.is_model_ready("resnet")
    client.load_model("resnet")
    assert client.is_model_ready("resnet")
    assert client.is_model_ready("resnet", "1")
    rows = client.get_model_repository_index()
    assert {"name": "resnet", "version": "1", "state": "READY", "reason": ""} in rows
    metadata = client.get_model_metadata("resnet")
    assert metadata["inputs"][0]["shape"] == [1, 3, 32, 32]
    (name, array), output = *goods.feed.items(), metadata["outputs"][0]["name"]
    for binary_in in (True, False):
        for binary_out in (True, False):
            tensor = triton.InferInput(name, list(array.shape), "FP32")
            tensor.set_data_from_numpy(array, binary_data=binary_in)
            wanted = triton.InferRequestedOutput(output, binary_data=binary_out)
            result = client.infer("resnet", [tensor], outputs=[wanted], request_id="r1")
            assert_right([result.as_numpy(output)], goods)
            response = result.get_response()
            assert response["id"] == "r1"
            assert response["parameters"]["undercroft_secure_peak_bytes"] > 0
    assert_right([client.infer("resnet", [tensor]).as_numpy(output)], goods)
    client.unload_model("resnet")
    assert not client.is_model_ready("resnet")


def test_tritonclient_gets_our_words(agent: str, goods: Goods) -> None:
    install(agent, "words", goods)
    client = triton_client(agent)
    client.load_model("words")
    tensor = triton.InferInput("x", [1], "FP32")
    tensor.set_data_from_numpy(np.ones(1, np.float32))
    with pytest.raises(InferenceServerException, match="expected") as error:
        client.infer("words", [tensor])
    assert error.value.status() == "400"
    with pytest.raises(InferenceServerException, match="no model 'nothing'"):
        client.infer("nothing", [tensor])
    with pytest.raises(InferenceServerException, match="unknown load parameters"):
        client.load_model("words", config="{}")
    client.unload_model("words")


# ---- many clients, and rude ones ----


class SlowDevice(FakeDevice):
    """Takes its time for each inference and notes the order."""

    def __init__(self, sealed_path: Path) -> None:
        super().__init__(sealed_path, trap=self._note)
        self.busy = threading.Event()
        self.go_on = threading.Event()
        self.running = 0
        self.most_running = 0
        self.order: list[int] = []

    def _note(self, command: Command, _: int) -> Reply | None:
        if command is Command.INFER:
            self.running += 1
            self.most_running = max(self.most_running, self.running)
            self.busy.set()
            assert self.go_on.wait(timeout=20)
            time.sleep(0.01)
        if command is Command.STATS:
            self.running -= 1
        return None


@pytest.fixture
def shipment() -> Shipment:
    return ship(
        FakePlan(
            inputs=(TensorInfo("x", (4,)),),
            outputs=(TensorInfo("y", (1,)),),
        )
    )


@pytest.fixture
def slow(shipment: Shipment, tmp_path: Path) -> SlowDevice:
    path = tmp_path / "fake.sealed"
    path.write_bytes(shipment.sealed)
    return SlowDevice(path)


@pytest.fixture
def slow_agent(slow: SlowDevice, shipment: Shipment, tmp_path: Path) -> Iterator[str]:
    with running_agent(slow, tmp_path / "agent") as url:
        connection = HttpDevice(url)._connection
        own = "/v2/undercroft/models/m"
        connection.json("PUT", f"{own}/sealed", body=shipment.sealed)
        connection.json("PUT", f"{own}/license", body=shipment.license)
        connection.json("POST", "/v2/repository/models/m/load")
        yield url


def ask(url: str, value: float) -> float:
    tensor = triton.InferInput("x", [4], "FP32")
    tensor.set_data_from_numpy(np.array([value, 0, 0, 0], np.float32))
    return float(triton_client(url).infer("m", [tensor]).as_numpy("y")[0])


def raw_request(value: float) -> bytes:
    body = (
        '{"inputs": [{"name": "x", "datatype": "FP32", "shape": [4], '
        f'"data": [{value}, 0, 0, 0]}}]}}'
    )
    head = f"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}"
    return f"{head}\r\n\r\n{body}".encode()


def connect(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def test_concurrent_requests_get_their_own_answers_one_at_a_time(
    slow: SlowDevice, slow_agent: str
) -> None:
    slow.go_on.set()
    values = [float(value) for value in range(12)]
    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(lambda value: plain_ask(slow_agent, value), values))
    assert answers == values
    assert slow.most_running == 1


def plain_ask(url: str, value: float) -> float:
    with connect(url) as peer:
        peer.sendall(raw_request(value))
        data = b""
        while b"\r\n\r\n" not in data:
            data += peer.recv(65536)
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        while len(body) < length:
            body += peer.recv(65536)
    return float(json.loads(body)["outputs"][0]["data"][0])


def test_requests_run_in_the_order_they_came(slow: SlowDevice, slow_agent: str) -> None:
    peers = []
    finished: list[int] = []
    for value in range(6):
        peer = connect(slow_agent)
        peer.sendall(raw_request(value))
        peers.append(peer)
        if value == 0:
            assert slow.busy.wait(timeout=20)
        time.sleep(0.05)
    slow.go_on.set()

    def wait(number: int) -> None:
        peers[number].recv(1)
        finished.append(number)

    threads = [threading.Thread(target=wait, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    for peer in peers:
        peer.close()
    assert finished == sorted(finished)
    assert len(finished) == 6


def test_a_client_that_disappears_while_it_is_its_turn(
    slow: SlowDevice, slow_agent: str
) -> None:
    with connect(slow_agent) as peer:
        peer.sendall(raw_request(1))
        assert slow.busy.wait(timeout=20)
    slow.go_on.set()
    assert ask(slow_agent, 5) == 5
    assert slow.opened[0].inferences == 2


def test_a_client_that_disappears_while_waiting_costs_nothing(
    slow: SlowDevice, slow_agent: str
) -> None:
    with connect(slow_agent) as first:
        first.sendall(raw_request(1))
        assert slow.busy.wait(timeout=20)
        with connect(slow_agent) as second:
            second.sendall(raw_request(2))
            time.sleep(0.3)
        time.sleep(0.3)
        slow.go_on.set()
        assert first.recv(12) == b"HTTP/1.1 200"
    assert ask(slow_agent, 5) == 5
    # The one that went away while it waited was never run.
    assert slow.opened[0].inferences == 2


@pytest.mark.parametrize("sent", [10, 60, -5])
def test_a_client_that_disappears_inside_its_request(
    slow: SlowDevice, slow_agent: str, sent: int
) -> None:
    slow.go_on.set()
    with connect(slow_agent) as peer:
        peer.sendall(raw_request(1)[:sent])
    assert ask(slow_agent, 5) == 5
    assert slow.opened[0].inferences == 1


def test_a_client_that_disappears_inside_an_upload(
    slow_agent: str, shipment: Shipment, tmp_path: Path
) -> None:
    with connect(slow_agent) as peer:
        peer.sendall(
            b"PUT /v2/undercroft/models/half/sealed HTTP/1.1\r\nHost: x\r\n"
            b"Content-Length: 100000\r\n\r\n" + shipment.sealed[:8000]
        )
        time.sleep(0.2)
    rows = triton_client(slow_agent).get_model_repository_index()
    assert [row["name"] for row in rows] == ["m"]
    deadline = time.monotonic() + 10
    while list((tmp_path / "agent" / "incoming").iterdir()):
        assert time.monotonic() < deadline, "the half upload stays"
        time.sleep(0.05)


def test_a_refused_upload_raises_what_the_agent_said(
    slow_agent: str, tmp_path: Path
) -> None:
    connection = HttpDevice(slow_agent)._connection
    with pytest.raises(DeviceError, match="4096 are allowed"):
        connection.json("PUT", "/v2/undercroft/models/m/license", body=bytes(3 << 20))
    assert connection.json("GET", "/v2/undercroft")["loaded"] == ["m"]


def test_rubbish_does_not_stop_the_agent(slow: SlowDevice, slow_agent: str) -> None:
    slow.go_on.set()
    for rubbish in (b"\0" * 1000, b"GET\r\n\r\n", b"\x16\x03\x01" * 50):
        with connect(slow_agent) as peer:
            peer.sendall(rubbish)
    assert ask(slow_agent, 5) == 5


# ---- the command ----


def test_serve_command_listens_and_stops(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "undercroft", "serve", "--device", "host:"),
            *("--port", "0", "--folder", str(tmp_path)),
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        assert "WITHOUT any protection" in process.stderr.readline()
        url = process.stderr.readline().split()[-1]
        assert HttpDevice(url).info().kind == "host"
        with pytest.raises(InputError):
            HttpDevice(url)._connection.json("POST", "/v2/repository/index", body=b"{")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
    assert process.returncode in {0, 1, -signal.SIGINT}


def test_host_device_says_that_there_is_no_protection() -> None:
    with pytest.warns(NoProtectionWarning, match="WITHOUT any protection"):
        HostDevice(private_key=bytes(range(32))).close()
