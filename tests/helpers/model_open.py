# SPDX-License-Identifier: Apache-2.0
"""Builds the engine's license code under sanitizers and runs it on requests."""

from __future__ import annotations

import functools
import hashlib
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from undercroft._libaegis import libaegis_dir

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "tests" / "model_open"
OURS = (
    "engine/src/writer.c",
    "engine/src/hkdf.c",
    "engine/src/hpke.c",
    "engine/src/cose.c",
    "engine/src/question.c",
    "engine/src/sealed_header.c",
    "engine/src/license.c",
    "engine/src/state.c",
    "engine/src/terms.c",
    "engine/src/update.c",
    "engine/port/port_host_crypto.c",
    "engine/port/aead.c",
    "engine/port/aegis_libaegis.c",
)
# sources.mk, UC_AEGIS_SOURCES
AEGIS = (
    "common/cpu.c",
    "common/softaes.c",
    *(
        f"aegis128l/aegis128l{part}.c"
        for part in ("", "_soft", "_aesni", "_neon_aes", "_neon_sha3")
    ),
)
GENERATED = ("uc_cbor_decode.c", "zcbor_decode.c", "zcbor_common.c")
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wswitch-enum")
SANITIZERS = (
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
)
_ANSWER = struct.Struct("<II32s16s7I")


@dataclass(frozen=True)
class Opened:
    """What `uc_model_open`, or the last update, answered."""

    detail: int
    status: int
    page_key: bytes
    model_id: bytes
    model_version: int
    suite: int
    page_bytes: int
    program_pages: int
    resident_pages: int
    streamed_pages: int
    budget_bytes: int

    @property
    def is_blank(self) -> bool:
        """Whether nothing came out, as there must not on failure."""
        return not (any(self.page_key) or any(self.model_id) or self.budget_bytes)


@dataclass(frozen=True)
class Request:
    """A header and a license to open together, on a device that saw updates before.

    Without a header the last update is answered. With `inferences`, so many are
    begun after the model was opened, and the first refusal is answered. `trusted`
    says whether the build trusts every provider, none, or this key alone; a device
    that `is_damaged` cannot read its storage.
    """

    header: bytes
    license: bytes
    trusted: bool | bytes = True
    updates: tuple[bytes, ...] = ()
    inferences: int = 0
    is_damaged: bool = False


def open_models(requests: Iterable[Request], *, device_private: bytes) -> list[Opened]:
    """Open each, on a device with this X25519 private key."""
    requests = list(requests)
    keys = {item.trusted for item in requests if isinstance(item.trusted, bytes)}
    assert len(keys) <= 1
    parts = [device_private, keys.pop() if keys else bytes(32)]
    count = 0
    for request in requests:
        trusted = 2 if isinstance(request.trusted, bytes) else int(request.trusted)
        trusted |= 0x80 if request.is_damaged else 0
        lengths = (len(request.header), len(request.license))
        counts = (len(request.updates), request.inferences)
        parts += [
            struct.pack("<BIIII", trusted, *counts, *lengths),
            *(struct.pack("<I", len(item)) + item for item in request.updates),
            request.header,
            request.license,
        ]
        count += 1
    names = ("model_open_main", "fake_device")
    done = subprocess.run(
        [program("model_open", *(f"tests/conformance/{name}.c" for name in names))],
        input=b"".join(parts),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    answers = [Opened(*fields) for fields in _ANSWER.iter_unpack(done.stdout)]
    assert len(answers) == count
    return answers


_QUESTION_ANSWER = struct.Struct("<II32s32s")


def open_questions(
    requests: Sequence[tuple[bytes, bytes, bytes]], *, device_private: bytes
) -> list[tuple[int, int, bytes, bytes]]:
    """Open questions on a device with this X25519 private key.

    Args:
        requests: digest of the header, nonce of the answer, question.
        device_private: 32 bytes.

    Returns:
        Status, flags, key of the question and of the answer.
    """
    parts = [device_private]
    for digest, nonce, question in requests:
        parts += [digest, nonce, struct.pack("<I", len(question)), question]
    names = ("question_main", "fake_device", "no_device")
    done = subprocess.run(
        [program("question", *(f"tests/conformance/{name}.c" for name in names))],
        input=b"".join(parts),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    answers = list(_QUESTION_ANSWER.iter_unpack(done.stdout))
    assert len(answers) == len(requests)
    return answers


@functools.cache
def program(name: str, main: str, *sources: str) -> Path:
    """Build a test program from the engine's license code, and return it."""
    compiler = _tool("gcc", "gcc")
    generated = BUILD / "cbor"
    _run([sys.executable, ROOT / "engine/tools/gen_cbor.py", generated])
    flags = ("-std=c11", "-O1", "-g", *SANITIZERS, "-isystem", generated)
    flags += ("-I", ROOT / "engine/include", "-I", ROOT / "engine/src")
    aegis = libaegis_dir()
    flags += ("-D_POSIX_C_SOURCE=200809L", "-isystem", aegis / "include")
    relaxed = (generated / "flags.txt").read_text().split()
    objects = [
        _compile(compiler, flags + WARNINGS, ROOT / source)
        for source in (*OURS, main, *sources)
    ]
    objects += [
        _compile(compiler, (*flags, *relaxed), generated / source)
        for source in GENERATED
    ]
    objects += [_compile(compiler, (*flags, "-w"), aegis / source) for source in AEGIS]
    target = BUILD / name
    _run([compiler, *SANITIZERS, *objects, "-lcrypto", "-o", target])
    return target


def _compile(compiler: str, flags: tuple[object, ...], source: Path) -> Path:
    # The key covers every header, so that a changed one is never missed.
    headers = sorted([*ROOT.glob("engine/**/*.h"), *BUILD.glob("cbor/*.h")])
    key = hashlib.sha256(repr((compiler, flags)).encode())
    for path in (source, *headers):
        key.update(path.read_bytes())
    target = BUILD / f"{source.stem}-{key.hexdigest()[:16]}.o"
    if not target.exists():
        scratch = target.with_suffix(".tmp")
        _run([compiler, *flags, "-c", source, "-o", scratch])
        scratch.replace(target)
    return target


def _run(command: list[object]) -> None:
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def _tool(name: str, package: str) -> str:
    path = shutil.which(name)
    assert path, f"{name} is missing: sudo apt-get install {package} libssl-dev"
    return path
