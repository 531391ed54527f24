# SPDX-License-Identifier: Apache-2.0
"""`keys`, `seal`, `inspect`, `license` and `enroll` as people call them."""

from __future__ import annotations

import json
import os
import resource
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import onnx
import pytest

from helpers.onnx_nets import case
from helpers.provider import Device, test_key
from undercroft.enroll import DeviceCertificate
from undercroft.sealed import SealedModel

ENROLL = ("enroll", "host:", "--allow-development")
SHAPE = ("--input-shape", "x=1,3,12,20")


@pytest.fixture
def undercroft(tmp_path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command in a folder of its own, with its own data folder."""

    def run(*arguments: str, file_limit: int = 0) -> subprocess.CompletedProcess[str]:
        def limit() -> None:
            limits = (file_limit, resource.RLIM_INFINITY)
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

        return subprocess.run(
            [sys.executable, "-m", "undercroft", *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=tmp_path,
            env={**os.environ, "UNDERCROFT_DATA": str(tmp_path / "data")},
            preexec_fn=limit if file_limit else None,
        )

    return run


@pytest.fixture
def folder(tmp_path, undercroft) -> Path:
    """A folder with a model and a provider key."""
    onnx.save(case("dynamic_sizes").model, tmp_path / "model.onnx")
    assert undercroft("keys", "new", "provider.pem").returncode == 0
    done = undercroft("keys", "show", "provider.pem", "--public", "provider.pub")
    assert done.returncode == 0
    return tmp_path


def seal(undercroft, *options: str, **others) -> subprocess.CompletedProcess[str]:
    arguments = ("model.onnx", "-o", "m.sealed", "--key", "provider.pem", *SHAPE)
    return undercroft("seal", *arguments, *options, **others)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_whole_way_from_a_key_to_a_license(folder, undercroft):
    done = seal(undercroft, "--model-version", "3", "--json")
    assert done.returncode == 0, done.stderr
    sealed = json.loads(done.stdout)
    assert sealed["path"] == "m.sealed"
    assert sealed["key_file"] == "m.sealed.key"
    assert sealed["file_bytes"] == (folder / "m.sealed").stat().st_size
    assert stat.S_IMODE((folder / "m.sealed.key").stat().st_mode) == 0o600

    done = undercroft("inspect", "m.sealed", "--provider", "provider.pub", "--json")
    facts = json.loads(done.stdout)
    assert facts["model_id"] == sealed["model_id"]
    assert facts["model_version"] == 3
    assert facts["inputs"][0]["shape"] == [1, 3, 12, 20]

    device = Device(test_key("device")).public
    DeviceCertificate(device, "a board").save(folder / "device.cert")
    done = undercroft(
        *("license", "issue", "--model-key", "m.sealed.key"),
        *("--device", "device.cert", "--key", "provider.pem"),
        *("-o", "device.license", "--json"),
    )
    assert done.returncode == 0, done.stderr
    issued = json.loads(done.stdout)
    assert issued["model_id"] == sealed["model_id"]
    assert issued["device_id"] == device.device_id.hex()

    done = undercroft(
        "license", "show", "device.license", "--provider", "provider.pub", "--json"
    )
    shown = json.loads(done.stdout)
    assert shown["license_id"] == issued["license_id"]


def test_what_people_see(folder, undercroft):
    done = seal(undercroft)
    assert done.returncode == 0, done.stderr
    assert "of secure memory" in done.stdout
    assert "m.sealed.key: the content key. Keep it, and keep it secret." in done.stdout
    done = undercroft("inspect", "m.sealed")
    assert "AES-256-GCM" in done.stdout
    assert "1 x 3 x 12 x 20" in done.stdout
    done = undercroft("keys", "show", "provider.pem")
    assert done.stdout.startswith("key id")
    # A secret is printed by no verb.
    secret = json.loads((folder / "m.sealed.key").read_text())["content_key"]
    assert secret not in done.stdout


def test_sealing_again_keeps_the_model_id(folder, undercroft):
    first = json.loads(seal(undercroft, "--json").stdout)
    again = json.loads(seal(undercroft, "--json", "--model-version", "2").stdout)
    assert again["model_id"] == first["model_id"]
    assert again["model_version"] == 2


def test_a_key_is_not_overwritten(folder, undercroft):
    before = (folder / "provider.pem").read_bytes()
    done = undercroft("keys", "new", "provider.pem")
    assert done.returncode == 1
    assert "exists already" in done.stderr
    assert (folder / "provider.pem").read_bytes() == before


def test_a_key_open_to_others_is_refused_with_the_command(folder, undercroft):
    (folder / "provider.pem").chmod(0o644)
    before = names(folder)
    done = seal(undercroft)
    assert done.returncode == 1
    assert "hint: chmod 600 provider.pem" in done.stderr
    assert names(folder) == before


def test_a_full_disk_leaves_nothing(folder, undercroft):
    before = names(folder)
    # A limit on the size of files stands for the full disk.
    done = seal(undercroft, file_limit=20_000)
    assert done.returncode == 1
    assert "m.sealed cannot be written" in done.stderr
    assert "are free in" in done.stderr
    assert names(folder) == before


def test_a_budget_too_small_leaves_nothing(folder, undercroft):
    before = names(folder)
    done = seal(undercroft, "--budget", "8KiB")
    assert done.returncode == 4
    assert names(folder) == before


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("inspect", "missing.sealed"), 1, "missing.sealed cannot be read"),
        (("inspect", "model.onnx"), 1, "is not a sealed model"),
        (("inspect",), 2, "Missing argument"),
        (("keys", "show", "model.onnx"), 1, "chmod 600 model.onnx"),
        (("keys", "new", "no/such/key.pem"), 1, "cannot be written"),
        (("license", "show", "model.onnx"), 1, "license"),
        (("seal", "model.onnx"), 2, "--output"),
        (("enroll", "nowhere:"), 1, "no such device"),
    ],
)
def test_mistakes_are_said(folder, undercroft, arguments, code, says):
    (folder / "model.onnx").chmod(0o644)
    done = undercroft(*arguments)
    assert done.returncode == code
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_another_provider_s_file_is_noticed(folder, undercroft):
    assert seal(undercroft).returncode == 0
    undercroft("keys", "new", "other.pem")
    undercroft("keys", "show", "other.pem", "--public", "other.pub")
    done = undercroft("inspect", "m.sealed", "--provider", "other.pub")
    assert done.returncode == 1
    assert "another provider" in done.stderr


@pytest.mark.engine
def test_enrolling_the_host_device(folder, undercroft):
    done = undercroft(*ENROLL, "-o", "host.cert", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    certificate = DeviceCertificate.load(folder / "host.cert")
    assert told["device_id"] == certificate.device_id.hex()
    assert told["authenticated"] is False
    # The same device again, not another.
    done = undercroft(*ENROLL, "-o", "again.cert", "--json")
    assert json.loads(done.stdout)["device_id"] == told["device_id"]


@pytest.mark.parametrize(
    "verb",
    [
        ("keys",),
        ("keys", "new"),
        ("keys", "show"),
        ("seal",),
        ("inspect",),
        ("license",),
        ("license", "issue"),
        ("license", "revoke"),
        ("license", "show"),
        ("reseal",),
        ("enroll",),
    ],
)
def test_help_has_an_example(undercroft, verb):
    done = undercroft(*verb, "--help")
    assert done.returncode == 0
    assert "Example:" in done.stdout
    assert "\\b" not in done.stdout


def test_a_sealed_file_holds_no_secret_of_its_key_file(folder, undercroft):
    assert seal(undercroft).returncode == 0
    stored = json.loads((folder / "m.sealed.key").read_text())
    content = (folder / "m.sealed").read_bytes()
    assert bytes.fromhex(stored["content_key"]) not in content
    with SealedModel.open(folder / "m.sealed") as sealed:
        assert sealed.header.model_id.hex() == stored["model_id"]


def test_a_license_for_sealed_inputs_and_outputs_alone(folder, undercroft):
    assert seal(undercroft).returncode == 0
    assert undercroft(*ENROLL).returncode == 0
    done = undercroft(
        *("license", "issue", "--model-key", "m.sealed.key", "--device", "device.cert"),
        *("--key", "provider.pem", "-o", "device.license", "--sealed-input", "--json"),
        "--sealed-output",
    )
    assert json.loads(done.stdout)["terms"] == {"features": 3}
    run = ("run", "m.sealed", "--license", "device.license", "--device", "host:")
    run += ("--input", "x=zeros.raw")
    (folder / "zeros.raw").write_bytes(bytes(3 * 12 * 20 * 4))
    done = undercroft(*run)
    assert done.returncode == 1
    assert "undercroft run --private" in done.stderr
    done = undercroft(*run, "--private")
    assert done.returncode == 0, done.stderr


def test_conditions_and_updates(folder, undercroft):
    assert seal(undercroft).returncode == 0
    assert undercroft(*ENROLL).returncode == 0
    issue = ("license", "issue", "--model-key", "m.sealed.key", "--device")
    issue += ("device.cert", "--key", "provider.pem", "-o", "device.license")
    done = undercroft(
        *issue, "--expires", "30d", "--grace", "12h", "--rate", "100/1h", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["terms"]["rate"] == "100 in 3600 s"
    done = undercroft("license", "show", "device.license")
    assert "grace seconds    43200" in done.stdout

    verify = ("run", "m.sealed", "--license", "device.license", "--device", "host:")
    verify += ("--input", "x=zeros", "--json")
    done = undercroft(*verify)
    assert done.returncode == 1
    assert "never been told the time" in done.stderr
    assert "undercroft update apply" in done.stderr

    new = ("update", "new", "--key", "provider.pem", "-o", "now.update")
    assert undercroft(*new).returncode == 0
    assert undercroft("update", "apply", "host:", "now.update").returncode == 0
    done = undercroft("update", "show", "now.update", "--provider", "provider.pub")
    assert done.returncode == 0

    revoke = ("--version", "1", "--revoke", "m.sealed.key@device.cert")
    done = undercroft(*new, *revoke, "--floor", "m.sealed.key@2", "--json")
    facts = json.loads(done.stdout)
    assert facts["version"] == 1
    assert facts["floors"][0]["model_version"] == 2
    done = undercroft("update", "apply", "host:", "now.update", "--json")
    assert json.loads(done.stdout)["taken"] is True


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("update", "new", "--key", "provider.pem", "-o", "u", "--retire"), "--succ"),
        (
            ("update", "new", "--key", "provider.pem", "-o", "u", "--floor", "m@1"),
            "--version",
        ),
        (
            (
                *("update", "new", "--key", "provider.pem", "-o", "u"),
                *("--version", "1", "--floor", "m"),
            ),
            "model.sealed.key@3",
        ),
    ],
)
def test_mistakes_in_updates_are_said(folder, undercroft, arguments, says):
    done = undercroft(*arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert not (folder / "u").exists()


def test_one_command_seals_again_and_one_revokes(folder, undercroft):
    assert seal(undercroft, "--model-version", "6").returncode == 0
    reseal = ("reseal", "m.sealed", "-o", "n.sealed", "--key", "provider.pem")
    done = undercroft(*reseal, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    stored = json.loads((folder / "m.sealed.key").read_text())
    fresh = json.loads((folder / "n.sealed.key").read_text())
    assert told["model_id"] == stored["model_id"] == fresh["model_id"]
    assert told["model_version"] == 7
    assert fresh["content_key"] != stored["content_key"]

    before = names(folder)
    done = undercroft(*reseal)
    assert done.returncode == 1
    assert "n.sealed.key exists already" in done.stderr
    assert names(folder) == before

    device = Device(test_key("device")).public
    DeviceCertificate(device, "a board").save(folder / "lost.cert")
    revoke = ("license", "revoke", "--model-key", "n.sealed.key", "--version", "3")
    revoke += ("--key", "provider.pem", "-o", "3.update", "--device", "lost.cert")
    done = undercroft(*revoke, "--floor", "7", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["version"] == 3
    (revoked,) = told["revocations"]
    assert revoked["model_id"] == stored["model_id"]
    assert revoked["device_id"] == device.device_id.hex()
    # Whoever issues a license now gets one that holds.
    assert datetime.fromisoformat(revoked["issued_before"]) <= datetime.now(UTC)
    assert told["floors"] == [{"model_id": stored["model_id"], "model_version": 7}]


def test_a_manufacturer_vouches_for_a_device(folder, undercroft):
    done = undercroft("enroll", "host:")
    assert done.returncode == 1
    assert "no manufacturer vouches" in done.stderr
    assert not (folder / "device.cert").exists()
    done = undercroft("factory", "new", "ACME", "--key", "acme.key", "-o", "acme.pem")
    assert done.returncode == 0
    endorse = ("factory", "endorse", "host:", "--key", "acme.key", "-o", "device.pem")
    endorse += ("--manufacturer", "acme.pem")
    done = undercroft(*endorse)
    assert done.returncode == 1
    assert "development build" in done.stderr
    done = undercroft(*endorse, "--allow-development", "--json")
    assert done.returncode == 0, done.stderr
    done = undercroft(
        *("enroll", "host:", "--endorsement", "device.pem"),
        *("--manufacturer", "acme.pem", "--allow-development", "--json"),
    )
    assert done.returncode == 0, done.stderr
    assert "hands that person the model" in done.stderr
    facts = json.loads(done.stdout)
    assert facts["authenticated"] is True
    assert facts["evidence"]["build"] == "development"
    assert facts["evidence"]["hardware_key"] == "none"
    done = undercroft("enroll", "host:", "--allow-development", "--build-id", "zz")
    assert done.returncode == 2
    done = undercroft("enroll", "host:", "--allow-development", "--build-id", "00")
    assert done.returncode == 1
    assert "is not expected" in done.stderr


def test_keys_are_listed_protected_and_rotated(folder, undercroft, monkeypatch):
    monkeypatch.setenv("UNDERCROFT_PASSPHRASE", "correct horse")
    assert undercroft("keys", "new", "safe.pem", "--passphrase").returncode == 0
    assert "ENCRYPTED" in (folder / "safe.pem").read_text()
    assert undercroft("keys", "show", "safe.pem").returncode == 0
    assert seal(undercroft).returncode == 0
    (folder / "provider.pem").chmod(0o644)
    done = undercroft("keys", "list")
    assert done.returncode == 0
    assert "provider key, protected" in done.stdout
    assert "model key" in done.stdout
    assert "chmod 600" in done.stderr
    (folder / "provider.pem").chmod(0o600)
    rotate = ("keys", "rotate", "provider.pem", "next.pem", "-o", "5.update")
    done = undercroft(*rotate, "--version", "5", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    done = undercroft("update", "show", "5.update", "--json")
    assert json.loads(done.stdout)["successor"] == {
        "key_id": told["key_id"],
        "retire": False,
    }
    done = undercroft(*rotate, "--version", "6", "--retire")
    assert "refuse everything" in done.stdout
    monkeypatch.setenv("UNDERCROFT_PASSPHRASE", "wrong")
    done = undercroft("keys", "show", "safe.pem")
    assert done.returncode == 1
    assert "does not open" in done.stderr


def test_licenses_for_a_list_of_devices(folder, undercroft):
    assert seal(undercroft).returncode == 0
    rows = [Device(test_key(name)).public.raw.hex() for name in ("device", "content")]
    (folder / "devices.csv").write_text("\n".join(["device", *rows, "nobody"]))
    issue = ("license", "issue", "--model-key", "m.sealed.key", "--key", "provider.pem")
    issue += ("--devices", "devices.csv", "-o", "licenses.jsonl", "--rate", "5/1h")
    done = undercroft(*issue)
    assert done.returncode == 1
    assert "line 4" in done.stderr
    assert "--partial" in done.stderr
    assert not (folder / "licenses.jsonl").exists()
    done = undercroft(*issue, "--partial", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["issued"] == 2
    assert "line 4" in done.stderr
    (folder / "devices.csv").write_text("\n".join(["device", *rows]))
    done = undercroft(*issue)
    assert done.returncode == 0, done.stderr
    assert "0 licenses issued, 2 were there already" in done.stdout
    for wrong in (("--device", "device.cert"), ("--partial",)):
        usage = [word for word in issue if word not in ("--devices", "devices.csv")]
        usage = [*issue] if wrong[0] == "--device" else usage
        assert undercroft(*usage, *wrong).returncode == 2
