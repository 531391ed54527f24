# SPDX-License-Identifier: Apache-2.0
"""Install the Debian or Ubuntu packages that the project needs.

Runs before there is a virtual environment, so it uses the standard library
only. Says which packages are missing and why before it installs anything;
`--check` only says it and exits 1.

    python3 tools/system_packages.py
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGES = {
    "build-essential": "gcc and make: the host build of the engine",
    "ca-certificates": "fetching packages",
    "clang": "fuzzers (libFuzzer) and sanitizers",
    "chromium-headless-shell": "tests of the license service's web page",
    "cpio": "tests of the board's initial RAM disk",
    "curl": "the commands of docs/provider.md, which a test runs",
    "debian-archive-keyring": "checking the signatures of the board's packages",
    "device-tree-compiler": "the board's firmware",
    "e2fsprogs": "the board's disk images (mke2fs -d, debugfs)",
    "gcc-aarch64-linux-gnu": "firmware, Trusted Application, arm64 engine",
    "libc6-dev-arm64-cross": "the arm64 engine",
    "libssl-dev": "the host engine's cryptography, firmware tools",
    "postgresql": "tests of the license service (a server in a temporary folder)",
    "python3-venv": "the project's virtual environment",
    "qemu-system-arm": "the emulated board",
    "qemu-user": "the arm64 tests in user mode",
    "softhsm2": "tests of signing keys in tokens (PKCS #11)",
    "valgrind": "tests that nothing depends on a secret's value",
    "xz-utils": "unpacking Debian packages",
}

BROWSERS = ("chromium", "chromium-headless-shell", "google-chrome", "chrome")
"""Any of these will do for the web page: a desktop's browser need not come twice."""


def missing_packages() -> list[str]:
    """Return those of PACKAGES that dpkg does not know as installed."""
    found = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *PACKAGES],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split("\n")
    installed = {line.split()[0] for line in found if line.endswith(" installed")}
    if shutil.which("clang"):
        runtime = compiler_runtime()
        if runtime:
            PACKAGES[runtime] = "libFuzzer's and the sanitizers' runtime"
            if not has_runtime():
                installed.discard(runtime)
            else:
                installed.add(runtime)
    if any(map(shutil.which, BROWSERS)):
        installed.add("chromium-headless-shell")
    usable_venv = subprocess.run(
        [sys.executable, "-c", "import ensurepip"], capture_output=True, check=False
    )
    if usable_venv.returncode == 0:
        installed.add("python3-venv")
    return sorted(set(PACKAGES) - installed)


def compiler_runtime() -> str:
    """Name the package with libFuzzer of the default clang."""
    version = subprocess.run(
        ["clang", "-dumpversion"], capture_output=True, text=True, check=False
    ).stdout.split(".")[0]
    return f"libclang-rt-{version}-dev" if version else ""


def has_runtime() -> bool:
    """Say whether clang finds the fuzzer's library."""
    answer = subprocess.run(
        ["clang", "-print-file-name=libclang_rt.fuzzer-x86_64.a"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    resource = subprocess.run(
        ["clang", "-print-resource-dir"], capture_output=True, text=True, check=False
    ).stdout.strip()
    library = Path(resource) / "lib" / "linux" / "libclang_rt.fuzzer-x86_64.a"
    return Path(answer).is_absolute() or library.exists()


def install(packages: list[str]) -> int:
    """Install with apt, through sudo when not root."""
    prefix = [] if os.geteuid() == 0 else ["sudo"]
    if prefix and not shutil.which("sudo"):
        print(
            "not root and no sudo here; as root run:\n"
            f"  apt-get install --no-install-recommends {' '.join(packages)}",
            file=sys.stderr,
        )
        return 5
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages],
    ):
        keep = ["env", "DEBIAN_FRONTEND=noninteractive"]
        code = subprocess.run(
            [*prefix, *keep, *command],
            env=environment,
            stdout=subprocess.DEVNULL,
            check=False,
        ).returncode
        if code:
            print(f"failed ({code}): {' '.join(command)}", file=sys.stderr)
            return 5
    return 0


def main() -> int:
    """Check, say, install, check again (clang brings its own runtime's name)."""
    if sys.version_info < (3, 11):  # noqa: UP036 may be started by an older one
        print(
            f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}; "
            "install one and run: make PYTHON=python3.11 setup",
            file=sys.stderr,
        )
        return 5
    if not shutil.which("dpkg-query") or not shutil.which("apt-get"):
        print("this is no Debian or Ubuntu machine: apt is missing", file=sys.stderr)
        return 5
    for _ in range(2):
        missing = missing_packages()
        if not missing:
            return 0
        print("system packages to install:")
        for name in missing:
            print(f"  {name:28} {PACKAGES[name]}")
        if "--check" in sys.argv[1:]:
            return 1
        code = install(missing)
        if code:
            return code
    if missing_packages():
        print(f"still missing: {' '.join(missing_packages())}", file=sys.stderr)
        return 5
    return 0


if __name__ == "__main__":
    sys.exit(main())
