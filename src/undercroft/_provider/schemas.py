# SPDX-License-Identifier: Apache-2.0
"""The bodies of requests and answers.

Ids and nonces are lower-case hexadecimal, messages (evidence, licenses, updates) are
base64, times are seconds since 1970.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import time
from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from cryptography import x509
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from undercroft._format.license import MAX_RATE_COUNT, MAX_RATE_SECONDS
from undercroft._provider.licensing import Once
from undercroft._provider.problems import ProblemError
from undercroft._provider.revocation import Target
from undercroft._provider.tables import (
    CURRENT,
    AuditEntry,
    Device,
    License,
    Model,
    Revocation,
)
from undercroft._spec import FEATURE_SEALED_INPUT, FEATURE_SEALED_OUTPUT
from undercroft.errors import FormatError
from undercroft.license import LicenseTerms

_Item = TypeVar("_Item")
_ALL_FEATURES = FEATURE_SEALED_INPUT | FEATURE_SEALED_OUTPUT


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("has characters that cannot be printed")
    return text


Uint32 = Annotated[int, Field(ge=0, le=0xFFFFFFFF, strict=True)]
Count = Annotated[int, Field(ge=1, le=0xFFFFFFFF, strict=True)]
Text = Annotated[str, StringConstraints(max_length=128), AfterValidator(_printable)]
Reason = Annotated[str, StringConstraints(max_length=256), AfterValidator(_printable)]
DeviceId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
LicenseId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
Nonce = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
ModelName = Annotated[Text, StringConstraints(min_length=1)]
Pem = Annotated[str, StringConstraints(max_length=16384)]
Base64 = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
Rate = tuple[
    Annotated[int, Field(ge=1, le=MAX_RATE_COUNT, strict=True)],
    Annotated[int, Field(ge=1, le=MAX_RATE_SECONDS, strict=True)],
]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Terms(_Request):
    """Conditions of a license; what is left out is no condition."""

    expires: Uint32 | None = None
    not_before: Uint32 | None = None
    grace_seconds: Uint32 | None = None
    max_inferences: Count | None = None
    rate: Rate | None = Field(default=None, description="inferences, seconds")
    version_floor: Uint32 | None = None
    features: Annotated[int, Field(ge=1, le=_ALL_FEATURES, strict=True)] | None = Field(
        default=None, description="1: sealed inputs, 2: sealed outputs, 3: both"
    )
    update_floor: Uint32 | None = None
    without_time: bool = False

    def terms(self) -> LicenseTerms:
        """Return them as `issue` takes them."""
        try:
            return LicenseTerms(**self.model_dump())
        except FormatError as error:
            raise malformed("body.terms", error.message) from error


class EnrolRequest(_Request):
    """What a device answered to a challenge."""

    nonce: Nonce
    evidence: Base64 = Field(description="the EAT, as ATTEST gave it, in base64")
    endorsement: Pem | None = Field(
        default=None,
        description="the manufacturer's certificate for the device, in PEM",
    )
    label: Text = ""

    def evidence_bytes(self) -> bytes:
        """Return the evidence."""
        try:
            return base64.b64decode(self.evidence, validate=True)
        except (binascii.Error, ValueError) as error:
            raise malformed("body.evidence", "is not base64") from error

    def certificate(self) -> x509.Certificate | None:
        """Return the endorsement."""
        if self.endorsement is None:
            return None
        try:
            return x509.load_pem_x509_certificate(self.endorsement.encode())
        except ValueError as error:
            raise malformed("body.endorsement", "is no certificate in PEM") from error


class IssueRequest(_Request):
    """Which model for which device, and how."""

    model: ModelName = Field(description="id or name")
    device_id: DeviceId
    terms: Terms = Terms()


class RenewRequest(_Request):
    """Other conditions; without, the old ones, for as long again."""

    terms: Terms | None = None


class RevokeRequest(_Request):
    """A license; or a model, on all devices or one; or a device as a whole."""

    license_id: LicenseId | None = None
    model: ModelName | None = None
    device_id: DeviceId | None = None
    reason: Reason = ""

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        others = self.model is not None or self.device_id is not None
        if (self.license_id is not None) == others:
            raise ValueError("give license_id alone, or model or device_id or both")
        return self

    def target(self) -> Target:
        """Return it as `revoke` takes it."""
        return Target(self.license_id, self.model, self.device_id)


def once(key: str | None, what: str, body: BaseModel) -> Once:
    """Return what makes a request the same as another one."""
    if key is None:
        return Once()
    if not (1 <= len(key) <= 255 and key.isascii() and key.isprintable()):
        raise malformed(
            "header.idempotency-key", "is not 1 to 255 printable characters"
        )
    text = json.dumps([what, body.model_dump(mode="json")], sort_keys=True)
    return Once(key, hashlib.sha256(text.encode()).digest())


def malformed(where: str, detail: str) -> ProblemError:
    """Return the refusal of one place in a request."""
    return ProblemError(
        "malformed-request",
        f"{where} {detail}",
        errors=[{"where": where, "detail": detail}],
    )


# ---- answers ----


class Page(BaseModel, Generic[_Item]):
    """A part of a list; `next` is `after` of the part that follows."""

    items: list[_Item]
    next: str | None = None


class HealthAnswer(BaseModel):
    """The service can be used."""

    status: Literal["ok"] = "ok"
    provider_key_id: str


class ChallengeAnswer(BaseModel):
    """A nonce for one answer."""

    nonce: str
    expires_at: int


class ModelAnswer(BaseModel):
    """A model that licenses can be issued for."""

    model_id: str
    name: str
    added_at: int
    current_licenses: int

    @classmethod
    def of(cls, row: Model, licenses: int) -> Self:
        """Describe a row."""
        return cls(
            model_id=row.model_id,
            name=row.name,
            added_at=row.added_at,
            current_licenses=licenses,
        )


class DeviceAnswer(BaseModel):
    """An enrolled device."""

    device_id: str
    label: str
    enrolled_at: int
    blocked_at: int | None
    endorsed: bool
    evidence: dict[str, Any]

    @classmethod
    def of(cls, row: Device) -> Self:
        """Describe a row."""
        return cls(
            device_id=row.device_id,
            label=row.label,
            enrolled_at=row.enrolled_at,
            blocked_at=row.blocked_at,
            endorsed=row.endorsement is not None,
            evidence=row.facts,
        )


class LicenseSummary(BaseModel):
    """A license without its bytes."""

    license_id: str
    model_id: str
    device_id: str
    state: Literal["current", "expired", "superseded", "revoked"]
    issued_at: int
    terms: dict[str, Any]
    successor_id: str | None

    @classmethod
    def of(cls, row: License) -> Self:
        """Describe a row."""
        state = row.state
        ends = row.terms.get("expires")
        grace = row.terms.get("grace_seconds", 0)
        if state == CURRENT and ends is not None and ends + grace <= time.time():
            state = "expired"
        return cls.model_validate(
            {
                "license_id": row.license_id,
                "model_id": row.model_id,
                "device_id": row.device_id,
                "state": state,
                "issued_at": row.issued_at,
                "terms": row.terms,
                "successor_id": row.successor_id,
                **cls.more(row),
            }
        )

    @classmethod
    def more(cls, _: License) -> dict[str, Any]:
        """What a description has besides."""
        return {}


class LicenseAnswer(LicenseSummary):
    """A license, ready for its device."""

    license: str = Field(description="the license, in base64")

    @classmethod
    def more(cls, row: License) -> dict[str, Any]:
        """The license itself."""
        return {"license": base64.b64encode(row.content).decode()}


class LineProblem(BaseModel):
    """Why a line of a list got no license."""

    line: int
    detail: str


class ListedLicense(BaseModel):
    """A license as the file of `undercroft license issue --devices` has it."""

    device_id: str
    license_id: str
    license: str


class ListAnswer(BaseModel):
    """What became of a list of devices."""

    issued: int
    already: int
    problems: list[LineProblem]
    licenses: list[ListedLicense]


class RevocationAnswer(BaseModel):
    """Licenses issued before some time that hold no longer."""

    version: int
    model_id: str
    device_id: str | None
    issued_before: int
    revoked_at: int
    reason: str

    @classmethod
    def of(cls, row: Revocation) -> Self:
        """Describe a row."""
        return cls(
            version=row.version,
            model_id=row.model_id,
            device_id=row.device_id,
            issued_before=row.issued_before,
            revoked_at=row.revoked_at,
            reason=row.reason,
        )


class RevokedAnswer(BaseModel):
    """The revocations that now cover what was asked for."""

    revocations: list[RevocationAnswer]


class UpdatesAnswer(BaseModel):
    """Updates for devices (`undercroft update apply`); a device takes all of them."""

    version: int = Field(description="0: a time token, nothing is revoked")
    updates: list[str] = Field(description="in base64")


class AuditAnswer(BaseModel):
    """An entry of the audit log."""

    number: int
    at: int
    key_id: str | None
    action: str
    outcome: str
    subject: str
    detail: dict[str, Any]

    @classmethod
    def of(cls, row: AuditEntry) -> Self:
        """Describe a row."""
        return cls(
            number=row.number,
            at=row.at,
            key_id=row.key_id,
            action=row.action,
            outcome=row.outcome,
            subject=row.subject,
            detail=row.detail,
        )


class ProblemAnswer(BaseModel):
    """Problem details (RFC 9457); some problems have members of their own."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    hint: str
