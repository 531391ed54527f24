# SPDX-License-Identifier: Apache-2.0
"""Every conformance vector, through every reader it concerns."""

from __future__ import annotations

import hashlib
import importlib.util
import tomllib
from datetime import datetime
from types import ModuleType

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from helpers.aead import OPEN, PLACES, message, run
from helpers.model_open import Request, open_models, open_questions
from helpers.provider import test_key
from helpers.suites import SUITES
from helpers.vectors import VECTORS, Fields, load, of_kind
from undercroft._format.cose import SignedMessage, unwrap_key
from undercroft._format.header import SealedHeader
from undercroft._format.pages import PageCipher, derive_page_key
from undercroft._format.private_io import Exchange, QuestionParts, sealed_bytes
from undercroft._spec import FEATURE_SEALED_OUTPUT, Status
from undercroft.attestation import Evidence, Policy, verify_evidence
from undercroft.enroll import DeviceCertificate
from undercroft.errors import (
    AttestationError,
    Error,
    FormatError,
    VerificationError,
)
from undercroft.keys import ProviderKey
from undercroft.license import License
from undercroft.sealed import SealedModel
from undercroft.update import Update

FEWEST = {
    "open": 170,
    "update": 50,
    "evidence": 56,
    "certificate": 35,
    "file": 38,
    "page": 16,
    "question": 18,
    "answer": 15,
}
DEVICE_POLICY = Policy(endorsed=False)


def each(kind: str, expect: str | None = None) -> pytest.MarkDecorator:
    vectors = {
        name: v for name, v in of_kind(kind).items() if expect in (None, v["expect"])
    }
    assert vectors
    return pytest.mark.parametrize("fields", vectors.values(), ids=vectors.keys())


def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", VECTORS / "generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kind", FEWEST)
def test_there_are_enough_vectors(kind):
    assert len(of_kind(kind)) >= FEWEST[kind]


def numbered_checks() -> dict[str, dict[str, str]]:
    """Of each table of checks of the specifications: numbers, and what a reader
    answers that stops there, as far as the table says."""
    found: dict[str, dict[str, str]] = {}
    for name in ("license.md", "sealed-model.md"):
        section, rows = "", None
        for line in (VECTORS.parent / "spec" / name).read_text().splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if line.startswith("#"):
                section = line.lstrip("# ")
            elif cells[:2] == ["", "check"]:
                rows = found.setdefault(f"{name} {section}", {})
            elif not line.startswith("|"):
                rows = None
            elif rows is not None and cells[0].isdigit():
                rows[cells[0]] = cells[2].split(",")[0] if len(cells) == 3 else ""
    return found


def test_every_numbered_check_has_vectors_that_fail_there():
    listed = tomllib.loads((VECTORS / "checks.toml").read_text())
    checks = numbered_checks()
    assert {name: [*rows] for name, rows in listed.items()} == {
        name: [*rows] for name, rows in checks.items()
    }
    for section, rows in listed.items():
        for number, names in rows.items():
            assert names, (section, number)
            answers = {load(VECTORS / f"data/{name}.txt")["expect"] for name in names}
            assert answers <= may_answer(section, int(number)), (section, number)


def may_answer(section: str, number: int) -> set[str]:
    if section == "license.md Evidence":
        if number == 1:
            return {"FORMAT"}
        return {"VERIFICATION" if number <= 5 else f"POLICY {number}"}
    answers = {numbered_checks()[section][str(number)]}
    # The one check that has two answers.
    return answers | ({"STORAGE"} if answers == {"WRONG_DEVICE"} else set())


def test_the_vectors_are_what_their_generators_write():
    assert generate().differences() == []


def request_of(fields: Fields, **parts: bytes) -> Request:
    trusted: bool | bytes = fields["trusted"] == "yes"
    if fields["trusted"] == "provider":
        trusted = ProviderKey.from_seed(test_key("provider")).public().raw
    return Request(
        trusted=trusted,
        updates=tuple(map(bytes.fromhex, fields.get("updates", "").split()))
        + ((bytes.fromhex(fields["update"]),) if "update" in fields else ()),
        inferences=int(fields.get("inferences", "0")),
        is_damaged="storage" in fields,
        **parts,
    )


@pytest.mark.engine
def test_the_engine_answers_every_open_vector_as_expected():
    vectors = of_kind("open")
    requests = [
        request_of(
            v, header=bytes.fromhex(v["header"]), license=bytes.fromhex(v["license"])
        )
        for v in vectors.values()
    ]
    (device,) = {v["device"] for v in vectors.values()}
    answers = open_models(requests, device_private=bytes.fromhex(device))
    for (name, fields), opened in zip(vectors.items(), answers, strict=True):
        assert Status(opened.status).name == fields["expect"], name
        if fields["expect"] == "OK":
            assert opened.page_key.hex() == fields["page_key"], name
        else:
            assert opened.is_blank, name


@pytest.mark.engine
def test_the_engine_answers_every_update_vector_as_expected():
    vectors = of_kind("update")
    requests = [request_of(v, header=b"", license=b"") for v in vectors.values()]
    (device,) = {v["device"] for v in vectors.values()}
    answers = open_models(requests, device_private=bytes.fromhex(device))
    for (name, fields), opened in zip(vectors.items(), answers, strict=True):
        assert Status(opened.status).name == fields["expect"], name


@each("update")
def test_python_tells_malformed_updates_from_well_formed(fields):
    data = bytes.fromhex(fields["update"])
    if fields["expect"] == "BAD_UPDATE":
        with pytest.raises(FormatError):
            Update.parse(data)
        return
    update = Update.parse(data)
    if fields["expect"] == "NOT_AUTHENTIC":
        with pytest.raises(VerificationError):
            update.verify()
        return
    update.verify()


@each("open")
def test_python_tells_malformed_from_well_formed(fields):
    header = bytes.fromhex(fields["header"])
    if fields["expect"] == "BAD_HEADER":
        with pytest.raises(FormatError):
            SealedHeader.parse(SignedMessage.parse(header, "the header").payload)
        return
    SignedMessage.parse(header, "the header")
    permit = bytes.fromhex(fields["license"])
    if fields["expect"] == "BAD_LICENSE":
        with pytest.raises(FormatError):
            License.parse(permit)
        return
    License.parse(permit)


@each("open", "OK")
def test_python_opens_what_the_device_opens(fields):
    header = bytes.fromhex(fields["header"])
    permit = License.parse(bytes.fromhex(fields["license"]))
    permit.verify()
    message = SignedMessage.parse(header, "the header")
    message.verify("the header")
    private = bytes.fromhex(fields["device"])
    public = X25519PrivateKey.from_private_bytes(private).public_key()
    content_key = unwrap_key(
        permit.claims.wrapped_key,
        private_key=private,
        public_key=public.public_bytes_raw(),
    )
    page_key = derive_page_key(
        content_key=content_key, salt=bytes(range(100, 132)), header=header
    )
    assert page_key.hex() == fields["page_key"]


def policy_of(words: str) -> Policy:
    """What a vector's policy asks for besides a release build and a hardware key."""
    asked = dict(word.partition("=")[::2] for word in words.split())
    builds = [bytes.fromhex(asked["build"])] if "build" in asked else []
    return Policy(
        endorsed="endorsed" in asked,
        build_ids=frozenset(builds),
        secure_memory_bytes=int(asked.get("memory", "0")),
    )


def certificate_of(fields: Fields, name: str) -> x509.Certificate | None:
    if name not in fields:
        return None
    return x509.load_der_x509_certificate(bytes.fromhex(fields[name]))


@each("certificate")
def test_python_reads_device_certificates_as_expected(fields):
    data = bytes.fromhex(fields["certificate"])
    if fields["expect"] == "FORMAT":
        with pytest.raises(FormatError):
            DeviceCertificate.parse(data)
        return
    certificate = DeviceCertificate.parse(data)
    assert certificate.encode() == data or certificate.evidence is None
    if fields["expect"] == "VERIFICATION":
        with pytest.raises(VerificationError):
            certificate.verify(policy=DEVICE_POLICY)
    elif certificate.evidence is not None:
        certificate.verify(policy=DEVICE_POLICY)


def extensions_of(payload: bytes) -> list[tuple[int, bytes]]:
    """By the general decoder, which keeps the order of a map."""
    return [item for item in cbor2.loads(payload).items() if item[0] <= -131073]


@each("open", "OK")
def test_python_writes_headers_and_licenses_again_with_their_extensions(fields):
    header = SignedMessage.parse(bytes.fromhex(fields["header"]), "the header")
    # What io holds is none of the device's business, and one vector says so.
    if cbor2.loads(header.payload)[11] != b"\xff":
        parsed = SealedHeader.parse(header.payload)
        assert list(parsed.extensions) == extensions_of(header.payload)
        assert parsed.encode() == header.payload
    permit = License.parse(bytes.fromhex(fields["license"]))
    assert list(permit.claims.extensions) == extensions_of(permit.message.payload)
    assert permit.claims.encode() == permit.message.payload


@each("update", "OK")
def test_python_keeps_the_extensions_of_updates(fields):
    update = Update.parse(bytes.fromhex(fields["update"]))
    assert list(update.extensions) == extensions_of(update.message.payload)
    shown = {str(key): value.hex() for key, value in update.extensions}
    assert update.inspect()["extensions"] == shown


@each("evidence", "OK")
def test_python_keeps_the_extensions_of_evidence(fields):
    evidence = Evidence.parse(bytes.fromhex(fields["evidence"]))
    assert list(evidence.extensions) == extensions_of(evidence.message.payload)


def test_every_message_has_the_same_vectors_of_extensions():
    names = {path.stem for path in (VECTORS / "data").iterdir()}
    ends = {
        name.removeprefix("license")
        for name in names
        if name.startswith("license") and "extension" in name
    }
    assert len(ends) >= 9
    for kind in ("header", "update", "evidence", "certificate"):
        assert {kind + end for end in ends} <= names


@each("evidence")
def test_python_judges_evidence_as_expected(fields):
    def judge() -> str:
        try:
            verify_evidence(
                bytes.fromhex(fields["evidence"]),
                nonce=bytes.fromhex(fields["nonce"]),
                policy=policy_of(fields.get("policy", "")),
                endorsement=certificate_of(fields, "endorsement"),
                manufacturers=[certificate_of(fields, "manufacturer")]
                if "manufacturer" in fields
                else [],
                now=datetime.fromisoformat(fields["now"]) if "now" in fields else None,
            )
        except FormatError:
            return "FORMAT"
        except VerificationError:
            return "VERIFICATION"
        except AttestationError as error:
            return f"POLICY {error.check}"
        return "OK"

    assert judge() == fields["expect"]


@each("file")
def test_python_reads_files_as_expected(fields, tmp_path):
    data = bytes.fromhex(fields["start"]) + bytes(int(fields["pages_bytes"]))
    path = tmp_path / "model.sealed"
    path.write_bytes(data)
    expected: type[Error] | None = {
        "OK": None,
        "FORMAT": FormatError,
        "VERIFICATION": VerificationError,
    }[fields["expect"]]
    if expected is None:
        SealedModel.from_bytes(data)
        SealedModel.open(path).close()
        return
    with pytest.raises(expected) as caught:
        SealedModel.from_bytes(data)
    assert type(caught.value) is expected
    assert caught.value.hint
    with pytest.raises(expected):
        SealedModel.open(path)


def page_key(fields: Fields) -> tuple[int, bytes]:
    """The suite that the header says, and its pages' key."""
    header = bytes.fromhex(fields["header"])
    parsed = SealedHeader.parse(SignedMessage.parse(header, "the header").payload)
    content_key = bytes.fromhex(fields["content_key"])
    return parsed.suite, derive_page_key(
        content_key=content_key, salt=parsed.salt, header=header
    )


@pytest.mark.engine
@pytest.mark.parametrize("place", PLACES)
@each("page")
def test_the_engine_decrypts_pages_as_expected(fields, place):
    number, key = page_key(fields)
    (suite,) = (name for name, suite in SUITES.items() if suite.number == number)
    slot = bytes.fromhex(fields["slot"])
    nonce = int(fields["index"]).to_bytes(8, "little") + bytes(4)
    good, _, data = run(
        place,
        message(suite, OPEN, key=key, nonce=nonce, tag=slot[-16:], data=slot[:-16]),
    )
    assert good == (fields["expect"] == "OK")
    if good:
        assert hashlib.sha256(data).hexdigest() == fields["plaintext_sha256"]
    else:
        assert not any(data)


@each("page")
def test_python_decrypts_pages_as_expected(fields):
    suite, key = page_key(fields)
    cipher = PageCipher(suite, key)
    index, slot = int(fields["index"]), bytes.fromhex(fields["slot"])
    if fields["expect"] == "OK":
        plaintext = cipher.decrypt(index, slot)
        assert hashlib.sha256(plaintext).hexdigest() == fields["plaintext_sha256"]
        assert cipher.encrypt(index, plaintext) == slot
        return
    with pytest.raises(VerificationError):
        cipher.decrypt(index, slot)


@pytest.mark.engine
def test_the_engine_answers_every_question_as_expected():
    vectors = of_kind("question")
    (device,) = {v["device"] for v in vectors.values()}
    answers = open_questions(
        [
            (
                hashlib.sha256(bytes.fromhex(v["header"])).digest(),
                bytes.fromhex(v["nonce"]),
                bytes.fromhex(v["question"]),
            )
            for v in vectors.values()
        ],
        device_private=bytes.fromhex(device),
    )
    for (name, fields), (status, sealed, *keys) in zip(
        vectors.items(), answers, strict=True
    ):
        assert Status(status).name == fields["expect"], name
        if fields["expect"] == "OK":
            assert sealed == bytes.fromhex(fields["question"])[0], name
            expected = fields["question_key"], fields["answer_key"]
            assert tuple(key.hex() for key in keys) == expected, name
        else:
            assert not sealed, name
            assert not any(map(any, keys)), name


def parsed_header(fields: Fields) -> SealedHeader:
    message = SignedMessage.parse(bytes.fromhex(fields["header"]), "the header")
    return SealedHeader.parse(message.payload)


@each("question")
def test_python_tells_malformed_questions_from_well_formed(fields):
    header = parsed_header(fields)
    question = bytes.fromhex(fields["question"])
    pages = b""
    if question[:1] in (b"\1", b"\3"):
        pages = bytes(sum(map(sealed_bytes, header.inputs)))
    if fields["expect"] == "BAD_QUESTION":
        with pytest.raises(FormatError):
            QuestionParts.parse(question + pages, header.inputs)
        return
    parts = QuestionParts.parse(question + pages, header.inputs)
    assert parts.opening == question
    assert b"".join(parts.inputs) == pages


@each("question", "OK")
def test_python_asks_as_the_device_expects(fields):
    header = parsed_header(fields)
    device = X25519PrivateKey.from_private_bytes(bytes.fromhex(fields["device"]))
    question = bytes.fromhex(fields["question"])
    exchange = Exchange.begin(
        flags=question[0],
        device_key=device.public_key().public_bytes_raw(),
        header=bytes.fromhex(fields["header"]),
        suite=header.suite,
        ephemeral=bytes.fromhex(fields["ephemeral"]),
    )
    assert exchange.opening == question
    sealed = exchange.seal_inputs([memoryview(bytes.fromhex(fields["input"]))])
    assert sealed.hex() == fields["sealed_input"]


@each("answer")
def test_python_reads_answers_as_expected(fields):
    header = parsed_header(fields)
    exchange = Exchange.begin(
        flags=FEATURE_SEALED_OUTPUT,
        device_key=bytes.fromhex(fields["device_key"]),
        header=bytes.fromhex(fields["header"]),
        suite=header.suite,
        ephemeral=bytes.fromhex(fields["ephemeral"]),
    )
    answer = bytes.fromhex(fields["answer"])
    if fields["expect"] == "OK":
        outputs = exchange.open_answer(answer, header.outputs)
        assert [item.hex() for item in outputs] == fields["outputs"].split()
        return
    expected = {"FORMAT": FormatError, "VERIFICATION": VerificationError}
    with pytest.raises(expected[fields["expect"]]) as caught:
        exchange.open_answer(answer, header.outputs)
    assert type(caught.value) is expected[fields["expect"]]
