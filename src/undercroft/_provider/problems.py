# SPDX-License-Identifier: Apache-2.0
"""Every refusal of the service, as problem details (RFC 9457).

One table: the answers, the pages below `/problems/` and `docs/provider.md` follow it.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from undercroft.errors import Error

MEDIA_TYPE: Final = "application/problem+json"


@dataclass(frozen=True, slots=True)
class ProblemType:
    """A kind of refusal.

    Attributes:
        status: the HTTP status that it goes with.
        title: what it is, the same each time.
        advice: what to do next.
    """

    status: HTTPStatus
    title: str
    advice: str


_AGAIN: Final = "Send the same request again, with the same Idempotency-Key."

PROBLEMS: Final[dict[str, ProblemType]] = {
    "malformed-request": ProblemType(
        HTTPStatus.BAD_REQUEST,
        "The request is not what this address takes",
        "`errors` names each place; the service's /openapi.json has the form.",
    ),
    "malformed-list": ProblemType(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "Lines of the list have errors and nothing was issued",
        "Mend the lines in `errors`, or issue for the others with ?partial=true.",
    ),
    "api-key-missing": ProblemType(
        HTTPStatus.UNAUTHORIZED,
        "No API key came with the request",
        "Send the header Authorization: Bearer KEY.",
    ),
    "api-key-refused": ProblemType(
        HTTPStatus.UNAUTHORIZED,
        "The API key is unknown, expired or revoked",
        "Ask for a new one: undercroft provider api-key create.",
    ),
    "scope-missing": ProblemType(
        HTTPStatus.FORBIDDEN,
        "The API key does not have the scope that this needs",
        "Use a key with the scope in `scope`.",
    ),
    "rate-exceeded": ProblemType(
        HTTPStatus.TOO_MANY_REQUESTS,
        "The API key has used up its rate",
        "Wait as many seconds as Retry-After says.",
    ),
    "not-found": ProblemType(
        HTTPStatus.NOT_FOUND,
        "There is no such thing here",
        "Check the id, and that the model was added or the device enrolled.",
    ),
    "method-not-allowed": ProblemType(
        HTTPStatus.METHOD_NOT_ALLOWED,
        "This address does not take that method",
        "See /openapi.json.",
    ),
    "too-large": ProblemType(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "The request is larger than this address takes",
        "Send it in parts.",
    ),
    "challenge-unknown": ProblemType(
        HTTPStatus.CONFLICT,
        "The challenge was not given out here, has expired, or is used up",
        "Ask for a new one, POST /v1/challenges, and have the device answer that.",
    ),
    "evidence-not-authentic": ProblemType(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The evidence does not verify",
        "Have the device answer a new challenge; check its endorsement.",
    ),
    "evidence-refused": ProblemType(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The device shows less than the policy asks for",
        "`checks` has each check of spec/license.md that failed, and what helps.",
    ),
    "device-key-unusable": ProblemType(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "Nothing can be encrypted to the device's key",
        "Reset the device's secure storage, and enroll it again.",
    ),
    "device-blocked": ProblemType(
        HTTPStatus.CONFLICT,
        "The device was revoked as a whole",
        "A device that was found again needs new keys: reset it and enroll it.",
    ),
    "license-exists": ProblemType(
        HTTPStatus.CONFLICT,
        "The device has a license for this model already",
        "It is the one in `license_id`: get it, renew it, or revoke it first.",
    ),
    "license-ended": ProblemType(
        HTTPStatus.CONFLICT,
        "The license was superseded or revoked",
        "Renew the one in `successor_id`, or issue a new one.",
    ),
    "idempotency-key-reused": ProblemType(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The Idempotency-Key was used for another request",
        "Use a new key for each request, and the old one to repeat one.",
    ),
    "key-unavailable": ProblemType(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "A key of the provider cannot be used, and nothing was issued",
        "The service's log says which and how to mend it. " + _AGAIN,
    ),
    "clock-off": ProblemType(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The clock of the service's machine is far off, and nothing was done",
        "Set it. Devices believe the provider's time, and never an earlier one again.",
    ),
    "database-unavailable": ProblemType(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The database cannot be reached or went away",
        "What was asked for was done as a whole or not at all. " + _AGAIN,
    ),
    "fault": ProblemType(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "A fault inside the service",
        "Its log has more. " + _AGAIN,
    ),
}


class ProblemError(Error):
    """A refusal: one of `PROBLEMS`, with what is particular to this one.

    Attributes:
        kind: its name in `PROBLEMS`.
        members: further members of the answer.
        headers: further headers of the answer.
    """

    def __init__(
        self,
        kind: str,
        detail: str = "",
        *,
        hint: str = "",
        headers: dict[str, str] | None = None,
        **members: Any,  # noqa: ANN401 any JSON value
    ) -> None:
        self.kind = kind
        self.type = PROBLEMS[kind]
        super().__init__(detail or self.type.title, hint=hint or self.type.advice)
        self.members = members
        self.headers = headers or {}

    def document(self) -> dict[str, Any]:
        """Return the members of the answer."""
        return {
            "type": f"/problems/{self.kind}",
            "title": self.type.title,
            "status": int(self.type.status),
            "detail": self.message,
            "hint": self.hint,
            **self.members,
        }


class StaleWriteError(Exception):
    """Somebody else wrote first: a constraint of the database spoke."""
