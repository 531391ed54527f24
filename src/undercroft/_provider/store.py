# SPDX-License-Identifier: Apache-2.0
"""The database: SQLite in a file, or PostgreSQL.

::

    with store.write() as session:      # one transaction, whole or not at all
        session.add(...)

Everything that the database itself can do wrong leaves here as one problem,
`database-unavailable`; a violated constraint as `StaleWriteError`.
"""

from __future__ import annotations

import logging
import sqlite3
import ssl
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session, sessionmaker

from undercroft._format.files import SECRET_MODE
from undercroft._provider.problems import ProblemError, StaleWriteError
from undercroft.errors import FileAccessError, InputError

if TYPE_CHECKING:
    from sqlalchemy import Engine

POOL_SIZE: Final = 10
WAIT_SECONDS: Final = 15
RETRY_SECONDS: Final = 1
_ATTEMPTS: Final = 3
_WRITES: Final = "undercroft_writes"
_TEMPORARY: Final = ("08", "53", "57", "58", "40", "XX")
"""SQLSTATE classes: connection, resources, operator, system, rollback, internal."""

_T = TypeVar("_T")
_log = logging.getLogger("undercroft.provider")


class Store:
    """A database of the service. Safe for several threads and processes."""

    def __init__(self, database: str, folder: Path = Path()) -> None:
        """Prepare; nothing is connected yet.

        Args:
            database: `sqlite:///PATH` or `postgresql://...`.
            folder: what the path of SQLite is relative to.

        Raises:
            InputError: another URL.
            FileAccessError: SQLite's file can be read by others.
        """
        url = _parse(database)
        self.is_sqlite = url.get_backend_name() == "sqlite"
        if self.is_sqlite:
            self.engine = reading = _open_sqlite(url, folder)
        else:
            self.engine = _open_postgresql(url)
            # A single question needs no transaction around it.
            reading = _open_postgresql(url, isolation_level="AUTOCOMMIT")
        self._engines = {self.engine, reading}
        self._reader = sessionmaker(reading, expire_on_commit=False)
        self._writer = sessionmaker(
            self.engine.execution_options(**{_WRITES: True}), expire_on_commit=False
        )

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that only reads.

        Raises:
            ProblemError: `database-unavailable`.
        """
        with _translated(), self._reader() as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction: committed when the block ends, undone when it raises.

        On SQLite it is the only writer from its beginning.

        Raises:
            ProblemError: `database-unavailable`; when the connection is lost in the
                commit itself, it is not known whether it took place.
            StaleWriteError: a constraint was violated, so another one was first.
        """
        with _translated(), self._writer() as session, session.begin():
            yield session

    def ping(self) -> None:
        """Reach the database, or raise `database-unavailable`."""
        with self.read() as session:
            session.execute(text("SELECT 1"))

    def lock(self, session: Session, table: str) -> None:
        """Have no other transaction write to a table until this one ends."""
        if not self.is_sqlite:
            session.execute(text(f"LOCK TABLE {table} IN EXCLUSIVE MODE"))

    def close(self) -> None:
        """Close all connections."""
        for engine in self._engines:
            engine.dispose()


def settled(attempt: Callable[[bool], _T]) -> _T:
    """Try a transaction again when another one was first, which it then finds.

    Args:
        attempt: the transaction; it is told whether this is the first time.

    Raises:
        ProblemError: as `attempt` does.
        StaleWriteError: even so.
    """
    for number in range(_ATTEMPTS - 1):
        try:
            return attempt(number == 0)
        except StaleWriteError:
            continue
    return attempt(False)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        raise StaleWriteError(str(error.orig)) from error
    except (PoolTimeoutError, OSError) as error:
        raise _unavailable(error) from error
    except DBAPIError as error:
        if not _is_temporary(error):
            raise
        raise _unavailable(error) from error


def _is_temporary(error: DBAPIError) -> bool:
    if error.connection_invalidated:
        return True
    if isinstance(error.orig, sqlite3.Error):
        # SQLITE_ERROR: what was asked is wrong. All else: locked, full, damaged.
        code = getattr(error.orig, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        return code & 0xFF != sqlite3.SQLITE_ERROR
    details = error.orig.args[0] if error.orig and error.orig.args else None
    if isinstance(details, dict):  # what PostgreSQL itself said
        return str(details.get("C", "")).startswith(_TEMPORARY)
    return True  # what the driver said: the connection


def _unavailable(error: Exception) -> ProblemError:
    # The log has what the client need not know: hosts, files, statements.
    cause = getattr(error, "orig", None) or error
    _log.error("the database cannot be used: %s: %s", type(cause).__name__, cause)
    return ProblemError(
        "database-unavailable", headers={"Retry-After": str(RETRY_SECONDS)}
    )


def _parse(database: str) -> URL:
    try:
        url = make_url(database)
    except (ArgumentError, ValueError) as error:
        raise _no_database() from error
    name = url.drivername
    if name == "sqlite" and url.database and url.database != ":memory:":
        return url
    if name in {"postgresql", "postgresql+pg8000"} and url.database:
        return url.set(drivername="postgresql+pg8000")
    raise _no_database()


def _no_database() -> InputError:
    return InputError(
        "the database is not one that can be used here",
        hint="write sqlite:///PATH or postgresql://USER:PASSWORD@HOST:PORT/NAME "
        "(?ssl=true to verify the server's certificate)",
    )


def _open_postgresql(url: URL, **options: Any) -> Engine:  # noqa: ANN401 of create_engine
    arguments: dict[str, Any] = {"timeout": WAIT_SECONDS}
    if url.query:
        if dict(url.query) not in ({"ssl": "true"}, {"ssl": "false"}):
            raise _no_database()
        if url.query["ssl"] == "true":
            arguments["ssl_context"] = ssl.create_default_context()
        url = url.difference_update_query(["ssl"])
    return create_engine(
        url,
        connect_args=arguments,
        pool_size=POOL_SIZE,
        max_overflow=0,
        pool_timeout=WAIT_SECONDS,
        pool_pre_ping=True,
        **options,
    )


def _open_sqlite(url: URL, folder: Path) -> Engine:
    path = folder / (url.database or "")
    _guard(path)
    engine = create_engine(
        url.set(database=str(path)),
        connect_args={"timeout": WAIT_SECONDS},
        pool_size=POOL_SIZE,
        max_overflow=0,
        pool_timeout=WAIT_SECONDS,
    )

    @event.listens_for(engine, "connect")
    def _connected(connection: sqlite3.Connection, _: object) -> None:
        # Transactions are begun below, not where the driver guesses that one begins.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode = WAL")
        # With WAL, anything less may lose what was committed when the power fails.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        # Begun as a reader, a writer could not wait for another one: its view of
        # the data would be too old to write on.
        writes = connection.get_execution_options().get(_WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _guard(path: Path) -> None:
    """Make the file ours alone, or refuse one that others may read or write."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        try:
            path.touch(mode=SECRET_MODE, exist_ok=True)
        except OSError as error:
            raise FileAccessError(
                f"the database {path} cannot be made: {error.strerror}",
                hint="check the folder and its permissions",
            ) from error
        return
    except OSError as error:
        raise FileAccessError(
            f"the database {path} cannot be read: {error.strerror}",
            hint=f"check who owns it and its permissions: ls -l {path}",
        ) from error
    if mode & 0o077:
        raise FileAccessError(
            f"others may read or write the database {path} (mode {mode:04o})",
            hint=f"chmod 600 {path}",
        )
