# SPDX-License-Identifier: Apache-2.0
"""The web page: three files as they stand here, and a strict policy for them.

The page holds the API key that a person types in, in memory only, and asks the API
like any other client. There are no cookies, so that other sites cannot ask for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request, Response

_FOLDER: Final = Path(__file__).parent
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_FILES: Final = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
}


def page_router() -> APIRouter:
    """Return the routes of the page."""
    router = APIRouter(include_in_schema=False)
    for path, (name, media_type) in _FILES.items():
        router.add_route(path, _endpoint(name, media_type), methods=["GET"])
    return router


def _endpoint(name: str, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    content = (_FOLDER / name).read_bytes()

    async def get(_: Request) -> Response:
        return Response(
            content,
            media_type=media_type,
            headers={"Content-Security-Policy": _POLICY},
        )

    return get
