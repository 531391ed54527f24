# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from undercroft import _host
from undercroft._board.images import HOST_TOOLS
from undercroft.errors import EnvironmentMissingError, HarnessError


def test_all_missing_tools_are_named_with_their_packages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_host, "find_tool", lambda _name: None)
    with pytest.raises(EnvironmentMissingError) as caught:
        _host.require_tools(["mke2fs", "dtc"], purpose="do a thing")
    assert "dtc, mke2fs" in caught.value.message
    assert caught.value.hint == "sudo apt-get install device-tree-compiler e2fsprogs"


def test_every_tool_of_the_board_has_a_package() -> None:
    assert set(HOST_TOOLS) <= set(_host.APT_PACKAGES)


def test_administrators_programs_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert _host.find_tool("mke2fs") is not None


def test_failure_carries_the_last_lines() -> None:
    with pytest.raises(HarnessError, match="code 3") as caught:
        _host.run_tool(["sh", "-c", "echo why >&2; exit 3"], purpose="trying")
    assert caught.value.message.endswith("why")


def test_tool_that_hangs_is_ended() -> None:
    with pytest.raises(HarnessError, match="did not finish"):
        _host.run_tool(["sleep", "30"], purpose="waiting", timeout_seconds=0.2)


def test_output_is_returned_and_variables_are_set() -> None:
    out = _host.run_tool(["sh", "-c", "echo $X"], purpose="x", env={"X": "1"})
    assert out == "1\n"
