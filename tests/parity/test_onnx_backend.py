# SPDX-License-Identifier: Apache-2.0
"""ONNX's own node tests of the supported operators, sealed and run by the engine.

The list of those that pass is exact: one that stops to pass fails here, and so
does one that begins to, until it is recorded
(`cd tests && python -m helpers.onnx_backend --write`).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from helpers.onnx_backend import Machine, all_tests, passes, recorded

pytestmark = pytest.mark.engine

RECORDED = recorded()


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with Machine() as made:
        yield made


def test_there_are_enough_of_them() -> None:
    assert len(RECORDED) >= 250
    assert sorted(set(RECORDED)) == RECORDED


@pytest.mark.parametrize("name", RECORDED)
def test_what_is_recorded_passes(machine: Machine, name: str) -> None:
    test = all_tests().get(name)
    assert test is not None, "an operator of it is not supported any more"
    assert passes(machine, test) == ""


def test_nothing_else_passes(machine: Machine) -> None:
    others = [test for name, test in all_tests().items() if name not in RECORDED]
    new = [test.name for test in others if not passes(machine, test)]
    assert not new, (
        "these pass now; record them: "
        "cd tests && python -m helpers.onnx_backend --write"
    )
