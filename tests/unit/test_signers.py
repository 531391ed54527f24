# SPDX-License-Identifier: Apache-2.0
"""Signing keys by URI: files, with and without passphrase, and a SoftHSM token."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from helpers.provider import ship, test_key
from undercroft.errors import (
    EnvironmentMissingError,
    FileAccessError,
    FormatError,
    SigningError,
)
from undercroft.keys import ProviderKey, describe_key_file
from undercroft.license import License, issue
from undercroft.signers import Pkcs11Signer, open_signer

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "1234"
KEY = ProviderKey.from_seed(test_key("provider"))


# ---- files ----


def test_a_path_and_a_file_uri_are_the_same(tmp_path) -> None:
    path = tmp_path / "provider.pem"
    KEY.save(path)
    assert open_signer(str(path)).public() == KEY.public()
    assert open_signer(f"file:{path}").key_id == KEY.key_id


def test_a_passphrase_is_asked_for_when_it_is_needed(tmp_path) -> None:
    path = tmp_path / "provider.pem"
    KEY.save(path, passphrase=b"correct horse")
    assert path.stat().st_mode & 0o777 == 0o600
    asked: list[str] = []

    def ask(what: str) -> bytes:
        asked.append(what)
        return b"correct horse"

    assert open_signer(str(path), ask=ask).public() == KEY.public()
    assert asked == [f"passphrase of {path}"]
    with pytest.raises(FileAccessError, match="does not open"):
        open_signer(str(path), ask=lambda _: b"wrong")
    with pytest.raises(FileAccessError, match="protected by a passphrase") as caught:
        open_signer(str(path))
    assert "UNDERCROFT_PASSPHRASE" in caught.value.hint
    plain = tmp_path / "plain.pem"
    KEY.save(plain)
    open_signer(str(plain), ask=ask)
    assert len(asked) == 1
    with pytest.raises(FormatError, match="1 to"):
        KEY.save(tmp_path / "empty.pem", passphrase=b"")


def test_key_files_are_described_without_their_secrets(tmp_path) -> None:
    KEY.save(tmp_path / "a.pem")
    KEY.save(tmp_path / "b.pem", passphrase=b"x")
    KEY.public().save(tmp_path / "c.pub")
    (tmp_path / "d.pem").write_text("something else")
    KEY.save(tmp_path / "e.pem")
    (tmp_path / "e.pem").chmod(0o640)
    rows = {path.name: describe_key_file(path) for path in sorted(tmp_path.iterdir())}
    assert rows["a.pem"] == {
        "file": str(tmp_path / "a.pem"),
        "kind": "provider key",
        "key_id": KEY.key_id.hex(),
        "problem": "",
    }
    assert rows["b.pem"] is not None
    assert rows["b.pem"]["kind"] == "provider key, protected"
    assert rows["c.pub"] is not None
    assert rows["c.pub"]["key_id"] == KEY.key_id.hex()
    assert rows["d.pem"] is None
    assert rows["e.pem"] is not None
    assert "chmod 600" in rows["e.pem"]["problem"]
    assert rows["e.pem"]["key_id"] is None


# ---- tokens ----


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A SoftHSM token with two keys; the URI up to the key's name."""
    import pkcs11
    from pkcs11 import Attribute, KeyType, Mechanism

    assert MODULE.exists(), "softhsm2 is missing: tools/system_packages.py --tests"
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    config = folder / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {folder / 'tokens'}\n")
    patch = pytest.MonkeyPatch()
    patch.setenv("SOFTHSM2_CONF", str(config))
    subprocess.run(
        [
            *("softhsm2-util", "--init-token", "--free", "--label", "under croft"),
            *("--pin", PIN, "--so-pin", "12345678"),
        ],
        check=True,
        capture_output=True,
    )
    named_curve = bytes.fromhex("130c656477617264733235353139")  # "edwards25519"
    opened = pkcs11.lib(str(MODULE)).get_token(token_label="under croft")
    with opened.open(user_pin=PIN, rw=True) as session:
        curve = session.create_domain_parameters(
            KeyType.EC_EDWARDS, {Attribute.EC_PARAMS: named_curve}, local=True
        )
        for label, identity in (("provider", b"\1"), ("twin", b"\2"), ("twin", b"\3")):
            curve.generate_keypair(
                label=label,
                id=identity,
                store=True,
                mechanism=Mechanism.EC_EDWARDS_KEY_PAIR_GEN,
            )
    return "pkcs11:token=under%20croft;"


def uri(token: str, key: str, pin_file: Path) -> str:
    return f"{token}{key}?module-path={MODULE}&pin-source=file:{pin_file}"


@pytest.fixture
def pin_file(tmp_path) -> Path:
    path = tmp_path / "pin"
    path.touch(mode=0o600)
    path.write_text(f"{PIN}\n")
    return path


def test_a_key_in_a_token_signs_as_one_in_a_file(token: str, pin_file: Path) -> None:
    signer = Pkcs11Signer(uri(token, "object=provider", pin_file))
    shipment = ship()
    data = issue(
        model_key=shipment.model_key,
        device=shipment.device.public,
        signing_key=signer,
    )
    License.parse(data).verify(signer.public())
    assert signer.key_id == signer.public().key_id
    signer.close()
    by_id = Pkcs11Signer(uri(token, "id=%01", pin_file))
    assert by_id.key_id == signer.key_id
    by_id.close()


def test_the_pin_can_be_asked_for(token: str, monkeypatch) -> None:
    monkeypatch.setenv("UNDERCROFT_PKCS11_MODULE", str(MODULE))
    asked: list[str] = []

    def ask(what: str) -> bytes:
        asked.append(what)
        return PIN.encode()

    signer = Pkcs11Signer(f"{token}object=provider", ask=ask)
    signer.sign_message(b"payload")
    assert asked == [f"PIN of {token}object=provider"]
    # A second one beside it.
    second = Pkcs11Signer(f"{token}id=%01", ask=ask)
    assert second.key_id == signer.key_id
    second.close()
    signer.close()


def test_what_a_token_refuses_is_said(token: str, pin_file: Path) -> None:
    with pytest.raises(SigningError, match="0 Ed25519 keys"):
        Pkcs11Signer(uri(token, "object=nobody", pin_file))
    with pytest.raises(SigningError, match="2 Ed25519 keys") as caught:
        Pkcs11Signer(uri(token, "object=twin", pin_file))
    assert "id=" in caught.value.hint
    with pytest.raises(SigningError, match="refuses"):
        Pkcs11Signer(uri("pkcs11:token=other;", "object=provider", pin_file))
    pin_file.write_text("4321")
    with pytest.raises(SigningError, match="PinIncorrect"):
        Pkcs11Signer(uri(token, "object=provider", pin_file))
    pin_file.chmod(0o644)
    with pytest.raises(FileAccessError) as refused:
        Pkcs11Signer(uri(token, "object=provider", pin_file))
    assert refused.value.hint.startswith("chmod 600")


@pytest.mark.parametrize(
    "text",
    [
        "pkcs11:",
        "pkcs11:token=a",
        "pkcs11:object=a",
        "pkcs11:token=a;object",
        "pkcs11:token=a;object=b;slot-id=1",
        "pkcs11:token=a;object=b?pin-value=1234",
        "pkcs11:token=a;object=b",
    ],
)
def test_uris_that_cannot_be_used(text: str, monkeypatch) -> None:
    monkeypatch.delenv("UNDERCROFT_PKCS11_MODULE", raising=False)
    with pytest.raises(FormatError) as caught:
        open_signer(text)
    assert "module-path" in caught.value.hint


def test_a_missing_module_is_said(pin_file: Path, tmp_path) -> None:
    nowhere = f"module-path={tmp_path}/no.so&pin-source={pin_file}"
    with pytest.raises((EnvironmentMissingError, SigningError)):
        open_signer(f"pkcs11:token=a;object=b?{nowhere}")
