# SPDX-License-Identifier: Apache-2.0
"""Evidence, endorsements and policies, with a device that this test plays."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

import undercroft._device
from helpers.provider import Device, test_key
from undercroft._format import cbor, cose
from undercroft._spec import EVIDENCE_PROFILE
from undercroft.attestation import (
    DEFAULT_POLICY,
    DEVELOPMENT_POLICY,
    Evidence,
    Policy,
    new_nonce,
    verify_evidence,
)
from undercroft.enroll import DeviceCertificate, enroll
from undercroft.errors import (
    AttestationError,
    DeviceLostError,
    FileAccessError,
    FormatError,
    VerificationError,
)
from undercroft.factory import Authority, load_certificate, save_certificate
from undercroft.keys import ProviderKey

DEVICE = Device(test_key("device"))
OTHER = Device(test_key("other_device"))
KEY = ProviderKey.from_seed(test_key("provider"))
NONCE = bytes(range(32))
ACME = Authority.create("ACME Devices")


def evidence(
    nonce: bytes = NONCE, key: ProviderKey = KEY, device: Device = DEVICE, **more: int
) -> bytes:
    claims = {
        8: {1: cose.cose_key(cose.CRV_X25519, device.public.raw)},
        10: nonce,
        256: b"\x01" + device.public.device_id,
        263: 1,
        265: EVIDENCE_PROFILE,
        270: "undercroft",
        271: ["0.1.0"],
        2395: 0x3000,
        -70020: bytes(32),
        -70021: 2,
        -70022: 12 << 20,
    }
    names = {"debug": 263, "lifecycle": 2395, "hardware_key": -70021}
    claims |= {names[name]: value for name, value in more.items()}
    return key.sign_message(cbor.encode(claims))


ENDORSEMENT = ACME.endorse(Evidence.parse(evidence()))


def judge(data: bytes, **options: object) -> Evidence:
    options = {
        "nonce": NONCE,
        "endorsement": ENDORSEMENT,
        "manufacturers": [ACME.certificate],
    } | options
    return verify_evidence(data, **options)  # type: ignore[arg-type]


def test_a_good_device_passes_the_default_policy() -> None:
    facts = judge(evidence())
    assert facts.public_key == DEVICE.public
    assert not facts.is_development
    assert facts.inspect() == {
        "device_id": DEVICE.public.device_id.hex(),
        "attestation_key": KEY.public().raw.hex(),
        "software": "undercroft 0.1.0",
        "build": "release",
        "build_id": "00" * 32,
        "lifecycle": "secured",
        "hardware_key": "unique",
        "secure_memory_bytes": 12 << 20,
        "extensions": {},
        "measured_by": "the device's own word",
    }


@pytest.mark.parametrize(
    ("options", "check"),
    [
        ({"endorsement": None}, 6),
        ({"policy": Policy(build_ids=frozenset({b"\1" * 32}))}, 9),
        ({"policy": Policy(secure_memory_bytes=13 << 20)}, 10),
    ],
)
def test_policies_that_are_not_met(options: dict[str, object], check: int) -> None:
    with pytest.raises(AttestationError) as caught:
        judge(evidence(), **options)
    assert caught.value.check == check
    assert caught.value.hint


@pytest.mark.parametrize(
    ("more", "check"),
    [
        ({"debug": 0}, 7),
        ({"lifecycle": 0x1000}, 7),
        ({"hardware_key": 1}, 8),
        ({"hardware_key": 0}, 8),
        ({"debug": 0, "hardware_key": 1}, 7),
    ],
)
def test_devices_that_protect_nothing(more: dict[str, int], check: int) -> None:
    with pytest.raises(AttestationError) as caught:
        judge(evidence(**more))
    assert caught.value.check == check
    assert "--allow-development" in caught.value.hint
    judge(evidence(**more), policy=DEVELOPMENT_POLICY)


def test_what_policies_give_up_is_said() -> None:
    assert DEFAULT_POLICY.given_up() == []
    lines = DEVELOPMENT_POLICY.given_up()
    assert len(lines) == 3
    assert "hands that person the model" in lines[0]


def endorsed(**changes: object) -> x509.Certificate:
    """An endorsement of ACME's in which one thing is wrong."""
    begin = datetime.now(UTC) - timedelta(days=2)
    options = {
        "serial": DEVICE.public.device_id.hex(),
        "key": Ed25519PrivateKey.from_private_bytes(test_key("provider")),
        "days": 100,
        "ca": False,
    } | changes
    subject = x509.Name(
        [x509.NameAttribute(NameOID.SERIAL_NUMBER, str(options["serial"]))]
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(ACME.certificate.subject)
        .public_key(options["key"].public_key())  # type: ignore[attr-defined]
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=options["days"]))  # type: ignore[arg-type]
        .add_extension(
            x509.BasicConstraints(ca=bool(options["ca"]), path_length=None), True
        )
        .sign(ACME._key, None)
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"serial": OTHER.public.device_id.hex()}, "another device"),
        ({"key": Ed25519PrivateKey.generate()}, "another key"),
        ({"days": 1}, "not valid now"),
        ({"ca": True}, "authority"),
    ],
)
def test_endorsements_that_are_wrong(changes: dict[str, object], says: str) -> None:
    judge(evidence(), endorsement=endorsed())
    with pytest.raises(VerificationError, match=says):
        judge(evidence(), endorsement=endorsed(**changes))


def test_endorsements_by_others() -> None:
    stranger = Authority.create("ACME Devices")
    for endorsement in (stranger.endorse(Evidence.parse(evidence())), ACME.certificate):
        with pytest.raises(VerificationError, match=r"none of the|authority"):
            judge(evidence(), endorsement=endorsement)
    with pytest.raises(VerificationError, match="none of the"):
        judge(evidence(), manufacturers=[])
    # A device that endorses others: its certificate is no authority's.
    forger = Authority(
        Ed25519PrivateKey.from_private_bytes(test_key("provider")), ENDORSEMENT
    )
    forged = forger.endorse(Evidence.parse(evidence()))
    with pytest.raises(VerificationError, match="authority"):
        judge(evidence(), endorsement=forged, manufacturers=[ENDORSEMENT])


@pytest.mark.parametrize(
    "differences",
    [
        pytest.param([1 << bit for bit in range(8)], id="every-bit"),
        pytest.param(range(1, 256), id="every-value", marks=[pytest.mark.exhaustive]),
    ],
)
def test_no_changed_byte_is_accepted(differences: Sequence[int]) -> None:
    good = evidence()
    classes: set[type[Exception]] = set()
    for at in range(len(good)):
        for difference in differences:
            changed = bytearray(good)
            changed[at] ^= difference
            expected: type[Exception] = VerificationError
            try:
                Evidence.parse(bytes(changed))
            except FormatError:
                expected = FormatError
            classes.add(expected)
            with pytest.raises(expected):
                judge(bytes(changed), policy=DEVELOPMENT_POLICY)
    assert classes == {FormatError, VerificationError}


def test_no_part_of_evidence_is_accepted_and_nothing_added() -> None:
    good = evidence()
    for end in range(len(good)):
        with pytest.raises(FormatError):
            judge(good[:end], policy=DEVELOPMENT_POLICY)
    for value in range(256):
        for changed in (good + bytes([value]), bytes([value]) + good):
            with pytest.raises(FormatError):
                judge(changed, policy=DEVELOPMENT_POLICY)
    with pytest.raises(FormatError):
        judge(good + good, policy=DEVELOPMENT_POLICY)


@given(st.binary(max_size=300))
def test_anything_is_refused_with_one_of_our_errors(data: bytes) -> None:
    with pytest.raises((FormatError, VerificationError)):
        judge(data)


def test_nonces_are_fresh() -> None:
    assert len({new_nonce() for _ in range(100)}) == 100


# ---- the manufacturer's files ----


def test_an_authority_survives_its_files(tmp_path) -> None:
    ACME.save(tmp_path / "acme.key", tmp_path / "acme.pem")
    assert (tmp_path / "acme.key").stat().st_mode & 0o777 == 0o600
    again = Authority.load(tmp_path / "acme.key", tmp_path / "acme.pem")
    assert again.certificate == ACME.certificate
    save_certificate(ENDORSEMENT, tmp_path / "device.pem")
    assert load_certificate(tmp_path / "device.pem") == ENDORSEMENT
    (tmp_path / "acme.key").chmod(0o644)
    with pytest.raises(FileAccessError) as caught:
        Authority.load(tmp_path / "acme.key", tmp_path / "acme.pem")
    assert caught.value.hint.startswith("chmod 600")
    (tmp_path / "acme.key").chmod(0o600)
    with pytest.raises(FormatError, match="is not the key of"):
        Authority.load(tmp_path / "acme.key", tmp_path / "device.pem")
    with pytest.raises(FormatError, match="no certificate"):
        load_certificate(tmp_path / "acme.key")
    with pytest.raises(FormatError, match="no name"):
        Authority.create("")


# ---- enrolment and device certificates ----


class FakeDevice:
    """A device that answers as it is told."""

    def __init__(self, answer=evidence, version: str = "1.0") -> None:
        self.answer = answer
        self.version = version
        self.closed = False

    def attest(self, nonce: bytes) -> bytes:
        return self.answer(nonce)

    def info(self) -> SimpleNamespace:
        return SimpleNamespace(kind="op-tee", build="release", version=self.version)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def connect(monkeypatch):
    def install(device: FakeDevice) -> FakeDevice:
        monkeypatch.setattr(undercroft._device, "open_device", lambda _: device)
        return device

    return install


def test_enrolling_challenges_the_device(connect, tmp_path) -> None:
    device = connect(FakeDevice())
    certificate = enroll(
        "tee:", endorsement=ENDORSEMENT, manufacturers=[ACME.certificate]
    )
    assert device.closed
    assert certificate.public_key == DEVICE.public
    assert certificate.info == "op-tee, release build, 1.0"
    assert certificate.nonce != NONCE
    certificate.save(tmp_path / "device.cert")
    again = DeviceCertificate.load(tmp_path / "device.cert")
    assert again == certificate
    again.verify(manufacturers=[ACME.certificate])
    assert again.inspect()["authenticated"] is True
    with pytest.raises(VerificationError, match="none of the"):
        again.verify()


def test_enrolling_refuses_what_the_policy_does(connect) -> None:
    device = connect(FakeDevice())
    with pytest.raises(AttestationError) as caught:
        enroll("tee:")
    assert caught.value.check == 6
    assert device.closed
    assert enroll("tee:", policy=DEVELOPMENT_POLICY).inspect()["authenticated"] is False


@pytest.mark.parametrize("answer", [b"", b"\xa0", bytes(300), evidence()])
def test_a_device_with_a_wrong_answer_is_refused(connect, answer: bytes) -> None:
    device = connect(FakeDevice(lambda _: answer))
    with pytest.raises((FormatError, VerificationError)):
        enroll("tee:", policy=DEVELOPMENT_POLICY)
    assert device.closed


def test_a_device_that_talks_too_much_is_cut_short(connect) -> None:
    connect(FakeDevice(version="é" * 1000))
    certificate = enroll("tee:", policy=DEVELOPMENT_POLICY)
    assert len(certificate.info.encode()) <= 256
    assert DeviceCertificate.parse(certificate.encode()) == certificate


def test_a_lost_device_is_let_go(connect) -> None:
    def lost(nonce: bytes) -> bytes:
        raise DeviceLostError("gone")

    device = connect(FakeDevice(lost))
    with pytest.raises(DeviceLostError):
        enroll("tee:")
    assert device.closed


def test_a_key_put_into_a_certificate_is_noticed() -> None:
    certificate = DeviceCertificate(OTHER.public, "", NONCE, evidence())
    with pytest.raises(VerificationError, match="not the one in its evidence"):
        certificate.verify(policy=DEVELOPMENT_POLICY)
    with pytest.raises(AttestationError, match="no evidence"):
        DeviceCertificate(DEVICE.public).verify()
    certificate = DeviceCertificate(DEVICE.public, "", NONCE, evidence(), b"none")
    with pytest.raises(VerificationError, match="no certificate"):
        certificate.verify(policy=DEVELOPMENT_POLICY)


@pytest.mark.parametrize(
    "parts",
    [
        (NONCE, None, None),
        (None, b"1", None),
        (None, None, b"1"),
        (bytes(7), b"1", None),
        (NONCE, b"", None),
        (NONCE, b"1", b""),
        (NONCE, bytes(2049), None),
    ],
)
def test_certificates_that_cannot_be(parts: tuple[bytes | None, ...]) -> None:
    with pytest.raises(FormatError):
        DeviceCertificate(DEVICE.public, "", *parts)


def test_a_policy_names_every_check_that_fails() -> None:
    facts = Evidence.parse(evidence(debug=0, hardware_key=1))
    policy = Policy(
        build_ids=frozenset({bytes(31) + b"x"}), secure_memory_bytes=1 << 30
    )
    found = policy.refusals(facts, is_endorsed=False)
    assert [refusal.check for refusal in found] == [6, 7, 8, 9, 10]
    assert all(refusal.hint for refusal in found)
    with pytest.raises(AttestationError) as caught:
        judge(evidence(debug=0, hardware_key=1), policy=policy, endorsement=None)
    assert caught.value.message == found[0].message
    assert DEVELOPMENT_POLICY.refusals(facts, is_endorsed=False) == []
