# SPDX-License-Identifier: Apache-2.0
"""`provider serve` with TLS, with a key in a token, and without its packages."""

from __future__ import annotations

import ipaddress
import ssl
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from helpers.attesting import PlayedDevice
from helpers.license_service import (
    ACME,
    MODEL_NAME,
    PROVIDER,
    ServiceFolder,
    make_service,
    running_service,
)
from undercroft._cli import main
from undercroft._provider.config import Config
from undercroft._provider.problems import ProblemError
from undercroft._provider.store import Store
from undercroft.errors import EnvironmentMissingError, FileAccessError

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "1234"


def tls_files(folder: Path) -> tuple[Path, Path]:
    """Write a certificate for this machine and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "tls.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "tls.key").touch(mode=0o600)
    (folder / "tls.key").write_bytes(secret)
    return folder / "tls.pem", folder / "tls.key"


def test_several_workers_speak_tls_and_sign_with_a_key_in_a_token(
    tmp_path, monkeypatch
) -> None:
    folder = make_service(tmp_path)
    token = make_token(tmp_path, monkeypatch)
    config = replace(Config.load(folder.config), key=token)
    folder.config.unlink()
    config.save(folder.config)
    certificate, key = tls_files(tmp_path)
    options = ("--tls-certificate", str(certificate), "--tls-key", str(key))
    context = ssl.create_default_context(cafile=str(certificate))
    with (
        running_service(folder, *options, "--workers", "2", trusted=context) as url,
        httpx.Client(
            base_url=url, headers=folder.headers, verify=context, timeout=60
        ) as api,
    ):
        assert url.startswith("https://")
        key_id = PROVIDER.key_id.hex()
        assert api.get("/v1/health").json()["provider_key_id"] == key_id

        def license_of(number: int) -> int:
            device = PlayedDevice.number(number)
            nonce = api.post("/v1/challenges").json()["nonce"]
            body = device.answer(nonce, device.endorsed_by(ACME))
            assert api.post("/v1/devices", json=body).status_code == 201
            body = {"model": MODEL_NAME, "device_id": device.device_id}
            return api.post("/v1/licenses", json=body).status_code

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(license_of, range(16))) == [201] * 16
        with pytest.raises(httpx.ConnectError):
            httpx.get(url)  # whoever does not know the certificate does not go on
    key.chmod(0o644)
    command = ["provider", "serve", "--config", str(folder.config), *options]
    done = CliRunner().invoke(main, command)
    assert isinstance(done.exception, FileAccessError)
    assert done.exception.hint == f"chmod 600 {key}"


def make_token(folder: Path, monkeypatch) -> str:
    """Put the provider's key into a SoftHSM token; return its URI."""
    assert MODULE.exists(), "softhsm2 is missing: tools/system_packages.py --tests"
    (folder / "tokens").mkdir()
    settings = folder / "softhsm2.conf"
    settings.write_text(f"directories.tokendir = {folder / 'tokens'}\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(settings))
    for arguments in (
        ("--init-token", "--free", "--so-pin", "12345678"),
        ("--import", str(folder / "provider.pem"), "--id", "01"),
    ):
        more = ("--token", "service") if arguments[0] == "--import" else ()
        subprocess.run(
            [
                *("softhsm2-util", *arguments, *more, "--pin", PIN),
                *("--label", "provider" if more else "service"),
            ],
            check=True,
            capture_output=True,
        )
    pin_file = folder / "pin"
    pin_file.touch(mode=0o600)
    pin_file.write_text(PIN)
    return (
        "pkcs11:token=service;object=provider"
        f"?module-path={MODULE}&pin-source=file:{pin_file}"
    )


def test_a_database_without_tls_is_not_spoken_to_when_tls_is_asked_for(
    new_database,
) -> None:
    store = Store(f"{new_database()}?ssl=true")
    with pytest.raises(ProblemError) as caught:
        store.ping()
    assert caught.value.kind == "database-unavailable"
    store.close()


def test_without_its_packages_the_command_names_what_installs_them(
    monkeypatch,
) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)
    done = CliRunner().invoke(main, ["provider", "migrate"])
    assert isinstance(done.exception, EnvironmentMissingError)
    assert done.exception.hint == "pip install 'undercroft[provider]'"


def test_several_workers_do_not_ask_for_a_passphrase(tmp_path, monkeypatch) -> None:
    folder = make_service(tmp_path)
    (tmp_path / "provider.pem").unlink()
    PROVIDER.save(tmp_path / "provider.pem", passphrase=b"horse")
    monkeypatch.delenv("UNDERCROFT_PASSPHRASE", raising=False)
    done = serve(folder, "--workers", "2")
    assert "UNDERCROFT_PASSPHRASE" in getattr(done.exception, "hint", "")
    monkeypatch.setenv("UNDERCROFT_PASSPHRASE", "cow")
    assert isinstance(serve(folder, "--workers", "2").exception, FileAccessError)


def serve(folder: ServiceFolder, *options: str):
    arguments = ["provider", "serve", "--config", str(folder.config), "--port", "0"]
    return CliRunner().invoke(main, [*arguments, *options])
