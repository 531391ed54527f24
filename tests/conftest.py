# SPDX-License-Identifier: Apache-2.0
"""How the tests are shared out between two workers (`pytest -n 2`).

All tests on the emulated board go to one worker, one after the other: boards
are slow beside each other. The other worker takes the rest, folder by folder,
since the tests of a folder share what they build.
"""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("board"):
            group = "board"
        else:
            group = item.path.relative_to(TESTS).parts[0]
        item.add_marker(pytest.mark.xdist_group(group))
