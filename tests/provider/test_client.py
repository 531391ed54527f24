# SPDX-License-Identifier: Apache-2.0
"""The story over the network: a device enrols, gets its license, runs its model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import onnx
import pytest

from helpers.agents import running_agent
from helpers.license_service import (
    MODEL,
    MODEL_NAME,
    PROVIDER,
    listening_service,
    make_service,
)
from helpers.onnx_nets import case
from undercroft._device import open_device
from undercroft.errors import LicenseError, ProviderError
from undercroft.provider import ProviderClient
from undercroft.seal import seal
from undercroft.session import InferenceSession

pytestmark = pytest.mark.engine


@pytest.fixture
def device_folder(tmp_path, monkeypatch) -> Path:
    """Where the `host:` device keeps its key: one of this test's own."""
    monkeypatch.setenv("UNDERCROFT_DATA", str(tmp_path / "device"))
    return tmp_path


@pytest.fixture
def service(device_folder) -> Iterator[tuple[str, str]]:
    """A service that takes development devices; its URL, and an API key."""
    (device_folder / "service").mkdir()
    folder = make_service(device_folder / "service", allow_development=True)
    with listening_service(folder) as (url, _):
        yield url, folder.api_key


def undercroft(
    folder: Path, *arguments: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "undercroft", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=folder,
        env={**os.environ, **variables},
    )


def test_a_device_enrols_over_the_network_runs_and_is_revoked(
    service, device_folder
) -> None:
    url, api_key = service
    model = case("dynamic_sizes").model
    sealed = device_folder / "model.sealed"
    onnx.save(model, device_folder / "model.onnx")
    seal(
        device_folder / "model.onnx",
        sealed,
        signing_key=PROVIDER,
        model_id=MODEL.model_id,
        content_key=MODEL.content_key,
        budget="1MiB",
        input_shapes={"x": (1, 3, 12, 20)},
    )
    (device_folder / "api.key").write_text(api_key)
    (device_folder / "api.key").chmod(0o600)
    agent_folder = device_folder / "agent"
    with running_agent(open_device("host:"), agent_folder) as agent:
        done = undercroft(
            device_folder,
            *("enroll", agent, "--provider", url, "--api-key-file", "api.key"),
            *("--model", MODEL_NAME, "--license", "device.license"),
            *("--label", "kitchen", "--max-inferences", "2", "--json"),
        )
        assert done.returncode == 0, done.stderr
        facts = json.loads(done.stdout)
        assert facts["license"]["terms"] == {"max_inferences": 2}
        data = (device_folder / "device.license").read_bytes()
        x = np.zeros((1, 3, 12, 20), np.float32)
        with InferenceSession(sealed, license=data, device=agent) as session:
            assert session.run(None, {"x": x})[0].size > 0

        with ProviderClient(url, api_key=api_key) as provider:
            (device,) = provider.items("devices")
            assert device["device_id"] == facts["device_id"]
            assert device["label"] == "kitchen"
            (held,) = provider.items("licenses", state="current")
            provider.revoke(license_id=held["license_id"], reason="returned")
            (update,) = provider.updates(device["device_id"])
            opened = open_device(agent)
            opened.update(update)
            with pytest.raises(LicenseError):
                InferenceSession(sealed, license=data, device=agent)
            fresh = provider.issue(MODEL_NAME, device["device_id"])
        with InferenceSession(sealed, license=fresh, device=agent) as session:
            assert session.run(None, {"x": x})[0].size > 0


def test_the_command_says_what_was_refused(service, device_folder) -> None:
    url, api_key = service
    key = {"UNDERCROFT_API_KEY": api_key}
    common = ("enroll", "host:", "--provider", url)
    done = undercroft(device_folder, *common, UNDERCROFT_API_KEY="uck_wrong")
    assert done.returncode == 1
    assert "unknown, expired or revoked" in done.stderr
    done = undercroft(device_folder, *common, "--model", MODEL_NAME, **key)
    assert done.returncode == 2
    assert "--license" in done.stderr
    done = undercroft(
        device_folder, *common, "--model", "none", "--license", "l", **key
    )
    assert done.returncode == 1
    assert "there is no model 'none'" in done.stderr
    assert not (device_folder / "l").exists()
    done = undercroft(device_folder, *common, "--allow-development", **key)
    assert done.returncode == 2
    assert "the service has a policy of its own" in done.stderr
    (device_folder / "open.key").write_text(api_key)
    (device_folder / "open.key").chmod(0o644)
    done = undercroft(device_folder, *common, "--api-key-file", "open.key")
    assert done.returncode == 1
    assert "chmod 600 open.key" in done.stderr
    done = undercroft(device_folder, *common)
    assert done.returncode == 2
    assert "UNDERCROFT_API_KEY" in done.stderr


def test_evidence_that_is_refused_says_what_is_missing(tmp_path, device_folder) -> None:
    (tmp_path / "strict").mkdir()
    folder = make_service(tmp_path / "strict")
    with (
        listening_service(folder) as (url, _),
        ProviderClient(url, api_key=folder.api_key) as provider,
        pytest.raises(ProviderError) as caught,
    ):
        provider.enroll("host:")
    assert caught.value.problem == "evidence-refused"
    assert caught.value.status == 422
    assert [item["check"] for item in caught.value.members["checks"]] == [6, 7, 8]


# ---- the client by itself ----


class Script:
    """Answers in the order that a test wrote down."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.seen: list[httpx.Request] = []
        self.slept: list[float] = []

    def client(self, patience_seconds: float = 60.0) -> ProviderClient:
        made = ProviderClient(
            "http://127.0.0.1:1",
            api_key="k",
            patience_seconds=patience_seconds,
            sleep=self.slept.append,
        )
        made._http._transport = httpx.MockTransport(self._answer)
        return made

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def problem(status: int, kind: str, **headers: str) -> httpx.Response:
    value = {"type": f"/problems/{kind}", "detail": "what", "hint": "do"}
    return httpx.Response(status, json=value, headers=headers)


def test_a_request_is_sent_again_with_its_key() -> None:
    script = Script(
        httpx.ReadError("reset"),
        problem(503, "database-unavailable", **{"Retry-After": "1"}),
        problem(429, "rate-exceeded", **{"Retry-After": "7"}),
        httpx.Response(201, json={"license": "AAEC"}),
    )
    with script.client() as provider:
        assert provider.issue("m", "d") == b"\0\1\2"
    keys = {request.headers["idempotency-key"] for request in script.seen}
    assert len(script.seen) == 4
    assert len(keys) == 1
    assert script.slept[1] >= 1
    assert script.slept[2] >= 7


def test_patience_ends() -> None:
    script = Script(*(problem(503, "database-unavailable") for _ in range(3)))
    with (
        script.client(patience_seconds=0.1) as provider,
        pytest.raises(ProviderError) as caught,
    ):
        provider.updates()
    assert caught.value.problem == "database-unavailable"
    assert (caught.value.message, caught.value.hint) == ("what", "do")


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json=[1]),
        httpx.Response(200, json={}),
        httpx.Response(200, json={"license": "?"}),
        httpx.Response(200, json={"license": 5}),
        httpx.Response(500, text="down"),
        httpx.Response(404, json={"type": 1}),
        problem(409, "license-exists"),
    ],
)
def test_whatever_is_answered_ends_in_one_of_our_errors(answer) -> None:
    with Script(answer).client() as provider, pytest.raises(ProviderError) as caught:
        provider.issue("m", "d")
    assert caught.value.hint


@pytest.mark.parametrize(
    "url", ["", "licenses.example", "ftp://a", "http://licenses.example", "http://"]
)
def test_addresses_that_are_none_or_would_show_the_key(url: str) -> None:
    with pytest.raises(ProviderError) as caught:
        ProviderClient(url, api_key="k")
    assert "https://" in caught.value.hint
