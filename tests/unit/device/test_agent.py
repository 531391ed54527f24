# SPDX-License-Identifier: Apache-2.0
"""The agent's HTTP application over a fake device, without a socket."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.fakes import FakeDevice
from helpers.provider import Shipment
from undercroft._device import agent as agent_module
from undercroft._device.agent import Agent
from undercroft._device.invoker import Reply
from undercroft._spec import Command, Status
from undercroft.errors import DeviceError, DeviceLostError

with warnings.catch_warnings():
    # It would rather have a successor of httpx that is not in the lock yet.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

OWN = "/v2/undercroft/models/m"
REPOSITORY = "/v2/repository/models/m"


class Switchboard:
    """A trap whose answer a test sets."""

    def __init__(self) -> None:
        self.command: Command | None = None
        self.answer: Reply | Exception | None = None

    def set(self, command: Command, answer: Reply | Exception) -> None:
        self.command, self.answer = command, answer

    def __call__(self, command: Command, _: int) -> Reply | None:
        if command is not self.command:
            return None
        self.command = None
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def trap() -> Switchboard:
    return Switchboard()


@pytest.fixture
def device(sealed_path: Path, trap: Switchboard) -> FakeDevice:
    return FakeDevice(sealed_path, trap=trap)


@pytest.fixture
def client(device: FakeDevice, tmp_path: Path) -> Iterator[TestClient]:
    agent = Agent(device, tmp_path / "agent", max_sealed_bytes=1 << 20)
    with TestClient(agent.app, raise_server_exceptions=False) as client:
        yield client
    assert device.is_closed


@pytest.fixture
def loaded(client: TestClient, shipment: Shipment) -> TestClient:
    upload(client, shipment)
    assert client.post(f"{REPOSITORY}/load").status_code == 200
    return client


def upload(client: TestClient, shipment: Shipment, own: str = OWN) -> None:
    answer = client.put(f"{own}/sealed", content=shipment.sealed)
    assert answer.status_code == 201
    assert answer.json()["sha256"] == hashlib.sha256(shipment.sealed).hexdigest()
    answer = client.put(f"{own}/license", content=shipment.license)
    assert answer.status_code == 201


def request(**more: Any) -> dict[str, Any]:
    return {
        "inputs": [
            {
                "name": "a",
                "datatype": "FP32",
                "shape": [1, 3, 8, 8],
                "data": [1.0] * 192,
            },
            {"name": "b", "datatype": "FP32", "shape": [2], "data": [0.5, 0.5]},
        ],
        **more,
    }


def test_server(client: TestClient) -> None:
    assert client.get("/v2").json() == {
        "name": "undercroft",
        "version": "0.1.0",
        "extensions": ["binary_tensor_data", "model_repository", "undercroft"],
    }
    assert client.get("/v2/health/live").status_code == 200
    assert client.get("/v2/health/ready").status_code == 200


def test_not_ready_without_a_device(client: TestClient, trap: Switchboard) -> None:
    trap.set(Command.INFO, DeviceLostError("no Trusted Application"))
    answer = client.get("/v2/health/ready")
    assert answer.status_code == 503
    assert answer.json()["error"] == "no Trusted Application"
    assert client.get("/v2/health/live").status_code == 200
    assert client.get("/v2/health/ready").status_code == 200


def test_metadata(loaded: TestClient) -> None:
    expected = {
        "name": "m",
        "versions": ["7"],
        "platform": "undercroft",
        "inputs": [
            {"name": "a", "datatype": "FP32", "shape": [1, 3, 8, 8]},
            {"name": "b", "datatype": "FP32", "shape": [2]},
        ],
        "outputs": [
            {"name": "sum", "datatype": "FP32", "shape": [2, 5]},
            {"name": "again", "datatype": "FP32", "shape": [1]},
        ],
    }
    assert loaded.get("/v2/models/m").json() == expected
    assert loaded.get("/v2/models/m/versions/7").json() == expected
    answer = loaded.get("/v2/models/m/versions/8")
    assert answer.status_code == 404
    assert "has version 7" in answer.json()["error"]


def test_infer_json(loaded: TestClient) -> None:
    answer = loaded.post("/v2/models/m/infer", json=request(id="q1"))
    assert answer.status_code == 200
    value = answer.json()
    assert value["id"] == "q1"
    assert value["model_name"] == "m"
    assert value["model_version"] == "7"
    assert value["outputs"][0] == {
        "name": "sum",
        "datatype": "FP32",
        "shape": [2, 5],
        "data": [193.0] * 10,
    }
    assert value["parameters"]["undercroft_world_switches"] > 3
    assert loaded.post("/v2/models/m/versions/7/infer", json=request()).is_success
    assert loaded.get(f"{OWN}/stats").json()["inferences"] == 2


def test_infer_binary_both_ways(loaded: TestClient) -> None:
    head = {
        "inputs": [
            {
                "name": "a",
                "datatype": "FP32",
                "shape": [1, 3, 8, 8],
                "parameters": {"binary_data_size": 768},
            },
            {"name": "b", "datatype": "FP32", "shape": [2], "data": [1, 2]},
        ],
        "outputs": [{"name": "again", "parameters": {"binary_data": True}}],
    }
    document = json.dumps(head).encode()
    answer = loaded.post(
        "/v2/models/m/infer",
        content=document + np.ones(192, "<f4").tobytes(),
        headers={"Inference-Header-Content-Length": str(len(document))},
    )
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/octet-stream"
    length = int(answer.headers["inference-header-content-length"])
    described = json.loads(answer.content[:length])["outputs"]
    assert described[0]["parameters"] == {"binary_data_size": 4}
    assert np.frombuffer(answer.content[length:], "<f4").tolist() == [195.0]


def test_index_and_ready(client: TestClient, shipment: Shipment) -> None:
    assert client.post("/v2/repository/index").json() == []
    upload(client, shipment)
    row = {"name": "m", "version": "7", "state": "UNAVAILABLE", "reason": ""}
    assert client.post("/v2/repository/index", json={}).json() == [row]
    assert client.post("/v2/repository/index", json={"ready": True}).json() == []
    answer = client.get("/v2/models/m/ready")
    assert answer.status_code == 409
    assert "not loaded" in answer.json()["error"]
    assert client.post(f"{REPOSITORY}/load", json={}).json() == {}
    assert client.get("/v2/models/m/ready").status_code == 200
    assert client.get("/v2/models/m/versions/7/ready").status_code == 200
    answer = client.post("/v2/repository/index", json={"ready": True})
    assert answer.json() == [row | {"state": "READY"}]


def test_unload_wipes_and_infer_then_says_so(
    loaded: TestClient, device: FakeDevice
) -> None:
    parameters = {"parameters": {"unload_dependents": False}}
    assert loaded.post(f"{REPOSITORY}/unload", json=parameters).json() == {}
    assert all(invoker.closed for invoker in device.opened)
    answer = loaded.post("/v2/models/m/infer", json=request())
    assert answer.status_code == 409
    assert answer.json()["undercroft"]["code"] == "Device"


def test_load_with_a_configuration_is_refused(loaded: TestClient) -> None:
    answer = loaded.post(
        f"{REPOSITORY}/load", json={"parameters": {"config": "{}", "file:1/m": "x"}}
    )
    assert answer.status_code == 400
    assert "'config', 'file:1/m'" in answer.json()["error"]


def test_load_without_a_license(client: TestClient, shipment: Shipment) -> None:
    client.put(f"{OWN}/sealed", content=shipment.sealed)
    answer = client.post(f"{REPOSITORY}/load")
    assert answer.status_code == 409
    assert "no license" in answer.json()["error"]


def test_wrong_license(
    client: TestClient, shipment: Shipment, trap: Switchboard
) -> None:
    upload(client, shipment)
    trap.set(Command.OPEN, Reply(Status.WRONG_DEVICE))
    answer = client.post(f"{REPOSITORY}/load")
    assert answer.status_code == 403
    assert answer.json()["undercroft"]["code"] == "License"
    row = client.post("/v2/repository/index").json()[0]
    assert "another device" in row["reason"]
    assert client.post(f"{REPOSITORY}/load").status_code == 200


def test_a_failed_inference_harms_nobody(loaded: TestClient, trap: Switchboard) -> None:
    trap.set(Command.PUSH, Reply(Status.NOT_AUTHENTIC))
    answer = loaded.post("/v2/models/m/infer", json=request())
    assert answer.status_code == 403
    assert answer.json()["undercroft"]["code"] == "Verification"
    assert loaded.post("/v2/models/m/infer", json=request()).status_code == 200


def test_a_dead_trusted_application(loaded: TestClient, trap: Switchboard) -> None:
    trap.set(Command.INPUT, DeviceLostError("the Trusted Application died"))
    answer = loaded.post("/v2/models/m/infer", json=request())
    assert answer.status_code == 503
    assert answer.json()["undercroft"]["code"] == "DeviceLost"
    assert loaded.get("/v2/models/m/ready").status_code == 409
    assert loaded.post(f"{REPOSITORY}/load").status_code == 200
    assert loaded.post("/v2/models/m/infer", json=request()).status_code == 200


def test_a_fault_of_our_own_tells_the_client_nothing(
    loaded: TestClient, trap: Switchboard
) -> None:
    trap.set(Command.INFER, RuntimeError("/home/someone/secret"))
    answer = loaded.post("/v2/models/m/infer", json=request())
    assert answer.status_code == 500
    assert answer.json() == {"error": "a fault inside the agent"}
    assert loaded.post("/v2/models/m/infer", json=request()).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/models/m"),
        ("GET", "/v2/models/m/ready"),
        ("POST", "/v2/models/m/infer"),
        ("POST", f"{REPOSITORY}/load"),
        ("POST", f"{REPOSITORY}/unload"),
        ("GET", OWN),
        ("DELETE", OWN),
        ("GET", f"{OWN}/stats"),
    ],
)
def test_unknown_model(client: TestClient, method: str, path: str) -> None:
    answer = client.request(method, path)
    assert answer.status_code == 404
    assert "no model 'm'" in answer.json()["error"]


@pytest.mark.parametrize(
    "name", ["..", ".", "%2e%2e", "a%00b", "x" * 65, "a b", "%C3%A4", "a%0a"]
)
@pytest.mark.parametrize("part", ["sealed", "license"])
def test_bad_names_write_nothing(
    client: TestClient, tmp_path: Path, name: str, part: str
) -> None:
    before = sorted(tmp_path.rglob("*"))
    answer = client.put(f"/v2/undercroft/models/{name}/{part}", content=b"x")
    # The client itself resolves a plain dot segment, to a path that is none.
    assert answer.status_code in {400, 404, 405}
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("path", ["/", "/v1", "/v2/models", "/v2/undercroft/x"])
def test_unknown_paths_answer_in_json(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.json() == {"error": "Not Found"}


def test_wrong_method(client: TestClient) -> None:
    answer = client.get("/v2/repository/index")
    assert answer.status_code == 405
    assert "error" in answer.json()


@pytest.mark.parametrize("chunked", [True, False])
def test_too_large_uploads(client: TestClient, tmp_path: Path, chunked: bool) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(40):
            yield bytes(1 << 15)

    content = chunks() if chunked else b"".join(chunks())
    answer = client.put(f"{OWN}/sealed", content=content)
    assert answer.status_code == 413
    answer = client.put(f"{OWN}/license", content=bytes(4097))
    assert answer.status_code == 413
    assert not [path for path in (tmp_path / "agent").rglob("*") if path.is_file()]


def test_too_large_inference(loaded: TestClient) -> None:
    answer = loaded.post("/v2/models/m/infer", content=bytes(1 << 20))
    assert answer.status_code == 413


def test_an_upload_that_is_no_sealed_model(client: TestClient) -> None:
    answer = client.put(f"{OWN}/sealed", content=b"onnx")
    assert answer.status_code == 422
    assert answer.json()["undercroft"]["code"] == "Format"
    assert answer.json()["error"].startswith("the upload is not")


@pytest.mark.parametrize("text", ["-1", "x", "1" * 30, "\u0661"])
def test_bad_header_length(loaded: TestClient, text: str) -> None:
    answer = loaded.post(
        "/v2/models/m/infer",
        json=request(),
        headers={"Inference-Header-Content-Length": text.encode()},  # type: ignore[dict-item]
    )
    assert answer.status_code == 400


def test_compressed_request(loaded: TestClient) -> None:
    answer = loaded.post(
        "/v2/models/m/infer", json=request(), headers={"Content-Encoding": "gzip"}
    )
    assert answer.status_code == 415


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff"])
def test_control_body_that_is_no_object(loaded: TestClient, body: bytes) -> None:
    assert loaded.post(f"{REPOSITORY}/load", content=body).status_code == 400


def test_our_own_extension(loaded: TestClient, shipment: Shipment) -> None:
    value = loaded.get("/v2/undercroft").json()
    assert value["device"]["kind"] == "host"
    assert value["loaded"] == ["m"]
    assert value["counts_instructions"] is False
    answer = loaded.get("/v2/undercroft/device-key")
    assert answer.headers["content-type"] == "application/cose-key"
    assert answer.content == b"\xa3key"
    assert loaded.get(OWN).json() == {
        "name": "m",
        "sealed_sha256": hashlib.sha256(shipment.sealed).hexdigest(),
        "has_license": True,
        "budget_bytes": 65536,
        "loaded": True,
    }
    assert loaded.get(f"{OWN}/stats").status_code == 404


def test_delete(loaded: TestClient, device: FakeDevice, tmp_path: Path) -> None:
    assert loaded.delete(OWN).status_code == 200
    assert all(invoker.closed for invoker in device.opened)
    assert loaded.get(OWN).status_code == 404
    assert not [path for path in (tmp_path / "agent").rglob("*") if path.is_file()]


def test_models_stay_over_a_restart_and_can_be_loaded_at_once(
    sealed_path: Path, shipment: Shipment, tmp_path: Path
) -> None:
    folder = tmp_path / "agent"
    with TestClient(Agent(FakeDevice(sealed_path), folder).app) as client:
        upload(client, shipment)
    agent = Agent(FakeDevice(sealed_path), folder, preload=["m", "missing"])
    with TestClient(agent.app) as client:
        # Queued behind the loading.
        assert client.get("/v2/health/ready").status_code == 200
        assert client.get("/v2/models/m/ready").status_code == 200


def test_too_many_waiting(loaded: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_module, "MAX_WAITING", 0)
    answer = loaded.post("/v2/models/m/infer", json=request())
    assert answer.status_code == 503
    assert "waiting" in answer.json()["error"]


def test_port_in_use() -> None:
    with agent_module.listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(DeviceError, match=f"port {port}: in use") as error:
            agent_module.listen("127.0.0.1", port)
        assert "--port" in error.value.hint


def test_an_address_that_is_not_ours() -> None:
    with pytest.raises(DeviceError, match="cannot listen on"):
        agent_module.listen("203.0.113.1", 0)
