# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL server for the session, and a service of each kind of database."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import pytest
from starlette.testclient import TestClient

from helpers.attesting import PlayedDevice
from helpers.license_service import ACME, ServiceFolder, make_service
from helpers.postgres import Postgres, running_postgres
from undercroft._provider.app import create_app


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server; a test that stops it starts it again."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def new_database(postgres) -> Callable[[], str]:
    """Make a database of one's own; gives its URL."""
    return lambda: postgres.create(f"test_{secrets.token_hex(6)}")


@pytest.fixture(params=["sqlite", "postgresql"])
def folder(request, tmp_path) -> ServiceFolder:
    """A service on each kind of database."""
    if request.param == "sqlite":
        return make_service(tmp_path)
    return make_service(tmp_path, request.getfixturevalue("new_database")())


@pytest.fixture
def sqlite_folder(tmp_path) -> ServiceFolder:
    """A service on SQLite, for what the database has no part in."""
    return make_service(tmp_path)


@pytest.fixture
def api(folder) -> Iterator[TestClient]:
    """A client of the application, with an API key that may do all."""
    app = create_app(folder.open)
    with TestClient(
        app, headers=folder.headers, raise_server_exceptions=False
    ) as client:
        yield client


@pytest.fixture
def sqlite_api(sqlite_folder) -> Iterator[TestClient]:
    """The same on SQLite alone."""
    app = create_app(sqlite_folder.open)
    with TestClient(
        app, headers=sqlite_folder.headers, raise_server_exceptions=False
    ) as client:
        yield client


@pytest.fixture(scope="session")
def enrol() -> Callable[..., dict]:
    """Enrol a device that the test plays, by its number."""

    def run(api: TestClient, number: int, label: str = "") -> dict:
        device = PlayedDevice.number(number)
        nonce = api.post("/v1/challenges").json()["nonce"]
        body = device.answer(nonce, device.endorsed_by(ACME), label)
        answer = api.post("/v1/devices", json=body)
        assert answer.status_code in {200, 201}, answer.text
        return answer.json()

    return run
