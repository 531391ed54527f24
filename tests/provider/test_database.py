# SPDX-License-Identifier: Apache-2.0
"""Databases that go away, that are of another version, that others can read."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor

import pg8000.exceptions
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError
from starlette.testclient import TestClient

from helpers.license_service import MODEL_NAME, make_service
from undercroft._provider import migrate
from undercroft._provider import store as store_module
from undercroft._provider.app import create_app
from undercroft._provider.problems import ProblemError
from undercroft._provider.store import Store
from undercroft._provider.tables import Base
from undercroft.errors import EnvironmentMissingError, FileAccessError, InputError


def issue(api, device_id: str, key: str | None = "k"):
    body = {"model": MODEL_NAME, "device_id": device_id}
    headers = {"Idempotency-Key": key} if key else {}
    return api.post("/v1/licenses", json=body, headers=headers)


@pytest.fixture
def postgres_api(tmp_path, new_database):
    folder = make_service(tmp_path, new_database())
    with TestClient(
        create_app(folder.open), headers=folder.headers, raise_server_exceptions=False
    ) as api:
        yield api


# ---- going away ----


@pytest.mark.parametrize("moment", ["before the commit", "before the request"])
def test_a_database_that_goes_away_leaves_nothing_half_issued(
    postgres, postgres_api, enrol, moment: str
) -> None:
    device_id = enrol(postgres_api, 1)["device_id"]
    store = postgres_api.app.state.service.store

    if moment == "before the commit":
        event.listen(
            store.engine, "commit", lambda _: postgres.stop("immediate"), once=True
        )
    else:
        postgres.stop("immediate")
    try:
        answer = issue(postgres_api, device_id)
        assert answer.status_code == 503, answer.text
        value = answer.json()
        assert value["type"] == "/problems/database-unavailable"
        assert answer.headers["retry-after"] == "1"
        assert "Idempotency-Key" in value["hint"]
        assert "127.0.0.1" not in answer.text
        for path in ("/v1/health", "/v1/models"):
            assert postgres_api.get(path).status_code == 503
    finally:
        postgres.start()
    assert postgres_api.get("/v1/licenses").json()["items"] == []
    first = issue(postgres_api, device_id)
    again = issue(postgres_api, device_id)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    entries = postgres_api.get("/v1/audit").json()["items"]
    assert [row["action"] for row in entries].count("issue") == 1


def test_a_commit_whose_answer_is_lost_is_found_by_the_same_request(
    postgres_api, enrol, monkeypatch
) -> None:
    device_id = enrol(postgres_api, 1)["device_id"]
    dialect = postgres_api.app.state.service.store.engine.dialect
    commit = type(dialect).do_commit

    def lose(connection) -> None:
        commit(dialect, connection)
        raise pg8000.exceptions.InterfaceError("network error")

    monkeypatch.setattr(dialect, "do_commit", lose)
    assert issue(postgres_api, device_id).status_code == 503
    monkeypatch.undo()
    (row,) = postgres_api.get("/v1/licenses").json()["items"]
    assert issue(postgres_api, device_id).json()["license_id"] == row["license_id"]
    # Without a key it is at least not issued a second time.
    refused = issue(postgres_api, device_id, None)
    assert refused.status_code == 409
    assert refused.json()["license_id"] == row["license_id"]


def test_a_database_that_does_not_answer_in_time(new_database, monkeypatch) -> None:
    """A late answer to one question is never taken for that to another one."""
    monkeypatch.setattr(store_module, "WAIT_SECONDS", 1)
    monkeypatch.setattr(store_module, "POOL_SIZE", 1)
    store = Store(new_database())
    for number, opened in enumerate((store.read, store.write)):
        with pytest.raises(ProblemError) as caught, opened() as session:
            session.execute(text("SELECT 'late', pg_sleep(2)"))
        assert caught.value.kind == "database-unavailable"
        with opened() as session:
            assert session.scalar(text(f"SELECT {number}")) == number
    store.close()


def test_an_sqlite_file_that_is_locked_by_others(
    sqlite_folder, sqlite_api, enrol
) -> None:
    device_id = enrol(sqlite_api, 1)["device_id"]
    path = sqlite_folder.config.parent / "provider.db"
    store = sqlite_api.app.state.service.store
    event.listen(
        store.engine,
        "checkout",
        lambda dbapi, *_: dbapi.execute("PRAGMA busy_timeout = 50"),
    )
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert issue(sqlite_api, device_id).status_code == 503
    other.execute("ROLLBACK")
    other.close()
    assert issue(sqlite_api, device_id).status_code == 201


def test_mistakes_of_ours_are_not_called_an_outage(folder) -> None:
    service = folder.open()
    for statement in ("SELECT nothing FROM nowhere", "no SQL"):
        with pytest.raises(DBAPIError), service.store.write() as session:
            session.execute(text(statement))
    service.close()


# ---- several at once ----


def test_the_same_request_at_once_leads_to_one_license(api, enrol) -> None:
    device_id = enrol(api, 1)["device_id"]
    start = threading.Barrier(8)

    def ask(number: int):
        start.wait()
        return issue(api, device_id, "same" if number < 4 else None)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    statuses = [answer.status_code for answer in answers]
    assert statuses.count(201) == 1, statuses
    assert set(statuses) <= {200, 201, 409}
    assert len({answer.json()["license_id"] for answer in answers}) == 1


def test_renewing_and_revoking_at_once_leaves_at_most_one_current(api, enrol) -> None:
    device_id = enrol(api, 1)["device_id"]
    for turn in range(4):
        first = issue(api, device_id, f"k{turn}").json()["license_id"]
        start = threading.Barrier(6)

        def ask(number: int, license_id: str = first, start=start):
            start.wait()
            if number % 3 == 0:
                return api.post("/v1/revocations", json={"license_id": license_id})
            return api.post(f"/v1/licenses/{license_id}/renew")

        with ThreadPoolExecutor(6) as pool:
            statuses = [answer.status_code for answer in pool.map(ask, range(6))]
        assert statuses.count(201) <= 1
        assert set(statuses) <= {200, 201, 409}
        rows = api.get("/v1/licenses").json()["items"]
        current = [row for row in rows if row["state"] == "current"]
        assert current == []  # both revocations cover whatever was renewed before
        versions = api.get("/v1/revocations").json()["items"]
        covered = max(row["issued_before"] for row in versions)
        assert all(row["issued_at"] < covered for row in rows)


def test_an_enrolment_at_once_from_all_sides_is_one_device(api, enrol) -> None:
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: enrol(api, 1)["device_id"], range(6)))
    assert len(set(found)) == 1
    assert len(api.get("/v1/devices").json()["items"]) == 1


# ---- tables and migrations ----


def test_the_migrations_lead_to_the_tables_of_the_code(folder) -> None:
    service = folder.open()
    with service.store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        found = compare_metadata(context, Base.metadata)
    assert found == []
    assert migrate.migrate(service.store) == (migrate.latest(), migrate.latest())
    service.close()


def test_processes_that_migrate_at_once_wait_for_each_other(
    tmp_path, new_database
) -> None:
    for database in (f"sqlite:///{tmp_path}/new.db", new_database()):
        stores = [Store(database) for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(migrate.migrate, stores))
        assert sorted(before or "" for before, _ in found) == [
            "", *[migrate.latest()] * 3
        ]  # fmt: skip
        for store in stores:
            migrate.check(store)
            store.close()


def test_another_version_of_the_tables_is_refused(tmp_path, new_database) -> None:
    for database in (f"sqlite:///{tmp_path}/other.db", new_database()):
        store = Store(database)
        with pytest.raises(EnvironmentMissingError) as caught:
            migrate.check(store)
        assert caught.value.hint == "undercroft provider migrate"
        migrate.migrate(store)
        with store.write() as session:
            session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        for refused in (migrate.check, migrate.migrate):
            with pytest.raises(EnvironmentMissingError, match="later version"):
                refused(store)
        store.close()


def test_the_audit_log_cannot_be_changed(folder) -> None:
    service = folder.open()
    for statement in ("UPDATE audit_log SET action = 'x'", "DELETE FROM audit_log"):
        with (
            pytest.raises(DBAPIError, match="only added to"),
            service.store.engine.begin() as connection,
        ):
            connection.execute(text(statement))
    with service.store.read() as session:
        assert session.scalar(text("SELECT count(*) FROM audit_log")) == 2
    service.close()


# ---- what can be opened ----


@pytest.mark.parametrize(
    "url",
    [
        "",
        "sqlite://",
        "sqlite:///:memory:",
        "mysql://a/b",
        "postgresql://a",
        "postgresql://a/b?option=1",
        "postgresql+psycopg2://a/b",
        "no url",
    ],
)
def test_urls_of_other_databases(url: str) -> None:
    with pytest.raises(InputError) as caught:
        Store(url)
    assert "postgresql://" in caught.value.hint


def test_an_sqlite_file_is_ours_alone(tmp_path) -> None:
    store = Store("sqlite:///a.db", tmp_path)
    migrate.migrate(store)
    store.close()
    path = tmp_path / "a.db"
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    with pytest.raises(FileAccessError) as caught:
        Store("sqlite:///a.db", tmp_path)
    assert caught.value.hint == f"chmod 600 {path}"
    with pytest.raises(FileAccessError):
        Store("sqlite:///none/a.db", tmp_path)
    (tmp_path / "b.db").write_bytes(b"no database" * 100)
    (tmp_path / "b.db").chmod(0o600)
    damaged = Store("sqlite:///b.db", tmp_path)
    with pytest.raises(ProblemError, match="database"):
        damaged.ping()
    damaged.close()
