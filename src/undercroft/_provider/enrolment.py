# SPDX-License-Identifier: Apache-2.0
"""Enrolment: a challenge, and the evidence that answers it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cryptography import x509
from sqlalchemy import delete, select

from undercroft._provider import audit
from undercroft._provider.problems import ProblemError
from undercroft._provider.store import settled
from undercroft._provider.tables import Challenge, Device
from undercroft.attestation import Evidence, new_nonce, verify_evidence
from undercroft.bulk import is_usable
from undercroft.errors import AttestationError, FormatError, VerificationError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from undercroft._provider.security import Caller
    from undercroft._provider.service import Service

_CHECKS = {
    6: "endorsed by a manufacturer",
    7: "a release build",
    8: "a hardware key of its own",
    9: "an expected build",
    10: "enough secure memory",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a device answered to a challenge.

    Attributes:
        nonce: the challenge.
        evidence: the EAT.
        endorsement: the manufacturer's certificate, or None.
        label: a name for people.
    """

    nonce: bytes
    evidence: bytes
    endorsement: x509.Certificate | None
    label: str


def challenge(service: Service) -> tuple[bytes, int]:
    """Give out a nonce, for one answer.

    Returns:
        The nonce, and the time until which it can be answered.
    """
    nonce = new_nonce()
    now = int(time.time())
    expires_at = now + service.config.challenge_seconds
    with service.store.write() as session:
        session.execute(delete(Challenge).where(Challenge.expires_at < now))
        session.add(Challenge(nonce=nonce.hex(), expires_at=expires_at))
    return nonce, expires_at


def enrol(service: Service, caller: Caller, answer: Answer) -> tuple[Device, bool]:
    """Take a device for what its evidence says, if the policy is content.

    A device that is known already is brought up to date. The same answer a second
    time finds the device as it is.

    Returns:
        The device, and whether it is new.

    Raises:
        ProblemError: refused; the audit log says so too.
    """
    try:
        return settled(lambda _: _enrol(service, caller, answer))
    except ProblemError as problem:
        if problem.type.status < 500:
            _note_refusal(service, caller, answer, problem)
        raise


def _enrol(service: Service, caller: Caller, answer: Answer) -> tuple[Device, bool]:
    now = int(time.time())
    with service.store.write() as session:
        used = session.execute(
            delete(Challenge).where(
                Challenge.nonce == answer.nonce.hex(), Challenge.expires_at >= now
            )
        )
        if not getattr(used, "rowcount", 0):
            device = _answered_before(session, answer)
            if device is None:
                raise ProblemError("challenge-unknown")
            return device, False
        facts = _judge(service, answer)
        device_id = facts.device_id.hex()
        device = session.get(Device, device_id, with_for_update=True)
        is_new = device is None
        if device is None:
            device = Device(
                device_id=device_id,
                public_key=facts.public_key.raw.hex(),
                blocked_at=None,
                enrolled_at=now,
            )
            session.add(device)
        elif device.blocked_at is not None:
            raise ProblemError("device-blocked", device_id=device_id)
        device.label = answer.label
        device.facts = facts.inspect()
        device.nonce = answer.nonce.hex()
        device.evidence = answer.evidence
        device.endorsement = _der(answer.endorsement)
        audit.note(
            session,
            caller.key_id,
            "enrol",
            device_id,
            new=is_new,
            endorsed=answer.endorsement is not None,
        )
    return device, is_new


def _answered_before(session: Session, answer: Answer) -> Device | None:
    return session.scalar(
        select(Device).where(
            Device.nonce == answer.nonce.hex(), Device.evidence == answer.evidence
        )
    )


def _judge(service: Service, answer: Answer) -> Evidence:
    try:
        facts = verify_evidence(
            answer.evidence,
            nonce=answer.nonce,
            policy=service.policy,
            endorsement=answer.endorsement,
            manufacturers=service.manufacturers,
        )
    except FormatError as error:
        raise ProblemError(
            "evidence-not-authentic", error.message, hint=error.hint
        ) from error
    except VerificationError as error:
        raise ProblemError(
            "evidence-not-authentic", error.message, hint=error.hint
        ) from error
    except AttestationError as error:
        refusals = service.policy.refusals(
            Evidence.parse(answer.evidence), is_endorsed=answer.endorsement is not None
        )
        checks = [_describe(refusal) for refusal in refusals]
        raise ProblemError(
            "evidence-refused",
            "the device shows less than the policy asks for: "
            + "; ".join(refusal.message for refusal in refusals),
            checks=checks,
        ) from error
    if not is_usable(facts.public_key):
        raise ProblemError("device-key-unusable")
    return facts


def _describe(refusal: AttestationError) -> dict[str, Any]:
    return {
        "check": refusal.check,
        "wanted": _CHECKS[refusal.check],
        "detail": refusal.message,
        "hint": refusal.hint,
    }


def _note_refusal(
    service: Service, caller: Caller, answer: Answer, problem: ProblemError
) -> None:
    try:
        subject = Evidence.parse(answer.evidence).device_id.hex()
    except FormatError:
        subject = ""
    checks = [item["check"] for item in problem.members.get("checks", ())]
    with service.store.write() as session:
        audit.note(
            session,
            caller.key_id,
            "enrol",
            subject,
            outcome=audit.REFUSED,
            problem=problem.kind,
            checks=checks,
        )


def _der(certificate: x509.Certificate | None) -> bytes | None:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.DER) if certificate else None
