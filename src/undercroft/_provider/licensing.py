# SPDX-License-Identifier: Apache-2.0
"""Issuing and renewing: no license is lost, none is issued twice.

Two things see to that. A device has at most one current license for a model, which
an index of the database enforces. And a request that carries an Idempotency-Key is
kept with the license that it led to, in the same row: sent again, it finds that one.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, or_, select

from undercroft._format.license import LICENSE_ID_BYTES
from undercroft._provider import audit, clock
from undercroft._provider.problems import ProblemError
from undercroft._provider.store import settled
from undercroft._provider.tables import (
    CURRENT,
    SUPERSEDED,
    Device,
    License,
    Model,
    Revocation,
)
from undercroft.keys import DevicePublicKey
from undercroft.license import LicenseTerms
from undercroft.license import issue as make_license

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from undercroft._provider.security import Caller
    from undercroft._provider.service import Service
    from undercroft.keys import ModelKey, Signer


_NAMES_A_QUERY = 500


@dataclass(frozen=True, slots=True)
class Once:
    """What makes a request the same as one before.

    Attributes:
        key: its Idempotency-Key, or None.
        request_sha256: of what it asks for.
    """

    key: str | None = None
    request_sha256: bytes | None = None


def issue(
    service: Service,
    caller: Caller,
    *,
    model: str,
    device_id: str,
    terms: LicenseTerms,
    once: Once,
) -> tuple[License, bool]:
    """Issue a license.

    Args:
        service: where.
        caller: who asks.
        model: id or name of the model.
        device_id: of an enrolled device.
        terms: the conditions.
        once: the request, to know it again.

    Returns:
        The license, and whether it is new: not when the request was made before.

    Raises:
        ProblemError: refused, and nothing was issued.
    """

    def attempt(is_first: bool) -> tuple[License, bool]:
        with service.store.write() as session:
            known = _made_before(session, caller, once)
            if known is not None:
                return known, False
            model_id, device = _find_pair(session, model, device_id)
            if not is_first:
                # The database told of a license that is in the way.
                current = _current(session, model_id, device_id)
                if current is not None:
                    raise _exists(current)
            row = _make(service, session, caller, model_id, device, terms, once=once)
            audit.note(
                session,
                caller.key_id,
                "issue",
                row.license_id,
                model_id=row.model_id,
                device_id=row.device_id,
            )
        return row, True

    return settled(attempt)


def renew(
    service: Service,
    caller: Caller,
    *,
    license_id: str,
    terms: LicenseTerms | None,
    once: Once,
) -> tuple[License, bool]:
    """Issue a license that takes the place of another one.

    Without terms it has those of the old one, and ends as long after now as the old
    one ended after its own issue.

    Raises:
        ProblemError: refused, and nothing was issued.
    """

    def attempt(_: bool) -> tuple[License, bool]:
        with service.store.write() as session:
            known = _made_before(session, caller, once)
            if known is not None:
                return known, False
            old = session.scalar(
                select(License).where(License.license_id == license_id)
            )
            if old is None:
                raise ProblemError("not-found", f"there is no license {license_id!r}")
            find_model(session, old.model_id, lock=True)
            device = _find_device(session, old.device_id)
            session.refresh(old, with_for_update=True)
            if old.state != CURRENT:
                raise ProblemError(
                    "license-ended",
                    f"license {license_id} was {old.state}",
                    state=old.state,
                    successor_id=old.successor_id,
                )
            old.state = SUPERSEDED
            session.flush()
            row = _make(
                service,
                session,
                caller,
                old.model_id,
                device,
                terms or _prolonged(old),
                once=once,
            )
            old.successor_id = row.license_id
            audit.note(
                session, caller.key_id, "renew", row.license_id, supersedes=license_id
            )
        return row, True

    return settled(attempt)


def issue_many(
    service: Service,
    caller: Caller,
    *,
    model: str,
    wanted: Sequence[tuple[str, LicenseTerms]],
) -> list[tuple[License, bool]]:
    """Issue to many devices in one transaction, in their order.

    A device that has a current license keeps it: asking again goes on, as the
    command line's `license issue --devices` does.

    Args:
        service: where.
        caller: who asks.
        model: id or name of the model.
        wanted: ids of enrolled devices, each with its terms; no device twice.

    Returns:
        For each device its license, and whether it is new.

    Raises:
        ProblemError: refused, and nothing was issued.
    """

    def attempt(_: bool) -> list[tuple[License, bool]]:
        with service.store.write() as session:
            chosen = find_model(session, model, lock=True)
            rows = []
            # Locked in one order, so that two lists cannot wait for each other.
            devices = {
                device_id: _find_device(session, device_id)
                for device_id in sorted(device_id for device_id, _ in wanted)
            }
            model_key = service.keyring.model_key(chosen.model_id)
            for device_id, terms in wanted:
                device = devices[device_id]
                row = _current(session, chosen.model_id, device.device_id)
                is_new = row is None
                if row is None:
                    row = _make(
                        service,
                        session,
                        caller,
                        chosen.model_id,
                        device,
                        terms,
                        model_key=model_key,
                    )
                rows.append((row, is_new))
            audit.note(
                session,
                caller.key_id,
                "issue-list",
                chosen.model_id,
                issued=[row.license_id for row, is_new in rows if is_new],
                already=sum(not is_new for _, is_new in rows),
            )
        return rows

    return settled(attempt)


def find_model(session: Session, model: str, *, lock: bool = False) -> Model:
    """Return a model by id or name.

    With a lock, no revocation of the model comes between now and the commit.

    Raises:
        ProblemError: `not-found`.
    """
    query = select(Model).where(or_(Model.model_id == model, Model.name == model))
    if lock:
        query = query.with_for_update(read=True)
    row = session.scalar(query)
    if row is None:
        raise ProblemError("not-found", f"there is no model {model!r}")
    return row


def find_devices(session: Session, names: Sequence[str]) -> dict[str, DevicePublicKey]:
    """Return the keys of those names that are ids or keys of enrolled devices."""
    found: dict[str, DevicePublicKey] = {}
    for begin in range(0, len(names), _NAMES_A_QUERY):
        part = list(names[begin : begin + _NAMES_A_QUERY])
        rows = session.execute(
            select(Device.device_id, Device.public_key).where(
                or_(Device.device_id.in_(part), Device.public_key.in_(part))
            )
        )
        for device_id, public_key in rows:
            key = DevicePublicKey(bytes.fromhex(public_key))
            found[device_id] = found[public_key] = key
    return found


def _made_before(session: Session, caller: Caller, once: Once) -> License | None:
    if once.key is None:
        return None
    row = session.scalar(
        select(License).where(
            License.key_id == caller.key_id, License.idempotency_key == once.key
        )
    )
    if row is not None and row.request_sha256 != once.request_sha256:
        raise ProblemError("idempotency-key-reused", license_id=row.license_id)
    return row


def _find_pair(session: Session, model: str, device_id: str) -> tuple[str, Device]:
    """Find and lock a model and a device, in one question when all is well."""
    found = session.execute(
        select(Model.model_id, Device)
        .select_from(Model)
        .join(Device, Device.device_id == device_id)
        .where(
            or_(Model.model_id == model, Model.name == model),
            Device.blocked_at.is_(None),
        )
        .with_for_update(read=True)
    ).first()
    if found is None:
        chosen = find_model(session, model, lock=True)
        return chosen.model_id, _find_device(session, device_id)
    model_id, device = found
    return model_id, device


def _find_device(session: Session, device_id: str) -> Device:
    row = session.get(Device, device_id, with_for_update={"read": True})
    if row is None:
        raise ProblemError("not-found", f"no device {device_id!r} is enrolled")
    if row.blocked_at is not None:
        raise ProblemError("device-blocked", device_id=device_id)
    return row


def _current(session: Session, model_id: str, device_id: str) -> License | None:
    return session.scalar(
        select(License).where(
            License.device_id == device_id,
            License.model_id == model_id,
            License.state == CURRENT,
        )
    )


def _exists(row: License) -> ProblemError:
    return ProblemError(
        "license-exists",
        f"device {row.device_id} has license {row.license_id} for this model",
        license_id=row.license_id,
    )


def _make(
    service: Service,
    session: Session,
    caller: Caller,
    model_id: str,
    device: Device,
    terms: LicenseTerms,
    *,
    once: Once | None = None,
    model_key: ModelKey | None = None,
) -> License:
    once = once or Once()
    license_id = secrets.token_bytes(LICENSE_ID_BYTES)
    issued_at = max(clock.now(), _revoked_until(session, model_id, device))
    key = model_key or service.keyring.model_key(model_id)
    with service.keyring.signer() as signer:
        content = _content(key, device, signer, license_id, terms, issued_at)
    row = License(
        license_id=license_id.hex(),
        model_id=model_id,
        device_id=device.device_id,
        state=CURRENT,
        issued_at=issued_at,
        terms=terms_json(terms),
        content=content,
        successor_id=None,
        key_id=caller.key_id,
        idempotency_key=once.key,
        request_sha256=once.request_sha256,
    )
    session.add(row)
    session.flush()
    return row


def _content(
    key: ModelKey,
    device: Device,
    signer: Signer,
    license_id: bytes,
    terms: LicenseTerms,
    issued_at: int,
) -> bytes:
    return make_license(
        model_key=key,
        device=DevicePublicKey(bytes.fromhex(device.public_key)),
        signing_key=signer,
        license_id=license_id,
        terms=terms,
        issued_at=issued_at,
    )


def _revoked_until(session: Session, model_id: str, device: Device) -> int:
    """The first time of issue that no revocation of this pair covers.

    A license that is issued in the same second as a revocation must not be one of
    those that it ends.
    """
    query = select(func.max(Revocation.issued_before)).where(
        Revocation.model_id == model_id,
        or_(Revocation.device_id.is_(None), Revocation.device_id == device.device_id),
    )
    return session.scalar(query) or 0


def terms_json(terms: LicenseTerms) -> dict[str, Any]:
    """Return the conditions that are made, ready for JSON."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in terms.as_dict().items()
    }


def terms_of_json(value: dict[str, Any]) -> LicenseTerms:
    """Return the conditions that `terms_json` wrote down.

    Raises:
        FormatError: they cannot be.
    """
    rate = value.get("rate")
    return LicenseTerms(**(value | ({"rate": tuple(rate)} if rate else {})))


def _prolonged(old: License) -> LicenseTerms:
    terms = terms_of_json(old.terms)
    if terms.expires is None:
        return terms
    begins = old.issued_at if terms.not_before is None else terms.not_before
    return replace(terms, expires=clock.now() + terms.expires - begins, not_before=None)
