# SPDX-License-Identifier: Apache-2.0
"""What a measurement ran on, for its record."""

from __future__ import annotations

import datetime
import hashlib
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from undercroft._cache import cache_root, read_manifest
from undercroft._host import find_tool

if TYPE_CHECKING:
    from undercroft._board import BoardInfo

_CHECKOUT: Final = Path(__file__).parents[3]
_SOURCES: Final = ("src", "engine", "ta", "spec", "tests/models")
_PACKAGES: Final = frozenset({"libssl-dev", "libxnnpack-dev", "optee-os"})


def host() -> dict[str, str]:
    """Describe this machine, for figures by the clock on the wall."""
    return {
        "date": _today(),
        "host_cpu": _host_cpu(),
        "host_cores": str(os.cpu_count()),
        "host_linux": platform.release(),
        "commit": _commit(),
    }


def fingerprint() -> str:
    """Name the state of the sources that results depend on, changes included."""
    try:
        trees = [_git("rev-parse", f"HEAD:{folder}") for folder in _SOURCES]
        changed = _git("diff", "HEAD", "--", *_SOURCES)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return hashlib.sha256("\n".join([*trees, changed]).encode()).hexdigest()[:16]


def describe(board: BoardInfo, seen: Mapping[str, Any]) -> dict[str, str]:
    """Name the versions of everything that a figure may depend on.

    Args:
        board: the board that measured.
        seen: `device` (its info record) and `versions` (of the board's user
            space), as far as they are known.
    """
    device = seen.get("device") or {}
    versions = seen.get("versions") or {}
    environment = {
        "date": _today(),
        "clock": "guest instructions (QEMU -icount shift=0, one core)",
        "qemu": _first_line("qemu-system-aarch64", "--version"),
        "cpu": "cortex-a76, emulated",
        "optee": optee_version(board.secure_log),
        "trusted_application": str(device.get("version", "unknown")),
        "build": str(device.get("build", "unknown")),
        "kernel_set": _kernel_set(),
        "compiler": _first_line("aarch64-linux-gnu-gcc", "--version"),
        **package_versions(cache_root() / "packages"),
        **{f"board_{name}": str(value) for name, value in versions.items()},
        "commit": _commit(),
        "host_cpu": _host_cpu(),
    }
    return {name: value for name, value in environment.items() if value}


def package_versions(folder: Path) -> dict[str, str]:
    """Return the versions of the Debian packages that figures depend on.

    Args:
        folder: where unpacked packages are, a folder with a manifest each.
    """
    found: dict[str, str] = {}
    for path in sorted(folder.glob("arm64-*"), key=lambda path: path.stat().st_mtime):
        for package in (read_manifest(path) or {}).get("packages", []):
            if package["package"] in _PACKAGES:
                found[f"package_{package['package']}"] = package["version"]
    return dict(sorted(found.items()))


def _today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def _kernel_set() -> str:
    """Name the compute kernels that were linked into the Trusted Application."""
    objects = _CHECKOUT.glob("build/ta/obj/engine/src/kernels/kernels_*.o")
    names = {path.stem.removeprefix("kernels_") for path in objects}
    return ", ".join(sorted(names)) or "unknown"


def optee_version(secure_log: Path) -> str:
    """Read OP-TEE's version from what it printed when it started."""
    try:
        match = re.search(
            r"OP-TEE version: (\S+)", secure_log.read_text("utf-8", "replace")
        )
    except OSError:
        match = None
    # Debian builds it outside of its repository, so it does not know its tag.
    return match[1].removeprefix("Unknown_") if match else "unknown"


def _first_line(*command: str) -> str:
    program = find_tool(command[0])
    if program is None:
        return "unknown"
    done = subprocess.run(
        [program, *command[1:]], capture_output=True, text=True, check=False
    )
    return (done.stdout.splitlines() or ["unknown"])[0]


def _commit() -> str:
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--", "src", "engine", "ta", "spec")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + (" with changes" if changed else "")


def _git(*words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(_CHECKOUT), *words],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def _host_cpu() -> str:
    try:
        match = re.search(
            r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE
        )
    except OSError:
        match = None
    return match[1] if match else platform.machine()
