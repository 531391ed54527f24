# SPDX-License-Identifier: Apache-2.0
"""What holds for every request and answer: size, headers, the form of refusals."""

from __future__ import annotations

import json
import logging
from collections.abc import MutableMapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from undercroft._provider.problems import MEDIA_TYPE, PROBLEMS, ProblemError

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES: Final = 1 << 16
MAX_LIST_BYTES: Final = 1 << 20
LIST_PATH: Final = "/v1/licenses/list"
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_KINDS: Final = {
    HTTPStatus.NOT_FOUND: "not-found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method-not-allowed",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "too-large",
}

_log = logging.getLogger("undercroft.provider")


class Guards:
    """Refuses bodies that are too large, and gives answers their headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        left = MAX_LIST_BYTES if scope["path"] == LIST_PATH else MAX_BODY_BYTES

        async def limited() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return message

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add_headers(message)
            await send(message)

        await self._app(scope, limited, with_headers)


def _add_headers(message: MutableMapping[str, Any]) -> None:
    headers = list(message.get("headers", ()))
    given = {name.lower() for name, _ in headers}
    for name, value in _HEADERS.items():
        raw = name.lower().encode()
        if raw not in given:
            headers.append((raw, value.encode()))
    message["headers"] = headers


def answer(problem: ProblemError) -> Response:
    """Return the answer that says so."""
    return Response(
        json.dumps(problem.document()),
        status_code=problem.type.status,
        media_type=MEDIA_TYPE,
        headers=problem.headers,
    )


def handle_refusals(app: FastAPI) -> None:
    """Have every refusal of an application answered as problem details."""

    async def on_problem(_: Request, error: Exception) -> Response:
        if not isinstance(error, ProblemError):
            return await on_fault(_, error)
        return answer(error)

    async def on_validation(_: Request, error: Exception) -> Response:
        found = error.errors() if isinstance(error, RequestValidationError) else []
        errors = [
            {
                "where": ".".join(str(part) for part in item["loc"]),
                # Not what was sent: it may be long, and a secret in a wrong place.
                "detail": str(item["msg"]),
            }
            for item in found
        ]
        text = "; ".join(f"{item['where']}: {item['detail']}" for item in errors[:5])
        return answer(ProblemError("malformed-request", text, errors=errors))

    async def on_http(request: Request, error: Exception) -> Response:
        status = getattr(error, "status_code", HTTPStatus.INTERNAL_SERVER_ERROR)
        kind = _KINDS.get(status)
        if kind is None:
            kind = "malformed-request" if status < 500 else "fault"
        detail = {
            "not-found": f"nothing is at {request.url.path[:200]}",
            "too-large": f"a body has at most {_largest(request)} bytes here",
        }.get(kind, str(getattr(error, "detail", "")))
        headers = dict(getattr(error, "headers", None) or {})
        return answer(ProblemError(kind, detail, headers=headers))

    async def on_fault(_: Request, error: Exception) -> Response:
        # Starlette logs the traceback; the client learns nothing of our insides.
        return answer(ProblemError("fault"))

    app.add_exception_handler(ProblemError, on_problem)
    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(Exception, on_fault)


def _largest(request: Request) -> int:
    return MAX_LIST_BYTES if request.url.path == LIST_PATH else MAX_BODY_BYTES


def problem_page(name: str) -> str:
    """Return what `/problems/NAME` says: a refusal in words.

    Raises:
        ProblemError: `not-found`.
    """
    kind = PROBLEMS.get(name)
    if kind is None:
        raise ProblemError("not-found", "there is no such problem")
    return f"{kind.title}\n\nHTTP status {int(kind.status)}\n\n{kind.advice}\n"
