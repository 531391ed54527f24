# SPDX-License-Identifier: Apache-2.0
"""`run`, `verify` and `serve` as a person calls them, on the host's engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import undercroft as uc
from helpers import onnx_nets
from undercroft._device.host import NoProtectionWarning, load_device_key
from undercroft.attestation import DEVELOPMENT_POLICY

pytestmark = pytest.mark.engine

FIELDS = {
    "model",
    "device",
    "budget_bytes",
    "secure_peak_bytes",
    "weights_bytes",
    "decrypted_bytes",
    "spilled_bytes",
    "world_switches",
    "max_abs_error",
    "max_rel_error",
    "argmax_match",
    "instructions",
    "seconds",
    "schemes",
}


@dataclass(frozen=True)
class Desk:
    """A folder with a model, its sealed file and a license, and a data folder."""

    folder: Path
    array: np.ndarray
    expected: np.ndarray

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "undercroft", *words],
            cwd=self.folder,
            env={
                **os.environ,
                "UNDERCROFT_DATA": str(self.folder / "data"),
                **environment,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    folder = tmp_path_factory.mktemp("desk")
    case = onnx_nets.case("residual_network")
    onnx.save(case.model, folder / "model.onnx")
    key = uc.ProviderKey.generate()
    sealed = uc.seal(
        folder / "model.onnx", folder / "model.sealed", budget="1MiB", signing_key=key
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNDERCROFT_DATA", str(folder / "data"))
        with pytest.warns(NoProtectionWarning):
            device = uc.enroll("host:", policy=DEVELOPMENT_POLICY)
    permit = uc.issue_license(
        model_key=sealed.model_key, device=device.public_key, signing_key=key
    )
    (folder / "device.license").write_bytes(permit)
    feed = onnx_nets.random_inputs(case)
    (array,) = feed.values()
    np.save(folder / "x.npy", array)
    array.tofile(folder / "x.raw")
    np.save(folder / "wide.npy", array.astype(np.float64))
    runtime = onnxruntime.InferenceSession(case.model.SerializeToString())
    return Desk(folder, array, runtime.run(None, feed)[0])


RUN = ("run", "model.sealed", "--license", "device.license", "--device", "host:")
VERIFY = ("verify", "model.onnx", "--budget", "1MiB", "--device", "host:")


@pytest.fixture(scope="module")
def input_name(desk: Desk) -> str:
    return str(onnx.load(desk.folder / "model.onnx").graph.input[0].name)


# ---- run ----


@pytest.mark.parametrize("file", ["x.npy", "x.raw"])
def test_run_writes_the_outputs(desk: Desk, input_name: str, file: str) -> None:
    done = desk.run(
        *RUN, "--input", f"{input_name}={file}", "--output-dir", "out", "--json"
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["device"] == "host"
    assert report["stats"]["secure_peak_bytes"] <= 1 << 20
    (row,) = report["outputs"]
    got = np.load(desk.folder / row["file"])
    assert np.abs(got - desk.expected).max() <= 1e-4 * np.abs(desk.expected).max()
    assert row["argmax"] == int(desk.expected.argmax())


def test_run_for_people(desk: Desk, input_name: str) -> None:
    done = desk.run(*RUN, "--input", f"{input_name}=x.npy")
    assert done.returncode == 0, done.stderr
    assert "largest element" in done.stdout
    assert "world switches" in done.stdout
    assert "warning: the host: device runs models" in done.stderr
    assert "WITHOUT any protection" in done.stderr


def test_run_in_private(desk: Desk, input_name: str) -> None:
    done = desk.run(
        *RUN, "--input", f"{input_name}=x.npy", "--private", "--output-dir", "sealed",
        "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["outputs"]
    got = np.load(desk.folder / row["file"])
    assert np.abs(got - desk.expected).max() <= 1e-4 * np.abs(desk.expected).max()


def test_run_in_private_by_a_certificate(desk: Desk, input_name: str) -> None:
    run = (*RUN, "--input", f"{input_name}=x.npy", "--certificate", "device.cert")
    done = desk.run("enroll", "host:", "--allow-development", "-o", "device.cert")
    assert done.returncode == 0, done.stderr
    done = desk.run(*run, "--private")
    assert done.returncode == 0, done.stderr
    done = desk.run(*run)
    assert done.returncode == 2
    assert "--certificate goes with --private" in done.stderr
    other = uc.DeviceCertificate(uc.keys.DevicePublicKey(bytes(range(9, 41))))
    other.save(desk.folder / "device.cert")
    done = desk.run(*run, "--private")
    assert done.returncode == 1
    assert "with the key of this device" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--input", "nothing=x.npy"], 1, "no input 'nothing'"),
        ([], 1, "missing input"),
        (["--input", "NAME=x.npy", "--input", "NAME=x.raw"], 1, "given twice"),
        (["--input", "NAME=missing.npy"], 1, "missing.npy cannot be read"),
        (["--input", "NAME=wide.npy"], 1, "wide.npy holds float64"),
        (["--input", "NAME=model.onnx"], 1, "bytes and input"),
        (["--input", "NAME"], 2, "is not like x=input.npy"),
        (["--input", "=x.npy"], 2, "is not like x=input.npy"),
    ],
)
def test_run_with_wrong_inputs(
    desk: Desk, input_name: str, words: list[str], code: int, says: str
) -> None:
    done = desk.run(*RUN, *(word.replace("NAME", input_name) for word in words))
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_run_on_another_device(desk: Desk, tmp_path: Path) -> None:
    done = desk.run(*RUN, UNDERCROFT_DATA=str(tmp_path / "other"))
    assert done.returncode == 1
    assert "another device" in done.stderr
    assert "hint: ask the provider for a license" in done.stderr


def test_run_without_an_engine(desk: Desk) -> None:
    done = desk.run(*RUN, UNDERCROFT_ENGINE_LIBRARY="nowhere.so")
    assert done.returncode == 5
    assert "make engine" in done.stderr


def test_run_with_something_that_is_no_engine(desk: Desk) -> None:
    done = desk.run(*RUN, UNDERCROFT_ENGINE_LIBRARY=str(desk.folder / "model.onnx"))
    assert done.returncode == 5
    assert "cannot be used" in done.stderr


def test_run_with_nobody_there(desk: Desk) -> None:
    done = desk.run(*RUN[:-1], "http://127.0.0.1:9")
    assert done.returncode == 1
    assert "does not answer" in done.stderr


# ---- verify ----


def test_verify_passes(desk: Desk) -> None:
    done = desk.run(*VERIFY, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert set(report) >= FIELDS
    assert report["device"] == "host"
    assert report["budget_bytes"] == 1 << 20
    assert 0 < report["secure_peak_bytes"] <= 1 << 20
    assert report["max_rel_error"] <= 1e-4
    assert report["argmax_match"] is True
    assert report["instructions"] is None
    assert sum(report["schemes"].values()) > 0


@pytest.mark.parametrize("suite", ["aegis-128l", "chacha20-poly1305"])
def test_verify_with_another_suite(desk: Desk, suite: str) -> None:
    done = desk.run(*VERIFY, "--suite", suite, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["suite"] == suite


def test_verify_with_a_suite_that_is_none(desk: Desk) -> None:
    done = desk.run(*VERIFY, "--suite", "rot13")
    assert done.returncode == 2
    assert "chacha20-poly1305" in done.stderr


def test_verify_is_the_same_for_a_seed(desk: Desk) -> None:
    first, again, other = (
        json.loads(desk.run(*VERIFY, "--json", "--seed", seed).stdout)
        for seed in ("3", "3", "4")
    )
    assert first["max_abs_error"] == again["max_abs_error"]
    assert first["max_abs_error"] != other["max_abs_error"]


def test_verify_for_people(desk: Desk, input_name: str) -> None:
    done = desk.run(*VERIFY, "--input", f"{input_name}=x.npy")
    assert done.returncode == 0, done.stderr
    assert "the protected answer is the plain one" in done.stdout


def test_verify_fails_when_the_answers_differ(desk: Desk) -> None:
    done = desk.run(*VERIFY, "--tolerance", "0", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["passed"] is False


def test_verify_weights_in_8_bits(desk: Desk) -> None:
    net = onnx_nets.Net("wide")
    x = net.conv(net.input(1, 64, 9, 9), 64, 128)
    onnx.save(net.case(x).model, desk.folder / "wide.onnx")
    verify = ("verify", "wide.onnx", "--weights", "int8", "--device", "host:")
    report = json.loads(desk.run(*verify, "--json").stdout)
    assert report["weights"] == "int8"
    assert report["tolerance"] == 0.1
    assert 1e-4 < report["max_rel_error"] < 0.1
    done = desk.run(*verify)
    assert done.returncode == 0, done.stderr
    assert "with weights in 8 bits the answer moved by" in done.stdout
    assert desk.run(*verify, "--tolerance", "1e-4").returncode == 1


def test_verify_that_does_not_fit(desk: Desk) -> None:
    done = desk.run("verify", "model.onnx", "--budget", "64KiB", "--device", "host:")
    assert done.returncode == 4
    assert "secure memory" in done.stderr


def test_verify_something_that_is_no_model(desk: Desk) -> None:
    done = desk.run("verify", "x.npy", "--device", "host:")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_verify_on_no_device(desk: Desk) -> None:
    done = desk.run("verify", "model.onnx", "--device", "toaster:")
    assert done.returncode == 1
    assert "no such device: 'toaster:'" in done.stderr


# ---- serve ----


def test_serve_a_port_in_use(desk: Desk) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = desk.run("serve", "--device", "host:", "--port", port)
    assert done.returncode == 1
    assert "in use" in done.stderr
    assert "--port" in done.stderr


def test_serve_without_a_tee(desk: Desk) -> None:
    done = desk.run("serve", "--device", "tee:", "--port", "0")
    assert done.returncode == 5
    assert "Traceback" not in done.stderr


# ---- the device key of this user ----


def test_the_device_key_is_private_and_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNDERCROFT_DATA", str(tmp_path / "data"))
    key = load_device_key()
    assert len(key) == 32
    path = tmp_path / "data" / "host-device.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_device_key() == key


@pytest.mark.parametrize(
    ("mode", "data", "says"),
    [(0o644, bytes(32), "chmod 600"), (0o600, bytes(31), "damaged")],
)
def test_a_device_key_that_is_not_right(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mode: int,
    data: bytes,
    says: str,
) -> None:
    monkeypatch.setenv("UNDERCROFT_DATA", str(tmp_path))
    path = tmp_path / "host-device.key"
    path.write_bytes(data)
    path.chmod(mode)
    with pytest.raises(uc.Error) as error:
        load_device_key()
    assert says in error.value.diagnostics()
