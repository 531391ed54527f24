# SPDX-License-Identifier: Apache-2.0
"""No license is lost and none is issued twice, whatever happens meanwhile."""

from __future__ import annotations

import json
import os
import random
import resource
import time
from pathlib import Path

import pytest
from sqlalchemy import func, select

from helpers.license_load import CLIENTS, Outcome, run_load
from helpers.license_service import (
    MODEL_ID,
    PROVIDER,
    ServiceFolder,
    make_service,
    running_service,
)
from helpers.postgres import Postgres, running_postgres
from undercroft._bench.environment import host
from undercroft._provider import models
from undercroft._provider.config import Config
from undercroft._provider.store import Store
from undercroft._provider.tables import CURRENT, AuditEntry, License
from undercroft.keys import ModelKey
from undercroft.license import License as Permit

WORKERS = 2
RECORD_VARIABLE = "UNDERCROFT_RECORD"
DOWN_SECONDS = 1.0


def add_models(folder: ServiceFolder, count: int) -> list[str]:
    """Add models until there are so many; return their ids."""
    config = Config.load(folder.config)
    store = Store(config.database, config.folder)
    ids = [MODEL_ID]
    for number in range(1, count):
        key = ModelKey(number.to_bytes(16, "big"), bytes(32))
        row = models.add(store, config.path(config.model_keys), key, f"m{number}")
        ids.append(row.model_id)
    store.close()
    return ids


def check_database(folder: ServiceFolder, outcome: Outcome, licenses: int) -> None:
    """Hold what the clients were answered against what the database has."""
    assert len(outcome.received) == licenses
    config = Config.load(folder.config)
    store = Store(config.database, config.folder)
    with store.read() as session:
        columns = (License.device_id, License.model_id, License.license_id)
        rows = session.execute(select(*columns, License.state)).all()
        audited = session.scalar(
            select(func.count()).where(AuditEntry.action == "issue")
        )
        some = random.Random(1).sample(sorted(outcome.received.values()), 200)
        contents = session.execute(
            select(License.license_id, License.content).where(
                License.license_id.in_(some)
            )
        ).all()
    store.close()
    assert len(rows) == licenses == audited
    assert {row.state for row in rows} == {CURRENT}
    stored = {(row.device_id, row.model_id): row.license_id for row in rows}
    assert stored == outcome.received
    assert len(set(stored.values())) == licenses
    assert len(contents) == 200
    for license_id, content in contents:
        permit = Permit.parse(content)
        permit.verify(PROVIDER.public())
        assert permit.claims.license_id.hex() == license_id


def load(
    folder: ServiceFolder, server: Postgres, devices: int, model_count: int
) -> Outcome:
    """Have 8 clients issue while the database is killed and started again."""
    restarts: list[float] = []

    def restart() -> None:
        server.stop("immediate")
        time.sleep(DOWN_SECONDS)
        server.start()
        restarts.append(time.time())

    ids = add_models(folder, model_count)
    with running_service(folder, "--workers", str(WORKERS)) as url:
        outcome = run_load(
            url, folder.api_key, devices=devices, models=ids, in_the_middle=restart
        )
    assert len(restarts) == 1
    assert outcome.again.get("503", 0) > 0, "nobody noticed the restart"
    check_database(folder, outcome, devices * model_count)
    return outcome


def test_2000_licenses_while_the_database_is_killed(postgres, new_database, tmp_path):
    folder = make_service(tmp_path, new_database())
    load(folder, postgres, devices=50, model_count=40)


@pytest.mark.load
@pytest.mark.timeout(4 * 3600)
def test_100000_licenses_while_the_database_is_killed(tmp_path) -> None:
    """With commits that reach the disk. `make test-provider-load` records it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with running_postgres(fsync=True) as server:
        folder = make_service(tmp_path, server.create("licenses"))
        outcome = load(folder, server, devices=2500, model_count=40)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    target = os.environ.get(RECORD_VARIABLE)
    if target:
        licenses = len(outcome.received)
        result = {
            "licenses": licenses,
            "lost": 0,
            "double": 0,
            "clients": CLIENTS,
            "workers": WORKERS,
            "database": "PostgreSQL, fsync on, killed and started again in the middle",
            "seconds": round(outcome.seconds, 1),
            "licenses_a_second": round(licenses / outcome.seconds, 1),
            # Workers and the starting of the database; not the clients.
            "workers_cpu_seconds": round(sum(after[:2]) - sum(before[:2]), 1),
            "requests_sent_again": outcome.again,
            "environment": host(),
        }
        Path(target).write_text(json.dumps(result, indent=2) + "\n")
