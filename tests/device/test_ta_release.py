# SPDX-License-Identifier: Apache-2.0
"""A release build of the Trusted Application on the board, with the kernels that
use the dot products of the board's Cortex-A76.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import undercroft as uc
from helpers import guest, onnx_nets, qdq
from helpers.provider import FakePlan, test_key
from undercroft import _board, _build
from undercroft._device import open_device
from undercroft._spec import DEFAULT_ARENA_BYTES, Command, Status
from undercroft.keys import DevicePublicKey, ModelKey, ProviderKey
from undercroft.license import issue
from undercroft.seal import seal

pytestmark = [pytest.mark.board, pytest.mark.timeout(900)]

TRUSTED = ProviderKey.from_seed(bytes(range(32)))


@pytest.fixture(scope="module", autouse=True)
def release_board(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("release")
    key = folder / "provider.pem"
    key.write_bytes(TRUSTED.public().to_pem())
    variables = _build.ta_variables() | {
        "OUT": str(_build.BUILD / "ta-release-test"),
        "UC_BUILD": "release",
        "KERNELS": "neon_a76",
        "UC_PROVIDER_KEYS": str(key),
    }
    done = subprocess.run(
        ["make", "-C", "ta", *(f"{name}={value}" for name, value in variables.items())],
        cwd=_build.ROOT,
        env={**os.environ, "MAKEFLAGS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    application = _build.BUILD / "ta-release-test" / f"{guest.TA_UUID}.ta"
    _board.ensure_up(guest.BOARD_NAME, extra={f"ta/{guest.TA_UUID}.ta": application})


def run(steps: guest.Steps) -> list[dict[str, Any]]:
    return steps.run()


def test_it_says_that_it_is_one_and_has_no_ticks() -> None:
    before = guest.secure_log().count("development build")
    steps = guest.Steps()
    place = steps.info()
    info = run(steps)[place]
    assert info["build"] == "release"
    assert "release" in info["version"]
    assert info["has_ticks"] is False
    assert info["arena_bytes"] == DEFAULT_ARENA_BYTES
    assert guest.secure_log().count("development build") == before


def test_it_opens_models_of_its_providers_only(tmp_path: Path) -> None:
    steps = guest.Steps()
    steps.open()
    asked = steps.call(Command.DEVICE_KEY, ["value_inout", 0, 0], ["out", 256])
    written = run(steps)[asked]["outputs"]["1"]
    device = DevicePublicKey.from_cose_key(
        bytes.fromhex(written["memory"])[: written["size"]]
    )

    steps = guest.Steps()
    providers = {
        "trusted": TRUSTED,
        "test key": ProviderKey.from_seed(test_key("provider")),
        "other test key": ProviderKey.from_seed(test_key("other_provider")),
        "stranger": ProviderKey.generate(),
    }
    places = {}
    for number, (name, provider) in enumerate(providers.items()):
        header, license_ = ship(provider, device, tmp_path / f"{number}.sealed")
        steps.open(name)
        places[name] = steps.call(
            Command.OPEN,
            ["value_inout", 0, 0],
            ["in", header.hex()],
            ["in", license_.hex()],
            ["value_output"],
            session=name,
        )
        steps.close(name)
    answers = run(steps)
    statuses = {name: answers[at]["values"]["0"][0] for name, at in places.items()}
    assert statuses.pop("trusted") == Status.OK
    assert set(statuses.values()) == {Status.UNTRUSTED_PROVIDER}
    assert len(statuses) == 3


@pytest.mark.parametrize("kind", ["f32", "quantised"])
def test_its_kernels_give_onnxruntimes_answer(kind: str, tmp_path: Path) -> None:
    if kind == "f32":
        case = onnx_nets.case("mobile_network_v3")
        path = tmp_path / "net.onnx"
        onnx.save(case.model, path)
    else:
        case = qdq.eight_bit_network()
        path = qdq.quantised_file(case, tmp_path)
    sealed = uc.seal(path, tmp_path / "net.sealed", signing_key=TRUSTED, budget="1MiB")
    device = open_device(f"board:{guest.BOARD_NAME}")
    permit = uc.issue_license(
        model_key=sealed.model_key,
        device=DevicePublicKey.from_cose_key(device.device_key()),
        signing_key=TRUSTED,
    )
    feeds = qdq.feeds_of(case, 1)[0]
    with uc.InferenceSession(sealed.path, license=permit, device=device) as session:
        found = session.run(None, feeds)
    device.close()
    expected = onnxruntime.InferenceSession(path).run(None, feeds)
    allowed = 1e-4 if kind == "f32" else 5 / 255
    for one, other in zip(found, expected, strict=True):
        assert np.abs(one - other).max() <= allowed * np.abs(other).max()


def ship(
    provider: ProviderKey, device: DevicePublicKey, path: Path
) -> tuple[bytes, bytes]:
    """Seal and license; return the header and the license."""
    model_key = ModelKey(bytes(16), bytes(range(32)))
    seal(
        path,
        path,
        plan=FakePlan(),  # type: ignore[arg-type]
        signing_key=provider,
        model_id=model_key.model_id,
        content_key=model_key.content_key,
    )
    data = path.read_bytes()
    header = data[16 : 16 + int.from_bytes(data[12:16], "little")]
    return header, issue(model_key=model_key, device=device, signing_key=provider)
