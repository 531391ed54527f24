# SPDX-License-Identifier: Apache-2.0
"""Asking a license service (`undercroft provider serve`) for a device's license.

::

    with ProviderClient("https://licenses.example", api_key=key) as provider:
        device_id = provider.enroll("http://device:8080", endorsement=pem)["device_id"]
        data = provider.issue("detector", device_id, expires=1798761600)
        Path("device.license").write_bytes(data)

Requests that a lost connection, a restarting database or a used-up rate stops are
sent again, for as long as `patience_seconds` says; those that issue carry an
Idempotency-Key, so that the device has one license afterwards, not two.

Needs `pip install 'undercroft[provider]'`.
"""

from __future__ import annotations

import base64
import binascii
import secrets
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from undercroft.errors import EnvironmentMissingError, ProviderError

if TYPE_CHECKING:
    import httpx
    from cryptography import x509

__all__ = ["ProviderClient"]

_CONNECT_SECONDS: Final = 10.0
_ANSWER_SECONDS: Final = 60.0
_AGAIN: Final = frozenset({429, 502, 503, 504})
_MAX_WAIT_SECONDS: Final = 30.0


class ProviderClient:
    """A license service, as one API key sees it."""

    def __init__(
        self,
        url: str,
        *,
        api_key: str,
        patience_seconds: float = 60.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Remember where the service is; nothing is sent yet.

        Args:
            url: `https://HOST[:PORT]`, or `http://` to this very machine.
            api_key: of `undercroft provider api-key create`.
            patience_seconds: how long to go on when the service cannot answer now.
            sleep: waits.

        Raises:
            EnvironmentMissingError: the package that it needs is missing.
            ProviderError: not such a URL, or one that would show the key to others.
        """
        try:
            import httpx
        except ImportError as error:
            raise EnvironmentMissingError(
                "asking a license service needs httpx",
                hint="pip install 'undercroft[provider]'",
            ) from error
        self._patience_seconds = patience_seconds
        self._sleep = sleep
        self._http = httpx.Client(
            base_url=_checked(url),
            headers={"Authorization": f"Bearer {api_key.strip()}"},
            timeout=httpx.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close connections."""
        self._http.close()

    def enroll(
        self,
        device_uri: str,
        *,
        endorsement: x509.Certificate | None = None,
        label: str = "",
    ) -> dict[str, Any]:
        """Have a device answer the service's challenge, and enrol it.

        Args:
            device_uri: `board:`, `tee:`, `http://…` or `host:`.
            endorsement: the manufacturer's certificate for this device.
            label: a name for people.

        Returns:
            What the service knows of the device; `device_id` among it.

        Raises:
            DeviceError: the device cannot be reached or refuses.
            ProviderError: the service refuses, or cannot be reached.
        """
        from cryptography.hazmat.primitives.serialization import Encoding

        from undercroft._device import open_device

        device = open_device(device_uri)
        try:
            nonce = self.ask("POST", "/v1/challenges")["nonce"]
            evidence = device.attest(bytes.fromhex(nonce))
        finally:
            device.close()
        body = {
            "nonce": nonce,
            "evidence": base64.b64encode(evidence).decode(),
            "endorsement": endorsement.public_bytes(Encoding.PEM).decode()
            if endorsement
            else None,
            "label": label,
        }
        return self.ask("POST", "/v1/devices", body)

    def issue(
        self,
        model: str,
        device_id: str,
        *,
        idempotency_key: str | None = None,
        **terms: Any,  # noqa: ANN401 as LicenseTerms has them
    ) -> bytes:
        """Issue a license for an enrolled device.

        Args:
            model: id or name.
            device_id: hexadecimal.
            idempotency_key: a new one without.
            terms: conditions, as `undercroft.license.LicenseTerms` has them.

        Raises:
            ProviderError: the service refuses, or cannot be reached.
        """
        body = {"model": model, "device_id": device_id, "terms": terms}
        return _license(
            self.ask("POST", "/v1/licenses", body, idempotency_key or _new_key())
        )

    def renew(
        self,
        license_id: str,
        *,
        idempotency_key: str | None = None,
        **terms: Any,  # noqa: ANN401
    ) -> bytes:
        """Renew a license; without terms under the old ones, for as long again.

        Raises:
            ProviderError: the service refuses, or cannot be reached.
        """
        body = {"terms": terms} if terms else {}
        path = f"/v1/licenses/{license_id}/renew"
        return _license(self.ask("POST", path, body, idempotency_key or _new_key()))

    def revoke(self, *, reason: str = "", **target: str) -> list[dict[str, Any]]:
        """Revoke: `license_id`, or `model` and `device_id` or one of them.

        Raises:
            ProviderError: the service refuses, or cannot be reached.
        """
        body = {**target, "reason": reason}
        revocations: list[dict[str, Any]] = self.ask("POST", "/v1/revocations", body)[
            "revocations"
        ]
        return revocations

    def updates(self, device_id: str | None = None) -> list[bytes]:
        """Get the updates to hand to devices (`Device.update`), or to one of them.

        Raises:
            ProviderError: the service refuses, or cannot be reached.
        """
        query = f"?device_id={device_id}" if device_id else ""
        return [
            base64.b64decode(text)
            for text in self.ask("GET", f"/v1/updates{query}")["updates"]
        ]

    def items(self, what: str, **query: str) -> Iterator[dict[str, Any]]:
        """List `models`, `devices`, `licenses`, `revocations` or `audit`, all pages.

        Raises:
            ProviderError: the service refuses, or cannot be reached.
        """
        following: str | None = ""
        while following is not None:
            more = {"after": following} if following else {}
            page = self.ask("GET", f"/v1/{what}", query={**query, **more})
            yield from page["items"]
            following = page["next"]

    def ask(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        idempotency_key: str | None = None,
        query: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Send one request, again where that is of use, and return the answer.

        Raises:
            ProviderError: the service refuses, or cannot be reached.
        """
        import httpx

        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        ends = time.monotonic() + self._patience_seconds
        pause = 0.2
        while True:
            try:
                answer = self._http.request(
                    method, path, json=body, headers=headers, params=query
                )
            except httpx.TransportError as error:
                refusal = ProviderError(
                    f"{self._http.base_url} does not answer: {error}",
                    hint="check the address, and that the service runs",
                )
            else:
                if answer.is_success:
                    return _object(answer)
                refusal = _refusal(answer)
                if answer.status_code not in _AGAIN:
                    raise refusal
                pause = max(pause, _retry_after(answer))
            if time.monotonic() + pause > ends:
                raise refusal
            self._sleep(pause)
            pause = min(pause * 2, _MAX_WAIT_SECONDS)


def _checked(url: str) -> str:
    import httpx

    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        parts = httpx.URL("")
    if parts.scheme not in {"http", "https"} or not parts.host:
        raise ProviderError(
            f"not the address of a license service: {url!r}",
            hint="write https://HOST[:PORT]",
        )
    if parts.scheme == "http" and parts.host not in {"127.0.0.1", "localhost", "::1"}:
        raise ProviderError(
            f"over {url} the API key would be readable on its way",
            hint="use https://",
        )
    return url


def _new_key() -> str:
    return secrets.token_hex(16)


def _object(answer: httpx.Response) -> dict[str, Any]:
    try:
        value = answer.json()
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ProviderError(
            f"{answer.url} answered something that is no JSON object",
            hint="check that the address is that of `undercroft provider serve`",
        )
    return value


def _refusal(answer: httpx.Response) -> ProviderError:
    try:
        value = answer.json()
        kind = str(value["type"]).rpartition("/")[2]
        message, hint = str(value["detail"]), str(value["hint"])
    except (ValueError, KeyError, TypeError):
        value, kind, hint = {}, "", "check the address, and the service's log"
        message = f"{answer.url} answered {answer.status_code}"
    return ProviderError(
        message, hint=hint, status=answer.status_code, problem=kind, members=value
    )


def _retry_after(answer: httpx.Response) -> float:
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0.0


def _license(value: dict[str, Any]) -> bytes:
    try:
        return base64.b64decode(value["license"], validate=True)
    except (KeyError, TypeError, binascii.Error) as error:
        raise ProviderError(
            "the service's answer has no license in it",
            hint="check that service and client are of one version",
        ) from error
