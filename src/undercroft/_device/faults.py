# SPDX-License-Identifier: Apache-2.0
"""Errors on the wire between agent and client.

The body is `{"error": TEXT}`, as the Open Inference Protocol has it, with one
more member, `undercroft`, from which the client raises the same class again::

    {"error": "OPEN: the license was issued for another device",
     "undercroft": {"code": "License", "hint": "...", "status": 0, "detail": 0}}
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any, Final

from undercroft.errors import (
    DeviceError,
    DeviceLostError,
    DeviceStateError,
    EnvironmentMissingError,
    Error,
    FileAccessError,
    FormatError,
    InputError,
    LicenseError,
    SecureMemoryError,
    VerificationError,
)

_PLAIN: Final[tuple[type[Error], ...]] = (
    EnvironmentMissingError,
    FileAccessError,
    FormatError,
    InputError,
    VerificationError,
)
_DEVICE: Final[tuple[type[DeviceError | LicenseError], ...]] = (
    LicenseError,
    DeviceError,
    DeviceLostError,
    DeviceStateError,
    SecureMemoryError,
)
_HTTP_STATUS: Final[dict[type[Error], HTTPStatus]] = {
    InputError: HTTPStatus.BAD_REQUEST,
    FormatError: HTTPStatus.UNPROCESSABLE_ENTITY,
    LicenseError: HTTPStatus.FORBIDDEN,
    VerificationError: HTTPStatus.FORBIDDEN,
    DeviceStateError: HTTPStatus.CONFLICT,
    SecureMemoryError: HTTPStatus.INSUFFICIENT_STORAGE,
    DeviceLostError: HTTPStatus.SERVICE_UNAVAILABLE,
    EnvironmentMissingError: HTTPStatus.SERVICE_UNAVAILABLE,
}

MAX_TEXT: Final = 2000


class RequestError(DeviceError):
    """A request that the agent refuses before it reaches the device."""

    def __init__(
        self, http_status: HTTPStatus, message: str, *, hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.http_status = http_status


def http_status_of(error: Error) -> int:
    """Return the HTTP status that fits an error."""
    if isinstance(error, RequestError):
        return int(error.http_status)
    return int(_HTTP_STATUS.get(type(error), HTTPStatus.INTERNAL_SERVER_ERROR))


def encode_error(error: Error) -> bytes:
    """Return the JSON body that stands for an error."""
    more: dict[str, Any] = {"code": error.code, "hint": error.hint}
    if isinstance(error, DeviceError | LicenseError):
        more |= {
            "status": int(error.status),
            "detail": error.detail,
            "command": error.command,
        }
    if isinstance(error, RequestError):
        more["code"] = "Device"
    return json.dumps({"error": error.message, "undercroft": more}).encode()


def decode_error(http_status: int, body: bytes) -> Error:
    """Return the error that an agent's answer stands for.

    The agent is not trusted: whatever the body is, this returns one of our errors.
    """
    try:
        value = json.loads(body)
        message = str(value["error"])[:MAX_TEXT]
    except (ValueError, KeyError, TypeError, RecursionError):
        return DeviceError(
            f"the agent answered with HTTP status {http_status} and no explanation",
            hint="check that the address is that of `undercroft serve`",
        )
    more = value.get("undercroft")
    if not isinstance(more, dict):
        more = {}
    code = more.get("code")
    hint = str(more.get("hint", ""))[:MAX_TEXT]
    for plain in _PLAIN:
        if code == plain.__name__.removesuffix("Error"):
            return plain(message, hint=hint)
    kinds = {kind.__name__.removesuffix("Error"): kind for kind in _DEVICE}
    kind = kinds.get(code, DeviceError) if isinstance(code, str) else DeviceError
    if kind is DeviceError and "code" not in more:
        return DeviceError(f"{message} (HTTP status {http_status})", hint=hint)
    return kind(
        message,
        hint=hint,
        status=_number(more.get("status")),
        detail=_number(more.get("detail")),
        command=str(more.get("command", ""))[:MAX_TEXT],
    )


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
