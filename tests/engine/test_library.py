# SPDX-License-Identifier: Apache-2.0
"""The shared library: what it shows to others, and what it holds."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from undercroft._build import ROOT, engine_library

PUBLIC = {
    "uc_host_arena",
    "uc_host_command",
    "uc_host_create",
    "uc_host_keep_state",
    "uc_host_destroy",
    "uc_host_session_close",
    "uc_host_session_open",
}


@pytest.fixture(scope="module", params=["host", "aarch64"])
def library(request: pytest.FixtureRequest) -> Path:
    return engine_library(request.param)


@pytest.mark.engine
def test_only_the_host_interface_is_exported(library: Path) -> None:
    listing = subprocess.run(
        ["nm", "-D", "--defined-only", library],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    names = {line.split()[2] for line in listing.splitlines()}
    assert names == PUBLIC


@pytest.mark.engine
def test_no_path_of_this_machine_is_inside(library: Path) -> None:
    assert str(ROOT).encode() not in library.read_bytes()


@pytest.mark.engine
def test_the_engine_itself_calls_neither_malloc_nor_stdio() -> None:
    """Only the host port may; the rest goes into the Trusted Application."""
    engine_library("host")
    objects = ROOT / "build/engine-host/obj/src"
    found = sorted(objects.rglob("*.o"))
    assert len(found) > 20
    listing = subprocess.run(
        ["nm", "-u", "-A", *found], capture_output=True, text=True, check=True
    ).stdout
    forbidden = ("malloc", "calloc", "realloc", "free", "printf", "puts", "abort")
    used = {line.split()[-1].split("@")[0] for line in listing.splitlines()}
    assert used & {*forbidden, *(f"f{name}" for name in forbidden)} == set()
