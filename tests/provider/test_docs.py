# SPDX-License-Identifier: Apache-2.0
"""The commands of docs/provider.md do what it says."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import httpx
from click.testing import CliRunner

from helpers.attesting import PlayedDevice
from helpers.license_service import (
    ACME,
    MODEL,
    ServiceFolder,
    listening_service,
)
from undercroft._cli import main
from undercroft._provider.app import router
from undercroft.factory import save_certificate

TEXT = (Path(__file__).parents[2] / "docs" / "provider.md").read_text()


def block(language: str) -> str:
    """Return the text of the one block in a language that a test runs."""
    marker = "<!-- tests/provider/test_docs.py runs these commands -->"
    found = re.findall(rf"{marker}\n\n```{language}\n(.*?)```", TEXT, re.DOTALL)
    assert len(found) == 1
    return found[0]


def test_the_commands_make_a_service_that_answers(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_certificate(ACME.certificate, tmp_path / "acme.pem")
    MODEL.save(tmp_path / "model.sealed.key")
    lines = [line for line in block("console").splitlines() if line.startswith("$ ")]
    assert len(lines) == 5
    keys = []
    for line in lines:
        _, command, *arguments = shlex.split(line)
        assert command == "undercroft"
        done = CliRunner().invoke(main, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        keys += re.findall(r"^uck_.+$", done.stdout, re.MULTILINE)
    assert len(keys) == 2

    device = PlayedDevice.number(1)
    folder = ServiceFolder(tmp_path / "provider" / "provider.toml", keys[0])
    (tmp_path / "devices.csv").write_text(f"device\n{device.device_id}\n")
    everything = folder.new_key()
    with listening_service(folder) as (url, _):
        with httpx.Client(base_url=url, headers=folder.headers) as api:
            nonce = api.post("/v1/challenges").json()["nonce"]
            body = device.answer(nonce, device.endorsed_by(ACME))
            assert api.post("/v1/devices", json=body).status_code == 201
        script = block("bash").replace("curl -s ", "curl -s -w '\\n' --fail-with-body ")
        done = subprocess.run(
            ["bash", "-eu", "-c", script],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=tmp_path,
            env={
                **os.environ,
                "URL": url,
                "DEVICE": device.device_id,
                "UNDERCROFT_API_KEY": everything,
            },
        )
    assert done.returncode == 0, done.stdout + done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == script.count("curl ") == 6
    issued, listed, again, revoked, updates = answers[1:]
    assert issued["terms"] == {"expires": 1861920000, "rate": [10, 60]}
    assert [item["license_id"] for item in listed["items"]] == [issued["license_id"]]
    assert (again["issued"], again["already"]) == (0, 1)
    assert revoked["revocations"][0]["version"] == updates["version"] == 1


def test_every_request_is_in_the_table(sqlite_api) -> None:
    rows = re.findall(r"^\| `(GET|POST) [^|]+\| `?(\w+)`? \|", TEXT, re.MULTILINE)
    shown = re.findall(r"`(?:(GET|POST) )?(/v1/[^` ?]+)[^`]*`", TEXT)
    paths = {path.replace("/ID", "/{}") for _, path in shown}
    for route in router.routes:
        path = re.sub(r"{\w+}", "{}", route.path)
        assert path in paths, route.path
    assert len(rows) >= 12
    schema = sqlite_api.get("/openapi.json").json()
    assert set(schema["paths"]) == {route.path for route in router.routes}
    for operations in schema["paths"].values():
        for operation in operations.values():
            assert operation["description"]
            assert "503" in operation["responses"]
            content = operation["responses"]["400"]["content"]
            assert "application/problem+json" in content
    text = json.dumps(schema)
    assert "HTTPValidationError" not in text
    for name in re.findall(r"#/components/schemas/(\w+)", text):
        assert name in schema["components"]["schemas"]
