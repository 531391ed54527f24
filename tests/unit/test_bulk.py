# SPDX-License-Identifier: Apache-2.0
"""Licenses for lists of devices: errors, interruptions, many of them."""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.provider import Device, test_key
from undercroft._format.cose import unwrap_key
from undercroft.bulk import (
    DeviceRow,
    Problem,
    find_license,
    issue_all,
    read_devices,
)
from undercroft.enroll import DeviceCertificate
from undercroft.errors import FileAccessError, FileWriteError, FormatError, InputError
from undercroft.keys import DevicePublicKey, ModelKey, ProviderKey
from undercroft.license import License, LicenseTerms

KEY = ProviderKey.from_seed(test_key("provider"))
MODEL = ModelKey(bytes(range(16)), test_key("content"))
DEVICE = Device(test_key("device"))
OTHER = Device(test_key("other_device"))


def device(number: int) -> DevicePublicKey:
    """A device's key; whatever bytes are an X25519 key."""
    return DevicePublicKey(random.Random(number).randbytes(32))


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.fixture
def many(tmp_path) -> Path:
    rows = [device(number).raw.hex() for number in range(1200)]
    return write(tmp_path / "devices.csv", ["device", *rows])


def issued(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def run(devices: Path, output: Path, **options: object):
    options = {"model_key": MODEL, "signing_key": KEY, "processes": 1} | options
    return issue_all(devices, output, **options)  # type: ignore[arg-type]


def test_each_device_gets_a_license_in_the_order_of_the_list(many, tmp_path) -> None:
    output = tmp_path / "licenses.jsonl"
    seen: list[int] = []
    report = run(many, output, processes=2, progress=seen.append)
    assert (report.issued, report.already, report.problems) == (1200, 0, ())
    rows = issued(output)
    assert [row["device_id"] for row in rows] == [
        device(number).device_id.hex() for number in range(1200)
    ]
    assert len({row["license_id"] for row in rows}) == 1200
    assert seen[-1] == 1200
    permit = License.parse(base64.b64decode(rows[7]["license"]))
    permit.verify(KEY.public())
    assert permit.claims.device_id.hex() == rows[7]["device_id"]
    assert report.bytes / report.issued < 700


def test_conditions_of_a_device_go_before_those_for_all(tmp_path) -> None:
    DeviceCertificate(OTHER.public).save(tmp_path / "other.cert")
    devices = write(
        tmp_path / "devices.csv",
        [
            "device, expires,rate,without_time,max_inferences",
            f"{DEVICE.public.raw.hex()},2000000000,10/60,1,",
            '"other.cert",,,0,5',
        ],
    )
    output = tmp_path / "licenses.jsonl"
    run(devices, output, terms=LicenseTerms(max_inferences=9))
    terms = [
        License.parse(base64.b64decode(row["license"])).claims.terms
        for row in issued(output)
    ]
    assert terms == [
        LicenseTerms(
            expires=2_000_000_000, rate=(10, 60), without_time=True, max_inferences=9
        ),
        LicenseTerms(max_inferences=5),
    ]
    data = find_license(output, DEVICE.public.device_id)
    assert data is not None
    key = unwrap_key(
        License.parse(data).claims.wrapped_key,
        private_key=DEVICE.private,
        public_key=DEVICE.public.raw,
    )
    assert key == MODEL.content_key
    assert find_license(output, bytes(32)) is None


BAD = [
    "device,expires,rate",
    f"{device(1).raw.hex()},,",
    f"{device(2).raw.hex()},soon,",
    f"{device(3).raw.hex()},,10 per minute",
    f"{device(4).raw.hex()},",
    "",
    f"{device(1).raw.hex()},,",
    "nowhere.cert,,",
    ",1,",
    f"{device(5).raw.hex()},,0/60",
    f'"{device(6).raw.hex()},,',
    f"{device(7).raw.hex()},99999999999,",
    f"{device(8).raw.hex()},,",
    f"{device(9).raw.hex()},4294967296,",
    "x" * 10000,
    f"{device(10).raw.hex()},,",
]


def test_all_errors_are_named_and_nothing_is_issued(tmp_path) -> None:
    devices = write(tmp_path / "devices.csv", BAD)
    output = tmp_path / "licenses.jsonl"
    with pytest.raises(InputError) as caught:
        run(devices, output)
    assert not output.exists()
    text = caught.value.message
    for line, says in (
        (3, "expires 'soon' is no number"),
        (4, "rate '10 per minute' is not like 10/60"),
        (5, "2 cells, where 3 are expected"),
        (7, "the same device as in line 2"),
        (8, "nowhere.cert"),
        (9, "no device"),
        (10, "rate is not"),
        (11, "not CSV"),
        (12, "is no number"),
        (14, "expires is not"),
        (15, "1 cells"),
    ):
        assert f"line {line}: " in text
        assert says in text.split(f"line {line}: ")[1].split("\n")[0]
    assert text.startswith("11 lines of")
    assert "--partial" in caught.value.hint


def test_the_good_lines_alone(tmp_path) -> None:
    devices = write(tmp_path / "devices.csv", BAD)
    output = tmp_path / "licenses.jsonl"
    report = run(devices, output, partial=True)
    assert report.issued == 3
    assert [problem.line for problem in report.problems] == [
        *(3, 4, 5, 7, 8, 9, 10, 11, 12, 14, 15),
    ]
    assert [row["device_id"] for row in issued(output)] == [
        device(number).device_id.hex() for number in (1, 8, 10)
    ]


@pytest.mark.parametrize("cut", [1, 100, 5000])
def test_an_interrupted_run_goes_on(many, tmp_path, cut: int) -> None:
    whole = tmp_path / "whole.jsonl"
    run(many, whole)
    output = tmp_path / "licenses.jsonl"
    output.write_bytes(whole.read_bytes()[:-cut])
    kept = output.read_bytes().rpartition(b"\n")[0]
    report = run(many, output)
    assert report.already == kept.count(b"\n") + 1
    assert report.issued + report.already == 1200
    assert output.read_bytes().startswith(kept)
    assert [row["device_id"] for row in issued(output)] == [
        row["device_id"] for row in issued(whole)
    ]
    again = run(many, output)
    assert (again.issued, again.already) == (0, 1200)


def test_a_file_of_something_else_is_left_as_it_is(many, tmp_path) -> None:
    output = tmp_path / "licenses.jsonl"
    for content in (b"precious\n", b"{}\n", b'{"license": "AAAA"}\n'):
        output.write_bytes(content)
        with pytest.raises(FormatError, match="no file of licenses"):
            run(many, output)
        assert output.read_bytes() == content
    output.unlink()
    run(many, output)
    before = output.read_bytes()
    with pytest.raises(FormatError, match="another model or by another key"):
        run(many, output, model_key=ModelKey.generate())
    with pytest.raises(FormatError, match="another model or by another key"):
        run(many, output, signing_key=ProviderKey.generate())
    assert output.read_bytes() == before


def test_files_that_cannot_be_used(many, tmp_path) -> None:
    with pytest.raises(FileAccessError):
        run(tmp_path / "none.csv", tmp_path / "out")
    with pytest.raises(FileWriteError, match="cannot be written"):
        run(many, tmp_path / "no folder" / "out")
    for header in ("", "name", "device,colour", "device,device", "\0"):
        devices = write(tmp_path / "bad.csv", [header, device(1).raw.hex()])
        with pytest.raises(FormatError, match="no list of devices"):
            run(devices, tmp_path / "out")
    with pytest.raises(FileAccessError):
        find_license(tmp_path / "none", bytes(32))


def test_keys_that_cannot_be_encrypted_to_are_problems(tmp_path) -> None:
    """A point of small order makes every shared secret zero."""
    devices = write(tmp_path / "devices.csv", ["device", "00" * 32])
    with pytest.raises(InputError, match="line 2"):
        run(devices, tmp_path / "out")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_list_gives_rows_problems_or_one_of_our_errors(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("any") / "devices.csv"
    path.write_bytes(b"device,rate\n" + data)
    for item in read_devices(path):
        assert isinstance(item, DeviceRow | Problem)


def test_a_real_device_key_is_a_row(tmp_path) -> None:
    raw = X25519PrivateKey.generate().public_key().public_bytes_raw()
    path = write(tmp_path / "devices.csv", ["\ufeffdevice", raw.hex()])
    (row,) = read_devices(path)
    assert row == DeviceRow(2, DevicePublicKey(raw))
