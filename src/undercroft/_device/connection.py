# SPDX-License-Identifier: Apache-2.0
"""One HTTP connection to an agent, with our errors and limits.

The agent and everything between are untrusted, as the device's normal world is:
answers are read with limits, and whatever comes back ends in one of our errors.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

from undercroft._device.faults import decode_error
from undercroft.errors import DeviceError, DeviceLostError

DEFAULT_PORT: Final = 8080
MAX_CONTROL_BYTES: Final = 1 << 20
_CONNECT_SECONDS: Final = 10.0


class AgentConnection:
    """One kept-alive HTTP connection, with our errors and limits."""

    def __init__(self, uri: str, timeout_seconds: float) -> None:
        """Read the address; connects on first use.

        Raises:
            DeviceError: not a URI like `http://HOST[:PORT]`.
        """
        self._uri = uri
        self._timeout_seconds = timeout_seconds
        try:
            parts = urlsplit(uri)
            port = parts.port or DEFAULT_PORT
        except ValueError:
            self._malformed()
        if (
            parts.scheme != "http"
            or not parts.hostname
            or parts.path not in {"", "/"}
            or parts.query
            or parts.fragment
            or parts.username is not None
        ):
            self._malformed()
        self._connection = http.client.HTTPConnection(
            parts.hostname, port, timeout=_CONNECT_SECONDS
        )

    def json(
        self,
        method: str,
        path: str,
        *,
        body: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Ask, and read the answer as a JSON object."""
        answer, _ = self.ask(method, path, body=body, headers=headers)
        try:
            value = json.loads(answer)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise DeviceError(
                f"{self._uri}: the answer to {method} {path} is no JSON object",
                hint="check that the address is that of `undercroft serve`",
            )
        return value

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        max_bytes: int = MAX_CONTROL_BYTES,
    ) -> tuple[bytes, Mapping[str, str]]:
        """Ask, and return the answer's body and headers (names in lower case).

        Raises:
            DeviceLostError: the agent cannot be reached or went away.
            Error: what the agent answered instead.
        """
        # A kept connection may have been closed by the agent meanwhile; what
        # can be sent again is, once, over a new one.
        again = self._connection.sock is not None and not isinstance(body, Iterator)
        try:
            response = self._send(method, path, body, headers or {})
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            if not again or isinstance(error, TimeoutError):
                raise self._lost(error) from error
            try:
                response = self._send(method, path, body, headers or {})
            except (OSError, http.client.HTTPException) as second:
                self._connection.close()
                raise self._lost(second) from second
        try:
            answer = response.read(max_bytes + 1)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise self._lost(error) from error
        if len(answer) > max_bytes:
            self._connection.close()
            raise DeviceError(
                f"{self._uri}: the answer to {method} {path} has more than "
                f"{max_bytes} bytes",
                hint="check that the address is that of `undercroft serve`",
            )
        if response.length:
            self._connection.close()
            raise self._lost(http.client.IncompleteRead(answer, response.length))
        if response.status >= HTTPStatus.BAD_REQUEST:
            # A refused upload leaves its rest in the connection.
            self._connection.close()
            raise decode_error(response.status, answer)
        return answer, {key.lower(): text for key, text in response.getheaders()}

    def close(self) -> None:
        """Close the connection; the next request opens it again."""
        self._connection.close()

    def _send(
        self,
        method: str,
        path: str,
        body: bytes | Iterator[bytes] | None,
        headers: Mapping[str, str],
    ) -> http.client.HTTPResponse:
        connection = self._connection
        if connection.sock is None:
            connection.connect()
            if connection.sock is not None:
                connection.sock.settimeout(self._timeout_seconds)
        try:
            connection.request(method, path, body=body, headers=dict(headers))
        except (BrokenPipeError, ConnectionResetError):
            # An agent that refuses an upload answers before the end and
            # hangs up; its words are worth more than the broken pipe.
            with suppress(OSError, http.client.HTTPException):
                return connection.getresponse()
            raise
        return connection.getresponse()

    def _lost(self, error: Exception) -> DeviceLostError:
        return DeviceLostError(
            f"{self._uri}: the agent does not answer ({error or type(error).__name__})",
            hint="start it with `undercroft board up`, or `undercroft serve` there",
        )

    def _malformed(self) -> NoReturn:
        raise DeviceError(
            f"not the address of an agent: {self._uri!r}",
            hint="write it like http://127.0.0.1:8080",
        )
