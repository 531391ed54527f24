# SPDX-License-Identifier: Apache-2.0
"""Builds the native parts of a checkout into its ``build/`` folder.

    python -m undercroft._build host aarch64 ta

``host`` is the engine as a shared library of this machine, ``asan`` the same
under sanitizers, ``aarch64`` the same for arm64 Linux; ``tests`` and ``fuzz``
are the engine's C tests and fuzzers, ``armtests`` the tests for user-mode
emulation, ``secrets`` the program that valgrind watches; ``ta`` is the signed
Trusted Application of the emulated board.
Kernels and libcrypto come from Debian's signed packages, the host's AEGIS from
libaegis's source, the CBOR decoders from the schema in ``spec/``; the rest is
make's work. Nothing is compiled again that has not changed, and several processes
may build at once.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from undercroft._cache import locked
from undercroft._debian import host_architecture, packages_dir
from undercroft._host import require_tools, run_tool
from undercroft._libaegis import libaegis_dir
from undercroft.errors import EnvironmentMissingError, Error

ROOT: Final = Path(__file__).resolve().parents[2]
"""The checkout."""

BUILD: Final = ROOT / "build"
LIBRARY_NAME: Final = "libundercroft_engine.so"
TARGETS: Final = (
    *("host", "asan", "aarch64", "tests", "fuzz", "armtests", "secrets", "ta"),
)

_TRIPLETS: Final = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}
_FOR_ARM64: Final = ("aarch64", "armtests")
_TOOLS: Final = {
    "host": ("make", "gcc"),
    "asan": ("make", "gcc"),
    "tests": ("make", "gcc"),
    "secrets": ("make", "gcc", "valgrind"),
    "fuzz": ("make", "clang"),
    "aarch64": ("make", "aarch64-linux-gnu-gcc"),
    "armtests": ("make", "aarch64-linux-gnu-gcc"),
    "ta": ("make", "aarch64-linux-gnu-gcc"),
}


def build(target: str) -> Path:
    """Build one target, unless it is up to date.

    Args:
        target: One of ``TARGETS``.

    Returns:
        The shared library; for the tests, fuzzers and the Trusted Application
        the folder with the results.

    Raises:
        EnvironmentMissingError: A tool, or the sources, are missing.
        HarnessError: A package could not be fetched, or compiling failed.
    """
    if not (ROOT / "engine" / "Makefile").is_file():
        raise EnvironmentMissingError(
            "the sources of the engine are not here: this is an installed package",
            hint="run it from a checkout of the project",
        )
    require_tools(_TOOLS[target], purpose=f"build '{target}'")
    with locked(BUILD / ".lock"):
        if target == "ta":
            return _build_ta()
        _make(ROOT / "engine", target, _engine_variables(target))
        if target == "fuzz":
            # One of them is of the Trusted Application, over a fake TEE.
            _make(ROOT / "tests" / "tee", target, fake_tee_variables(target))
    if target == "tests":
        return BUILD / "engine-asan" / "tests"
    if target == "armtests":
        return BUILD / "engine-armtests" / "tests"
    if target == "secrets":
        return BUILD / "engine-secrets"
    if target == "fuzz":
        return BUILD / "engine-fuzz"
    return BUILD / f"engine-{target}" / LIBRARY_NAME


def engine_library(variant: str = "host") -> Path:
    """Return the engine's shared library, built when needed.

    Args:
        variant: ``host``, ``asan`` or ``aarch64``.

    Raises:
        EnvironmentMissingError: A tool is missing.
        HarnessError: A package could not be fetched, or compiling failed.
    """
    return build(variant)


def _engine_variables(target: str) -> dict[str, str]:
    arch = "arm64" if target in _FOR_ARM64 else host_architecture()
    if arch not in _TRIPLETS:
        raise EnvironmentMissingError(
            f"the engine has no kernels for this machine ({platform.machine()})",
            hint="build on x86-64 or arm64",
        )
    kernels = packages_dir(arch, ["libxnnpack-dev"]) / "usr/lib" / _TRIPLETS[arch]
    variables = {
        "XNNPACK_DIR": str(kernels),
        "GEN_DIR": str(_decoders()),
        "AEGIS_DIR": str(libaegis_dir()),
    }
    if target in _FOR_ARM64:
        openssl = packages_dir(arch, ["libssl-dev", "libssl3t64"])
        variables["OPENSSL_DIR"] = str(openssl / "usr")
    elif not Path("/usr/include/openssl/evp.h").is_file():
        raise EnvironmentMissingError(
            "the headers of OpenSSL's libcrypto are not installed",
            hint="sudo apt-get install libssl-dev",
        )
    return variables


def _build_ta() -> Path:
    # UC_BUILD, TA_SIGN_KEY and the like reach make through the environment.
    variables = ta_variables()
    keys = os.environ.get("UC_PROVIDER_KEYS", "").split()
    if keys:
        variables["UC_PROVIDER_KEYS"] = " ".join(
            str(Path(key).absolute()) for key in keys
        )
    _make(ROOT / "ta", "ta", variables)
    return BUILD / ("ta-release" if os.environ.get("UC_BUILD") == "release" else "ta")


def ta_variables() -> dict[str, str]:
    """Return make's variables for a Trusted Application of the emulated board.

    Raises:
        HarnessError: A package could not be fetched.
    """
    kit = packages_dir("arm64", ["optee-os-dev"]) / "usr/lib/optee-os-dev"
    libraries = packages_dir("arm64", ["libxnnpack-dev"]) / "usr/lib"
    crypto = packages_dir("arm64", ["libssl-dev"]) / "usr/lib"
    return {
        "TA_DEV_KIT_DIR": str(kit / "vexpress-qemu_armv8a"),
        "XNNPACK_DIR": str(libraries / _TRIPLETS["arm64"]),
        "OPENSSL_LIB_DIR": str(crypto / _TRIPLETS["arm64"]),
        "GEN_DIR": str(_decoders()),
        "PYTHON3": sys.executable,
        # The emulated board's firmware lets the TA read the counter.
        "UC_TICKS": "1",
    }


def fake_tee_variables(target: str) -> dict[str, str]:
    """Return make's variables for the Trusted Application over a fake TEE.

    Args:
        target: The build of the engine that it goes with: ``host`` or ``fuzz``.

    Raises:
        HarnessError: A package could not be fetched.
    """
    ta = ta_variables()
    kept = ("TA_DEV_KIT_DIR", "PYTHON3")
    return _engine_variables(target) | {name: ta[name] for name in kept}


def _decoders() -> Path:
    """Generate the CBOR decoders when schema, generator or zcbor changed."""
    folder = BUILD / "cbor"
    generator = ROOT / "engine" / "tools" / "gen_cbor.py"
    stamp = folder / ".inputs"
    digest = hashlib.sha256()
    for path in (generator, ROOT / "spec" / "undercroft.cddl", Path(sys.executable)):
        digest.update(path.read_bytes() if path.suffix else str(path).encode())
    if stamp.is_file() and stamp.read_text() == digest.hexdigest():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    run_tool(
        [sys.executable, generator, folder], purpose="generating the CBOR decoders"
    )
    stamp.write_text(digest.hexdigest())
    return folder


def _make(folder: Path, goal: str, variables: dict[str, str]) -> None:
    settings = [f"{name}={value}" for name, value in variables.items()]
    jobs = f"-j{max(1, len(os.sched_getaffinity(0)))}"
    run_tool(
        ["make", "--no-print-directory", jobs, "-C", folder, goal, *settings],
        purpose=f"building '{goal}' in {folder.name}/",
        timeout_seconds=1800,
    )


def main(words: Sequence[str]) -> int:
    """Build the targets that are named; return the exit code."""
    unknown = [word for word in words if word not in TARGETS]
    if unknown or not words:
        sys.stderr.write(
            f"usage: python -m undercroft._build {{{','.join(TARGETS)}}}...\n"
        )
        return 2
    for word in words:
        try:
            sys.stdout.write(f"{word}: {build(word)}\n")
        except Error as error:
            sys.stderr.write(f"{error.diagnostics()}\n")
            return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
