# SPDX-License-Identifier: Apache-2.0
"""Revoking, and the updates that tell devices of it.

A revocation is what `undercroft.update` has: licenses of a model that were issued
before some time, on one device or on all. The updates that devices get are made of
all revocations there are, so that a device needs the latest ones only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, or_, select, update

from undercroft._provider import audit, clock
from undercroft._provider.problems import ProblemError
from undercroft._provider.tables import (
    CURRENT,
    REVOKED,
    Device,
    License,
    Model,
    Revocation,
)
from undercroft._spec import MAX_UPDATE_ITEMS
from undercroft.update import Revocation as UpdateRevocation
from undercroft.update import issue_update

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from undercroft._provider.security import Caller
    from undercroft._provider.service import Service


@dataclass(frozen=True, slots=True)
class Target:
    """What is revoked; one of three forms.

    Attributes:
        license_id: this license (and others of its model on its device).
        model: id or name: on all devices, or on `device_id`.
        device_id: without a model all of its models; it gets no license any more.
    """

    license_id: str | None = None
    model: str | None = None
    device_id: str | None = None


def revoke(
    service: Service, caller: Caller, target: Target, reason: str
) -> list[Revocation]:
    """Revoke licenses. Once more does no harm and makes no further revocation.

    Returns:
        The revocations that now cover the target.

    Raises:
        ProblemError: `not-found`.
    """
    now = clock.now()
    with service.store.write() as session:
        # Versions are to count up in the order in which they become visible.
        service.store.lock(session, "revocations")
        pairs = _pairs(session, target, now)
        rows = []
        for model_id, device_id in pairs:
            row = _covering(session, model_id, device_id)
            if row is None or _has_current(session, model_id, device_id):
                row = _add(session, model_id, device_id, now, reason)
            rows.append(row)
            _end_licenses(session, model_id, device_id)
        audit.note(
            session,
            caller.key_id,
            "revoke",
            target.license_id or target.device_id or (target.model or "")[:128],
            versions=[row.version for row in rows],
            reason=reason,
        )
    return rows


def updates(service: Service, device_id: str | None = None) -> tuple[int, list[bytes]]:
    """Make the updates that say what is revoked, or tell the time if nothing is.

    Args:
        service: where.
        device_id: leave out what concerns other devices.

    Returns:
        Their version, 0 for a time token; and the updates, of which a device takes
        all, in any order.
    """
    with service.store.read() as session:
        version = session.scalar(select(func.max(Revocation.version))) or 0
        query = select(
            Revocation.model_id,
            func.max(Revocation.issued_before),
            Revocation.device_id,
        ).group_by(Revocation.model_id, Revocation.device_id)
        if device_id is not None:
            query = query.where(
                or_(Revocation.device_id.is_(None), Revocation.device_id == device_id)
            )
        items = [
            UpdateRevocation(
                bytes.fromhex(model_id),
                before,
                bytes.fromhex(device) if device else None,
            )
            for model_id, before, device in session.execute(query)
        ]
    issued_at = clock.now()
    parts = [
        items[begin : begin + MAX_UPDATE_ITEMS]
        for begin in range(0, len(items), MAX_UPDATE_ITEMS)
    ]
    with service.keyring.signer() as signer:
        return version, [
            issue_update(
                signing_key=signer,
                version=version or None,
                revocations=part,
                issued_at=issued_at,
            )
            for part in parts or [[]]
        ]


def _pairs(session: Session, target: Target, now: int) -> list[tuple[str, str | None]]:
    if target.license_id is not None:
        row = session.scalar(
            select(License).where(License.license_id == target.license_id)
        )
        if row is None:
            raise ProblemError(
                "not-found", f"there is no license {target.license_id!r}"
            )
        _hold_device(session, row.device_id)
        return [(row.model_id, row.device_id)]
    device = None
    if target.device_id is not None:
        device = _hold_device(session, target.device_id)
    if target.model is not None:
        query = select(Model).where(
            or_(Model.model_id == target.model, Model.name == target.model)
        )
        if target.device_id is None:
            # Until the commit nobody issues a license for the model. One lock at a
            # time: two, taken in another order than `issue` does, could deadlock.
            query = query.with_for_update()
        model = session.scalar(query)
        if model is None:
            raise ProblemError("not-found", f"there is no model {target.model!r}")
        return [(model.model_id, target.device_id)]
    assert device is not None  # noqa: S101 the schema asks for one of the three
    device.blocked_at = device.blocked_at or now
    session.flush()
    models = select(License.model_id).where(License.device_id == device.device_id)
    return [
        (model_id, device.device_id)
        for model_id in session.scalars(models.distinct().order_by(License.model_id))
    ]


def _hold_device(session: Session, device_id: str) -> Device:
    """Have nobody issue a license to the device until the commit."""
    device = session.get(Device, device_id, with_for_update=True)
    if device is None:
        raise ProblemError("not-found", f"no device {device_id!r} is enrolled")
    return device


def _covering(
    session: Session, model_id: str, device_id: str | None
) -> Revocation | None:
    return session.scalar(
        select(Revocation)
        .where(Revocation.model_id == model_id, Revocation.device_id == device_id)
        .order_by(Revocation.version.desc())
        .limit(1)
    )


def _has_current(session: Session, model_id: str, device_id: str | None) -> bool:
    query = select(License.number).where(
        License.model_id == model_id, License.state == CURRENT
    )
    if device_id is not None:
        query = query.where(License.device_id == device_id)
    return session.scalar(query.limit(1)) is not None


def _add(
    session: Session, model_id: str, device_id: str | None, now: int, reason: str
) -> Revocation:
    latest = session.scalar(select(func.max(Revocation.version))) or 0
    # A license may have been given a time of issue ahead of the clock.
    newest = select(func.max(License.issued_at)).where(License.model_id == model_id)
    if device_id is not None:
        newest = newest.where(License.device_id == device_id)
    row = Revocation(
        version=latest + 1,
        model_id=model_id,
        device_id=device_id,
        issued_before=max(now, session.scalar(newest) or 0) + 1,
        revoked_at=now,
        reason=reason,
    )
    session.add(row)
    session.flush()
    return row


def _end_licenses(session: Session, model_id: str, device_id: str | None) -> None:
    query = update(License).where(
        License.model_id == model_id, License.state == CURRENT
    )
    if device_id is not None:
        query = query.where(License.device_id == device_id)
    session.execute(
        query.values(state=REVOKED).execution_options(synchronize_session=False)
    )
