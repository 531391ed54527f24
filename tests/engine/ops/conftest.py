# SPDX-License-Identifier: Apache-2.0
"""One runner of each build for the whole session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from helpers.op_runner import VARIANTS, Runner


@pytest.fixture(scope="session", params=list(VARIANTS))
def runner(request: pytest.FixtureRequest) -> Iterator[Runner]:
    """Each build of the operators in turn."""
    runner = Runner(VARIANTS[request.param])
    yield runner
    runner.close()


@pytest.fixture(scope="session")
def host_runner() -> Iterator[Runner]:
    """The build for this machine, under sanitizers."""
    runner = Runner(VARIANTS["host-asan"])
    yield runner
    runner.close()
