# SPDX-License-Identifier: Apache-2.0
"""API keys: `uck_ID_SECRET`, shown once, kept as a hash.

The secret has 256 bits from the system's randomness, so that a single SHA-256 is
enough: there is nothing to guess, and so nothing that a slow hash would slow down.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select

from undercroft._provider import audit
from undercroft._provider.problems import ProblemError
from undercroft._provider.tables import ApiKey, RateBucket
from undercroft.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from undercroft._provider.store import Store

SCOPES: Final = {
    "read": "list models, devices, licenses, revocations; fetch licenses and updates",
    "enrol": "ask for challenges and enrol devices",
    "issue": "issue and renew licenses",
    "revoke": "revoke licenses and devices",
    "audit": "read the audit log",
}
_FORM: Final = re.compile(r"uck_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
_ID_BYTES, _SECRET_BYTES = 8, 32
MAX_NAME_CHARS: Final = 128


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sent a request, by the API key that came with it."""

    key_id: str
    name: str
    scopes: frozenset[str]
    rate: tuple[int, int]

    def needs(self, scope: str) -> None:
        """Raise `scope-missing` unless the key has it."""
        if scope not in self.scopes:
            raise ProblemError(
                "scope-missing",
                f"this needs the scope {scope!r}; the API key has "
                f"{', '.join(sorted(self.scopes))}",
                scope=scope,
            )


def create_key(
    store: Store,
    name: str,
    scopes: Iterable[str],
    *,
    rate: tuple[int, int],
    expires_at: int | None = None,
) -> tuple[ApiKey, str]:
    """Make an API key.

    Args:
        store: where it is kept.
        name: whose it is, for people.
        scopes: of `SCOPES`.
        rate: so many requests in so many seconds.
        expires_at: seconds since 1970, or None.

    Returns:
        Its row, and the key itself, which nobody can have a second time.

    Raises:
        InputError: an unknown scope, a rate of nothing, a name too long.
    """
    chosen = set(scopes)
    if not chosen or chosen - SCOPES.keys():
        raise InputError(
            f"not scopes: {', '.join(sorted(chosen - SCOPES.keys())) or 'none given'}",
            hint=f"choose of {', '.join(SCOPES)}",
        )
    if not 1 <= len(name) <= MAX_NAME_CHARS or not name.isprintable():
        raise InputError(f"a name has 1 to {MAX_NAME_CHARS} printable characters")
    if not (1 <= rate[0] < 1 << 31 and 1 <= rate[1] < 1 << 31):
        raise InputError("a rate is at least one request in at least one second")
    key_id = secrets.token_hex(_ID_BYTES)
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    row = ApiKey(
        key_id=key_id,
        name=name,
        secret_sha256=_digest(secret),
        scopes=" ".join(name for name in SCOPES if name in chosen),
        rate_count=rate[0],
        rate_seconds=rate[1],
        created_at=int(time.time()),
        expires_at=expires_at,
        revoked_at=None,
    )
    with store.write() as session:
        session.add(row)
        session.flush()
        session.add(RateBucket(key_id=key_id, full_at=0.0))
        audit.note(
            session, None, "api-key-create", key_id, name=name, scopes=row.scopes
        )
    return row, f"uck_{key_id}_{secret}"


def revoke_key(store: Store, key_id: str) -> ApiKey:
    """End an API key at once, on all workers.

    Raises:
        InputError: there is none of that id.
    """
    with store.write() as session:
        row = session.get(ApiKey, key_id, with_for_update=True)
        if row is None:
            raise InputError(
                f"there is no API key {key_id!r}",
                hint="undercroft provider api-key list shows them",
            )
        if row.revoked_at is None:
            row.revoked_at = int(time.time())
            audit.note(session, None, "api-key-revoke", key_id)
    return row


def list_keys(store: Store) -> list[ApiKey]:
    """Return all API keys, the oldest first."""
    with store.read() as session:
        order = (ApiKey.created_at, ApiKey.key_id)
        return list(session.scalars(select(ApiKey).order_by(*order)))


def describe_key(row: ApiKey, now: float | None = None) -> dict[str, Any]:
    """Return what there is to know of an API key, ready for JSON."""
    now = time.time() if now is None else now
    state = "active"
    if row.expires_at is not None and row.expires_at <= now:
        state = "expired"
    if row.revoked_at is not None:
        state = "revoked"
    return {
        "key_id": row.key_id,
        "name": row.name,
        "scopes": row.scopes.split(),
        "rate": f"{row.rate_count}/{row.rate_seconds}s",
        "state": state,
        "created_at": row.created_at,
        "expires_at": row.expires_at,
    }


def authenticate(store: Store, authorization: str | None) -> Caller:
    """Return who sent a request with this Authorization header.

    Raises:
        ProblemError: `api-key-missing`; `api-key-refused`, which does not say
            whether it is unknown, expired or revoked.
    """
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise ProblemError("api-key-missing", headers={"WWW-Authenticate": "Bearer"})
    found = _FORM.fullmatch(token.strip())
    row = None
    if found:
        with store.read() as session:
            row = session.get(ApiKey, found[1])
    now = time.time()
    if (
        found is None
        or row is None
        or not hmac.compare_digest(_digest(found[2]), row.secret_sha256)
        or row.revoked_at is not None
        or (row.expires_at is not None and row.expires_at <= now)
    ):
        raise ProblemError(
            "api-key-refused",
            headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
        )
    return Caller(
        row.key_id,
        row.name,
        frozenset(row.scopes.split()),
        (row.rate_count, row.rate_seconds),
    )


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
