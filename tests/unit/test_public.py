# SPDX-License-Identifier: Apache-2.0
"""The package's public names, and what importing it costs a device."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from types import FunctionType

import pytest

import undercroft

# The board's guest does not have these.
HOST_ONLY = ("onnx", "onnxruntime", "cryptography", "cwt", "rich", "click")


def test_all_is_sorted_and_complete() -> None:
    assert undercroft.__all__ == sorted(undercroft.__all__)
    assert set(undercroft._HOMES) | {"__version__"} == set(undercroft.__all__)
    for name in undercroft.__all__:
        assert getattr(undercroft, name) is not None


def test_version_is_the_distributions() -> None:
    assert undercroft.__version__ == importlib.metadata.version("undercroft")


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'sael'"):
        undercroft.sael  # noqa: B018


def test_dir_shows_what_is_not_imported_yet() -> None:
    assert {"InferenceSession", "plan", "keys"} <= set(dir(undercroft))


@pytest.mark.parametrize("name", ["enroll", "plan", "reseal", "seal", "verify"])
@pytest.mark.parametrize("order", ["module first", "name first"])
def test_functions_stay_functions_when_their_module_is_imported(
    name: str, order: str
) -> None:
    lines = [f"import undercroft.{name}", f"first = undercroft.{name}"]
    if order == "name first":
        lines = ["import undercroft", lines[1], lines[0]]
    lines += [f"from undercroft.{name} import {name}"]
    lines += [f"assert undercroft.{name} is first is {name}, undercroft.{name}"]
    lines += [f"assert type({name}).__name__ == {FunctionType.__name__!r}"]
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True)


@pytest.mark.parametrize(
    "module",
    [
        "undercroft",
        "undercroft.session",
        "undercroft._device.agent",
        "undercroft._device.client",
        "undercroft._device.oip",
        "undercroft._device.host",
        "undercroft._device.tee",
    ],
)
def test_the_devices_side_needs_little(module: str) -> None:
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({HOST_ONLY!r})); import {module}"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_agent_starts_without_numpy() -> None:
    program = (
        "import sys, undercroft._device.agent; "
        "assert not {'numpy', 'uvicorn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
