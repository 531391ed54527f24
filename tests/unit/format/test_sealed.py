# SPDX-License-Identifier: Apache-2.0
"""Sealed files, read without any secret."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.provider import FakePlan, ship, test_key
from undercroft._format.pages import PageCipher, derive_page_key
from undercroft.errors import Error, FileAccessError, FormatError, VerificationError
from undercroft.keys import ProviderKey
from undercroft.sealed import SealedModel

SHIPMENT = ship()


def test_a_sealed_file_says_what_anybody_may_know(tmp_path):
    path = tmp_path / "model.sealed"
    path.write_bytes(SHIPMENT.sealed)
    with SealedModel.open(path, provider=SHIPMENT.provider.public()) as sealed:
        assert sealed.header == SHIPMENT.header
        assert sealed.header_bytes == SHIPMENT.header_bytes
        assert sealed.inputs == FakePlan().inputs
        assert sealed.outputs == FakePlan().outputs
        facts = sealed.inspect()
    assert json.loads(json.dumps(facts)) == {
        "format_version": 1,
        "model_id": SHIPMENT.model_key.model_id.hex(),
        "model_version": 7,
        "provider_key_id": SHIPMENT.provider.key_id.hex(),
        "suite": "AES-256-GCM",
        "page_bytes": 4096,
        "program_pages": 1,
        "resident_pages": 1,
        "streamed_pages": 2,
        "budget_bytes": 65536,
        "file_bytes": len(SHIPMENT.sealed),
        "inputs": [{"name": "image", "shape": [1, 3, 8, 8], "dtype": "float32"}],
        "outputs": [{"name": "scores", "shape": [1, 10], "dtype": "float32"}],
        "extensions": {},
    }


def test_pages_are_those_that_were_sealed(tmp_path):
    path = tmp_path / "model.sealed"
    path.write_bytes(SHIPMENT.sealed)
    cipher = PageCipher(
        1,
        derive_page_key(
            content_key=SHIPMENT.model_key.content_key,
            salt=SHIPMENT.header.salt,
            header=SHIPMENT.header_bytes,
        ),
    )
    plan = FakePlan()
    with SealedModel.open(path) as sealed:
        pages = [cipher.decrypt(i, sealed.page(i)) for i in range(4)]
        with pytest.raises(FormatError):
            sealed.page(4)
        with pytest.raises(FormatError):
            sealed.page(-1)
    assert pages[0] == plan.program().ljust(4096, b"\0")
    assert pages[1] == b"".join(plan.resident()).ljust(4096, b"\0")
    assert pages[2] + pages[3] == b"".join(plan.stream()).ljust(8192, b"\0")


def test_no_plaintext_is_in_the_file():
    plan = FakePlan()
    for plaintext in (plan.program(), *plan.resident(), b"".join(plan.stream())):
        for at in range(0, len(plaintext) - 16, 16):
            assert plaintext[at : at + 16] not in SHIPMENT.sealed


def test_another_provider_is_noticed():
    other = ProviderKey.from_seed(test_key("other_provider")).public()
    with pytest.raises(VerificationError, match="another provider"):
        SealedModel.from_bytes(SHIPMENT.sealed, provider=other)


def test_without_verifying_a_wrong_signature_is_taken():
    at = 16 + len(SHIPMENT.header_bytes) - 1
    changed = bytearray(SHIPMENT.sealed)
    changed[at] ^= 1
    with pytest.raises(VerificationError):
        SealedModel.from_bytes(changed)
    sealed = SealedModel.from_bytes(changed, verify=False)
    assert sealed.header == SHIPMENT.header


def test_no_change_of_one_byte_before_the_pages_is_accepted():
    end = 16 + len(SHIPMENT.header_bytes)
    for at in range(end):
        for bit in (0, 3, 7):
            changed = bytearray(SHIPMENT.sealed)
            changed[at] ^= 1 << bit
            with pytest.raises((FormatError, VerificationError)):
                SealedModel.from_bytes(changed)


@pytest.mark.parametrize("keep", [0, 1, 8, 15, 16, 17, 100, 300, 5000, -4112, -1])
def test_a_truncated_file_is_refused(keep):
    with pytest.raises(FormatError):
        SealedModel.from_bytes(SHIPMENT.sealed[:keep])


@pytest.mark.parametrize("extra", [1, 16, 4096, 4112])
def test_an_extended_file_is_refused(extra):
    with pytest.raises(FormatError, match="longer"):
        SealedModel.from_bytes(SHIPMENT.sealed + bytes(extra))


@given(st.binary(max_size=400))
def test_opening_anything_raises_nothing_but_our_errors(data):
    for start in (b"", b"UCSEALED\1\0\0\0"):
        with pytest.raises(FormatError):
            SealedModel.from_bytes(start + data)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(FileAccessError, match="missing"):
        SealedModel.open(tmp_path / "missing")
    with pytest.raises(Error):
        SealedModel.open(tmp_path)


def test_a_file_cut_short_while_open_is_noticed(tmp_path):
    path = tmp_path / "model.sealed"
    path.write_bytes(SHIPMENT.sealed)
    with SealedModel.open(path) as sealed:
        os.truncate(path, 1000)
        with pytest.raises(FormatError, match="cut short"):
            sealed.page(3)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_no_file_stays_open_after_a_refusal(tmp_path):
    path = tmp_path / "model.sealed"
    path.write_bytes(SHIPMENT.sealed[:-1])
    before = open_files()
    for _ in range(5):
        with pytest.raises(FormatError):
            SealedModel.open(path)
    assert open_files() == before


def test_a_device_without_cryptography_can_read_the_outside(tmp_path):
    path = tmp_path / "model.sealed"
    path.write_bytes(SHIPMENT.sealed)
    program = (
        "import sys\n"
        "for name in ('cryptography', 'cwt', 'pyhpke', 'onnx', 'rich', 'click'):\n"
        "    sys.modules[name] = None\n"
        "from undercroft.sealed import SealedModel\n"
        f"with SealedModel.open({str(path)!r}, verify=False) as sealed:\n"
        "    print(len(sealed.page(3)), sealed.inputs[0].name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout == "4112 image\n", done.stderr
