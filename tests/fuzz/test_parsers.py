# SPDX-License-Identifier: Apache-2.0
"""Every Python parser of outside bytes, on good documents that were changed.

Random bytes do not get past a first byte (the unit tests hand them in); these begin
with what is right and change bytes, or items of the CBOR within, some times signed
again by their author. A parser may take the result or refuse it with one of our
errors; what it takes, it must give back unchanged where it can be encoded again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cbor2
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers import attacked
from helpers.provider import Shipment, ship, test_key
from undercroft._device import oip
from undercroft._format.cose import SignedMessage
from undercroft._format.header import SealedHeader
from undercroft.attestation import DEVELOPMENT_POLICY, Evidence, verify_evidence
from undercroft.bulk import DeviceRow, Problem, read_devices
from undercroft.enroll import DeviceCertificate
from undercroft.errors import Error
from undercroft.factory import Authority, load_certificate
from undercroft.keys import ProviderKey
from undercroft.license import License, LicenseTerms, issue
from undercroft.sealed import SealedModel
from undercroft.tensor import TensorInfo
from undercroft.update import Revocation, Successor, Update, VersionFloor, issue_update

pytestmark = pytest.mark.engine

EXAMPLES = 120
FEWEST_TAKEN = 5
"""Of a parser's examples; else the changes are too coarse to say anything."""

NONCE = bytes(range(32))
KEY = ProviderKey.from_seed(test_key("provider"))
INPUTS = (TensorInfo("x", (2, 3)), TensorInfo("y", (1,)))
OUTPUTS = (TensorInfo("z", (4,)),)
ITEMS = st.one_of(
    st.integers(-(2**64), 2**64 - 1),
    st.binary(max_size=40),
    st.text(max_size=5),
    st.booleans(),
    st.none(),
    st.floats(allow_nan=False),
    st.lists(st.integers(-3, 300), max_size=4),
    st.dictionaries(st.integers(-9, 30), st.binary(max_size=4), max_size=3),
)


@dataclass(frozen=True)
class Parser:
    """One parser of outside bytes.

    Attributes:
        good: a document that it takes.
        parse: reads one; gives back its encoding, or None where there is none.
        signed: whether it is a COSE_Sign1, which changes may be signed again in.
    """

    good: bytes
    parse: Callable[[bytes, Path], bytes | None]
    signed: bool = False


def sealed(data: bytes, _folder: Path) -> None:
    model = SealedModel.from_bytes(data)
    for index in range(min(model.header.page_count, 3)):
        model.page(index)


def header(data: bytes, _folder: Path) -> None:
    SealedHeader.parse(SignedMessage.parse(data, "it").payload)


def license_(data: bytes, _folder: Path) -> None:
    License.parse(data)


def update(data: bytes, _folder: Path) -> None:
    Update.parse(data)


def evidence(data: bytes, _folder: Path) -> None:
    Evidence.parse(data)
    verify_evidence(data, nonce=NONCE, policy=DEVELOPMENT_POLICY)


def certificate(data: bytes, _folder: Path) -> bytes:
    return DeviceCertificate.parse(data).encode()


def endorsement(data: bytes, folder: Path) -> None:
    path = folder / "certificate.pem"
    path.write_bytes(data)
    load_certificate(path)


def request(data: bytes, _folder: Path) -> None:
    length = int.from_bytes(data[:2], "little")
    given = oip.parse_request(data[2:], length or None, INPUTS, OUTPUTS)
    assert [array.shape for array in given.inputs] == [(2, 3), (1,)]


def answer(data: bytes, _folder: Path) -> None:
    length = int.from_bytes(data[:2], "little")
    oip.parse_answer(data[2:], length or None, OUTPUTS)


def devices(data: bytes, folder: Path) -> None:
    path = folder / "devices.csv"
    path.write_bytes(data)
    for row in read_devices(path):
        assert isinstance(row, DeviceRow | Problem)


@cache
def parsers() -> dict[str, Parser]:
    """Every parser with its good document."""
    shipment: Shipment = ship()
    with attacked.host() as device:
        told = device.attest(NONCE)
        device_key = attacked.HOST_KEY.public
    permit = issue(
        model_key=shipment.model_key,
        device=shipment.device.public,
        signing_key=KEY,
        terms=LicenseTerms(expires=2_000_000_000, max_inferences=9, rate=(3, 60)),
    )
    word = issue_update(
        signing_key=KEY,
        version=3,
        revocations=[Revocation(bytes(16), 1000)],
        floors=[VersionFloor(bytes(16), 7)],
        successor=Successor(ProviderKey.from_seed(bytes(32)).public()),
    )
    authority = Authority.create("ACME")
    vouched: x509.Certificate = authority.endorse(Evidence.parse(told))
    arrays = [np.ones((2, 3), np.float32), np.ones(1, np.float32)]
    body, length = oip.encode_request(INPUTS, arrays)
    rows = (
        b"device,rate,expires\n" + device_key.raw.hex().encode() + b",3/60,2030-01-01\n"
    )
    enrolled = DeviceCertificate(
        device_key,
        "op-tee",
        nonce=NONCE,
        evidence=told,
        endorsement=vouched.public_bytes(Encoding.DER),
    )
    return {
        "sealed file": Parser(shipment.sealed, sealed),
        "header": Parser(shipment.header_bytes, header, signed=True),
        "license": Parser(permit, license_, signed=True),
        "update": Parser(word, update, signed=True),
        "time token": Parser(issue_update(signing_key=KEY), update, signed=True),
        "evidence": Parser(told, evidence, signed=True),
        "device certificate": Parser(enrolled.encode(), certificate),
        "manufacturer's certificate": Parser(
            vouched.public_bytes(Encoding.PEM), endorsement
        ),
        "inference request": Parser(length.to_bytes(2, "little") + body, request),
        "list of devices": Parser(rows, devices),
    }


NAMES = [
    "sealed file", "header", "license", "update", "time token", "evidence",
    "device certificate", "manufacturer's certificate", "inference request",
    "list of devices",
]  # fmt: skip


@st.composite
def edits(draw: st.DrawFn, good: bytes) -> bytes:
    """Change, insert, remove or double a few bytes, mostly near the front."""
    data = bytearray(good)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)) | st.integers(0, min(len(data), 300)))
        match draw(st.sampled_from("cidxt")):
            case "c" if at < len(data):
                data[at] = draw(st.integers(0, 255))
            case "x" if at < len(data):
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "i":
                data[at:at] = draw(st.binary(min_size=1, max_size=4))
            case "d":
                del data[at : at + draw(st.integers(1, 4))]
            case "t":
                data[at:] = data[at:] * draw(st.integers(0, 2))
    return bytes(data)


@st.composite
def replaced(draw: st.DrawFn, item: Any) -> Any:
    """Replace an item somewhere in a CBOR item, or add or remove one."""
    if isinstance(item, dict) and item and draw(st.integers(0, 3)):
        changed = dict(item)
        key = draw(st.sampled_from(sorted(changed, key=repr)))
        match draw(st.sampled_from("rrad")):
            case "r":
                changed[key] = draw(replaced(changed[key]))
            case "a":
                changed[draw(st.integers(-80000, 300))] = draw(ITEMS)
            case "d":
                del changed[key]
        return changed
    if isinstance(item, list) and item and draw(st.integers(0, 3)):
        changed_list = list(item)
        at = draw(st.integers(0, len(item) - 1))
        changed_list[at] = draw(replaced(changed_list[at]))
        return changed_list
    if isinstance(item, bytes) and item and draw(st.booleans()):
        return draw(edits(item))
    if isinstance(item, int) and draw(st.booleans()):
        return item + draw(st.integers(-2, 2))
    return draw(ITEMS)


@st.composite
def documents(draw: st.DrawFn, parser: Parser) -> bytes:
    """A good document, changed."""
    if parser.signed and draw(st.booleans()):
        payload = cbor2.loads(SignedMessage.parse(parser.good, "it").payload)
        return KEY.sign_message(cbor2.dumps(draw(replaced(payload)), canonical=True))
    return draw(edits(parser.good))


def test_every_parser_is_tried() -> None:
    assert list(parsers()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_document_is_taken_or_refused(name: str, tmp_path: Path) -> None:
    parser = parsers()[name]
    taken = tried = 0

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(documents(parser))
    def attempt(data: bytes) -> None:
        nonlocal taken, tried
        tried += 1
        try:
            again = parser.parse(data, tmp_path)
        except Error:
            return
        taken += 1
        assert again in (None, data)

    parser.parse(parser.good, tmp_path)
    attempt()
    assert tried >= EXAMPLES
    assert taken >= FEWEST_TAKEN
