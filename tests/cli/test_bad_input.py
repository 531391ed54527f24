# SPDX-License-Identifier: Apache-2.0
"""Files in each other's place, open to others, and clocks that are far off."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import time
from pathlib import Path

import onnx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from helpers.command import undercroft
from helpers.onnx_nets import case
from helpers.provider import Device, test_key
from undercroft.enroll import DeviceCertificate
from undercroft.license import License
from undercroft.update import Update

SEAL = ("seal", "model.onnx", "--input-shape", "x=1,3,12,20", "-o", "x")
ISSUE = ("license", "issue", "-o", "x")
ENDORSE = (
    *("factory", "endorse", "host:", "--manufacturer", "acme.pem", "-o", "x"),
    "--allow-development",
)
SECRETS = ("provider.pem", "m.sealed.key", "acme.key")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with one of everything that the commands make."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        onnx.save(case("dynamic_sizes").model, "model.onnx")
        DeviceCertificate(Device(test_key("device")).public, "a board").save("d.cert")
        for line in (
            "keys new provider.pem",
            "keys show provider.pem --public provider.pub",
            "seal model.onnx -o m.sealed --key provider.pem --input-shape x=1,3,12,20",
            "license issue --model-key m.sealed.key --device d.cert --key provider.pem "
            "-o d.license",
            "update new --key provider.pem -o now.update",
            "factory new ACME --key acme.key -o acme.pem",
        ):
            done = undercroft(*line.split())
            assert done.code == 0, done.err
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        Path("rsa.pem").write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        # So that it is their kind that is refused, and not their permissions.
        for name in ("rsa.pem", "provider.pub", "d.cert"):
            Path(name).chmod(0o600)
    return folder


@pytest.fixture
def folder(made, tmp_path, monkeypatch) -> Path:
    """A copy of that folder, as the current one."""
    here = tmp_path / "here"
    shutil.copytree(made, here)
    monkeypatch.chdir(here)
    monkeypatch.setenv("UNDERCROFT_DATA", str(tmp_path / "data"))
    return here


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("command", "says", "hint"),
    [
        (
            (*SEAL, "--key", "m.sealed.key"),
            "m.sealed.key is not a private key",
            "undercroft keys new",
        ),
        (
            (*SEAL, "--key", "provider.pub"),
            "provider.pub is not a private key",
            "undercroft keys new",
        ),
        (
            (*SEAL, "--key", "acme.key"),
            "acme.key is not a provider key: it looks like a manufacturer's key",
            "undercroft keys new",
        ),
        (
            (*ENDORSE, "--key", "provider.pem"),
            "provider.pem is not the key of acme.pem: it looks like a provider key",
            "undercroft factory new",
        ),
        (
            (*ENDORSE, "--key", "m.sealed.key"),
            "m.sealed.key is not the key of acme.pem: it looks like a model key",
            "undercroft factory new",
        ),
        (
            (*SEAL, "--key", "rsa.pem"),
            "rsa.pem is not an Ed25519 private key",
            "undercroft keys new",
        ),
        (
            (*SEAL, "--key", "provider.pem", "--key-file", "provider.pem"),
            "provider.pem is not a model key",
            "undercroft seal",
        ),
        (
            (*ISSUE, "--model-key", "provider.pem", "--device", "d.cert"),
            "provider.pem is not a model key",
            "undercroft seal",
        ),
        (
            (*ISSUE, "--model-key", "m.sealed.key", "--device", "provider.pub"),
            "provider.pub: the device certificate is not",
            "undercroft enroll",
        ),
        (
            (*ISSUE, "--model-key", "m.sealed.key", "--device", "d.license"),
            "d.license: the device certificate is malformed",
            "undercroft enroll",
        ),
        (
            ("reseal", "m.sealed", "--model-key", "provider.pem", "-o", "x"),
            "provider.pem is not a model key",
            "undercroft seal",
        ),
        (
            ("reseal", "d.cert", "--model-key", "m.sealed.key", "-o", "x"),
            "d.cert is not a sealed model",
            "undercroft seal",
        ),
        (
            ("license", "revoke", "--model-key", "d.cert", "--version", "1", "-o", "x"),
            "d.cert is not a model key",
            "undercroft seal",
        ),
        (
            ("update", "new", "--version", "1", "--successor", "acme.pem", "-o", "x"),
            "acme.pem is not a public key",
            "--public",
        ),
        (
            ("inspect", "m.sealed", "--provider", "provider.pem"),
            "provider.pem is not a public key",
            "--public",
        ),
        (
            ("license", "show", "now.update"),
            "now.update: the license is malformed",
            "undercroft license issue",
        ),
        (
            ("update", "show", "d.license"),
            "d.license: the update is malformed",
            "undercroft update new",
        ),
        (
            ("update", "apply", "host:", "d.license"),
            "d.license: the update is malformed",
            "undercroft update new",
        ),
        (
            ("enroll", "host:", "--manufacturer", "provider.pub", "-o", "x"),
            "provider.pub is no certificate",
            "undercroft factory",
        ),
    ],
)
def test_a_file_of_another_kind_is_named_and_nothing_is_written(
    folder, command, says, hint
):
    before = names(folder)
    takes_key = command[:2] in {
        ("license", "issue"),
        ("license", "revoke"),
        ("update", "new"),
    }
    if takes_key or command[0] == "reseal":
        command = (*command, "--key", "provider.pem")
    done = undercroft(*command)
    assert done.code == 1
    assert says in done.err
    assert hint in done.err.partition("hint: ")[2]
    assert "Traceback" not in done.err
    assert names(folder) == before


COMMANDS_WITH_SECRETS = {
    "provider.pem": ("update", "new", "--key", "provider.pem", "-o", "x"),
    "m.sealed.key": (
        *(*ISSUE, "--model-key", "m.sealed.key", "--device", "d.cert"),
        *("--key", "provider.pem"),
    ),
    "acme.key": (*(*ENDORSE, "--key", "acme.key"),),
}


@pytest.mark.engine
@pytest.mark.parametrize("mode", [0o604, 0o640, 0o620, 0o602, 0o777])
@pytest.mark.parametrize("secret", SECRETS)
def test_the_hint_mends_a_secret_that_others_may_read_or_write(folder, secret, mode):
    (folder / secret).chmod(mode)
    done = undercroft(*COMMANDS_WITH_SECRETS[secret])
    assert done.code == 1
    assert f"{secret} is a secret and others may read or write it" in done.err
    assert not (folder / "x").exists()
    mend = done.err.partition("hint: ")[2].strip()
    subprocess.run(shlex.split(mend), check=True)
    done = undercroft(*COMMANDS_WITH_SECRETS[secret])
    assert done.code == 0, done.err
    assert (folder / "x").exists()


@pytest.mark.engine
def test_the_host_device_s_own_key_is_held_to_the_same(folder, tmp_path):
    enroll = ("enroll", "host:", "--allow-development", "-o", "x")
    assert undercroft(*enroll).code == 0
    (key,) = (tmp_path / "data").glob("*.key")
    key.chmod(0o644)
    done = undercroft(*enroll)
    assert done.code == 1
    mend = done.err.partition("hint: ")[2].strip()
    subprocess.run(shlex.split(mend), check=True)
    assert undercroft(*enroll).code == 0


@pytest.mark.parametrize("now", [0, 1_700_000_000, 2**32 - 1, 2**33, 1e18])
def test_a_provider_s_clock_that_is_far_off_issues_nothing(folder, monkeypatch, now):
    before = names(folder)
    monkeypatch.setattr(time, "time", lambda: float(now))
    for command in (
        (*ISSUE, "--model-key", "m.sealed.key", "--device", "d.cert"),
        ("update", "new", "-o", "x"),
        (
            "license",
            "revoke",
            "--model-key",
            "m.sealed.key",
            "--version",
            "1",
            "-o",
            "x",
        ),
    ):
        done = undercroft(*command, "--key", "provider.pem")
        assert done.code == 5
        assert "this machine's clock stands" in done.err
        assert "timedatectl" in done.err
        assert names(folder) == before


def test_a_device_of_another_name_or_twice_is_said_by_line(folder):
    key = Device(test_key("device")).public.raw.hex()
    rows = [
        "device,rate",
        f"{key},",
        "d.cert,10/60",
        f"{key},ten",
        "",
        "none.cert,",
        "a,b,c",
    ]
    (folder / "devices.csv").write_text("\n".join(rows))
    issue = (*ISSUE, "--model-key", "m.sealed.key", "--key", "provider.pem")
    done = undercroft(*issue, "--devices", "devices.csv")
    assert done.code == 1
    assert "line 3: the same device as in line 2" in done.err
    for number in (4, 6, 7):
        assert f"line {number}: " in done.err
    assert "--partial" in done.err.partition("hint: ")[2]
    assert not (folder / "x").exists()


def test_what_is_made_is_what_the_others_are_not(folder):
    assert License.load("d.license").data
    assert Update.load("now.update").data
    assert DeviceCertificate.load("d.cert").info == "a board"
