# SPDX-License-Identifier: Apache-2.0
"""Lists, a page at a time, each newest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import func, or_, select, tuple_

from undercroft._provider.problems import ProblemError
from undercroft._provider.tables import (
    CURRENT,
    AuditEntry,
    Device,
    License,
    Model,
    Revocation,
)

if TYPE_CHECKING:
    from sqlalchemy import Select
    from sqlalchemy.orm import Session

_Row = TypeVar("_Row")


def models(session: Session) -> list[tuple[Model, int]]:
    """Return all models by name, and how many current licenses each has."""
    counts = (
        select(License.model_id, func.count().label("licenses"))
        .where(License.state == CURRENT)
        .group_by(License.model_id)
        .subquery()
    )
    query = (
        select(Model, func.coalesce(counts.c.licenses, 0))
        .join(counts, counts.c.model_id == Model.model_id, isouter=True)
        .order_by(Model.name)
    )
    return [(model, count) for model, count in session.execute(query)]


def devices(
    session: Session, *, limit: int, after: str | None
) -> tuple[Sequence[Device], str | None]:
    """Return a page of devices, and where the next one begins."""
    query = select(Device).order_by(Device.enrolled_at.desc(), Device.device_id.desc())
    if after is not None:
        at, _, device_id = after.partition(".")
        query = query.where(
            tuple_(Device.enrolled_at, Device.device_id) < (_number(at), device_id)
        )
    rows = session.scalars(query.limit(limit + 1)).all()
    return _page(rows, limit, lambda row: f"{row.enrolled_at}.{row.device_id}")


def licenses(
    session: Session,
    *,
    limit: int,
    after: str | None,
    model: str | None = None,
    device_id: str | None = None,
    state: str | None = None,
) -> tuple[Sequence[License], str | None]:
    """Return a page of licenses, and where the next one begins."""
    query = select(License).order_by(License.number.desc())
    if model is not None:
        ids = select(Model.model_id).where(
            or_(Model.model_id == model, Model.name == model)
        )
        query = query.where(License.model_id.in_(ids))
    if device_id is not None:
        query = query.where(License.device_id == device_id)
    if state is not None:
        query = query.where(License.state == state)
    return _numbered(session, query, License.number, limit, after)


def revocations(
    session: Session, *, limit: int, after: str | None
) -> tuple[Sequence[Revocation], str | None]:
    """Return a page of revocations, and where the next one begins."""
    query = select(Revocation).order_by(Revocation.version.desc())
    return _numbered(session, query, Revocation.version, limit, after)


def audit_entries(
    session: Session, *, limit: int, after: str | None
) -> tuple[Sequence[AuditEntry], str | None]:
    """Return a page of the audit log, and where the next one begins."""
    query = select(AuditEntry).order_by(AuditEntry.number.desc())
    return _numbered(session, query, AuditEntry.number, limit, after)


def find_license(session: Session, license_id: str) -> License:
    """Return a license by its id, or raise `not-found`."""
    row = session.scalar(select(License).where(License.license_id == license_id))
    if row is None:
        raise ProblemError("not-found", f"there is no license {license_id!r}")
    return row


def find_device(session: Session, device_id: str) -> Device:
    """Return a device by its id, or raise `not-found`."""
    row = session.get(Device, device_id)
    if row is None:
        raise ProblemError("not-found", f"no device {device_id!r} is enrolled")
    return row


def _numbered(
    session: Session,
    query: Select[_Row],
    column: Any,  # noqa: ANN401 an instrumented column
    limit: int,
    after: str | None,
) -> tuple[Sequence[_Row], str | None]:
    if after is not None:
        query = query.where(column < _number(after))
    rows: Sequence[_Row] = session.scalars(query.limit(limit + 1)).all()
    return _page(rows, limit, lambda row: str(getattr(row, column.key)))


def _page(
    rows: Sequence[_Row],
    limit: int,
    mark: Any,  # noqa: ANN401 a function of a row
) -> tuple[Sequence[_Row], str | None]:
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], mark(rows[limit - 1])


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise ProblemError(
            "malformed-request",
            "`after` is not what `next` of the page before says",
            errors=[{"where": "query.after", "detail": "no such place"}],
        )
    return int(text)
