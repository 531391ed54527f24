# SPDX-License-Identifier: Apache-2.0
"""Compiles Python trees for the board with a Python of the board's version.

Compiling on the board would cost its users ten seconds at every start. Byte
code does not depend on the architecture, so a Python of the same version for
the host's own architecture, also Debian's, does it in little time. It runs
out of the cache folder through its own dynamic loader; the host's Python may
be of any version.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from undercroft._board.recipe import BYTECODE_PACKAGES, BYTECODE_PYTHON
from undercroft._debian import host_architecture, packages_dir
from undercroft._host import run_tool
from undercroft.errors import HarnessError

# Folder of the libraries and name of the loader, by Debian architecture.
_LOADERS = {
    "amd64": ("usr/lib/x86_64-linux-gnu", "ld-linux-x86-64.so.2"),
    "arm64": ("usr/lib/aarch64-linux-gnu", "ld-linux-aarch64.so.1"),
}


def compile_trees(root: Path, trees: Sequence[str]) -> None:
    """Write the byte code of every module below ``root``'s ``trees``.

    The files are never checked against their sources again ("unchecked"):
    the disks they go to are read-only. Recorded paths are those on the board.

    Args:
        root: The folder that stands for the board's ``/``.
        trees: Folders below it.

    Raises:
        HarnessError: A module does not compile, or the host is neither
            amd64 nor arm64.
    """
    arch = host_architecture()
    if arch not in _LOADERS:
        raise HarnessError(
            f"the emulated board is assembled on amd64 and arm64 hosts, not on {arch}"
        )
    python_root = packages_dir(arch, BYTECODE_PACKAGES, with_dependencies=True)
    library_folder, loader_name = _LOADERS[arch]
    libraries = python_root / library_folder
    run_tool(
        [
            libraries / loader_name,
            "--library-path",
            libraries,
            python_root / BYTECODE_PYTHON,
            "-S",
            "-m",
            "compileall",
            "-q",
            "--invalidation-mode",
            "unchecked-hash",
            "-s",
            root,
            "-p",
            "/",
            *(root / tree for tree in trees),
        ],
        purpose="compiling Python modules for the board",
        env={"PYTHONHOME": str(python_root / "usr"), "PYTHONPATH": ""},
    )
