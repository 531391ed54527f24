# SPDX-License-Identifier: Apache-2.0
"""The time that the service tells devices."""

from __future__ import annotations

import logging

from undercroft._clock import provider_time
from undercroft._provider.problems import ProblemError
from undercroft.errors import EnvironmentMissingError

_log = logging.getLogger("undercroft.provider")


def now() -> int:
    """Return seconds since 1970.

    Raises:
        ProblemError: `clock-off`.
    """
    try:
        return provider_time()
    except EnvironmentMissingError as error:
        _log.error("%s; %s", error.message, error.hint)
        raise ProblemError("clock-off", headers={"Retry-After": "60"}) from error
