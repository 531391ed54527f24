# SPDX-License-Identifier: Apache-2.0
"""The schema and the vectors, against each other, by zcbor's own validator."""

from __future__ import annotations

import functools
import importlib.util
import sys
from pathlib import Path
from typing import Any

import cbor2
import zcbor

from helpers.vectors import Fields, of_kind

SPEC = Path(__file__).resolve().parents[2] / "spec"
IO_IS_NO_CBOR = "header-ok-whatever-io-holds"
"""The one vector that a device takes and the schema does not: it looks inside io."""
REFUSED = {
    "header": "BAD_HEADER",
    "license": "BAD_LICENSE",
    "update": "BAD_UPDATE",
    "evidence": "FORMAT",
    "certificate": "FORMAT",
}
TYPES = {
    "header": "sealed-header",
    "license": "license-claims",
    "update": "update-claims",
    "evidence": "evidence-claims",
    "certificate": "device-certificate",
}


@functools.cache
def schema() -> tuple[dict[str, Any], type[Exception]]:
    """The types of the CDDL, and what they raise; zcbor's program is one file."""
    (folder,) = zcbor.__path__
    path = Path(folder) / "zcbor" / "zcbor.py"
    spec = importlib.util.spec_from_file_location("zcbor_program", path)
    assert spec
    assert spec.loader
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = (SPEC / "undercroft.cddl").read_text()
    types = module.DataTranslator.from_cddl(text, 16).my_types
    return types, module.CddlValidationError


def is_valid(kind: str, encoded: bytes) -> bool:
    types, invalid = schema()
    try:
        types[kind].validate_str(encoded)
    except (invalid, cbor2.CBORDecodeError):
        return False
    return True


def payload_of(field: str, data: bytes) -> bytes | None:
    """What the schema of this message is about, or None where nobody gets so far."""
    if field == "certificate":
        return data
    members = cbor2.loads(data)
    assert isinstance(members, list)
    return members[2] if isinstance(members[2], bytes) else None


def messages() -> list[tuple[str, str, bytes, Fields]]:
    """Name, field and bytes of every message in the vectors."""
    found = []
    for kind in ("open", "update", "evidence", "certificate"):
        for name, fields in of_kind(kind).items():
            found += [
                (name, field, bytes.fromhex(fields[field]), fields)
                for field in REFUSED
                if field in fields and name != IO_IS_NO_CBOR
            ]
    return found


def test_every_message_that_readers_take_is_in_the_schema():
    seen = dict.fromkeys(REFUSED, 0)
    for name, field, data, fields in messages():
        # With a bad header, or updates, nobody has looked at the license.
        if fields["expect"] in REFUSED.values():
            continue
        payload = payload_of(field, data)
        assert payload is not None, name
        assert is_valid(TYPES[field], payload), name
        if field != "certificate":
            assert is_valid("cose-sign1", data), name
            assert is_valid("provider-bucket", cbor2.loads(data)[0]), name
        if field == "license":
            wrapped = cbor2.loads(payload)[-70003]
            assert is_valid("wrapped-key", wrapped), name
            assert is_valid("hpke-bucket", cbor2.loads(wrapped)[0]), name
        seen[field] += 1
    assert min(seen.values()) >= 9


def test_what_the_schema_refuses_readers_refuse():
    refused = dict.fromkeys(REFUSED, 0)
    for name, field, data, fields in messages():
        try:
            payload = payload_of(field, data)
        except (cbor2.CBORDecodeError, AssertionError, IndexError):
            continue  # no CBOR, or no COSE_Sign1: not for this schema to judge
        if payload is None or is_valid(TYPES[field], payload):
            continue
        assert fields["expect"] in (REFUSED[field], "BAD_HEADER"), name
        refused[field] += 1
    assert min(refused.values()) >= 9


def test_the_inputs_and_outputs_of_files_are_in_the_schema():
    seen = 0
    for name, fields in of_kind("file").items():
        if fields["expect"] != "OK":
            continue
        header = bytes.fromhex(fields["start"])[16:]
        assert is_valid("io", cbor2.loads(cbor2.loads(header)[2])[11]), name
        seen += 1
    assert seen >= 4
