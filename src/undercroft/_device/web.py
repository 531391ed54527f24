# SPDX-License-Identifier: Apache-2.0
"""What the agent's requests and answers have in common: limits, JSON, errors."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from undercroft._device.faults import encode_error, http_status_of
from undercroft._device.store import too_large
from undercroft.errors import Error, InputError

if TYPE_CHECKING:
    from starlette.requests import Request

MAX_CONTROL_BYTES: Final = 65536
"""The largest body of a request that is neither an inference nor an upload."""


async def answer_error(_: Request, error: Exception) -> Response:
    """Answer with what an error of ours says."""
    if not isinstance(error, Error):
        return await answer_fault(_, error)
    return Response(
        encode_error(error),
        status_code=http_status_of(error),
        media_type="application/json",
    )


async def answer_http_exception(_: Request, error: Exception) -> Response:
    """Answer in JSON where no route matches."""
    status = getattr(error, "status_code", HTTPStatus.INTERNAL_SERVER_ERROR)
    text = getattr(error, "detail", "") or HTTPStatus(status).phrase
    return json_response({"error": text}, status)


async def answer_nobody(_: Request, __: Exception) -> Response:
    """End the request of a client that went away."""
    return Response(status_code=HTTPStatus.BAD_REQUEST)


async def answer_fault(_: Request, __: Exception) -> Response:
    """Answer after a bug of ours."""
    # Starlette logs the traceback; the client learns nothing of our insides.
    return json_response(
        {"error": "a fault inside the agent"}, HTTPStatus.INTERNAL_SERVER_ERROR
    )


def json_response(value: object, status: int = HTTPStatus.OK) -> Response:
    """Return a JSON answer."""
    return Response(
        json.dumps(value).encode(), status_code=status, media_type="application/json"
    )


def content_length(request: Request) -> int | None:
    """Return the length that the client announced, or None."""
    return _number_header(request, "content-length")


def header_length(request: Request) -> int | None:
    """Return where an inference's JSON document ends, or None."""
    return _number_header(request, "inference-header-content-length")


def _number_header(request: Request, name: str) -> int | None:
    text = request.headers.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InputError(f"the header {name} is {text[:40]!r}, not a number")
    return int(text)


async def read_body(request: Request, max_bytes: int) -> bytearray:
    """Read a whole body.

    Raises:
        RequestError: larger than `max_bytes`.
    """
    declared = content_length(request)
    if declared is not None and declared > max_bytes:
        raise too_large(declared, max_bytes)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise too_large(len(body), max_bytes)
    return body


async def read_json(request: Request) -> dict[str, Any]:
    """Read a body that is a JSON object, or empty.

    Raises:
        InputError: something else.
    """
    body = await read_body(request, MAX_CONTROL_BYTES)
    if not body.strip():
        return {}
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InputError("the request is not JSON", hint=str(error)) from error
    if not isinstance(value, dict):
        raise InputError("the request is not a JSON object")
    return value


EXCEPTION_HANDLERS: Final = {
    Error: answer_error,
    HTTPException: answer_http_exception,
    ClientDisconnect: answer_nobody,
    Exception: answer_fault,
}
