# SPDX-License-Identifier: Apache-2.0
"""Bringing a database to the tables of this version, with Alembic.

Migrations are in `migrations/versions`; each goes forward only. Two processes that
migrate at once wait for each other.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from undercroft.errors import EnvironmentMissingError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from undercroft._provider.store import Store

_FOLDER: Final = Path(__file__).parent / "migrations"
_LOCK: Final = 0x756E6465726372  # "undercr"; of all advisory locks this one is ours


def latest() -> str:
    """Return the revision that this version works with."""
    return ScriptDirectory.from_config(_alembic()).get_current_head() or ""


def current(store: Store) -> str | None:
    """Return the revision of a database, None for an empty one.

    Raises:
        ProblemError: `database-unavailable`.
    """
    with store.read() as session:
        return MigrationContext.configure(session.connection()).get_current_revision()


def migrate(store: Store) -> tuple[str | None, str]:
    """Bring a database to this version.

    Returns:
        Its revision before and after.

    Raises:
        ProblemError: `database-unavailable`.
        EnvironmentMissingError: the database is of a later version.
    """
    with store.write() as session:
        connection = session.connection()
        if not store.is_sqlite:
            # In SQLite this transaction is the only writer as it is.
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        before = MigrationContext.configure(connection).get_current_revision()
        _refuse_later(before)
        command.upgrade(_alembic(connection), "head")
    return before, latest()


def check(store: Store) -> None:
    """Refuse a database whose tables are not those of this version.

    Raises:
        ProblemError: `database-unavailable`.
        EnvironmentMissingError: it has to be migrated, or is of a later version.
    """
    found = current(store)
    _refuse_later(found)
    if found != latest():
        raise EnvironmentMissingError(
            f"the database has the tables of {found or 'no version'}, and "
            f"{latest()} is needed",
            hint="undercroft provider migrate",
        )


def _refuse_later(revision: str | None) -> None:
    known = {
        script.revision
        for script in ScriptDirectory.from_config(_alembic()).walk_revisions()
    }
    if revision is not None and revision not in known:
        raise EnvironmentMissingError(
            f"the database has the tables of a later version ({revision})",
            hint="use that version of undercroft, or a backup of before",
        )


def _alembic(connection: Connection | None = None) -> AlembicConfig:
    config = AlembicConfig()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
