# SPDX-License-Identifier: Apache-2.0
"""Install the Debian or Ubuntu packages that the project needs.

Runs before there is a virtual environment, so it uses the standard library
only. Says which packages are missing and why before it installs anything;
`--check` only says it and exits 1. `--tests` adds what only tests need.

    python3 tools/system_packages.py [--tests] [--check]
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

NEEDED = {
    "build-essential": "gcc and make: the host build of the engine",
    "ca-certificates": "fetching packages",
    "debian-archive-keyring": "checking the signatures of the board's packages",
    "device-tree-compiler": "the board's firmware",
    "e2fsprogs": "the board's disk images (mke2fs -d, debugfs)",
    "gcc-aarch64-linux-gnu": "firmware, Trusted Application, arm64 engine",
    "libc6-dev-arm64-cross": "the arm64 engine",
    "libssl-dev": "the host engine's cryptography, firmware tools",
    "python3-dev": "compiling pyaegis, which has no wheels",
    "python3-venv": "the project's virtual environment",
    "qemu-system-arm": "the emulated board",
    "xz-utils": "unpacking Debian packages",
}
FOR_TESTS = {
    "chromium-headless-shell": "tests of the license service's web page",
    "clang": "fuzzers (libFuzzer) and sanitizers",
    "cpio": "tests of the board's initial RAM disk",
    "curl": "the commands of docs/provider.md, which a test runs",
    "postgresql": "tests of the license service (a server in a temporary folder)",
    "qemu-user": "the arm64 tests in user mode",
    "softhsm2": "tests of signing keys in tokens (PKCS #11)",
    "valgrind": "tests that nothing depends on a secret's value",
}

BROWSERS = ("chromium", "chromium-headless-shell", "google-chrome", "chrome")
"""Any of these will do for the web page: a desktop's browser need not come twice."""


def wanted_packages(for_tests: bool) -> dict[str, str]:
    """Return packages, and what each is for."""
    if not for_tests:
        return NEEDED
    wanted = NEEDED | FOR_TESTS
    # Its name has clang's version, so clang comes first.
    runtime = compiler_runtime() if shutil.which("clang") else ""
    if runtime:
        wanted[runtime] = "libFuzzer's and the sanitizers' runtime"
    if any(map(shutil.which, BROWSERS)):
        del wanted["chromium-headless-shell"]
    return wanted


def missing_packages(for_tests: bool) -> dict[str, str]:
    """Return those that are wanted and not there, and what each is for."""
    wanted = wanted_packages(for_tests)
    found = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *wanted],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split("\n")
    there = {line.split()[0] for line in found if line.endswith(" installed")}
    usable_venv = subprocess.run(
        [sys.executable, "-c", "import ensurepip"], capture_output=True, check=False
    )
    if usable_venv.returncode == 0:
        there.add("python3-venv")
    if Path(sysconfig.get_path("include"), "Python.h").exists():
        there.add("python3-dev")
    if for_tests and has_runtime():
        there.add(compiler_runtime())
    return {name: why for name, why in sorted(wanted.items()) if name not in there}


def compiler_runtime() -> str:
    """Name the package with libFuzzer of the default clang."""
    version = subprocess.run(
        ["clang", "-dumpversion"], capture_output=True, text=True, check=False
    ).stdout.split(".")[0]
    return f"libclang-rt-{version}-dev" if version else ""


def has_runtime() -> bool:
    """Say whether clang is there and finds the fuzzer's library."""
    if not shutil.which("clang"):
        return False
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
    for_tests = "--tests" in sys.argv[1:]
    for _ in range(2):
        missing = missing_packages(for_tests)
        if not missing:
            return 0
        print("system packages to install:")
        for name, why in missing.items():
            print(f"  {name:28} {why}")
        if "--check" in sys.argv[1:]:
            return 1
        code = install(list(missing))
        if code:
            return code
    missing = missing_packages(for_tests)
    if missing:
        print(f"still missing: {' '.join(missing)}", file=sys.stderr)
        return 5
    return 0


if __name__ == "__main__":
    sys.exit(main())
