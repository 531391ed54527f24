# SPDX-License-Identifier: Apache-2.0
"""Alembic loads this file to run migrations, on the connection it was handed."""

from __future__ import annotations

from alembic import context

from undercroft._provider.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    transactional_ddl=True,
    # SQLite changes a table by copying it.
    render_as_batch=True,
)
# The transaction is the caller's: it commits when all went well.
context.run_migrations()
