# SPDX-License-Identifier: Apache-2.0
"""Provider, model and device keys."""

from __future__ import annotations

import json
import stat

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from undercroft.errors import FileAccessError, FileWriteError, FormatError
from undercroft.keys import DevicePublicKey, ModelKey, ProviderKey, ProviderPublicKey


def test_a_provider_key_survives_its_file(tmp_path):
    path = tmp_path / "provider.pem"
    key = ProviderKey.generate()
    key.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")
    loaded = ProviderKey.load(path)
    assert loaded.public() == key.public()
    assert loaded.sign_message(b"x") == key.sign_message(b"x")


def test_a_provider_key_is_not_overwritten_by_accident(tmp_path):
    path = tmp_path / "provider.pem"
    first = ProviderKey.generate()
    first.save(path)
    with pytest.raises(FileWriteError):
        ProviderKey.generate().save(path)
    assert ProviderKey.load(path).key_id == first.key_id
    second = ProviderKey.generate()
    second.save(path, overwrite=True)
    assert ProviderKey.load(path).key_id == second.key_id


def test_a_provider_key_open_to_others_is_refused(tmp_path):
    path = tmp_path / "provider.pem"
    ProviderKey.generate().save(path)
    path.chmod(0o644)
    with pytest.raises(FileAccessError) as caught:
        ProviderKey.load(path)
    assert caught.value.hint == f"chmod 600 {path}"


def other_private_keys() -> dict[str, bytes]:
    ec = generate_private_key(SECP256R1())
    ed = Ed25519PrivateKey.generate()
    locked = BestAvailableEncryption(b"password")
    return {
        "empty": b"",
        "no PEM": b"not a key at all",
        "another curve": ec.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        ),
        "encrypted DER": ed.private_bytes(Encoding.DER, PrivateFormat.PKCS8, locked),
        "public": ed.public_key().public_bytes(
            Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        ),
        "DER": ed.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        "too long": b"x" * 20000,
    }


@pytest.mark.parametrize("what", other_private_keys())
def test_another_file_is_no_provider_key(tmp_path, what):
    path = tmp_path / "provider.pem"
    path.write_bytes(other_private_keys()[what])
    path.chmod(0o600)
    with pytest.raises(FormatError):
        ProviderKey.load(path)


@given(st.binary(max_size=200))
def test_public_keys_refuse_anything_else(data):
    for read in (
        ProviderPublicKey.from_pem,
        ProviderPublicKey.from_cose_key,
        DevicePublicKey.from_cose_key,
    ):
        with pytest.raises(FormatError):
            read(data)


def test_no_secret_is_in_the_text_of_a_key():
    seed = bytes(range(32))
    assert seed.hex() not in repr(ProviderKey.from_seed(seed))
    key = ModelKey(bytes(16), seed)
    assert seed.hex() not in repr(key)
    assert repr(seed)[2:-1] not in repr(key)


def test_public_keys_survive_their_encodings(tmp_path):
    public = ProviderKey.generate().public()
    assert ProviderPublicKey.from_cose_key(public.to_cose_key()) == public
    assert ProviderPublicKey.from_pem(public.to_pem()) == public
    public.save(tmp_path / "provider.pub")
    assert ProviderPublicKey.load(tmp_path / "provider.pub") == public
    device = DevicePublicKey(bytes(range(32)))
    assert DevicePublicKey.from_cose_key(device.to_cose_key()) == device
    # Either kind is refused as the other.
    with pytest.raises(FormatError):
        DevicePublicKey.from_cose_key(public.to_cose_key())
    with pytest.raises(FormatError):
        ProviderPublicKey.from_cose_key(device.to_cose_key())


def test_a_model_key_survives_its_file(tmp_path):
    path = tmp_path / "model.key"
    key = ModelKey.generate()
    key.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ModelKey.load(path) == key
    with pytest.raises(FileWriteError):
        ModelKey.generate().save(path)
    assert ModelKey.generate() != key


def model_key_files() -> dict[str, str]:
    good = {
        "type": "undercroft model key",
        "version": 1,
        "model_id": "00" * 16,
        "content_key": "00" * 32,
    }
    return {
        "empty": "",
        "no JSON": "{",
        "an array": "[]",
        "nested": "[" * 5000,
        "another type": json.dumps({**good, "type": "x"}),
        "another version": json.dumps({**good, "version": 2}),
        "no content key": json.dumps({k: good[k] for k in good if k != "content_key"}),
        "short content key": json.dumps({**good, "content_key": "00" * 31}),
        "no hex": json.dumps({**good, "model_id": "zz" * 16}),
        "a number": json.dumps({**good, "model_id": 7}),
    }


@pytest.mark.parametrize("what", model_key_files())
def test_another_file_is_no_model_key(tmp_path, what):
    path = tmp_path / "model.key"
    path.write_text(model_key_files()[what])
    path.chmod(0o600)
    with pytest.raises(FormatError, match="not a model key"):
        ModelKey.load(path)
