# SPDX-License-Identifier: Apache-2.0
"""The tables. No column holds a secret: a copy of the database opens no model.

Ids are lower-case hexadecimal text and times are seconds since 1970, so that a
person at a database prompt can read them. A change here is a new migration.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

CURRENT = "current"
SUPERSEDED = "superseded"
REVOKED = "revoked"

_NUMBER = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite counts up a key of its own type INTEGER only."""


class Base(DeclarativeBase):
    """All tables; constraints have names, so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        }
    )


class ApiKey(Base):
    """Who may ask. The secret itself is not kept, only its SHA-256."""

    __tablename__ = "api_keys"

    key_id: Mapped[str] = mapped_column(String(16), primary_key=True)
    name: Mapped[str] = mapped_column(String(128))
    secret_sha256: Mapped[bytes] = mapped_column(LargeBinary(32))
    scopes: Mapped[str] = mapped_column(String(128))
    rate_count: Mapped[int] = mapped_column(Integer)
    rate_seconds: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int | None] = mapped_column(BigInteger)
    revoked_at: Mapped[int | None] = mapped_column(BigInteger)


class RateBucket(Base):
    """How full an API key's bucket is: shared by all workers (see `rates`)."""

    __tablename__ = "rate_buckets"

    key_id: Mapped[str] = mapped_column(ForeignKey("api_keys.key_id"), primary_key=True)
    full_at: Mapped[float] = mapped_column(Float(53))


class Model(Base):
    """A model that licenses can be issued for."""

    __tablename__ = "models"

    model_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(128), unique=True)
    added_at: Mapped[int] = mapped_column(BigInteger)


class Challenge(Base):
    """A nonce that was given out and not answered yet."""

    __tablename__ = "challenges"

    nonce: Mapped[str] = mapped_column(String(64), primary_key=True)
    expires_at: Mapped[int] = mapped_column(BigInteger, index=True)


class Device(Base):
    """An enrolled device, with the evidence that it was taken for."""

    __tablename__ = "devices"

    device_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    public_key: Mapped[str] = mapped_column(String(64), unique=True)
    label: Mapped[str] = mapped_column(String(128))
    facts: Mapped[dict[str, Any]] = mapped_column(JSON)
    nonce: Mapped[str] = mapped_column(String(64))
    evidence: Mapped[bytes] = mapped_column(LargeBinary)
    endorsement: Mapped[bytes | None] = mapped_column(LargeBinary)
    enrolled_at: Mapped[int] = mapped_column(BigInteger)
    blocked_at: Mapped[int | None] = mapped_column(BigInteger)

    __table_args__ = (
        Index("ix_devices_enrolled_at", "enrolled_at", "device_id"),
        Index("ix_devices_nonce", "nonce"),
    )


class License(Base):
    """A license that was issued. A device has at most one current one a model."""

    __tablename__ = "licenses"

    number: Mapped[int] = mapped_column(_NUMBER, primary_key=True, autoincrement=True)
    license_id: Mapped[str] = mapped_column(String(32), unique=True)
    model_id: Mapped[str] = mapped_column(ForeignKey("models.model_id"))
    device_id: Mapped[str] = mapped_column(ForeignKey("devices.device_id"))
    state: Mapped[str] = mapped_column(String(16))
    issued_at: Mapped[int] = mapped_column(BigInteger)
    terms: Mapped[dict[str, Any]] = mapped_column(JSON)
    content: Mapped[bytes] = mapped_column(LargeBinary)
    successor_id: Mapped[str | None] = mapped_column(String(32))
    key_id: Mapped[str] = mapped_column(ForeignKey("api_keys.key_id"))
    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    request_sha256: Mapped[bytes | None] = mapped_column(LargeBinary(32))

    __table_args__ = (
        UniqueConstraint("key_id", "idempotency_key"),
        Index(
            "uq_licenses_current",
            "device_id",
            "model_id",
            unique=True,
            sqlite_where=text("state = 'current'"),
            postgresql_where=text("state = 'current'"),
        ),
        Index("ix_licenses_device_id", "device_id", "number"),
        Index("ix_licenses_model_id", "model_id", "number"),
    )


class Revocation(Base):
    """Licenses of a model issued before some time, on one device or on all.

    The version counts up without gaps; it is that of the update that says so.
    """

    __tablename__ = "revocations"

    version: Mapped[int] = mapped_column(_NUMBER, primary_key=True, autoincrement=False)
    model_id: Mapped[str] = mapped_column(ForeignKey("models.model_id"), index=True)
    device_id: Mapped[str | None] = mapped_column(ForeignKey("devices.device_id"))
    issued_before: Mapped[int] = mapped_column(BigInteger)
    revoked_at: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str] = mapped_column(String(256))


class AuditEntry(Base):
    """What was done or refused, by whom. Rows are only ever added."""

    __tablename__ = "audit_log"

    number: Mapped[int] = mapped_column(_NUMBER, primary_key=True, autoincrement=True)
    at: Mapped[int] = mapped_column(BigInteger)
    key_id: Mapped[str | None] = mapped_column(String(16))
    action: Mapped[str] = mapped_column(String(32))
    outcome: Mapped[str] = mapped_column(String(16))
    subject: Mapped[str] = mapped_column(String(128))
    detail: Mapped[dict[str, Any]] = mapped_column(JSON)
