# SPDX-License-Identifier: Apache-2.0
"""Programs of the host that the board and the native builds lean on.

A missing program is reported by name together with the Debian or Ubuntu
package that brings it, all of them at once, before any work starts.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from undercroft.errors import EnvironmentMissingError, HarnessError

APT_PACKAGES: Mapping[str, str] = {
    "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu",
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
    "dpkg-source": "dpkg-dev",
    "dtc": "device-tree-compiler",
    "gcc": "gcc",
    "make": "make",
    "mke2fs": "e2fsprogs",
    "patch": "patch",
    "qemu-aarch64": "qemu-user",
    "qemu-system-aarch64": "qemu-system-arm",
    "xz": "xz-utils",
}
"""Program to the package of Debian and Ubuntu that holds it."""

# Administrators' programs (mke2fs) are not on an ordinary user's PATH.
_EXTRA_PATH = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def find_tool(name: str) -> str | None:
    """Return the path of a program, looking in the sbin folders as well."""
    path = os.environ.get("PATH", os.defpath)
    return shutil.which(name, path=os.pathsep.join((path, *_EXTRA_PATH)))


def require_tools(names: Iterable[str], *, purpose: str) -> None:
    """Check that programs are installed.

    Args:
        names: Program names, keys of ``APT_PACKAGES``.
        purpose: What they are needed for, to finish "needed to ...".

    Raises:
        EnvironmentMissingError: Some are missing; says which package to install.
    """
    missing = sorted(name for name in names if find_tool(name) is None)
    if missing:
        packages = sorted({APT_PACKAGES.get(name, name) for name in missing})
        raise EnvironmentMissingError(
            f"needed to {purpose}, not found: {', '.join(missing)}",
            hint=f"sudo apt-get install {' '.join(packages)}",
        )


def run_tool(
    argv: Sequence[str | Path],
    *,
    purpose: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout_seconds: float = 900.0,
) -> str:
    """Run a program to its end and return what it printed to stdout.

    Args:
        argv: The command; the first word is looked up by ``find_tool``.
        purpose: What it does, to begin the sentence "... failed".
        cwd: Working folder.
        env: Variables set on top of this process's own.
        timeout_seconds: Deadline for the whole run.

    Raises:
        EnvironmentMissingError: The program is not installed.
        HarnessError: It failed or took too long; carries its last lines.
    """
    name = str(argv[0])
    require_tools([name], purpose=purpose)
    command = [find_tool(name) or name, *(str(word) for word in argv[1:])]
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise HarnessError(
            f"{purpose}: {name} did not finish in {timeout_seconds:.0f} s",
            hint="try again; a loaded machine or a slow network may be the cause",
        ) from error
    except OSError as error:
        raise HarnessError(f"{purpose}: {name} could not start: {error}") from error
    if done.returncode != 0:
        words = done.stderr.strip() or done.stdout.strip()
        raise HarnessError(
            f"{purpose}: {name} ended with code {done.returncode}:\n"
            + last_lines(words, 12)
        )
    return done.stdout


def last_lines(text: str, count: int) -> str:
    """Return the last ``count`` non-empty lines of a text."""
    lines = [line for line in text.splitlines() if line.strip()]
    return "\n".join(lines[-count:])
