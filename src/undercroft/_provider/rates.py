# SPDX-License-Identifier: Apache-2.0
"""How often an API key may ask: one bucket a key, shared by all workers.

The bucket is a row of the database. A worker does not go there for each request: it
takes a few requests at a time out of the bucket, and what it does not use within a
second is lost. So all workers together never let more through than the bucket holds.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import case, select, update

from undercroft._provider.problems import ProblemError
from undercroft._provider.tables import RateBucket

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from undercroft._provider.security import Caller
    from undercroft._provider.store import Store

_LEASE_SECONDS: Final = 1.0
_LEASES_IN_A_BUCKET: Final = 20
_MAX_LEASE: Final = 50


@dataclass(slots=True)
class _Lease:
    left: int
    ends_at: float
    is_refusal: bool = False


class RateLimiter:
    """The rates of all API keys, as one worker sees them. Safe for threads."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._leases: dict[str, _Lease] = {}
        self._turn = threading.Lock()

    def take(self, caller: Caller) -> None:
        """Let one request through.

        Raises:
            ProblemError: `rate-exceeded`, with Retry-After.
        """
        now = self._clock()
        with self._turn:
            lease = self._leases.get(caller.key_id)
            if lease is not None and now < lease.ends_at:
                lease.left -= 1
                if lease.left >= 0:
                    return
                if lease.is_refusal:
                    raise _refused(caller, lease.ends_at - now)
        count, _ = caller.rate
        most = max(1, min(count // _LEASES_IN_A_BUCKET, _MAX_LEASE))
        with self._store.write() as session:
            granted = next(
                (n for n in (most, 1) if _withdraw(session, caller, n, now)), 0
            )
            wait = 0.0 if granted else _wait(session, caller, now)
        with self._turn:
            # A bucket that is empty is not asked again before it can have filled.
            self._leases[caller.key_id] = (
                _Lease(granted - 1, now + _LEASE_SECONDS)
                if granted
                else _Lease(0, now + wait, is_refusal=True)
            )
        if not granted:
            raise _refused(caller, wait)


def _refused(caller: Caller, wait_seconds: float) -> ProblemError:
    count, seconds = caller.rate
    return ProblemError(
        "rate-exceeded",
        f"the API key may ask {count} times in {seconds} s",
        headers={"Retry-After": str(max(1, math.ceil(wait_seconds)))},
    )


def _withdraw(session: Session, caller: Caller, requests: int, now: float) -> bool:
    """Take so many requests out of the bucket, if it has them.

    `full_at` is when the bucket will be full again (the theoretical arrival time
    of GCRA): each request moves it on by what one costs, and it may lie at most
    one bucket ahead of now.
    """
    count, seconds = caller.rate
    begins = case((RateBucket.full_at > now, RateBucket.full_at), else_=now)
    ends = begins + requests * seconds / count
    done = session.execute(
        update(RateBucket)
        .where(RateBucket.key_id == caller.key_id, ends <= now + seconds)
        .values(full_at=ends)
        .execution_options(synchronize_session=False)
    )
    return bool(getattr(done, "rowcount", 0))


def _wait(session: Session, caller: Caller, now: float) -> float:
    count, seconds = caller.rate
    row = select(RateBucket.full_at).where(RateBucket.key_id == caller.key_id)
    return (session.scalar(row) or now) + seconds / count - now - seconds
