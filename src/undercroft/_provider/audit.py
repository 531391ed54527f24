# SPDX-License-Identifier: Apache-2.0
"""The audit log: what was done or refused, written in the transaction that did it.

The database refuses to change or delete its rows (triggers, see `migrations/`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from undercroft._provider.tables import AuditEntry

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

DONE = "done"
REFUSED = "refused"


def note(
    session: Session,
    key_id: str | None,
    action: str,
    subject: str,
    *,
    outcome: str = DONE,
    **detail: Any,  # noqa: ANN401 any JSON value
) -> None:
    """Add an entry.

    Args:
        session: of the transaction that it belongs to.
        key_id: the API key that asked; None for the command line.
        action: what was asked for.
        subject: the id of what it was asked for.
        outcome: `DONE` or `REFUSED`.
        detail: more of it.
    """
    session.add(
        AuditEntry(
            at=int(time.time()),
            key_id=key_id,
            action=action,
            outcome=outcome,
            subject=subject,
            detail=detail,
        )
    )
