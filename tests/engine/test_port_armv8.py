# SPDX-License-Identifier: Apache-2.0
"""The port's memory functions for arm64 under user-mode emulation.

The same file goes into the Trusted Application.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMPILER = "aarch64-linux-gnu-gcc"
EMULATOR = "qemu-aarch64"
CPU = "cortex-a76"
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wswitch-enum")


def tool(name: str, package: str) -> str:
    found = shutil.which(name)
    assert found, f"{name} is missing: sudo apt-get install {package}"
    return found


def run(command: list[object], **options: object) -> subprocess.CompletedProcess[bytes]:
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, check=False, **options)
    assert done.returncode == 0, (words, done.stdout[-500:], done.stderr[-2000:])
    return done


def compile_static(target: Path, flags: list[object], sources: list[object]) -> Path:
    gcc = tool(COMPILER, "gcc-aarch64-linux-gnu libc6-dev-arm64-cross")
    include = ROOT / "engine" / "include"
    base = [gcc, "-std=c11", *WARNINGS, "-static", "-I", include]
    run([*base, *flags, *sources, "-o", target])
    return target


def test_memory_functions_are_those_of_the_c_library(tmp_path: Path) -> None:
    names = ("memcpy", "memmove", "memset")
    compiled = tmp_path / "memory.o"
    gcc = tool(COMPILER, "gcc-aarch64-linux-gnu libc6-dev-arm64-cross")
    flags = ["-std=c11", *WARNINGS, "-O3", "-mno-strict-align", "-ffreestanding"]
    flags += ["-fno-tree-loop-distribute-patterns"]
    flags += [f"-D{name}=uc_test_{name}" for name in names]
    source = ROOT / "engine" / "port" / "memory_armv8.c"
    run([gcc, *flags, "-c", source, "-o", compiled])
    main = ROOT / "tests" / "engine" / "memory_armv8_main.c"
    program = compile_static(tmp_path / "memory", ["-O1"], [main, compiled])
    done = run([tool(EMULATOR, "qemu-user"), "-cpu", CPU, program])
    assert int(done.stdout) == 300 * (6 + 30 + 1)
