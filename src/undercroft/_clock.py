# SPDX-License-Identifier: Apache-2.0
"""The time that a provider tells its devices.

Devices never believe an earlier time again, so a clock that is far ahead would end
their licenses for good, and one that was never set issues licenses that are revoked.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final

from undercroft.errors import EnvironmentMissingError

_EARLIEST: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""Before there was this software."""
_LATEST: Final = datetime(2100, 1, 1, tzinfo=UTC)
"""Times are 32-bit numbers and end in 2106."""


def provider_time() -> int:
    """Return seconds since 1970 by this machine's clock.

    Raises:
        EnvironmentMissingError: the clock is far off.
    """
    now = time.time()
    if not _EARLIEST.timestamp() <= now < _LATEST.timestamp():
        raise EnvironmentMissingError(
            f"this machine's clock stands {now:.0f} seconds after 1970, which is not "
            f"between {_EARLIEST.year} and {_LATEST.year}; devices would believe it",
            hint="set the clock: sudo timedatectl set-ntp true",
        )
    return int(now)
