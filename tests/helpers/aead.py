# SPDX-License-Identifier: Apache-2.0
"""The engine's page ciphers alone, as a program that opens or seals messages.

`host` is the host's port under sanitizers; `armv8` are the files that go into the
Trusted Application, with the same objects of OpenSSL's, in user-mode emulation.
"""

from __future__ import annotations

import functools
import re
import struct
import subprocess
from pathlib import Path

from helpers.model_open import BUILD, ROOT, program
from helpers.suites import SUITES
from undercroft._debian import packages_dir
from undercroft._host import require_tools

PLACES = ("host", "armv8")
OPEN, SEAL, OPEN_SHARED = 0, 1, 2
READ_ONCE = ("aegis-128l",)
"""Suites that the Trusted Application decrypts straight out of shared memory."""
HEAD_BYTES, KEY, NONCE, TAG = 72, 8, 40, 52
CPU = "cortex-a76"

_OBJECTS = ("chacha-armv8", "poly1305-armv8")
_SOURCES = ("aead", "aes_gcm_armv8", "aegis_armv8", "chacha20_poly1305_armv8")
_WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wswitch-enum")


@functools.cache
def binary(place: str, *flags: str) -> Path:
    """Build the program; flags are of the compiler for arm64."""
    if place == "host":
        return program(
            "aead", "tests/engine/aead_main.c", "tests/conformance/no_device.c"
        )
    require_tools(("aarch64-linux-gnu-gcc", "qemu-aarch64"), purpose="run arm64 code")
    libraries = packages_dir("arm64", ["libssl-dev"]) / "usr/lib/aarch64-linux-gnu"
    folder = BUILD / "armv8"
    folder.mkdir(parents=True, exist_ok=True)
    objects = [f"libcrypto-lib-{name}.o" for name in _OBJECTS]
    _run(
        ["aarch64-linux-gnu-ar", "x", libraries / "libcrypto.a", *objects],
        cwd=folder,
    )
    target = folder / f"aead{'-'.join(('', *flags)).replace('/', '_')}"
    command = ["aarch64-linux-gnu-gcc", "-std=c11", *_WARNINGS, "-static", *flags]
    command += ["-O3", "-mno-strict-align", f"-I{ROOT / 'engine' / 'include'}"]
    command += [str(ROOT / "engine" / "port" / f"{name}.c") for name in _SOURCES]
    command += [str(ROOT / "tests" / "engine" / "aead_main.c")]
    _run([*command, *(folder / name for name in objects), "-o", target])
    return target


def message(
    suite: str, mode: int, *, key: bytes, nonce: bytes, tag: bytes, data: bytes
) -> bytes:
    """Pack what the program reads; key of 32 bytes, nonce of 12."""
    head = struct.pack("<II", SUITES[suite].number, mode) + key + nonce + tag
    assert len(head) == HEAD_BYTES - 4
    return head + struct.pack("<I", len(data)) + data


def run_all(place: str, messages: list[bytes]) -> list[tuple[bool, bytes, bytes]]:
    """Return the answer, the tag and the buffer as it was left, of each message."""
    command: list[object] = [binary(place)]
    if place == "armv8":
        command = ["qemu-aarch64", "-cpu", CPU, *command]
    done = _run(command, b"".join(messages))
    answers, at = [], 0
    for packed in messages:
        end = at + 17 + len(packed) - HEAD_BYTES
        assert done[at] in (0, 1)
        answers.append((done[at] == 1, done[at + 1 : at + 17], done[at + 17 : end]))
        at = end
    assert at == len(done)
    return answers


def run(place: str, packed: bytes) -> tuple[bool, bytes, bytes]:
    """Return what `run_all` does, of one message."""
    return run_all(place, [packed])[0]


def traces(messages: list[bytes], plugin: Path, *flags: str) -> list[str]:
    """Return what the plugin says of each message on arm64: the way it took."""
    said = watched(messages, plugin, *flags)
    marks = re.findall(r"^trace (.*)$", said, re.MULTILINE)
    # The first mark of each ends what lies between two messages.
    assert len(marks) == 2 * len(messages)
    return marks[1::2]


def watched(messages: list[bytes], plugin: Path, *flags: str) -> str:
    """Return all that a plugin says of the messages on arm64."""
    words = ["qemu-aarch64", "-cpu", CPU, "-plugin", str(plugin)]
    done = subprocess.run(
        [*words, str(binary("armv8", *flags))],
        input=b"".join(messages),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stderr.decode()


def instructions(packed: bytes, rounds: int, folder: Path) -> int:
    """Count what the arm64 program executes: one line of a log for each."""
    helped = _run(["qemu-aarch64", "--help"]).decode()
    one_by_one = "-one-insn-per-tb" if "-one-insn-per-tb" in helped else "-singlestep"
    log = folder / "log"
    command = ["qemu-aarch64", "-cpu", CPU, one_by_one, "-d", "nochain,exec", "-D", log]
    _run([*command, binary("armv8"), rounds], packed)
    with log.open("rb") as lines:
        return sum(line.startswith(b"Trace") for line in lines)


def _run(command: list[object], packed: bytes = b"", cwd: Path | None = None) -> bytes:
    words = [str(word) for word in command]
    done = subprocess.run(
        words, input=packed, capture_output=True, check=False, cwd=cwd
    )
    assert done.returncode == 0, (words, done.stdout[-500:], done.stderr[-2000:])
    return done.stdout
